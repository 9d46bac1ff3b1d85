"""How the configuration's errors speak of types and values: by kind, never by content."""

import difflib
import enum
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from turnout._values import ByteCount, Metadata, Seconds, Secret

_NAMES: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    Secret: "a text",
    Path: "a path",
    Seconds: 'a duration such as "30s", "5m" or "1h30m"',
    ByteCount: 'a size such as "64KiB" or "32MiB", or a number of bytes',
    Metadata: "a table",
    list: "an array",
    dict: "a table",
}

_FORMS: dict[Any, str] = {
    Seconds: "each number has its unit: ms, s, m, h or d",
    ByteCount: "not below 0, and in quotes with its unit: B, kB, MB, GB, KiB, MiB or GiB",
}
"""How to write what is written as a text or a number, but not as any: of the first, its kind alone says too little."""


def mismatch(kinds: Sequence[Any], value: Any) -> str:
    """What is expected where one of these types is, and what the file has instead if that is of another kind."""
    expected = "expected " + " or ".join(name_of(kind) for kind in kinds)
    if not any(_may_be(kind, value) for kind in kinds):
        return f"{expected}, got {got(value)}"
    return "; ".join([expected, *(_FORMS[kind] for kind in kinds if kind in _FORMS)])


def _may_be(kind: Any, value: Any) -> bool:
    """Whether some values of this type are written in the way in which this one is."""
    if kind is Seconds:
        return type(value) is str
    if kind is ByteCount:
        return type(value) in {str, int}
    if _members(kind):
        return type(value) in {type(member) for member in _members(kind)}
    return name_of(kind) == got(value)


def _members(kind: Any) -> tuple[Any, ...]:
    """What a value of a closed set may be; empty for another type."""
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return tuple(member.value for member in kind)
    return get_args(kind) if get_origin(kind) is Literal else ()


def name_of(kind: Any) -> str:
    """What a value of this type looks like in TOML."""
    if kind in _NAMES:
        return _NAMES[kind]
    if members := _members(kind):
        return "one of " + ", ".join(f'"{member}"' for member in members)
    if is_array(kind):
        return "an array"
    return "a table"


def got(value: Any) -> str:
    """What kind of value the file has."""
    return _NAMES.get(type(value), "a date or time")


def nearest(word: Any, known: Iterable[Any]) -> str:
    """A question about the known word that is meant, empty when none is close."""
    close = difflib.get_close_matches(str(word), [str(item) for item in known], n=1) if type(word) is str else []
    return f'; did you mean "{close[0]}"?' if close else ""


def mentions_secret(kind: Any) -> bool:
    """Whether a value of this type is or holds a secret."""
    return kind is Secret or any(mentions_secret(arm) for arm in get_args(kind))


def is_array(kind: Any) -> bool:
    """Whether the type is written as an array."""
    return kind in {list, tuple} or get_origin(kind) in {list, tuple, Sequence, frozenset, set}


def without_values(error: Exception, value: Any) -> str:
    """The first line of a foreign message, the file's own texts masked in it."""
    message = str(error.args[0] if error.args else type(error).__name__).partition("\n")[0][:300]
    for text in sorted(_texts(value), key=len, reverse=True):
        for shown in (repr(text), f'"{text}"', text if len(text) > 5 else ""):
            message = message.replace(shown, "***") if shown else message
    return message


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    nested = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for item in nested for text in _texts(item)]
