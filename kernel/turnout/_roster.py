"""The credentials of one provider, and the groups in which they stand (C5.1 to C5.3)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from turnout._entry import Entry, Member, seat_of
from turnout._shard import Shard
from turnout._standing import Kind, blocked, same_for_all
from turnout._values import CLEAN, Credential, CredentialState

Serves = Mapping[str, tuple[str, ...]]

NOTHING: Final[Serves] = {}


class Roster:
    """Members by id. A group is built when it is first consulted, and then follows every change by itself (O12)."""

    __slots__ = ("_groups", "_marred", "_serving", "members", "provider")

    def __init__(self, provider: str) -> None:
        self.provider = provider
        self.members: dict[str, Member] = {}
        self._marred: dict[str, Member] = {}  # all others are ready for whatever they serve (C4.2a)
        self._serving: dict[str, int] = {}  # how many serve each base name, in groups built or not
        self._groups: dict[str, Shard] = {}

    @property
    def groups(self) -> list[Shard]:
        """The groups that have been built."""
        return list(self._groups.values())

    def group(self, base: str, now: float) -> Shard | None:
        """The group of a base name, built if need be and promoted; None when nobody serves it."""
        shard = self._groups.get(base)
        if shard is None:
            if base not in self._serving if base else not self.members:
                return None
            shard = self._build(base, now)
        if now >= shard.due:
            shard.promote(now)
        return shard

    def home(self, entry: Entry) -> Shard:
        """The group in which an entry stands; it must not have left."""
        return self._groups[entry.base]

    def put(self, member: Member, credential: Credential, state: CredentialState, serves: Serves, now: float) -> None:
        """Take a member in, or follow what changed about it."""
        if member.key not in self.members:
            self.members[member.key] = member
            self._count(serves, 1)
        elif serves != member.serves:
            self._count(serves, 1)
            self._count(member.serves, -1)
        member.serves = serves
        seat = member.seat if credential is member.credential else seat_of(credential)
        if seat != member.seat:
            for entry in member.entries.values():
                self._groups[entry.base].remove(entry)
        member.credential, member.state, member.seat = credential, state, seat
        self._mark(member)
        for base, shard in list(self._groups.items()):
            self._place(shard, member, member.recorded(base), now)
            if base and base not in self._serving:
                del self._groups[base]

    def drop(self, member: Member) -> None:
        """Let a member go."""
        for entry in list(member.entries.values()):
            self._groups[entry.base].remove(entry)
            member.drop(entry)
        member.probes.clear()  # of another provider's, if it comes back elsewhere
        del self.members[member.key]
        self._marred.pop(member.key, None)
        self._count(member.serves, -1)
        for base in [base for base in self._groups if base and base not in self._serving]:
            del self._groups[base]

    def update(self, member: Member, state: CredentialState, recorded: str | None, now: float) -> None:
        """Take over a new state; `recorded` names the model it is about, None for any change at all."""
        before, member.state = member.state, state
        if not state.models or not before.models:
            self._mark(member)
        if recorded is None or not same_for_all(before, state):
            entries: Sequence[Entry] = list(member.entries.values())
        else:
            entries = member.depending_on(recorded)
        for entry in entries:
            self._groups[entry.base].settle(entry, entry.judge(now))

    def ready_count(self, base: str, now: float) -> int:
        """How many are ready for a base name, without building its group (O60, O61)."""
        if base in self._groups:
            shard = self._groups[base]
            shard.promote(now)
            return shard.ready
        away = sum(kind is not Kind.READY or held for kind, held in self._marred_kinds(base, now))
        return (self._serving.get(base, 0) if base else len(self.members)) - away

    def blocked_count(self, base: str, now: float) -> int:
        """How many cannot serve a base name for another reason than a rate limit, without building its group (O60)."""
        if base in self._groups:
            shard = self._groups[base]
            shard.promote(now)
            return len(shard.blocked) + len(shard.off)
        return sum(kind in {Kind.BLOCKED, Kind.OFF} for kind, _ in self._marred_kinds(base, now))

    def _marred_kinds(self, base: str, now: float) -> Iterator[tuple[Kind, bool]]:
        """How those stand who may be anything but ready, and whether a probe keeps them from being picked."""
        for member in self._marred.values():
            recorded = member.recorded(base)
            if recorded is not None:
                standing = blocked(member.credential, member.state, recorded, now)
                yield standing.kind, member.holds(recorded, half=standing.half)

    def _build(self, base: str, now: float) -> Shard:
        shard = self._groups[base] = Shard(self.provider, base)
        for key in sorted(self.members):
            member = self.members[key]
            recorded = member.recorded(base)
            if recorded is not None:
                self._place(shard, member, recorded, now)
        return shard

    def _place(self, shard: Shard, member: Member, recorded: tuple[str, ...] | None, now: float) -> None:
        """Make a member's entry in a group what it should be now."""
        entry = member.entries.get(shard.base)
        if entry is not None and entry.recorded != recorded:
            if entry.tier is not None:
                shard.remove(entry)
            member.drop(entry)
        if recorded is None:
            return
        if entry is None:
            entry = Entry(member, shard.provider, shard.base)
        if shard.base not in member.entries:
            member.add(entry, recorded)
        if entry.tier is not None:
            shard.settle(entry, entry.judge(now))
        else:
            entry.sit(member.seat)
            shard.add(entry, now)

    def _mark(self, member: Member) -> None:
        state = member.state
        if state.models or state.unavailable or not same_for_all(state, CLEAN):
            self._marred[member.key] = member
        else:
            self._marred.pop(member.key, None)

    def _count(self, serves: Serves, step: int) -> None:
        for base in serves:
            left = self._serving.get(base, 0) + step
            if left:
                self._serving[base] = left
            else:
                del self._serving[base]
