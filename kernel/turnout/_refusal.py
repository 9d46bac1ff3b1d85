"""Why nobody can be picked, and until when (C5.12 with O8, O15, O16)."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from turnout._entry import Entry
from turnout._rotation import Filter
from turnout._shard import PROBE, Shard
from turnout._standing import Kind, Standing
from turnout.errors import CoolingDown, NoCredential, PoolError, Unavailable


class Waits(NamedTuple):
    """What those who pass wait for.

    Attributes:
        cooling: earliest recovery of those under a rate limit or a probe; None when there is none.
        blocked: earliest recovery of the others that wait.
        others: somebody passes who waits for no time.
    """

    cooling: float | None = None
    blocked: float | None = None
    others: bool = False

    @classmethod
    def of(cls, standing: Standing) -> "Waits":
        """What somebody waits for who stands so and is not ready."""
        if standing.kind is Kind.COOLING:
            return cls(cooling=standing.until)
        return cls(blocked=standing.until) if standing.kind is Kind.BLOCKED else cls(others=True)

    def beside(self, other: "Waits") -> "Waits":
        """What these and those wait for."""
        cooling, blocked = earliest(self.cooling, other.cooling), earliest(self.blocked, other.blocked)
        return Waits(cooling, blocked, self.others or other.others)

    @property
    def soonest(self) -> float | None:
        """The earliest recovery of all, None when nobody waits."""
        return earliest(self.cooling, self.blocked)

    def refusal(self, model: str, providers: Sequence[str]) -> PoolError:
        """The error to give; `model` is the requested name, and a single provider is named (O8)."""
        until = self.soonest
        if until is None and not self.others:
            # C6.1's `provider_not_found` reaches nobody: a model without providers is an UnknownModel before that
            return NoCredential("no auth available" if providers else "no provider supplied")
        if until is None or self.cooling is None or self.others:
            return Unavailable(until=until)
        return CoolingDown(model=model, until=until, provider=providers[0] if len(providers) == 1 else None)


NOBODY: Final = Waits()


def waits_of_groups(shards: Iterable[Shard], passes: Filter | None, now: float) -> Waits:
    """Over all entries of these groups that pass. Walks no further than those that are left out."""
    found = NOBODY
    for shard in shards:
        cooling, blocked = shard.waits(passes, now)
        others = shard.best(passes) is not None or any(passes is None or passes(entry) for entry in shard.off.values())
        found = found.beside(Waits(cooling, blocked, others))
    return found


def waits_of_entry(entry: Entry, now: float) -> Waits:
    """Of one entry, for a pin (C5.11)."""
    if entry.kind is Kind.COOLING:
        return Waits(cooling=entry.until)
    if entry.kind is Kind.BLOCKED:
        return Waits(blocked=entry.until)
    return Waits(others=True) if entry.admitted or entry.kind is Kind.OFF else Waits(cooling=now + PROBE)


def earliest(*times: float | None) -> float | None:
    """The earliest of those that are known, None when none is."""
    return min((time for time in times if time is not None), default=None)
