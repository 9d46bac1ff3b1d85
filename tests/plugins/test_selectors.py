from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any

import attrs
import pytest

from turnout import Ask, Credential, CredentialState, ModelState, Remaining, Status
from turnout._schedule import Schedule
from turnout._values import CLEAN, EMPTY
from turnout.abc import API, Candidate, Selector, Tier
from turnout_selectors import Fastest, FillFirst, LeastBusy, RoundRobin, Sticky, Weighted

NOW = 1000.0
ASK = Ask(model="m")
WAITS = CredentialState(models={"m": ModelState(status=Status.ERROR, unavailable=True, next_retry_after=NOW + 60)})


def no_draw() -> float:
    raise AssertionError("neither of these selectors throws dice")


def schedule(**providers: Sequence[str]) -> Schedule:
    made = Schedule()
    for provider, ids in providers.items():
        for id in ids:
            made.upsert(Credential(id=id, provider=provider), CLEAN, {"m": ("m",)}, NOW)
    return made


def choices(made: Schedule, selector: Selector, providers: Sequence[str], count: int) -> list[str]:
    ids = []
    for _ in range(count):
        ready = made.ready(providers, "m", NOW)
        assert ready is not None
        choice = selector.select(ready, ASK, no_draw)
        assert choice is not None
        made.chosen(choice, ready)
        ids.append(choice.id)
    return ids


@pytest.mark.parametrize(
    ("name", "selector"),
    [
        ("round-robin", RoundRobin),
        ("fill-first", FillFirst),
        ("weighted", Weighted),
        ("least-busy", LeastBusy),
        ("fastest", Fastest),
        ("sticky", Sticky),
    ],
)
def test_each_is_found_by_its_name(name: str, selector: type[Any]) -> None:
    [point] = entry_points(group="turnout.selectors", name=name)

    assert point.load() is selector
    assert selector.api == API


def test_round_robin_takes_everybody_in_turn() -> None:
    """C5.7.2"""
    assert choices(schedule(p="abc"), RoundRobin(), ["p"], 4) == ["a", "b", "c", "a"]


def test_round_robin_alternates_providers() -> None:
    """C5.10.5, O17"""
    assert choices(schedule(p="abc", q="x"), RoundRobin(), ["p", "q"], 5) == ["a", "x", "b", "x", "c"]


def test_round_robin_goes_on_behind_the_last_choice_when_it_fails() -> None:
    """O10"""
    made = schedule(p="abc")
    assert choices(made, RoundRobin(), ["p"], 2) == ["a", "b"]
    made.update("b", WAITS, "m", NOW)

    assert choices(made, RoundRobin(), ["p"], 3) == ["c", "a", "c"]


def test_fill_first_stays_with_the_first_while_it_is_ready() -> None:
    """C5.7.1"""
    made = schedule(p="abc")
    assert choices(made, FillFirst(), ["p"], 3) == ["a", "a", "a"]
    made.update("a", WAITS, "m", NOW)

    assert choices(made, FillFirst(), ["p"], 2) == ["b", "b"]


def test_fill_first_takes_the_provider_listed_first() -> None:
    """C5.10.4"""
    made = schedule(p="b", q="a")

    assert choices(made, FillFirst(), ["p", "q"], 2) == ["b", "b"]
    assert choices(made, FillFirst(), ["q", "p"], 1) == ["a"]


@attrs.define
class Scripted:
    """A candidate, and a tier with it in it, that no schedule has made."""

    id: str = "a"
    provider: str = "p"
    priority: int = 0
    parent: str = ""
    attributes: Mapping[str, str] = EMPTY
    in_flight: int = 0
    latency: float | None = None
    remaining: Remaining | None = None

    def __iter__(self) -> Iterator[Candidate]:
        return iter(())

    def first(self) -> Candidate:
        return Scripted("first")

    def following(self) -> Candidate:
        return Scripted("following")


@attrs.define
class View:
    best: Tier = attrs.field(factory=Scripted)
    tiers: Sequence[Tier] = ()
    now: float = NOW


def test_they_ask_the_view_and_know_nothing_else() -> None:
    """O6: who is ready and whose turn it is are answered in one place, for these two as for anybody's selector."""
    chosen = [selector.select(View(), ASK, no_draw).id for selector in (RoundRobin(), FillFirst())]

    assert chosen == ["following", "first"]
