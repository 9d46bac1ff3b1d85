"""What a kernel that closes leaves unsaved, told by ids and never with a secret. Pure."""

from collections.abc import Iterable, Iterator

from turnout._custody import Custody, is_kept
from turnout._renewal import moved


def losses(custody: Custody) -> Iterator[str]:
    """Says, for a log, what the store did not take, and what to do; nothing where it has everything.

    One line for all of a kind, for a log that rations lines must not swallow the id of a token that is gone.
    """
    renewed, changed, removed, cooled = [], [], [], 0
    for kind, id in custody.dirty.marks:
        credential, stored = custody.credentials.get(id), custody.stored.get(id)
        if kind == "state":
            cooled += credential is not None
        elif kind != "secret" or (credential is not None and not is_kept(credential, kind)):
            continue
        elif credential is None:
            removed.append(id)
        elif credential.last_refreshed_at is not None and (stored is None or moved(stored, credential)):
            renewed.append(id)
        else:
            changed.append(id)
    if renewed:
        yield (
            f"LOST with this process: the tokens that were renewed last of {_named(renewed)}. Where an upstream takes "
            "a refresh token once, the older one in the store is spent: when the store is back, run "
            "`turnout credentials refresh ID` for each of them, and log in again where that fails"
        )
    if changed:
        yield f"LOST with this process: the last changes of {_named(changed)}; make them again"
    if removed:
        yield f"not removed from the store: {_named(removed)}; they are there again at the next start"
    if cooled:
        yield f"LOST with this process: cooldowns and errors of {cooled} credentials; a call or two find them out again"


def _named(ids: Iterable[str]) -> str:
    return ", ".join(sorted(ids))
