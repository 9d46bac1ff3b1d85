"""The bytes that a store keeps: secrets and states as JSON with the wire names of C1.1 to C1.4. Pure.

Times are POSIX seconds; what is unset or empty is left out; unknown fields are ignored when reading, so that an older
kernel reads a newer one's records. Damaged input is a ValueError that says where, and never quotes what it found.
"""

import json
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Never, TypeVar

import attrs

from turnout._cooldown import FIXED
from turnout._values import (
    EMPTY,
    NO_QUOTA,
    Credential,
    CredentialState,
    ErrorRecord,
    Metadata,
    ModelState,
    Quota,
    Secret,
    Status,
)

T = TypeVar("T")

DAY: Final = 86_400.0

SECRET_FIELDS: Final = frozenset(
    [
        *("id", "provider", "prefix", "label", "file_name", "disabled", "api_key", "proxy_url", "attributes"),
        *("metadata", "created_at", "updated_at", "last_refreshed_at", "next_refresh_after"),
    ]
)
MODEL_FIELDS: Final = frozenset(
    ["status", "status_message", "unavailable", "next_retry_after", "last_error", "quota", "updated_at"]
)
STATE_FIELDS: Final = MODEL_FIELDS | {"model_states", "needs_login", "refused", "reset_at"}
"""The fields that this version writes; others belong to a later one (`_unknown_fields`)."""


def encode_credential(credential: Credential) -> bytes:
    """The secret record of a credential, tokens and keys in clear: for a store, which keeps it private or sealed.

    Raises ValueError when its metadata is not JSON.
    """
    fields: dict[str, Any] = {
        "id": credential.id,
        "provider": credential.provider,
        "prefix": credential.prefix,
        "label": credential.label,
        "file_name": credential.file_name,
        "disabled": credential.disabled,
        "api_key": credential.api_key.reveal() if credential.api_key is not None else None,
        "proxy_url": credential.proxy_url.reveal() if credential.proxy_url is not None else None,
        "attributes": dict(credential.attributes),
        "metadata": dict(credential.metadata) if credential.metadata is not None else None,
        "created_at": credential.created_at,
        "updated_at": credential.updated_at,
        "last_refreshed_at": credential.last_refreshed_at,
        "next_refresh_after": credential.next_refresh_after,
    }
    kept = {name: value for name, value in fields.items() if value is not None and value not in ("", {})}
    if credential.metadata is not None:
        kept["metadata"] = fields["metadata"]  # an empty map is kept: it says that the credential may be saved (C3.7)
    return _dump(kept, f"credential {credential.id!r}")


def decode_credential(data: bytes) -> Credential:
    """The credential that `encode_credential` wrote. Raises ValueError that says where it is damaged."""
    fields = _Fields(_load(data), "")
    metadata = fields.take("metadata", _mapping, None)
    return Credential(
        id=fields.need("id", _text),
        provider=fields.need("provider", _text),
        prefix=fields.take("prefix", _text, ""),
        label=fields.take("label", _text, ""),
        file_name=fields.take("file_name", _text, ""),
        disabled=fields.take("disabled", _flag, False),
        api_key=fields.take("api_key", _secret, None),
        proxy_url=fields.take("proxy_url", _secret, None),
        attributes=fields.take("attributes", _texts, EMPTY),
        metadata=None if metadata is None else Metadata(metadata),
        created_at=fields.take("created_at", _time, None),
        updated_at=fields.take("updated_at", _time, None),
        last_refreshed_at=fields.take("last_refreshed_at", _time, None),
        next_refresh_after=fields.take("next_refresh_after", _time, None),
    )


def encode_state(state: CredentialState) -> bytes:
    """The state record of a credential. It holds no secret."""
    fields = _state_fields(state)
    models = {name: _state_fields(entry) for name, entry in state.models.items()}
    if models:
        fields["model_states"] = models
    if state.needs_login:
        fields["needs_login"] = state.needs_login
    if state.refused:
        fields["refused"] = state.refused
    if state.reset_at is not None:
        fields["reset_at"] = state.reset_at
    return _dump(fields, "credential state")


def decode_state(data: bytes, now: float | None = None, cap: float = DAY) -> CredentialState:
    """The state that `encode_state` wrote. Raises ValueError that says where it is damaged.

    With `now`, times that lie too far ahead are brought back (`clamped`); `cap` is the policy's `hint_cap`.
    """
    fields = _Fields(_load(data), "")
    models = {
        name: ModelState(**_state_values(_Fields(entry, f"model_states.{name}.")))
        for name, entry in fields.take("model_states", _mappings, EMPTY).items()
    }
    state = CredentialState(
        **_state_values(fields),
        models=MappingProxyType(models),
        needs_login=fields.take("needs_login", _text, ""),
        refused=fields.take("refused", _text, ""),
        reset_at=fields.take("reset_at", _time, None),
    )
    return state if now is None else clamped(state, now, cap)


def clamped(state: CredentialState, now: float, cap: float = DAY) -> CredentialState:
    """The state without times from the future: the same object when it has none, so that a caller can log it (K3).

    A clock that was wrong when the record was written must not bench a credential for years: no block lies further
    ahead than `cap` seconds, or than the longest fixed one, and nothing was updated later than now.
    """
    latest = now + max(cap, *FIXED.values())
    models = {name: _clamped_entry(entry, now, latest) for name, entry in state.models.items()}
    after = _clamped_entry(state, now, latest)
    if state.reset_at is not None and state.reset_at > now:
        after = attrs.evolve(after, reset_at=now)
    same = all(models[name] is entry for name, entry in state.models.items())
    return after if same else attrs.evolve(after, models=MappingProxyType(models))


