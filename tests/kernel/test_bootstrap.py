"""Lifetimes of one stream attempt: what is open, who is cancelled, and whose error comes out."""

import math
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from turnout import Ask, Call, Chunk, Credential, Empty, Phase, Protocol, RateLimited, TimedOut, Transient
from turnout._bootstrap import ENDED_LIMIT, StreamAttempt
from turnout._plugin_calls import plugin_code
from turnout._scope import CallScope, Open
from turnout.abc import Limits
from turnout.errors import PluginError, UpstreamFailed
from turnout.testing import Script, ScriptedProvider

LIMITS = Limits(first_payload=10, idle=5)
HELD_BYTES = 4096
CALL = Call(ask=Ask(model="m"), credential=Credential(id="a", provider="scripted"), model="m")


@attrs.frozen
class Terms:
    """A call, without a deadline unless it has one."""

    deadline: float = math.inf
    total: float = math.inf
    number: int = 1

    @property
    def generation(self) -> "Terms":
        return self


BORDER = plugin_code("turnout.providers", "scripted")


def scope() -> CallScope:
    return limited(Open())


def limited(open_scopes: Open) -> CallScope:
    return CallScope(open_scopes, Terms(), trio.current_time() + LIMITS.first_payload, Phase.FIRST_PAYLOAD)


def attempt(script: Script) -> tuple[ScriptedProvider, StreamAttempt]:
    provider = ScriptedProvider(script)
    return provider, StreamAttempt(provider, CALL, LIMITS, scope(), BORDER, held_bytes=HELD_BYTES)


async def drain(stream: StreamAttempt) -> list[bytes]:
    got = []
    while True:
        try:
            got.append((await stream.next_chunk()).data)
        except StopAsyncIteration:
            return got


async def test_entering_waits_for_the_first_payload_and_keeps_what_came_before() -> None:
    _, source = attempt(Script(chunks=[Chunk(b": ping\n\n", payload=False), Chunk(b"a"), Chunk(b"b")]))
    async with source as stream:
        assert await drain(stream) == [b": ping\n\n", b"a", b"b"]


async def test_a_failure_before_the_first_payload_comes_out_of_entering_and_closes_the_stream() -> None:
    """O33, C9.3: whether the upstream refuses or breaks after a preamble, it is the same kind of failure."""
    for script in (
        Script(failure=RateLimited(retry_after=3)),
        Script(failure=RateLimited(retry_after=3), chunks=[Chunk(b": hi\n\n", payload=False)]),
    ):
        provider, source = attempt(script)
        with pytest.raises(UpstreamFailed) as caught:
            await source.__aenter__()
        assert caught.value.verdict == RateLimited(retry_after=3)
        assert provider.open_streams == 0


@pytest.mark.parametrize("chunks", [(), (Chunk(b"", payload=False), Chunk(b"", payload=False))])
async def test_a_stream_without_payload_is_empty(chunks: tuple[Chunk, ...]) -> None:
    """O34, C9.3: only empty chunks are as good as none."""
    _, source = attempt(Script(chunks=chunks))
    with pytest.raises(UpstreamFailed) as caught:
        await source.__aenter__()
    assert isinstance(caught.value.verdict, Empty)


