"""Upstreams that fail in every way there is, by chance that can be replayed."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any, ClassVar

import attrs
import trio

from turnout._values import EMPTY, Call, Chunk, Credential, Metadata, Operation, Reply
from turnout._verdicts import (
    FAILURES,
    Blame,
    CountUnsupported,
    Done,
    Empty,
    Failure,
    Inexpressible,
    Protocol,
    Sent,
    Unauthorized,
)
from turnout.errors import UpstreamFailed
from turnout.testing._case import Attempt
from turnout.testing._referee import Referee, generation_of

EMPTY_STREAM = Empty(message="upstream stream closed before first payload")
FLOOD = Protocol(message="more than 64 KiB came before any payload (turnout.bootstrap_bytes, and twice the request)")
"""What the kernel itself makes of streams without a payload."""

PREAMBLE = Chunk(b": ping\n\n", payload=False)
PAYLOAD = Chunk(b"data: x\n\n")

ILL = [kind for kind in FAILURES if kind.blame is Blame.ORIGIN]
"""How an upstream fails that is ill itself: those failures add up, where others do not."""

ILL_SHARE = 0.9
"""Of its calls go wrong."""

MOODS: Sequence[Sequence[type[Failure]]] = (FAILURES, FAILURES, ILL)
"""Among what the failures of one simulation are chosen."""

WAYS = ("fail", "fail", "fail", "stall", "bug")
STREAM_WAYS = (*WAYS, "fail first", "empty", "flood", "stall first", "break", "stall later", "bug later")


class Bug(Exception):
    """A mistake of a provider's own."""


class FaultyUpstreams:
    """Every upstream of a simulation.

    Attributes:
        share: of the calls that go wrong, 0 to 1.
        slow: calls that go well may take a while.
        open_streams: entered and not left.
    """

    api: ClassVar[int] = 1
    dialects: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self,
        chance: Random,
        referee: Referee,
        share: float,
        sleep: Callable[[float], Awaitable[None]] = trio.sleep,
    ) -> None:
        self._chance = chance
        self._sleep = sleep
        self._referee = referee
        self._numbers = 0
        self._kinds = chance.choice(MOODS)
        if self._kinds is ILL:
            share = ILL_SHARE
        self.share = share
        self.slow = True
        self.open_streams = 0

    def origin(self, credential: Credential) -> str:
        """The credential's own, one for each provider, or one for all where it is ill."""
        provider = "all" if self._kinds is ILL else credential.provider
        return credential.attributes.get("base_url", "") or f"https://{provider}.test:443"

    # --- calls -------------------------------------------------------------------------------------------------------

    async def execute(self, call: Call) -> Reply:
        """Answer, or go wrong."""
        async with self._attempt(call) as attempt:
            ends = await self._open(call, self._way(WAYS))
            attempt.end(Done() if ends is None else ends)
            if ends is not None:
                raise UpstreamFailed(ends)
            self._referee.commit(attempt)
            return Reply(body=b"{}")

    count = execute

    @asynccontextmanager
    async def stream(self, call: Call) -> Any:
        """Open a stream, or go wrong, now or later."""
        way = self._way(STREAM_WAYS)
        async with self._attempt(call) as attempt:
            ends = await self._open(call, way)
            attempt.end(ends)
            if ends is not None:
                raise UpstreamFailed(ends)
            attempt.answered = True
            self.open_streams += 1
            try:
                yield _Stream(self, call, attempt, way)
            finally:
                self.open_streams -= 1

    @asynccontextmanager
    async def _attempt(self, call: Call) -> AsyncIterator[Attempt]:
        attempt = self._referee.begin(call)
        try:
            yield attempt
        except trio.Cancelled:
            attempt.cut = True
            raise
        finally:
            self._referee.over(attempt)

    async def _open(self, call: Call, way: str) -> Failure | None:
        """What comes before the answer; gives how it fails, None when it does not."""
        await self._sleep(self._chance.choice((0, 0, 0.01, 0.5, 4)) if self.slow else 0)
        if way == "stall":
            await trio.sleep_forever()
        if way == "bug":
            raise Bug(call.ask.id)
        return self.failure(call.ask.operation) if way == "fail" else None

    def failure(self, operation: Operation = Operation.GENERATE) -> Failure:
        """Any failure there is, numbered so that its record can be told from others."""
        self._numbers += 1
        chance = self._chance
        counting = operation is Operation.COUNT
        kind = chance.choice([one for one in self._kinds if counting or one is not CountUnsupported])
        sent = chance.choice((Sent.NO, Sent.ANSWERED, Sent.ANSWERED, Sent.MAYBE))
        return kind(
            message=f"#{self._numbers}",
            sent=Sent.NO if kind is Inexpressible else sent,
            retry_after=chance.choice((None, None, None, -1.0, 0.0, 0.5, 2.0, 20.0, 400.0, 1e30, float("nan"))),
        )

    def _way(self, ways: tuple[str, ...]) -> str:
        return self._chance.choice(ways) if self._chance.random() < self.share else "well"

    async def next_chunk(self, stream: "_Stream") -> Chunk:
        """What a stream gives next."""
        way, given = stream.way, stream.given
        await self._sleep(self._chance.choice((0, 0, 0.1, 2)))
        if way == "stall first" or (way == "stall later" and given > 1):
            await trio.sleep_forever()
        if way == "fail first" or (way == "break" and given > 1):
            raise UpstreamFailed(stream.ends(self.failure()))
        if way == "bug later" and given > 1:
            raise Bug(stream.call.ask.id)
        if way == "flood":
            stream.attempt.end(FLOOD if given else None)
            return Chunk(bytes(40_000), payload=False)
        if way == "empty" or given > stream.length:
            stream.ends(EMPTY_STREAM if way == "empty" else Done())
            raise StopAsyncIteration
        return self._payload(stream) if given else PREAMBLE

    def _payload(self, stream: "_Stream") -> Chunk:
        self._referee.commit(stream.attempt)
        stream.ends(Done())  # until it fails: whoever leaves it early has seen that the credential works (O36)
        return PAYLOAD

    def a_length(self) -> int:
        """Chunks of a stream that ends well."""
        return self._chance.randint(1, 5)


