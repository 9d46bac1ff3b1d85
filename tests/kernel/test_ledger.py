import math
import tracemalloc
from collections.abc import Iterable

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout._aggregate import following
from turnout._cooldown import ORIGIN_WELL, backoff, clamped_hint
from turnout._ledger import (
    Change,
    OriginState,
    Policy,
    record,
    record_origin,
    restore,
    settled,
    speaks_against_origin,
)
from turnout._ledger_renewals import refreshed, refused_for_good
from turnout._standing import blocked
from turnout._values import CLEAN, Credential, CredentialState, ErrorRecord, ModelState, Outcome, Quota, Status
from turnout._verdicts import (
    FAILURES,
    CountUnsupported,
    Done,
    Empty,
    Failed,
    Failure,
    Inexpressible,
    InvalidRequest,
    ModelMissing,
    ModelUnsupported,
    Overloaded,
    PaymentRequired,
    Protocol,
    RateLimited,
    TimedOut,
    Transient,
    Unauthorized,
    Unreachable,
    Verdict,
)
from turnout.errors import InvalidAsk

NOW = 1_800_000_000.0
POLICY = Policy()
LETTER = Policy(half_open=False, keep_last=False, blame_routes=False)
PASSING = (Transient, Overloaded, Unreachable, TimedOut, Protocol)


def end(verdict: Verdict, model: str = "m") -> Outcome:
    return Outcome(credential="a", provider="p", model=model, verdict=verdict)


def after(
    *verdicts: Verdict,
    state: CredentialState = CLEAN,
    model: str = "m",
    now: float = NOW,
    policy: Policy = POLICY,
    cooling: bool | None = None,
) -> CredentialState:
    for verdict in verdicts:
        state = record(state, end(verdict, model), now, policy, cooling=cooling).state
    return state


def blocked_for(state: CredentialState, model: str = "m", now: float = NOW) -> float | None:
    until = (state.models[model] if model else state).next_retry_after
    return None if until is None else until - now


BLOCKS: list[tuple[type[Failure], float | None]] = [
    (ModelUnsupported, 12 * 3600),
    (Unauthorized, 30 * 60),
    (PaymentRequired, 30 * 60),
    (ModelMissing, 12 * 3600),
    (RateLimited, 1),
    *((kind, 60) for kind in PASSING),
    (Empty, None),
    (Failed, None),
]


def test_every_failure_has_a_row() -> None:
    assert {kind for kind, _ in BLOCKS} | {InvalidRequest, CountUnsupported, Inexpressible} == set(FAILURES)


@pytest.mark.parametrize(("kind", "seconds"), BLOCKS)
def test_a_failure_of_a_model_blocks_it_by_the_table(kind: type[Failure], seconds: float | None) -> None:
    """C10.1, C10.4 with O45: network failures and all of 5xx count as transient, 529 as overload."""
    change = record(CLEAN, end(kind(message="why")), NOW, POLICY)

    entry = change.state.models["m"]
    assert change.changed
    assert (entry.unavailable, entry.status, entry.status_message) == (True, Status.ERROR, "why")
    assert entry.last_error == change.state.last_error
    assert entry.last_error is not None
    assert (entry.last_error.code, entry.last_error.message) == (kind.code, "why")
    assert (change.state.status, change.state.status_message) == (Status.ERROR, "why")
    assert blocked_for(change.state) == seconds
    assert entry.quota.exceeded is (kind is RateLimited)
    assert entry.updated_at == change.state.updated_at == NOW


