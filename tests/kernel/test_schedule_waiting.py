"""Those who wait, in the two heaps of a group."""

import attrs
from hypothesis import given
from hypothesis import strategies as st

from turnout import Credential, CredentialState, ModelState, Quota, Status
from turnout._schedule import Schedule
from turnout._waiting import Waiting


def state(until: float, *, limited: bool) -> CredentialState:
    model = ModelState(
        status=Status.ERROR,
        unavailable=True,
        next_retry_after=until,
        quota=Quota(exceeded=limited, next_recover_at=until if limited else None),
    )
    return CredentialState(models={"m": model})


def test_who_waits_for_another_reason_leaves_nothing_behind_that_speaks_for_it() -> None:
    """C5.6: found by the simulation. A dead place in one heap must not fit a living one in the other."""
    schedule = Schedule()
    credential = Credential(id="a", provider="p", origin="https://p.test:443")
    schedule.upsert(credential, CredentialState(), {"m": ("m",)}, 0.0)
    assert schedule.ready(["p"], "m", 0.0) is not None
    schedule.update("a", state(20.0, limited=True), "m", 1.0)
    schedule.update("a", state(100.0, limited=False), "m", 30.0)
    assert schedule.ready(["p"], "m", 40.0) is None
    told = schedule.statistics()
    assert (told.cooling, told.blocked) == (0, 1)
    assert schedule.ready(["p"], "m", 100.0) is not None


@attrs.define(eq=False)
class Waiter:
    """Who is looked at again at `due`, and shown to wait until `until`."""

    due: float
    until: float
    passes: bool
    place: int = 0


waiters = st.builds(
    lambda due, longer, passes: Waiter(float(due), float(due + longer), passes),
    st.integers(1, 20),
    st.integers(0, 20),
    st.booleans(),
)


@given(st.lists(waiters, max_size=12), st.sets(st.integers(0, 11)))
def test_the_soonest_recovery_of_those_that_pass_is_found(found: list[Waiter], leave: set[int]) -> None:
    """D9, C6.2: though they are in the order in which they are looked at, and some have left."""
    waiting = Waiting[Waiter]()
    for one in found:
        waiting.push(one)
    for number in leave & set(range(len(found))):
        waiting.drop(found[number])
    there = [one.until for number, one in enumerate(found) if number not in leave and one.passes]
    assert waiting.earliest(lambda one: one.passes) == min(there, default=None)
