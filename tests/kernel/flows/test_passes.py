"""Passes over the pool: who is called, in which order, and when it is over (C8)."""

from collections.abc import Callable

import attrs
import pytest

from turnout import (
    Answer,
    Ask,
    CountUnsupported,
    Credential,
    Failed,
    Failure,
    InvalidRequest,
    Metadata,
    ModelMissing,
    PaymentRequired,
    RateLimited,
    Transient,
    Unauthorized,
    Unreachable,
)
from turnout.errors import CoolingDown, NoCredential, Unavailable, UnknownModel, UpstreamFailed
from turnout.testing import (
    Count,
    Execute,
    RecordOutcome,
    Refresh,
    Renewal,
    Scenario,
    Script,
    Series,
    Step,
    Stream,
    Together,
    Update,
    Wait,
)

KEYS = ", ".join(f'{{ name = "{name}", api_key = "key-of-{name}-0123456789" }}' for name in "abc")
CONFIG = f"""
[providers.p]
models = [{{ name = "m" }}, {{ name = "other" }}]
credentials = [{KEYS}]
"""
AT_ONCE = '[retry]\nmax_wait = "0s"\n'

OPERATIONS: tuple[Callable[[Ask | str], Step], ...] = (Execute, Stream, Count)
EVERY_OPERATION = pytest.mark.parametrize("call", OPERATIONS, ids=["execute", "stream", "count"])


def failing(failure: Failure) -> dict[str, list[Failure]]:
    return {name: [failure] for name in "abc"}


@EVERY_OPERATION
def test_every_operation_walks_the_pool_by_one_loop(call: Callable[[Ask], Step]) -> None:
    """C8.1, C8.3, C8.6, C9.1 with O7: the same failures lead to the same calls, records and benches."""
    report = Scenario(
        config=CONFIG, scripts={"a": [RateLimited(retry_after=60)], "b": [Unauthorized()]}, steps=[call(Ask(model="m"))]
    ).run()
    assert report.called == ["a", "b", "c"]
    assert [type(outcome.verdict).__name__ for outcome in report.outcomes] == ["RateLimited", "Unauthorized", "Done"]
    assert report.errors == [None]
    assert {id: "m" in state.models for id, state in report.states.items()} == {"a": True, "b": True, "c": False}


@EVERY_OPERATION
def test_a_model_that_nobody_serves_is_refused_without_an_attempt(call: Callable[[Ask], Step]) -> None:
    """C8.1: no provider, no attempt."""
    report = Scenario(config=CONFIG, steps=[call(Ask(model="unknown"))]).run()
    assert isinstance(report.errors[0], UnknownModel)
    assert report.calls == ()


@EVERY_OPERATION
def test_nothing_is_written_to_the_callers_ask(call: Callable[[Ask], Step]) -> None:
    """C8.2, C8.4 with O2, O42: neither the requested model nor the pick; two calls with one ask know nothing of it."""
    mine = {"trace": "7"}
    ask = Ask(model="m(high)", affinity="s", metadata=mine)
    before = attrs.asdict(ask)
    report = Scenario(config=CONFIG, scripts={"a": [RateLimited()]}, steps=[call(ask), call(ask)]).run()
    assert attrs.asdict(ask) == before
    assert mine == {"trace": "7"}
    assert report.called == ["a", "b", "b"]


def test_the_pick_comes_with_the_result_and_only_of_those_who_were_called() -> None:
    """C8.4 with O42: a pool's credential whose members all cool is picked by nobody and published to nobody."""
    pool = """
[providers.p]
models = [{ name = "m1", alias = "m" }, { name = "m2", alias = "m" }]
credentials = [{ name = "a", api_key = "key-of-a-0123456789" }, { name = "b", api_key = "key-of-b-0123456789" }]
"""
    cooling = RateLimited(retry_after=60)
    report = Scenario(config=pool, scripts={"a": [cooling, cooling]}, steps=[Execute("m"), Execute("m")]).run()
    first, second = report.values
    assert isinstance(first, Answer)
    assert [line.credential for line in first.decision.attempts] == ["a", "a", "b"]
    assert [line.credential for line in second.decision.attempts] == ["b"]
    assert (first.decision.served_by, first.decision.upstream_model) == ("b", report.calls[2].model)


def test_all_members_of_a_pool_count_as_one_credential() -> None:
    """C8.3: the credential limit counts credentials, not calls."""
    pool = """
[retry]
max_wait = "0s"
max_credentials = 1
[providers.p]
models = [{ name = "m1", alias = "m" }, { name = "m2", alias = "m" }]
credentials = [{ name = "a", api_key = "key-of-a-0123456789" }, { name = "b", api_key = "key-of-b-0123456789" }]
"""
    report = Scenario(config=pool, default=Failed(), steps=[Execute("m")]).run()
    assert [(call.credential, call.model) for call in report.calls] == [("a", "m1"), ("a", "m2")]


