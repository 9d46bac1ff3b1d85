"""A gateway under load, with clients that leave and an upstream that fails: whom it serves, and what it holds.

The short form runs always; the long one is acceptance row I3.
"""

import random
import re
import secrets
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio
from processes import LIMIT, Gateway, RemoteUpstream, gateway_config, running_gateway, running_upstream

from turnout_upstream import Play, Rule, Script, plays

SERVERS = ("llhttp", "hypercorn")

FAULTS: dict[str, Play] = {
    "resets": plays.reset_after_request(),  # B6
    "stalls": plays.stall_mid_stream(2),  # B10
    "breaks": plays.reset_mid_stream(2),  # B11
    "zips": plays.gzipped(),  # B20
    "lies": plays.error_in_200(429),  # B22
}

MORE = """
[deadlines]
idle = "500ms"

[frontends.http.limits]
per_key = 512

[transports.pool]
keepalive = "200ms"

[providers.ill]
plugin = "openai"
base_url = "{ill}/v1"

[[providers.ill.credentials]]
name = "ill"
api_key = "sk-ill"
"""


def config(folder: Path, server: str, sound: str, ill: str) -> str:
    text = gateway_config(folder, sound, server=server, drain="5s", retry='max_wait = "0s"\nmax_credentials = 10')
    models = "".join(f'\n[[providers.ill.models]]\nname = "{name}"\n' for name in FAULTS)
    return text + MORE.format(ill=ill) + models


@contextmanager
def ill_upstream() -> Iterator[RemoteUpstream]:
    with running_upstream() as upstream:
        upstream.use(Script(rules=tuple(Rule(model=name, always=play) for name, play in FAULTS.items())))
        yield upstream


def resident(gateway: Gateway) -> int:
    """KiB of memory that the gateway holds."""
    text = Path(f"/proc/{gateway.process.pid}/status").read_text(encoding="ascii")
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    assert found is not None
    return int(found[1])


