"""The laws that every selector keeps: it chooses among what it is shown, at once, by nothing but what it is shown."""

import inspect
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import final

import attrs

from turnout._values import Ask, Outcome, Remaining
from turnout._verdicts import Done, RateLimited, Sent, Unreachable
from turnout.abc import Candidate, Learner, Selector, Tier
from turnout.testing._law import Laws
from turnout.testing._no_io import io_of

_law = Laws("Selector", "Selectors")

MANY = 1000
QUICK = 0.02
"""Seconds that one choice among `MANY` candidates may take: every call of the process waits."""
TURNS = 20
"""Choices of which one must be so quick: a busy machine takes the processor away from most of them."""


@final
@attrs.frozen(kw_only=True, eq=False)
class _Candidate:
    """What a kernel shows of a credential."""

    id: str
    provider: str = "checked"
    priority: int = 0
    parent: str = ""
    attributes: Mapping[str, str] = MappingProxyType({})
    in_flight: int = 0
    latency: float | None = None
    remaining: Remaining | None = None


@final
class _View:
    """A view over tiers that ends with its pick."""

    def __init__(self, tiers: Sequence[Sequence[_Candidate]], turn: int, now: float) -> None:
        self.now = now
        self.over = False
        self._tiers = [_Tier(self, members, turn) for members in tiers]

    @property
    def best(self) -> Tier:
        """The highest."""
        return self._tiers[0]

    @property
    def tiers(self) -> Sequence[Tier]:
        """All."""
        return tuple(self._tiers)


@final
class _Tier:
    def __init__(self, view: _View, members: Sequence[_Candidate], turn: int) -> None:
        self.priority = members[0].priority
        self._view = view
        self._members = members
        self._turn = turn

    def __iter__(self) -> Iterator[Candidate]:
        for member in self._members:
            self._check_open()
            yield member

    def first(self) -> Candidate:
        self._check_open()
        return self._members[0]

    def following(self) -> Candidate:
        self._check_open()
        return self._members[self._turn % len(self._members)]

    def _check_open(self) -> None:
        _law(not self._view.over, "what a selector is shown is valid during `select` only; it keeps none of it")


def check_selector(make: Callable[[], Selector]) -> None:
    """Check that a selector keeps the laws of `turnout.abc.Selector`.

    `make` gives a new one each time, with the same settings. Raises AssertionError that says which law was broken and
    where it is written. Does not wait and needs no Trio.
    """
    _check_choice(make())
    _check_draws(make)
    _check_reach(make())
    _check_pace(make())
    selector = make()
    if isinstance(selector, Learner):
        _check_learning(selector)


def _candidates(seed: int, count: int) -> list[_Candidate]:
    dice = random.Random(seed)  # noqa: S311 # nothing is secret here
    return [
        _Candidate(
            id=f"c{number:04}",
            provider=f"p{number % 3}",
            parent="" if number % 4 else f"parent{number % 2}",
            in_flight=dice.randrange(9),
            latency=None if number % 5 == 0 else dice.uniform(0, 30),
            attributes=MappingProxyType({"label": "ü"} if number % 7 else {}),
            remaining=None if number % 3 else Remaining(share=dice.random(), until=dice.uniform(0, 2e9)),
        )
        for number in range(count)
    ]


def _pools() -> Iterator[list[list[_Candidate]]]:
    """Pools as they come and go: one, several, other ones, several tiers."""
    for seed in range(40):
        members = _candidates(seed, 1 + seed % 6)
        some = [one for one in members if (int(one.id[1:]) + seed) % 4] or members
        low = [attrs.evolve(one, id=f"low-{one.id}", priority=-5) for one in members]
        yield [[attrs.evolve(one, priority=10) for one in some], low] if seed % 2 else [some]


def _asks() -> Iterator[Ask]:
    while True:
        yield Ask(model="m")
        yield Ask(model="m", affinity="session", session="s", payload=b"{}", dialect="openai.chat")
        yield Ask(model="a/b(high)", affinity="", websocket=True)


def _check_choice(selector: Selector) -> None:
    dice = random.Random(1)  # noqa: S311 # nothing is secret here
    for turn, (tiers, ask) in enumerate(zip(_pools(), _asks(), strict=False)):
        _choose(selector, tiers, ask, dice.random, turn)


def _choose(
    selector: Selector, tiers: list[list[_Candidate]], ask: Ask, draw: Callable[[], float], turn: int
) -> Candidate | None:
    view = _View(tiers, turn, now=1_800_000_000.0 + turn)
    try:
        chosen = selector.select(view, ask, draw)
    except AssertionError:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 # any of them breaks a law
        _law(not _is_writing(error), "candidates and asks are read only")
        _law(
            False, f"a selector raises nothing, whatever it is shown; it raised {type(error).__name__}: {error!s:.100}"
        )
    view.over = True
    if inspect.isawaitable(chosen):
        close = getattr(chosen, "close", None)
        if close is not None:
            close()
        _law(False, "`select` is a plain function, which does not wait")
    known = {id(one) for members in tiers for one in members}
    _law(
        chosen is None or id(chosen) in known,
        "a selector gives one of the candidates that it was shown in this very pick, or None",
    )
    return chosen


def _is_writing(error: BaseException) -> bool:
    frozen = isinstance(error, attrs.exceptions.FrozenError)
    return frozen or (isinstance(error, TypeError) and "mappingproxy" in str(error))


def _check_draws(make: Callable[[], Selector]) -> None:
    def choices() -> list[str]:
        selector, dice = make(), random.Random(2)  # noqa: S311 # nothing is secret here
        chosen = []
        for turn, ask in zip(range(50), _asks(), strict=False):
            chosen.append(_choose(selector, [_candidates(3, 6)], ask, dice.random, turn))
        return [one.id if one else "" for one in chosen]

    _law(choices() == choices(), "chance comes from `draw` and time from `ready.now`: the same ones, the same choices")


def _check_reach(selector: Selector) -> None:
    events = io_of(lambda: _choose(selector, [_candidates(4, 6)], Ask(model="m"), lambda: 0.5, 0))
    _law(not events, f"`select` does no I/O ({', '.join(sorted(events))})")


def _check_pace(selector: Selector) -> None:
    many = [_candidates(5, MANY)]
    best = math.inf
    for turn in range(TURNS):
        best = min(best, _seconds(selector, many, turn))
        if best <= QUICK:
            break
    _law(best <= QUICK, f"a choice among {MANY} takes less than {QUICK * 1000:g} ms (it took {best * 1000:.0f} ms)")


def _seconds(selector: Selector, tiers: list[list[_Candidate]], turn: int) -> float:
    began = time.perf_counter()
    _choose(selector, tiers, Ask(model="m", affinity=f"session-{turn}"), lambda: 0.5, turn)
    return time.perf_counter() - began


def _check_learning(selector: Learner) -> None:
    for number, verdict in enumerate((Done(), RateLimited(retry_after=1), Unreachable(sent=Sent.NO)) * 3):
        outcome = Outcome(credential=f"gone-{number}", provider="p", model="m", verdict=verdict)
        try:
            given: object = selector.observe(outcome, 0.0)  # type: ignore[func-returns-value] # it may break its law
        except (Exception, SystemExit) as error:  # noqa: BLE001 # any of them breaks the law
            _law(False, f"`observe` takes every outcome, of credentials unknown to it too: {type(error).__name__}")
        if inspect.iscoroutine(given):
            given.close()
        _law(given is None, "`observe` is a plain function that gives nothing")
