"""Hedged streams: a second candidate beside a slow first one, and what is left of the one that lost."""

import math
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import ClassVar, Self

import pytest
import trio
from trio.testing import MockClock

from turnout import (
    Ask,
    Call,
    Chunk,
    Done,
    Failed,
    Failure,
    InvalidRequest,
    Kernel,
    Phase,
    Protocol,
    RateLimited,
    Sent,
    TimedOut,
    Transient,
    parse_config,
)
from turnout._events import Event, OutcomeRecorded
from turnout._hedging import LEAST, SAVED, WINDOW, Budget, Latencies
from turnout.errors import ConfigError, DeadlineExceeded, Draining, PluginError, PoolError, UpstreamFailed
from turnout.testing import Script, ScriptedProvider, scripted_kernel
from turnout.testing._house import scripted_config

ASK = Ask(model="m", id="call")
HEDGE = '[hedge]\nafter = "2s"\nshare = 1.0\n'
AT_ONCE = '[retry]\nmax_wait = "0s"\n'


def toml(names: Sequence[str] = ("a", "b"), *, hedge: str = HEDGE, more: str = AT_ONCE) -> str:
    credentials = "".join(
        f'[[providers.scripted.credentials]]\nname = "{name}"\napi_key = "key-of-{name}-0123456789"\n'
        f'base_url = "https://{name}.test:443"\n'
        for name in names
    )
    return f'{hedge}{more}[[providers.scripted.models]]\nname = "m"\n{credentials}'


def late(seconds: float, name: str, *, failure: Failure | None = None, chunks: int = 3) -> Script:
    """A stream that is open at once, and has its first payload, or fails, after so many seconds."""
    said = [] if failure else [Chunk(f"{name}{number}".encode()) for number in range(chunks)]
    return Script(chunks=[Chunk(b": hi", payload=False), *said], gap=seconds, failure=failure, wait=0)


def scripted(**scripts: Script) -> ScriptedProvider:
    provider = ScriptedProvider()
    for name, script in scripts.items():
        provider.script(script, credential=name)
    return provider


def in_flight(kernel: Kernel) -> int:
    return sum(member.in_flight for member in kernel._custody.schedule._members.values())


def idle(kernel: Kernel, provider: ScriptedProvider) -> bool:
    return not provider.open_streams and not in_flight(kernel) and not kernel._conductor.calls.scopes


async def read(kernel: Kernel, ask: Ask = ASK) -> list[bytes]:
    async with kernel.stream(ask) as stream:
        return [chunk.data async for chunk in stream]


def verdicts(kernel: Kernel) -> list[tuple[str, str]]:
    decision = kernel.explain("call")
    assert decision is not None
    return [(one.credential, type(one.verdict).__name__) for one in decision.attempts]


def tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


async def test_a_candidate_in_time_is_not_hedged(autojump_clock: MockClock) -> None:
    provider = scripted(a=late(1.9, "a"))
    async with scripted_kernel(toml(), {"scripted": provider}) as kernel:
        assert await read(kernel) == [b": hi", b"a0", b"a1", b"a2"]
        assert provider.called() == ["a"]
        assert idle(kernel, provider)


async def test_a_second_candidate_starts_after_the_delay_and_its_first_payload_wins(autojump_clock: MockClock) -> None:
    provider = scripted(a=late(50, "a"), b=late(1, "b"))
    async with scripted_kernel(toml(), {"scripted": provider}) as kernel:
        began = trio.current_time()
        async with kernel.stream(ASK) as stream:
            assert math.isclose(trio.current_time() - began, 3)
            await trio.testing.wait_all_tasks_blocked()
            assert provider.open_streams == 1, "the loser's is closed at once"
            assert [chunk.data async for chunk in stream] == [b": hi", b"b0", b"b1", b"b2"]
        assert (provider.called(), provider.closed) == (["a", "b"], 1)
        assert idle(kernel, provider)


async def test_the_first_candidate_wins_if_its_payload_comes_first_and_the_second_is_closed(
    autojump_clock: MockClock,
) -> None:
    provider = scripted(a=late(3, "a"), b=late(50, "b"))
    async with scripted_kernel(toml(), {"scripted": provider}) as kernel:
        async with kernel.stream(ASK) as stream:
            await trio.testing.wait_all_tasks_blocked()
            assert provider.open_streams == 1
            assert [chunk.data async for chunk in stream] == [b": hi", b"a0", b"a1", b"a2"]
        assert (provider.called(), provider.closed) == (["a", "b"], 1)
        assert idle(kernel, provider)


