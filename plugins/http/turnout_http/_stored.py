"""What vendors keep for clients: who made it goes on with it, and nobody else does (C17.3, S8).

Only the Responses API keeps what our own pages make. Files, caches and the like are made at the vendor itself, by who
has a key of that account.
"""

import hmac
from collections.abc import Iterable, Mapping
from typing import Any, final

import turnout_wire
from turnout.abc import Switch
from turnout_http._refusals import Refusal
from turnout_http._visit import Visit

_CODES = {"previous_response_id": "previous_response_not_found"}


@final
class Stored:
    """The responses of this frontend's clients, and their items."""

    def __init__(self, switch: Switch) -> None:
        self._switch = switch

    async def pin(self, visit: Visit, members: Mapping[str, Any]) -> str | None:
        """Id of the credential to which a request must go, None when it names nothing stored.

        Raises Refusal for what was not made for this client, whether it is another one's or nobody's, and for things
        of two accounts in one request. May wait for the store.
        """
        found: str | None = None
        for path, id in turnout_wire.stored_and_named(members):
            keeper = await self._switch.keeper(_name(visit, id))
            if keeper is None or found not in {None, keeper}:
                code = _CODES.get(path, "not_found")
                raise Refusal(code, f"{path}: {id[:80]!r} was not found", param=path)
            found = keeper
        return found

    def note(self, visit: Visit, ids: Iterable[str], credential: str) -> None:
        """These were made for this client, with this credential."""
        for id in ids:
            self._switch.keep(_name(visit, id), credential)


def is_stored(members: Mapping[str, Any]) -> bool:
    """Whether the vendor is to keep what comes of a request."""
    return members.get("store") is not False


def _name(visit: Visit, id: str) -> str:
    """A name that only this client can give: the id, sealed with the client's key, which it does not tell."""
    return hmac.new(visit.key, id.encode("utf-8", "surrogatepass"), "sha256").hexdigest()
