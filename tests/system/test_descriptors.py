"""Clients that only connect: they take neither every place nor every descriptor (A4, A5)."""

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

MORE = '\n[frontends.http.limits]\nheader_timeout = "60s"\nkeep_alive = "60s"\n'
"""So that nothing but what is tested ends an idle connection."""


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
def crowd(gateway: Gateway, count: int) -> Iterator[None]:
    """Clients from 32 addresses that connect and say nothing."""
    host, port = gateway.url.removeprefix("http://").split(":")
    with ExitStack() as clients:
        for number in range(count):
            source = (f"127.0.0.{2 + number % 32}", 0)
            clients.enter_context(socket.create_connection((host, int(port)), LIMIT, source))
        yield


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """As many as may be: clients and gateway are two processes, of which this one has the more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_descriptors")
@pytest.mark.parametrize("server", ["llhttp", "hypercorn"])
def test_two_thousand_clients_that_only_connect_keep_nobody_out(tmp_path: Path, server: str) -> None:
    """A4: of 1,024 places, as is the default."""
    text = gateway_config(tmp_path, server=server)
    with running_gateway(text + MORE, tmp_path, key=secrets.token_urlsafe(24)) as gateway, crowd(gateway, 2000):
        for _ in range(3):
            assert gateway.ask("GET", "/v1/models").status == 200
        gateway.process.send(signal.SIGTERM)
        assert gateway.process.wait_code() == 0

    assert "Traceback" not in gateway.process.stderr.text


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
    with running_gateway(text + MORE, tmp_path, key=secrets.token_urlsafe(24)) as gateway:
        resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE, (128, 128))
        with closing(Kept(gateway)) as kept:
            assert kept.says() == "ready"
            with crowd(gateway, CROWD):
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
