"""Brings what changed in custody to the store: coalesced, in the background, and once more at the end (O19, O20).

Where others write to the store as well, what they changed comes back the same way: it is watched, and read when a save
finds that somebody came between; then both changes are joined, and none is lost.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from functools import partial
from logging import getLogger
from typing import Any

import trio

from turnout._affinity_records import AFFINITY, KEEPERS, encode_preferences
from turnout._aggregate import clear
from turnout._custody import Custody, is_kept
from turnout._known_records import KnownRecords
from turnout._plugin_calls import offers, plugin_code
from turnout._records import decode_credential, encode_credential, encode_state
from turnout._values import CredentialState, ModelState, Record, Status
from turnout.abc import Change, Reader, Store, Watcher
from turnout.errors import PluginError, StoreConflict, StoreError

COALESCE = 0.5
"""Seconds between two rounds: changes that come together are written once."""

AFFINITY_PACE = 5.0
"""Seconds for which preferences of sessions are gathered before they are kept: other nodes hear of them that late."""

RETRY_FLOOR, RETRY_CAP = 1.0, 2.0
"""Seconds until a failed round is tried again, doubled each time: what was away is caught up with in 5 s (G2)."""

TRIES = 5
"""How often a record is written while others keep coming between."""

LAST_PATIENCE = 20
"""Records that the store may refuse when the kernel closes; until then the others get their turn."""

LIST_LIMIT = 60.0
"""Seconds that listing every record may take (acceptance H9): at the start nobody is served before."""

STORE_LIMIT = 2.0
"""Seconds that one call of the store may take (acceptance G3)."""

log = getLogger("turnout.store")


class WriteBehind:
    """Writes dirty records of one custody to one store.

    Attributes:
        failing: the last write did not succeed.
    """

    def __init__(
        self,
        custody: Custody,
        store: Store,
        name: str,
        *,
        failed: Callable[[str, str, str], Any],
        follow: Callable[[Sequence[Change]], Any],
    ) -> None:
        self._custody = custody
        self._follow = follow
        self.store = store
        self.border = plugin_code("turnout.stores", name)
        self._name = name
        self._failed = failed
        self.failing = False
        self._known = KnownRecords()
        self._scope = trio.CancelScope()
        self._watch_scope = trio.CancelScope()
        self._gather_scope = trio.CancelScope()
        self.turn = Turn()  # an older snapshot must not follow a newer one into the store
        self._successor: WriteBehind | None = None

    async def load(self) -> Mapping[tuple[str, str], Record]:
        """Every record of the store, by kind and id. Raises StoreError or PluginError."""
        records = await self._list()
        self._known.begin(records)
        return records

    async def _list(self) -> Mapping[tuple[str, str], Record]:
        try:
            with trio.fail_after(LIST_LIMIT), self.border:
                found = list(await self.store.list())
        except trio.TooSlowError:
            raise StoreError(f"the store {self._name!r} did not list its records within {LIST_LIMIT:g} s") from None
        return {(record.kind, record.id): record for record in map(self._sound, found)}

    def _sound(self, record: Record) -> Record:
        """The record, if it is one; raises PluginError for anything else (acceptance H10)."""
        if type(record) is not Record or not isinstance(record.data, bytes) or type(record.version) is not int:
            raise self.border.wrong(f"gave a {type(record).__name__} that is no Record with bytes and a version")
        return record

    async def run(self) -> None:
        """Write what gets dirty, until closed."""
        pause = RETRY_FLOOR
        with self._scope:
            while True:
                await self._custody.dirty.wait_marked()
                await trio.sleep(COALESCE)
                if await self.flush():
                    pause = RETRY_FLOOR
                else:
                    await trio.sleep(pause)
                    pause = min(2 * pause, RETRY_CAP)

    async def gather(self) -> None:
        """Have preferences kept, some seconds' worth at a time, until closed."""
        affinity, news = self._custody.affinity, trio.Event()
        with self._gather_scope:
            while True:
                news = trio.Event()
                affinity.changed = news.set
                if not affinity.unsaved:
                    await news.wait()
                await trio.sleep(AFFINITY_PACE)
                self.mark_affinity()

    def mark_affinity(self) -> None:
        """Have what sessions prefer written with what else is dirty."""
        for bucket in sorted(self._custody.affinity.unsaved):
            self._custody.dirty.mark(AFFINITY, bucket)
        self._custody.affinity.unsaved.clear()

    def hand_over(self, successor: "WriteBehind") -> None:
        """End `run`, `watch` and `gather`: another store is used from now on, and what is dirty goes there.

        Whoever still waits for a save here waits for that one, and what this store says is no news any more.
        """
        self._successor = successor
        successor.turn = self.turn
        self._scope.cancel()
        self._watch_scope.cancel()
        self._gather_scope.cancel()

    def go_on_with(self, store: Store) -> None:
        """Use the store as it was opened again, after it had failed; `watch` ends and is to be started anew."""
        self.store = store
        self._watch_scope.cancel()
        self._watch_scope = trio.CancelScope()

    async def watch(self, *, anew: bool = False) -> None:
        """Follow what others write to the store, until closed; ends at once where nobody else can.

        `anew` looks first for what they wrote while nobody listened.
        """
        if not offers(self.store, Watcher):
            return
        changes: AsyncIterator[Sequence[Change]] | None = None
        pause = RETRY_FLOOR
        with self._watch_scope:
            while True:
                try:
                    if anew:
                        await self._read_all()
                        anew = False
                    with self.border:
                        if changes is None:
                            changes = self.store.watch()
                        found = [self._sound_change(change) for change in await self._next_changes(changes)]
                except (StoreError, PluginError) as error:
                    if not isinstance(error, StoreError):  # a generator that has raised gives nothing any more
                        changes = None
                    log.warning("the store cannot be watched for now: %s", error)
                    await trio.sleep(pause)
                    pause = min(2 * pause, RETRY_CAP)
                else:
                    pause = RETRY_FLOOR
                    self._hear(found)

    async def _next_changes(self, changes: AsyncIterator[Sequence[Change]]) -> Sequence[Change]:
        try:
            return await anext(changes)
        except StopAsyncIteration:
            raise self.border.wrong("has stopped telling what changes") from None

    def _sound_change(self, change: Change) -> Change:
        if type(change) is not Change:
            raise self.border.wrong(f"gave a {type(change).__name__} where a Change is due")
        if change.record is not None:
            self._sound(change.record)
        return change

    def _hear(self, changes: Iterable[Change]) -> bool:
        """Take in what others wrote, less what we know already; gives whether there was any."""
        if self._successor is not None:
            return False
        theirs = []
        for change in self._known.news(changes):
            if self._known.is_ours(change):
                self._agree(change)
            else:
                theirs.append(change)
        self._follow(theirs)
        return bool(theirs)

    def _agree(self, change: Change) -> None:
        """The store has what we had sent there, although its answer was lost."""
        if change.record is not None and change.kind == "secret" and change.id in self._custody.credentials:
            self._custody.stored[change.id] = decode_credential(change.record.data)

    def let_go(self, ids: Iterable[str]) -> None:
        """These were taken out of custody and left in the store: what it has of them is news when it is read again."""
        for id in ids:
            self._known.forget(("secret", id))
            self._known.forget(("state", id))

    async def read(self) -> None:
        """Write what is dirty, then take in everything that the store has (C3.4). Raises StoreError or PluginError."""
        await self.flush()
        await self._read_all()

    async def read_one(self, kind: str, id: str) -> None:
        """Write one record if it is dirty, then take in what the store has of it. Raises StoreError or PluginError."""
        if self._custody.dirty.unsaved(kind, id):
            await self.save_one(kind, id)
        await self._read_again(kind, id)

    async def look_again(self, kind: str, id: str) -> None:
        """Take in what others wrote to one record, where others can write and it can be asked for alone.

        While the store is away nothing is new, which is logged.
        """
        if not (offers(self.store, Watcher) and offers(self.store, Reader)):
            return
        try:
            with trio.fail_after(STORE_LIMIT):
                await self.read_one(kind, id)
        except (StoreError, PluginError, trio.TooSlowError) as error:
            log.warning("the store cannot be asked for %s of %s: %s", kind, id, str(error) or "it took too long")

    async def save_one(self, kind: str, id: str) -> None:
        """Write one record now. Raises StoreError when it is not in the store afterwards."""
        if not await self._bring(kind, id):
            raise StoreError(f"the {kind} of {id} is in force but not saved yet; it is tried again")

    async def _read_again(self, kind: str, id: str) -> bool:
        """Take in what others wrote to a record, it alone where the store can be asked that; gives whether they did."""
        if offers(self.store, Reader):
            with self.border:
                record = await self.store.read(kind, id)
                record = None if record is None else self._sound(record)
            return self._hear([Change(kind=kind, id=id, record=record)])
        return await self._read_all()

    async def _read_all(self) -> bool:
        """Take in everything that others wrote; gives whether there was any."""
        return self._hear(self._known.differs(await self._list()))

    async def flush(self, *, patience: int = 1) -> bool:
        """Write everything that is dirty now; gives whether all of it is in the store. What failed stays dirty.

        After `patience` records that the store did not take it is left alone: it may be away.
        """
        refused = 0
        for kind, id in list(self._custody.dirty.marks):
            if (kind, id) in self._custody.dirty.marks and not await self._bring(kind, id):
                refused += 1
                if refused == patience:
                    break
        return not refused

    async def save_now(self, kind: str, id: str) -> None:
        """Write one record and what else is dirty. Raises StoreError when that one is not in the store afterwards."""
        if self._custody.dirty.unsaved(kind, id):
            await self.save_one(kind, id)
        await self.flush()

    async def _bring(self, kind: str, id: str) -> bool:
        """Write a dirty record; gives whether it is in the store. One that is not stays dirty."""
        try:
            async with self.turn:
                with self._custody.dirty.writing(kind, id), trio.fail_after(STORE_LIMIT):
                    await self.write(kind, id, partial(self._data, kind, id))
            self.failing = False
        except (StoreError, PluginError, trio.TooSlowError) as error:
            self.not_saved(kind, id, error)
            return False
        return True

    def not_saved(self, kind: str, id: str, error: Exception) -> None:
        """Tell of a record that the store does not take."""
        reason = str(error) or "took too long"
        self.failing = True
        log.warning("the %s of %s is not saved yet: %s", kind, id, reason)
        self._failed(kind, id, reason)

    async def write(self, kind: str, id: str, data: Callable[[], bytes | None]) -> None:
        """Write what `data` gives; when somebody else came between, read, join and write again."""
        key = kind, id
        for left in range(TRIES - 1, -1, -1):
            if self._successor is not None:
                await self._successor.write(kind, id, data)
                return
            current = data()
            if current is None:
                if self._known.may_hold(key):
                    self._known.begun(key, None)
                    with self.border:
                        await self.store.delete(kind, id)
                    self._known.removed(key)  # not before: a removal that fails is to be tried again
                return
            try:
                kept = self._known.unknown(key).kept_in(current)
                self._known.begun(key, kept)
                with self.border:
                    version = await self.store.save(kind, id, kept, self._known.version(key))
                if type(version) is not int:
                    raise self.border.wrong(f"`save` gave a {type(version).__name__} where a version is due")
            except StoreConflict:
                if not left:
                    raise
                if await self._read_again(kind, id):
                    log.info("the %s of %s was changed by somebody else; both changes are kept", kind, id)
                self._custody.dirty.marks.pop(key, None)  # it is written next, as it is now
            else:
                self._saved(key, version, current)
                return

    def _saved(self, key: tuple[str, str], version: int, data: bytes) -> None:
        """Remember what the store has now, unless somebody else was heard of since."""
        kind, id = key
        if not self._known.saved(key, version) or self._successor is not None:
            return
        if kind == "secret" and id in self._custody.credentials:
            self._custody.stored[id] = decode_credential(data)

    def _data(self, kind: str, id: str) -> bytes | None:
        """What the store should hold; None for nothing: gone, not kept (C3.7), or as good as new and not there."""
        if kind in {AFFINITY, KEEPERS}:
            table = self._custody.affinity if kind == AFFINITY else self._custody.keepers
            preferences = table.bucket(id, self._custody.now())
            return encode_preferences(preferences) if preferences else None
        credential = self._custody.credentials.get(id)
        if credential is None or not is_kept(credential, kind):
            return None
        if kind == "secret":
            return encode_credential(credential)
        state = self._custody.states[id]
        # One that the store has is written over, not removed: a removal compares nothing, and might take what another
        # process has written since, such as that a token was refused (E7)
        return encode_state(state) if self._known.may_hold((kind, id)) or not _as_good_as_new(state) else None


class Turn:
    """A lock that takes no turn of the loop while it is free: the store is waited for anyway."""

    def __init__(self) -> None:
        self._lock = trio.Lock()

    async def __aenter__(self) -> None:
        try:
            self._lock.acquire_nowait()
        except trio.WouldBlock:
            await self._lock.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()


def _as_good_as_new(state: CredentialState) -> bool:
    """Whether the state tells nothing that a fresh one would not; of a reset others are to know."""
    every: tuple[CredentialState | ModelState, ...] = (state, *state.models.values())
    return (
        not state.needs_login
        and state.reset_at is None
        and all(clear(one) and one.status is Status.ACTIVE for one in every)
    )