class _Stream:
    def __init__(self, upstreams: FaultyUpstreams, call: Call, attempt: Attempt, way: str) -> None:
        self._upstreams = upstreams
        self.call = call
        self.attempt = attempt
        self.way = way
        self.given = 0
        self.length = upstreams.a_length()
        self.headers = EMPTY

    def __aiter__(self) -> "_Stream":
        return self

    async def __anext__(self) -> Chunk:
        try:
            chunk = await self._upstreams.next_chunk(self)
        except trio.Cancelled:
            self.attempt.cut = True
            raise
        self.given += 1
        return chunk

    def ends(self, verdict: Any) -> Any:
        """This is how it ends, as far as is known."""
        self.attempt.end(verdict)
        return verdict


class FaultyRenewals(FaultyUpstreams):
    """The same, where credentials can be refreshed."""

    def refresh_lead(self, credential: Credential) -> float | None:  # noqa: ARG002 # the protocol's argument
        """Five minutes."""
        return 300.0

    async def refresh(self, credential: Credential, transport: object) -> Credential | None:  # noqa: ARG002 # likewise
        """Renew, or go wrong."""
        self._referee.refresh_begins(credential)
        try:
            way = self._way(("fail", "fail", "stall", "bug", "nothing", "short"))
            await self._sleep(self._chance.choice((0, 1, 9)))
            return await self._renew(credential, way)
        finally:
            self._referee.refresh_ends(credential)

    async def _renew(self, credential: Credential, way: str) -> Credential | None:
        if way == "stall":
            await trio.sleep_forever()
        if way == "bug":
            raise Bug(credential.id)
        if way == "fail":
            refused = Unauthorized(message="refused") if self._chance.random() < 0.3 else self.failure()
            raise UpstreamFailed(refused)
        if way == "nothing":
            return None
        generation = generation_of(credential) + 1
        lasts = -5 if way == "short" else self._chance.choice((200, 3600))
        data = {"generation": generation, "expires_at": self._referee.wall() + lasts}
        return attrs.evolve(credential, metadata=Metadata({**(credential.metadata or {}), **data}))
