"""Remembers, apart from the store, how far each record had come, so that an older one put back is noticed (S21, F-12).

One line per save in a private file that only grows while it is open. A crash between a save and its line, or a power
loss, leaves a lower version here, which is harmless: only what is older than its line tells.
"""

import hashlib
import os
from logging import Logger
from pathlib import Path
from typing import Final, final

from turnout.errors import StoreError

SLACK: Final = 1000
"""Lines that say nothing any more, after which the file is written anew."""


@final
class Versions:
    """Highest versions by record. Blocks."""

    def __init__(self, path: Path, log: Logger, *, alone: bool) -> None:
        """Read the file, made if missing; a line that a crash cut off is no line. Raises StoreError.

        `alone` says that no other process has it open: only then may it be written anew, without what is outdated.
        """
        self._path = path
        self._log = log
        self._seen: dict[str, int] = {}
        self._told: set[tuple[str, str, int]] = set()
        try:
            self._fd = _opened(path, os.O_APPEND)
            if self._read() > len(self._seen) + SLACK and alone:
                self._write_anew()
        except OSError as error:
            raise StoreError(f"{path} cannot be used: {error.strerror}") from error

    def close(self) -> None:
        """Give the file back."""
        os.close(self._fd)

    @property
    def kept(self) -> int:
        """How many records the store should hold at least."""
        return sum(version > 0 for version in self._seen.values())

    def latest(self, kind: str, id: str) -> int:
        """The highest version that this record has had, as far as is known; 0 when it is gone, or unknown."""
        return self._seen.get(_name(kind, id), 0)

    def tell_if_older(self, kind: str, id: str, version: int) -> None:
        """Log that a record is older than it was, once in this process and at each start, until it is saved anew."""
        latest = self.latest(kind, id)
        if version >= latest or (kind, id, version) in self._told:
            return
        self._told.add((kind, id, version))
        self._log.error(
            "the %s of %r has version %d and had %d before: the store was rolled back or restored, "
            "so tokens in it may have been replaced since",
            *(kind, id, version, latest),
        )

    def note(self, kind: str, id: str, version: int) -> None:
        """This is the record's version now; 0 when it is gone. What cannot be written is logged."""
        name = _name(kind, id)
        if self._seen.get(name, 0) == version:
            return
        try:
            os.write(self._fd, f"{name} {version}\n".encode())  # not synced: see above, and it would double a save
        except OSError as error:
            self._log.warning("%s cannot be written, so a rolled-back store may pass: %s", self._path, error.strerror)
        self._seen[name] = version

    def _write_anew(self) -> None:
        beside = self._path.with_name(self._path.name + ".new")
        beside.unlink(missing_ok=True)
        fd = _opened(beside, os.O_EXCL | os.O_APPEND)
        text = "".join(f"{name} {version}\n" for name, version in self._seen.items())
        os.write(fd, text.encode())
        os.fsync(fd)
        beside.rename(self._path)
        os.close(self._fd)
        self._fd = fd

    def _read(self) -> int:
        """Take in the lines; gives how many there were."""
        lines = os.pread(self._fd, os.fstat(self._fd).st_size, 0).decode("ascii", "replace").splitlines(keepends=True)
        for line in lines:
            name, _, version = line.partition(" ")
            if line.endswith("\n") and version.strip().isdecimal():
                self._seen[name] = int(version)
        if lines and not lines[-1].endswith("\n"):
            os.write(self._fd, b"\n")
        return len(lines)


def _opened(path: Path, flags: int) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | flags, 0o600)
    os.fchmod(fd, 0o600)
    return fd


def _name(kind: str, id: str) -> str:
    """A digest: ids may hold anything, and are nobody's business here."""
    return hashlib.sha256(f"{kind}\0{id}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
