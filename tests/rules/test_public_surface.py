"""What plugins and programs may rely on, written down: a change of it is a decision, and shows in a review.

When one is meant: `python tests/rules/test_public_surface.py` writes the file anew. A name that goes, or a signature
that refuses what it took, takes a new `api` or a release that warned before (kernel/docs/plugins.md, Versions).
"""

import enum
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

MODULES = ("turnout", "turnout.abc", "turnout.errors", "turnout.testing")
WRITTEN = Path(__file__).with_name("public_surface.txt")


def surface(module_name: str) -> Iterator[str]:
    """One line for each public name of a module, and for each public member of its classes."""
    module = importlib.import_module(module_name)
    for name in module.__all__:
        thing = getattr(module, name)
        yield from described(f"{module_name}.{name}", thing)


def described(path: str, thing: Any) -> Iterator[str]:
    if not inspect.isclass(thing):
        yield f"{path}{signature(thing)}" if callable(thing) else f"{path} = {shown(thing)}"
        return
    bases = ", ".join(base.__name__ for base in thing.__bases__ if base is not object)
    yield f"{path}({bases})"
    if issubclass(thing, enum.Enum):
        yield from (f"{path}.{member.name} = {member.value!r}" for member in thing)
        return
    if attrs.has(thing) or not thing.__module__.startswith("turnout.abc"):
        yield f"{path}{signature(thing)}"
    own = {**inspect.get_annotations(thing), **vars(thing)}
    for name in sorted(own):
        if not name.startswith("_"):
            yield from member_of(f"{path}.{name}", vars(thing).get(name), attrs.has(thing))


def member_of(path: str, member: Any, is_value: bool) -> Iterator[str]:
    member = member.__func__ if isinstance(member, classmethod | staticmethod) else member
    if inspect.isfunction(member):
        yield f"{path}{signature(member)}"
    elif isinstance(member, property) or not is_value:
        yield path


def signature(thing: Any) -> str:
    """Names, kinds and defaults; types are the type checker's, and Python's releases spell them differently."""
    try:
        found = inspect.signature(thing)
    except (TypeError, ValueError):
        return "(…)"
    bare = [one.replace(annotation=inspect.Parameter.empty) for one in found.parameters.values()]
    text = str(found.replace(parameters=bare, return_annotation=inspect.Signature.empty))
    return re.sub(r" at 0x[0-9a-f]+", "", re.sub(r"<factory>|NOTHING", "…", text))


def shown(thing: Any) -> str:
    return repr(thing) if isinstance(thing, int | str) else type(thing).__name__


def whole() -> str:
    return "".join(f"{line}\n" for module in MODULES for line in surface(module))


@pytest.mark.parametrize("module", MODULES)
def test_the_public_surface_is_what_is_written_down(module: str) -> None:
    """A difference is either a mistake or a decision; see above for the second."""
    written = {line for line in WRITTEN.read_text(encoding="utf-8").splitlines() if owner(line) == module}
    present = set(surface(module))

    assert present - written == set(), "new or changed"
    assert written - present == set(), "gone or changed"


def owner(line: str) -> str:
    return next(module for module in sorted(MODULES, key=len, reverse=True) if line.startswith(f"{module}."))


if __name__ == "__main__":
    WRITTEN.write_text(whole(), encoding="utf-8")
