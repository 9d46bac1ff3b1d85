"""What a renewal does next, where others may renew the same credential: renew, adopt, wait, or give up. Pure.

A token is spent once. So the right to spend it is leased from the store, what the store has is read under the lease,
and whoever finds tokens there that are not those it set out to replace takes them and asks nobody. A token that came is
kept under a lease, too: of two nodes that believe to have it, the store knows one.
"""

import enum
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final, final

import attrs

from turnout._entries import SEED
from turnout._readings import EXPIRY_KEYS, NO_SECRETS, expiry
from turnout._values import EMPTY, Credential

TOKEN_KEYS: Final = frozenset({"access_token", "refresh_token", "id_token", "scope", "token", "Token", *EXPIRY_KEYS})
"""What a refresh changes in metadata, whatever the vendor."""

NO_LOGIN: Final = frozenset({"scope", *EXPIRY_KEYS})
"""Of these, what makes no other login of one when somebody edits it."""

LAST_MINUTE: Final = 60.0
"""Seconds to the end of a token within which a sole holder of the lease renews although the store is away (G2)."""


class Right(enum.Enum):
    """What the store says about renewing one credential."""

    UNSHARED = "unshared"
    """It has no leases and takes writes, or does not keep this credential: nobody else renews it."""
    HELD = "held"
    TAKEN = "taken"
    """Somebody else has the lease."""
    AWAY = "away"
    """It does not answer, or takes no writes."""


class Step(enum.Enum):
    """What comes next."""

    RENEW = "renew"
    KEEP = "keep"
    """A token has come and is to be kept."""
    ADOPT = "adopt"
    """Somebody else was faster."""
    WAIT = "wait"
    """Somebody else is at it."""
    POSTPONE = "postpone"
    """The store is away, and nothing proves that nobody else is at it."""
    REFUSED = "refused"
    """Somebody else has found that only a person can renew it."""
    LEAVE = "leave"
    """It is gone or disabled."""


@final
@attrs.frozen(kw_only=True)
class Held:
    """What is known while the right to renew is held, or is not.

    Attributes:
        left: seconds that the lease lasts at the least: by our own clock, counted from before it was asked for.
        ends: the same on Trio's clock: from then on it may be somebody else's, as after a process was stopped (E6).
        read: what the store has was read under the lease, and is in custody.
        sole: nobody else has had the lease since that was last so.
    """

    right: Right
    left: float = 0.0
    ends: float = 0.0
    read: bool = False
    sole: bool = False

    def over(self, at: float) -> bool:
        """Whether the lease, which we had, may be somebody else's by now; `at` is on Trio's clock."""
        return self.right is Right.HELD and at >= self.ends


UNSHARED: Final = Held(right=Right.UNSHARED, read=True)


def next_step(  # noqa: PLR0911  # a table, first match wins
    held: Held,
    *,
    given: Credential,
    found: Credential | None,
    now: float,
    in_hand: bool = False,
    refused: bool = False,
) -> Step:
    """What to do with a credential that was found due.

    `given` is the credential as it was then, `found` as it is now, None when it is gone; `in_hand` says that its new
    token has come already, `refused` that somebody has found since that only a person can renew it. The proof that
    nobody else has renewed, where the store cannot be read, is a lease that it gave next after our last one.
    """
    if found is None or (found.disabled and not in_hand):
        return Step.LEAVE
    if moved(given, found):
        return Step.ADOPT
    if held.right is Right.TAKEN:
        return Step.WAIT
    if in_hand:
        return Step.KEEP
    if refused:
        return Step.REFUSED
    if held.right is Right.UNSHARED:
        return Step.RENEW
    if held.right is Right.AWAY or held.left <= 0:
        return Step.POSTPONE
    ends = expiry(found)
    alone = held.sole and ends is not None and ends - now < LAST_MINUTE
    return Step.RENEW if held.read or alone else Step.POSTPONE


def after_refusal(held: Held, *, given: Credential, found: Credential | None) -> Step:
    """What a refused token means (E7): somebody else has replaced it, or only a person can help.

    With a lease whose store cannot be read it is not known which; the old token is kept, and the store is
    asked again before the upstream is.
    """
    if found is None:
        return Step.LEAVE
    if moved(given, found):
        return Step.ADOPT
    return Step.REFUSED if held.read else Step.POSTPONE


def moved(given: Credential, found: Credential) -> bool:
    """Whether `found` has other tokens of the same login than `given`."""
    if given.attributes.get(SEED) != found.attributes.get(SEED):
        return False
    return tokens(given) != tokens(found)


def replaced(given: Credential, result: Credential | None, found: Credential) -> bool:
    """Whether `found` is another login than `given`, whose renewal gave `result`: what that gave is not for it (E7).

    So it is where somebody has changed a token meanwhile, or a key that the renewal has changed as well.
    """
    if given.attributes.get(SEED) != found.attributes.get(SEED):
        return True
    before, after, there = (one.metadata or EMPTY for one in (given, result or given, found))
    renewed = {key for key in {*before, *after} if before.get(key) != after.get(key)}
    return any(before.get(key) != there.get(key) for key in (renewed | TOKEN_KEYS) - NO_LOGIN)


def another_secret(before: Credential, after: Credential) -> bool:
    """Whether a credential has got another key, or other tokens."""
    return before is not after and (before.api_key != after.api_key or tokens(before) != tokens(after))


def another_account(before: Credential, after: Credential) -> bool:
    """Whether a credential has got another key or another login, so that what befell the old one is not about it."""
    if before is after:
        return False
    return before.api_key != after.api_key or before.attributes.get(SEED) != after.attributes.get(SEED)


def tokens(credential: Credential) -> Mapping[str, Any]:
    """What a refresh replaces: all of the metadata, where none of it has a name that we know."""
    metadata = credential.metadata or EMPTY
    return {key: metadata[key] for key in TOKEN_KEYS if key in metadata} or metadata


def mark_of(credential: Credential) -> str:
    """A digest that tells one secret of a credential from another; nothing can be read from it.

    Any key of the metadata may be what a vendor renews with, less those of which we know that they are not.
    """
    key = credential.api_key.reveal() if credential.api_key is not None else None
    shown = {name: value for name, value in (credential.metadata or EMPTY).items() if name not in NO_SECRETS}
    return _mark([key, shown])


def mark_of_tokens(credential: Credential) -> str:
    """A digest that tells the tokens of a credential from others."""
    return _mark(dict(tokens(credential)))


def _mark(known: object) -> str:
    text = json.dumps(known, sort_keys=True, default=repr).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=8, person=b"turnout refused").hexdigest()
