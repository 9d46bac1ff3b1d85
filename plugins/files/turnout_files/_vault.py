"""The sealing of one directory: its header is a file beside the records, and how far each had come lies elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from logging import Logger
from pathlib import Path
from typing import Final, final

import attrs

from turnout import Record
from turnout.errors import StoreError
from turnout_files._directory import Directory, Unfit
from turnout_files._envelope import Damaged
from turnout_files._names import SEAL
from turnout_seal import KeySource, Sealing, UnknownKey, Unsealable, Versions, open_sealing

SEALED: Final = "secret"
"""The kind of record that is sealed."""


@final
class Vault:
    """Seals and unseals the secrets of an open directory. Blocks. Versions are kept in the file PATH.versions."""

    def __init__(
        self, directory: Directory, path: Path, keys: KeySource, log: Logger, *, untouched: Callable[[], bool]
    ) -> None:
        """Find the sealing of the directory, or begin it where `untouched` says that nothing is sealed.

        Raises StoreError, and OSError.
        """
        self._directory = directory
        self._keys = keys
        self._known = self._header()
        if self._known is None and not directory.owned:
            raise StoreError(f"{path} is being set up by another process: try again")
        if self._known is None:
            self._sealing = open_sealing(keys, None, untouched=untouched())
        else:
            self._take_keys()
        self._versions = Versions(path.with_name(path.name + ".versions"), log, alone=directory.owned)
        if self._known is None:
            if self._versions.kept:
                log.error("the store is new or was emptied; it held %d secrets: is a backup due?", self._versions.kept)
            self._keep(self._sealing)

    @property
    def whole(self) -> bool:
        """Whether every secret of the directory is sealed."""
        return self._sealing.whole

    def close(self) -> None:
        """Give the file of versions back."""
        self._versions.close()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Keep other processes from writing while the block runs, with the key that is in force by now.

        One of them may have rotated it. Raises StoreError, and OSError.
        """
        while True:
            if self._header() != self._known:
                self._take_keys()  # before the turn: a command that prints the key takes its time
            with self._directory.turn():
                if self._header() == self._known:
                    yield
                    return

    def sealed(self, record: Record) -> Record:
        """The record as it is written."""
        if record.kind != SEALED:
            return record
        return attrs.evolve(record, data=self._sealing.seal(SEALED, record.id, record.version, record.data))

    def unsealed(self, record: Record) -> Record:
        """The record that was written so. Raises Damaged, and UnknownKey for what is left alone."""
        if record.kind != SEALED:
            return record
        with _noticing_damage():
            data = self._sealing.unseal(SEALED, record.id, record.version, record.data)
        self._versions.tell_if_older(record.kind, record.id, record.version)
        return attrs.evolve(record, data=data)

    def latest(self, kind: str, id: str) -> int:
        """How far a record had come; 0 when that is not known."""
        return self._versions.latest(kind, id)

    def note(self, kind: str, id: str, version: int) -> None:
        """Remember how far a record has come; 0 when it is gone."""
        if kind == SEALED:
            self._versions.note(kind, id, version)

    def renewed(self, record: Record) -> Record | None:
        """The record, as it is written, under the current key; None when it is so already. Raises as `unsealed`."""
        if record.kind != SEALED or self._sealing.is_current(record.data):
            return None
        with _noticing_damage():
            data = self._sealing.renewed(SEALED, record.id, record.version, record.data)
        return attrs.evolve(record, data=data)

    def begin_rotation(self) -> str:
        """Seal with a new key from now on, in every process; gives its id. Only within a turn, like what follows.

        The older ones still open what they sealed.
        """
        ring = self._keys.add(self._sealing.key.id)
        self._keep(attrs.evolve(self._sealing, ring=ring, key=ring.first))
        return ring.first.id

    def end_rotation(self, key: str) -> None:
        """Let the older keys go: nothing is sealed with them any more, unless the key was rotated once more."""
        if key == self._sealing.key.id:
            self._keys.keep(key)

    def seal_whole(self) -> None:
        """From now on, a secret that is not sealed was put there by somebody else."""
        self._keep(attrs.evolve(self._sealing, whole=True))

    def _header(self) -> bytes | None:
        try:
            return self._directory.read(SEAL)
        except FileNotFoundError:
            return None
        except Unfit as reason:
            raise StoreError(f"{SEAL} cannot be used: {reason}") from None

    def _take_keys(self) -> None:
        """Take the header and its key anew; when they do not fit, one may have been changed just before the other."""
        while True:
            header = self._header()
            try:
                self._sealing = open_sealing(self._keys, header, untouched=False)
            except StoreError:
                if self._header() == header:
                    raise
            else:
                self._known = header
                return

    def _keep(self, sealing: Sealing) -> None:
        header = sealing.header()
        self._directory.write(SEAL, header)
        self._sealing, self._known = sealing, header


@contextmanager
def _noticing_damage() -> Iterator[None]:
    """Raise Damaged for what is no record of ours; one whose key is not here may be sound."""
    try:
        yield
    except UnknownKey:
        raise
    except Unsealable as reason:
        raise Damaged(str(reason)) from None
