"""The schedule with the ledger, step by step beside a model that is written for clarity and not for speed."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from turnout import (
    Credential,
    CredentialState,
    Done,
    Failed,
    InvalidRequest,
    Metadata,
    ModelMissing,
    ModelState,
    Outcome,
    RateLimited,
    Status,
    Transient,
    Verdict,
)
from turnout._entry import Entry
from turnout._ledger import Policy, record
from turnout._schedule import Schedule
from turnout._values import CLEAN
from turnout.abc import Candidate
from turnout.errors import CoolingDown, NoCredential, Unavailable

POLICY = Policy()
IDS = [f"c{number}" for number in range(7)]
PROVIDERS = ["p", "q"]
NAMES = ["x", "y"]
SERVES: list[Mapping[str, tuple[str, ...]]] = [
    {"x": ("x",), "y": ("y",)},
    {"x": ("x",), "pool": ("x", "y")},
    {"x": ("x",), "pool": ("y",)},
    {},
]
BASES = ["", "x", "y", "pool"]
VERDICTS: list[Verdict] = [
    Done(),
    RateLimited(),
    RateLimited(retry_after=3.0),
    Transient(),
    ModelMissing(),
    InvalidRequest(),
    Failed(),
]
CREDENTIALS = st.builds(
    lambda name, provider, priority, parent, websockets, origin, disabled: Credential(
        id=name,
        provider=provider,
        origin=origin,
        disabled=disabled,
        attributes={"priority": str(priority), "gemini_virtual_parent": parent},
        metadata=Metadata({"websockets": websockets}),
    ),
    name=st.sampled_from(IDS),
    provider=st.sampled_from(["p", "p", "p", "q"]),
    priority=st.sampled_from([0, 0, 0, 5]),
    parent=st.sampled_from(["a", "a", "b", "b", "b", "c", ""]),
    websockets=st.sampled_from([False, False, True]),
    origin=st.sampled_from(["https://one:443", "https://two:443"]),
    disabled=st.sampled_from([False] * 9 + [True]),
)
Running = tuple[Candidate, str, bool]
"""A call under way: whom it was given, under which name its outcome is recorded, and whether it is a probe."""

SOME: st.SearchStrategy[list[str]] = st.just([]) | st.lists(st.sampled_from(IDS), max_size=3)


@attrs.define
class Known:
    """A credential as the model knows it."""

    credential: Credential
    state: CredentialState
    serves: Mapping[str, tuple[str, ...]]

    @property
    def priority(self) -> int:
        return int(self.credential.attributes["priority"])

    @property
    def parent(self) -> str:
        return self.credential.attributes["gemini_virtual_parent"]

    @property
    def websockets(self) -> bool:
        return bool(self.credential.metadata and self.credential.metadata["websockets"])

    def names(self, base: str) -> Sequence[str] | None:
        return self.serves.get(base) if base else []


def standing(known: Known, base: str, now: float) -> tuple[str, float]:
    """C4 in the plainest words: ready, half, cooling, blocked or off, and until when."""
    if known.state.status is Status.DISABLED:
        return "off", 0
    if not base:
        return whole_standing(known.state, now)
    found = [one_standing(known.state.models.get(name), now) for name in known.serves[base]]
    for kind in ("ready", "half"):
        if (kind, 0) in found:
            return kind, 0
    times = [time for kind, time in found if kind != "off"]
    if not times:
        return "off", 0
    return ("cooling" if any(kind == "cooling" for kind, _ in found) else "blocked"), min(times)


def whole_standing(state: CredentialState, now: float) -> tuple[str, float]:
    if not state.unavailable or state.next_retry_after is None:
        return "ready", 0
    if state.next_retry_after <= now:
        return "half", 0
    return ("cooling" if state.quota.exceeded else "blocked"), state.next_retry_after


def one_standing(state: ModelState | None, now: float) -> tuple[str, float]:
    if state is None:
        return "ready", 0
    if state.status is Status.DISABLED:
        return "off", 0
    over = state.next_retry_after
    if state.unavailable and over is not None and over > now:
        return ("cooling" if state.quota.exceeded else "blocked"), over
    was_blocked = over is not None if state.unavailable else state.status is Status.ERROR
    return ("half" if was_blocked else "ready"), 0


def behind(keys: Collection[str], mark: str) -> list[str]:
    """These in order, from behind the mark round the end."""
    return sorted(keys, key=lambda key: (key <= mark, key))


class Marks:
    """What a rotation remembers: the last id, the last parent, and the last id of each parent."""

    def __init__(self) -> None:
        self.id = ""
        self.parent = ""
        self.inside: dict[str, str] = {}

    def choose(self, ready: list[Known], passing: list[Known]) -> str | None:
        parents = {known.parent for known in ready}
        if "" in parents or len(parents) < 2:
            return next(iter(behind([known.credential.id for known in passing], self.id)), None)
        for parent in behind(parents, self.parent):
            members = [known.credential.id for known in passing if known.parent == parent]
            if members:
                return behind(members, self.inside.get(parent, ""))[0]
        return None


class Machine(RuleBasedStateMachine):
    calls = Bundle("calls")

    @initialize(half_open=st.booleans(), everybody=st.lists(CREDENTIALS, min_size=4, max_size=10))
    def begin(self, half_open: bool, everybody: list[Credential]) -> None:
        self.schedule = Schedule(half_open=half_open)
        self.half_open = half_open
        self.now = 1000.0
        self.known: dict[str, Known] = {}
        self.marks: dict[tuple[str, str, int, bool], Marks] = {}
        self.turns: dict[tuple[frozenset[str], str], str] = {}
        self.probes: dict[tuple[str, str], Candidate] = {}
        self.in_flight: dict[str, int] = {}
        for credential in everybody:
            self.upsert(credential, SERVES[1])

    # -- the model

    def group(self, providers: Sequence[str], base: str) -> list[Known]:
        return [
            known
            for provider in providers
            for _, known in sorted(self.known.items())
            if known.credential.provider == provider and known.names(base) is not None
        ]

    def held(self, known: Known, base: str) -> bool:
        """Design 8: one probe of a name at a time, by whatever alias; a pool is probed through one member at a time."""
        probed = any((known.credential.id, name) in self.probes for name in known.names(base) or [""])
        return probed and standing(known, base, self.now)[0] == "half"

    def callable_names(self, known: Known, base: str) -> list[str]:
        """Names of a pool that may be called now: those that nobody else probes."""
        if not base:
            return [""]
        found = {name: one_standing(known.state.models.get(name), self.now)[0] for name in known.serves[base]}
        id = known.credential.id
        return [
            name
            for name, kind in found.items()
            if kind == "ready" or (kind == "half" and (id, name) not in self.probes)
        ]

    def ready(self, known: Known, base: str) -> bool:
        return standing(known, base, self.now)[0] in {"ready", "half"} and not self.held(known, base)

    def marks_of(self, known: Known, base: str, websocket: bool) -> Marks:
        return self.marks.setdefault((known.credential.provider, base, known.priority, websocket), Marks())

    def forget(self) -> None:
        """A group that nobody is in any more takes its marks along, and so does a parent without members."""
        for (provider, base, priority, websocket), marks in list(self.marks.items()):
            members = self.group([provider], base)
            if not members:
                del self.marks[provider, base, priority, websocket]
                continue
            parents = {
                known.parent for known in members if known.priority == priority and (known.websockets or not websocket)
            }
            marks.inside = {parent: id for parent, id in marks.inside.items() if parent in parents}

    def expected(
        self, providers: Sequence[str], base: str, passing: list[Known], priority: int, websocket: bool
    ) -> tuple[list[str], str]:
        """Ids of a tier in order, and the one whose turn it is."""
        tier = [known for known in passing if known.priority == priority]
        sockets = websocket and any(known.websockets for known in tier)
        tier = [known for known in tier if known.websockets or not sockets]
        last = self.turns.get((frozenset(providers), base))
        order = list(providers)
        if last is not None and len(order) > 1:
            turn = order.index(last) + 1
            order = order[turn:] + order[:turn]
        for provider in order:
            own = [known for known in tier if known.credential.provider == provider]
            if own:
                ready = [
                    known
                    for known in self.group([provider], base)
                    if known.priority == priority and self.ready(known, base) and (known.websockets or not sockets)
                ]
                choice = self.marks_of(own[0], base, sockets).choose(ready, own)
                assert choice is not None
                return [known.credential.id for known in tier], choice
        raise AssertionError(tier)

    # -- what happens

    @rule(credential=CREDENTIALS, serves=st.sampled_from(SERVES))
    def change(self, credential: Credential, serves: Mapping[str, tuple[str, ...]]) -> None:
        self.upsert(credential, serves)

    def upsert(self, credential: Credential, serves: Mapping[str, tuple[str, ...]]) -> None:
        before = self.known.get(credential.id)
        state = before.state if before else CLEAN
        self.schedule.upsert(credential, state, serves, self.now)
        if credential.disabled:
            self.leave(credential.id)
            return
        if before and before.credential.provider != credential.provider:
            self.end_probes(credential.id)
        self.in_flight.setdefault(credential.id, 0)
        self.known[credential.id] = Known(credential, state, serves)
        self.forget()

    @rule(id=st.sampled_from(IDS))
    def remove(self, id: str) -> None:
        self.schedule.remove(id)
        self.leave(id)

    def leave(self, id: str) -> None:
        self.known.pop(id, None)
        self.in_flight.pop(id, None)
        self.end_probes(id)
        self.forget()

    def end_probes(self, id: str) -> None:
        self.probes = {probe: candidate for probe, candidate in self.probes.items() if probe[0] != id}

    @rule(id=st.sampled_from(IDS), model=st.sampled_from([*NAMES, ""]), verdict=st.sampled_from(VERDICTS))
    def outcome(self, id: str, model: str, verdict: Verdict) -> None:
        known = self.known.get(id)
        if known is None:
            return
        outcome = Outcome(credential=id, provider=known.credential.provider, model=model, verdict=verdict)
        known.state = record(known.state, outcome, self.now, POLICY).state
        self.schedule.update(id, known.state, model, self.now)

    @rule(id=st.sampled_from(IDS), name=st.sampled_from(NAMES))
    def switch_off(self, id: str, name: str) -> None:
        known = self.known.get(id)
        if known is None:
            return
        models = {**known.state.models, name: ModelState(status=Status.DISABLED)}
        known.state = attrs.evolve(known.state, models=models)
        self.schedule.update(id, known.state, None, self.now)

    @rule(id=st.sampled_from(IDS))
    def reset(self, id: str) -> None:
        if id in self.known:
            self.known[id].state = CLEAN
            self.schedule.update(id, CLEAN, None, self.now)

    @rule(seconds=st.sampled_from([0.5, 1, 3, 59, 60, 50_000]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(
        target=calls,
        providers=st.sampled_from([["p"], ["p"], ["p", "q"], ["q", "p"]]),
        base=st.sampled_from(["x", "x", *BASES]),
        tried=SOME,
        origins=st.sampled_from([[], [], [], ["https://one:443"]]),
        websocket=st.sampled_from([False, False, True]),
        prefer=st.none() | st.sampled_from(IDS),
        first=st.sampled_from([False, False, True]),
    )
    def one(
        self,
        providers: list[str],
        base: str,
        tried: list[str],
        origins: list[str],
        websocket: bool,
        prefer: str | None,
        first: bool,
    ) -> Running | None:
        return self.pick(providers, base, tried, origins, websocket=websocket, prefer=prefer, first=first)

    def pick(
        self,
        providers: list[str],
        base: str,
        tried: Collection[str] = (),
        origins: Collection[str] = (),
        *,
        websocket: bool = False,
        prefer: str | None = None,
        first: bool = False,
    ) -> Running | None:
        passing = [
            known
            for known in self.group(providers, base)
            if self.ready(known, base) and known.credential.id not in tried and known.credential.origin not in origins
        ]
        view = self.schedule.ready(
            providers, base, self.now, tried=tried, prefer=prefer, websocket=websocket, skip_origins=origins
        )
        if not passing:
            assert view is None
            self.refused(providers, base, tried, origins)
            return None
        assert view is not None
        priorities = sorted({known.priority for known in passing}, reverse=True)
        assert [tier.priority for tier in view.tiers] == priorities
        for tier in (view.best, *view.tiers):
            ids, turn = self.expected(providers, base, passing, tier.priority, websocket)
            assert [candidate.id for candidate in tier] == ids
            assert (tier.first().id, tier.following().id) == (ids[0], turn)
        wished = [known for known in passing if known.credential.id == prefer and known.priority == priorities[0]]
        assert (view.preferred and view.preferred.id) == (prefer if wished else None)
        choice = view.best.first() if first else view.best.following()
        return self.call(choice, providers, base, single=False)

    @rule(providers=st.sampled_from([["p"], ["q", "p"]]), base=st.sampled_from(BASES), count=st.integers(2, 6))
    def several(self, providers: list[str], base: str, count: int) -> None:
        """Calls that end at once: they move nothing but the rotation."""
        for _ in range(count):
            self.end(self.pick(providers, base))

    @rule(target=calls, id=st.sampled_from(IDS), base=st.sampled_from(BASES), websocket=st.booleans())
    def pin(self, id: str, base: str, websocket: bool) -> Running | None:
        view = self.schedule.ready(PROVIDERS, base, self.now, pin=id, websocket=websocket)
        known = self.known.get(id)
        if known is None or known.names(base) is None or not self.ready(known, base):
            assert view is None
            return None
        assert view is not None
        assert [candidate.id for candidate in view.best] == [id]
        return self.call(view.best.following(), PROVIDERS, base, single=True)

    def call(self, choice: Candidate, providers: Sequence[str], base: str, *, single: bool) -> Running:
        known = self.known[choice.id]
        self.schedule.chosen(choice)
        for websocket in {False, known.websockets}:
            marks = self.marks_of(known, base, websocket)
            marks.id = choice.id
            if known.parent:
                marks.parent = known.parent
                marks.inside[known.parent] = choice.id
        if len(providers) > 1 and not single:
            self.turns[frozenset(providers), base] = choice.provider
        name = self.callable_names(known, base)[self.in_flight[choice.id] % 2 - 1]
        assert not self.schedule.is_probed(choice.id, name)
        probe = self.schedule.begin(choice, name)
        kind = one_standing(known.state.models.get(name), self.now) if name else whole_standing(known.state, self.now)
        assert probe is (self.half_open and kind[0] == "half")
        if probe:
            self.probes[choice.id, name] = choice
            assert self.schedule.is_probed(choice.id, name)
        self.in_flight[choice.id] += 1
        assert choice.in_flight == self.in_flight[choice.id]
        return choice, name, probe

    def refused(self, providers: Sequence[str], base: str, tried: Collection[str], origins: Collection[str]) -> None:
        error = self.schedule.why_not(providers, base, self.now, model=base, tried=tried, skip_origins=origins)
        passing = [
            (self.now + 1, "cooling") if self.held(known, base) else standing(known, base, self.now)[::-1]
            for known in self.group(providers, base)
            if known.credential.id not in tried and known.credential.origin not in origins
        ]
        times = [time for time, kind in passing if kind != "off"]
        if not passing:
            assert type(error) is NoCredential
        elif any(kind == "cooling" for _, kind in passing) and len(times) == len(passing):
            assert type(error) is CoolingDown
        else:
            assert type(error) is Unavailable
        assert error.until == min(times, default=None)
        if not origins:
            assert self.schedule.soonest(providers, base, self.now, tried=tried) == error.until

    @rule(call=consumes(calls))
    def hang_up(self, call: Running | None) -> None:
        self.end(call)

    def end(self, call: Running | None) -> None:
        if call is None:
            return
        candidate, name, probe = call
        running = candidate.in_flight
        self.schedule.end(candidate, name, probe_over=probe)
        assert candidate.in_flight == running - 1
        member = self.schedule._members.get(candidate.id)
        assert isinstance(candidate, Entry)
        if member is not candidate.member:
            return  # that credential has left; one of the same id has come
        self.in_flight[candidate.id] -= 1
        if probe and self.probes.get((candidate.id, name)) is candidate:
            del self.probes[candidate.id, name]

    # -- what always holds

    @invariant()
    def nobody_is_picked_blocked_or_benched_past_the_time(self) -> None:
        for provider in PROVIDERS:
            for base in BASES:
                ready = sum(self.ready(known, base) for known in self.group([provider], base))
                assert self.schedule.ready_count(provider, base, self.now) == ready

    @invariant()
    def everybody_is_counted_once(self) -> None:
        groups = [shard for roster in self.schedule._rosters.values() for shard in roster.groups]
        for shard in groups:
            shard.promote(self.now)
        seen = self.schedule.statistics()
        kinds = Counter(
            "probing" if self.held(known, shard.base) else standing(known, shard.base, self.now)[0]
            for shard in groups
            for known in self.group([shard.provider], shard.base)
        )
        ready = kinds["ready"] + kinds["half"]
        assert (seen.ready, seen.cooling, seen.blocked) == (ready, kinds["cooling"], kinds["blocked"])
        assert (seen.off, seen.probing, seen.entries) == (kinds["off"], kinds["probing"], kinds.total())

    @invariant()
    def the_last_ready_one_is_known(self) -> None:
        ready = {known.credential.id for known in self.group(PROVIDERS, "x") if self.ready(known, "x")}
        for id in IDS:
            assert self.schedule.is_last_ready(id, "x", PROVIDERS, self.now) is (ready <= {id})


Machine.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestScheduleBesideAModel = Machine.TestCase
