"""A lasting scope: one task's calls share it, and each ends as it would in a scope of its own."""

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from turnout import Ask, Call, Chunk, Kernel, LastingScope, Operation, Phase, RateLimited, Reply, TimedOut
from turnout.errors import DeadlineExceeded, Draining, InvalidAsk, TurnoutError, UpstreamFailed
from turnout.testing import Script, ScriptedProvider, scripted_kernel

TOML = """
[turnout]
drain = "5s"
[retry]
passes = 1
max_wait = "0s"
[deadlines]
headers = "7s"
first_payload = "8s"
idle = "3s"
total = "100s"
[[providers.scripted.models]]
name = "m"
[[providers.scripted.credentials]]
name = "a"
api_key = "key-of-a-0123456789"
[[providers.scripted.credentials]]
name = "b"
api_key = "key-of-b-0123456789"
"""
ASK = Ask(model="m")
SILENT = Script(wait=1000)
STALLS = Script(chunks=[Chunk(b"1"), Chunk(b"2")], gap=50)


@asynccontextmanager
async def kernel_of(*scripts: Script) -> AsyncIterator[tuple[Kernel, ScriptedProvider]]:
    provider = ScriptedProvider()
    provider.script(*scripts)
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel:
        yield kernel, provider


async def execute(kernel: Kernel, ask: Ask, under: LastingScope) -> None:
    await kernel.execute(ask, under)


async def count(kernel: Kernel, ask: Ask, under: LastingScope) -> None:
    await kernel.count(ask, under)


async def stream(kernel: Kernel, ask: Ask, under: LastingScope) -> None:
    async with kernel.stream(ask, under) as chunks:
        async for _ in chunks:
            pass


WAYS = pytest.mark.parametrize("way", [execute, count, stream])
Way = Callable[[Kernel, Ask, LastingScope], Awaitable[None]]


async def ended(way: Way, kernel: Kernel, ask: Ask, under: LastingScope) -> tuple[TurnoutError, float]:
    """The error by which a call ended, and after how long."""
    began = trio.current_time()
    with pytest.raises(TurnoutError) as caught:
        await way(kernel, ask, under)
    return caught.value, trio.current_time() - began


@WAYS
async def test_a_limit_ends_the_attempt_and_the_call_goes_on(way: Way, autojump_clock: MockClock) -> None:
    """O38, C8: the next credential is called under the same scope, with a limit of its own."""
    async with kernel_of(SILENT, SILENT) as (kernel, provider):
        with LastingScope() as under:
            error, took = await ended(way, kernel, ASK, under)
            assert isinstance(error, UpstreamFailed)
            assert isinstance(error.verdict, TimedOut)
            assert error.verdict.phase is (Phase.FIRST_PAYLOAD if way is stream else Phase.HEADERS)
            least = 16 if way is stream else 14
            assert least <= took <= least + 0.1  # and a pause of at most 50 ms between the two
            assert sorted(provider.called()) == ["a", "b"]
            assert provider.open_streams == 0


@WAYS
async def test_the_deadline_of_the_call_ends_it_and_the_next_call_is_served(
    way: Way, autojump_clock: MockClock
) -> None:
    """C8.3: one call's end is none of the next one's business."""
    async with kernel_of(SILENT) as (kernel, _):
        with LastingScope() as under:
            error, took = await ended(way, kernel, Ask(model="m", deadline=2.5), under)
            assert isinstance(error, DeadlineExceeded)
            assert math.isclose(took, 2.5)
            for _ in range(3):
                await way(kernel, ASK, under)


async def test_a_sooner_limit_than_those_that_are_watched_already_is_met(autojump_clock: MockClock) -> None:
    async with kernel_of(SILENT, SILENT, SILENT) as (kernel, _), trio.open_nursery() as nursery:
        took = []

        async def call(deadline: float) -> None:
            with LastingScope() as under:
                took.append((await ended(execute, kernel, Ask(model="m", deadline=deadline), under))[1])

        for deadline in (6.0, 2.0, 4.0):
            nursery.start_soon(call, deadline)
            await trio.testing.wait_all_tasks_blocked()
    assert [round(one, 6) for one in took] == [2, 4, 6]


async def test_an_attempt_that_begins_after_the_deadline_is_over_sends_nothing(autojump_clock: MockClock) -> None:
    """C8.3.5: as in a scope whose deadline has passed, its first checkpoint is its last one."""
    async with kernel_of() as (kernel, provider):
        played = provider.execute
        sent = []

        async def late(call: Call) -> Reply:
            provider.calls.append(call)
            if len(provider.calls) == 1:
                autojump_clock.jump(5)
                raise UpstreamFailed(RateLimited())
            await trio.lowlevel.checkpoint()
            sent.append(call)
            return await played(call)

        kernel._conductor.generation.providers["scripted"].operations[Operation.GENERATE] = late  # type: ignore[index]
        with LastingScope() as under:
            error, took = await ended(execute, kernel, Ask(model="m", deadline=2), under)
        assert isinstance(error, DeadlineExceeded)
        assert took == 5
        assert provider.called() == ["a", "b"]
        assert not sent