WALK: tuple[Failure, ...] = (
    RateLimited(),
    Unauthorized(),
    PaymentRequired(),
    ModelMissing(),
    Failed(),
)


@pytest.mark.parametrize("failure", WALK, ids=lambda failure: type(failure).__name__)
@EVERY_OPERATION
def test_the_last_failure_is_the_answer_when_everybody_failed(call: Callable[[str], Step], failure: Failure) -> None:
    """C8.3: rule 2; each is called once, and the last one's failure is raised unchanged (C8.5)."""
    numbered = {name: [attrs.evolve(failure, message=f"from {name}")] for name in "abc"}
    report = Scenario(config=CONFIG + AT_ONCE, scripts=numbered, steps=[call("m")]).run()
    assert report.called == ["a", "b", "c"]
    error = report.errors[0]
    assert isinstance(error, UpstreamFailed)
    assert error.verdict.message == "from c"
    assert type(error.verdict) is type(failure)


@EVERY_OPERATION
def test_the_clients_own_mistake_ends_the_call_at_once(call: Callable[[str], Step]) -> None:
    """C8.3 rule 5, C6.3.4, C8.5 rule 3: no other credential, no other pass."""
    report = Scenario(config=CONFIG, default=InvalidRequest(message="bad"), steps=[call("m")]).run()
    assert report.called == ["a"]
    assert report.results[0].took == 0
    assert all(not state.models for state in report.states.values())


@EVERY_OPERATION
def test_a_credential_is_called_once_in_a_pass_while_another_is_eligible(call: Callable[[str], Step]) -> None:
    """D2, C8.3: a retry never returns to the credential that has just failed."""
    flaky: list[Failure] = [Failed(), RateLimited(retry_after=2), Failed()]
    for turn in range(6):
        scripts = dict.fromkeys("abc", flaky[turn % 3 :] + flaky[: turn % 3])
        report = Scenario(config=CONFIG, scripts=scripts, seed=turn, steps=[call("m"), call("m")]).run()
        for decision in report.decisions:
            for line, following in zip(decision.attempts, decision.attempts[1:], strict=False):
                assert line.credential != following.credential


# --- another pass ----------------------------------------------------------------------------------------------------


@EVERY_OPERATION
def test_another_pass_follows_when_the_soonest_recovery_is_near(call: Callable[[str], Step]) -> None:
    """C8.5: it waits the shortest remaining time, and everybody may be called again."""
    scripts = {
        "a": [RateLimited(retry_after=20)],
        "b": [RateLimited(retry_after=9)],
        "c": [RateLimited(retry_after=400)],
    }
    report = Scenario(config=CONFIG, scripts=scripts, steps=[call("m")]).run()
    assert report.called == ["a", "b", "c", "b"]
    assert 9 <= report.results[0].took <= 10
    assert report.decisions[0].passes == 2


@EVERY_OPERATION
def test_the_wait_also_begins_when_the_first_pick_found_everybody_cooling(call: Callable[[str], Step]) -> None:
    """C8.5.2."""
    report = Scenario(
        config=CONFIG, scripts=failing(RateLimited(retry_after=50)), steps=[Execute("m"), Wait(30), call("m")]
    )
    told = report.run()
    assert isinstance(told.errors[0], UpstreamFailed)
    assert told.errors[2] is None
    assert 20 <= told.results[2].took <= 22
    assert told.decisions[1].attempts[0].began >= 20


NO_WAIT = [
    ('[retry]\nmax_wait = "0s"\n', 5.0, 3),
    ('[retry]\nmax_wait = "4s"\n', 5.0, 3),
    ("[retry]\npasses = 1\n", 5.0, 3),
    ("[retry]\npasses = 2\n", 5.0, 6),
    ("[retry]\npasses = 3\n", 5.0, 9),
    ("", 31.0, 3),
    ("", 30.0, 12),
]


@pytest.mark.parametrize(("retry", "hint", "calls"), NO_WAIT)
@EVERY_OPERATION
def test_passes_and_waits_have_their_limits(call: Callable[[str], Step], retry: str, hint: float, calls: int) -> None:
    """C8.5 rules 1, 4 and 5, D9: passes count the first one; a wait longer than the limit is not begun."""
    report = Scenario(config=CONFIG + retry, default=RateLimited(retry_after=hint), steps=[call("m")]).run()
    assert len(report.calls) == calls
    error = report.errors[0]
    assert isinstance(error, UpstreamFailed)
    assert isinstance(error.verdict, RateLimited)


