"""Many callers at once: recoveries, fairness, storms (acceptance D)."""

from collections import Counter

import pytest

from turnout import Ask, Done, Overloaded, RateLimited, Transient, Unreachable
from turnout.errors import CoolingDown, Unavailable, UpstreamFailed
from turnout.testing import Execute, RecordOutcome, Scenario, Script, Step, Stick, Stream, Together, Wait

KEYS = ", ".join(f'{{ name = "{name}", api_key = "key-of-{name}-0123456789" }}' for name in "abc")
CONFIG = f"""
[providers.p]
models = [{{ name = "m" }}]
credentials = [{KEYS}]
"""
AT_ONCE = '[retry]\nmax_wait = "0s"\n'


@pytest.mark.parametrize("call", [Execute, Stream], ids=["execute", "stream"])
def test_two_hundred_waiters_meet_a_recovery_with_one_probe_per_credential(call: type[Execute | Stream]) -> None:
    """D6: all recover in one instant; until a probe has come back nobody else goes, and then everybody is served."""
    limited = [RecordOutcome(name, RateLimited(retry_after=10), "m") for name in "abc"]
    waiting = Together([call("m") for _ in range(200)])
    report = Scenario(config=CONFIG, default=Script(wait=0.9), steps=[*limited, waiting]).run()
    began = sorted(call.at for call in report.calls)
    first_back = began[0] + 0.9
    probes = [call.credential for call in report.calls if call.at < first_back]
    assert began[0] >= 10
    assert len(probes) == len(set(probes)) <= 3
    (together,) = report.values[3:]
    assert Counter(type(result.error) for result in together) == {type(None): 200}


def test_a_second_collapse_does_not_follow_the_first() -> None:
    """D6: when the probes fail, nobody else was sent after them."""
    limited = [RecordOutcome(name, RateLimited(retry_after=10), "m") for name in "abc"]
    again = Script(wait=0.5, failure=RateLimited(retry_after=600))
    report = Scenario(
        config=CONFIG, default=again, steps=[*limited, Together([Execute("m") for _ in range(200)])]
    ).run()
    assert len(report.calls) == 3
    assert {type(result.error) for result in report.values[3]} <= {UpstreamFailed, CoolingDown}


def test_healthy_credentials_share_the_work_evenly() -> None:
    """D7: each gets its share within a tenth, sessions keep theirs, and a cooldown now and then changes nothing."""
    steps: list[Step] = []
    for number in range(600):
        steps += [Execute("m"), Execute(Ask(model="m", affinity="s"))]
        if number % 50 == 0:
            steps.append(RecordOutcome("c", RateLimited(retry_after=1), "m"))
            steps.append(RecordOutcome("c", Done(), "m"))
    report = Scenario(config=CONFIG, steps=[Stick("s", "m", "b"), *steps]).run()
    plain = Counter(report.called[::2])
    assert set(report.called[1::2]) == {"b"}
    assert all(180 <= plain[name] <= 220 for name in "abc"), plain


def test_an_outage_of_an_origin_is_not_met_with_a_storm() -> None:
    """B33, D1: everything is down for a minute at ten calls a second; it sees hardly more than is asked."""
    steps = [step for _ in range(600) for step in (Execute("m"), Wait(0.1))]
    down = Script(failure=Unreachable())
    report = Scenario(config=CONFIG + AT_ONCE, default=down, steps=steps).run()
    assert len(report.calls) <= 1.2 * 600
    assert all(result.took < 2.5 for result in report.results)
    assert {type(error) for error in report.errors} <= {UpstreamFailed, Unavailable, type(None)}
    back = Scenario(
        config=CONFIG + AT_ONCE,
        scripts={"": [down] * len(report.calls)},
        steps=[*steps, Wait(2), *[step for _ in range(20) for step in (Execute("m"), Wait(0.1))]],
    ).run()
    assert None in back.errors[1201::2][:5]


@pytest.mark.parametrize("failure", [Transient(), Overloaded()], ids=["transient", "overloaded"])
def test_tries_again_at_one_origin_are_rationed(failure: Transient | Overloaded) -> None:
    """D1, acceptance 4: at most three at once while few calls are under way."""
    slow = Script(wait=20, failure=failure)
    report = Scenario(config=CONFIG + AT_ONCE, default=slow, steps=[Together([Execute("m") for _ in range(12)])]).run()
    again = [call for call in report.calls if call.at > 0]
    assert len([call for call in report.calls if call.at == 0]) == 12
    assert 0 < len(again) <= 3


def test_one_probe_of_a_half_open_credential_is_enough_for_all() -> None:
    """Design 8: others go elsewhere meanwhile."""
    report = Scenario(
        config=CONFIG,
        scripts={"a": [Script(wait=5)]},
        steps=[
            RecordOutcome("a", RateLimited(retry_after=1), "m"),
            Wait(1),
            Together([Execute("m") for _ in range(9)]),
        ],
    ).run()
    assert Counter(report.called)["a"] == 1
