"""A provider whose outcomes are written down in advance, and that remembers what it was asked."""

import math
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import attrs
import trio

from turnout._values import EMPTY, Call, Chunk, Credential, Remaining, Reply, refuse
from turnout._verdicts import Failure
from turnout.errors import UpstreamFailed


def not_negative(owner: object, field: Any, value: Any) -> None:
    """A validator: a number that is not negative, and finite, or None where that is the default."""
    if value is None and field.default is None:
        return
    if not isinstance(value, int | float) or not 0 <= value < math.inf:
        refuse(f"{type(owner).__name__}.{field.name} must be a number from 0 on, not {value!r}", field.name)


@attrs.frozen(kw_only=True)
class Script:
    """How one call goes.

    Attributes:
        failure: raised instead of answering; for a stream after `chunks` have been given.
        body: of the reply.
        chunks: of the stream; None makes one payload of `body`.
        wait: seconds before the answer, the failure or the first chunk.
        gap: seconds before each further chunk.
        refuse: a stream fails while it is opened, not while it is read.
        raises: an exception of the provider's own, to play a bug.
        remaining: what it says is left of the credential's limits.
    """

    failure: Failure | None = None
    body: bytes = b"{}"
    chunks: Sequence[Chunk] | None = None
    wait: float = attrs.field(default=0.0, validator=not_negative)
    gap: float = attrs.field(default=0.0, validator=not_negative)
    refuse: bool = True
    raises: BaseException | None = None
    headers: Mapping[str, str] = EMPTY
    remaining: Remaining | None = None


OK = Script()


class ScriptedProvider:
    """Plays scripts: the next one queued for the credential, else for any credential, else `default`.

    `calls` lists every call in order; `open_streams` counts streams that were entered and not left, `closed` the ones
    that were left before their end.
    """

    api: ClassVar[int] = 1
    dialects: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, default: Script = OK, origin: str = "https://upstream.test:443") -> None:
        self.default = default
        self.calls: list[Call] = []
        self.open_streams = 0
        self.closed = 0
        self._origin = origin
        self._queues: dict[str, deque[Script]] = defaultdict(deque)

    def script(self, *scripts: Script, credential: str = "") -> None:
        """Queue scripts for calls with one credential, or with any when `credential` is empty."""
        self._queues[credential].extend(scripts)

    def called(self) -> list[str]:
        """Ids of the credentials that were called, in order."""
        return [call.credential.id for call in self.calls]

    def origin(self, credential: Credential) -> str:
        """The credential's `base_url`, which is to be an origin here, or the one origin of this provider."""
        return credential.attributes.get("base_url", "") or self._origin

    async def execute(self, call: Call) -> Reply:
        """Play the next script."""
        script = await self._begin(call)
        if script.failure is not None:
            raise UpstreamFailed(script.failure)
        return Reply(body=script.body, headers=script.headers, remaining=script.remaining)

    count = execute
    embed = execute

    @asynccontextmanager
    async def stream(self, call: Call) -> Any:
        """Play the next script as a stream."""
        script = await self._begin(call)
        if script.failure is not None and script.refuse and script.chunks is None:
            raise UpstreamFailed(script.failure)
        chunks = [Chunk(script.body)] if script.chunks is None and script.failure is None else script.chunks or ()
        playing = _Playing(chunks, script)
        self.open_streams += 1
        try:
            yield playing
        finally:
            self.open_streams -= 1
            self.closed += not playing.ended

    async def _begin(self, call: Call) -> Script:
        self.calls.append(call)
        queue = self._queues[call.credential.id] or self._queues[""]
        script = queue.popleft() if queue else self.default
        if script.wait:
            await trio.sleep(script.wait)
        else:
            await trio.lowlevel.checkpoint()
        if script.raises is not None:
            raise script.raises
        return script


class _Playing:
    def __init__(self, chunks: Iterable[Chunk], script: Script) -> None:
        self._chunks = iter(chunks)
        self._script = script
        self._first = True
        self.ended = False
        self.headers = script.headers
        self.remaining = script.remaining

    def __aiter__(self) -> "_Playing":
        return self

    async def __anext__(self) -> Chunk:
        if not self._first and self._script.gap:
            await trio.sleep(self._script.gap)
        else:
            await trio.lowlevel.checkpoint()
        self._first = False
        for chunk in self._chunks:
            return chunk
        self.ended = True
        if self._script.failure is not None:
            raise UpstreamFailed(self._script.failure)
        raise StopAsyncIteration
