"""Sessions that prefer the credential they used before (C12 with O1 to O5)."""

import pytest

from turnout import Ask, Credential, RateLimited, Secret, Transient, Unauthorized
from turnout.errors import CoolingDown, NoCredential, UpstreamFailed
from turnout.testing import (
    Announce,
    Disable,
    Enable,
    Execute,
    Register,
    Remove,
    Scenario,
    Script,
    Step,
    Stick,
    Stream,
    Update,
    Wait,
)

CONFIG = """
[retry]
max_wait = "0s"
[providers.p]
models = [{ name = "m" }, { name = "n" }]
credentials = [
  { name = "a", api_key = "key-of-a-0123456789" },
  { name = "b", api_key = "key-of-b-0123456789" },
  { name = "c", api_key = "key-of-c-0123456789" },
]
"""
MINE = Ask(model="m", affinity="session-1")
STICK = Stick("session-1", "m", "b")

UNABLE: dict[str, tuple[Step, ...]] = {
    "cooling": (Execute(Ask(model="m", pin="b")),),
    "switched off": (Disable("b"),),
    "removed": (Remove("b"),),
    "serving other models": (Announce("b", ["n"]),),
}


@pytest.mark.parametrize("steps", UNABLE.values(), ids=list(UNABLE))
def test_a_preference_that_cannot_be_kept_is_no_reason_to_fail(steps: tuple[Step, ...]) -> None:
    """C12.3, C12.4, C12.6 with O1: somebody else serves, at once."""
    scripts = {"b": [RateLimited(retry_after=600)]}
    report = Scenario(config=CONFIG, scripts=scripts, steps=[STICK, *steps, Execute(MINE)]).run()
    assert report.errors[-1] is None
    assert report.called[-1] in {"a", "c"}
    assert report.results[-1].took == 0


def test_a_preference_goes_before_the_rotation() -> None:
    """C5.13.1, C12.3: looked at before anything else; others rotate as if it were not there (D7)."""
    other = Execute(Ask(model="m"))
    report = Scenario(config=CONFIG, steps=[STICK, Execute(MINE), other, Execute(MINE), other, Execute(MINE)]).run()
    assert report.called[::2] == ["b", "b", "b"]
    assert len(set(report.called[1::2])) == 2


def test_a_call_fails_over_from_its_preference_and_learns_anew() -> None:
    """C12.4, C12.5 with O2: inside of one call; the next one goes where the last one was served."""
    report = Scenario(
        config=CONFIG, scripts={"b": [Unauthorized()]}, steps=[STICK, Execute(MINE), Execute(MINE), Execute(MINE)]
    ).run()
    assert report.called[0] == "b"
    served = report.called[1]
    assert report.called == ["b", served, served, served]
    assert MINE.pin is None


def test_a_failure_neither_teaches_nor_forgets() -> None:
    """C12.5: when its block is over it is preferred again, if nobody else has served meanwhile."""
    only = Ask(model="m", affinity="session-1", pin="b")
    steps = [STICK, Execute(only), Wait(5), Execute(MINE)]
    report = Scenario(config=CONFIG, scripts={"b": [RateLimited(retry_after=5)]}, steps=steps).run()
    assert isinstance(report.errors[1], UpstreamFailed)
    assert report.called == ["b", "b"]

    other = Ask(model="m", affinity="session-2", pin="c")
    steps = [Execute(other), Wait(5), Execute(Ask(model="m", affinity="session-2"))]
    report = Scenario(config=CONFIG, scripts={"c": [RateLimited(retry_after=5)]}, steps=steps).run()
    assert report.called == ["c", "a"]


def test_a_pinned_success_is_learned_too() -> None:
    """C12.5: and a pin goes before a preference without replacing it for good (O2)."""
    pinned = Ask(model="m", affinity="session-1", pin="c")
    report = Scenario(config=CONFIG, steps=[STICK, Execute(pinned), Execute(MINE)]).run()
    assert report.called == ["c", "c"]


def test_a_pin_never_falls_back() -> None:
    """C5.11: unknown, tried, switched off, of another model, cooling: each says what it is."""
    pinned = Ask(model="m", pin="b")
    report = Scenario(
        config=CONFIG,
        scripts={"b": [RateLimited(retry_after=60)]},
        steps=[
            Execute(pinned),
            Execute(pinned),
            Wait(60),
            Execute(pinned),
            Disable("b"),
            Execute(pinned),
            Enable("b"),
            Announce("b", ["n"]),
            Execute(pinned),
        ],
    ).run()
    assert report.called == ["b", "b"]
    assert [type(error) for error in report.errors] == [
        UpstreamFailed,
        CoolingDown,
        type(None),
        type(None),
        type(None),
        NoCredential,
        type(None),
        type(None),
        NoCredential,
    ]