S = TypeVar("S", ModelState, CredentialState)


def _clamped_entry(entry: S, now: float, latest: float) -> S:
    until, recover, updated = entry.next_retry_after, entry.quota.next_recover_at, entry.updated_at
    changes: dict[str, Any] = {}
    if until is not None and until > latest:
        changes["next_retry_after"] = latest
    if recover is not None and recover > latest:
        changes["quota"] = attrs.evolve(entry.quota, next_recover_at=latest)
    if updated is not None and updated > now:
        changes["updated_at"] = now
    return attrs.evolve(entry, **changes) if changes else entry


def _state_fields(state: CredentialState | ModelState) -> dict[str, Any]:
    fields: dict[str, Any] = {"status": state.status.value, "unavailable": state.unavailable}
    if state.status_message:
        fields["status_message"] = state.status_message
    if state.next_retry_after is not None:
        fields["next_retry_after"] = state.next_retry_after
    if state.last_error is not None:
        fields["last_error"] = attrs.asdict(state.last_error)
    if state.quota != NO_QUOTA:
        quota = attrs.asdict(state.quota)
        fields["quota"] = {name: value for name, value in quota.items() if value not in (None, "")}
    if state.updated_at is not None:
        fields["updated_at"] = state.updated_at
    return fields


def _state_values(fields: "_Fields") -> dict[str, Any]:
    return {
        "status": fields.take("status", _status, Status.ACTIVE),
        "status_message": fields.take("status_message", _text, ""),
        "unavailable": fields.take("unavailable", _flag, False),
        "next_retry_after": fields.take("next_retry_after", _time, None),
        "last_error": fields.take("last_error", _error, None),
        "quota": fields.take("quota", _quota, NO_QUOTA),
        "updated_at": fields.take("updated_at", _time, None),
    }


class _Fields:
    """The fields of one JSON object, read by name; `at` is the path that errors show."""

    def __init__(self, fields: Mapping[str, Any], at: str) -> None:
        self._fields = fields
        self._at = at

    def need(self, name: str, read: Callable[[Any, str], T]) -> T:
        if self._fields.get(name) is None:
            raise ValueError(f"{self._at}{name} is missing")
        return read(self._fields[name], self._at + name)

    def take(self, name: str, read: Callable[[Any, str], T], otherwise: T) -> T:
        value = self._fields.get(name)
        return otherwise if value is None else read(value, self._at + name)


def _refuse(value: object, at: str, wanted: str) -> Never:
    raise ValueError(f"{at} should be {wanted}, not {type(value).__name__}")


def _text(value: Any, at: str) -> str:
    return value if isinstance(value, str) else _refuse(value, at, "a text")


def _secret(value: Any, at: str) -> Secret:
    return Secret(_text(value, at))


def _flag(value: Any, at: str) -> bool:
    return value if isinstance(value, bool) else _refuse(value, at, "true or false")


def _whole(value: Any, at: str) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else _refuse(value, at, "a whole number")


def _time(value: Any, at: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        _refuse(value, at, "a time in POSIX seconds")
    if not math.isfinite(value) or abs(value) > MAX_TIME:
        raise ValueError(f"{at} is no time: out of range")
    return float(value)


MAX_TIME: Final = 1e12
"""Seconds, far beyond any calendar: times are added to, and must stay exact to a millisecond."""


def _mapping(value: Any, at: str) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else _refuse(value, at, "an object")


def _mappings(value: Any, at: str) -> Mapping[str, Mapping[str, Any]]:
    return {name: _mapping(item, f"{at}.{name}") for name, item in _mapping(value, at).items()}


def _texts(value: Any, at: str) -> Mapping[str, str]:
    return {name: _text(item, f"{at}.{name}") for name, item in _mapping(value, at).items()}


def _status(value: Any, at: str) -> Status:
    text = _text(value, at)
    try:
        return Status(text)
    except ValueError:
        raise ValueError(f"{at} should be one of {', '.join(status.value for status in Status)}") from None


def _error(value: Any, at: str) -> ErrorRecord:
    fields = _Fields(_mapping(value, at), at + ".")
    return ErrorRecord(
        code=fields.take("code", _text, ""),
        message=fields.take("message", _text, ""),
        retryable=fields.take("retryable", _flag, False),
    )


def _quota(value: Any, at: str) -> Quota:
    fields = _Fields(_mapping(value, at), at + ".")
    return Quota(
        exceeded=fields.take("exceeded", _flag, False),
        reason=fields.take("reason", _text, ""),
        next_recover_at=fields.take("next_recover_at", _time, None),
        backoff_level=min(max(fields.take("backoff_level", _whole, 0), 0), 11),
    )


def _dump(fields: Mapping[str, Any], what: str) -> bytes:
    try:
        return json.dumps(fields, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{what} cannot be kept as JSON: {type(error).__name__}") from None


def _load(data: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(data.decode(), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start}: not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno} column {error.colno}: not JSON ({error.msg})") from None
    except RecursionError:
        raise ValueError("nested too deep") from None
    return _mapping(value, "the record")


def _no_constant(name: str) -> Never:
    raise ValueError(f"{name} is not JSON")
