"""A credential as the schedule knows it: one member, and one entry for each group it stands in."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from turnout._readings import priority, virtual_parent, websockets
from turnout._standing import READY, Standing, blocked
from turnout._tier import Tier
from turnout._values import Credential, CredentialState, Remaining

RECENT: Final = 0.2
"""Weight of the newest call in the moving average of latencies: about the last ten calls count."""


class Seat(NamedTuple):
    """What a credential's configuration says about where it stands; who changes it is seated anew."""

    priority: int
    parent: str
    origin: str
    websockets: bool


def seat_of(credential: Credential) -> Seat:
    """Read a credential's seat (C1.12)."""
    return Seat(priority(credential), virtual_parent(credential), credential.origin, websockets(credential))


class Member:
    """One credential: what its entries share.

    Attributes:
        serves: base name to the recorded names that decide; the empty name is understood.
        in_flight: calls that it serves right now, over all models.
        entries: by base name, in the groups that have been built.
        probes: recorded names of which a probe runs, each with the entry that it was picked from (design 8).
    """

    __slots__ = ("_by_recorded", "credential", "entries", "in_flight", "key", "probes", "seat", "serves", "state")

    def __init__(self, credential: Credential, state: CredentialState) -> None:
        self.key = credential.id
        self.credential = credential
        self.state = state
        self.seat = seat_of(credential)
        self.serves: Mapping[str, tuple[str, ...]] = {}
        self.in_flight = 0
        self.entries: dict[str, Entry] = {}
        self.probes: dict[str, Entry] = {}
        self._by_recorded: dict[str, list[Entry]] = {}

    def recorded(self, base: str) -> tuple[str, ...] | None:
        """The names that decide about `base`, None when it is not served (C5.3)."""
        return self.serves.get(base) if base else ("",)

    def depending_on(self, recorded: str) -> Sequence["Entry"]:
        """Entries that an outcome under this name concerns; the empty name's sees the aggregate of all (C10.7)."""
        own = self._by_recorded.get(recorded, ())
        return [*own, *self._by_recorded[""]] if recorded and "" in self._by_recorded else own

    def named(self, recorded: str) -> Sequence["Entry"]:
        """Entries that a probe of this name concerns."""
        return self._by_recorded.get(recorded, ())

    def holds(self, recorded: Sequence[str], *, half: bool) -> bool:
        """Whether running probes keep a group that depends on these names from a credential that is half open for it.

        A pool is probed through one member at a time, whoever asks for that.
        """
        return half and bool(self.probes) and any(name in self.probes for name in recorded)

    def add(self, entry: "Entry", recorded: tuple[str, ...]) -> None:
        """Take note of an entry and of the names it depends on."""
        entry.recorded = recorded
        self.entries[entry.base] = entry
        for name in recorded:
            self._by_recorded.setdefault(name, []).append(entry)

    def drop(self, entry: "Entry") -> None:
        """Forget an entry."""
        del self.entries[entry.base]
        for name in entry.recorded:
            self._by_recorded[name].remove(entry)
            if not self._by_recorded[name]:
                del self._by_recorded[name]


class Entry:
    """One credential in one group (C5.4). Towards selectors it is an `abc.Candidate`.

    Attributes:
        family: virtual parent.
        site: origin.
        provider: key of its group's provider; it stays when the credential moves to another one.
        tier: where it stands in its group, None when it has left that.
        admitted: it is among the ready ones of its tier.
        place: its number in the heap of those that wait, 0 when it does not.
        remaining: what the newest answer said is left of its limits for this model; None when none said anything.
    """

    __slots__ = (
        "admitted",
        "average",
        "base",
        "due",
        "family",
        "half",
        "key",
        "kind",
        "member",
        "place",
        "provider",
        "recorded",
        "remaining",
        "site",
        "tier",
        "until",
        "websockets",
    )

    def __init__(self, member: Member, provider: str, base: str) -> None:
        self.member = member
        self.key = member.key
        self.sit(member.seat)
        self.provider = provider
        self.base = base
        self.recorded: tuple[str, ...] = ()
        self.tier: Tier[Entry] | None = None
        self.admitted = False
        self.place = 0
        self.average: float | None = None
        self.remaining: Remaining | None = None
        self.assume(READY)

    def sit(self, seat: Seat) -> None:
        """Take over what the configuration says; only while it stands nowhere."""
        self.family, self.site, self.websockets = seat.parent, seat.origin, seat.websockets

    def judge(self, now: float) -> Standing:
        """How the credential stands towards this group now (C4)."""
        member = self.member
        return blocked(member.credential, member.state, self.recorded, now)

    def assume(self, standing: Standing) -> None:
        """Take over a standing."""
        self.kind, until, due, self.half = standing
        self.due = due or 0.0
        self.until = until or 0.0

    def took(self, seconds: float) -> None:
        """Feed the moving average of latencies."""
        before = self.average
        self.average = seconds if before is None else before + RECENT * (seconds - before)

    @property
    def id(self) -> str:
        """Id of the credential."""
        return self.key

    @property
    def priority(self) -> int:
        """Its tier."""
        return self.member.seat.priority

    @property
    def parent(self) -> str:
        """Its virtual parent, empty when it has none."""
        return self.member.seat.parent

    @property
    def attributes(self) -> Mapping[str, str]:
        """The credential's attributes."""
        return self.member.credential.attributes

    @property
    def in_flight(self) -> int:
        """Calls that the credential serves right now, over all models."""
        return self.member.in_flight

    @property
    def latency(self) -> float | None:
        """Moving average in seconds for this provider and model; None before the first call."""
        return self.average
