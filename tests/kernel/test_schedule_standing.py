"""C4: whether a credential is blocked for a model, by value."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout import Credential, CredentialState, ModelState, Quota, Status
from turnout._schedule import Kind, blocked

NOW = 1000.0
CREDENTIAL = Credential(id="a", provider="p")
EXCEEDED = Quota(exceeded=True, reason="quota")


def waiting(retry: float | None, quota: Quota | None = None, status: Status = Status.ERROR) -> ModelState:
    return ModelState(status=status, unavailable=True, next_retry_after=retry, quota=quota or Quota())


def having(**models: ModelState) -> CredentialState:
    return CredentialState(models=models)


@pytest.mark.parametrize("state", [CredentialState(), having(m=waiting(NOW + 5))])
def test_a_disabled_credential_is_off_whatever_its_state(state: CredentialState) -> None:
    """C4.1"""
    assert blocked(attrs.evolve(CREDENTIAL, disabled=True), state, ["m"], NOW).kind is Kind.OFF


def test_a_credential_whose_status_is_disabled_is_off() -> None:
    """C4.1"""
    assert blocked(CREDENTIAL, CredentialState(status=Status.DISABLED), ["m"], NOW).kind is Kind.OFF


def test_a_token_that_cannot_be_renewed_blocks_every_model_until_that_is_tried_again() -> None:
    """O57"""
    state = CredentialState(unusable_until=NOW + 5)

    for recorded in (["m"], [""], ["x", "y"]):
        found = blocked(CREDENTIAL, state, recorded, NOW)
        assert (found.kind, found.until, found.due) == (Kind.BLOCKED, NOW + 5, NOW + 5)
        assert blocked(CREDENTIAL, state, recorded, NOW + 5).kind is Kind.READY


def test_a_credential_that_needs_a_person_is_off() -> None:
    """O57"""
    assert blocked(CREDENTIAL, CredentialState(needs_login="revoked"), ["m"], NOW).kind is Kind.OFF


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.DISABLED])
def test_no_other_status_of_a_credential_blocks(status: Status) -> None:
    """C1.5, C4.7"""
    state = CredentialState(status=status)

    assert blocked(CREDENTIAL, state, ["m"], NOW).kind is Kind.READY
    assert blocked(CREDENTIAL, state, [""], NOW).kind is Kind.READY


def test_without_a_state_for_the_model_the_credential_as_a_whole_does_not_matter() -> None:
    """C4.2a"""
    state = CredentialState(unavailable=True, next_retry_after=NOW + 5, models={"n": waiting(NOW + 5)})

    assert blocked(CREDENTIAL, state, ["m"], NOW).kind is Kind.READY
    assert blocked(CREDENTIAL, attrs.evolve(state, models={}), ["m"], NOW).kind is Kind.READY


def test_the_state_is_looked_up_by_the_base_name_with_its_case() -> None:
    """C4.2, C4.7 and O27: outcomes are recorded under the base name, so there is no other name to fall back from."""
    state = having(m=waiting(NOW + 5))

    assert blocked(CREDENTIAL, state, ["m"], NOW).kind is Kind.BLOCKED
    assert blocked(CREDENTIAL, state, ["M"], NOW).kind is Kind.READY
    assert blocked(CREDENTIAL, having(**{"m(high)": waiting(NOW + 5)}), ["m"], NOW).kind is Kind.READY


@pytest.mark.parametrize(
    ("state", "kind", "until"),
    [
        (ModelState(status=Status.DISABLED, unavailable=True, next_retry_after=NOW + 5), Kind.OFF, None),  # C4.2b
        (waiting(None), Kind.READY, None),  # C4.2c
        (waiting(None, EXCEEDED), Kind.READY, None),  # C4.2c
        (waiting(NOW + 5), Kind.BLOCKED, NOW + 5),  # C4.2d
        (waiting(NOW + 5, EXCEEDED), Kind.COOLING, NOW + 5),  # C4.2d
        (waiting(NOW), Kind.READY, None),  # C4.2e, C4.6
        (waiting(NOW - 5, EXCEEDED), Kind.READY, None),  # C4.2e
        (ModelState(next_retry_after=NOW + 5), Kind.READY, None),  # C4.2e
        (waiting(NOW + 5, attrs.evolve(EXCEEDED, next_recover_at=NOW + 9)), Kind.COOLING, NOW + 9),  # C4.5
        (waiting(NOW + 5, attrs.evolve(EXCEEDED, next_recover_at=NOW + 2)), Kind.COOLING, NOW + 2),  # C4.5
        (waiting(NOW + 5, attrs.evolve(EXCEEDED, next_recover_at=NOW)), Kind.COOLING, NOW + 5),  # C4.5
        (waiting(NOW + 5, Quota(next_recover_at=NOW + 9)), Kind.BLOCKED, NOW + 9),  # C4.5
        (waiting(NOW - 5, attrs.evolve(EXCEEDED, next_recover_at=NOW + 9)), Kind.READY, None),  # C4.5
        (ModelState(quota=attrs.evolve(EXCEEDED, next_recover_at=NOW + 9)), Kind.READY, None),  # C4.4
    ],
)
def test_a_model_state_blocks_by_its_times(state: ModelState, kind: Kind, until: float | None) -> None:
    found = blocked(CREDENTIAL, having(m=state), ["m"], NOW)

    assert (found.kind, found.until) == (kind, until)


@pytest.mark.parametrize(
    ("state", "kind", "until"),
    [
        (CredentialState(unavailable=True, next_retry_after=NOW + 5), Kind.BLOCKED, NOW + 5),
        (CredentialState(unavailable=True, next_retry_after=NOW + 5, quota=EXCEEDED), Kind.COOLING, NOW + 5),
        (CredentialState(unavailable=True, next_retry_after=NOW), Kind.READY, None),
        (CredentialState(unavailable=True), Kind.READY, None),
        (CredentialState(next_retry_after=NOW + 5), Kind.READY, None),
        (having(m=waiting(NOW + 5)), Kind.READY, None),
    ],
)
def test_the_empty_model_asks_about_the_credential_as_a_whole(
    state: CredentialState, kind: Kind, until: float | None
) -> None:
    """C4.3, C4.4"""
    for recorded in ([""], []):
        found = blocked(CREDENTIAL, state, recorded, NOW)
        assert (found.kind, found.until) == (kind, until)


@given(retry=st.floats(0, 2 * NOW), recovery=st.none() | st.floats(0, 2 * NOW), exceeded=st.booleans())
def test_a_block_ends_exactly_at_its_retry_time(retry: float, recovery: float | None, exceeded: bool) -> None:
    """C4.6: whatever recovery time a state names, and never before somebody looks again at `due`."""
    state = having(m=waiting(retry, Quota(exceeded=exceeded, next_recover_at=recovery)))
    found = blocked(CREDENTIAL, state, ["m"], NOW)

    assert (found.kind is Kind.READY) is (retry <= NOW)
    if found.due is not None and found.until is not None:
        assert NOW < found.due <= min(found.until, retry)


OFF = ModelState(status=Status.DISABLED)


@pytest.mark.parametrize(
    ("members", "kind", "until"),
    [
        ({}, Kind.READY, None),
        ({"x": waiting(NOW + 5, EXCEEDED)}, Kind.READY, None),
        ({"x": waiting(NOW + 5, EXCEEDED), "y": waiting(None)}, Kind.READY, None),
        ({"x": waiting(NOW + 5, EXCEEDED), "y": waiting(NOW + 3, EXCEEDED)}, Kind.COOLING, NOW + 3),
        ({"x": waiting(NOW + 5, EXCEEDED), "y": waiting(NOW + 3)}, Kind.COOLING, NOW + 3),
        ({"x": waiting(NOW + 5), "y": waiting(NOW + 3)}, Kind.BLOCKED, NOW + 3),
        ({"x": waiting(NOW + 5), "y": OFF}, Kind.BLOCKED, NOW + 5),
        ({"x": OFF, "y": OFF}, Kind.OFF, None),
    ],
)
def test_a_pool_waits_only_when_all_of_its_members_do(
    members: dict[str, ModelState], kind: Kind, until: float | None
) -> None:
    """O28"""
    found = blocked(CREDENTIAL, having(**members), ["x", "y"], NOW)

    assert (found.kind, found.until) == (kind, until)


@pytest.mark.parametrize(
    ("state", "half"),
    [
        (waiting(NOW - 1), True),
        (waiting(NOW + 1), False),
        (waiting(None), False),
        (ModelState(status=Status.ERROR), True),
        (ModelState(), False),
    ],
)
def test_a_block_that_is_over_leaves_its_model_half_open(state: ModelState, half: bool) -> None:
    """Design 8; the aggregate of C10.7 takes the flag off an old block, and the status still tells of it."""
    assert blocked(CREDENTIAL, having(m=state), ["m"], NOW).half is half


def test_a_pool_is_half_open_only_when_no_member_is_sound() -> None:
    """O28"""
    assert blocked(CREDENTIAL, having(x=waiting(NOW - 1), y=waiting(NOW + 1)), ["x", "y"], NOW).half
    assert not blocked(CREDENTIAL, having(x=waiting(NOW - 1)), ["x", "y"], NOW).half


def test_a_credential_is_half_open_as_a_whole_only_after_its_own_block() -> None:
    """C10.7: an aggregate in error may be about another model that waits still."""
    assert blocked(CREDENTIAL, CredentialState(unavailable=True, next_retry_after=NOW - 1), [""], NOW).half
    assert not blocked(CREDENTIAL, CredentialState(status=Status.ERROR), [""], NOW).half
