"""The attempt loop, through the kernel's public calls, on scripted providers."""

import math
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from itertools import pairwise
from typing import ClassVar

import attrs
import pytest
import trio
from trio.testing import MockClock

from turnout import (
    Ask,
    Call,
    Chunk,
    CountUnsupported,
    CredentialState,
    Done,
    Failed,
    Failure,
    Inexpressible,
    InvalidRequest,
    Kernel,
    Operation,
    Overloaded,
    Protocol,
    RateLimited,
    Sent,
    TimedOut,
    Transient,
    Unauthorized,
    Unreachable,
)
from turnout._run import ENDED
from turnout._verdicts import FAILURES
from turnout.errors import (
    CallerError,
    CoolingDown,
    DeadlineExceeded,
    InvalidAsk,
    NoCredential,
    PluginError,
    PoolError,
    TurnoutError,
    Unavailable,
    UnknownModel,
    UpstreamFailed,
)
from turnout.testing import Script, ScriptedProvider, scripted_kernel
from turnout.testing._stage import Ear

ASK = Ask(model="m", payload=b"{}")


def toml(names: Sequence[str] = ("a", "b"), *, more: str = "", fields: str = "", provider: str = "scripted") -> str:
    credentials = "".join(
        f'[[providers.{provider}.credentials]]\nname = "{name}"\napi_key = "key-of-{name}-0123456789"\n{fields}\n'
        for name in names
    )
    return f'{more}\n[[providers.{provider}.models]]\nname = "m"\n{credentials}'


AT_ONCE = '[retry]\nmax_wait = "0s"\n'


async def chunks(kernel: Kernel, ask: Ask = ASK) -> list[bytes]:
    async with kernel.stream(ask) as stream:
        return [chunk.data async for chunk in stream]


async def run(kernel: Kernel, mode: str, ask: Ask = ASK) -> object:
    return await chunks(kernel, ask) if mode == "stream" else await kernel.execute(ask)


BOTH = pytest.mark.parametrize("mode", ["execute", "stream"])


@BOTH
async def test_a_rate_limited_credential_is_passed_over_for_the_next(mode: str) -> None:
    """C8.3, C9.1: the client sees only the success."""
    provider = ScriptedProvider()
    provider.script(Script(failure=RateLimited()), credential="a")
    async with scripted_kernel(toml(), {"scripted": provider}) as kernel:
        await run(kernel, mode)
        assert provider.called() == ["a", "b"]
        await run(kernel, mode)
        assert provider.called() == ["a", "b", "b"]


WALKS: tuple[Failure, ...] = (
    *(kind() for kind in FAILURES if kind not in {InvalidRequest, Inexpressible}),
    Unreachable(sent=Sent.NO),
    TimedOut(sent=Sent.MAYBE),
)
"""All but what concerns the request, and what the provider of both cannot say."""


@BOTH
@pytest.mark.parametrize("failure", WALKS, ids=lambda failure: f"{type(failure).__name__}, {failure.sent.value}")
async def test_every_failure_that_is_not_the_clients_leads_to_the_next_credential(mode: str, failure: Failure) -> None:
    """C6.3.4, C8.3, B26: an unsupported model included (C6.3.1)."""
    provider = ScriptedProvider()
    provider.script(Script(failure=failure), credential="a")
    async with scripted_kernel(toml(), {"scripted": provider}) as kernel:
        await run(kernel, mode)
        assert provider.called() == ["a", "b"]


@BOTH
async def test_a_mistake_of_the_client_ends_the_call_and_blames_nobody(mode: str) -> None:
    """C6.3.4, O44, B27, D8."""
    provider = ScriptedProvider(Script(failure=InvalidRequest(message="no such field")))
    async with scripted_kernel(toml(), {"scripted": provider}) as kernel:
        with pytest.raises(UpstreamFailed, match="no such field"):
            await run(kernel, mode)
        assert provider.called() == ["a"]
        assert kernel.models()[0].ready == 2


@BOTH
async def test_a_bug_of_the_provider_ends_the_call_and_blames_nobody(mode: str) -> None:
    """D8, H8."""
    provider = ScriptedProvider()
    provider.script(Script(raises=ZeroDivisionError()))
    async with scripted_kernel(toml(), {"scripted": provider}) as kernel:
        with pytest.raises(PluginError):
            await run(kernel, mode)
        assert provider.called() == ["a"]
        assert kernel.models()[0].ready == 2
        await run(kernel, mode)


@BOTH
async def test_when_everybody_fails_the_last_failure_is_the_answer(mode: str) -> None:
    """C8.3, C9.5 with O33."""
    provider = ScriptedProvider()
    provider.script(Script(failure=Failed(message="first")), Script(failure=Failed(message="last")))
    async with scripted_kernel(toml(more=AT_ONCE), {"scripted": provider}) as kernel:
        with pytest.raises(UpstreamFailed, match="last"):
            await run(kernel, mode)
        assert provider.called() == ["a", "b"]


