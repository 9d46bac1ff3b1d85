"""The calls that change what is on the disk, in one place: a test stands in for them and loses power (F-3). Blocks."""

import os
from pathlib import Path
from typing import Protocol, final


class Disk(Protocol):
    """Changes names and contents; a folder is named by its descriptor. Every method raises OSError."""

    def make_folder(self, path: Path) -> None:
        """Make a folder of mode 0700, and bring its name to the disk."""
        ...

    def create(self, name: str, folder: int) -> int:
        """Make a file of mode 0600 that was not there, and give its descriptor."""
        ...

    def write(self, fd: int, content: bytes) -> None:
        """Write all of it."""
        ...

    def sync(self, fd: int) -> None:
        """Return when the content of a file, or the names of a folder, will outlive a power loss."""
        ...

    def rename(self, old: str, new: str, folder: int) -> None:
        """Give a file another name, in place of what has it."""
        ...

    def unlink(self, name: str, folder: int) -> None:
        """Remove a file."""
        ...


@final
class RealDisk:
    """The disk of this machine; see `Disk`."""

    def make_folder(self, path: Path) -> None:
        """A name is on the disk when the folder that holds it was synced."""
        path.mkdir(mode=0o700)
        above = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(above)
        finally:
            os.close(above)

    def create(self, name: str, folder: int) -> int:
        """No symlink is followed, and the mode is there whatever the umask left of it."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, 0o600, dir_fd=folder)
        try:
            os.fchmod(fd, 0o600)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def write(self, fd: int, content: bytes) -> None:
        """A call may write a part only."""
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(fd, rest) :]

    def sync(self, fd: int) -> None:
        """See `Disk.sync`."""
        os.fsync(fd)

    def rename(self, old: str, new: str, folder: int) -> None:
        """In one step."""
        os.rename(old, new, src_dir_fd=folder, dst_dir_fd=folder)

    def unlink(self, name: str, folder: int) -> None:
        """See `Disk.unlink`."""
        os.unlink(name, dir_fd=folder)
