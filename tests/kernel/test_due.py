from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout._cooldown import Policy
from turnout._due import (
    NONE_YET,
    Refreshes,
    after_failure,
    after_success,
    due_at,
    interval_outlives_token,
    merge,
    pause_after_failure,
)
from turnout._ledger import record
from turnout._values import CLEAN, Credential, CredentialState, Metadata, Outcome, Secret, Status
from turnout._verdicts import Failure, RateLimited, Unauthorized

NOW = 1_800_000_000.0
HOUR = 3600.0


def login(**metadata: Any) -> Credential:
    return Credential(id="anna", provider="claude", metadata=Metadata({"email": "anna@example.org", **metadata}))


def wait(credential: Credential, *, lead: float | None = None, now: float = NOW, **rest: Any) -> float | None:
    """Seconds until it is due; 0 when it is due already."""
    found = due_at(credential, rest.pop("state", CLEAN), lead=lead, now=now, **rest)
    return None if found is None else max(found - now, 0.0)


# --- C11.3, rule by rule ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metadata", "lead", "seconds"),
    [
        # rule 4: an interval, with or without an expiry
        ({"refresh_interval": 600}, None, 0),
        ({"refresh_interval": 600, "last_refresh": NOW - 100}, None, 500),
        ({"refresh_interval": 600, "last_refresh": NOW - 600}, None, 0),
        ({"refresh_interval": 600, "last_refresh": NOW - 100, "expired": NOW + 700}, None, 100),
        ({"refresh_interval": 600, "last_refresh": NOW - 100, "expired": NOW + 10**6}, None, 500),
        ({"refresh_interval": 600, "last_refresh": NOW - 100, "expired": NOW - 5}, None, 0),
        ({"refresh_interval": 600, "expired": NOW + 10**6}, None, 0),
        ({"refresh_interval": "10m", "last_refresh": NOW - 100}, 4 * HOUR, 500),
        # rule 5: no interval and no lead
        ({"expired": NOW - 5}, None, None),
        ({}, None, None),
        ({"expired": NOW - 5}, 0.0, None),
        ({"expired": NOW - 5}, -3.0, None),
        # rule 6: the expiry and the lead; an old last refresh does not matter
        ({"expired": NOW + 5 * HOUR}, 4 * HOUR, HOUR),
        ({"expired": NOW + 4 * HOUR}, 4 * HOUR, 0),
        ({"expired": NOW + 5 * HOUR, "last_refresh": NOW - 10**6}, 4 * HOUR, HOUR),
        ({"expired": NOW - 5}, 4 * HOUR, 0),
        # rule 7: no expiry, the last refresh and the lead
        ({"last_refresh": NOW - HOUR}, 4 * HOUR, 3 * HOUR),
        ({"last_refresh": NOW - 5 * HOUR}, 4 * HOUR, 0),
        # rule 8: nothing is known but the lead; an expiry that is recognised and unset is none
        ({}, 4 * HOUR, 0),
        ({"expired": 0}, 4 * HOUR, 0),
    ],
)
def test_a_credential_is_due_by_the_first_rule_that_fits(
    metadata: dict[str, Any], lead: float | None, seconds: float | None
) -> None:
    """C11.3, C11.5; a lead that is not positive is unknown (C11.4, C2.4)."""
    credential = login(
        **{name: int(value) if name != "refresh_interval" else value for name, value in metadata.items()}
    )

    assert wait(credential, lead=lead) == seconds


@pytest.mark.parametrize(
    "change",
    [
        {"disabled": True},
        {"state": CredentialState(status=Status.DISABLED)},
        {"state": CredentialState(needs_login="revoked")},
    ],
)
def test_a_credential_that_is_disabled_or_needs_a_person_is_never_due(change: dict[str, Any]) -> None:
    """C11.3 rule 1, E10, E7."""
    state = change.pop("state", CLEAN)
    credential = attrs.evolve(login(expired=1), **change)

    assert wait(credential, lead=HOUR, state=state) is None