@BOTH
async def test_when_everybody_cools_the_call_is_answered_at_once_with_the_soonest_time(
    mode: str, autojump_clock: MockClock
) -> None:
    """D9, C6.2, O15."""
    provider = ScriptedProvider()
    provider.script(Script(failure=RateLimited(retry_after=40)), credential="a")
    provider.script(Script(failure=RateLimited(retry_after=60)), credential="b")
    async with scripted_kernel(toml(more=AT_ONCE), {"scripted": provider}) as kernel:
        with pytest.raises(UpstreamFailed):
            await run(kernel, mode)
        began = trio.current_time()
        with pytest.raises(CoolingDown) as caught:
            await run(kernel, mode)
        assert trio.current_time() == began
        assert str(caught.value) == "All credentials for model m are cooling down via provider scripted"
        assert caught.value.until is not None
        decision = kernel.explain
        assert decision("nobody") is None
        assert len(provider.calls) == 2


@BOTH
async def test_a_short_cooldown_is_waited_for(mode: str, autojump_clock: MockClock) -> None:
    """C8.5, O40: with a little jitter. For streams it takes the place of C17.5's retries outside the kernel."""
    provider = ScriptedProvider()
    provider.script(Script(failure=RateLimited(retry_after=20)), credential="a")
    async with scripted_kernel(toml(["a"]), {"scripted": provider}) as kernel:
        began = trio.current_time()
        await run(kernel, mode)
        assert 20 <= trio.current_time() - began <= 22
        assert provider.called() == ["a", "a"]


async def test_a_wait_longer_than_the_limit_is_not_begun(autojump_clock: MockClock) -> None:
    """C8.5.5."""
    provider = ScriptedProvider()
    provider.script(Script(failure=RateLimited(retry_after=31)), credential="a")
    async with scripted_kernel(toml(["a"]), {"scripted": provider}) as kernel:
        began = trio.current_time()
        with pytest.raises(UpstreamFailed):
            await kernel.execute(ASK)
        assert trio.current_time() == began


async def test_there_are_no_more_passes_than_configured(autojump_clock: MockClock) -> None:
    """C8.5: retries are passes less one."""
    provider = ScriptedProvider(Script(failure=RateLimited(retry_after=2)))
    async with scripted_kernel(toml(["a"], more="[retry]\npasses = 3\n"), {"scripted": provider}) as kernel:
        with pytest.raises(UpstreamFailed):
            await kernel.execute(ASK)
        assert provider.called() == ["a", "a", "a"]


async def test_a_wait_that_the_deadline_does_not_allow_is_not_begun(autojump_clock: MockClock) -> None:
    """O40, D4."""
    provider = ScriptedProvider(Script(failure=RateLimited(retry_after=20)))
    async with scripted_kernel(toml(["a"]), {"scripted": provider}) as kernel:
        began = trio.current_time()
        with pytest.raises(UpstreamFailed):
            await kernel.execute(Ask(model="m", deadline=10))
        assert trio.current_time() == began


OWN_RETRIES: tuple[tuple[str, int | None, int | None, float | None, int], ...] = (
    # [retry] passes, request_retry of a and of b, seconds that the call takes or None for none, calls in all
    ("passes = 4", 0, 0, None, 2),
    ("passes = 4", 0, None, 5, 3),
    ("passes = 4", None, 0, 2, 3),
    ("passes = 1", 2, None, 2, 3),
    ("passes = 1", -1, None, None, 2),
    ("passes = 1", 1, 1, 2, 3),
)


@pytest.mark.parametrize(("passes", "a", "b", "takes", "calls"), OWN_RETRIES)
async def test_a_credential_that_may_not_be_retried_is_no_reason_to_wait(
    passes: str, a: int | None, b: int | None, takes: float | None, calls: int, autojump_clock: MockClock
) -> None:
    """C1.11, C8.5.4: its own count replaces the global one, in both directions."""
    provider = ScriptedProvider()
    provider.script(Script(failure=RateLimited(retry_after=2)), credential="a")
    provider.script(Script(failure=RateLimited(retry_after=5)), credential="b")
    text = toml([], more=f"[retry]\n{passes}\n")
    for name, own in (("a", a), ("b", b)):
        metadata = "" if own is None else f"metadata = {{ request_retry = {own} }}\n"
        text += f'[[providers.scripted.credentials]]\nname = "{name}"\napi_key = "key-{name}-123456789"\n{metadata}'
    async with scripted_kernel(text, {"scripted": provider}, draw=lambda: 0.0) as kernel:
        with nullcontext() if takes is not None else pytest.raises(UpstreamFailed):
            await kernel.execute(ASK)
        assert trio.current_time() == (takes or 0)
        assert len(provider.calls) == calls


