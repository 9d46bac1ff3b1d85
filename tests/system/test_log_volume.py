"""Logs under attack and outage: how much is written, and what happens when nothing can be written (I9)."""

import secrets
import signal
import socket
import time
from functools import partial
from pathlib import Path

import pytest
from processes import LIMIT, TURNOUT, Gateway, Process, RemoteUpstream, gateway_config, running_gateway

from turnout_upstream import Script, plays

config = partial(gateway_config, credentials=("first", "second"), retry='max_wait = "0s"')

SERVERS = ["llhttp", "hypercorn"]

SEVERAL = 60
"""Attempts of each kind: something that is written per attempt shows in so few."""

ATTACKS = [
    b"GET / HTTP/9.9\r\nhost: 127.0.0.1\r\n\r\n",
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 5\r\n\r\nhal",
    b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nupgrade: h2c\r\nhttp2-settings: A\r\n\r\n",
    b"GET /v1/mod",
]
"""Clients that break the protocol, and that leave in the middle of a body or a head."""


def attack(gateway: Gateway, request: bytes) -> None:
    """Send this and leave."""
    host, port = gateway.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=LIMIT) as client:
        client.sendall(request)


@pytest.mark.parametrize("server", SERVERS)
def test_neither_clients_nor_an_outage_write_a_line_each(tmp_path: Path, upstream: RemoteUpstream, server: str) -> None:
    """I9 under A6, C-10 and B33: some lines a second at the most, however many come."""
    upstream.use(Script(default=plays.reset_after_request()))
    text = config(tmp_path, upstream.url, server=server)
    with running_gateway(text, tmp_path, key=secrets.token_urlsafe(24)) as gateway:
        before, began = gateway.process.stderr.text, time.monotonic()
        for number in range(SEVERAL):
            assert gateway.chat("m").status >= 429
            assert gateway.ask("GET", "/v1/models", key=f"wrong-key-{number}").status in {401, 429}
            attack(gateway, ATTACKS[number % len(ATTACKS)])
        took = time.monotonic() - began
        lines = gateway.process.stderr.text.removeprefix(before).splitlines()
        gateway.process.send(signal.SIGTERM)
        assert gateway.process.wait_code() == 0

    assert len(lines) <= 15 + 2 * took, "\n".join(lines)


@pytest.mark.parametrize("server", SERVERS)
def test_a_log_on_a_full_disk_stops_nothing(tmp_path: Path, upstream: RemoteUpstream, server: str) -> None:
    """I9: every line fails to be written, and calls are served as ever."""
    upstream.use(Script(default=plays.reset_after_request()))
    file = tmp_path / "turnout.toml"
    file.write_text(config(tmp_path, upstream.url, server=server))
    key = secrets.token_urlsafe(24)
    command = ["/bin/sh", "-c", 'exec "$0" run "$1" 2>/dev/full', TURNOUT, str(file)]
    with Process(command, env={"TURNOUT_KEY": key}) as process:
        gateway = Gateway(process, key)
        for request in ATTACKS:
            attack(gateway, request)
        assert gateway.chat("m").status == 502
        upstream.use(Script())
        assert gateway.chat("m").status == 200
        process.send(signal.SIGTERM)
        assert process.wait_code() == 0
