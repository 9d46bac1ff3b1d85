"""Chunks that are handed on by whoever has read them: in order, each once, and the waiting task learns of the rest."""

import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import final

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from turnout import Ask, Call, Chunk, Credential, Phase, Protocol, TimedOut
from turnout._bootstrap import StreamAttempt
from turnout._handing_on import HandingOn
from turnout._plugin_calls import plugin_code
from turnout._scope import CallScope, Open
from turnout.abc import Limits
from turnout.errors import PluginError, UpstreamFailed
from turnout.testing import Script, ScriptedProvider

LIMITS = Limits(first_payload=10, idle=5)
CALL = Call(ask=Ask(model="m"), credential=Credential(id="a", provider="scripted"), model="m")
BORDER = plugin_code("turnout.providers", "scripted")
BROKEN = UpstreamFailed(Protocol(message="it broke"))


# By value


@final
class Source:
    """Chunks by the read, and how it ends: with its `end`, or never."""

    def __init__(self, reads: Sequence[Sequence[bytes]], end: BaseException | None) -> None:
        self.reads = [list(read) for read in reads]
        self.end = end
        self.came: list[Chunk] = []
        self.over = False

    def arrive(self) -> bool:
        """Let the next read come; False when it was the last one. The end comes with the last read."""
        if self.reads:
            self.came += [Chunk(data) for data in self.reads.pop(0)]
        self.over = not self.reads
        return bool(self.reads)

    def read(self) -> Chunk | None:
        if self.came:
            return self.came.pop(0)
        if self.over and self.end is not None:
            raise self.end
        return None

    def unread(self, chunk: Chunk) -> None:
        self.came.insert(0, chunk)


READS = st.lists(st.lists(st.binary(min_size=1, max_size=3), max_size=4), max_size=6)


@given(
    reads=READS,
    end=st.sampled_from([None, StopAsyncIteration(), BROKEN]),
    refusals=st.lists(st.booleans(), max_size=30),
)
def test_whatever_comes_goes_once_in_order_and_the_end_is_told_when_all_before_it_has_gone(
    reads: Sequence[Sequence[bytes]], end: BaseException | None, refusals: list[bool]
) -> None:
    source, taken, waits = Source(reads, end), list[bytes](), list[int]()
    answers = iter(refusals)

    def take(data: bytes) -> bool:
        taken.append(data)
        return not next(answers, False)

    handing = HandingOn(take, source.read, source.unread, lambda: waits.append(len(taken)))
    late: BaseException | None = None
    while True:
        came = source.arrive()
        settled = handing.more()
        while settled and handing.refused:  # the task waits for the client, and comes again
            assert handing.last is None
            assert len(taken) > sum(waits[-1:])
            late = handing.fault
            if late is not None:
                break
            handing = HandingOn(take, source.read, source.unread, lambda: waits.append(len(taken)))
            settled = handing.more()
        if settled or late:
            break
        assert source.came == []  # nothing that could have gone is held back
        if not came:
            break

    whole = b"".join(data for read in reads for data in read)
    assert b"".join(taken) + (handing.last or b"") == whole
    assert (handing.last is not None) == isinstance(end, StopAsyncIteration)
    assert (handing.fault is BROKEN) == (end is BROKEN)
    assert waits == sorted(set(waits))  # progress is told once for what has gone, and not for nothing


@given(chunks=st.lists(st.binary(min_size=1, max_size=3), min_size=1, max_size=4))
def test_what_comes_with_the_end_is_kept_for_going_out_with_it(chunks: Sequence[bytes]) -> None:
    source, taken = Source([chunks], StopAsyncIteration()), list[bytes]()
    source.arrive()

    def take(data: bytes) -> bool:
        taken.append(data)
        return True

    handing = HandingOn(take, source.read, source.unread, lambda: None)

    assert handing.more()
    assert (taken, handing.last) == (list(chunks[:-1]), chunks[-1])


def test_nothing_is_read_any_more_once_the_task_has_something_to_do() -> None:
    source = Source([[b"a", b"b"], [b"c"]], None)
    source.arrive()
    handing = HandingOn(lambda _data: False, source.read, source.unread, lambda: None)
    assert handing.more()
    source.arrive()
    assert handing.more()
    assert [chunk.data for chunk in source.came] == [b"b", b"c"]


# In a stream


