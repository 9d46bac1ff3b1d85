"""Strict cattrs hooks for single values: each takes what TOML has for its type, and nothing that is merely like it."""

import math
from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin

from turnout import _units
from turnout._problems import Misfit, Problem
from turnout._type_words import mentions_secret, mismatch, name_of, nearest
from turnout._values import ByteCount, Seconds

Hook = Callable[[Any, Any], Any]


def unfit(kind: Any, value: Any) -> Misfit:
    """The refusal of a value of another type."""
    return Misfit([Problem((), mismatch([kind], value), secret=mentions_secret(kind))])


def plain(kind: type) -> Hook:
    """A hook that takes a TOML value of exactly this type as it is."""

    def take(value: Any, _: Any) -> Any:
        if type(value) is not kind:
            raise unfit(kind, value)
        return value

    return take


def number(value: Any, _: Any) -> float:
    """A whole or broken number, and no infinity."""
    if type(value) not in {int, float}:
        raise unfit(float, value)
    if not math.isfinite(value):
        raise Misfit([Problem((), "expected a finite number")])
    return float(value)


def seconds(value: Any, _: Any) -> Seconds:
    """A duration, written as a text."""
    found = _units.seconds(value) if type(value) is str else None
    if found is None:
        raise unfit(Seconds, value)
    return found


def byte_count(value: Any, _: Any) -> ByteCount:
    """A size, written as a text or as a number of bytes."""
    found = _units.byte_count(value) if type(value) is str else value
    if type(found) is not int or found < 0:
        raise unfit(ByteCount, value)
    return ByteCount(found)


def text_as(kind: Callable[[str], Any]) -> Hook:
    """A hook that makes something of a text."""

    def take(value: Any, _: Any) -> Any:
        if type(value) is not str:
            raise unfit(kind, value)
        return kind(value)

    return take


def choice(value: Any, kind: Any) -> Any:
    """A member of an enum or a literal."""
    members = {arm: arm for arm in get_args(kind)} if get_origin(kind) is Literal else {m.value: m for m in kind}
    for known, member in members.items():
        if type(value) is type(known) and value == known:
            return member
    raise Misfit([Problem((), f"expected {name_of(kind)}{nearest(value, members)}")])
