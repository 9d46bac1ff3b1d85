"""What each selector does to a pool, seen over many calls."""

import random
from collections import Counter
from collections.abc import Callable, Sequence

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given, strategies
from trio.testing import MockClock

from turnout import Ask, Credential, CredentialState, ModelState, Status, parse_config
from turnout._schedule import Schedule
from turnout._values import CLEAN
from turnout.abc import Selector
from turnout.errors import ConfigError
from turnout.testing import Script, ScriptedProvider, scripted_kernel
from turnout_selectors import Fastest, FastestSettings, LeastBusy, RoundRobin, Sticky, Weighted, WeightedSettings

NOW = 1000.0
WAITS = CredentialState(models={"m": ModelState(status=Status.ERROR, unavailable=True, next_retry_after=NOW + 60)})
Draw = Callable[[], float]


def pool(*ids: str) -> Schedule:
    made = Schedule()
    for id in ids:
        made.upsert(Credential(id=id, provider="p"), CLEAN, {"m": ("m",)}, NOW)
    return made


def pick(made: Schedule, selector: Selector, draw: Draw, ask: Ask | None = None) -> str:
    ready = made.ready(["p"], "m", NOW)
    assert ready is not None
    choice = selector.select(ready, ask or Ask(model="m"), draw)
    assert choice is not None
    made.chosen(choice, ready)
    return choice.id


def dice(seed: int) -> Draw:
    """The same draws each time."""
    return random.Random(seed).random  # noqa: S311 # nothing is secret here


def no_draw() -> float:
    raise AssertionError("no dice are thrown here")


# --- weighted ------------------------------------------------------------------------------------------------------


def test_weighted_shares_calls_as_the_weights_say() -> None:
    made, draw = pool("a", "b", "c"), dice(1)
    selector = Weighted(WeightedSettings(weights={"a": 3, "c": 0}))

    counted = Counter(pick(made, selector, draw) for _ in range(10_000))

    assert set(counted) == {"a", "b"}
    assert counted["a"] == pytest.approx(7500, abs=100)


def test_a_weight_of_nothing_serves_only_when_nobody_else_can() -> None:
    made = pool("a", "b", "c")
    selector = Weighted(WeightedSettings(weights={"a": 1}, default=0))
    made.update("a", WAITS, "m", NOW)

    assert [pick(made, selector, no_draw) for _ in range(4)] == ["b", "c", "b", "c"]


@given(
    strategies.lists(strategies.floats(0, 1e300), min_size=1, max_size=9),
    strategies.floats(0, 1, exclude_max=True),
)
def test_weighted_chooses_somebody_with_a_weight_whatever_the_numbers(weights: list[float], drawn: float) -> None:
    ids = [str(number) for number in range(len(weights))]
    named = dict(zip(ids, weights, strict=True))

    chosen = pick(pool(*ids), Weighted(WeightedSettings(weights=named)), lambda: drawn)

    assert named[chosen] > 0 or not any(weights)


@pytest.mark.parametrize(
    "line", ["weights = { a = -1 }", "weights = { a = nan }", "default = inf", 'weights = { a = "3" }']
)
def test_a_weight_that_is_none_is_told_with_its_line(line: str) -> None:
    text = f'[turnout]\nselector = "weighted"\nstore = "x"\ntransport = "x"\n[selectors.weighted]\n{line}\n'

    with pytest.raises(ConfigError, match=r"line 6|:6"):
        parse_config(text).settings("selectors", "weighted", WeightedSettings)


# --- least busy ----------------------------------------------------------------------------------------------------


def toml(*ids: str) -> str:
    credentials = ", ".join(f'{{ name = "{id}", api_key = "key-{id}-0123456789" }}' for id in ids)
    return f'[providers.scripted]\nmodels = [{{ name = "m" }}]\ncredentials = [{credentials}]\n'


def provider(**seconds: float) -> ScriptedProvider:
    """Credentials that take so long to answer, each of a thousand times."""
    made = ScriptedProvider()
    for id, wait in seconds.items():
        made.script(*[Script(wait=wait)] * 1000, credential=id)
    return made


@attrs.define
class Load:
    """How a pool bore its calls."""

    most: int = 0
    took: list[float] = attrs.field(factory=list)


async def served(selector: Selector, upstream: ScriptedProvider, *, calls: int, every: float) -> Load:
    """Send a call every so many seconds, whether or not the ones before it are answered."""
    load = Load()
    ids = list(upstream._queues)
    under_way: Counter[str] = Counter()

    async with (
        scripted_kernel(toml(*ids), {"scripted": upstream}, selector=selector, draw=dice(7)) as kernel,
        trio.open_nursery() as nursery,
    ):

        async def call() -> None:
            began = trio.current_time()
            answer = await kernel.execute(Ask(model="m"))
            load.took.append(trio.current_time() - began)
            under_way[answer.decision.served_by] -= 1

        for _ in range(calls):
            before = len(upstream.calls)
            nursery.start_soon(call)
            await trio.testing.wait_all_tasks_blocked()
            under_way.update(one.credential.id for one in upstream.calls[before:])
            load.most = max(load.most, *under_way.values())
            await trio.sleep(every)
    return load


