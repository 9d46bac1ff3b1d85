"""The sealing of a database that several processes share: its header lies with the records, its key outside. Blocks."""

from typing import final

import attrs

from turnout.errors import StoreError
from turnout_seal import KeySource, Sealing, open_sealing
from turnout_sqlite._database import Connection, writing


@final
class SharedSealing:
    """Follows the header: another process may have rotated the key.

    Attributes:
        now: the sealing in force.
        is_new: it was made by us, for a database in which nothing was sealed.
    """

    def __init__(self, connection: Connection, keys: KeySource) -> None:
        """Find the sealing, or make one; not within a transaction. Raises StoreError.

        A command that prints the key takes its time, in which others write: only what is new is made within one.
        """
        self._connection = connection
        self._keys = keys
        self.is_new = False
        if self._kept() is None:
            with writing(connection):
                self._begin()
        else:
            self._take_keys()

    def follow(self) -> None:
        """Take the keys anew when the header is not the one that we know; within a transaction. Raises StoreError."""
        if self._kept() != self._header:
            self._take_keys()

    def _begin(self) -> None:
        """Make a sealing, unless somebody has just made one."""
        self._header = self._kept()
        self.is_new = self._header is None
        sealed = self._connection.execute("SELECT 1 FROM records WHERE sealed_by <> '' LIMIT 1").fetchone()
        self.now = open_sealing(self._keys, self._header, untouched=sealed is None)
        if self.is_new:
            self._keep(attrs.evolve(self.now, whole=True))

    def _take_keys(self) -> None:
        """Take the header and its key; when they do not fit, one may have been changed just before the other."""
        while True:
            header = self._kept()
            try:
                self.now = open_sealing(self._keys, header, untouched=False)
            except StoreError:
                if self._kept() == header:
                    raise
            else:
                self._header = header
                return

    def rotate(self) -> None:
        """Seal with a new key from now on, in every process: each looks at the header before it writes."""
        ring = self._keys.add(self.now.key.id)
        with writing(self._connection):
            self._keep(attrs.evolve(self.now, ring=ring, key=ring.first))

    def forget_older(self) -> None:
        """Nothing is sealed with an older key any more."""
        self._keys.keep(self.now.key.id)

    def _kept(self) -> bytes | None:
        found = self._connection.execute("SELECT value FROM about WHERE name = 'seal'").fetchone()
        return None if found is None else bytes(found[0])

    def _keep(self, sealing: Sealing) -> None:
        header = sealing.header()
        self._connection.execute("INSERT OR REPLACE INTO about (name, value) VALUES ('seal', ?)", (header,))
        self.now, self._header = sealing, header