def test_preferences_are_kept_per_model_and_per_session() -> None:
    """C12.1, C12.2 with O3, O4: one model's stickiness says nothing about another; white space around a key is none."""
    stick = [Stick("session-1", "m", "b"), Stick("session-2", "m", "c"), Stick("session-1", "n", "c")]
    asks = [
        Ask(model="m", affinity=" session-1 "),
        Ask(model="m", affinity="session-2"),
        Ask(model="n", affinity="session-1"),
        Ask(model="m(high)", affinity="session-1"),
    ]
    report = Scenario(config=CONFIG, steps=[*stick, *map(Execute, asks)]).run()
    assert report.called == ["b", "c", "c", "b"]


@pytest.mark.parametrize("affinity", [None, "", "   ", "SESSION-1"])
def test_a_blank_key_or_another_case_is_no_preference(affinity: str | None) -> None:
    """C12.1, C12.2: keys are told apart by case; an execution session is no key."""
    ask = Ask(model="m", affinity=affinity, session="session-1")
    report = Scenario(config=CONFIG, steps=[STICK, Execute(ask), Execute(Ask(model="m", session="session-1"))]).run()
    assert report.called[0] == "a"
    assert report.called[1] != report.called[0]


def test_a_preference_ends_with_its_time() -> None:
    """O3, O5: an hour unused by default; each use begins it anew."""
    report = Scenario(
        config=CONFIG, steps=[STICK, Wait(3590), Execute(MINE), Wait(3590), Execute(MINE), Wait(3601), Execute(MINE)]
    )
    assert report.run().called == ["b", "b", "a"]


def test_a_ready_credential_of_a_higher_tier_goes_before_a_preference() -> None:
    """O5, C5.8: and the preference is kept among the best while they can serve."""
    config = CONFIG.replace('{ name = "a",', '{ name = "a", priority = 9,')
    report = Scenario(
        config=config,
        scripts={"a": [RateLimited(retry_after=60)]},
        steps=[STICK, Execute(MINE), Execute(MINE), Wait(61), Execute(MINE)],
    ).run()
    assert report.called == ["a", "b", "b", "a"]


def test_a_preference_may_be_kept_against_a_higher_tier() -> None:
    """O5: `affinity.prefer_tier`."""
    config = CONFIG.replace('{ name = "a",', '{ name = "a", priority = 9,') + "[affinity]\nprefer_tier = false\n"
    report = Scenario(config=config, steps=[STICK, Execute(MINE), Execute(Ask(model="m"))]).run()
    assert report.called == ["b", "a"]


def test_a_credential_that_moves_to_another_provider_is_forgotten() -> None:
    """O1: so is one that was switched off and on again, or removed and registered again."""
    more = CONFIG + '[providers.q]\nmodels = [{ name = "m" }]\n'
    moved = Scenario(config=more, steps=[STICK, Update("b", changes={"provider": "q"}), Execute(MINE)]).run()
    assert moved.called == ["a"]
    switched = Scenario(config=CONFIG, steps=[STICK, Disable("b"), Enable("b"), Execute(MINE)]).run()
    assert switched.called == ["a"]
    again = Register(Credential(id="b", provider="p", api_key=Secret("key-of-b-0123456789")))
    removed = Scenario(config=CONFIG, steps=[STICK, Remove("b"), again, Execute(MINE)]).run()
    assert removed.called == ["a"]


def test_a_stream_learns_when_it_is_handed_out() -> None:
    """C12.5, C9.1: even if it breaks later."""
    broken = Script(chunks=None, failure=None)
    report = Scenario(
        config=CONFIG, scripts={"a": [RateLimited(retry_after=1), broken]}, steps=[Stream(MINE), Wait(2), Stream(MINE)]
    ).run()
    assert report.called == ["a", "b", "b"]


def test_preferences_can_be_switched_off() -> None:
    """O5: `affinity.enabled`."""
    report = Scenario(
        config=f"{CONFIG}[affinity]\nenabled = false\n", steps=[STICK, Execute(MINE), Execute(MINE)]
    ).run()
    assert report.called == ["a", "b"]


def test_a_transient_failure_of_the_preferred_one_is_walked_away_from_like_any_other() -> None:
    """O2, C8.3."""
    report = Scenario(config=CONFIG, scripts={"b": [Transient()]}, steps=[STICK, Execute(MINE)]).run()
    assert report.called[0] == "b"
    assert len(report.called) == 2
    assert report.errors[1] is None