@pytest.mark.parametrize(
    ("kind", "message", "seconds"),
    [
        (Unauthorized, "unauthorized", 30 * 60),
        (PaymentRequired, "payment_required", 30 * 60),
        (ModelMissing, "not_found", 12 * 3600),
        (RateLimited, "quota exhausted", 1),
        *((kind, "transient upstream error", 60) for kind in PASSING),
        (Failed, "why", None),
        (Empty, "why", None),
        (ModelUnsupported, "why", None),
    ],
)
def test_a_failure_without_a_model_blocks_the_credential_by_the_table(
    kind: type[Failure], message: str, seconds: float | None
) -> None:
    """C10.5: no model state comes about and nothing is aggregated; the rule of unsupported models does not apply."""
    state = after(kind(message="why"), model="", state=CredentialState(unusable_until=NOW + 7))

    assert (state.updated_at, state.unusable_until) == (NOW, NOW + 7)
    assert (state.status, state.status_message, state.unavailable) == (Status.ERROR, message, True)
    assert blocked_for(state, "") == seconds
    assert not state.models
    assert state.quota == (
        Quota(exceeded=True, reason="quota", next_recover_at=NOW + 1, backoff_level=1)
        if kind is RateLimited
        else Quota()
    )


def test_an_unknown_failure_without_a_model_or_message_says_that_the_request_failed() -> None:
    """C10.5, last row."""
    assert after(Failed(), model="").status_message == "request failed"


def test_any_other_failure_of_the_credential_clears_an_older_block() -> None:
    """O49, against C10.5's "unchanged"."""
    state = after(RateLimited(), Failed(), model="")

    assert state.next_retry_after is None


@pytest.mark.parametrize("kind", [InvalidRequest, CountUnsupported, Inexpressible])
@pytest.mark.parametrize("model", ["m", ""])
@pytest.mark.parametrize("state", [CLEAN, after(RateLimited())])
def test_a_clients_mistake_leaves_the_state_alone(kind: type[Failure], model: str, state: CredentialState) -> None:
    """O44, O41, D8: not even the time of the last update moves."""
    change = record(state, end(kind(message="bad"), model), NOW + 5, POLICY)

    assert change == Change(state=state, changed=False)
    assert change.state is state


def test_a_success_resets_the_model_and_the_credential() -> None:
    """C10.3, with a model."""
    state = after(RateLimited(), RateLimited(), Done())

    assert state.models["m"] == ModelState(updated_at=NOW)
    assert state == CredentialState(models={"m": ModelState(updated_at=NOW)}, updated_at=NOW)


def test_a_success_leaves_the_error_of_another_model() -> None:
    """C10.3: credential error and message stay while another model has one."""
    state = after(RateLimited(message="slow"), state=after(Transient(message="down"), model="other"))
    state = after(Done(), state=state)

    assert state.models["m"] == ModelState(updated_at=NOW)
    assert (state.status, state.status_message) == (Status.ERROR, "slow")
    assert state.last_error is not None
    assert state.last_error.message == "slow"
    assert blocked_for(state, "other") == 60


ILL = ErrorRecord(message="ill")


@pytest.mark.parametrize(
    ("other", "stays"),
    [
        (ModelState(last_error=ILL), True),
        (ModelState(status=Status.ERROR, unavailable=True), True),
        (ModelState(status=Status.ERROR, unavailable=True, next_retry_after=NOW + 1), True),
        (ModelState(status=Status.ERROR, unavailable=True, next_retry_after=NOW), False),
        (ModelState(status=Status.ERROR), False),
        (ModelState(unavailable=True, next_retry_after=NOW + 1), False),
    ],
)
def test_the_credentials_error_stays_while_another_model_is_in_trouble(other: ModelState, stays: bool) -> None:
    """C10.3: word by word, whoever wrote the other state."""
    models = {"other": other, "m": ModelState(status=Status.ERROR, last_error=ILL)}
    state = after(
        Done(), state=CredentialState(status=Status.ERROR, status_message="ill", last_error=ILL, models=models)
    )

    told = (state.status, state.status_message, state.last_error)
    assert told == ((Status.ERROR, "ill", ILL) if stays else (Status.ACTIVE, "", None))


def test_a_record_says_whether_trying_again_may_help() -> None:
    """C1.4, C6.1: a rate limit, an empty stream, and whatever blames the way to the upstream."""
    errors = {kind: after(kind(), model="").last_error for kind in FAILURES}

    assert {kind for kind, error in errors.items() if error and error.retryable} == {RateLimited, Empty, *PASSING}