async def test_the_longest_wait_counts_for_those_with_retries_of_their_own_too(autojump_clock: MockClock) -> None:
    """C1.11, C8.5: it is no useless key, although everybody else is called in one pass only."""
    provider = ScriptedProvider()
    provider.script(Script(failure=RateLimited(retry_after=40)))
    one = toml(["a"], more='[retry]\npasses = 1\nmax_wait = "50s"\n', fields="metadata = { request_retry = 1 }")
    async with scripted_kernel(one, {"scripted": provider}) as kernel:
        await kernel.execute(ASK)
        assert provider.called() == ["a", "a"]


async def test_a_credential_may_be_retried_more_often_than_the_passes_say(autojump_clock: MockClock) -> None:
    """C1.11: and no more often than it says itself."""
    provider = ScriptedProvider(Script(failure=RateLimited(retry_after=2)))
    text = toml(["a"], more="[retry]\npasses = 2\n", fields="metadata = { request_retry = 4 }")
    async with scripted_kernel(text, {"scripted": provider}) as kernel:
        with pytest.raises(UpstreamFailed):
            await kernel.execute(ASK)
        assert provider.called() == ["a"] * 5


async def test_the_credential_limit_ends_a_pass() -> None:
    """C8.3.1."""
    provider = ScriptedProvider(Script(failure=Failed()))
    more = '[retry]\nmax_wait = "0s"\nmax_credentials = 2\n'
    async with scripted_kernel(toml(["a", "b", "c"], more=more), {"scripted": provider}) as kernel:
        with pytest.raises(UpstreamFailed):
            await kernel.execute(ASK)
        assert provider.called() == ["a", "b"]


@BOTH
async def test_a_poisonous_request_stops_after_three_and_benches_nobody_for_long(
    mode: str, autojump_clock: MockClock
) -> None:
    """D10, D1: it kills every upstream it meets."""
    provider = ScriptedProvider()
    poison = Script(failure=Protocol(message="died"))
    provider.script(*[poison] * 20)
    names = [f"c{number}" for number in range(9)]
    hosts = toml(names, fields='base_url = "https://NAME.test:443"')
    for name in names:
        hosts = hosts.replace("NAME", name, 1)
    async with scripted_kernel(hosts, {"scripted": provider}) as kernel:
        with pytest.raises(UpstreamFailed, match="died"):
            await run(kernel, mode)
        assert len(provider.calls) == 3
        await trio.sleep(61)
        assert kernel.models()[0].ready == 9


async def test_after_two_failures_an_origins_other_credentials_are_skipped() -> None:
    """Design 8: two failures that blame one origin, then another origin is tried."""
    provider = ScriptedProvider()
    other = ScriptedProvider(origin="https://other.test:443")
    provider.script(*[Script(failure=Protocol())] * 9)
    text = toml(["a", "b", "c"]) + toml(["z"], provider="other").replace("[providers.other]", "")
    async with scripted_kernel(text, {"scripted": provider, "other": other}) as kernel:
        await kernel.execute(ASK)
        assert len(provider.calls) <= 2
        assert other.called() == ["z"]


async def test_an_unanswered_request_is_tried_once_more_elsewhere_and_then_given_up() -> None:
    """B6: it may have been billed."""
    provider = ScriptedProvider(Script(failure=Failed(message="silence", sent=Sent.MAYBE)))
    async with scripted_kernel(toml(["a", "b", "c"]), {"scripted": provider}) as kernel:
        with pytest.raises(UpstreamFailed, match="silence"):
            await kernel.execute(ASK)
        assert provider.called() == ["a", "b"]


async def test_retry_unsafe_zero_never_bills_twice() -> None:
    provider = ScriptedProvider(Script(failure=Failed(message="silence", sent=Sent.MAYBE)))
    async with scripted_kernel(toml(more="[retry]\nretry_unsafe = 0\n"), {"scripted": provider}) as kernel:
        with pytest.raises(UpstreamFailed, match="silence"):
            await kernel.execute(ASK)
        assert provider.called() == ["a"]


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["a"], []),
        (["a", "b", "c"], ["call req-1: sent to a and not answered, tried again with b"]),
    ],
)
async def test_a_possible_double_bill_is_logged_when_it_is_risked_and_not_before(
    names: Sequence[str], told: Sequence[str], caplog: pytest.LogCaptureFixture
) -> None:
    """B6, I9: with nobody left to try, nothing is billed twice."""
    provider = ScriptedProvider(Script(failure=Failed(message="silence", sent=Sent.MAYBE)))
    async with scripted_kernel(toml(names), {"scripted": provider}) as kernel:
        with pytest.raises(UpstreamFailed, match="silence"):
            await kernel.execute(attrs.evolve(ASK, id="req-1"))
    assert [each.getMessage() for each in caplog.records if each.name == "turnout.conduct"] == told