async def test_least_busy_keeps_a_slow_credential_from_drowning(autojump_clock: MockClock) -> None:
    """Where round robin piles them up: b takes ten times as long as a."""
    by_turns = await served(RoundRobin(), provider(a=1, b=10), calls=100, every=1)
    by_load = await served(LeastBusy(), provider(a=1, b=10), calls=100, every=1)

    assert by_turns.most >= 5
    assert by_load.most <= 2


def test_least_busy_takes_turns_while_nobody_has_anything_to_do() -> None:
    made = pool("a", "b", "c")

    assert [pick(made, LeastBusy(), no_draw) for _ in range(4)] == ["a", "b", "c", "a"]


# --- fastest -------------------------------------------------------------------------------------------------------


async def test_fastest_answers_sooner_than_turns_do(autojump_clock: MockClock) -> None:
    """Three places of different speed, a call each second."""
    by_turns = await served(RoundRobin(), provider(a=0.2, b=1, c=3), calls=200, every=1)
    by_speed = await served(Fastest(FastestSettings()), provider(a=0.2, b=1, c=3), calls=200, every=1)

    assert sum(by_turns.took) / 200 == pytest.approx(1.4, abs=0.05)
    assert sum(by_speed.took) / 200 < 0.75


async def test_fastest_does_not_run_the_quickest_down(autojump_clock: MockClock) -> None:
    """A hundred calls a second at three places that are nearly alike."""
    load = await served(Fastest(FastestSettings()), provider(a=0.9, b=1, c=1.1), calls=300, every=0.01)

    assert load.most < 50  # a third of the hundred under way is 33


async def test_fastest_notices_that_a_slow_one_has_become_quick(autojump_clock: MockClock) -> None:
    upstream = ScriptedProvider(Script(wait=0.1))
    upstream.script(*[Script(wait=0.5)] * 1000, credential="a")
    upstream.script(*[Script(wait=5)] * 2, credential="b")

    await served(Fastest(FastestSettings(explore=0.1)), upstream, calls=600, every=1)

    assert Counter(upstream.called()[-100:])["b"] > 50


@pytest.mark.parametrize("line", ["explore = 1.5", "explore = -0.1", "explore = true"])
def test_a_share_of_exploring_that_is_none_is_told_with_its_line(line: str) -> None:
    text = f'[turnout]\nselector = "fastest"\nstore = "x"\ntransport = "x"\n[selectors.fastest]\n{line}\n'

    with pytest.raises(ConfigError, match=r"line 6|:6"):
        parse_config(text).settings("selectors", "fastest", FastestSettings)


# --- sticky --------------------------------------------------------------------------------------------------------

SESSIONS = [f"session-{number}" for number in range(1000)]
IDS = ("a", "b", "c", "d", "e")


def homes(made: Schedule, sessions: Sequence[str] = SESSIONS) -> dict[str, str]:
    return {session: pick(made, Sticky(), no_draw, Ask(model="m", affinity=session)) for session in sessions}


def test_a_session_lands_on_the_same_credential_on_every_node() -> None:
    """Without shared state: another order, another rotation, nothing remembered."""
    here, there = pool(*IDS), pool(*reversed(IDS))
    for _ in range(3):
        pick(there, RoundRobin(), no_draw)

    assert homes(here) == homes(there) == homes(here)


def test_the_hash_is_pinned_since_nodes_of_two_releases_must_agree() -> None:
    assert homes(pool(*IDS), SESSIONS[:6]) == {
        "session-0": "a",
        "session-1": "c",
        "session-2": "c",
        "session-3": "e",
        "session-4": "e",
        "session-5": "d",
    }


def test_sessions_are_spread_evenly() -> None:
    counted = Counter(homes(pool(*IDS)).values())

    assert all(150 <= counted[id] <= 250 for id in IDS)


@pytest.mark.parametrize("resting", IDS)
def test_only_the_sessions_of_a_credential_that_rests_move_and_they_come_back(resting: str) -> None:
    made = pool(*IDS)
    before = homes(made)
    made.update(resting, WAITS, "m", NOW)
    meanwhile = homes(made)
    moved = {session for session in SESSIONS if meanwhile[session] != before[session]}

    assert moved == {session for session in SESSIONS if before[session] == resting}
    assert len({meanwhile[session] for session in moved}) == len(IDS) - 1, "they are spread over all the others"

    made.update(resting, CLEAN, "m", NOW)
    assert homes(made) == before


def test_a_new_credential_takes_its_share_and_no_other_session_moves() -> None:
    before, after = homes(pool(*IDS)), homes(pool(*IDS, "f"))
    moved = [session for session in SESSIONS if after[session] != before[session]]

    assert {after[session] for session in moved} == {"f"}
    assert 120 <= len(moved) <= 220  # a sixth


def test_asks_without_a_session_are_served_in_turn() -> None:
    made = pool("a", "b")

    assert [pick(made, Sticky(), no_draw) for _ in range(3)] == ["a", "b", "a"]


@given(strategies.text(min_size=1))
def test_any_text_is_a_session(session: str) -> None:
    assert homes(pool("a", "ü"), [session])[session] in {"a", "ü"}