def test_a_success_without_a_model_clears_the_credential_and_leaves_the_models() -> None:
    """C10.3, without a model."""
    blocked = after(ModelMissing(), state=after(RateLimited(), model=""))
    state = after(Done(), state=blocked, model="")

    assert state == CredentialState(models=blocked.models, updated_at=NOW)


@pytest.mark.parametrize(
    ("state", "model"),
    [
        (CLEAN, "new"),
        (CredentialState(), "new"),
        (after(RateLimited(), Done()), "m"),
        (after(RateLimited(), Done()), "new"),
        (after(Done(), state=after(Transient(), model="other")), "m"),
    ],
)
def test_a_success_on_a_clean_state_gives_the_same_object_back(state: CredentialState, model: str) -> None:
    """Design 6: it writes nothing. A model that never failed leaves no trace either."""
    change = record(state, end(Done(), model), NOW, POLICY)

    assert change.state is state
    assert not change.changed


def test_a_success_on_a_clean_state_allocates_nothing() -> None:
    """Design 6."""
    outcome = end(Done())
    record(CLEAN, outcome, NOW, POLICY)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    kept = [record(CLEAN, outcome, NOW, POLICY) for _ in range(2)]
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()

    assert kept[0] is kept[1]
    assert grown < 200, "the list itself, no values"


def test_settled_agrees_with_what_a_success_would_do() -> None:
    cooling = after(RateLimited())
    for state in (CLEAN, cooling, after(Done(), state=cooling), after(Failed())):
        assert settled(state, "m") is not record(state, end(Done()), NOW, POLICY).changed


# --- D5: arithmetic of cooldowns -------------------------------------------------------------------------------------


def rate_limits(count: int, *, gap: float = 0.0, policy: Policy = POLICY) -> list[float | None]:
    state, found = CLEAN, []
    for turn in range(count):
        now = NOW + turn * gap
        state = after(RateLimited(), state=state, now=now, policy=policy)
        found.append(blocked_for(state, now=now))
    return found


def test_rate_limits_without_a_hint_double_up_to_half_an_hour() -> None:
    """C10.6, D5."""
    assert rate_limits(14) == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1800, 1800, 1800]


@pytest.mark.parametrize(
    ("level", "seconds", "following_level"),
    [(-3, 1, 1), (0, 1, 1), (1, 2, 2), (9, 512, 10), (10, 1024, 11), (11, 1800, 11), (34, 1800, 11), (10**6, 1800, 11)],
)
def test_a_level_out_of_range_counts_as_the_nearest(level: int, seconds: float, following_level: int) -> None:
    """C10.6 with O47: no overflow above 33."""
    assert backoff(level) == (seconds, following_level)


@pytest.mark.parametrize(
    ("hint", "seconds"),
    [
        (math.nan, None),
        (0, 1),
        (-5, 1),
        (0.2, 1),
        (1, 1),
        (1.5, 1.5),
        (3600, 3600),
        (86_400, 86_400),
        (86_401, 86_400),
        (10**12, 86_400),
        (math.inf, 86_400),
        (-math.inf, 1),
    ],
)
def test_a_hint_counts_between_floor_and_cap(hint: float, seconds: float | None) -> None:
    """O46, D5, design 16."""
    assert clamped_hint(hint, POLICY) == seconds


@pytest.mark.parametrize("kind", [RateLimited, *PASSING])
@pytest.mark.parametrize("cooling", [True, False])
@pytest.mark.parametrize("model", ["m", ""])
def test_a_hint_is_kept_for_every_failure_that_passes(kind: type[Failure], cooling: bool, model: str) -> None:
    """C10.6 with O46: also when cooling is off, for the upstream said it."""
    state = after(kind(retry_after=90), cooling=cooling, model=model)

    assert blocked_for(state, model) == 90


def test_a_hint_leaves_the_level_alone() -> None:
    """C10.6."""
    state = after(RateLimited(), RateLimited(), RateLimited(retry_after=500))

    assert state.models["m"].quota == Quota(exceeded=True, reason="quota", next_recover_at=NOW + 500, backoff_level=2)


