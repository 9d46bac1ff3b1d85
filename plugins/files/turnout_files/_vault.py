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
from turnout_seal import KeySource, UnknownKey, Unsealable, Versions, open_sealing

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
        self._log = log
        header = self._header()
        if header is None and not directory.owned:
            raise StoreError(f"{path} is being set up by another process: try again")
        self._sealing = open_sealing(keys, header, untouched=header is not None or untouched())
        self._versions = Versions(path.with_name(path.name + ".versions"), log, alone=directory.owned)
        if header is None:
            if self._versions.kept:
                log.error("the store is new or was emptied; it held %d secrets: is a backup due?", self._versions.kept)
            self._keep(whole=False)

    @property
    def whole(self) -> bool:
        """Whether every secret of the directory is sealed."""
        return self._sealing.whole

    def close(self) -> None:
        """Give the file of versions back."""
        self._versions.close()

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

    def begin_rotation(self) -> None:
        """Seal with a new key from now on; the older ones still open what they sealed."""
        ring = self._keys.add()
        self._sealing = attrs.evolve(self._sealing, ring=ring, key=ring.first)
        self._keep(whole=self.whole)

    def end_rotation(self) -> None:
        """Let the older keys go: nothing is sealed with them any more."""
        self._keys.keep(self._sealing.key.id)

    def seal_whole(self) -> None:
        """From now on, a secret that is not sealed was put there by somebody else."""
        self._keep(whole=True)

    def _header(self) -> bytes | None:
        try:
            return self._directory.read(SEAL)
        except FileNotFoundError:
            return None
        except Unfit as reason:
            raise StoreError(f"{SEAL} cannot be used: {reason}") from None

    def _keep(self, *, whole: bool) -> None:
        self._sealing = attrs.evolve(self._sealing, whole=whole)
        self._directory.write(SEAL, self._sealing.header())


@contextmanager
def _noticing_damage() -> Iterator[None]:
    """Raise Damaged for what is no record of ours; one whose key is not here may be sound."""
    try:
        yield
    except UnknownKey:
        raise
    except Unsealable as reason:
        raise Damaged(str(reason)) from None