def benched(verdict: Failure, model: str = "") -> CredentialState:
    outcome = Outcome(credential="anna", provider="claude", model=model, verdict=verdict)
    return record(CLEAN, outcome, NOW, Policy()).state


def test_a_cooling_credential_is_refreshed_all_the_same() -> None:
    """E10."""
    assert wait(login(expired=1), lead=HOUR, state=benched(RateLimited(retry_after=HOUR))) == 0


@pytest.mark.parametrize("model", ["", "m"])
def test_a_refused_token_is_due_whatever_the_rule_says_while_it_is_benched(model: str) -> None:
    """O48: neither an expiry, nor a lead that is unknown, nor its own evaluator puts it off; the pace does (E8)."""
    refused, far = benched(Unauthorized(), model), login(expired=int(NOW + 10 * HOUR))

    assert wait(far, lead=HOUR, state=refused) == 0
    assert wait(far, lead=None, state=refused) == 0
    assert wait(far, lead=HOUR, state=refused, evaluated=False) == 0
    assert wait(far, lead=HOUR, state=refused, refreshes=after_failure(NONE_YET, NOW)) == 30
    assert wait(far, lead=HOUR, state=attrs.evolve(refused, needs_login="revoked")) is None
    assert wait(far, lead=HOUR, state=refused, now=NOW + 1800) == 9 * HOUR - 1800


def test_api_keys_are_never_refreshed_and_unknown_kinds_are() -> None:
    """C11.1.1: kinds `oauth` and none are considered."""
    plain = Credential(id="a", provider="claude")

    assert wait(attrs.evolve(plain, api_key=Secret("sk")), lead=HOUR) is None
    assert wait(plain, lead=HOUR) == 0


def test_nothing_is_refreshed_before_the_gate_of_its_record() -> None:
    """C11.3 rule 2: it beats the evaluator as well (C11.5); one that a wrong clock wrote does not (E13)."""
    gated = attrs.evolve(login(expired=1), next_refresh_after=NOW + 300)

    assert wait(gated, lead=HOUR) == 300
    assert wait(gated, lead=HOUR, evaluated=True) == 300
    assert wait(attrs.evolve(gated, next_refresh_after=NOW - 1), lead=HOUR) == 0
    assert wait(attrs.evolve(gated, next_refresh_after=NOW + 400 * 86_400), lead=HOUR) == 0


def test_a_credentials_own_evaluator_replaces_the_rules() -> None:
    """C11.3 rule 3, C2.3: a no is asked again a minute later."""
    assert wait(login(), evaluated=True) == 0
    assert wait(login(expired=1), lead=HOUR, evaluated=False) == 60
    assert wait(attrs.evolve(login(), disabled=True), evaluated=True) is None


def test_leads_are_spread_by_chance() -> None:
    """E1: up to a tenth of the lead earlier, never later."""
    credential = login(expired=int(NOW + 5 * HOUR))

    assert wait(credential, lead=HOUR, draw=0.5) == 4 * HOUR - 180
    assert wait(login(last_refresh=int(NOW)), lead=HOUR, draw=0.5) == HOUR - 180


# --- pace ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failures", "shortest", "longest"),
    [(1, 30, 40), (2, 60, 80), (3, 120, 160), (7, 1920, 2560), (8, 2700, 3600), (9, 2700, 3600), (10**6, 2700, 3600)],
)
def test_after_failures_the_pause_doubles_up_to_an_hour(failures: int, shortest: float, longest: float) -> None:
    """E8, O57: with chance in it, so that many do not retry in step."""
    assert pause_after_failure(failures, 0.0) == shortest
    assert longest - 1 < pause_after_failure(failures, 0.9999) < longest