def sockets(gateway: Gateway) -> set[str]:
    """Inodes of the sockets that it has open."""
    found = set()
    for descriptor in Path(f"/proc/{gateway.process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            target = str(descriptor.readlink())
            found |= {target[8:-1]} if target.startswith("socket:[") else set()
    return found


def half_closed(gateway: Gateway) -> set[str]:
    """Those of its sockets whose peer has gone and that it has not closed: CLOSE_WAIT is state 08 (proc(5))."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    return {row[9] for row in rows if row[3] == "08"} & sockets(gateway)


@attrs.define
class Load:
    """Clients of one gateway, each with a connection of its own."""

    gateway: Gateway
    file: Path
    ends: Counter[str] = attrs.field(factory=Counter)
    broken: list[str] = attrs.field(factory=list)

    async def _connect(self) -> trio.SocketStream:
        host, port = self.gateway.url.removeprefix("http://").split(":")
        return await trio.open_tcp_stream(host, int(port))

    def _request(self, model: str, *, stream: bool) -> bytes:
        body = b'{"model":"%b","stream":%b,"messages":[]}' % (model.encode(), b"true" if stream else b"false")
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
            f"Authorization: Bearer {self.gateway.key}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    async def ask(self, model: str, *, stream: bool, leave: bool = False) -> None:
        """One request, read to its end or left after its first bytes."""
        answer = b""
        async with await self._connect() as client:
            await client.send_all(self._request(model, stream=stream))
            while piece := await client.receive_some():
                answer += piece
                if leave:
                    self.ends["left"] += 1
                    return
        whole = answer.endswith(b"[DONE]\n\n\r\n0\r\n\r\n") if stream else answer.endswith(b"}")
        sound = answer.startswith(b"HTTP/1.1 200 ") and whole
        self.ends["served" if sound else "failed"] += 1
        if model == "m" and not sound:
            self.broken.append(answer[:200].decode("latin-1"))

    def _reload(self, number: int) -> None:
        """Change a setting that matters to nobody here."""
        text = self.file.read_text(encoding="utf-8")
        fresh = self.file.with_suffix(".new")
        fresh.write_text(re.sub("max_credentials = .*", f"max_credentials = {10 + number}", text), encoding="utf-8")
        fresh.rename(self.file)
        self.gateway.process.send(signal.SIGHUP)

    @asynccontextmanager
    async def held(self, count: int) -> AsyncIterator[None]:
        """So many streams that have brought something and bring no more."""
        async with AsyncExitStack() as clients:
            for _ in range(count):
                client = await clients.enter_async_context(await self._connect())
                await client.send_all(self._request("m", stream=True))
                answer = b""
                while b"data: " not in answer:
                    piece = await client.receive_some()
                    assert piece, answer
                    answer += piece
            yield

    async def run(self, requests: int, every: float) -> None:
        """The mix of row I2: one in ten clients leaves, and one in twenty asks for each of the faults."""
        draw = random.Random(20261126)  # noqa: S311  # a mix that can be replayed
        async with trio.open_nursery() as nursery:
            for number in range(requests):
                at = draw.random()
                model = list(FAULTS)[int(at * 20)] if at < len(FAULTS) / 20 else "m"
                stream = model in {"stalls", "breaks"} or draw.random() < 0.5
                nursery.start_soon(partial(self.ask, model, stream=stream, leave=at > 0.9))
                if number % (requests // 2) == 1:
                    self._reload(number)
                await trio.sleep(every)


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize(("requests", "every"), [(160, 0.01), pytest.param(36_000, 1 / 60, marks=pytest.mark.long)])
def test_a_gateway_under_load_and_faults_serves_the_rest_and_keeps_nothing(
    tmp_path: Path, upstream: RemoteUpstream, server: str, requests: int, every: float
) -> None:
    """I3: what is not at fault is served, reloads or not; no socket, no half-closed connection, no memory is left."""
    upstream.use(Script(default=plays.events(20, every=0.01)))
    environment = {"PYTHONWARNINGS": "always::ResourceWarning"}
    with ill_upstream() as ill:
        text = config(tmp_path, server, upstream.url, ill.url)
        with running_gateway(text, tmp_path, key=secrets.token_urlsafe(24), env=environment) as gateway:
            load = Load(gateway, tmp_path / "turnout.toml")
            assert gateway.chat("m").status == 200
            before = len(sockets(gateway))
            trio.run(load.run, 60, every)
            held = resident(gateway)
            trio.run(load.run, requests, every)
            wait_settled(gateway, before)
            grown = resident(gateway) - held
            left = half_closed(gateway)
            gateway.process.send(signal.SIGTERM)
            assert gateway.process.wait_code() == 0

    said = gateway.process.stderr.text
    assert load.broken == []
    assert load.ends["served"] > requests / 2
    assert load.ends["left"] > requests / 20
    assert load.ends["failed"] > requests / 20
    assert left == set()
    assert grown < 12 * 1024
    assert "Warning" not in said
    assert "Traceback" not in said
    assert "generation 2 of the configuration is in force" in said


def wait_settled(gateway: Gateway, before: int) -> None:
    """Wait until it has no more sockets than before: each call closes what its upstreams have kept for too long."""
    until = time.monotonic() + LIMIT
    while gateway.chat("m").status != 200 or len(sockets(gateway)) > before:
        assert time.monotonic() < until, "connections were left open"
        time.sleep(0.05)


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("streams", [100, pytest.param(300, marks=pytest.mark.long)])
def test_an_idle_stream_costs_little_memory(
    tmp_path: Path, upstream: RemoteUpstream, server: str, streams: int
) -> None:
    """I5: after others that made whatever is made once."""
    upstream.use(Script(default=plays.stall_mid_stream(2)))
    text = config(tmp_path, server, upstream.url, upstream.url).replace('idle = "500ms"', 'idle = "60s"')
    with running_gateway(text, tmp_path, key=secrets.token_urlsafe(24)) as gateway:
        load = Load(gateway, tmp_path / "turnout.toml")

        async def held(count: int) -> int:
            async with load.held(count):
                return resident(gateway)

        before = trio.run(held, 30)
        each = (trio.run(held, streams) - before) / (streams - 30)

    assert each <= 64
