"""The table `[stores.files]`."""

from pathlib import Path
from typing import final

import attrs

from turnout_seal import KeySettings, state_folder


@final
@attrs.frozen(kw_only=True)
class FilesSettings(KeySettings):
    """What the store can be told, besides where its key is.

    Attributes:
        path: the directory, one per process; `~` stands for the home directory, empty for `turnout/credentials` in the
            user's state directory.
    """

    path: str = ""

    def place(self) -> Path:
        """The directory as an absolute path."""
        return Path(self.path).expanduser().absolute() if self.path else state_folder("credentials")
