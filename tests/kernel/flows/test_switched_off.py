"""Each of the gentler rules of `[health]`, on and off: with all of them off, C10 with C19 holds to the letter."""

import pytest

from turnout import RateLimited, Transient
from turnout.errors import PoolError, Unavailable
from turnout.testing import Execute, Inspect, Report, Scenario, Script, Together, Wait

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
TRANSIENT = Script(failure=Transient())


def config(*names: str, health: str) -> str:
    """These credentials of one origin, nobody waits for recoveries, and this line in `[health]`."""
    credentials = ", ".join(f'{{ name = "{name}", api_key = "key-of-{name}-0123456789" }}' for name in names)
    return f"""
        [retry]
        max_wait = "0s"
        [health]
        {health}
        [providers.p]
        models = [{{ name = "m" }}]
        credentials = [{credentials}]
    """


def blocks(report: Report) -> dict[str, float | None]:
    """Seconds that the last failure of each credential blocks it; None when it does not."""
    entries = {id: state.models.get("m") for id, state in report.states.items()}
    return {
        id: None
        if entry is None or entry.next_retry_after is None
        else entry.next_retry_after - (entry.updated_at or 0)
        for id, entry in entries.items()
    }


@pytest.mark.parametrize(("health", "blocked"), [("", None), ("keep_last = false", MINUTE)])
def test_a_passing_fault_of_the_last_one_benches_it_only_to_the_letter(health: str, blocked: float | None) -> None:
    """C10.4, design 16."""
    report = Scenario(config=config("a", health=health), scripts={"a": [TRANSIENT]}, steps=[Execute("m")]).run()
    assert blocks(report) == {"a": blocked}


@pytest.mark.parametrize(("health", "called"), [("", 1), ("half_open = false", 3)])
def test_whoever_comes_back_is_met_by_one_call_or_to_the_letter_by_all(health: str, called: int) -> None:
    """C4.6, D6, design 16."""
    together = Together([Execute("m")] * 3)
    report = Scenario(
        config=config("a", health=health),
        scripts={"a": [RateLimited(retry_after=20)]},
        default=Script(wait=1),
        steps=[Execute("m"), Wait(20), together],
    ).run()
    answers = [one.error for one in report.results[-1].value]
    assert len(report.called) == 1 + called
    assert sum(isinstance(error, PoolError) for error in answers) == 3 - called


@pytest.mark.parametrize(
    ("health", "blocked", "later"), [("", None, type(None)), ("blame_routes = false", MINUTE, Unavailable)]
)
def test_failures_alike_speak_against_the_way_or_to_the_letter_against_each(
    health: str, blocked: float | None, later: type[object]
) -> None:
    """C10.4, design 16: the way is looked at again after a second."""
    report = Scenario(
        config=config("a", "b", health=f"keep_last = false\n{health}"),
        scripts={"a": [TRANSIENT], "b": [TRANSIENT]},
        steps=[Execute("m"), Inspect("a"), Wait(1), Execute("m")],
    ).run()
    assert type(report.results[-1].error) is later
    seen = report.results[1].value.state.models.get("m")
    assert (None if seen is None else seen.next_retry_after - seen.updated_at) == blocked


@pytest.mark.parametrize(
    ("health", "blocked"), [("", DAY), ('hint_cap = "2h"', 2 * HOUR), ('hint_cap = "99h"', 72 * HOUR)]
)
def test_a_hint_of_days_counts_up_to_the_cap(health: str, blocked: float) -> None:
    """C10.6, design 16."""
    scripts = {"a": [RateLimited(retry_after=72 * HOUR)]}
    report = Scenario(config=config("a", health=health), scripts=scripts, steps=[Execute("m")]).run()
    assert blocks(report) == {"a": blocked}


@pytest.mark.parametrize(("health", "blocked"), [("", 1.0), ("decay = false", 4.0)])
def test_the_curve_starts_anew_after_a_quiet_hour_or_only_with_a_success(health: str, blocked: float) -> None:
    """C10.6 and O47."""
    steps = [Execute("m"), Wait(5), Execute("m"), Wait(2 * HOUR), Execute("m")]
    report = Scenario(config=config("a", health=health), scripts={"a": [RateLimited()] * 3}, steps=steps).run()
    assert blocks(report) == {"a": blocked}