def test_a_failure_delays_the_next_try_and_a_success_forgets_it() -> None:
    """O57."""
    failing = after_failure(after_failure(NONE_YET, NOW), NOW + 10)
    well = after_success(failing, login(expired=int(NOW + HOUR)), lead=60, now=NOW + 100)

    assert wait(login(expired=1), lead=HOUR, refreshes=failing, now=NOW + 10) == 60
    assert well == Refreshes(succeeded_at=NOW + 100)


def test_a_refresh_that_does_not_move_the_expiry_is_repeated_ever_more_slowly() -> None:
    """O54."""
    stuck, refreshes, now, gaps = login(expired=1), NONE_YET, NOW, []
    for _ in range(9):
        refreshes = after_success(refreshes, attrs.evolve(stuck, last_refreshed_at=now), lead=HOUR, now=now)
        gap = wait(attrs.evolve(stuck, last_refreshed_at=now), lead=HOUR, now=now, refreshes=refreshes)
        assert gap is not None
        gaps.append(gap)
        now += gap

    assert gaps == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]


def test_a_token_that_lives_shorter_than_its_lead_is_refreshed_half_way_through_its_life() -> None:
    """O54, O59: the growing gap never sleeps over the token's end."""
    short = login(expired=int(NOW + 600))
    renewed = attrs.evolve(short, last_refreshed_at=NOW)
    refreshes = Refreshes(idle=8)
    refreshes = after_success(refreshes, renewed, lead=HOUR, now=NOW)

    assert refreshes.idle == 9
    assert wait(renewed, lead=HOUR, refreshes=refreshes) == 300


def test_right_after_a_success_there_is_a_gap_even_over_a_restart() -> None:
    """O54, E9: the record's own time of the last refresh counts."""
    assert wait(attrs.evolve(login(expired=1), last_refreshed_at=NOW - 10), lead=HOUR) == 20


def test_an_interval_longer_than_the_tokens_life_is_worth_a_warning() -> None:
    """O59."""
    credential = attrs.evolve(login(refresh_interval=HOUR, expired=int(NOW + 600)), last_refreshed_at=NOW)

    assert interval_outlives_token(credential)
    assert interval_outlives_token(attrs.evolve(credential, last_refreshed_at=NOW + 600 - HOUR)), "equal is too long"
    assert not interval_outlives_token(attrs.evolve(credential, metadata=Metadata({"refresh_interval": 60})))
    assert not interval_outlives_token(login(refresh_interval=60, expired=int(NOW + 600), last_refresh=int(NOW)))


replies = st.lists(
    st.none() | st.sampled_from([0, -1, 1, 10, 600, 3600, 10**6, 10**9]) | st.integers(-100, 100_000), max_size=40
)


@given(
    replies, st.floats(0, 0.999), st.sampled_from([None, 300.0, HOUR, 120 * HOUR]), st.sampled_from([None, 20, 7200])
)
def test_whatever_a_provider_answers_there_is_no_storm(
    answers: list[int | None], draw: float, lead: float | None, interval: int | None
) -> None:
    """E9: at most one try in 30 s per credential, for any expiry and any failures."""
    extra = {} if interval is None else {"refresh_interval": interval}
    credential, refreshes, now = login(expired=1, **extra), NONE_YET, NOW
    for answer in answers:
        if answer is None:
            refreshes = after_failure(refreshes, now)
        else:
            renewed = login(expired=int(now + answer), **extra)
            credential = merge(credential, renewed, given=credential, now=now)
            refreshes = after_success(refreshes, credential, lead=lead, now=now)
        due = due_at(credential, CLEAN, lead=lead, now=now, refreshes=refreshes, draw=draw)
        if due is None:
            return
        assert due >= now + 30
        now = due