async def test_a_transient_fault_never_benches_the_last_ready_credential(autojump_clock: MockClock) -> None:
    """Design 16, 18: one 5xx does not empty the pool."""
    provider = ScriptedProvider()
    provider.script(Script(failure=Transient()))
    async with scripted_kernel(toml(["a"], more=AT_ONCE), {"scripted": provider}) as kernel:
        with pytest.raises(UpstreamFailed):
            await kernel.execute(ASK)
        await kernel.execute(ASK)


async def test_without_keep_last_a_transient_fault_benches_for_a_minute(autojump_clock: MockClock) -> None:
    """C10.4 to the letter, when `health.keep_last` is off."""
    provider = ScriptedProvider()
    provider.script(Script(failure=Transient()))
    off = f"{AT_ONCE}[health]\nkeep_last = false\nhalf_open = false\nblame_routes = false\n"
    async with scripted_kernel(toml(["a"], more=off), {"scripted": provider}) as kernel:
        with pytest.raises(UpstreamFailed):
            await kernel.execute(ASK)
        with pytest.raises(Unavailable):
            await kernel.execute(ASK)
        await trio.sleep(60)
        await kernel.execute(ASK)


async def test_failures_that_credentials_share_blame_the_origin_and_not_them(autojump_clock: MockClock) -> None:
    """Design 8: the origin cools on the curve of C10.6, the credentials' states are given back."""
    provider = ScriptedProvider()
    provider.script(*[Script(failure=Transient())] * 2)
    async with scripted_kernel(toml(["a", "b", "c"], more=AT_ONCE), {"scripted": provider}) as kernel:
        with pytest.raises(UpstreamFailed):
            await kernel.execute(ASK)
        assert len(provider.calls) == 2
        assert kernel.models()[0].ready == 3
        with pytest.raises(Unavailable) as caught:
            await kernel.execute(ASK)
        assert caught.value.until is not None
        await trio.sleep(1)
        await kernel.execute(ASK)


async def test_an_origin_that_cools_for_others_is_no_reason_to_wait(autojump_clock: MockClock) -> None:
    """O39: only what could serve this ask counts."""
    provider = ScriptedProvider(origin="https://ill.test:443")
    other = ScriptedProvider()
    provider.script(*[Script(failure=Transient())] * 3)
    other.script(Script(failure=RateLimited(retry_after=900)))
    text = toml(["a", "b"]) + toml(["z"], provider="other").replace('"m"', '"n"')
    async with scripted_kernel(text, {"scripted": provider, "other": other}) as kernel:
        with pytest.raises(UpstreamFailed):
            await kernel.execute(ASK)
        began = trio.current_time()
        with pytest.raises(UpstreamFailed):
            await kernel.execute(Ask(model="n"))
        with pytest.raises(CoolingDown):
            await kernel.execute(Ask(model="n"))
        assert trio.current_time() - began == 0


async def test_an_attempt_that_does_not_answer_ends_at_its_limit(autojump_clock: MockClock) -> None:
    """B8, O38."""
    provider = ScriptedProvider(Script(wait=10_000))
    more = '[deadlines]\nheaders = "7s"\n[retry]\nretry_unsafe = 0\n'
    async with scripted_kernel(toml(more=more), {"scripted": provider}) as kernel:
        began = trio.current_time()
        with pytest.raises(UpstreamFailed) as caught:
            await kernel.execute(ASK)
        assert isinstance(caught.value.verdict, TimedOut)
        assert math.isclose(trio.current_time() - began, 7)


@BOTH
async def test_the_whole_call_ends_at_its_deadline(mode: str, autojump_clock: MockClock) -> None:
    """D4, O40."""
    provider = ScriptedProvider(Script(wait=4, failure=Failed()))
    async with scripted_kernel(toml([f"c{n}" for n in range(9)]), {"scripted": provider}) as kernel:
        began = trio.current_time()
        with pytest.raises(DeadlineExceeded):
            await run(kernel, mode, Ask(model="m", deadline=10))
        assert math.isclose(trio.current_time() - began, 10)


async def test_a_stream_that_outlives_the_deadline_ends_with_it(autojump_clock: MockClock) -> None:
    provider = ScriptedProvider(Script(chunks=[Chunk(b"x")] * 100, gap=1))
    got = []
    async with scripted_kernel(toml(), {"scripted": provider}) as kernel:
        with pytest.raises(DeadlineExceeded):
            async with kernel.stream(Ask(model="m", deadline=9.5)) as stream:
                async for chunk in stream:
                    got.append(chunk)  # noqa: PERF401 # what came before the end counts
        assert len(got) == 10
        assert provider.open_streams == 0


