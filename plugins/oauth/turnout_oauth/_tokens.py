"""What a token endpoint gives, and what of it a credential keeps (RFC 6749, 5.1; acceptance E9). Pure."""

import math
from typing import Final, final

import attrs

from turnout import Credential, Metadata, Secret

DEFAULT_LIFETIME: Final = 900.0
"""Seconds that a token is taken to live when the server does not say (E9)."""

SHORTEST_LIFETIME: Final = 60.0
"""Seconds: a server that says 0 or less has just given us a token that works, for a moment at least (E9)."""

LONGEST_LIFETIME: Final = 365 * 86_400.0
"""Seconds: a longer one is a mistake of units, and the token would never be renewed (E9)."""

EXPIRY_KEYS: Final = ("expired", "expire", "expiresAt", "expiry", "expires")
"""Other names under which a credential's metadata may tell its end (C1.14): none may outlive the token it spoke of."""


@final
@attrs.frozen(kw_only=True)
class Tokens:
    """What a grant gave.

    Attributes:
        expires_at: POSIX seconds, within the limits above.
        refresh_token: None when none came: the old one stays in force (RFC 6749, 6).
        scope: as granted, empty when the server did not say.
    """

    access_token: Secret
    expires_at: float
    refresh_token: Secret | None = None
    scope: str = ""


def lifetime(expires_in: object) -> float:
    """Seconds that a token lives, whatever the server wrote: a number, a number as text, nothing, nonsense (E9)."""
    if isinstance(expires_in, bool) or not isinstance(expires_in, int | float | str):
        return DEFAULT_LIFETIME
    try:
        seconds = float(expires_in)
    except (ValueError, OverflowError):
        return DEFAULT_LIFETIME if isinstance(expires_in, str) else LONGEST_LIFETIME
    if math.isnan(seconds):
        return DEFAULT_LIFETIME
    return min(max(seconds, SHORTEST_LIFETIME), LONGEST_LIFETIME)


def merged(metadata: Metadata | None, tokens: Tokens) -> Metadata:
    """A credential's metadata after a grant: the new tokens in the place of the old, and everything else as it was."""
    kept = {key: value for key, value in (metadata or {}).items() if key not in EXPIRY_KEYS}
    kept["access_token"] = tokens.access_token.reveal()
    kept["expires_at"] = int(tokens.expires_at)
    if tokens.refresh_token is not None:
        kept["refresh_token"] = tokens.refresh_token.reveal()
    if tokens.scope:
        kept["scope"] = tokens.scope
    return Metadata(kept)


def access_token_of(credential: Credential) -> str:
    """The token to send with a credential's calls, empty when it has none yet."""
    return text(credential.metadata, "access_token")


def text(metadata: Metadata | None, key: str) -> str:
    """A text of a credential's metadata, empty when there is none."""
    value = metadata.get(key) if metadata is not None else None
    return value.strip() if isinstance(value, str) else ""
