r"""A transport that plays scripts instead of opening connections, for the tests of providers.

    transport = ScriptedTransport(Script(body=[b"data: {}\n\n", 2.0, httpx.ReadError("")]))

It keeps what it saw: the requests, how many answers are still open, how many bytes were asked for. It works under
Trio's mock clock and opens nothing.
"""

import math
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from types import MappingProxyType

import attrs
import httpx
import trio

from turnout import (
    Done,
    Failed,
    Failure,
    InvalidRequest,
    ModelMissing,
    Operation,
    Overloaded,
    PaymentRequired,
    Protocol,
    RateLimited,
    Transient,
    Unauthorized,
)
from turnout.testing import CANARY, Scene
from turnout_wire import verdict

EMPTY: Mapping[str, str] = MappingProxyType({})

REFUSALS: Mapping[str, type[Failure]] = {
    "301": Protocol,
    "307": Protocol,
    "400": Failed,
    "401": Unauthorized,
    "402": PaymentRequired,
    "403": PaymentRequired,
    "404": ModelMissing,
    "408": Transient,
    "413": InvalidRequest,
    "422": InvalidRequest,
    "429": RateLimited,
    "500": Transient,
    "503": Transient,
    "529": Overloaded,
}
"""Statuses that `HttpDouble` refuses with, and the verdict that each is due (design 9)."""

Step = bytes | float | Exception
"""Bytes to give, seconds to wait first (`math.inf` stalls for ever), or a failure to raise."""


@attrs.frozen(kw_only=True)
class Script:
    """One answer.

    Attributes:
        before: seconds until its headers, or the failure that comes instead of them.
        body: what reading it gives, step by step.
        closing: seconds that closing takes.
    """

    status: int = 200
    headers: Mapping[str, str] | Sequence[tuple[str, str]] = attrs.field(factory=dict)
    before: float | Exception = 0.0
    body: Iterable[Step] = ()
    closing: float = 0.0


class ScriptedBody(httpx.AsyncByteStream):
    """The body of a scripted answer; reads one step at a time, only when asked."""

    def __init__(self, transport: "ScriptedTransport", script: Script) -> None:
        self._transport = transport
        self._steps = iter(script.body)
        self._closing = script.closing
        self._open = True

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Itself: there is one reader."""
        return self

    async def __anext__(self) -> bytes:
        """The next bytes of the script."""
        await trio.lowlevel.checkpoint()
        for step in self._steps:
            if isinstance(step, Exception):
                raise step
            if isinstance(step, bytes):
                self._transport.bytes_read += len(step)
                return step
            await trio.sleep(step)
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Close it; twice is as good as once."""
        if self._open:
            self._open = False
            self._transport.open -= 1
            await trio.sleep(self._closing)


class ScriptedTransport(httpx.AsyncBaseTransport):
    """Answers each request with the next script, the last one again and again.

    Attributes:
        requests: as they came.
        open: answers, or requests that wait for one, that are not closed yet.
        bytes_read: of all bodies so far.
    """

    def __init__(self, *scripts: Script) -> None:
        self._scripts = list(scripts)
        self.requests: list[httpx.Request] = []
        self.open = 0
        self.bytes_read = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Play the next script."""
        script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
        self.requests.append(request)
        self.open += 1
        answered = False
        try:
            if isinstance(script.before, Exception):
                await trio.lowlevel.checkpoint()
                raise script.before
            await trio.sleep(script.before)
            answered = True
        finally:
            if not answered:
                self.open -= 1
        headers = script.headers.items() if isinstance(script.headers, Mapping) else script.headers
        return httpx.Response(script.status, headers=list(headers), stream=ScriptedBody(self, script))


def outcome(
    status: int,
    text: str = "",
    headers: Mapping[str, str] = EMPTY,
    *,
    operation: Operation = Operation.GENERATE,
    now: float = 0.0,
) -> Failure | Done:
    """How an attempt ends that an upstream answers so; for the scripts of `turnout.testing.Scenario`.

    `headers` have lower-case names, `now` is POSIX seconds. Every 2xx is `Done`: what a provider finds wrong with the
    body of a success is not looked at.
    """
    if 200 <= status < 300:
        return Done()
    return verdict(status, text.encode(), headers, now=now, operation=operation)


def events(*texts: str, done: bool = True) -> list[bytes]:
    """A chat completion stream: a role, these texts, a finish and `[DONE]`, one event each."""
    deltas = ['{"role":"assistant","content":""}', *(f'{{"content":"{text}"}}' for text in texts), "{}"]
    finishes = ["null"] * (len(deltas) - 1) + ['"stop"']
    choices = [
        f'{{"index":0,"delta":{delta},"finish_reason":{finish}}}'
        for delta, finish in zip(deltas, finishes, strict=True)
    ]
    chunks = [f'data: {{"object":"chat.completion.chunk","choices":[{choice}]}}\n\n' for choice in choices]
    return [chunk.encode() for chunk in chunks] + ([b"data: [DONE]\n\n"] if done else [])


class HttpDouble:
    """An upstream for `turnout.testing.check_provider`, for any provider that speaks HTTP.

    `reply` is a sound answer in one piece, `events` a sound stream, one piece with a payload in each but the first and
    the last, and in whatever format the upstream has: `media_type` is what it calls its streams. The body of every
    refusal echoes the key, as some vendors do (S45).
    """

    refusals: Mapping[str, type[Failure]] = REFUSALS

    def __init__(self, *, reply: bytes, events: Sequence[bytes], media_type: str = "text/event-stream") -> None:
        self._reply = reply
        self._media_type = media_type
        self._events = list(events)
        self._transports: list[ScriptedTransport] = []

    @property
    def exchanges(self) -> int:
        """How many were begun so far."""
        return sum(len(transport.requests) for transport in self._transports)

    @property
    def open(self) -> int:
        """How many of them are not closed."""
        return sum(transport.open for transport in self._transports)

    @property
    def bytes_read(self) -> int:
        """How much was read of all answers so far."""
        return sum(transport.bytes_read for transport in self._transports)

    def play(self, scene: Scene | str, *, stream: bool) -> ScriptedTransport:
        """A transport that plays a scene, or the refusal of that name."""
        transport = ScriptedTransport(self._script(scene, stream=stream))
        self._transports.append(transport)
        return transport

    def _script(self, scene: Scene | str, *, stream: bool) -> Script:
        if isinstance(scene, str):
            echo = f'{{"error":{{"message":"no to {CANARY}"}}}}'.encode()
            return Script(status=int(scene), headers={"content-type": "application/json"}, body=[echo])
        if scene in _BEFORE:
            return Script(before=_BEFORE[scene])
        sound = self._events if stream else [self._reply[:5], self._reply[5:]]
        half: list[Step] = [*(sound[: len(sound) // 2 + 1] if stream else sound[:1])]
        bodies: dict[Scene, list[Step]] = {
            Scene.SOUND: [*sound],
            Scene.BROKEN_OFF: [*half, httpx.ReadError("")],
            Scene.CUT_SHORT: half,
            Scene.SILENT_BODY: [math.inf],
            Scene.SILENT_LATER: [*half, math.inf],
        }
        media_type = self._media_type if stream else "application/json"
        return Script(headers={"content-type": media_type}, body=bodies[scene], closing=math.inf)


_BEFORE: Mapping[Scene, float | Exception] = {
    Scene.NO_CONNECTION: httpx.ConnectError(f"https://{CANARY}@upstream.test"),
    Scene.NO_ANSWER: httpx.RemoteProtocolError(f"https://{CANARY}@upstream.test"),
    Scene.SILENT: math.inf,
}
