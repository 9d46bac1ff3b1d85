"""What a credential's record says, read once and the same way by everybody (C1.7 to C1.16, C14.2, C14.3).

Attributes are texts from the configuration; metadata is JSON from a vendor's login or a file. Both are read leniently:
what cannot be read counts as absent and never stops a credential from loading.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar, final

import attrs

from turnout._lenient import Instant, boolean, duration, timestamp, whole_number
from turnout._values import EMPTY, MASK, Credential, Secret

__all__ = [
    "EXPIRY_KEYS",
    "NO_SECRETS",
    "Account",
    "Instant",
    "account",
    "boolean",
    "cooling_off",
    "duration",
    "expiry",
    "ident",
    "last_refresh",
    "printable",
    "priority",
    "proxy_label",
    "redact",
    "refresh_interval",
    "retries",
    "stable_index",
    "timestamp",
    "tool_prefix_off",
    "virtual_parent",
    "websockets",
    "whole_number",
]

T = TypeVar("T")

_COOLING_OFF = ("disable_cooling", "disable-cooling")
_RETRIES = ("request_retry", "request-retry")
_TOOL_PREFIX_OFF = ("tool_prefix_disabled", "tool-prefix-disabled")
EXPIRY_KEYS = ("expired", "expire", "expires_at", "expiresAt", "expiry", "expires")
_REFRESH_INTERVAL = ("refresh_interval_seconds", "refreshIntervalSeconds", "refresh_interval", "refreshInterval")
_LAST_REFRESH = ("last_refresh", "lastRefresh", "last_refreshed_at", "lastRefreshedAt")

NO_SECRETS: Final = frozenset(
    {
        "email",
        "websockets",
        *_COOLING_OFF,
        *_RETRIES,
        *_TOOL_PREFIX_OFF,
        *EXPIRY_KEYS,
        *_REFRESH_INTERVAL,
        *_LAST_REFRESH,
    }
)
"""What metadata says to the kernel and to people: an upstream that has refused a secret is not shown these."""

_SHOWN = 4
_SHORTEST_SHOWN = 17
"""Of a shorter key, four characters at each end would be half of it or more."""


@final
@attrs.frozen
class Account:
    """Whose credential it is (C1.8).

    Attributes:
        kind: `oauth`, `api_key`, or empty.
        identity: the e-mail address (never logged, C14.3), the key itself, or empty.
    """

    kind: str = ""
    identity: str | Secret = attrs.field(default="", repr=False)


def stable_index(credential: Credential) -> str:
    """The short identifier that stays the same over restarts, 16 hex digits (C1.7); one that is set is kept.

    Empty when nothing tells the credential from others yet.
    """
    if credential.index or not (seed := _seed(credential)):
        return credential.index
    return hashlib.sha256(seed.encode("utf-8", "surrogatepass")).digest()[:8].hex()


def account(credential: Credential) -> Account:
    """Kind and identity; an e-mail beats a key (C1.8)."""
    metadata = credential.metadata or EMPTY
    email = _text(metadata.get("email"))
    if email:
        project = _text(metadata.get("project_id")) if credential.provider == "gemini-cli" else ""
        return Account("oauth", f"{email} ({project})" if project else email)
    return Account("api_key", credential.api_key) if credential.api_key else Account()


def proxy_label(credential: Credential) -> str:
    """How the credential travels, for logs: the scheme of its proxy, never its host or password (C1.9)."""
    url = credential.proxy_url.reveal().strip() if credential.proxy_url else ""
    scheme, found, _ = url.partition("://")
    return f"via {scheme} proxy" if found and scheme else "via proxy" if url else ""


def cooling_off(credential: Credential) -> bool | None:
    """Whether cooldowns are off for this credential; None when the global switch decides (C1.11)."""
    return _override(credential, _COOLING_OFF, boolean)


def retries(credential: Credential) -> int | None:
    """How many further passes this credential asks for, 0 or more; None when the global count decides (C1.11)."""
    count = _override(credential, _RETRIES, whole_number)
    return None if count is None else max(count, 0)


def tool_prefix_off(credential: Credential) -> bool:
    """Whether a provider should leave tool names as they are (C1.11)."""
    return bool(_override(credential, _TOOL_PREFIX_OFF, boolean))


def priority(credential: Credential) -> int:
    """Higher is better; 0 when missing or unreadable (C1.12.1)."""
    return whole_number(credential.attributes.get("priority")) or 0


def websockets(credential: Credential) -> bool:
    """Whether this credential may serve downstream websockets (C1.12.2); numbers do not count."""
    configured = boolean(credential.attributes.get("websockets"))
    if configured is not None:
        return configured
    value = (credential.metadata or EMPTY).get("websockets")
    return bool(boolean(value)) if isinstance(value, bool | str) else False


def virtual_parent(credential: Credential) -> str:
    """The account that this credential is one project of; empty when it stands alone (C1.12.3)."""
    return _text(credential.attributes.get("gemini_virtual_parent"))


def expiry(credential: Credential) -> float | None:
    """POSIX seconds at which the tokens expire; None when unknown or unset (C1.14)."""
    todo: list[Mapping[str, Any]] = [credential.metadata or EMPTY]
    while todo:
        record = todo.pop()
        found = _first(record, EXPIRY_KEYS, timestamp)
        if found:
            return found.at
        inner = (record.get("Token"), record.get("token"))  # the last one is taken first
        todo.extend(value for value in inner if isinstance(value, Mapping))
    return None


def refresh_interval(credential: Credential) -> float | None:
    """Seconds between refreshes that the record asks for; None when it does not (C1.16.1)."""
    found = _first(credential.metadata or EMPTY, _REFRESH_INTERVAL, duration)
    return _first(credential.attributes, _REFRESH_INTERVAL, duration) if found is None else found


def last_refresh(credential: Credential) -> float | None:
    """POSIX seconds of the last refresh; None when unknown or unset (C1.16.2)."""
    if credential.last_refreshed_at is not None:
        return credential.last_refreshed_at
    records: tuple[Mapping[str, Any], ...] = (credential.metadata or EMPTY, credential.attributes)
    found = next((at for record in records if (at := _first(record, _LAST_REFRESH, timestamp))), None)
    return found.at if found else None


def redact(text: str) -> str:
    """A key as logs may show it: both ends of a long one, nothing of a short one (C14.2 with O62)."""
    return f"{text[:_SHOWN]}...{text[-_SHOWN:]}" if len(text) >= _SHORTEST_SHOWN else MASK if text else ""


def ident(credential: Credential) -> str:
    """A credential as logs may name it: provider and base name, no directory and no e-mail of its record (C14.3)."""
    name = _base_name(credential.file_name) or _base_name(credential.id)
    return f"provider={printable(credential.provider)} auth_file={printable(name)}"


def printable(text: str) -> str:
    """A name as logs may show it: one with a line break in it must not be able to forge a line (S51)."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _seed(credential: Credential) -> str:
    file_name, id = credential.file_name.strip(), credential.id.strip()
    return f"file:{file_name}" if file_name else _configured_seed(credential) or (f"id:{id}" if id else "")


def _configured_seed(credential: Credential) -> str:
    attributes = credential.attributes
    provider = _text(attributes.get("provider_key")).lower() or credential.provider
    parts = {
        "compat": _text(attributes.get("compat_name")).lower(),
        "base": _text(attributes.get("base_url")),
        "proxy": credential.proxy_url.reveal().strip() if credential.proxy_url else "",
        "api_key": credential.api_key.reveal().strip() if credential.api_key else "",
        "source": _text(attributes.get("source")),
    }
    given = [f"{name}={value}" for name, value in parts.items() if value]
    return "config:" + "\0".join([f"provider={provider}", *given]) if given else ""


def _override(credential: Credential, keys: Sequence[str], read: Callable[[object], T | None]) -> T | None:
    return _first(credential.metadata or EMPTY, keys, read)


def _first(record: Mapping[str, Any], keys: Sequence[str], read: Callable[[object], T | None]) -> T | None:
    for key in keys:
        if key in record and (value := read(record[key])) is not None:
            return value
    return None


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""


def _base_name(path: str) -> str:
    return path.strip().replace("\\", "/").rstrip("/").rpartition("/")[2]