@pytest.mark.parametrize("kind", [Unauthorized, PaymentRequired, ModelMissing, ModelUnsupported])
def test_fixed_blocks_take_no_hint_and_no_switch(kind: type[Failure]) -> None:
    """C10.6: cooling off does not touch the 401 to 404 and unsupported-model blocks."""
    plain = after(kind())
    switched = after(kind(retry_after=5), policy=Policy(cooling=False))

    assert blocked_for(plain) == blocked_for(switched)


@pytest.mark.parametrize(
    ("globally", "own", "blocked"),
    [(True, None, True), (True, False, False), (False, None, False), (False, True, True)],
)
@pytest.mark.parametrize("kind", [RateLimited, Transient])
def test_a_credentials_own_switch_beats_the_global_one(
    kind: type[Failure], globally: bool, own: bool | None, blocked: bool
) -> None:
    """C1.11, C10.6."""
    state = after(kind(), policy=Policy(cooling=globally), cooling=own)

    assert (blocked_for(state) is not None) is blocked


def test_with_cooling_off_a_rate_limit_is_marked_but_blocks_nobody() -> None:
    """C10.6."""
    state = after(RateLimited(), RateLimited(), cooling=False)

    assert state.models["m"].quota == Quota(exceeded=True, reason="quota")
    assert state.models["m"].next_retry_after is None


def test_the_level_starts_again_after_a_quiet_period() -> None:
    """O47: counted from the end of the last cooldown."""
    assert rate_limits(3, gap=1000) == [1, 2, 4]
    assert rate_limits(3, gap=3700) == [1, 1, 1]
    assert rate_limits(3, gap=3700, policy=Policy(decay_after=math.inf)) == [1, 2, 4]


def test_the_quiet_period_counts_from_the_end_of_the_cooldown_or_else_from_the_last_word() -> None:
    """O47: exactly; a failure of another class breaks the quiet."""
    limited = after(RateLimited(), RateLimited())
    noted = after(Transient(), state=limited, now=NOW + 3000)

    def next_pause(state: CredentialState, now: float) -> float | None:
        return blocked_for(after(RateLimited(), state=state, now=now), now=now)

    assert [next_pause(limited, NOW + 2 + quiet) for quiet in (3599, 3600)] == [4, 1]
    assert [next_pause(noted, NOW + 3000 + quiet) for quiet in (3599, 3600)] == [4, 1]


def test_another_failure_ends_the_mark_of_a_rate_limit_but_not_its_level() -> None:
    """O50, against C10.4: a transient failure is not reported as a rate limit; O47 alone lowers the level."""
    state = after(RateLimited(), RateLimited(), Transient())

    assert state.models["m"].quota == Quota(backoff_level=2)
    assert not state.quota.exceeded
    assert blocked_for(after(RateLimited(), state=state)) == 4


# --- the operator, the last one, the refresh -------------------------------------------------------------------------


@pytest.mark.parametrize("verdict", [Done(), *(kind() for kind in FAILURES)])
@pytest.mark.parametrize("model", ["m", ""])
def test_no_outcome_changes_what_the_operator_decided(verdict: Verdict, model: str) -> None:
    """O23: a late outcome, be it a success, leaves `disabled` and its message."""
    entry = ModelState(status=Status.DISABLED, status_message="not for us", unavailable=True, next_retry_after=NOW)
    state = CredentialState(status=Status.DISABLED, status_message="by the operator", models={"m": entry})
    state = after(verdict, RateLimited(), Done(), verdict, state=state, model=model)

    assert (state.status, state.status_message) == (Status.DISABLED, "by the operator")
    assert (state.models["m"].status, state.models["m"].status_message) == (Status.DISABLED, "not for us")


