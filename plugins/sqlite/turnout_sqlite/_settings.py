"""The table `[stores.sqlite]`."""

from pathlib import Path
from typing import final

import attrs

from turnout_seal import KeySettings, state_folder


@final
@attrs.frozen(kw_only=True)
class SqliteSettings(KeySettings):
    """What the store can be told, besides where its key is.

    Attributes:
        path: the directory of the database; `~` stands for the home directory, empty for `turnout/store` in the user's
            state directory.
    """

    path: str = ""

    def place(self) -> Path:
        """The directory as an absolute path."""
        return Path(self.path).expanduser().absolute() if self.path else state_folder("store")
