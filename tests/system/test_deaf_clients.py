"""Clients that ask for a stream and read nothing of it."""

import json
import secrets
import signal
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest
from processes import Gateway, RemoteUpstream, gateway_config, half_closed, resident, running_gateway

from turnout_upstream import Play, Script

MIB = 1024 * 1024
FLOOD = json.dumps({"choices": [{"index": 0, "delta": {"content": "x" * 65_536}}]}).encode()
WHOLE = 50_000_000
"""Bytes that the upstream would send each of them."""


def ask_and_never_read(gateway: Gateway) -> socket.socket:
    body = b'{"model":"m","stream":true,"messages":[]}'
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {gateway.key}\r\n"
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    one.connect(("127.0.0.1", int(gateway.url.rpartition(":")[2])))
    one.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    return one


@pytest.mark.parametrize("server", ["llhttp", "hypercorn"])
@pytest.mark.parametrize(("clients", "stall"), [(12, "1s"), pytest.param(100, "30s", marks=pytest.mark.long)])
def test_clients_that_do_not_read_hold_up_their_own_streams_and_are_cut(
    tmp_path: Path, upstream: RemoteUpstream, server: str, clients: int, stall: str
) -> None:
    """C-3: back-pressure as far as the upstream, a MiB of memory for each at most, no connection left half closed."""
    upstream.use(Script(default=Play(events=(FLOOD,), repeat=WHOLE // len(FLOOD))))
    text = gateway_config(tmp_path, upstream.url, server=server)
    text += f'\n[frontends.http.limits]\nper_key = 200\nwrite_stall = "{stall}"\n'
    with running_gateway(text, tmp_path, key=secrets.token_urlsafe(24)) as gateway, ExitStack() as deaf:
        deaf.enter_context(ask_and_never_read(gateway))
        upstream.endings(1)  # whatever is made once, or imported late, is there
        before = resident(gateway.process.pid)
        for _ in range(clients):
            deaf.enter_context(ask_and_never_read(gateway))
        endings = upstream.endings(1 + clients)
        grown = resident(gateway.process.pid) - before
        left = half_closed(gateway.process.pid)
        gateway.process.send(signal.SIGTERM)
        assert gateway.process.wait_code() == 0

    assert max(ending.sent for ending in endings) < WHOLE / 2
    assert grown < max(clients, 50) * MIB  # what they share is some twenty, however few they are
    assert left == 0
    assert "Traceback" not in gateway.process.stderr.text
