"""Records on the server: versions, compare-and-set, sealing, and what others have changed."""

from collections.abc import Sequence
from logging import Logger
from typing import Final, final

from turnout import Record
from turnout.abc import Change
from turnout.errors import StoreConflict, StoreError
from turnout_redis._keys import Keys, digest_of, raw
from turnout_redis._rows import Pages, Row, row_of
from turnout_redis._scripts import DELETE, REWRAP, SAVE, SET_ASIDE
from turnout_redis._seal import SharedSealing
from turnout_redis._server import Server
from turnout_seal import UnknownKey, Unsealable

SEALED: Final = "secret"
"""The kind of record that is sealed."""

TRIES: Final = 10
"""How often a save without an expected version follows others that write the same record."""


@final
class Records:
    """The records of one store.

    Attributes:
        writer: names this node among those that share it.
        refused: why no secret is kept on this server (G7), empty when it is sound.
        fences: of the leases that this node holds, by the id of the credential.
    """

    def __init__(
        self, server: Server, keys: Keys, sealing: SharedSealing, *, writer: str, refused: str, log: Logger
    ) -> None:
        self.refused = refused
        self.fences: dict[str, int] = {}
        self._server = server
        self._keys = keys
        self._sealing = sealing
        self.writer = writer
        self._log = log
        self._seq = 0  # what others changed up to here is known
        self._seen = 0  # the last that the server has told
        self._last: dict[str, int] = {}
        self._closed: set[str] = set()

    async def list(self) -> tuple[Record, ...]:
        """Every sound record; see `turnout.abc.Store.list`. StoreError where one is older than it was, or gone (G5)."""
        known, versions = dict(self._last), dict[str, int]()
        seq = await self._last_seq()
        found: dict[str, Record | None] = {}
        async for rows, _ in Pages(self._server, self._keys, 0):
            for row in rows:
                versions[row.digest] = row.version
                found[row.digest] = await self._sound(row)
        if any(versions.get(digest, 0) < version for digest, version in known.items()):
            raise StoreError(f"redis at {self._server.name} went back: what it has is not taken for all that there is")
        self._seq, self._seen = seq, max(seq, self._seen)
        return tuple(record for record in found.values() if record is not None)

    def check_keeps_secrets(self) -> None:
        """Raise StoreError where the server may forget or evict them (G7)."""
        if self.refused:
            raise StoreError(f"no secret is kept on redis at {self._server.name}: {self.refused}")

    async def save(self, kind: str, id: str, data: bytes, if_version: int | None) -> int:
        """Write a record and give its new version; see `turnout.abc.Store.save`."""
        digest = digest_of(kind, id)
        if kind == SEALED:
            self.check_keeps_secrets()
        if digest in self._closed:
            raise StoreError(f"the {kind} of {id!r} is not overwritten: it is sealed with a key that is not here")
        for _ in range(TRIES):
            word, number = await self._try_save(kind, id, digest, data, if_version)
            if word == b"saved":
                self._last[digest] = number
                return number
            if word in {b"conflict", b"fenced"}:
                lost = "its lease was lost" if word == b"fenced" else f"it has version {number}, not {if_version}"
                raise StoreConflict(f"the {kind} of {id!r} is not saved: {lost}", current=number)
            if word == b"header":
                await self._sealing.follow()
            else:
                self._last[digest] = number
        raise StoreError(f"the {kind} of {id!r} is not saved: others write it all the time")

    async def _try_save(
        self, kind: str, id: str, digest: str, data: bytes, if_version: int | None
    ) -> tuple[bytes, int]:
        """One compare-and-set; the version is part of the seal, so we must know it beforehand, or guess."""
        last = self._last.get(digest, if_version or 0)
        by = ""
        if kind == SEALED:
            sealing = self._sealing.now
            data, by = sealing.seal(kind, id, last + 1, data), sealing.key.id
        keys = self._keys
        word, number, *seq = await self._server.run(
            f"the {kind} of {id!r} cannot be saved",
            SAVE,
            [keys.record(digest), keys.changes, keys.seq, keys.about, keys.lease(id)],
            *(self._sealing.header, "" if if_version is None else if_version, last, kind, raw(id), data, by),
            *(self.writer, digest, self.fences.get(id, "") if kind == SEALED else "", keys.news),
        )
        self._seen = max([self._seen, *seq])
        return word, int(number)

    async def read(self, kind: str, id: str) -> Record | None:
        """One record as it is now; see `turnout.abc.Reader`."""
        digest = digest_of(kind, id)
        known = self._last.get(digest, 0)
        row = await row_of(self._server, self._keys, digest)
        if (0 if row is None else row.version) < known:
            raise StoreError(f"the {kind} of {id!r} is older on redis at {self._server.name} than it was: it went back")
        record = None if row is None else await self._sound(row)
        if record is None and row is not None and (row.data is not None or await self._is_aside(row)):
            raise StoreError(f"the {kind} of {id!r} cannot be read, or was set aside")
        return record

    async def _is_aside(self, row: Row) -> bool:
        client, name = self._server.client, f"{row.digest}:{row.version}"
        return bool(await self._server.ask("the store cannot be read", lambda: client.hexists(self._keys.aside, name)))

    async def delete(self, kind: str, id: str) -> None:
        """Remove a record; see `turnout.abc.Store.delete`. What stays is its version."""
        digest, keys = digest_of(kind, id), self._keys
        self._last.pop(digest, None)
        seq = await self._server.run(
            f"the {kind} of {id!r} cannot be removed",
            DELETE,
            [keys.record(digest), keys.changes, keys.seq],
            *(self.writer, digest, keys.news),
        )
        self._seen = max(self._seen, seq)

    async def changes(self) -> Sequence[Change]:
        """What others have written or removed since the last call, or since `list`; nothing older than we know (G5)."""
        await self._notice_setback()
        found: dict[str, Change] = {}
        async for rows, last in Pages(self._server, self._keys, self._seq):
            for row in rows:
                known = self._last.get(row.digest, 0)
                if row.writer == self.writer:
                    continue
                record = await self._sound(row)
                if row.data is not None and record is None:
                    continue
                if row.version < known:
                    self._log.error(
                        "the %s of %r went back to version %d from %d", row.kind, row.id, row.version, known
                    )
                    continue
                found[row.digest] = Change(kind=row.kind, id=row.id, record=record)
            self._seq = last
        return tuple(found.values())

    async def rewrap(self) -> int:
        """Re-wrap every secret that is not under the current key; gives how many. Raises StoreError if one is not."""
        done, left = 0, 0
        async for rows, _ in Pages(self._server, self._keys, 0):
            for row in rows:
                if row.data is not None and row.by not in {"", self._sealing.now.key.id}:
                    renewed = await self._rewrap(row, row.data)
                    done, left = done + bool(renewed), left + (renewed is None)
        if left:
            raise StoreError(f"{left} records are sealed with keys that are not here: the older keys are kept")
        return done

    async def _rewrap(self, row: Row, data: bytes) -> bool | None:
        """Whether it was done, None when it cannot be. What others wrote meanwhile is under the current key by that."""
        sealing = self._sealing.now
        try:
            renewed = sealing.renewed(row.kind, row.id, row.version, data)
        except (UnknownKey, Unsealable) as reason:
            self._log.error("the %s of %r is not re-wrapped: %s", row.kind, row.id, reason)
            return None
        what = "the key cannot be rotated"
        keys = [self._keys.record(row.digest)]
        return bool(await self._server.run(what, REWRAP, keys, row.version, data, renewed, sealing.key.id))

    async def holds_sealed(self) -> bool:
        """Whether any record is sealed."""
        async for rows, _ in Pages(self._server, self._keys, 0):
            if any(row.by for row in rows):
                return True
        return False

    async def _sound(self, row: Row) -> Record | None:
        """The record of a row; None when it was removed, is damaged, and set aside, or its key is not here."""
        self._last[row.digest] = max(row.version, self._last.get(row.digest, 0))
        if row.data is None:
            return None
        data = row.data
        if row.kind == SEALED:
            try:
                data = await self._unsealed(row, data)
            except UnknownKey as reason:
                self._closed.add(row.digest)
                self._log.error("the %s of %r is left alone: %s", row.kind, row.id, reason)
                return None
            except Unsealable as reason:
                await self._set_aside(row, str(reason))
                return None
        self._closed.discard(row.digest)
        return Record(kind=row.kind, id=row.id, data=data, version=row.version)

    async def _unsealed(self, row: Row, data: bytes) -> bytes:
        try:
            return self._sealing.now.unseal(row.kind, row.id, row.version, data)
        except UnknownKey:
            await self._sealing.follow()  # another node may have rotated the key just now
            return self._sealing.now.unseal(row.kind, row.id, row.version, data)

    async def _set_aside(self, row: Row, reason: str) -> None:
        keys, name = self._keys, f"{row.digest}:{row.version}"
        what = f"the {row.kind} of {row.id!r} cannot be set aside"
        await self._server.run(what, SET_ASIDE, [keys.record(row.digest), keys.aside], row.version, name)
        self._log.error(
            "the %s of %r cannot be read: %s; it is kept in the hash %s", row.kind, row.id, reason, keys.aside
        )

    async def _last_seq(self) -> int:
        client, seq = self._server.client, self._keys.seq
        return int(await self._server.ask("the store cannot be read", lambda: client.get(seq)) or 0)

    async def _notice_setback(self) -> None:
        """A server that has seen less than we have is another one, or was restored: look at all that it holds (G5)."""
        seen, last = self._seen, await self._last_seq()  # we may save meanwhile
        if last < seen:
            self._log.error(
                "redis at %s went back: it has seen %d changes and had seen %d; what is newer here stays in force, "
                "and tokens on it may have been replaced since",
                *(self._server.name, last, seen),
            )
            self._seq, self._seen = 0, last
        self._seen = max(last, self._seen)