@attrs.define(eq=False)
class Told:
    """A stream whose bytes are read by another task, as our transport's are; implements `TakesNowait`.

    `polite`: it asks before it wakes the task that waits.
    """

    polite: bool = True
    headers: Mapping[str, str] = attrs.field(factory=dict)
    ready: list[Chunk | BaseException] = attrs.field(factory=lambda: [Chunk(b"first")])
    woken: int = 0
    _waiter: trio.Event | None = None
    _enough: Callable[[], bool] | None = None

    def __aiter__(self) -> "Told":
        return self

    async def __anext__(self) -> Chunk:
        while (chunk := self.take_nowait()) is None:
            await self.wait()
        return chunk

    def take_nowait(self) -> Chunk | None:
        if not self.ready:
            return None
        next_one = self.ready.pop(0)
        if isinstance(next_one, BaseException):
            raise next_one  # once, as a body does whose connection has been given back
        return next_one

    async def wait(self, enough: Callable[[], bool] | None = None) -> None:
        self._waiter, self._enough = trio.Event(), enough
        try:
            await self._waiter.wait()
        finally:
            self._waiter = self._enough = None
        self.woken += 1

    def come(self, *what: Chunk | BaseException) -> None:
        """Something has been read, in the task that calls this."""
        self.ready += what
        if self._waiter is not None and not (self.polite and self._enough is not None and not self._enough()):
            self._waiter.set()


class ToldProvider(ScriptedProvider):
    def __init__(self, told: Told) -> None:
        super().__init__(Script())
        self.told = told

    @asynccontextmanager
    async def stream(self, call: Call) -> AsyncIterator[Told]:
        yield self.told


@attrs.frozen
class Terms:
    deadline: float = math.inf
    total: float = math.inf
    number: int = 1

    @property
    def generation(self) -> "Terms":
        return self


def attempt(provider: ScriptedProvider, open_scopes: Open | None = None) -> StreamAttempt:
    scope = CallScope(open_scopes or Open(), Terms(), trio.current_time() + 10, Phase.FIRST_PAYLOAD)
    return StreamAttempt(provider, CALL, LIMITS, scope, BORDER, held_bytes=4096)


@attrs.define(eq=False)
class Client:
    """Takes what is handed on, until it is told not to."""

    taken: list[bytes] = attrs.field(factory=list)
    last: bytes | None = b"nothing yet"
    willing: bool = True

    def take(self, data: bytes) -> bool:
        self.taken.append(data)
        return self.willing

    async def follow(self, stream: StreamAttempt) -> None:
        self.last = await stream.hand_on(self.take)


async def test_the_waiting_task_is_woken_for_the_end_only() -> None:
    told, client = Told(), Client()
    async with attempt(ToldProvider(told)) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(client.follow, stream)
        for word in (b"one", b"two", b"three"):
            await wait_all_tasks_blocked()
            told.come(Chunk(word))
            assert client.taken[-1] == word  # at once, in this very task
        assert told.woken == 0
        told.come(Chunk(b"four"), StopAsyncIteration())
    assert client.taken == [b"first", b"one", b"two", b"three"]
    assert (client.last, told.woken) == (b"four", 1)


async def test_a_stream_that_wakes_its_task_for_everything_is_handed_on_as_well() -> None:
    told, client = Told(polite=False), Client()
    async with attempt(ToldProvider(told)) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(client.follow, stream)
        for word in (b"one", b"two"):
            await wait_all_tasks_blocked()
            told.come(Chunk(word))
        await wait_all_tasks_blocked()
        told.come(StopAsyncIteration())
    assert (client.taken, client.last) == ([b"first", b"one", b"two"], b"")


async def test_a_stream_that_tells_nothing_is_asked_for_each_chunk() -> None:
    client = Client()
    async with attempt(ScriptedProvider(Script(chunks=[Chunk(b"a"), Chunk(b"b"), Chunk(b"c")]))) as stream:
        client.willing = False
        assert await stream.hand_on(client.take) is None
        client.willing = True
        assert await stream.hand_on(client.take) == b""
    assert client.taken == [b"a", b"b", b"c"]


async def test_what_came_before_the_payload_keeps_its_place_whenever_the_client_stops() -> None:
    told, client = Told(ready=[Chunk(b"1", payload=False), Chunk(b"2", payload=False), Chunk(b"3")]), Client()
    client.willing = False
    async with attempt(ToldProvider(told)) as stream:
        for _ in range(3):
            assert await stream.hand_on(client.take) is None
    assert client.taken == [b"1", b"2", b"3"]