@pytest.mark.parametrize("kind", PASSING)
@pytest.mark.parametrize("hint", [None, 50.0])
def test_a_passing_failure_never_benches_the_last_ready_credential(kind: type[Failure], hint: float | None) -> None:
    """Design 16: it is noted. The policy can switch that off."""
    outcome = end(kind(message="down", retry_after=hint))
    kept = record(CLEAN, outcome, NOW, POLICY, last_ready=True).state
    benched = record(CLEAN, outcome, NOW, LETTER, last_ready=True).state

    assert blocked_for(kept) is None
    assert kept.models["m"].last_error is not None
    assert blocked_for(benched) == (hint or 60)


@pytest.mark.parametrize("kind", [RateLimited, Unauthorized, PaymentRequired, ModelMissing, ModelUnsupported])
def test_a_failure_of_its_own_benches_even_the_last_ready_credential(kind: type[Failure]) -> None:
    """Design 16: only transient faults are forgiven."""
    assert blocked_for(record(CLEAN, end(kind()), NOW, POLICY, last_ready=True).state) is not None


def test_the_first_401_of_a_refreshable_credential_asks_for_one_refresh() -> None:
    """O48: further ones, of whatever model, do not while its block stands."""
    first = record(CLEAN, end(Unauthorized()), NOW, POLICY, refreshable=True)
    second = record(first.state, end(Unauthorized(), "other"), NOW + 1, POLICY, refreshable=True)
    later = record(second.state, end(Unauthorized()), NOW + 1802, POLICY, refreshable=True)

    assert (first.refresh, second.refresh, later.refresh) == (True, False, True)
    assert blocked_for(first.state) == 1800


def test_no_refresh_is_asked_for_in_vain() -> None:
    """O48: not for a credential that cannot be renewed, nor for one that waits for a person."""
    lost = refused_for_good(CLEAN, "the refresh token was revoked", NOW)

    assert not record(CLEAN, end(Unauthorized()), NOW, POLICY).refresh
    assert not record(lost, end(Unauthorized()), NOW, POLICY, refreshable=True).refresh
    assert not record(CLEAN, end(PaymentRequired()), NOW, POLICY, refreshable=True).refresh


def test_a_refresh_frees_what_the_old_token_had_blocked_and_nothing_else() -> None:
    """O48: unblock on success."""
    state = after(Unauthorized(), state=after(RateLimited(retry_after=600), model="other"))
    state = refreshed(refused_for_good(state, "gone", NOW), NOW + 5)

    assert state.models["m"] == ModelState(updated_at=NOW + 5)
    assert blocked_for(state, "other") == 600
    assert (state.needs_login, state.unavailable) == ("", False)
    assert state.last_error is not None
    assert state.last_error.code == "rate_limited"


def test_a_refresh_of_a_credential_without_troubles_changes_nothing() -> None:
    cooling = after(RateLimited())

    assert refreshed(cooling, NOW) is cooling
    assert refreshed(after(Unauthorized(), model=""), NOW).status is Status.ACTIVE


# --- the aggregate ---------------------------------------------------------------------------------------------------


def test_a_credential_is_unavailable_when_all_its_models_are() -> None:
    """C10.7: until the earliest of their times."""
    state = after(Transient(), state=after(ModelMissing(), model="other"))

    assert (state.unavailable, blocked_for(state, "")) == (True, 60)
    one_left = after(Failed(), state=state, model="third")
    assert (one_left.unavailable, one_left.next_retry_after) == (False, None)


def test_a_model_that_the_operator_disabled_counts_as_unavailable_without_a_time() -> None:
    """C10.7."""
    disabled = CredentialState(models={"x": ModelState(status=Status.DISABLED)})
    state = after(Transient(), state=disabled)

    assert (state.unavailable, blocked_for(state, "")) == (True, 60)
    assert following(disabled, dict(disabled.models), None, "", NOW).unavailable
    assert following(disabled, dict(disabled.models), None, "", NOW).next_retry_after is None


def test_a_block_whose_time_has_passed_is_taken_off_on_the_next_occasion() -> None:
    """C10.7: strictly, and error and quota stay."""
    state = after(Transient(), state=after(RateLimited(), model="other"), now=NOW)
    later = after(Failed(), state=state, now=NOW + 1)

    entry = later.models["other"]
    assert (entry.unavailable, entry.next_retry_after) == (False, None)
    assert entry.quota.exceeded
    assert entry.last_error is not None