async def test_a_stream_is_handed_over_with_the_upstreams_headers() -> None:
    """C9.4."""
    provider = ScriptedProvider()
    provider.script(Script(failure=Failed(), headers={"x-from": "a"}), Script(headers={"x-from": "b"}))
    async with scripted_kernel(toml(), {"scripted": provider}) as kernel, kernel.stream(ASK) as stream:
        assert stream.headers == {"x-from": "b"}


async def test_nothing_is_retried_after_the_first_payload() -> None:
    """C9.4.4, D3, B11."""
    provider = ScriptedProvider(Script(chunks=[Chunk(b"x")], failure=Transient(message="cut off")))
    async with scripted_kernel(toml(), {"scripted": provider}) as kernel:
        got = []
        with pytest.raises(UpstreamFailed, match="cut off"):
            async with kernel.stream(ASK) as stream:
                async for chunk in stream:
                    got.append(chunk.data)  # noqa: PERF401 # what came before the failure counts
        assert got == [b"x"]
        assert provider.called() == ["a"]


async def test_the_hint_of_a_failure_mid_stream_is_used(autojump_clock: MockClock) -> None:
    """O35, C9.4.1."""
    provider = ScriptedProvider()
    provider.script(Script(chunks=[Chunk(b"x")], failure=RateLimited(retry_after=500)), credential="a")
    async with scripted_kernel(toml(["a"], more=AT_ONCE), {"scripted": provider}) as kernel:
        with pytest.raises(UpstreamFailed):
            await chunks(kernel)
        await trio.sleep(499)
        with pytest.raises(CoolingDown):
            await chunks(kernel)
        await trio.sleep(1)
        await chunks(kernel)


async def test_a_consumer_that_leaves_early_counts_as_a_success_once(autojump_clock: MockClock) -> None:
    """O36, C9.4.3: and the upstream is closed at once."""
    provider = ScriptedProvider(Script(chunks=[Chunk(b"x")] * 50, gap=1))
    provider.script(Script(failure=RateLimited(retry_after=5)), credential="a")
    async with scripted_kernel(toml(["a"]), {"scripted": provider}) as kernel:
        async with kernel.stream(ASK) as stream:
            await anext(stream)
        assert (provider.open_streams, provider.closed) == (0, 1)
        assert kernel.models()[0].ready == 1


@BOTH
async def test_a_cancelled_call_is_not_recorded_and_frees_its_slot(mode: str, autojump_clock: MockClock) -> None:
    """C8.3.5, C9.3, D8: cancellation wins and benches nobody."""
    provider = ScriptedProvider(Script(wait=100))
    async with scripted_kernel(toml(["a"]), {"scripted": provider}) as kernel:
        with trio.move_on_after(1) as scope:
            await run(kernel, mode)
        assert scope.cancelled_caught
        assert kernel.models()[0].ready == 1
        assert provider.open_streams == 0


class Late(ScriptedProvider):
    """Fails when it is told to."""

    def __init__(self, failure: Failure) -> None:
        super().__init__()
        self.failure = failure
        self.begun, self.go = trio.Event(), trio.Event()

    async def _begin(self, call: Call) -> Script:
        self.calls.append(call)
        self.begun.set()
        await self.go.wait()
        return Script(failure=self.failure)


@BOTH
@pytest.mark.parametrize("failure", [RateLimited(), InvalidRequest()], ids=lambda failure: type(failure).__name__)
async def test_a_failure_that_meets_a_cancelled_call_is_its_cancellation(mode: str, failure: Failure) -> None:
    """C8.3.5, C9.2, C9.3: when the upstream fails and the client has gone, nothing is recorded."""
    provider = Late(failure)
    gone = trio.CancelScope()

    async def client() -> None:
        with gone:
            await run(kernel, mode)

    async with scripted_kernel(toml(), {"scripted": provider}) as kernel, trio.open_nursery() as nursery:
        nursery.start_soon(client)
        await provider.begun.wait()
        provider.go.set()
        gone.cancel()
        nursery.cancel_scope.deadline = trio.current_time() + 60
        while not gone.cancelled_caught:
            await trio.lowlevel.checkpoint()
        assert provider.called() == ["a"]
        assert kernel.credentials.state("a") == CredentialState()
        assert kernel.models()[0].ready == 2


async def test_a_cancelled_call_is_not_begun() -> None:
    """O43: cancellation is looked at before each call."""
    provider = ScriptedProvider()
    async with scripted_kernel(toml(["a"]), {"scripted": provider}) as kernel:
        with trio.CancelScope() as scope:
            scope.cancel()
            await kernel.execute(ASK)
        assert provider.calls == []


