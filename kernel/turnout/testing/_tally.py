"""Each attempt that ended by itself was recorded exactly once, and nothing else was (C10, D8)."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from turnout._values import Outcome
from turnout._verdicts import Failure, TimedOut
from turnout.testing._case import Attempt

Told = Counter[tuple[str, str]]
"""(credential, what tells outcomes apart) -> how often."""


def miscounted(attempts: Iterable[Attempt], outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Where the outcomes that were recorded are not those of these attempts."""
    certain, either = Told(), Told()
    early, late = Counter[str](), Counter[str]()  # cut off before the first payload, and after it
    for one in attempts:
        if not one.cut and one.ends is not None:
            (either if one.met else certain)[one.credential, _key_of(one.ends)] += 1
        elif one.cut:
            (early if one.ends is None else late)[one.credential] += 1
    told = Told((one.credential, _key_of(one.verdict)) for one in outcomes)
    for id in {credential for credential, _ in (*told, *certain)}:
        left = told.pop((id, "Done"), 0) - certain.pop((id, "Done"), 0)
        limits = told.pop((id, "limit"), 0)
        if not 0 <= left <= late[id]:
            yield f"{id}: {left} successes too many, {late[id]} streams were cut off"
        least = late[id] - left
        if not least <= limits <= least + early[id]:
            yield f"{id}: {limits} limits, of {least} to {least + early[id]}"
    more = told - certain - either
    if more or not certain <= told:
        yield f"recorded, not due: {more}; due, not recorded: {certain - told}"


def _key_of(verdict: object) -> str:
    """What tells outcomes apart: upstream failures by their numbers, limits of the kernel's own as such."""
    if isinstance(verdict, TimedOut) and not verdict.message.startswith("#"):
        return "limit"
    return verdict.message if isinstance(verdict, Failure) else type(verdict).__name__
