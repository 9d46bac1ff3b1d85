"""`open_upstream()`: a scripted upstream inside the caller's block."""

import contextlib
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import final

import attrs
import trio

from turnout_upstream import _openai as openai
from turnout_upstream._connection import Connection
from turnout_upstream._log import Log, Request
from turnout_upstream._parser import Head
from turnout_upstream._render import Step, Wants, steps
from turnout_upstream._script import How, Play, Rule, Script
from turnout_upstream._wire import PlainWire, TlsWire, accept, listen

NOT_SPOKEN = Play(status=404)


@final
@attrs.define
class _Open:
    """A rule, and the plays it has left."""

    rule: Rule
    left: deque[Play]

    def wants(self, key: str | None, path: str, model: str | None) -> bool:
        rule = self.rule
        return (
            (rule.key is None or rule.key == key)
            and (rule.path is None or rule.path == path)
            and (rule.model is None or rule.model == model)
            and (bool(self.left) or rule.always is not None)
        )

    def take(self) -> Play | None:
        return self.left.popleft() if self.left else self.rule.always

    def peek(self) -> Play | None:
        return self.left[0] if self.left else self.rule.always


class Upstream:
    """A running scripted upstream.

    Attributes:
        url: `http://127.0.0.1:PORT`, or `https://localhost:PORT` with TLS.
        log: what it saw.
    """

    def __init__(self, url: str, script: Script, log: Log) -> None:
        self.url = url
        self.log = log
        self.use(script)

    def use(self, script: Script) -> None:
        """Follow another script from the next request and connection on; what is being played goes on."""
        self.script = script
        self._rules = [_Open(rule, deque(rule.plays)) for rule in script.rules]
        self._fates = deque(script.connections)

    def add(self, *rules: Rule) -> None:
        """Put rules ahead of those that are there."""
        self._rules[:0] = [_Open(rule, deque(rule.plays)) for rule in rules]

    async def wait_for(self, condition: Callable[[Log], bool]) -> None:
        """Wait until the log fulfils the condition. Put a deadline around it."""
        await self.log.wait_for(condition)

    def next_fate(self) -> How | None:
        """How the connection just accepted ends at once; None to serve it."""
        return self._fates.popleft() if self._fates else self.script.connection

    async def choose(self, request: Request) -> tuple[Step, ...]:
        """Take the next play for a request and give its steps; does not wait."""
        play = self._take(request)
        return steps(play, Wants(request.path, request.model, request.stream, request.usage), self.script.models)

    def early(self, head: Head) -> Play | None:
        """The play for a request whose body is still arriving, if it is an early one; it is not taken yet."""
        play = next((r.peek() for r in self._rules if r.wants(head.key, head.path, None)), self.script.default)
        return play if play is not None and play.early else None

    def _take(self, request: Request) -> Play:
        for rule in self._rules:
            if rule.wants(request.key, request.path, request.model):
                play = rule.take()
                if play is not None:
                    return play
        return self.script.default if openai.speaks(request.path) else NOT_SPOKEN


@asynccontextmanager
async def open_upstream(
    script: Script | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    tls_context: ssl.SSLContext | None = None,
    keep: int = 10_000,
) -> AsyncIterator[Upstream]:
    """Serve a script while the block runs; at its end every connection is closed at once.

    Args:
        host: address to listen on.
        script: what to do; None answers every request soundly.
        port: 0 takes a free one; `upstream.url` says which.
        tls_context: server side; None serves plain HTTP.
        keep: how many requests and endings the log holds.

    Raises:
        OSError: the port is taken.
    """
    with contextlib.closing(listen(host, port)) as listener:
        upstream = Upstream(_url(listener, tls_context is not None), script or Script(), Log(keep))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_on, listener, upstream, tls_context)
            yield upstream
            nursery.cancel_scope.cancel()


def _url(listener: socket.socket, tls: bool) -> str:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"https://localhost:{port}" if tls else f"http://{shown}:{port}"


async def serve_on(listener: socket.socket, upstream: Upstream, tls_context: ssl.SSLContext | None = None) -> None:
    """Accept connections and serve them, for ever."""
    async with trio.open_nursery() as nursery:
        while True:
            sock = await accept(listener)
            wire = PlainWire(sock) if tls_context is None else TlsWire(sock, tls_context)
            connection = Connection(wire, upstream.log, upstream.choose, upstream.early)
            nursery.start_soon(connection.run, upstream.next_fate())


@contextmanager
def refused_url() -> Iterator[str]:
    """An address on which every connection is refused while the block runs: bound, but nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
