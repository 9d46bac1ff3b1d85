"""The schedule: who may serve a model now, who waits until when, and whose turn it is (C4 to C6).

Pure and synchronous: `now` is a parameter, nothing waits, and no clock is read. Credentials stand in groups by
provider and base name, built when a group is first consulted. A pick, a success and a failure cost the same among a
hundred credentials and among a hundred thousand, and nothing is ever rebuilt because nobody was found (O11, O13).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import final

import attrs

from turnout._entry import Entry, Member
from turnout._readings import retries
from turnout._ready import OnlyTier, Pick, ReadyView
from turnout._refusal import NOBODY, Waits, earliest, waits_of_entry, waits_of_groups
from turnout._roster import Roster
from turnout._rotation import Filter
from turnout._shard import Shard
from turnout._standing import Kind, Standing, blocked, half_open
from turnout._tier import Tier
from turnout._turns import Turn, Turns, normal
from turnout._values import Credential, CredentialState, refuse
from turnout.abc import Candidate
from turnout.errors import PoolError

__all__ = ["Kind", "ReadyView", "Schedule", "ScheduleStatistics", "Standing", "blocked"]


@final
@attrs.frozen(kw_only=True)
class ScheduleStatistics:
    """A view of the schedule at one moment. Entries are counted once for every group that has been built."""

    credentials: int
    groups: int
    entries: int
    ready: int
    cooling: int
    blocked: int
    off: int
    probing: int


class Schedule:
    """All credentials of a kernel, as picks see them."""

    def __init__(self, *, half_open: bool = True) -> None:
        self._half_open = half_open
        self._members: dict[str, Member] = {}
        self._rosters: dict[str, Roster] = {}
        self._retries: dict[str, int] = {}  # of those that have a count of their own
        self._turns = Turns()
        self._turn: Turn | None = None

    def probe_after_blocks(self, *, on: bool) -> None:
        """Whether a block that is over lets one probe through at a time; switched off, those under way are over."""
        self._half_open = on
        if not on:
            for member in self._members.values():
                for name in list(member.probes):
                    del member.probes[name]
                    self._follow(member, name)

    # -- what the pool consists of

    def upsert(
        self, credential: Credential, state: CredentialState, serves: Mapping[str, tuple[str, ...]], now: float
    ) -> None:
        """Take a credential in, or take over what changed about it (C5.2).

        `serves` maps each base name it serves to the recorded names that decide about it: itself, or for the alias of
        a pool the pool's members (O28); it must not change afterwards. Everybody serves the empty name. A disabled
        credential, or one whose id is blank, is removed. Calls in flight, latencies and the marks of rotations stay.
        """
        if credential.disabled or not credential.id.strip():
            self.remove(credential.id)
            return
        member = self._members.get(credential.id)
        if member is None:
            member = self._members[credential.id] = Member(credential, state)
        elif member.credential.provider != credential.provider:
            self._leave(member)
        self._roster(credential.provider).put(member, credential, state, serves, now)
        self._retries.pop(credential.id, None)
        if credential.metadata is not None and (own := retries(credential)) is not None:
            self._retries[credential.id] = own

    def remove(self, id: str) -> None:
        """Let a credential go (O18); nothing happens when there is none of this id."""
        self._retries.pop(id, None)
        member = self._members.pop(id, None)
        if member is not None:
            self._leave(member)

    def update(self, id: str, state: CredentialState, recorded: str | None, now: float) -> None:
        """Take over a credential's new state after an outcome recorded under `recorded`; None: after any change at all.

        Only groups that depend on the recorded name are looked at, and the empty name's, which sees the aggregate.
        """
        member = self._members.get(id)
        if member is not None and state is not member.state:
            self._rosters[member.credential.provider].update(member, state, recorded, now)

    # -- picking

    def ready(
        self,
        providers: Sequence[str],
        base: str,
        now: float,
        *,
        tried: Collection[str] = (),
        pin: str | None = None,
        prefer: str | None = None,
        prefer_tier: bool = True,
        websocket: bool = False,
        skip_origins: Collection[str] = (),
    ) -> ReadyView | None:
        """Who may be picked now; None when nobody may, and `why_not` says why.

        `tried` and `skip_origins` leave out ids and origins (sets are fastest). `pin` allows one credential only; it
        never falls back (C5.11). `prefer` is a wish that shows as the view's `preferred`; with `prefer_tier` a
        ready higher tier goes before it (O5). `websocket` prefers credentials that have websockets on, within each
        tier, unless one is pinned (C5.9.3).
        """
        passes = Filter(tried, skip_origins) if tried or skip_origins else None
        keys, together = normal(tuple(providers))
        self._turn = turn = (together, base) if len(keys) > 1 and pin is None else None
        if pin is not None:
            only = self._passing(keys, base, pin, now, passes)
            if only is None:
                return None
            tier = OnlyTier(only)
            return ReadyView(now, tier, tier, only if prefer == pin else None)
        shards = self._consult(keys, base, now)
        best = shards[0].best(passes) if len(shards) == 1 else _highest(shards, passes)
        if best is None:
            return None
        wish = None if prefer is None else self._passing(keys, base, prefer, now, passes)
        if prefer_tier and wish is not None and wish.priority < best.priority:
            wish = None
        if passes is None and not websocket and len(keys) == 1:
            return ReadyView(now, best.alone, shards[0], wish)
        in_turn = shards if turn is None else self._turns.order(turn, shards, keys)
        pick = Pick(shards, in_turn, passes, websocket=websocket)
        return ReadyView(now, pick.tier(best.priority), pick, wish, turn)

    def chosen(self, candidate: Candidate, ready: ReadyView | None = None) -> None:
        """Move the rotations behind a choice, whichever selector made it (O10).

        `ready` is the view it was chosen from; without it, the latest one that `ready()` gave.
        """
        entry = candidate if type(candidate) is Entry else _own(candidate)
        if entry.tier is not None:
            entry.tier.chosen(entry)
        turn = self._turn if ready is None else ready.turn
        if turn is not None and entry.provider in turn[0]:
            self._turns.chosen(turn, entry.provider)

    def begin(self, candidate: Candidate, recorded: str | None = None) -> bool:
        """A call with this candidate begins. True when it is the probe of a half-open credential (design 8).

        `recorded` is the name that its outcome will be recorded under, which must be ready; None for the candidate's
        own, if it has only one. There is one probe of a name at a time, by whatever alias it is asked for. While it
        runs, the credential counts as cooling for that until one second after whenever this is asked: a probe has no
        end that `now` could fix.
        """
        entry = candidate if type(candidate) is Entry else _own(candidate)
        member = entry.member
        member.in_flight += 1
        if not self._half_open or not (entry.half or len(entry.recorded) > 1) or entry.tier is None:
            return False
        name = entry.recorded[0] if recorded is None else recorded
        if name in member.probes or not half_open(member.state, name):
            return False
        member.probes[name] = entry
        self._follow(member, name)
        return True

    def end(
        self,
        candidate: Candidate,
        recorded: str | None = None,
        *,
        probe_over: bool = True,
        release: bool = True,
        took: float | None = None,
    ) -> None:
        """A call has come to its first payload (`release=False`) or to its end; `recorded` as in `begin`.

        `probe_over` ends the candidate's probe; pass what `begin` gave, so that a call that began earlier does not end
        somebody else's. `took` is seconds to the reply or first payload.
        """
        entry = candidate if type(candidate) is Entry else _own(candidate)
        if release:
            entry.member.in_flight -= 1
        if took is not None:
            entry.took(took)
        if not probe_over:
            return
        member, name = entry.member, entry.recorded[0] if recorded is None else recorded
        if member.probes.get(name) is entry:
            del member.probes[name]
            self._follow(member, name)

    def is_probed(self, id: str, recorded: str) -> bool:
        """Whether a probe of this name runs on this credential, so that nobody else may call it."""
        member = self._members.get(id)
        return member is not None and recorded in member.probes and half_open(member.state, recorded)

    def _follow(self, member: Member, recorded: str) -> None:
        """A probe of this name has begun or is over."""
        for entry in member.named(recorded):
            self._rosters[entry.provider].home(entry).follow(entry)

    # -- when nobody can be picked

    def why_not(
        self,
        providers: Sequence[str],
        base: str,
        now: float,
        *,
        model: str,
        tried: Collection[str] = (),
        pin: str | None = None,
        skip_origins: Collection[str] = (),
        also: Waits = NOBODY,
    ) -> PoolError:
        """The error for a pick that found nobody (C5.12 with O15, O16); `model` is the requested name, for its text.

        `CoolingDown` when everybody waits for a time and a rate limit is among the reasons; it names the provider when
        exactly one was asked (O8). `Unavailable` when somebody waits, or only the operator's switch is in the way.
        `NoCredential` when nobody is eligible at all. `also` is what those wait for whom the caller itself left out.
        """
        passes = Filter(tried, skip_origins) if tried or skip_origins else None
        keys = normal(tuple(providers)).listed
        return self._waits(keys, base, now, pin, passes).beside(also).refusal(model, keys)

    def soonest(
        self,
        providers: Sequence[str],
        base: str,
        now: float,
        *,
        tried: Collection[str] = (),
        pin: str | None = None,
        may_retry: Callable[[int | None], bool] | None = None,
    ) -> float | None:
        """POSIX seconds of the soonest recovery of a credential that could serve this ask (O39), None for none.

        Only those that wait count: one that is ready and was tried in vain is no reason to wait. `may_retry` says of
        the retries that a credential asks for (C1.11), None for the global count, whether they are worth a wait.
        """
        keys = normal(tuple(providers)).listed
        if may_retry is not None and not may_retry(None):
            eager = [
                id for id, own in self._retries.items() if may_retry(own) and pin in {None, id} and id not in tried
            ]
            waits = [waits_of_entry(entry, now) for id in eager if (entry := self._entry(keys, base, id, now))]
            return earliest(*(one.soonest for one in waits))
        if may_retry is not None and self._retries:
            tried = {*tried, *(id for id, own in self._retries.items() if not may_retry(own))}
        return self._waits(keys, base, now, pin, Filter(tried, ()) if tried else None).soonest

    # -- looking at it

    def is_last_ready(self, id: str, base: str, providers: Sequence[str], now: float) -> bool:
        """Whether no credential but `id` is ready for this base name (design 16: the last ready member stays)."""
        keys = normal(tuple(providers)).listed
        ready = sum(shard.ready for shard in self._consult(keys, base, now))
        own = self._entry(keys, base, id, now) if ready == 1 else None
        return not ready or (own is not None and own.admitted)

    def ready_count(self, provider: str, base: str, now: float) -> int:
        """How many credentials of a provider are ready for a base name (O60, O61). Builds no group."""
        roster = self._rosters.get(provider.strip().lower())
        return 0 if roster is None else roster.ready_count(base, now)

    def blocked_count(self, provider: str, base: str, now: float) -> int:
        """How many cannot serve a base name for another reason than a rate limit (C16.5 with O60). Builds no group."""
        roster = self._rosters.get(provider.strip().lower())
        return 0 if roster is None else roster.blocked_count(base, now)

    def probes(self) -> bool:
        """Whether a credential is being probed that is ready but for that."""
        return any(shard.held for roster in self._rosters.values() for shard in roster.groups)

    def groups(self, providers: Sequence[str], base: str, now: float) -> Sequence[Shard]:
        """The groups that such a pick looks into, as they stand now; to be read, and only until the next change."""
        return self._consult(normal(tuple(providers)).listed, base, now)

    def statistics(self) -> ScheduleStatistics:
        """How many stand where; a sum over all groups."""
        shards = [shard for roster in self._rosters.values() for shard in roster.groups]
        return ScheduleStatistics(
            credentials=len(self._members),
            groups=len(shards),
            entries=sum(len(member.entries) for member in self._members.values()),
            ready=sum(shard.ready for shard in shards),
            cooling=sum(len(shard.cooling) for shard in shards),
            blocked=sum(len(shard.blocked) for shard in shards),
            off=sum(len(shard.off) for shard in shards),
            probing=sum(len(shard.held) for shard in shards),
        )

    def _roster(self, provider: str) -> Roster:
        roster = self._rosters.get(provider)
        if roster is None:
            roster = self._rosters[provider] = Roster(provider)
        return roster

    def _leave(self, member: Member) -> None:
        """Take a member out of its provider's roster; an empty roster goes too."""
        roster = self._rosters[member.credential.provider]
        roster.drop(member)
        if not roster.members:
            del self._rosters[roster.provider]

    def _consult(self, providers: Sequence[str], base: str, now: float) -> list[Shard]:
        """The groups of these providers, promoted, in their order; those that do not exist are left out."""
        rosters = self._rosters
        if len(providers) == 1:  # most picks: half a microsecond less
            roster = rosters.get(providers[0])
            shard = None if roster is None else roster.group(base, now)
            return [] if shard is None else [shard]
        return [
            shard
            for provider in providers
            if (roster := rosters.get(provider)) is not None and (shard := roster.group(base, now)) is not None
        ]

    def _entry(self, providers: Sequence[str], base: str, id: str, now: float) -> Entry | None:
        """The entry of one credential, promoted; None when it is unknown, of another provider or serves other names."""
        member = self._members.get(id)
        if member is None or member.credential.provider not in providers:
            return None
        self._rosters[member.credential.provider].group(base, now)
        return member.entries.get(base)

    def _passing(self, providers: Sequence[str], base: str, id: str, now: float, passes: Filter | None) -> Entry | None:
        """The same, if it is ready and passes."""
        entry = self._entry(providers, base, id, now)
        return entry if entry is not None and entry.admitted and (passes is None or passes(entry)) else None

    def _waits(self, providers: Sequence[str], base: str, now: float, pin: str | None, passes: Filter | None) -> Waits:
        if pin is None:
            return waits_of_groups(self._consult(providers, base, now), passes, now)
        entry = self._entry(providers, base, pin, now)
        return NOBODY if entry is None or (passes and not passes(entry)) else waits_of_entry(entry, now)


def _own(candidate: Candidate) -> Entry:
    if not isinstance(candidate, Entry):
        refuse(f"a candidate comes from the ready view, not {type(candidate).__name__}", "candidate")
    return candidate


def _highest(shards: Sequence[Shard], passes: Filter | None) -> Tier[Entry] | None:
    """The highest tier over all these groups with a ready entry that passes (C5.8, C5.10.3)."""
    best = None
    for shard in shards:
        tier = shard.best(passes)
        if tier is not None and (best is None or tier.priority > best.priority):
            best = tier
    return best