@pytest.mark.parametrize("jump", [-86_400.0, -HOUR, HOUR, 86_400.0])
@pytest.mark.parametrize("metadata", [{"refresh_interval": HOUR}, {}, {"expired": int(NOW + 3 * HOUR)}])
@pytest.mark.parametrize("refreshes", [Refreshes(succeeded_at=NOW), Refreshes(failed_at=NOW, failures=9)])
def test_a_clock_that_jumps_costs_at_most_one_early_refresh_and_no_sleep(
    jump: float, metadata: dict[str, Any], refreshes: Refreshes
) -> None:
    """E13: an expiry alone is judged by the clock as it is."""
    credential = attrs.evolve(login(**metadata), last_refreshed_at=NOW)
    now, early = NOW + jump, 0
    for _ in range(10):
        due = due_at(credential, CLEAN, lead=HOUR, now=now, refreshes=refreshes)
        assert due is not None
        longest = max(now, NOW) if "expired" in metadata else now
        assert due <= longest + 3 * HOUR, "it does not sleep for the length of the jump"
        early += due <= now
        now = max(now, due)
        renewed = login(**metadata) if "expired" not in metadata else login(expired=int(now + 3 * HOUR))
        credential = merge(credential, renewed, given=credential, now=now)
        refreshes = after_success(refreshes, credential, lead=HOUR, now=now)

    assert early <= 1


@pytest.mark.parametrize("jump", [HOUR, 86_400.0, 10 * 86_400.0])
def test_a_try_that_failed_before_the_clock_went_back_delays_the_next_one_no_longer_than_any(jump: float) -> None:
    """E13."""
    failed = after_failure(NONE_YET, NOW)
    assert wait(login(expired=NOW - jump - 5), lead=HOUR, now=NOW - jump, refreshes=failed) == 0
    assert wait(login(expired=NOW - 5), lead=HOUR, refreshes=failed) == 30


# --- merge -----------------------------------------------------------------------------------------------------------


def test_a_refresh_keeps_what_happened_meanwhile() -> None:
    """O53, E11: the operator's flag and edits survive, and so do the new tokens."""
    given_ = login(access_token="old", refresh_token="once", note="a", gone=1)
    current = attrs.evolve(
        given_, disabled=True, label="edited", metadata=Metadata({**(given_.metadata or {}), "note": "b"})
    )
    refreshed = attrs.evolve(
        given_,
        metadata=Metadata({"email": "anna@example.org", "access_token": "new", "refresh_token": "next", "note": "a"}),
    )
    after = merge(attrs.evolve(current, next_refresh_after=NOW), refreshed, given=given_, now=NOW)

    assert after.metadata == Metadata(
        {"email": "anna@example.org", "access_token": "new", "refresh_token": "next", "note": "b"}
    )
    assert (after.disabled, after.label) == (True, "edited")
    assert (after.last_refreshed_at, after.updated_at, after.next_refresh_after) == (NOW, NOW, None)


def test_a_refresh_that_gives_nothing_back_keeps_the_record() -> None:
    """C11.2."""
    current = login(access_token="t")
    for result in (None, attrs.evolve(current, metadata=None)):
        after = merge(current, result, given=current, now=NOW)
        assert after == attrs.evolve(current, last_refreshed_at=NOW, updated_at=NOW)


def test_a_refresh_keeps_the_runtime_object_unless_it_brings_one() -> None:
    """C11.2."""
    old, new = object(), object()
    current = attrs.evolve(login(), runtime=old)

    assert merge(current, login(), given=current, now=NOW).runtime is old
    assert merge(current, attrs.evolve(login(), runtime=new), given=current, now=NOW).runtime is new


keys = st.dictionaries(st.sampled_from("abcde"), st.integers(0, 3))


@given(keys, keys, keys)
def test_an_edit_and_a_refresh_of_different_fields_both_survive(
    base: dict[str, int], edited: dict[str, int], renewed: dict[str, int]
) -> None:
    """E11: where both changed the same field, the refresh wins."""

    def credential(fields: dict[str, int]) -> Credential:
        return Credential(id="a", provider="p", metadata=Metadata(fields))

    merged = merge(credential(edited), credential(renewed), given=credential(base), now=NOW).metadata or Metadata()
    for key in "abcde":
        source = renewed if renewed.get(key) != base.get(key) else edited
        assert merged.get(key) == source.get(key)
