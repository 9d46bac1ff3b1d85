"""The settings that say where a store's master key is; a store's own settings inherit them."""

import os
from pathlib import Path

import attrs

from turnout_seal._sources import KeyCommand, KeyFile, KeySource, KeyVariable


@attrs.frozen(kw_only=True)
class KeySettings:
    """Where the master key comes from; at most one of the three, and a file beside the store without any.

    Attributes:
        key_file: a file of mode 0600, made at the first start; `~` stands for the home directory.
        key_env: name of an environment variable.
        key_command: a command and its arguments, which prints the key.
    """

    key_file: str = ""
    key_env: str = ""
    key_command: tuple[str, ...] = ()

    def __attrs_post_init__(self) -> None:
        named = [name for name in ("key_file", "key_env", "key_command") if getattr(self, name)]
        if len(named) > 1:
            raise ValueError(f"{' and '.join(named)} exclude each other: the key comes from one place")

    def key_source(self, beside: Path) -> KeySource:
        """The place of the key; without a setting the file `beside`, with `.key` added to its name."""
        if self.key_env:
            return KeyVariable(self.key_env, os.environ)
        if self.key_command:
            return KeyCommand(self.key_command)
        if self.key_file:
            return KeyFile(Path(self.key_file).expanduser().absolute())
        return KeyFile(beside.with_name(beside.name + ".key"))
