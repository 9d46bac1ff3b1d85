"""A gateway whose descriptors run out under clients that only connect (A5)."""

import http.client
import json
import resource
import secrets
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from processes import LIMIT, Gateway, RemoteUpstream, gateway_config, running_gateway

from turnout_upstream import Rule, Script, plays

CROWD = 300


class Kept:
    """A client that is connected already."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._connection = http.client.HTTPConnection(gateway.url.removeprefix("http://"), timeout=LIMIT)

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, str]:
        headers = {"authorization": f"Bearer {self._gateway.key}", "content-type": "application/json"}
        self._connection.request(method, path, json.dumps(body) if body else None, headers)
        response = self._connection.getresponse()
        return response.status, response.read().decode()

    def says(self) -> str:
        return str(json.loads(self.ask("GET", "/readyz")[1])["status"])

    def close(self) -> None:
        self._connection.close()


@contextmanager
def crowd(gateway: Gateway) -> Iterator[None]:
    """Clients that connect and say nothing."""
    host, port = gateway.url.removeprefix("http://").split(":")
    with ExitStack() as clients:
        for _ in range(CROWD):
            clients.enter_context(socket.create_connection((host, int(port)), timeout=LIMIT))
        yield


def wait_until(happened: Callable[[], bool]) -> None:
    until = time.monotonic() + LIMIT
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.parametrize("server", ["llhttp", "hypercorn"])
def test_clients_cannot_take_the_descriptors_that_calls_and_the_store_need(
    tmp_path: Path, upstream: RemoteUpstream, server: str
) -> None:
    """A5: 128 descriptors, 300 connections. Accepting pauses and goes on, readiness tells, and a state is saved."""
    upstream.use(Script(rules=(Rule(key="sk-first", always=plays.rate_limited(3600)),)))
    text = gateway_config(tmp_path, upstream.url, credentials=("first", "second"), server=server)
    text = text.replace("[turnout]", '[turnout]\nstore = "files"').replace("[stores.sqlite]", "[stores.files]")
    more = '\n[frontends.http.limits]\nheader_timeout = "60s"\nkeep_alive = "60s"\n'
    with running_gateway(text + more, tmp_path, key=secrets.token_urlsafe(24)) as gateway:
        resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE, (128, 128))
        with closing(Kept(gateway)) as kept:
            assert kept.says() == "ready"
            with crowd(gateway):
                wait_until(lambda: kept.says() == "degraded")
                status, _ = kept.ask("POST", "/v1/chat/completions", {"model": "m", "messages": []})
                wait_until(lambda: any("first" in path.name for path in (tmp_path / "store").rglob("*")))
                still = kept.says()
            wait_until(lambda: kept.says() == "ready")
        late = gateway.chat("m")
        gateway.process.send(signal.SIGTERM)
        assert gateway.process.wait_code() == 0

    said = gateway.process.stderr.text
    assert (status, still, late.status) == (200, "degraded", 200)
    assert said.count("descriptors") == 1
    assert "open files" not in said
    assert "Traceback" not in said