@pytest.mark.parametrize(("a", "b", "winner"), [(50, 1, "b"), (3, 50, "a")])
async def test_both_attempts_are_told_and_the_loser_is_blamed_for_nothing(
    a: float, b: float, winner: str, autojump_clock: MockClock
) -> None:
    """D8: to be slower speaks against nobody."""
    heard: list[Event] = []

    class Ear:
        api = 1

        async def hear(self, event: Event) -> None:
            heard.append(event)

    provider = scripted(a=late(a, "a"), b=late(b, "b"))
    text = toml() + "[observers.ear]\n"
    async with scripted_kernel(text, {"scripted": provider}, observers={"ear": Ear()}) as kernel:
        async with kernel.stream(ASK) as stream:
            decision = stream.decision
            async for _ in stream:
                pass
        loser = "ab".replace(winner, "")
        assert sorted((one.credential, type(one.verdict)) for one in decision.attempts) == sorted(
            [(winner, Done), (loser, Failed)], key=lambda pair: pair[0]
        )
        assert (decision.served_by, decision.error) == (winner, "")
        assert kernel.explain("call") == decision
        assert not kernel.credentials.state(loser).models
        assert kernel.models()[0].ready == 2
        await trio.sleep(1)
        assert [one.outcome.credential for one in heard if isinstance(one, OutcomeRecorded)] == [winner]


async def test_a_rival_that_fails_leaves_the_first_one_alone(autojump_clock: MockClock) -> None:
    provider = scripted(a=late(9, "a"), b=Script(failure=RateLimited(retry_after=60)))
    async with scripted_kernel(toml(), {"scripted": provider}) as kernel:
        assert (await read(kernel))[1] == b"a0"
        assert verdicts(kernel) == [("b", "RateLimited"), ("a", "Done")]
        assert kernel.credentials.state("b").models["m"].unavailable
        assert idle(kernel, provider)


async def test_a_first_candidate_that_fails_waits_for_the_rival(autojump_clock: MockClock) -> None:
    provider = scripted(a=late(3, "a", failure=Failed()), b=late(9, "b"))
    async with scripted_kernel(toml("abc"), {"scripted": provider}) as kernel:
        assert (await read(kernel))[1] == b"b0"
        assert provider.called() == ["a", "b"]
        assert verdicts(kernel) == [("a", "Failed"), ("b", "Done")]
        assert idle(kernel, provider)


@pytest.mark.parametrize(("a", "b"), [(3, 9), (9, 3)])
async def test_when_both_fail_the_loop_walks_on(a: float, b: float, autojump_clock: MockClock) -> None:
    """One hedge a call: the third candidate is waited for, however long it takes."""
    provider = scripted(
        a=late(a, "a", failure=RateLimited()), b=late(b, "b", failure=RateLimited()), c=late(30, "c"), d=late(1, "d")
    )
    async with scripted_kernel(toml("abcd"), {"scripted": provider}) as kernel:
        assert (await read(kernel))[1] == b"c0"
        assert provider.called() == ["a", "b", "c"]
        assert idle(kernel, provider)


@pytest.mark.parametrize(("a", "b", "last"), [(3, 9, "b"), (12, 3, "a")])
async def test_when_everybody_fails_the_first_candidates_failure_is_the_answer(
    a: float, b: float, last: str, autojump_clock: MockClock
) -> None:
    provider = scripted(a=late(a, "a", failure=Failed(message="a")), b=late(b, "b", failure=Failed(message="b")))
    async with scripted_kernel(toml(), {"scripted": provider}) as kernel:
        with pytest.raises(UpstreamFailed, match=r"^a$"):
            await read(kernel)
        assert verdicts(kernel)[1][0] == last
        assert idle(kernel, provider)


@pytest.mark.parametrize(("a", "b"), [(3, 9), (9, 3)])
async def test_two_unanswered_requests_end_the_call(a: float, b: float, autojump_clock: MockClock) -> None:
    """B6, D1: a hedge is no way around the budgets; both may have been billed, and nobody else is tried."""
    gone = Failed(message="silence", sent=Sent.MAYBE)
    provider = scripted(a=late(a, "a", failure=gone), b=late(b, "b", failure=gone))
    async with scripted_kernel(toml("abcd"), {"scripted": provider}) as kernel:
        with pytest.raises(UpstreamFailed, match="silence"):
            await read(kernel)
        assert provider.called() == ["a", "b"]
        assert idle(kernel, provider)


