"""Frozen values that are built on every call, in a third of the time."""

from typing import Any, TypeVar, cast

import attrs

T = TypeVar("T")


def quick(cls: type[T]) -> type[T]:
    """Another way to build a frozen attrs class with `weakref_slot=False`: called like it, gives instances of it.

    It converts and checks nothing. attrs fills a frozen instance by `object.__setattr__`, which asks the type's cache
    of attributes each time: 0.1 µs a field on Python 3.11, and 0.4 µs in a process where two names happen to share a
    place there. A twin that has the same slots and is not frozen takes its fields directly, 0.03 µs each, and becomes
    an instance of `cls` when it has them all. The code is made as attrs makes its own, field by field.
    """
    fields: tuple[Any, ...] = attrs.fields(cls)  # type: ignore[arg-type]  # an attrs class, as callers know
    names = [one.name for one in fields]
    defaults = {f"default_{one.name}": one.default for one in fields if one.default is not attrs.NOTHING}
    taken = [f"{name}=default_{name}" if f"default_{name}" in defaults else name for name in names]
    lines = (
        f"def build(*, {', '.join(taken)}):",
        "    built = new(twin)",
        *(f"    built.{name} = {name}" for name in names),
        "    built.__class__ = cls",
        "    return built",
    )
    known: dict[str, Any] = {
        **defaults,
        "cls": cls,
        "new": object.__new__,
        "twin": type(cls.__name__, (), {"__slots__": names}),
    }
    exec("\n".join(lines), known)  # noqa: S102 # nothing but names of fields, which are identifiers
    return cast(type[T], known["build"])
