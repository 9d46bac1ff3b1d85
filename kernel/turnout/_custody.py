"""Custody: which credentials exist and what is known about them, as snapshots that are replaced as a whole.

The schedule and the catalogue are kept in step here, at the only places where a snapshot changes, so they never need
a rebuild (O11, O12). What changed is marked; `_write_behind` brings it to the store.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import trio

from turnout._affinity import KEPT_FOR, Affinity
from turnout._catalogue import Catalogue
from turnout._ledger_renewals import entries, freed, is_refusal
from turnout._renewal import another_secret, mark_of, mark_of_tokens
from turnout._schedule import Schedule
from turnout._shift import shifted
from turnout._values import CLEAN, Credential, CredentialState

Serves = Mapping[str, tuple[str, ...]]
"""Base name that clients ask for -> recorded names whose states decide."""

SPENT = 8
"""Tokens of one credential that are remembered as replaced: more than can be replaced while saves get lost."""


def is_kept(credential: Credential, kind: str) -> bool:
    """Whether a store keeps this record (C3.7, O18): secrets only of credentials that have metadata, states of all."""
    if credential.attributes.get("runtime_only", "").strip().lower() == "true":
        return False
    return kind == "state" or credential.metadata is not None


class Dirty:
    """Records that the store does not have yet: (kind, credential id), in the order in which they changed.

    Attributes:
        marks: those that wait to be written.
    """

    __slots__ = ("_changed", "_writing", "_written", "marks")

    def __init__(self) -> None:
        self.marks: dict[tuple[str, str], None] = {}
        self._writing: set[tuple[str, str]] = set()
        self._changed = trio.Event()
        self._written = trio.Event()

    def mark(self, kind: str, id: str) -> None:
        """Say that this record differs from what the store has; `state` or `secret`."""
        self.marks[kind, id] = None
        self._changed.set()

    def unsaved(self, kind: str, id: str) -> bool:
        """Whether a change of this record waits to be written, or is being written."""
        return (kind, id) in self.marks or (kind, id) in self._writing

    @contextmanager
    def writing(self, kind: str, id: str) -> Iterator[None]:
        """Write a marked record in this block; what changes meanwhile is marked anew, what raises stays marked."""
        self.marks.pop((kind, id), None)
        self._writing.add((kind, id))
        try:
            yield
        except BaseException:
            self.mark(kind, id)
            raise
        finally:
            self._writing.discard((kind, id))
            self._written.set()
            self._written = trio.Event()

    async def wait_saved(self, kind: str, id: str) -> None:
        """Wait until no change of this record is unsaved."""
        while self.unsaved(kind, id):
            await self._written.wait()

    async def wait_marked(self) -> None:
        """Wait until something is marked."""
        if not self.marks:
            self._changed = trio.Event()
        await self._changed.wait()


class Custody:
    """The credentials of one kernel, with their states. Single-threaded: every method is one step.

    Attributes:
        credentials: by id.
        states: by id; every credential has one.
        stored: by id, credentials as the store has them, as far as that is known.
        spent: by id, marks of the last tokens that this process has replaced by others.
        changed: hears the id of every credential that was put or removed.
        moved: seconds by which the clock has jumped so far.
        jumped: when it did so last, on Trio's clock; minus infinity when it never has.
        turns: by id, whose turn it is in each of its pools, by `pool_key` (C7.8).
        listed: model names that upstreams listed, by credential id, where the configuration lists none.
    """

    __slots__ = (
        "_serves",
        "affinity",
        "catalogue",
        "changed",
        "credentials",
        "dirty",
        "jumped",
        "keepers",
        "listed",
        "moved",
        "now",
        "schedule",
        "spent",
        "states",
        "stored",
        "turns",
    )

    def __init__(
        self, *, schedule: Schedule, catalogue: Catalogue, affinity: Affinity, now: Callable[[], float]
    ) -> None:
        self.schedule = schedule
        self.catalogue = catalogue
        self.affinity = affinity
        self.keepers = Affinity(ttl=KEPT_FOR)
        self.dirty = Dirty()
        self.credentials: dict[str, Credential] = {}
        self.states: dict[str, CredentialState] = {}
        self.stored: dict[str, Credential] = {}
        self.spent: dict[str, deque[str]] = {}
        self.listed: dict[str, tuple[str, ...]] = {}
        self._serves: dict[str, Serves] = {}
        self.now = now
        self.moved = 0.0
        self.jumped = -math.inf
        self.turns: dict[str, dict[tuple[str, str, str], int]] = {}
        self.changed: Callable[[str], None] = _nobody_cares

    def put(
        self,
        credential: Credential,
        *,
        state: CredentialState | None = None,
        serves: Serves | None = None,
        kept: bool = False,
    ) -> None:
        """Take a credential in, or replace its snapshot. None keeps what is known: its state, what it serves.

        `kept` says that the store has this very snapshot already.
        """
        id = credential.id
        before = self.credentials.get(id)
        self.credentials[id] = credential
        self.states[id] = state if state is not None else self.states.get(id, CLEAN)
        self._free_new_secret(before, credential)
        if serves is not None or id not in self._serves:
            self._serves[id] = serves or {}
        if before is not None and (credential.disabled or before.provider != credential.provider):
            self.affinity.forget_credential(id)
        if before is not None and before.provider != credential.provider:
            self.keepers.forget_credential(id)
        self._announce(credential)
        if kept:
            self.stored[id] = credential
        elif is_kept(credential, "secret"):
            self.dirty.mark("secret", id)
        self.changed(id)

    def _free_new_secret(self, before: Credential | None, credential: Credential) -> None:
        """What an old secret had blocked is free with a new one, whoever brought it: a refusal was not about that."""
        id, state = credential.id, self.states[credential.id]
        if state is CLEAN:
            return
        if outdated(state, credential) or (before is not None and another_secret(before, credential)):
            after = freed(state, self._known_since(before, credential, state))
            if after is not state:
                self.states[id] = after
                self.dirty.mark("state", id)

    def _known_since(self, before: Credential | None, credential: Credential, state: CredentialState) -> float:
        """When the old secret was free of what it had blocked: at once, if the new one came by a renewal, else now.

        Who hears late of a renewal must not outweigh what others have said of the new secret since then (E7), and no
        clock tells when that was (G8).
        """
        renewed = before is not None and credential.last_refreshed_at not in {None, before.last_refreshed_at}
        return state.updated_at if renewed and state.updated_at is not None else self.now()

    def _announce(self, credential: Credential) -> None:
        serves = self._serves[credential.id]
        if credential.disabled:
            self.catalogue.unregister(credential.id)
        else:
            self.catalogue.register(credential.id, credential.provider, serves)
        self.schedule.upsert(credential, self.states[credential.id], serves, self.now())

    def spend(self, credential: Credential) -> None:
        """Remember that this process has replaced these tokens."""
        self.spent.setdefault(credential.id, deque(maxlen=SPENT)).append(mark_of_tokens(credential))

    def serve(self, id: str, serves: Serves, listed: tuple[str, ...] = ()) -> None:
        """Replace what a credential serves; `listed` is what its upstream said, to be remembered over a reload."""
        self._serves[id] = serves
        if listed:
            self.listed[id] = listed
        self._announce(self.credentials[id])

    def recorded(self, id: str, base: str) -> tuple[str, ...]:
        """Names whose states decide whether a credential may serve a base name; none when it does not serve it."""
        return self._serves[id].get(base, ())

    def remove(self, id: str, *, forget: bool = True) -> None:
        """Let go of a credential and of everything derived from it (O18); `forget` removes it from the store, too."""
        del self.credentials[id], self.states[id], self._serves[id]
        self.listed.pop(id, None)
        self.turns.pop(id, None)
        self.stored.pop(id, None)
        self.spent.pop(id, None)
        self.catalogue.unregister(id)
        self.schedule.remove(id)
        self.affinity.forget_credential(id)
        self.keepers.forget_credential(id)
        if forget:
            self.dirty.mark("secret", id)
            self.dirty.mark("state", id)
        self.changed(id)

    def shift(self, by: float) -> None:
        """The clock has jumped by so many seconds: cooldowns keep their remaining length, expiries are judged anew."""
        self.moved += by
        self.jumped = trio.current_time()
        for id, state in list(self.states.items()):
            after = shifted(state, by)
            if after is not state:
                self.settle(id, after, None)
            self.changed(id)

    def settle(self, id: str, state: CredentialState, recorded: str | None, *, kept: bool = False) -> None:
        """Put a credential's new state in force; `recorded` names the model it is about, None for all of them.

        `kept` says that the store has this very state already.
        """
        self.states[id] = state
        self.schedule.update(id, state, recorded, self.now())
        if not kept:
            self.dirty.mark("state", id)


def outdated(state: CredentialState, credential: Credential) -> bool:
    """Whether what was refused is another secret than the credential has now."""
    if not state.refused or not (state.needs_login or any(map(is_refusal, entries(state)))):
        return False
    return state.refused != mark_of(credential)


def _nobody_cares(id: str) -> None:
    pass