@pytest.mark.parametrize(("a", "b", "last", "end"), [(3, 9, "b", 11), (9, 3, "a", 9)])
async def test_a_rival_that_used_up_the_budget_ends_the_call_when_both_have_failed(
    a: float, b: float, last: str, end: float, autojump_clock: MockClock
) -> None:
    """Design 8: the last failure is the answer."""
    provider = scripted(
        a=late(a, "a", failure=Failed(message="a")), b=late(b, "b", failure=Failed(message="b", sent=Sent.MAYBE))
    )
    more = AT_ONCE + "retry_unsafe = 0\n"
    async with scripted_kernel(toml("abc", more=more), {"scripted": provider}) as kernel:
        with pytest.raises(UpstreamFailed) as caught:
            await read(kernel)
        assert caught.value.verdict.message == last
        assert trio.current_time() == end
        assert provider.called() == ["a", "b"]
        assert idle(kernel, provider)


@pytest.mark.parametrize(("a", "b"), [(3, 50), (50, 1)])
async def test_a_mistake_of_the_client_ends_the_call_whoever_tells_it(
    a: float, b: float, autojump_clock: MockClock
) -> None:
    mistake = InvalidRequest(message="no such field")
    provider = scripted(
        a=late(a, "a", failure=mistake if a < b else None), b=late(b, "b", failure=mistake if b < a else None)
    )
    async with scripted_kernel(toml(), {"scripted": provider}) as kernel:
        with pytest.raises(UpstreamFailed, match="no such field"):
            await read(kernel)
        assert {name for name, _ in verdicts(kernel)} == {"a", "b"}
        assert trio.current_time() < 5
        assert idle(kernel, provider)
        assert kernel.models()[0].ready == 2


