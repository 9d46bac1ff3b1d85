"""The table `[stores.files]`."""

import os
from pathlib import Path
from typing import final

import attrs

from turnout_seal import KeySettings


def default_path() -> str:
    """`turnout/credentials` in the user's state directory.

    XDG base directories 0.8: a setting that is not absolute is ignored, and without one it is `~/.local/state`.
    """
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    home = state if state.is_absolute() else Path.home() / ".local" / "state"
    return str(home / "turnout" / "credentials")


@final
@attrs.frozen(kw_only=True)
class FilesSettings(KeySettings):
    """What the store can be told, besides where its key is.

    Attributes:
        path: the directory, one per process; `~` stands for the home directory, empty for the default.
    """

    path: str = attrs.field(factory=default_path)

    def place(self) -> Path:
        """The directory as an absolute path."""
        return Path(self.path or default_path()).expanduser().absolute()