async def test_more_than_the_held_bytes_before_a_payload_is_a_protocol_failure() -> None:
    provider, source = attempt(Script(chunks=[Chunk(b"x" * (HELD_BYTES // 2 + 1), payload=False)] * 3))
    with pytest.raises(UpstreamFailed) as caught:
        await source.__aenter__()
    assert isinstance(caught.value.verdict, Protocol)
    assert provider.open_streams == 0


@pytest.mark.parametrize(("beyond", "fits"), [(0, True), (1, False)])
async def test_a_request_that_is_said_back_twice_is_held_beside_the_held_bytes(beyond: int, fits: bool) -> None:
    """Design 8a: OpenAI repeats instructions and tools in two events before the first payload."""
    request = b"x" * 100_000
    call = attrs.evolve(CALL, ask=attrs.evolve(CALL.ask, payload=request))
    preamble = [Chunk(request, payload=False)] * 2 + [Chunk(b"x" * (HELD_BYTES + beyond), payload=False)]
    provider = ScriptedProvider(Script(chunks=[*preamble, Chunk(b"a")]))
    source = StreamAttempt(provider, call, LIMITS, scope(), BORDER, held_bytes=HELD_BYTES)
    if fits:
        async with source as stream:
            assert await drain(stream) == [chunk.data for chunk in preamble] + [b"a"]
        return
    with pytest.raises(UpstreamFailed, match=r"turnout\.bootstrap_bytes") as caught:
        await source.__aenter__()
    assert isinstance(caught.value.verdict, Protocol)


async def test_a_stream_that_is_silent_ends_at_the_first_payload_limit(autojump_clock: MockClock) -> None:
    """B9, O38."""
    provider, source = attempt(Script(wait=1000))
    began = trio.current_time()
    with pytest.raises(UpstreamFailed) as caught:
        await source.__aenter__()
    assert caught.value.verdict == TimedOut(
        message="no payload came in time", phase=Phase.FIRST_PAYLOAD, sent=caught.value.verdict.sent
    )
    assert math.isclose(trio.current_time() - began, 10)
    assert provider.open_streams == 0


async def test_pings_do_not_postpone_the_first_payload_limit(autojump_clock: MockClock) -> None:
    """B17: bytes are not progress."""
    _, source = attempt(Script(chunks=[Chunk(b": ping\n\n", payload=False)] * 100, gap=1))
    began = trio.current_time()
    with pytest.raises(UpstreamFailed):
        await source.__aenter__()
    assert math.isclose(trio.current_time() - began, 10)


async def test_a_stream_that_falls_silent_ends_at_the_idle_limit(autojump_clock: MockClock) -> None:
    """B10: the block is cancelled and leaving it tells why."""
    provider = ScriptedProvider(Script(chunks=[Chunk(b"a"), Chunk(b"b")], gap=50))
    open_scopes = Open()
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(open_scopes.watch)
        with pytest.raises(UpstreamFailed) as caught:
            source = StreamAttempt(provider, CALL, LIMITS, limited(open_scopes), BORDER, held_bytes=HELD_BYTES)
            async with source as stream:
                await drain(stream)
        assert caught.value.verdict == TimedOut(message="the upstream went silent", phase=Phase.IDLE)
        assert 5 <= trio.current_time() - began <= 5.5
        assert provider.open_streams == 0
        nursery.cancel_scope.cancel()


class Dripping:
    """A stream whose bytes come once a second and never make a chunk after the first; implements `TakesNowait`."""

    headers: Mapping[str, str] = {}

    def __init__(self) -> None:
        self._ready = [Chunk(b"a")]

    def __aiter__(self) -> "Dripping":
        return self

    async def __anext__(self) -> Chunk:
        return self._ready.pop()

    def take_nowait(self) -> Chunk | None:
        return self._ready.pop() if self._ready else None

    async def wait(self) -> None:
        await trio.sleep(1)


class DrippingProvider(ScriptedProvider):
    @asynccontextmanager
    async def stream(self, call: Call) -> AsyncIterator[Dripping]:
        yield Dripping()


async def test_bytes_that_make_no_chunk_do_not_postpone_the_idle_limit(autojump_clock: MockClock) -> None:
    """F8: progress is a whole event."""
    open_scopes = Open()
    source = StreamAttempt(DrippingProvider(), CALL, LIMITS, limited(open_scopes), BORDER, held_bytes=HELD_BYTES)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(open_scopes.watch)
        with pytest.raises(UpstreamFailed) as caught, trio.fail_after(100):
            async with source as stream:
                began = trio.current_time()
                await drain(stream)
        assert isinstance(caught.value.verdict, TimedOut)
        assert 5 <= trio.current_time() - began < 6
        nursery.cancel_scope.cancel()


async def test_a_stream_with_a_shorter_idle_limit_than_those_before_it_ends_at_its_own(
    autojump_clock: MockClock,
) -> None:
    """B10: a stream of a newer configuration, opened while the watch sleeps for the older ones."""
    open_scopes = Open()
    ended: dict[float, float] = {}

    async def read(idle: float) -> None:
        provider = ScriptedProvider(Script(chunks=[Chunk(b"a"), Chunk(b"b")], gap=500))
        limits = attrs.evolve(LIMITS, idle=idle)
        source = StreamAttempt(provider, CALL, limits, limited(open_scopes), BORDER, held_bytes=HELD_BYTES)
        with pytest.raises(UpstreamFailed):
            async with source as stream:
                await drain(stream)
        ended[idle] = trio.current_time() - began

    async with trio.open_nursery() as nursery:
        nursery.start_soon(open_scopes.watch)
        async with trio.open_nursery() as readers:
            for idle in (100, 5):
                await trio.sleep(10)
                began = trio.current_time()
                readers.start_soon(read, idle)
        nursery.cancel_scope.cancel()
    assert 5 <= ended[5] <= 5.5
    assert 90 <= ended[100] <= 90.5


async def test_nobody_looks_for_idle_streams_while_none_flows(autojump_clock: MockClock) -> None:
    """A call that has no payload yet has a deadline for that, which is enough."""
    open_scopes = Open()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(open_scopes.watch)
        with limited(open_scopes) as scope:
            for idle, looks_at in ((None, 10), (5, 5)):
                if idle is not None:
                    scope.flow(idle)
                await wait_all_tasks_blocked()
                assert trio.lowlevel.current_statistics().seconds_to_next_deadline == looks_at
        nursery.cancel_scope.cancel()


async def test_a_caller_that_is_slow_is_not_idle(autojump_clock: MockClock) -> None:
    _, source = attempt(Script(chunks=[Chunk(b"a"), Chunk(b"b")]))
    async with source as stream:
        await stream.next_chunk()
        await trio.sleep(1000)
        assert await stream.next_chunk() == Chunk(b"b")


async def test_leaving_early_closes_the_stream_at_once(autojump_clock: MockClock) -> None:
    """O37: cancelled and closed, not drained."""
    provider, source = attempt(Script(chunks=[Chunk(b"a")] * 100, gap=1))
    began = trio.current_time()
    async with source as stream:
        await stream.next_chunk()
    assert provider.open_streams == 0
    assert provider.closed == 1
    assert trio.current_time() == began


class SlowToClose(ScriptedProvider):
    """Waits while it is left, as one that says good-bye to its peer would."""

    @asynccontextmanager
    async def stream(self, call: Call) -> AsyncIterator[object]:
        async with super().stream(call) as stream:
            try:
                yield stream
            finally:
                await trio.sleep(1000)


async def test_a_stream_that_has_ended_may_take_a_second_to_close(autojump_clock: MockClock) -> None:
    """H9: whatever its provider does then."""
    provider: ScriptedProvider = SlowToClose(Script(chunks=[Chunk(b"a")]))
    began = trio.current_time()
    async with StreamAttempt(provider, CALL, LIMITS, scope(), BORDER, held_bytes=HELD_BYTES) as stream:
        await drain(stream)
    assert math.isclose(trio.current_time() - began, ENDED_LIMIT)
    assert provider.open_streams == 0


async def test_closing_a_stream_that_has_ended_takes_no_longer_than_its_call_may(autojump_clock: MockClock) -> None:
    """D4."""
    provider: ScriptedProvider = SlowToClose(Script(chunks=[Chunk(b"a")]))
    began = trio.current_time()
    ends_soon = CallScope(Open(), Terms(deadline=began + ENDED_LIMIT / 2), phase=Phase.FIRST_PAYLOAD)
    async with StreamAttempt(provider, CALL, LIMITS, ends_soon, BORDER, held_bytes=HELD_BYTES) as stream:
        await drain(stream)
    assert math.isclose(trio.current_time() - began, ENDED_LIMIT / 2)


class WithNursery(ScriptedProvider):
    """Holds a nursery with a task of its own around the stream."""

    @asynccontextmanager
    async def stream(self, call: Call) -> AsyncIterator[object]:
        async with super().stream(call) as stream, trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            yield stream
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("kind", [ScriptedProvider, SlowToClose, WithNursery])
async def test_an_error_of_the_caller_comes_out_untouched(
    kind: type[ScriptedProvider], autojump_clock: MockClock
) -> None:
    source = StreamAttempt(kind(Script(chunks=[Chunk(b"a")] * 3)), CALL, LIMITS, scope(), BORDER, held_bytes=HELD_BYTES)
    mine = ValueError("mine")
    with pytest.raises(ValueError, match="mine") as caught:
        async with source as stream:
            await stream.next_chunk()
            raise mine
    assert caught.value is mine


@pytest.mark.parametrize("kind", [ScriptedProvider, SlowToClose, WithNursery])
async def test_a_cancellation_from_outside_passes_through(
    kind: type[ScriptedProvider], autojump_clock: MockClock
) -> None:
    """C-1: the client left."""
    provider = kind(Script(chunks=[Chunk(b"a")] * 3, gap=3))
    with trio.move_on_after(1) as outside:
        async with StreamAttempt(provider, CALL, LIMITS, scope(), BORDER, held_bytes=HELD_BYTES) as stream:
            await drain(stream)
    assert outside.cancelled_caught
    assert provider.open_streams == 0
    assert trio.current_effective_deadline() == math.inf


@pytest.mark.parametrize("kind", [ScriptedProvider, SlowToClose, WithNursery])
async def test_a_cancellation_before_the_first_payload_passes_through(
    kind: type[ScriptedProvider], autojump_clock: MockClock
) -> None:
    provider = kind(Script(chunks=[Chunk(b"", payload=False)] * 3, gap=3))
    with trio.move_on_after(1) as outside:
        async with StreamAttempt(provider, CALL, LIMITS, scope(), BORDER, held_bytes=HELD_BYTES):
            pytest.fail("there is no payload")
    assert outside.cancelled_caught
    assert provider.open_streams == 0


@pytest.mark.parametrize("kind", [SlowToClose, WithNursery])
async def test_a_failure_mid_stream_closes_without_waiting(
    kind: type[ScriptedProvider], autojump_clock: MockClock
) -> None:
    provider = kind(Script(chunks=[Chunk(b"a")], failure=Transient(message="broke")))
    began = trio.current_time()
    with pytest.raises(UpstreamFailed, match="broke"):
        async with StreamAttempt(provider, CALL, LIMITS, scope(), BORDER, held_bytes=HELD_BYTES) as stream:
            await drain(stream)
    assert provider.open_streams == 0
    assert trio.current_time() == began


def _group() -> BaseException:
    return ExceptionGroup("a nursery's", [ValueError(), UpstreamFailed(RateLimited(retry_after=7))])


def _chain() -> BaseException:
    error = RuntimeError()
    error.__cause__ = UpstreamFailed(RateLimited(retry_after=7))
    return error


@pytest.mark.parametrize("make", [_group, _chain])
async def test_a_wrapped_failure_of_the_upstream_is_found(make: Callable[[], BaseException]) -> None:
    """O52, C2.1.2: in the causes and in groups, hint included."""
    _, source = attempt(Script(raises=make()))
    with pytest.raises(UpstreamFailed) as caught:
        await source.__aenter__()
    assert caught.value.verdict == RateLimited(retry_after=7)


@pytest.mark.parametrize("bug", [ValueError("secret text"), SystemExit(3), KeyboardInterrupt(), RecursionError()])
async def test_a_bug_of_a_provider_is_a_plugin_error_without_its_text(bug: BaseException) -> None:
    """H8."""
    _, source = attempt(Script(raises=bug))
    with pytest.raises(PluginError) as caught:
        await source.__aenter__()
    assert "secret" not in str(caught.value)
    assert caught.value.name == "scripted"
