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
    ByteCount: 'a size such as "64KiB" or "32MiB"',
    Metadata: "a table",
    list: "an array",
    dict: "a table",
}


def name_of(kind: Any) -> str:
    """What a value of this type looks like in TOML."""
    if kind in _NAMES:
        return _NAMES[kind]
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return "one of " + ", ".join(f'"{member.value}"' for member in kind)
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(f'"{arm}"' for arm in get_args(kind))
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