def test_the_quota_of_a_credential_joins_those_of_its_models() -> None:
    """C10.7: earliest recovery, highest level; nothing when none is exceeded."""
    state = after(RateLimited(), RateLimited(), RateLimited(), model="slow")
    state = after(RateLimited(retry_after=2), state=state, model="hinted")
    state = after(Transient(), state=state, model="down")

    assert state.quota == Quota(exceeded=True, reason="quota", next_recover_at=NOW + 2, backoff_level=3)
    assert after(Done(), state=after(RateLimited())).quota == Quota()


def test_a_model_is_half_open_from_the_end_of_its_block_until_a_success() -> None:
    """Design 8."""
    state = after(RateLimited())
    lapsed = after(Failed(), state=state, now=NOW + 1, model="other")
    credential = Credential(id="a", provider="p")

    def half(state: CredentialState, now: float) -> bool:
        return blocked(credential, state, ["m"], now).half

    assert [half(state, NOW + t) for t in (0, 0.999, 1, 5000)] == [False, False, True, True]
    assert half(lapsed, NOW + 1)
    assert not half(after(Done(), state=state), NOW + 5)
    assert not half(after(Failed()), NOW)
    assert not half(CLEAN, NOW)


# --- correlated failures ---------------------------------------------------------------------------------------------


def test_a_restored_state_is_the_one_before_the_failure() -> None:
    """Design 8: the origin is blamed, the credential is not."""
    for before in (CLEAN, after(RateLimited(), Done()), after(RateLimited(), model="other")):
        current = after(Transient(), state=before, now=NOW + 0.5)

        assert restore(before, current, "m") == before
        assert restore(before, restore(before, current, "m"), "m") == before
    assert restore(CLEAN, after(Transient(), model=""), "") == CLEAN


def test_a_restored_state_keeps_what_others_recorded_meanwhile() -> None:
    """Design 8."""
    failed = after(Transient())
    elsewhere = after(RateLimited(retry_after=600), state=failed, now=NOW + 1, model="other")
    refused = after(PaymentRequired(), state=failed, now=NOW + 1)
    served = after(Done(), state=failed, now=NOW + 1)

    kept = restore(CLEAN, elsewhere, "m")
    assert set(kept.models) == {"other"}
    assert (blocked_for(kept, "other", NOW + 1), kept.unavailable) == (600, True)
    assert kept.last_error is not None
    assert kept.last_error.code == "rate_limited"
    assert restore(CLEAN, refused, "m") is refused
    assert restore(CLEAN, served, "m") is served


@pytest.mark.parametrize("model", ["m", ""])
@pytest.mark.parametrize(("before", "since"), [(None, NOW + 60), (NOW + 60, None)], ids=["failed", "renewed"])
def test_a_restored_state_keeps_what_refreshes_said_meanwhile(
    model: str, before: float | None, since: float | None
) -> None:
    """O57: a token that has ended is of no use until its next try, whoever was to blame for the call."""
    earlier = CredentialState(unusable_until=before)
    current = attrs.evolve(after(Transient(), state=earlier, model=model), unusable_until=since)

    assert restore(earlier, current, model).unusable_until == since


def test_an_origin_cools_on_the_rate_limit_curve() -> None:
    """Design 8: on C10.6's curve; failures while it cools add nothing, a quiet period starts again."""
    state, now, pauses = ORIGIN_WELL, NOW, []
    for _ in range(13):
        state = record_origin(state, now, POLICY)
        assert record_origin(state, now, POLICY) is state
        assert state.until is not None
        pauses.append(state.until - now)
        now = state.until

    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1800, 1800]
    assert record_origin(state, now + 3600, POLICY) == OriginState(level=1, until=now + 3601)


