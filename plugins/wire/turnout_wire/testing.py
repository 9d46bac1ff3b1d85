r"""A transport that plays scripts instead of opening connections, for the tests of providers.

    transport = ScriptedTransport(Script(body=[b"data: {}\n\n", 2.0, httpx.ReadError("")]))

It keeps what it saw: the requests, how many answers are still open, how many bytes were asked for. It works under
Trio's mock clock and opens nothing.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

import attrs
import httpx
import trio

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