@EVERY_OPERATION
def test_another_pass_begins_with_its_budgets_anew(call: Callable[[str], Step]) -> None:
    """C8.5: the credential limit, those tried, and the origins that were skipped."""
    limited = "[retry]\nmax_credentials = 1\n"
    report = Scenario(config=CONFIG + limited, scripts={"a": [RateLimited(retry_after=5)]}, steps=[call("m")]).run()
    assert report.called == ["a", "b"]
    assert report.results[0].took >= 5

    ill = [Transient(retry_after=5)]
    alone = "[health]\nblame_routes = false\n"
    report = Scenario(config=CONFIG + alone, scripts={"a": ill, "b": ill}, steps=[call("m")]).run()
    assert report.called == ["a", "b", "c"]
    assert report.results[0].took >= 5


def test_who_is_skipped_before_a_call_does_not_count_as_one() -> None:
    """C8.3 rule 4: one whose token has ended and cannot be renewed leaves the credential limit alone."""
    ended = Credential(
        id="t", provider="p", attributes={"priority": "9"}, metadata=Metadata({"expires_at": 1_700_000_000})
    )
    report = Scenario(
        config=CONFIG + '[retry]\nmax_wait = "0s"\nmax_credentials = 1\n',
        credentials=[ended],
        refreshes={"t": [Renewal(takes=1, failure=Transient())] * 2},
        steps=[Execute("m")],
    ).run()
    assert report.called == ["a"]
    assert report.errors == [None]


@EVERY_OPERATION
def test_a_token_that_cannot_be_renewed_is_told_with_its_time(call: Callable[[str], Step]) -> None:
    """C5.12 with O15, O57: the call that finds it out is told the same as the next one."""
    ended = Credential(id="t", provider="p", metadata=Metadata({"expires_at": 1_700_000_000}))
    report = Scenario(
        config=f'{AT_ONCE}[providers.p]\nmodels = [{{ name = "m" }}]\n',
        credentials=[ended],
        refreshes={"t": [Renewal(takes=1, failure=Transient())]},
        steps=[call("m"), call("m")],
    ).run()
    assert [type(error) for error in report.errors] == [Unavailable, Unavailable]
    first, second = (error.until for error in report.errors if isinstance(error, Unavailable))
    assert first == second == report.states["t"].unusable_until


def test_a_pools_turn_goes_on_only_when_a_member_is_called() -> None:
    """C7.8 with O29: a credential that was picked and then skipped begins with the same member as before."""
    ended = Credential(id="t", provider="p", metadata=Metadata({"expires_at": 1_700_000_000}))
    pool = """
[retry]
max_wait = "0s"
[providers.p]
models = [{ name = "m1", alias = "m" }, { name = "m2", alias = "m" }]
"""
    report = Scenario(
        config=pool,
        credentials=[ended],
        refreshes={"t": [Renewal(takes=1, failure=Transient()), Renewal()]},
        steps=[Execute("m"), Refresh("t"), Execute("m"), Execute("m")],
    ).run()
    assert [call.model for call in report.calls] == ["m1", "m2"]


def test_what_cannot_be_counted_is_the_answer_only_when_there_is_no_other() -> None:
    """C8.3 rule 6 with O41: the last failure that says something about the pool."""
    uncounted: list[Failure] = [CountUnsupported()]
    scripts: dict[str, list[Failure]] = {"a": [RateLimited(message="full")], "b": uncounted, "c": uncounted}
    report = Scenario(config=CONFIG + AT_ONCE, scripts=scripts, steps=[Count("m")]).run()
    assert report.called == ["a", "b", "c"]
    error = report.errors[0]
    assert isinstance(error, UpstreamFailed)
    assert error.verdict.message == "full"


def test_a_member_that_begins_to_cool_while_another_is_called_is_left_out() -> None:
    """C7.10, O28: candidates are looked at again before each of them is called."""
    pool = """
[retry]
max_wait = "0s"
[providers.p]
models = [{ name = "m1", alias = "m" }, { name = "m2", alias = "m" }]
credentials = [{ name = "a", api_key = "key-of-a-0123456789" }]
"""
    meanwhile = Series([Wait(2), RecordOutcome("a", RateLimited(retry_after=60), "m2")])
    report = Scenario(
        config=pool, scripts={"a": [Script(wait=5, failure=Failed())]}, steps=[Together([Execute("m"), meanwhile])]
    ).run()
    assert [call.model for call in report.calls] == ["m1"]