def test_only_shared_troubles_speak_against_the_origin() -> None:
    """Design 8: rate limits only with `route_429`, nothing with `blame_routes` off."""
    kinds = {kind for kind in FAILURES if speaks_against_origin(kind(), POLICY)}

    assert kinds == {Transient, Unreachable, TimedOut}
    assert speaks_against_origin(RateLimited(), Policy(route_429=True))
    assert not any(speaks_against_origin(kind(), Policy(blame_routes=False, route_429=True)) for kind in FAILURES)
    assert not speaks_against_origin(Done(), POLICY)


# --- bad input and properties ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "argument"),
    [
        ({"hint_floor": 0}, "hint_floor"),
        ({"hint_cap": -1}, "hint_cap"),
        ({"decay_after": math.nan}, "decay_after"),
        ({"hint_floor": 10, "hint_cap": 5}, "hint_floor"),
    ],
)
def test_a_policy_refuses_times_that_make_no_sense(settings: dict[str, float], argument: str) -> None:
    with pytest.raises(InvalidAsk) as caught:
        Policy(**settings)  # type: ignore[arg-type]  # only the times vary here
    assert caught.value.argument == argument


def test_a_policy_may_leave_no_choice_of_hints() -> None:
    assert clamped_hint(500, Policy(hint_floor=20, hint_cap=20)) == 20


def verdicts() -> st.SearchStrategy[Verdict]:
    hints = st.none() | st.floats(allow_nan=True, allow_infinity=True)
    return st.one_of(
        st.just(Done()), st.builds(lambda kind, hint: kind(retry_after=hint), st.sampled_from(FAILURES), hints)
    )


steps = st.lists(
    st.tuples(verdicts(), st.sampled_from(["m", "n", ""]), st.floats(0, 100_000), st.booleans()), max_size=30
)


def told(story: Iterable[tuple[Verdict, str, float, bool]], policy: Policy) -> Iterable[tuple[CredentialState, float]]:
    state, now = CLEAN, NOW
    for verdict, model, gap, last in story:
        now += gap
        state = record(state, end(verdict, model), now, policy, last_ready=last).state
        yield state, now


@given(steps)
def test_whatever_happens_a_block_is_bounded_and_its_level_too(story: list[tuple[Verdict, str, float, bool]]) -> None:
    """O47, design 10: nothing stays benched past its time, and no time lies beyond the cap."""
    for state, now in told(story, POLICY):
        entries: list[CredentialState | ModelState] = [state, *state.models.values()]
        for entry in entries:
            assert 0 <= entry.quota.backoff_level <= 11
            for time in (entry.next_retry_after, entry.quota.next_recover_at):
                assert time is None or time <= now + POLICY.hint_cap
            if entry.quota.exceeded and entry.quota.next_recover_at is not None and isinstance(entry, ModelState):
                assert entry.next_retry_after in {entry.quota.next_recover_at, None}


@given(steps)
def test_a_success_always_clears_the_model(story: list[tuple[Verdict, str, float, bool]]) -> None:
    """C10.3: and a credential that serves a model is not unavailable (C10.7)."""
    for state, now in told(story, LETTER):
        clear = after(Done(), state=state, now=now)
        entry = clear.models.get("m", ModelState())
        assert entry == ModelState(updated_at=entry.updated_at)
        assert not clear.unavailable
        assert after(Done(), state=clear, now=now) is clear


@given(steps)
def test_the_operators_word_outlives_every_story(story: list[tuple[Verdict, str, float, bool]]) -> None:
    """O23."""
    state = attrs.evolve(CLEAN, status=Status.DISABLED)
    for verdict, model, _, last in story:
        state = record(state, end(verdict, model), NOW, POLICY, last_ready=last).state
        assert state.status is Status.DISABLED


@given(steps)
def test_a_state_says_unchanged_exactly_when_it_is_the_same(story: list[tuple[Verdict, str, float, bool]]) -> None:
    state, now = CLEAN, NOW
    for verdict, model, gap, last in story:
        now += gap
        change = record(state, end(verdict, model), now, POLICY, last_ready=last)
        assert change.changed is (change.state is not state)
        assert isinstance(change.state.last_error, ErrorRecord | None)
        state = change.state