async def test_a_pin_allows_one_credential_only(autojump_clock: MockClock) -> None:
    """C5.11: a pin never falls back, and the caller's ask is not written to."""
    provider = ScriptedProvider()
    provider.script(Script(failure=RateLimited(retry_after=100)), credential="b")
    pinned = Ask(model="m", pin="b")
    async with scripted_kernel(toml(more=AT_ONCE), {"scripted": provider}) as kernel:
        with pytest.raises(UpstreamFailed):
            await kernel.execute(pinned)
        with pytest.raises(CoolingDown):
            await kernel.execute(pinned)
        with pytest.raises(NoCredential):
            await kernel.execute(Ask(model="m", pin="nobody"))
        assert provider.called() == ["b"]


async def test_a_session_returns_to_its_credential_and_moves_when_that_fails() -> None:
    """C12.5 with O1, O2."""
    provider = ScriptedProvider()
    ask = Ask(model="m", affinity="session-1")
    async with scripted_kernel(toml(["a", "b", "c"]), {"scripted": provider}) as kernel:
        for _ in range(3):
            await kernel.execute(ask)
        assert provider.called() == ["a", "a", "a"]
        provider.script(Script(failure=RateLimited(retry_after=900)), credential="a")
        await kernel.execute(ask)
        await kernel.execute(ask)
        assert provider.called()[3:] == ["a", "b", "b"]


async def test_an_unsupported_count_benches_nobody() -> None:
    """O41, C8.6."""
    provider = ScriptedProvider(Script(failure=CountUnsupported()))
    async with scripted_kernel(toml(), {"scripted": provider}) as kernel:
        with pytest.raises(UpstreamFailed):
            await kernel.count(ASK)
        assert kernel.models()[0].ready == 2


async def test_an_unknown_model_names_what_is_served() -> None:
    """C17.1: told as the client's mistake, with names; providers come from the catalogue (C16.7)."""
    async with scripted_kernel(toml(), {"scripted": ScriptedProvider()}) as kernel:
        with pytest.raises(UnknownModel) as caught:
            await kernel.execute(Ask(model="gpt-unknown"))
        assert caught.value.served == ("m",)


async def test_the_decision_record_tells_who_was_asked_and_how_it_went() -> None:
    """O42: the chosen credential comes with the result; the record can be asked for later."""
    provider = ScriptedProvider()
    provider.script(Script(failure=RateLimited(retry_after=9)), credential="a")
    async with scripted_kernel(toml(), {"scripted": provider}) as kernel:
        answer = await kernel.execute(Ask(model="m", id="call-7"))
        decision = answer.decision
        assert [(line.credential, type(line.verdict)) for line in decision.attempts] == [
            ("a", RateLimited),
            ("b", Done),
        ]
        assert (decision.served_by, decision.error, decision.passes) == ("b", "", 1)
        assert kernel.explain("call-7") == decision


@BOTH
@pytest.mark.parametrize(
    ("deadline", "leaves", "script", "code"),
    [
        (4, math.inf, Script(wait=50), "upstream_timeout"),
        (None, 4, Script(wait=50), "cancelled"),
        (None, math.inf, Script(wait=3, raises=ZeroDivisionError()), "internal"),
        (None, math.inf, Script(wait=3, body="text"), "internal"),  # type: ignore[arg-type] # on purpose
    ],
    ids=["deadline", "caller", "bug", "answer"],
)
async def test_the_decision_record_tells_whom_a_call_waited_for_when_it_ended(
    autojump_clock: MockClock, deadline: float | None, leaves: float, script: Script, code: str, mode: str
) -> None:
    """Design 8: behind the failure before it, with its times; no outcome is recorded of it."""
    provider = ScriptedProvider(script)
    provider.script(Script(failure=RateLimited(retry_after=99), wait=1), credential="a")
    async with scripted_kernel(toml(), {"scripted": provider}) as kernel:
        with trio.move_on_after(leaves), suppress(DeadlineExceeded, PluginError):
            await run(kernel, mode, Ask(model="m", id="call-9", deadline=deadline))
        decision = kernel.explain("call-9")
        assert decision is not None
        assert decision.error == code
        assert [(line.credential, line.began, line.ended) for line in decision.attempts] == [("a", 0, 1), ("b", 1, 4)]
        assert decision.attempts[1].verdict == ENDED
        assert kernel.credentials.state("b") == CredentialState()


