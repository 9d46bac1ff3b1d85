"""Refuses wrong arguments of public calls by name, before anything happens."""

from collections.abc import Callable, Iterable, Mapping
from math import inf
from types import MappingProxyType
from typing import Any

import attrs

from turnout._config import Config
from turnout._lasting import LastingScope
from turnout._plugins import Plugins
from turnout._records import encode_credential
from turnout._values import Ask, Credential, Metadata, Operation, Secret, refuse

_KINDS: tuple[tuple[str, Any, str], ...] = (
    ("model", str, "a text"),
    ("payload", bytes, "bytes"),
    ("dialect", str, "a text"),
    ("id", str, "a text"),
    ("client", str, "a text"),
    ("session", str, "a text"),
    ("affinity", str | None, "a text or None"),
    ("pin", str | None, "a text or None"),
    ("operation", Operation, "an Operation"),
    ("websocket", bool, "True or False"),
    ("deadline", int | float | None, "a number of seconds or None"),
    ("headers", Mapping, "a mapping"),
    ("metadata", Mapping, "a mapping"),
)

_TIMES = ("created_at", "updated_at", "last_refreshed_at", "next_refresh_after")

_CREDENTIAL_KINDS: tuple[tuple[str, Any, str], ...] = (
    *((name, str, "a text") for name in ("id", "index", "label", "prefix", "file_name", "origin")),
    *((name, Secret | None, "a Secret or None") for name in ("api_key", "proxy_url")),
    *((name, int | float | None, "POSIX seconds or None") for name in _TIMES),
    ("disabled", bool, "True or False"),
    ("metadata", Metadata | None, "Metadata or None"),
)

_OPENING: tuple[tuple[str, Any, str], ...] = (
    ("plugins", Plugins | None, "Plugins or None"),
    ("wall", Callable, "a function"),
    ("draw", Callable, "a function"),
    ("renew", bool, "True or False"),
    ("sockets", Mapping, "a mapping"),
    ("watch_stalls", bool, "True or False"),
)

GENERATE = Operation.GENERATE
"""As a global, for the reason that `_values.DISABLED` has."""

_PLAIN = frozenset({dict, MappingProxyType})
"""Mappings that are known by their type: 0.3 µs less than asking the abstract class, twice a call."""


def checked(ask: Ask) -> Ask:
    """The ask, if it is one; raises InvalidAsk that names what is wrong. A pin is trimmed, a blank one none (C1.19)."""
    if type(ask) is Ask and _is_plain(ask):
        return ask
    if not isinstance(ask, Ask):
        refuse(f"expected an Ask, got {type(ask).__name__}", "ask")
    _check_kinds("ask", ask, _KINDS)
    if not ask.model.strip():
        refuse("ask.model is blank", "ask.model")
    if not _are_texts(ask.headers):
        refuse("ask.headers must be texts under texts", "ask.headers")
    if ask.deadline is not None and (isinstance(ask.deadline, bool) or not ask.deadline > 0):
        refuse(f"ask.deadline must be above 0 seconds, not {ask.deadline!r}", "ask.deadline")
    pin = None if ask.pin is None else ask.pin.strip() or None
    return ask if pin == ask.pin else attrs.evolve(ask, pin=pin)


def checked_stream(ask: Ask) -> Ask:
    """The same for a call that streams: only what is generated comes in pieces."""
    ask = checked(ask)
    if ask.operation is not GENERATE:
        refuse(f"ask.operation must be GENERATE where it streams, not {ask.operation.name}", "ask.operation")
    return ask


def checked_scope(under: object) -> LastingScope | None:
    """The scope that a call is to be made in, None for one of its own; raises InvalidAsk for anything else."""
    if under is not None and not isinstance(under, LastingScope):
        refuse(f"under must be a LastingScope or None, not {type(under).__name__}", "under")
    return under


def checked_credential(credential: object) -> Credential:
    """The credential, if it is one that can be used and kept; raises InvalidAsk that names what is wrong."""
    if not isinstance(credential, Credential):
        refuse(f"expected a Credential, got {type(credential).__name__}", "credential")
    _check_kinds("credential", credential, _CREDENTIAL_KINDS)
    for key, value in credential.attributes.items():
        if not isinstance(key, str) or not isinstance(value, str):
            refuse(f"credential.attributes[{key!r}] must be a text under a text", "credential.attributes")
    for name in _TIMES:
        value = getattr(credential, name)
        if value is not None and (isinstance(value, bool) or not -inf < value < inf):
            refuse(f"credential.{name} must be POSIX seconds or None, not {value!r}", f"credential.{name}")
    try:
        encode_credential(credential)
    except ValueError as error:
        refuse(str(error), "credential.metadata")
    return credential


def checked_config(config: object) -> Config:
    """The configuration, if it is one; raises InvalidAsk."""
    if not isinstance(config, Config):
        refuse(f"expected a Config, got {type(config).__name__}", "config")
    return config


def check_opening(**arguments: object) -> None:
    """Raise InvalidAsk unless a kernel can be opened with these arguments beside its configuration."""
    for name, kind, wanted in _OPENING:
        _check_kind(name, arguments[name], kind, wanted)


def checked_text(value: object, argument: str) -> str:
    """The text, if it is one; raises InvalidAsk that names the argument."""
    if not isinstance(value, str):
        refuse(f"{argument} must be a text", argument)
    return value


def checked_count(value: object, argument: str) -> int:
    """The whole number, if it is one that is not negative; raises InvalidAsk that names the argument."""
    if type(value) is not int or value < 0:
        refuse(f"{argument} must be a whole number that is not negative, not {value!r}", argument)
    return value


def _check_kinds(owner: str, value: object, kinds: Iterable[tuple[str, Any, str]]) -> None:
    for name, kind, wanted in kinds:
        _check_kind(f"{owner}.{name}", getattr(value, name), kind, wanted)


def _check_kind(argument: str, value: object, kind: Any, wanted: str) -> None:
    if not isinstance(value, kind):
        refuse(f"{argument} must be {wanted}, not {type(value).__name__}", argument)


def _are_texts(headers: Mapping[Any, Any]) -> bool:
    return all(isinstance(name, str) and isinstance(value, str) for name, value in headers.items())


def _is_plain(ask: Ask) -> bool:
    """Whether it is an ask as nearly all of them are: a third of the cost of looking at every field."""
    return (
        type(ask.model) is str
        and bool(ask.model.strip())
        and type(ask.operation) is Operation
        and type(ask.websocket) is bool
        and type(ask.payload) is bytes
        and type(ask.dialect) is type(ask.id) is type(ask.client) is type(ask.session) is str
        and ask.pin is None
        and ask.deadline is None
        and (ask.affinity is None or type(ask.affinity) is str)
        and (type(ask.headers) in _PLAIN or isinstance(ask.headers, Mapping))
        and (not ask.headers or _are_texts(ask.headers))
        and (type(ask.metadata) in _PLAIN or isinstance(ask.metadata, Mapping))
    )
