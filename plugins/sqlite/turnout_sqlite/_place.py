"""The private directory of the database, and who has it open. Blocks; knows nothing of SQL.

The database is a file of ours before SQLite sees it: made with O_EXCL and O_NOFOLLOW, 0600, in a directory that nobody
else may enter; SQLite gives its own files the same mode. A lock file says who is there: one process alone may set the
database up or aside, any number may use it.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Final, final

from turnout_seal import make_folders

DATABASE: Final = "credentials.sqlite"

SET_UP: Final = 25.0
"""Seconds for which somebody else may set it up: a command that prints the key may take 20 of them (turnout-seal), and
the kernel gives a plugin 30 to open, after which nobody would be told why it did not."""

PAUSE: Final = 0.05
"""Seconds between two looks at the lock."""

_COMPANIONS: Final = ("", "-wal", "-shm")
"""What SQLite keeps beside a database in WAL mode."""


@final
class Place:
    """An open, private directory with a database in it. `report` hears of anything that had to be put right.

    While somebody else sets it up, `pause` is called between two looks: it takes `PAUSE` seconds.

    Attributes:
        alone: nobody else has the database open; until `share` is called nobody else can open it.
    """

    def __init__(self, path: Path, report: Callable[[str], None], pause: Callable[[], None]) -> None:
        """Open it, made if missing. Raises OSError whose text says what to do, and what `pause` raises."""
        self.path = path
        self._report = report
        self._pause = pause
        make_folders(path)
        self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._lock = -1
        try:
            self._check_directory()
            self._make_private("lock")
            self._lock = os.open("lock", os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._fd)
            self.alone = self._take_lock()
        except BaseException:
            self.close()
            raise

    @property
    def database(self) -> Path:
        """The database file."""
        return self.path / DATABASE

    def close(self) -> None:
        """Give the directory and its lock back."""
        if self._lock >= 0:
            os.close(self._lock)
        os.close(self._fd)

    def share(self) -> None:
        """Let others open the database as well."""
        fcntl.flock(self._lock, fcntl.LOCK_SH)

    def make_database(self) -> None:
        """See to it that there is a private file for the database. Raises OSError."""
        self._make_private(DATABASE)

    def found(self) -> tuple[int, int] | None:
        """What tells the file of the database from any other, whatever their names; None when there is none."""
        try:
            there = self.database.lstat()
        except OSError:
            return None
        return there.st_dev, there.st_ino

    def _names(self) -> set[str]:
        return set(os.listdir(self._fd))  # noqa: PTH208 - pathlib cannot list by descriptor

    def set_aside(self, ending: str) -> str:
        """Rename the database and its companions to NAME + `ending`, or the next free name like it, and give that."""
        taken = self._names()
        base = DATABASE + ending
        aside = next(one for n in count(1) if (one := base + (f"-{n}" if n > 1 else "")) not in taken)
        for companion in _COMPANIONS:
            if DATABASE + companion in taken:
                os.rename(DATABASE + companion, aside + companion, src_dir_fd=self._fd, dst_dir_fd=self._fd)
        os.fsync(self._fd)
        return aside

    def _make_private(self, name: str) -> None:
        """See to it that there is a private file of this name.

        One that is there is not opened: closing it would drop the locks that SQLite holds on it in this process.
        """
        try:
            fd = os.open(
                name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=self._fd
            )
        except FileExistsError:
            self._check_file(name)
            return
        try:
            os.fchmod(fd, 0o600)  # whatever the umask left of it
        finally:
            os.close(fd)

    def _check_file(self, name: str) -> None:
        found = os.stat(name, dir_fd=self._fd, follow_symlinks=False)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise OSError(errno.EPERM, f"{name} is no plain file of its own")
        if found.st_uid != os.geteuid():
            raise OSError(errno.EPERM, f"{name} belongs to user {found.st_uid}, not to us")
        mode = stat.S_IMODE(found.st_mode)
        if mode != 0o600:
            os.chmod(name, 0o600, dir_fd=self._fd)
            self._report(f"{name} had mode {mode:04o}, it is 0600 now")

    def _check_directory(self) -> None:
        found = os.fstat(self._fd)
        mode = stat.S_IMODE(found.st_mode)
        if found.st_uid != os.geteuid():
            raise OSError(errno.EPERM, f"it belongs to user {found.st_uid}, not to us")
        if not mode & 0o077:
            return
        if mode & 0o022 or any(not name.startswith((DATABASE, "lock")) for name in self._names()):
            advice = f"look into it, then make it private with: chmod 700 '{self.path}'"
            raise OSError(errno.EPERM, f"others may enter it (mode {mode:04o}); {advice}")
        os.fchmod(self._fd, 0o700)
        self._report(f"{self.path} had mode {mode:04o}, it is 0700 now")

    def _take_lock(self) -> bool:
        """Take the lock for ourselves, or else with the others; waits for one who is setting up."""
        for _ in range(round(SET_UP / PAUSE)):
            for how in (fcntl.LOCK_EX, fcntl.LOCK_SH):
                with suppress(BlockingIOError):
                    fcntl.flock(self._lock, how | fcntl.LOCK_NB)
                    return how == fcntl.LOCK_EX
            self._pause()
        raise OSError(
            errno.EBUSY,
            f"another process has been setting it up for {SET_UP:g} s, or was stopped while it did; "
            f"`fuser '{self.path}/lock'` says which: let it go on or end it, then start again",
        )
