"""Those who wait, in the two heaps of a group."""

from turnout import Credential, CredentialState, ModelState, Quota, Status
from turnout._schedule import Schedule


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
