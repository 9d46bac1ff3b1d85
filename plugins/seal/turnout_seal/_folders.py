"""Private folders for what stores keep. They may wait for a disk."""

import os
from pathlib import Path


def state_folder(name: str) -> Path:
    """`turnout/NAME` in the user's state directory.

    XDG base directories 0.8: a setting that is not absolute is ignored, and without one it is `~/.local/state`.
    """
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    home = state if state.is_absolute() else Path.home() / ".local" / "state"
    return home / "turnout" / name


def make_folders(path: Path) -> None:
    """Make a folder, and those above it that are missing, of mode 0700 and on the disk. Raises OSError."""
    for missing in reversed([one for one in (path, *path.parents) if not os.path.lexists(one)]):
        missing.mkdir(mode=0o700, exist_ok=True)
        sync_names(missing.parent)


def sync_names(folder: Path) -> None:
    """Return when the names in a folder will outlive a power loss (F-3). Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