async def test_a_silent_stream_ends_at_its_idle_limit_and_the_next_call_is_served(autojump_clock: MockClock) -> None:
    """B10."""
    async with kernel_of(STALLS) as (kernel, provider):
        with LastingScope() as under:
            error, took = await ended(stream, kernel, ASK, under)
            assert isinstance(error, UpstreamFailed)
            assert error.verdict == TimedOut(message="the upstream went silent", phase=Phase.IDLE)
            assert 3 <= took <= 4
            assert provider.open_streams == 0
            await stream(kernel, ASK, under)


async def test_a_stream_that_is_left_early_is_closed_and_the_next_one_is_not(autojump_clock: MockClock) -> None:
    """C9.6, O37: leaving cancels what the stream holds, and nothing of the task's."""
    async with kernel_of(STALLS) as (kernel, provider):
        with LastingScope() as under:
            async with kernel.stream(ASK, under) as chunks:
                assert await anext(chunks) == Chunk(b"1")
            assert (provider.open_streams, provider.closed) == (0, 1)
            await trio.lowlevel.checkpoint()
            await stream(kernel, ASK, under)


async def test_the_callers_own_cancellation_is_not_taken_for_a_limit(autojump_clock: MockClock) -> None:
    """C9.3: it leaves the call and the lasting scope, to where it came from."""
    async with kernel_of(SILENT) as (kernel, _):
        with trio.move_on_after(2) as patience, LastingScope() as under:
            await kernel.execute(ASK, under)
        assert patience.cancelled_caught
        assert not kernel._conductor.calls.scopes


async def test_both_cancellations_at_once_are_the_callers(autojump_clock: MockClock) -> None:
    """C8.3.5: a limit that passes in the moment in which the caller goes is no failure of the upstream's."""
    async with kernel_of(SILENT) as (kernel, provider):
        with trio.move_on_after(7) as patience, LastingScope() as under:
            await kernel.execute(ASK, under)
        assert patience.cancelled_caught
        assert provider.called() == ["a"]


async def test_a_drain_that_lasts_too_long_ends_the_call(autojump_clock: MockClock) -> None:
    """A10."""
    async with kernel_of(SILENT) as (kernel, _), trio.open_nursery() as nursery:
        errors: list[TurnoutError] = []

        async def call() -> None:
            with LastingScope() as under:
                errors.append((await ended(execute, kernel, ASK, under))[0])

        nursery.start_soon(call)
        await trio.testing.wait_all_tasks_blocked()
        kernel.drain()
        await kernel.wait_drained()
        await trio.testing.wait_all_tasks_blocked()
        assert [type(error) for error in errors] == [Draining]


async def test_a_call_within_a_stream_of_the_same_task_has_a_scope_of_its_own(autojump_clock: MockClock) -> None:
    """Its limit ends it, and leaves the stream as it is, with the limits that it has."""
    async with kernel_of(STALLS, SILENT) as (kernel, provider):
        with LastingScope() as under:
            with pytest.raises(UpstreamFailed) as caught:
                async with kernel.stream(ASK, under) as chunks:
                    error, _ = await ended(execute, kernel, Ask(model="m", deadline=1), under)
                    assert isinstance(error, DeadlineExceeded)
                    assert await anext(chunks) == Chunk(b"1")
                    assert provider.open_streams == 1
                    await anext(chunks)
            assert caught.value.verdict == TimedOut(message="the upstream went silent", phase=Phase.IDLE)
            await execute(kernel, ASK, under)


async def test_a_call_under_a_lasting_scope_enters_none_at_trio(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is what it is for; entering one costs a tenth of a call."""
    entered = []
    enter = trio.CancelScope.__enter__

    def noted(scope: trio.CancelScope) -> trio.CancelScope:
        entered.append(scope)
        return enter(scope)

    async with kernel_of() as (kernel, _):
        with LastingScope() as under:
            await execute(kernel, ASK, under)
            await stream(kernel, ASK, under)
            await trio.testing.wait_all_tasks_blocked()  # the watch has to look sooner, once for each kind of limit
            monkeypatch.setattr(trio.CancelScope, "__enter__", noted)
            await execute(kernel, ASK, under)
            await stream(kernel, ASK, under)
            await execute(kernel, ASK, under)
            monkeypatch.undo()
    assert not entered


@pytest.mark.parametrize("way", ["execute", "stream", "count", "embed"])
async def test_a_scope_of_another_kind_is_refused_by_name(way: str) -> None:
    provider = ScriptedProvider()
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel:
        with pytest.raises(InvalidAsk) as caught:
            async with AsyncExitStack() as stack:
                made = getattr(kernel, way)(ASK, trio.CancelScope())
                await (stack.enter_async_context(made) if way == "stream" else made)

    assert caught.value.argument == "under"
    assert "CancelScope" in str(caught.value)
    assert not provider.calls
