"""Where master keys come from: a private file, an environment variable, or a command. They may wait for a disk.

A key is never made where one may have been before: only the caller knows that nothing was ever sealed, and asks for
one then (S22). A key file is written whole, beside its name, synced, and put in place in one step.
"""

import errno
import fcntl
import os
import stat
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol, final

import attrs

from turnout.errors import StoreError
from turnout_seal._folders import make_folders, sync_names
from turnout_seal._keys import KeyRing, new_key

COMMAND_LIMIT: Final = 20.0
"""Seconds that a command may take to print the key."""

LARGEST: Final = 64 * 1024


class KeySource(Protocol):
    """Gives master keys. Every method may block."""

    def load(self) -> KeyRing | None:
        """The keys; None when there are none yet. Raises StoreError for what cannot be used."""
        ...

    def create(self) -> KeyRing:
        """The keys, with a new one made where there is none. Raises StoreError where none can be made."""
        ...

    def add(self, current: str) -> KeyRing:
        """The keys with the one that is to be current first, the older ones behind it.

        `current` is the id of the one that is so now: a key that was put before it is taken. Raises StoreError.
        """
        ...

    def keep(self, id: str) -> None:
        """Nothing is sealed with any other key than this one any more. Raises StoreError."""
        ...


@final
@attrs.frozen
class KeyFile:
    """A file of mode 0600 with one key per line, the current one first."""

    path: Path

    def load(self) -> KeyRing | None:
        """See `KeySource.load`. A file that others may read is refused, and so is a symlink."""
        with self._translated("read"):
            try:
                fd = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            except FileNotFoundError:
                return None
            with os.fdopen(fd, "rb") as file:
                self._check(os.fstat(fd))
                content = file.read(LARGEST)
        return _ring(content.decode("ascii", "replace"), f"the key file {self.path}")

    def create(self) -> KeyRing:
        """See `KeySource.create`."""
        found = self.load()
        if found is not None:
            return found
        with self._translated("made"):
            make_folders(self.path.parent)
            with self._locked():
                if not os.path.lexists(self.path):
                    self._write(KeyRing(new_key()))
        ring = self.load()
        if ring is None:
            raise StoreError(f"the key file {self.path} went away while it was made")
        return ring

    def add(self, current: str) -> KeyRing:
        """See `KeySource.add`: a new key is made, unless one was put there, or left there by a crash."""
        with self._translated("changed"), self._locked():
            ring = self.load()
            if ring is None:
                raise StoreError(f"the key file {self.path} is not there")
            if ring.first.id == current:
                ring = KeyRing(new_key(), *ring.keys)
                self._write(ring)
        return ring

    def keep(self, id: str) -> None:
        """See `KeySource.keep`: the other keys leave the file; nothing happens while this one is not its first."""
        with self._translated("changed"), self._locked():
            ring = self.load()
            if ring is not None and ring.first.id == id and len(ring.keys) > 1:
                self._write(KeyRing(ring.first))

    def _check(self, found: os.stat_result) -> None:
        mode = stat.S_IMODE(found.st_mode)
        if not stat.S_ISREG(found.st_mode):
            raise StoreError(f"the key file {self.path} is no plain file")
        if found.st_uid not in {os.geteuid(), 0}:
            raise StoreError(f"the key file {self.path} belongs to user {found.st_uid}, not to us")
        if mode & 0o077:
            raise StoreError(
                f"others may read the key file {self.path} (mode {mode:04o}): make it private with chmod 600, "
                "and rotate the key"
            )

    def _write(self, ring: KeyRing) -> None:
        """Put the keys in place, durably; only called under the lock, so that the file beside is nobody else's."""
        beside = self.path.with_name(self.path.name + ".new")
        beside.unlink(missing_ok=True)
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(fd, "wb") as file:
                os.fchmod(fd, 0o600)  # whatever the umask left of it
                file.write(ring.text().encode())
                file.flush()
                os.fsync(fd)
            beside.rename(self.path)
        except OSError:
            beside.unlink(missing_ok=True)
            raise
        sync_names(self.path.parent)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Nobody else changes the file meanwhile: two rotations at once would lose the key of one of them."""
        fd = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            why = "it is a symlink" if error.errno == errno.ELOOP else error.strerror
            raise StoreError(f"the key file {self.path} cannot be {what}: {why}") from error


@final
@attrs.frozen
class KeyVariable:
    """An environment variable with one key, or several apart by commas, the current one first."""

    name: str
    environ: Mapping[str, str] = attrs.field(repr=False)

    def load(self) -> KeyRing | None:
        """See `KeySource.load`."""
        text = self.environ.get(self.name, "")
        return _ring(text, f"the variable {self.name}") if text.strip() else None

    def create(self) -> KeyRing:
        """See `KeySource.create`: it can only be there."""
        ring = self.load()
        if ring is None:
            raise StoreError(f"the variable {self.name} holds no key; make one with: openssl rand -base64 32")
        return ring

    def add(self, current: str) -> KeyRing:
        """See `KeySource.add`: whoever sets the variable puts the new key first."""
        return _renewed(self.create(), current, f"the variable {self.name}")

    def keep(self, id: str) -> None:
        """See `KeySource.keep`: whoever sets the variable may leave the older ones out now."""


@final
@attrs.frozen
class KeyCommand:
    """A command that prints the keys, such as a vault's client; it is not run through a shell."""

    words: tuple[str, ...]

    def load(self) -> KeyRing | None:
        """See `KeySource.load`; waits for the command."""
        name = f"the key command {self.words[0]}"
        try:
            done = subprocess.run(  # noqa: S603 - the operator's own command, from the operator's file
                self.words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=COMMAND_LIMIT, check=False
            )
        except subprocess.TimeoutExpired:
            raise StoreError(f"{name} took longer than {COMMAND_LIMIT:g} s") from None
        except OSError as error:
            raise StoreError(f"{name} cannot be run: {error.strerror}") from error
        if done.returncode != 0:
            raise StoreError(f"{name} failed with exit code {done.returncode}")
        return _ring(done.stdout[:LARGEST].decode("ascii", "replace"), f"the output of {name}")

    def create(self) -> KeyRing:
        """See `KeySource.create`: what it prints is all there is."""
        ring = self.load()
        if ring is None:
            raise StoreError(f"the key command {self.words[0]} printed nothing")
        return ring

    def add(self, current: str) -> KeyRing:
        """See `KeySource.add`: the command prints the new key first."""
        return _renewed(self.create(), current, f"the output of the key command {self.words[0]}")

    def keep(self, id: str) -> None:
        """See `KeySource.keep`: the command need not print the older ones any more."""


def _renewed(ring: KeyRing, current: str, where: str) -> KeyRing:
    if ring.first.id == current:
        raise StoreError(
            f"{where} begins with the key that is in use: put a new one before it, here and for every process that runs"
        )
    return ring


def _ring(text: str, where: str) -> KeyRing:
    try:
        return KeyRing.parse(text)
    except ValueError as error:
        raise StoreError(f"{where} cannot be used: {error}") from None