@BOTH
@pytest.mark.parametrize(
    ("failure", "pauses"), [(Protocol(), [0.05, 0.1, 0.2]), (Overloaded(), [1, 2, 2])], ids=["ill", "overloaded"]
)
async def test_a_pause_that_doubles_lies_between_tries_at_one_origin(
    failure: Failure, pauses: list[float], mode: str, autojump_clock: MockClock
) -> None:
    """Acceptance, section 4: up to 50 ms, or 1 s for an origin that is overloaded, and never more than 2 s."""
    more = AT_ONCE + "origin_failures = 0\nupstream_failures = 0\n"
    provider = ScriptedProvider(Script(failure=failure))
    async with scripted_kernel(toml("abcd", more=more), {"scripted": provider}, draw=lambda: 1.0) as kernel:
        with pytest.raises(UpstreamFailed):
            await run(kernel, mode, Ask(model="m", id="call-9"))
        decision = kernel.explain("call-9")
        assert decision is not None
        times = [line.began for line in decision.attempts]
        assert [later - earlier for earlier, later in pairwise(times)] == pytest.approx(pauses)


@BOTH
async def test_a_failure_that_meets_a_cancelled_call_is_told_as_its_end(mode: str, autojump_clock: MockClock) -> None:
    """C8.3.5, C9.3: cancellation wins, in the decision record as well."""

    class Leaving(ScriptedProvider):
        async def _begin(self, call: Call) -> Script:
            scope.cancel()
            return Script(failure=RateLimited(retry_after=99))

    async with scripted_kernel(toml(), {"scripted": Leaving()}) as kernel:
        with trio.CancelScope() as scope:
            await run(kernel, mode, Ask(model="m", id="call-9"))
        assert scope.cancelled_caught
        decision = kernel.explain("call-9")
        assert decision is not None
        assert [(line.credential, line.verdict) for line in decision.attempts] == [("a", ENDED)]


@BOTH
@pytest.mark.parametrize(
    ("ask", "code"),
    [
        (Ask(model="gpt-unknown(high)", id="call-8"), "model_not_found"),
        (Ask(model="m", id="call-8", dialect="elsewhere"), "not_supported"),
    ],
    ids=["model", "dialect"],
)
async def test_a_call_without_any_candidate_leaves_its_decision_record_too(
    autojump_clock: MockClock, ask: Ask, code: str, mode: str
) -> None:
    """Design 8: every call does; one for what is not there is counted as well, and can be explained."""

    class Local(ScriptedProvider):
        dialects: ClassVar[frozenset[str]] = frozenset({"here"})

    ear = Ear()
    async with scripted_kernel(toml() + "[observers.ear]\n", {"scripted": Local()}, observers={"ear": ear}) as kernel:
        with pytest.raises(CallerError):
            await run(kernel, mode, ask)
        decision = kernel.explain("call-8")
        await trio.sleep(1)

    assert decision is not None
    assert (decision.model, decision.stream, decision.error) == (ask.model, mode == "stream", code)
    assert not decision.attempts
    assert not decision.skipped
    assert ear.decisions() == (decision,)


async def test_the_decision_record_of_a_fail_over_names_those_who_were_left_out_and_why(
    autojump_clock: MockClock,
) -> None:
    """Design 8: candidates, who was left out and why; nothing of it for a call that went well at once."""
    provider = ScriptedProvider()
    provider.script(Script(failure=RateLimited(retry_after=100)), credential="a")
    provider.script(Script(failure=Unauthorized()), credential="b")
    text = toml(["a", "b", "d", "e"], more=AT_ONCE)
    text += '[[providers.scripted.credentials]]\nname = "c"\napi_key = "key-c-012345678"\ndisabled = true\n'
    async with scripted_kernel(text, {"scripted": provider}) as kernel:
        for name in ("a", "b"):
            with pytest.raises(UpstreamFailed):
                await kernel.execute(Ask(model="m", pin=name))
        assert (await kernel.execute(ASK)).decision.skipped == ()
        provider.script(Script(failure=Failed()), credential="e")
        decision = (await kernel.execute(ASK)).decision
        assert [one.credential for one in decision.attempts] == ["e", "d"]
        assert dict(decision.skipped) == {
            "a": "rate limited until 2027-01-15T08:01:40Z",
            "b": "blocked until 2027-01-15T08:30:00Z",
            "c": "disabled",
        }
        with pytest.raises(CoolingDown):
            await kernel.execute(Ask(model="m", id="pinned", pin="a"))
        pinned = kernel.explain("pinned")
        assert pinned is not None
        assert [name for name, _ in pinned.skipped] == ["a"]


async def test_the_decision_record_names_origins_that_were_skipped(autojump_clock: MockClock) -> None:
    provider = ScriptedProvider()
    provider.script(*[Script(failure=Protocol())] * 2)
    async with scripted_kernel(toml(["a", "b", "c"], more=AT_ONCE), {"scripted": provider}) as kernel:
        with pytest.raises(UpstreamFailed):
            await kernel.execute(Ask(model="m", id="call"))
        decision = kernel.explain("call")
        assert decision is not None
        assert decision.skipped == (("c", "its origin is skipped after failures"),)