def test_nobody_waits_for_a_credential_that_could_not_serve() -> None:
    """C8.5.1 with O39: of another model, of another pin, or switched off."""
    elsewhere = Credential(id="z", provider="p", attributes={"priority": "9"}, metadata=Metadata({"note": ""}))
    steps = [
        Execute(Ask(model="m", pin="z")),
        Execute(Ask(model="m", pin="a")),
        Update("z", changes={"disabled": True}),
        Execute(Ask(model="m", pin="z")),
    ]
    scripts = {"z": [Script(failure=RateLimited(retry_after=3))], "a": [Script(failure=PaymentRequired())]}
    config = CONFIG + '[retry]\npasses = 2\nmax_wait = "5s"\n'
    report = Scenario(config=config, credentials=[elsewhere], scripts=scripts, steps=steps).run()
    assert report.results[0].took >= 3  # the pinned one could serve: that is worth the wait
    assert report.results[1].took == 0  # z is ready soon, but a is the one that is wanted
    assert isinstance(report.errors[3], NoCredential)
    assert report.results[3].took == 0


def test_waiting_for_one_model_does_not_look_at_another() -> None:
    """O39: a cooldown of another model on the same credentials is no reason to wait."""
    twice = [Script(failure=RateLimited(retry_after=3)), Script(failure=ModelMissing())]
    scripts = {"a": twice, "b": twice, "c": twice}
    retry = '[retry]\npasses = 2\nmax_wait = "10s"\n'
    steps = [Execute(Ask(model="other", deadline=1)), Execute("m")]
    report = Scenario(config=CONFIG + retry, scripts=scripts, steps=steps).run()
    assert report.results[1].took == 0


@EVERY_OPERATION
def test_a_client_that_goes_away_ends_the_wait(call: Callable[..., Step]) -> None:
    """C8.5.3: the wait ends at once, with the cancellation; nothing is recorded for it."""
    report = Scenario(
        config=CONFIG, default=RateLimited(retry_after=20), steps=[call(Ask(model="m"), cancel_after=5)]
    ).run()
    assert (report.results[0].cancelled, report.results[0].took) == (True, 5)
    assert len(report.calls) == len(report.outcomes) == 3
    assert report.decisions[0].error == "cancelled"


def test_waiters_of_one_recovery_do_not_wake_in_one_instant() -> None:
    """O40, D6: jitter spreads them; one probe goes first, and no call is refused that could be served."""
    config = CONFIG.replace(KEYS, '{ name = "a", api_key = "key-of-a-0123456789" }')
    steps = [Execute(Ask(model="m", deadline=1)), Together([Execute("m") for _ in range(20)])]
    report = Scenario(config=config, scripts={"a": [RateLimited(retry_after=20)]}, steps=steps).run()
    (together,) = report.values[1:]
    began = [call.at for call in report.calls[1:]]
    assert len(set(began)) > 10
    assert min(began) >= 20
    assert [result.error for result in together] == [None] * 20


@EVERY_OPERATION
def test_the_deadline_covers_all_passes(call: Callable[[Ask], Step]) -> None:
    """D4, O40: a wait that would end behind it is not begun, and no attempt outlives it."""
    slow = Script(wait=4, failure=RateLimited(retry_after=3))
    report = Scenario(config=CONFIG, default=slow, steps=[call(Ask(model="m", deadline=14))]).run()
    assert report.results[0].took <= 14
    assert report.errors[0] is not None


def test_an_overload_of_the_pool_is_told_at_once_with_the_soonest_recovery() -> None:
    """D9: no wait, no call."""
    report = Scenario(
        config=CONFIG + AT_ONCE,
        scripts={
            "a": [RateLimited(retry_after=90)],
            "b": [RateLimited(retry_after=70)],
            "c": [RateLimited(retry_after=80)],
        },
        steps=[Execute("m"), Wait(30), Execute("m")],
    ).run()
    error = report.errors[2]
    assert isinstance(error, CoolingDown)
    assert error.until == pytest.approx(1_800_000_070, abs=1)
    failed = report.errors[0]
    assert isinstance(failed, UpstreamFailed)
    assert failed.until == pytest.approx(1_800_000_070, abs=1)
    assert report.results[2].took == 0
    assert len(report.calls) == 3


@pytest.mark.parametrize("failure", [Transient(), Unreachable()], ids=lambda failure: type(failure).__name__)
def test_walking_the_pool_is_not_repeating(failure: Failure) -> None:
    """D1, D10: failures that blame an origin stop a call after two at one origin, others do not."""
    names = [f"k{number}" for number in range(12)]
    many = ", ".join(f'{{ name = "{name}", api_key = "key-of-{name}-0123456789" }}' for name in names)
    config = CONFIG.replace(KEYS, many) + AT_ONCE
    walked = Scenario(config=config, default=PaymentRequired(), steps=[Execute("m")]).run()
    assert len(walked.calls) == 12
    repeated = Scenario(config=config, default=failure, steps=[Execute("m")]).run()
    assert len(repeated.calls) == 2
