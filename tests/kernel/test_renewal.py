"""What a renewal does next: by value, and what holds whatever is known."""

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout import Credential, Metadata, Secret
from turnout._entries import SEED
from turnout._ledger_renewals import freed, refused_for_good
from turnout._renewal import (
    UNSHARED,
    Held,
    Right,
    Step,
    after_refusal,
    another_secret,
    mark_of,
    moved,
    next_step,
    replaced,
)
from turnout._values import CLEAN

NOW = 1_800_000_000.0
READ = Held(right=Right.HELD, left=60, read=True)
UNREAD = Held(right=Right.HELD, left=60, read=False)
SOLE = Held(right=Right.HELD, left=60, read=False, sole=True)
ENDED = Held(right=Right.HELD, left=0, read=True)
TAKEN = Held(right=Right.TAKEN)
AWAY = Held(right=Right.AWAY)


def holder(token: str = "at-0", ends: float = 300, **fields: Any) -> Credential:  # noqa: S107  # a test's
    data = {"access_token": token, "refresh_token": f"refresh of {token}", "expires_at": NOW + ends}
    return Credential(id="a", provider="p", metadata=Metadata({**data, "email": "a@example.test"}), **fields)


OLD, NEW = holder(), holder("at-1", 3600)
OFF = holder(disabled=True)


@pytest.mark.parametrize(
    ("held", "found", "more", "step"),
    [
        (READ, OLD, {}, Step.RENEW),
        (READ, NEW, {}, Step.ADOPT),
        (READ, NEW, {"in_hand": True}, Step.ADOPT),
        (READ, OLD, {"in_hand": True}, Step.KEEP),
        (READ, OFF, {}, Step.LEAVE),
        (READ, OFF, {"in_hand": True}, Step.KEEP),
        (READ, None, {"in_hand": True}, Step.LEAVE),
        (READ, OLD, {"refused": True}, Step.REFUSED),
        (READ, OLD, {"refused": True, "in_hand": True}, Step.KEEP),
        (ENDED, OLD, {}, Step.POSTPONE),
        (UNSHARED, OLD, {}, Step.RENEW),
        (UNSHARED, OLD, {"in_hand": True}, Step.KEEP),
        (TAKEN, OLD, {}, Step.WAIT),
        (TAKEN, NEW, {}, Step.ADOPT),
        (TAKEN, OLD, {"in_hand": True}, Step.WAIT),
        (AWAY, OLD, {}, Step.POSTPONE),
        (AWAY, holder(ends=10), {}, Step.POSTPONE),
        (AWAY, OLD, {"in_hand": True}, Step.KEEP),
        (UNREAD, OLD, {}, Step.POSTPONE),
        (UNREAD, holder(ends=59), {"given": holder(ends=59)}, Step.POSTPONE),
        (SOLE, holder(ends=59), {"given": holder(ends=59)}, Step.RENEW),
        (SOLE, OLD, {}, Step.POSTPONE),
    ],
)
def test_the_next_step_follows_from_the_lease_and_from_what_is_there(
    held: Held, found: Credential | None, more: dict[str, Any], step: Step
) -> None:
    """E2, E6, G2, H6."""
    old = more.pop("given", holder(ends=10) if found == holder(ends=10) else OLD)
    assert next_step(held, given=old, found=found, now=NOW, **more) is step


@pytest.mark.parametrize(
    ("held", "found", "step"),
    [
        (READ, OLD, Step.REFUSED),
        (UNSHARED, OLD, Step.REFUSED),
        (READ, NEW, Step.ADOPT),
        (UNREAD, OLD, Step.POSTPONE),
        (READ, None, Step.LEAVE),
    ],
)
def test_a_refused_token_needs_a_login_only_where_nobody_has_replaced_it(
    held: Held, found: Credential | None, step: Step
) -> None:
    """E7: re-read; adopt if the tokens moved, else `needs_login`; kept either way."""
    assert after_refusal(held, given=OLD, found=found) is step


flags = st.booleans()
helds = st.builds(Held, right=st.sampled_from(Right), left=st.floats(-10, 100), read=flags, sole=flags)
credentials = st.sampled_from([OLD, NEW, OFF, holder(ends=10), holder(ends=-10)])


@given(helds, credentials, credentials, st.booleans(), st.booleans())
def test_a_token_is_spent_only_by_one_who_may(
    held: Held, before: Credential, found: Credential, in_hand: bool, refused: bool
) -> None:
    """E2, G2, G4: alone with the store, or with a lease that has not ended, and with proof that nobody was faster."""
    step = next_step(held, given=before, found=found, now=NOW, in_hand=in_hand, refused=refused)
    if step is Step.RENEW:
        assert not in_hand
        assert not refused
        assert not moved(before, found)
        assert held.right is Right.UNSHARED or (held.right is Right.HELD and held.left > 0)
        assert held.right is Right.UNSHARED or held.read or held.sole
    if step is Step.KEEP:
        assert in_hand
        assert not moved(before, found)


def test_edits_are_no_new_tokens_and_another_login_of_the_file_is_not_adopted() -> None:
    """E11: an operator's field is not what a renewal replaces."""
    assert OLD.metadata is not None
    edited = attrs.evolve(OLD, label="mine", metadata=Metadata({**OLD.metadata, "email": "b@example.test"}))
    assert not moved(OLD, edited)
    assert moved(OLD, NEW)
    assert not moved(attrs.evolve(OLD, attributes={"metadata_seed": "1"}), NEW)
    assert another_secret(OLD, NEW)
    assert another_secret(OLD, attrs.evolve(OLD, api_key=Secret("key-0123456789abcdef")))
    assert not another_secret(OLD, edited)


def test_a_refusal_is_about_one_secret() -> None:
    state = refused_for_good(CLEAN, "invalid_grant", NOW, secret=mark_of(OLD))
    assert state.refused == mark_of(holder())
    assert state.refused != mark_of(NEW)
    assert freed(state, NOW + 1).needs_login == freed(state, NOW + 1).refused == ""
    keyed = [attrs.evolve(holder(), api_key=key) for key in (None, Secret("key-one"), Secret("key-two"))]
    assert len({mark_of(one) for one in keyed}) == 3


def changed(credential: Credential, **metadata: Any) -> Credential:
    return attrs.evolve(credential, metadata=Metadata({**(credential.metadata or {}), **metadata}))


PLAIN = Credential(id="a", provider="p", metadata=Metadata({"session": "s0", "note": "n"}))


@pytest.mark.parametrize(
    ("given", "result", "found", "other"),
    [
        (OLD, NEW, OLD, False),
        (OLD, None, OLD, False),
        (OLD, NEW, attrs.evolve(OLD, label="edited", disabled=True), False),
        (OLD, NEW, changed(OLD, email="right@example.test", expires_at=1, scope="s"), False),
        (OLD, NEW, changed(OLD, refresh_token="of a person"), True),
        (OLD, None, changed(OLD, access_token="of a person"), True),
        (OLD, NEW, attrs.evolve(OLD, metadata=None), True),
        (OLD, NEW, attrs.evolve(OLD, attributes={SEED: "another"}), True),
        (PLAIN, changed(PLAIN, session="s1"), changed(PLAIN, note="edited"), False),
        (PLAIN, changed(PLAIN, session="s1"), changed(PLAIN, session="of a person"), True),
    ],
)
def test_edits_during_a_renewal_are_no_other_login_and_another_token_is(
    given: Credential, result: Credential | None, found: Credential, other: bool
) -> None:
    """E7, E11: also where a vendor names its tokens as nobody else does."""
    assert replaced(given, result, found) is other