async def test_a_decision_record_names_no_more_than_twenty_who_were_left_out(autojump_clock: MockClock) -> None:
    provider = ScriptedProvider(Script(failure=RateLimited(retry_after=100)))
    names = [f"c{number}" for number in range(30)]
    async with scripted_kernel(toml(names, more=AT_ONCE), {"scripted": provider}) as kernel:
        with pytest.raises(UpstreamFailed):
            await kernel.execute(ASK)
        with pytest.raises(CoolingDown):
            await kernel.execute(Ask(model="m", id="call"))
        decision = kernel.explain("call")
        assert decision is not None
        assert len(decision.skipped) == len(dict(decision.skipped)) == 20


async def test_a_failed_call_leaves_a_decision_record_too() -> None:
    provider = ScriptedProvider(Script(failure=InvalidRequest()))
    async with scripted_kernel(toml(), {"scripted": provider}) as kernel:
        with pytest.raises(UpstreamFailed):
            await kernel.execute(Ask(model="m", id="bad"))
        decision = kernel.explain("bad")
        assert decision is not None
        assert (decision.served_by, decision.error) == ("", "upstream_error")


@BOTH
async def test_a_call_that_fails_by_its_origin_says_when_that_is_back(mode: str, autojump_clock: MockClock) -> None:
    """O15, design 8: the credentials are ready again, and it is their origin that everybody waits for."""
    provider = ScriptedProvider(Script(failure=Transient()))
    async with scripted_kernel(toml(more=AT_ONCE), {"scripted": provider}) as kernel:
        with pytest.raises(UpstreamFailed) as failed:
            await run(kernel, mode)
        with pytest.raises(Unavailable) as refused:
            await run(kernel, mode)

    assert provider.called() == ["a", "b"]
    assert failed.value.until == refused.value.until is not None


BAD_ASKS = (
    (Ask(model=""), "ask.model"),
    (Ask(model=3), "ask.model"),  # type: ignore[arg-type]  # that is the point
    (Ask(model="m", payload="text"), "ask.payload"),  # type: ignore[arg-type]  # that is the point
    (Ask(model="m", deadline=0), "ask.deadline"),
    (Ask(model="m", deadline=-1), "ask.deadline"),
    (Ask(model="m", deadline=math.nan), "ask.deadline"),
    (Ask(model="m", deadline=True), "ask.deadline"),
    (Ask(model="m", pin=b"a"), "ask.pin"),  # type: ignore[arg-type]  # that is the point
    (Ask(model="m", operation="generate"), "ask.operation"),  # type: ignore[arg-type]  # that is the point
    (Ask(model="m", websocket="yes"), "ask.websocket"),  # type: ignore[arg-type]  # that is the point
    (Ask(model="m", headers=None), "ask.headers"),  # type: ignore[arg-type]  # that is the point
    (Ask(model="m", dialect="d", headers={"x-a": 1}), "ask.headers"),  # type: ignore[dict-item]  # that is the point
    (Ask(model="m", headers={1: "a"}, deadline=1), "ask.headers"),  # type: ignore[dict-item]  # that is the point
    ({"model": "m"}, "ask"),
)


@pytest.mark.parametrize(("ask", "argument"), BAD_ASKS, ids=str)
@BOTH
async def test_a_wrong_ask_is_named_and_nothing_happens(mode: str, ask: Ask, argument: str) -> None:
    provider = ScriptedProvider()
    async with scripted_kernel(toml(), {"scripted": provider}) as kernel:
        with pytest.raises(InvalidAsk) as caught:
            await run(kernel, mode, ask)
        assert caught.value.argument == argument
        assert provider.calls == []


@pytest.mark.parametrize("operation", [Operation.COUNT, Operation.EMBED])
async def test_only_what_is_generated_is_streamed(operation: Operation) -> None:
    """C1.18: a stream of a count would be a generation that somebody pays for."""
    provider = ScriptedProvider()
    async with scripted_kernel(toml(), {"scripted": provider}) as kernel:
        with pytest.raises(InvalidAsk) as caught:
            await chunks(kernel, Ask(model="m", operation=operation))
        await kernel.execute(Ask(model="m", operation=operation))

    assert caught.value.argument == "ask.operation"
    assert len(provider.calls) == 1


@pytest.mark.parametrize(("pin", "called"), [("", "a"), ("  ", "a"), (" b ", "b"), ("b", "b")])
@BOTH
async def test_a_pin_is_trimmed_and_a_blank_one_is_none(mode: str, pin: str, called: str) -> None:
    """C1.19."""
    provider = ScriptedProvider()
    async with scripted_kernel(toml(), {"scripted": provider}) as kernel:
        await run(kernel, mode, Ask(model="m", pin=pin))
        assert provider.called() == [called]


def test_every_error_of_the_pool_is_an_error_of_turnout() -> None:
    assert issubclass(PoolError, TurnoutError)
