"""The group of one provider and one base name (C5.1): who is ready, tier by tier, and who waits until when."""

from bisect import bisect_left
from math import inf
from typing import Final

from turnout._entry import Entry
from turnout._rotation import Filter, Rotation
from turnout._standing import Kind, Standing
from turnout._waiting import Waiting

PROBE: Final = 1.0
"""Seconds after which to look again at a credential whose probe runs (design 8)."""


class Tier:
    """Entries of one priority (C5.5). Those with websockets on have a rotation of their own besides (C5.9.3)."""

    __slots__ = ("everyone", "priority", "websockets")

    def __init__(self, priority: int) -> None:
        self.priority = priority
        self.everyone: Rotation[Entry] = Rotation()
        self.websockets: Rotation[Entry] = Rotation()

    def rotations(self, entry: Entry) -> tuple[Rotation[Entry], ...]:
        """Those that this entry belongs to."""
        return (self.everyone, self.websockets) if entry.member.seat.websockets else (self.everyone,)


class Shard:
    """One group. Consulting it means promoting first: nothing else moves by time (C5.6).

    Attributes:
        tiers: the highest priority first.
        off: entries that no time brings back, by id.
        probes: entries of which a probe runs, by id.
        ready: how many entries may be picked.
    """

    __slots__ = ("_by_priority", "_next", "base", "blocked", "cooling", "off", "probes", "provider", "ready", "tiers")

    def __init__(self, provider: str, base: str) -> None:
        self.provider = provider
        self.base = base
        self.tiers: list[Tier] = []
        self.cooling: Waiting[Entry] = Waiting()
        self.blocked: Waiting[Entry] = Waiting()
        self.off: dict[str, Entry] = {}
        self.probes: dict[str, Entry] = {}
        self.ready = 0
        self._by_priority: dict[int, Tier] = {}
        self._next = inf  # nobody is due before

    def add(self, entry: Entry, now: float) -> None:
        """Let an entry in, at the place that its credential's configuration gives it."""
        tier = self._by_priority.get(entry.priority)
        if tier is None:
            tier = self._by_priority[entry.priority] = Tier(entry.priority)
            self.tiers.insert(bisect_left(self.tiers, -tier.priority, key=lambda tier: -tier.priority), tier)
        for rotation in tier.rotations(entry):
            rotation.add(entry)
        entry.listed = True
        if entry.probing:
            self.probes[entry.key] = entry
        self.settle(entry, entry.judge(now))

    def remove(self, entry: Entry) -> None:
        """Let an entry go. Its tier stays, with the mark of its last choice (O10)."""
        self._leave(entry)
        self._bench(entry)
        for rotation in self._by_priority[entry.priority].rotations(entry):
            rotation.discard(entry)
        entry.listed = False
        self.probes.pop(entry.key, None)

    def settle(self, entry: Entry, standing: Standing) -> None:
        """Put an entry where this standing belongs (C5.4)."""
        self._leave(entry)
        entry.assume(standing)
        if standing.kind is Kind.OFF:
            self.off[entry.key] = entry
        elif standing.kind is not Kind.READY:
            (self.cooling if standing.kind is Kind.COOLING else self.blocked).push(entry)
            self._next = min(self._next, entry.due)
        self._follow(entry)

    def promote(self, now: float) -> None:
        """Look again at those whose time has come (C5.6)."""
        if now < self._next:
            return
        for waiting in (self.cooling, self.blocked):
            while (entry := waiting.pop_due(now)) is not None:
                self.settle(entry, entry.judge(now))
        self._next = min(self.cooling.next_due(), self.blocked.next_due())

    def best(self, passes: Filter | None) -> Tier | None:
        """The highest tier with a ready entry that passes (C5.8), None when there is none."""
        if not self.ready:
            return None
        for tier in self.tiers:
            if tier.everyone.serves(passes):
                return tier
        return None

    def tier(self, priority: int) -> Tier | None:
        """The tier of this priority, None when nobody ever had it."""
        return self._by_priority.get(priority)

    def begin_probe(self, entry: Entry) -> bool:
        """Whether a call that begins now is the probe of a half-open entry; then nobody else may pick it."""
        if not entry.half or entry.probing or not entry.admitted:
            return False
        entry.probing = True
        self.probes[entry.key] = entry
        self._follow(entry)
        return True

    def end_probe(self, entry: Entry) -> None:
        """The probe of this entry is over, however it went."""
        entry.probing = False
        self.probes.pop(entry.key, None)
        self._follow(entry)

    def chosen(self, entry: Entry) -> None:
        """Move the rotations behind this choice."""
        for rotation in self._by_priority[entry.priority].rotations(entry):
            rotation.chosen(entry)

    def waits(self, passes: Filter | None, now: float) -> tuple[float | None, float | None]:
        """The earliest recoveries of those that pass: of the cooling ones, and of the otherwise blocked ones.

        An entry whose probe runs counts as cooling (design 8).
        """
        cooling, blocked = self.cooling.earliest(passes), self.blocked.earliest(passes)
        if self.probes and any(is_held(entry) and (passes is None or passes(entry)) for entry in self.probes.values()):
            cooling = now + PROBE if cooling is None else min(cooling, now + PROBE)
        return cooling, blocked

    def _leave(self, entry: Entry) -> None:
        if entry.place:
            (self.cooling if entry.kind is Kind.COOLING else self.blocked).drop(entry)
        elif entry.kind is Kind.OFF:
            self.off.pop(entry.key, None)

    def _follow(self, entry: Entry) -> None:
        """Admit or bench an entry as it now stands."""
        if entry.ready is entry.admitted:
            return
        if entry.admitted:
            self._bench(entry)
            return
        entry.admitted = True
        self.ready += 1
        for rotation in self._by_priority[entry.priority].rotations(entry):
            rotation.admit(entry)

    def _bench(self, entry: Entry) -> None:
        if entry.admitted:
            entry.admitted = False
            self.ready -= 1
            for rotation in self._by_priority[entry.priority].rotations(entry):
                rotation.bench(entry)


def is_held(entry: Entry) -> bool:
    """Whether nothing but a running probe keeps this entry from being picked."""
    return entry.kind is Kind.READY and not entry.ready