async def test_a_bug_of_the_rivals_provider_is_logged_and_hurts_nobody(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    provider = scripted(a=late(9, "a"), b=Script(raises=ZeroDivisionError()))
    async with scripted_kernel(toml(), {"scripted": provider}) as kernel:
        assert (await read(kernel))[1] == b"a0"
        assert "second candidate broke" in caplog.text
        assert idle(kernel, provider)


async def test_a_bug_of_the_first_candidates_provider_ends_the_call(autojump_clock: MockClock) -> None:
    provider = scripted(a=Script(wait=3, raises=ZeroDivisionError()), b=late(9, "b"))
    async with scripted_kernel(toml(), {"scripted": provider}) as kernel:
        with pytest.raises(PluginError):
            await read(kernel)
        assert idle(kernel, provider)


@pytest.mark.parametrize("at", [1, 2.5, 4, 7])
async def test_a_client_that_leaves_ends_both(at: float, autojump_clock: MockClock) -> None:
    """Before the hedge, while both run, and while the second one streams."""
    provider = scripted(a=late(50, "a"), b=late(1, "b", chunks=100))
    async with scripted_kernel(toml(), {"scripted": provider}) as kernel:
        before = tasks()
        with trio.move_on_after(at) as gone:
            await read(kernel)
        assert gone.cancelled_caught
        assert idle(kernel, provider)
        assert tasks() == before
        assert kernel.models()[0].ready == 2
        assert kernel.explain("call") is not None


async def test_leaving_a_handed_stream_early_closes_it_at_once_and_counts_as_a_success(
    autojump_clock: MockClock,
) -> None:
    """O36, O37: as for any stream."""
    provider = scripted(a=late(50, "a"), b=late(1, "b", chunks=100))
    async with scripted_kernel(toml(), {"scripted": provider}) as kernel:
        before = tasks()
        async with kernel.stream(ASK) as stream:
            await anext(stream)
        assert trio.current_time() == 3
        assert idle(kernel, provider)
        assert tasks() == before
        assert kernel.models()[0].ready == 2


@pytest.mark.parametrize("b", [1, 100])
async def test_an_error_of_the_caller_comes_out_untouched(b: float, autojump_clock: MockClock) -> None:
    provider = scripted(a=late(50, "a"), b=late(b, "b"))
    mine = ValueError("mine")
    async with scripted_kernel(toml(), {"scripted": provider}) as kernel:
        with pytest.raises(ValueError, match="mine") as caught:
            async with kernel.stream(ASK) as stream:
                await anext(stream)
                raise mine
        assert caught.value is mine
        assert idle(kernel, provider)


async def test_a_handed_stream_that_breaks_fails_once_and_is_not_repeated(autojump_clock: MockClock) -> None:
    """D3, C9.4: nothing is retried after the first payload."""
    broken = Script(chunks=[Chunk(b"b0"), Chunk(b"b1")], gap=1, failure=RateLimited(retry_after=500))
    provider = scripted(a=late(50, "a"), b=broken)
    async with scripted_kernel(toml("abc"), {"scripted": provider}) as kernel:
        got = []
        with pytest.raises(UpstreamFailed):
            async with kernel.stream(ASK) as stream:
                async for chunk in stream:
                    got.append(chunk.data)  # noqa: PERF401 # what came before the failure counts
        assert got == [b"b0", b"b1"]
        assert provider.called() == ["a", "b"]
        assert kernel.credentials.state("b").models["m"].unavailable
        assert idle(kernel, provider)


async def test_a_handed_stream_that_falls_silent_ends_at_the_idle_limit(autojump_clock: MockClock) -> None:
    """B10."""
    provider = scripted(a=late(50, "a"), b=Script(chunks=[Chunk(b"b0"), Chunk(b"b1")], gap=999))
    more = f'{AT_ONCE}[deadlines]\nidle = "5s"\n'
    async with scripted_kernel(toml(more=more), {"scripted": provider}) as kernel:
        with pytest.raises(UpstreamFailed) as caught:
            await read(kernel)
        assert caught.value.verdict == TimedOut(message="the upstream went silent", phase=Phase.IDLE)
        assert trio.current_time() == 7
        assert idle(kernel, provider)


async def test_a_handed_stream_ends_with_the_deadline_whatever_its_caller_does(autojump_clock: MockClock) -> None:
    """D4."""
    provider = scripted(a=late(50, "a"), b=late(1, "b", chunks=100))
    async with scripted_kernel(toml(), {"scripted": provider}) as kernel:
        with pytest.raises(DeadlineExceeded):
            async with kernel.stream(Ask(model="m", deadline=10)):
                await trio.sleep_forever()
        assert trio.current_time() == 10
        assert idle(kernel, provider)


async def test_a_drain_ends_a_handed_stream_with_the_reason(autojump_clock: MockClock) -> None:
    """H4."""
    provider = scripted(a=late(50, "a"), b=late(1, "b", chunks=1000))
    text = '[turnout]\ndrain = "5s"\n' + toml()
    async with scripted_kernel(text, {"scripted": provider}) as kernel, trio.open_nursery() as nursery:

        async def reader() -> None:
            with pytest.raises(Draining):
                await read(kernel)

        nursery.start_soon(reader)
        await trio.sleep(4)
        kernel.drain()
        await kernel.wait_drained()
        assert trio.current_time() == 9
        await trio.testing.wait_all_tasks_blocked()
        assert idle(kernel, provider)


async def test_the_whole_call_ends_at_its_deadline_before_any_payload(autojump_clock: MockClock) -> None:
    provider = scripted(a=late(50, "a"), b=late(50, "b"))
    async with scripted_kernel(toml(), {"scripted": provider}) as kernel:
        with pytest.raises(DeadlineExceeded):
            await read(kernel, Ask(model="m", deadline=10))
        assert trio.current_time() == 10
        assert idle(kernel, provider)


async def test_no_task_is_left_when_a_call_is_over(autojump_clock: MockClock) -> None:
    async with scripted_kernel(toml(), {"scripted": scripted(a=late(50, "a"), b=late(1, "b"))}) as kernel:
        before = tasks()
        await read(kernel)
        assert tasks() == before


async def test_a_stream_without_anybody_to_hedge_with_goes_on_alone(autojump_clock: MockClock) -> None:
    for ask, names in ((ASK, ["a"]), (Ask(model="m", pin="a"), ["a", "b"])):
        provider = scripted(a=late(50, "a"), b=late(1, "b"))
        async with scripted_kernel(toml(names), {"scripted": provider}) as kernel:
            assert (await read(kernel, ask))[1] == b"a0"
            assert provider.called() == ["a"]


class Gated(ScriptedProvider):
    """When the gate opens, the payloads of all its streams come within one step, too late to be cancelled."""

    def __init__(self, gate: trio.Event) -> None:
        super().__init__()
        self.gate = gate

    @asynccontextmanager
    async def stream(self, call: Call) -> AsyncIterator[object]:
        async with super().stream(call):
            yield Behind(self.gate, call.credential.id)


class Behind:
    def __init__(self, gate: trio.Event, name: str) -> None:
        self.headers: dict[str, str] = {}
        self._gate = gate
        self._chunks = [Chunk(name.encode())] * 3

    def __aiter__(self) -> "Behind":
        return self

    async def __anext__(self) -> Chunk:
        if not self._chunks:
            raise StopAsyncIteration
        if self._gate.is_set():
            await trio.lowlevel.checkpoint()
        else:
            await self._gate.wait()
        return self._chunks.pop()


async def tie() -> str:
    """Who serves when two payloads come in the same instant."""
    ask = Ask(model="m", affinity="session")
    provider = Gated(trio.Event())
    async with scripted_kernel(toml(), {"scripted": provider}) as kernel, trio.open_nursery() as nursery:
        got: list[bytes] = []
        served: list[str] = []

        async def reader() -> None:
            async with kernel.stream(ask) as stream:
                served.append(stream.decision.served_by)
                got.extend([chunk.data async for chunk in stream])

        nursery.start_soon(reader)
        await trio.sleep(3)
        provider.gate.set()
        await trio.testing.wait_all_tasks_blocked()
        assert got == [served[0].encode()] * 3
        assert idle(kernel, provider)
        assert kernel.models()[0].ready == 2
        again = (await kernel.execute(ask)).decision
        assert again.served_by == served[0], "its session stays with the winner"
    return served[0]


async def test_two_payloads_in_the_same_instant_serve_one_stream(autojump_clock: MockClock) -> None:
    """D3: which of the two is the scheduler's choice; the other one is closed, and both work."""
    assert {await tie() for _ in range(40)} == {"a", "b"}


@pytest.mark.parametrize("share", [0.1, 0.5])
async def test_hedges_stay_within_their_share_of_the_calls(share: float, autojump_clock: MockClock) -> None:
    """Every call is slow, and yet no more than a share of them hedges."""
    provider = ScriptedProvider(Script(wait=3))
    hedge = f'[hedge]\nafter = "2s"\nshare = {share}\n'
    async with scripted_kernel(toml(hedge=hedge), {"scripted": provider}) as kernel:
        for number in range(1, 41):
            await read(kernel)
            assert len(provider.calls) - number <= share * number + 1e-6
        assert len(provider.calls) == 40 + 40 * share


RULES: tuple[tuple[str, bool], ...] = (
    ('after = "2s"', True),
    ('after = "4s"', False),
    ('after = "off"\n[hedge.providers]\nscripted = "2s"', True),
    ('after = "2s"\n[hedge.providers]\nscripted = "off"', False),
    ('after = "9s"\n[hedge.models]\nm = "1s"', True),
    ('after = "2s"\n[hedge.models]\nm = "off"', False),
    ('[hedge.providers]\nscripted = "off"\n[hedge.models]\nm = "2s"', True),
    ('after = "2s"\n[hedge.models]\nother = "off"', True),
    ('after = "learned"', False),
)


@pytest.mark.parametrize(("rules", "hedged"), RULES)
async def test_a_models_delay_goes_before_its_providers_and_that_before_the_general_one(
    rules: str, hedged: bool, autojump_clock: MockClock
) -> None:
    provider = ScriptedProvider(Script(wait=3))
    async with scripted_kernel(toml(hedge=f"[hedge]\nshare = 1.0\n{rules}\n"), {"scripted": provider}) as kernel:
        await read(kernel)
        assert len(provider.calls) == 1 + hedged


async def test_a_reload_switches_hedging_off_and_on(autojump_clock: MockClock) -> None:
    """H1: a stream that has begun keeps the rules it began with."""
    provider = ScriptedProvider(Script(wait=3))
    off = '[hedge]\nafter = "off"\n'
    async with scripted_kernel(toml(hedge=off), {"scripted": provider}) as kernel, trio.open_nursery() as nursery:
        for hedge, calls in ((HEDGE, 2), (off, 1), (HEDGE, 2)):
            await kernel.reload(scripted_config(toml(hedge=hedge)))
            provider.calls.clear()
            await read(kernel)
            assert len(provider.calls) == calls
        provider.calls.clear()
        nursery.start_soon(read, kernel)
        await trio.sleep(1)
        await kernel.reload(scripted_config(toml(hedge=off)))
        await trio.sleep(5)
        assert len(provider.calls) == 2


async def test_a_learned_delay_follows_what_earlier_calls_took(autojump_clock: MockClock) -> None:
    """Nothing is hedged while little is known; then whatever takes longer than 95 of a hundred calls took."""
    provider = ScriptedProvider(Script(wait=1))
    hedge = '[hedge]\nafter = "learned"\nshare = 1.0\n'
    async with scripted_kernel(toml(hedge=hedge), {"scripted": provider}) as kernel:
        provider.script(Script(wait=60))
        for _ in range(LEAST):
            await read(kernel)
        assert len(provider.calls) == LEAST
        began = trio.current_time()
        provider.script(Script(wait=60))
        await read(kernel)
        assert len(provider.calls) == LEAST + 2
        assert math.isclose(trio.current_time() - began, 2)


async def test_an_attempt_that_was_cut_off_is_learned_from_at_its_age(autojump_clock: MockClock) -> None:
    """Dean and Barroso: without the slow ones the delay would shrink by itself, until everything is hedged."""
    provider = ScriptedProvider(Script(wait=1))
    hedge = '[hedge]\nafter = "learned"\nshare = 1.0\n'
    async with scripted_kernel(toml(hedge=hedge), {"scripted": provider}) as kernel:
        for _ in range(LEAST):
            await read(kernel)
        took: list[float] = []
        for _ in range(3):
            provider.script(Script(wait=60))
            began = trio.current_time()
            await read(kernel)
            took.append(trio.current_time() - began)
        assert took == [2, 2, 3]


async def chaos(seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311 # the same again for the same seed
    provider = ScriptedProvider()
    failures = (None, None, None, RateLimited(), Failed(), Transient(), Protocol(), InvalidRequest())
    for name in "abcd":
        for _ in range(9):
            script = late(draw.choice((0, 1, 2, 3, 4, 200)), name, failure=draw.choice(failures))
            provider.script(
                draw.choice((script, Script(failure=RateLimited(), wait=draw.choice((0, 3))))), credential=name
            )
    async with scripted_kernel(toml("abcd"), {"scripted": provider}) as kernel:
        before = tasks()

        async def client(number: int) -> None:
            with trio.move_on_after(draw.choice((1, 2, 3, 5, 900))):
                with suppress(UpstreamFailed, PoolError):
                    async with kernel.stream(Ask(model="m", id=str(number))) as stream:
                        said = {b": hi", b"{}", *(f"{stream.decision.served_by}{n}".encode() for n in range(3))}
                        async for chunk in stream:
                            assert chunk.data in said

        async with trio.open_nursery() as nursery:
            for number in range(6):
                nursery.start_soon(client, number)
        assert idle(kernel, provider), seed
        assert tasks() == before, seed
        assert all(kernel.explain(str(number)) is not None for number in range(6))


async def test_nothing_is_left_and_nothing_is_mixed_whatever_fails_and_whoever_leaves(
    autojump_clock: MockClock,
) -> None:
    """D3: 150 seeds of delays, failures and clients that leave."""
    for seed in range(150):
        await chaos(seed)


# --- the pure rules ---------------------------------------------------------------------------------------------------


def test_the_learned_delay_is_the_95th_of_a_hundred_latencies() -> None:
    latencies = Latencies()
    for number in range(1, 101):
        latencies.feed(float(number))
    assert latencies.estimate() == 95


def test_the_learned_delay_forgets_what_is_older_than_its_window() -> None:
    latencies = Latencies()
    for seconds in (*[90.0] * WINDOW, *[1.0] * WINDOW):
        latencies.feed(seconds)
    assert latencies.estimate() == 1


def test_nothing_is_learned_from_too_few_latencies() -> None:
    latencies = Latencies()
    for _ in range(LEAST - 1):
        latencies.feed(1)
    assert latencies.estimate() is None
    latencies.feed(1)
    assert latencies.estimate() == 1


def test_quiet_times_save_up_no_more_than_a_few_hedges() -> None:
    budget = Budget()
    for _ in range(10_000):
        budget.called(0.5)
    taken = 0
    while budget.allows():
        budget.take()
        taken += 1
    assert taken == SAVED


def test_the_example_of_the_operators_guide_says_what_it_seems_to_say() -> None:
    guide = (Path(__file__).parents[2] / "kernel" / "docs" / "operating.md").read_text(encoding="utf-8")
    example = guide.partition("### Hedging")[2].partition("```toml\n")[2].partition("```")[0]
    rules = parse_config(f"{example}\n[providers.openrouter]\n").hedge
    assert [rules.delay("openai", "m"), rules.delay("openrouter", "m"), rules.delay("openrouter", "o3-pro")] == [
        2.0,
        5.0,
        "off",
    ]
    assert not rules.concerns(["openai", "openrouter"], "o3-pro")


BAD_RULES = (
    ('after = "soon"', r"t:2:9: hedge\.after: expected a duration .* or one of \"learned\", \"off\""),
    ('after = "0s"', r"t:2:9: hedge\.after: it must be longer than 0"),
    ("after = true", r"t:2:9: hedge\.after: expected a duration"),
    ("share = 0.1", r"t:2:1: hedge\.share: this never takes effect"),
    ('[hedge.models]\nm = "0s"', r"t:3:5: hedge\.models\.m: it must be longer than 0"),
    ('[hedge.models]\nm = "x"', r"t:3:5: hedge\.models\.m: expected a duration"),
    ('[hedge.providers]\nnobody = "2s"', r"t:3:1: hedge\.providers\.nobody: .*no provider has this key"),
)


@pytest.mark.parametrize(("rules", "said"), BAD_RULES)
def test_a_wrong_rule_is_told_with_its_place(rules: str, said: str) -> None:
    """H2."""
    with pytest.raises(ConfigError, match=said):
        parse_config(f"[hedge]\n{rules}\n", source="t")


async def test_a_call_that_ends_at_its_deadline_tells_of_both_attempts_and_that_neither_was_faster(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """D4: nor is the rival's end at the same moment a warning."""
    provider = scripted(a=late(50, "a"), b=late(50, "b"))
    async with scripted_kernel(toml(), {"scripted": provider}) as kernel:
        with pytest.raises(DeadlineExceeded):
            await read(kernel, Ask(model="m", id="call", deadline=10))
        decision = kernel.explain("call")
        assert decision is not None
        assert sorted((one.credential, one.began, one.ended) for one in decision.attempts) == [
            ("a", 0, 10),
            ("b", 2, 10),
        ]
        assert {getattr(one.verdict, "message", "") for one in decision.attempts} == {"the call ended first"}
        assert "second candidate broke" not in caplog.text


class AtOnce(ScriptedProvider):
    """Whoever was called has a payload in one and the same moment, or raises where it has something to raise."""

    def __init__(self, raises: dict[str, Exception]) -> None:
        super().__init__()
        self.now = trio.Event()
        self.raises = raises

    @asynccontextmanager
    async def stream(self, call: Call) -> AsyncIterator[object]:
        yield Waiting(self.now, self.raises.get(call.credential.id))


class Waiting:
    headers: ClassVar[dict[str, str]] = {}

    def __init__(self, now: trio.Event, raises: Exception | None) -> None:
        self.now = now
        self.raises = raises
        self.over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Chunk:
        await self.now.wait()
        if self.raises is not None:
            raise self.raises
        if self.over:
            raise StopAsyncIteration
        self.over = True
        return Chunk(b"payload")


@pytest.mark.parametrize("time", range(8))
@pytest.mark.parametrize("raises", [{}, {"a": ZeroDivisionError()}, {"b": ZeroDivisionError()}], ids=["", "a", "b"])
async def test_each_attempt_is_told_once_though_both_end_in_the_same_moment(
    time: int, raises: dict[str, Exception], autojump_clock: MockClock
) -> None:
    """Trio draws which of two tasks goes first: what is cut off may have had its payload in that moment."""
    provider = AtOnce(raises)
    async with scripted_kernel(toml(), {"scripted": provider}) as kernel, trio.open_nursery() as nursery:
        with suppress(PluginError):
            nursery.start_soon(set_after, provider.now, 5)
            await read(kernel)
        decision = kernel.explain("call")
        assert decision is not None
        assert sorted(one.credential for one in decision.attempts) == ["a", "b"]


async def set_after(event: trio.Event, seconds: float) -> None:
    await trio.sleep(seconds)
    event.set()
