"""Which files somebody else has changed: found by looking now and then, and believed when they look the same twice.

A file that is still being written looks different each time; an editor's rename gives a name another file at once.
What we read or wrote ourselves is known, and so never a change (F-7). Pure.
"""

import os
from collections.abc import Mapping
from typing import Final, NamedTuple, final


class Stamp(NamedTuple):
    """What tells whether a file is still the same, and unwritten since."""

    inode: int
    size: int
    modified: int

    @classmethod
    def of(cls, found: os.stat_result) -> "Stamp":
        """The stamp of a file."""
        return cls(found.st_ino, found.st_size, found.st_mtime_ns)


GONE: Final = Stamp(0, 0, 0)


@final
class Stamps:
    """The stamps that we know, and those that were seen once."""

    def __init__(self) -> None:
        self._known: dict[str, Stamp] = {}
        self._new: dict[str, Stamp] = {}

    def know(self, name: str, stamp: Stamp) -> None:
        """We have read or written this file ourselves."""
        self._known[name] = stamp

    def forget(self, name: str) -> None:
        """We have removed this file ourselves."""
        self._known.pop(name, None)

    def settled(self, found: Mapping[str, Stamp]) -> list[str]:
        """Names whose files were changed, made or removed by others, and look the same as the last time."""
        changed = {name: stamp for name, stamp in found.items() if self._known.get(name) != stamp}
        changed |= {name: GONE for name in self._known if name not in found}
        settled = [name for name, stamp in changed.items() if self._new.get(name) == stamp]
        self._new = changed
        return settled