async def test_while_the_client_takes_nothing_no_more_is_read_and_no_limit_on_silence_runs(
    autojump_clock: MockClock,
) -> None:
    """B10 is about the upstream: a client may be as slow as it likes."""
    told, client, open_scopes = Told(), Client(willing=False), Open()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(open_scopes.watch)
        async with attempt(ToldProvider(told), open_scopes) as stream:
            told.come(Chunk(b"one"))
            assert await stream.hand_on(client.take) is None
            assert client.taken == [b"first"]
            await trio.sleep(10 * LIMITS.idle)
            client.willing = True
            told.come(StopAsyncIteration())
            assert await stream.hand_on(client.take) == b"one"
        nursery.cancel_scope.cancel()


async def test_silence_is_measured_from_chunk_to_chunk(autojump_clock: MockClock) -> None:
    """B10: each chunk buys another idle limit, and the silence after the last one ends the stream."""
    told, client, open_scopes = Told(), Client(), Open()

    async def speak() -> None:
        for _ in range(4):
            await trio.sleep(LIMITS.idle - 1)
            told.come(Chunk(b"word"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(open_scopes.watch)
        nursery.start_soon(speak)
        began = trio.current_time()
        with pytest.raises(UpstreamFailed) as caught:
            async with attempt(ToldProvider(told), open_scopes) as stream:
                await client.follow(stream)
        assert isinstance(caught.value.verdict, TimedOut)
        assert client.taken == [b"first", *[b"word"] * 4]
        assert 5 * LIMITS.idle - 4 <= trio.current_time() - began <= 5 * LIMITS.idle - 4 + 0.6
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("polite", [True, False])
async def test_bytes_that_make_no_chunk_do_not_postpone_the_limit_of_who_is_handed_chunks(
    autojump_clock: MockClock, *, polite: bool
) -> None:
    """B17, F8: progress is a whole event, and a task that was woken for less has waited no shorter."""
    told, client, open_scopes = Told(polite=polite), Client(), Open()

    async def drip() -> None:
        while True:
            await trio.sleep(1)
            told.come()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(open_scopes.watch)
        nursery.start_soon(drip)
        began = trio.current_time()
        with pytest.raises(UpstreamFailed), trio.fail_after(100):
            async with attempt(ToldProvider(told), open_scopes) as stream:
                await client.follow(stream)
        assert trio.current_time() - began <= LIMITS.idle + 0.6
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("willing", [True, False])
async def test_a_failure_is_raised_in_the_task_that_waits_once_what_came_before_it_has_gone(willing: bool) -> None:
    told, client = Told(), Client()
    async with attempt(ToldProvider(told)) as stream:
        assert await stream.next_chunk() == Chunk(b"first")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail_at_last, stream, client)
            await wait_all_tasks_blocked()
            client.willing = willing
            told.come(Chunk(b"one"), BROKEN)
    assert client.taken == [b"one"]
    assert stream.failure is BROKEN


async def fail_at_last(stream: StreamAttempt, client: Client) -> None:
    """Follow a stream that breaks, and come again if the client was not willing."""
    with trio.fail_after(5), pytest.raises(UpstreamFailed) as caught:
        while await stream.hand_on(client.take) is None:
            pass
    assert caught.value is BROKEN


async def test_a_bug_of_the_provider_is_told_as_such_to_the_task_that_waits() -> None:
    """H10."""
    told, client = Told(), Client()
    with pytest.raises(PluginError, match="ZeroDivisionError"):
        async with attempt(ToldProvider(told)) as stream:
            told.come(ZeroDivisionError("secret"))
            await client.follow(stream)
    for wrong in (b"bytes", Chunk("text")):  # type: ignore[arg-type]  # that is the point
        told = Told()
        with pytest.raises(PluginError, match="no Chunk of bytes"):
            async with attempt(ToldProvider(told)) as stream:
                told.ready.append(wrong)  # type: ignore[arg-type]
                await client.follow(stream)


async def test_a_bug_of_who_takes_the_chunks_is_nobody_elses() -> None:
    told = Told()

    def take(_data: bytes) -> bool:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        async with attempt(ToldProvider(told)) as stream:
            await stream.hand_on(take)
    assert stream.failure is None


async def test_whoever_is_cancelled_meanwhile_is_handed_nothing_any_more() -> None:
    told, client = Told(), Client()
    async with attempt(ToldProvider(told)) as stream:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.follow, stream)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        told.come(Chunk(b"late"))
    assert client.taken == [b"first"]
