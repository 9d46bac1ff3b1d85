"""Who keeps what for clients at its upstream, such as responses that are gone on from (C17.3, S8).

An order, unlike affinity: only the account that made such a thing has it. A frontend names what a client owns in a way
that no other client can, so that whoever is not the owner finds nothing.
"""

from collections.abc import Callable
from typing import final

from turnout._affinity import bucket_of, digest
from turnout._affinity_records import KEEPERS
from turnout._checks import checked_text
from turnout._custody import Custody
from turnout._write_behind import WriteBehind

_ANY_MODEL = ""


@final
class Keeping:
    """Remembers, and looks into the store for what another process remembers."""

    def __init__(self, custody: Custody, writer: Callable[[], WriteBehind]) -> None:
        """`writer` gives who writes to the store now."""
        self._custody = custody
        self._writer = writer

    def keep(self, name: str, credential: str) -> None:
        """Remember that this credential's upstream has what goes by this name, for as long as it usually keeps it."""
        custody = self._custody
        key = digest(checked_text(name, "name"))
        if key is None or checked_text(credential, "credential") not in custody.credentials:
            return
        custody.keepers.learn(_ANY_MODEL, key, credential, custody.now())
        for bucket in custody.keepers.unsaved:
            custody.dirty.mark(KEEPERS, bucket)
        custody.keepers.unsaved.clear()

    async def keeper(self, name: str) -> str | None:
        """Id of the credential whose upstream has it, None when nobody's is known to. May wait for the store."""
        key = digest(checked_text(name, "name"))
        if key is None:
            return None
        found = self._custody.keepers.find(_ANY_MODEL, key, self._custody.now())
        if found is None:
            await self._writer().look_again(KEEPERS, bucket_of(key))
            found = self._custody.keepers.find(_ANY_MODEL, key, self._custody.now())
        return found
