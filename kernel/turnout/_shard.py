"""The group of one provider and one base name (C5.1): who is ready, tier by tier, and who waits until when."""

from bisect import bisect_left
from math import inf
from typing import Final

from turnout._entry import Entry
from turnout._rotation import Filter
from turnout._standing import IS_COOLING, IS_OFF, IS_READY, Standing
from turnout._tier import Tier, TierView
from turnout._waiting import Waiting

PROBE: Final = 1.0
"""Seconds after which to look again at a credential whose probe runs (design 8)."""


class Shard:
    """One group. Consulting it means promoting first: nothing else moves by time (C5.6).

    Attributes:
        tiers: the highest priority first.
        off: entries that no time brings back, by id.
        held: entries that are ready but for a running probe, by id.
        ready: how many entries may be picked.
        due: POSIX seconds before which promoting is of no use.
    """

    __slots__ = ("_by_priority", "base", "blocked", "cooling", "due", "held", "off", "provider", "ready", "tiers")

    def __init__(self, provider: str, base: str) -> None:
        self.provider = provider
        self.base = base
        self.tiers: list[Tier[Entry]] = []
        self.cooling: Waiting[Entry] = Waiting()
        self.blocked: Waiting[Entry] = Waiting()
        self.off: dict[str, Entry] = {}
        self.held: dict[str, Entry] = {}
        self.ready = 0
        self._by_priority: dict[int, Tier[Entry]] = {}
        self.due = inf

    def add(self, entry: Entry, now: float) -> None:
        """Let an entry in, at the place that its credential's configuration gives it."""
        tier = self._by_priority.get(entry.priority)
        if tier is None:
            tier = self._by_priority[entry.priority] = Tier(entry.priority)
            self.tiers.insert(bisect_left(self.tiers, -tier.priority, key=lambda tier: -tier.priority), tier)
        tier.add(entry)
        entry.tier = tier
        self.settle(entry, entry.judge(now))

    def remove(self, entry: Entry) -> None:
        """Let an entry go. Its tier stays, with the mark of its last choice (O10)."""
        self._leave(entry)
        self._bench(entry)
        if entry.tier is not None:
            entry.tier.discard(entry)
        entry.tier = None
        self.held.pop(entry.key, None)

    def settle(self, entry: Entry, standing: Standing) -> None:
        """Put an entry where this standing belongs (C5.4)."""
        if entry.place or entry.kind is IS_OFF:
            self._leave(entry)
        entry.assume(standing)
        kind = entry.kind
        if kind is IS_READY:
            self.follow(entry)
            return
        self.held.pop(entry.key, None)
        if entry.admitted:
            self._bench(entry)
        if kind is IS_OFF:
            self.off[entry.key] = entry
            return
        (self.cooling if kind is IS_COOLING else self.blocked).push(entry)
        self.due = min(self.due, entry.due)

    def promote(self, now: float) -> None:
        """Look again at those whose time has come (C5.6)."""
        for waiting in (self.cooling, self.blocked):
            while waiting.due <= now:
                entry = waiting.pop()
                if entry is not None:
                    self.settle(entry, entry.judge(now))
        self.due = min(self.cooling.due, self.blocked.due)

    def best(self, passes: Filter | None) -> Tier[Entry] | None:
        """The highest tier with a ready entry that passes (C5.8), None when there is none."""
        if not self.ready:
            return None
        for tier in self.tiers:
            if tier.everyone.ready and (passes is None or tier.everyone.serves(passes)):
                return tier
        return None

    def tier(self, priority: int) -> Tier[Entry] | None:
        """The tier of this priority, None when nobody ever had it."""
        return self._by_priority.get(priority)

    def views(self) -> list[TierView[Entry]]:
        """The tiers with a ready entry, for a pick that is about this group only and leaves nobody out."""
        return [tier.alone for tier in self.tiers if tier.everyone.ready]

    def follow(self, entry: Entry) -> None:
        """Admit or bench an entry that is ready, as the probes of its credential have it."""
        if entry.member.holds(entry.recorded, half=entry.half):
            self.held[entry.key] = entry
            self._bench(entry)
            return
        if self.held:
            self.held.pop(entry.key, None)
        if entry.kind is IS_READY and not entry.admitted and entry.tier is not None:
            entry.admitted = True
            self.ready += 1
            entry.tier.admit(entry)

    def waits(self, passes: Filter | None, now: float) -> tuple[float | None, float | None]:
        """The earliest recoveries of those that pass: of the cooling ones, and of the otherwise blocked ones.

        An entry whose probe runs counts as cooling (design 8).
        """
        cooling, blocked = self.cooling.earliest(passes), self.blocked.earliest(passes)
        if self.held and any(passes is None or passes(entry) for entry in self.held.values()):
            cooling = now + PROBE if cooling is None else min(cooling, now + PROBE)
        return cooling, blocked

    def _leave(self, entry: Entry) -> None:
        if entry.place:
            (self.cooling if entry.kind is IS_COOLING else self.blocked).drop(entry)
        elif entry.kind is IS_OFF:
            self.off.pop(entry.key, None)

    def _bench(self, entry: Entry) -> None:
        if entry.admitted and entry.tier is not None:
            entry.admitted = False
            self.ready -= 1
            entry.tier.bench(entry)
