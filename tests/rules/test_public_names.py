"""What is public is listed, and nothing else is."""

import ast
import importlib
import inspect
from pathlib import Path
from types import ModuleType

import pytest

PUBLIC = ["turnout", "turnout.abc", "turnout.errors", "turnout.testing"]


def present(module: ModuleType) -> set[str]:
    """Public names that a package gathers from its rooms, or that a module defines itself."""
    path = Path(inspect.getfile(module))
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names.update(target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
        elif isinstance(node, ast.ImportFrom) and path.name == "__init__.py":
            names.update(alias.asname or alias.name for alias in node.names if str(node.module).startswith("turnout"))
    return {name for name in names if not name.startswith("_")}


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_are_listed_sorted_and_all_there(name: str) -> None:
    """Style: `__all__` equals the names present."""
    module = importlib.import_module(name)

    assert list(module.__all__) == sorted(module.__all__)
    assert set(module.__all__) == present(module)
    assert all(getattr(module, public) is not None for public in module.__all__)


@pytest.mark.parametrize("name", PUBLIC)
def test_nothing_public_is_a_module_or_private(name: str) -> None:
    module = importlib.import_module(name)

    assert [public for public in module.__all__ if isinstance(getattr(module, public), ModuleType)] == []
    assert [public for public in module.__all__ if public.startswith("_")] == []


def test_every_error_is_a_turnout_error_with_a_code_and_a_docstring() -> None:
    """C6.1, design 9: catching the root catches everything that is raised on purpose."""
    errors = importlib.import_module("turnout.errors")
    for name in errors.__all__:
        error = getattr(errors, name)
        assert issubclass(error, errors.TurnoutError)
        assert error.code == error.code.lower().strip()
        assert error.code
        assert inspect.getdoc(error)


def test_every_public_thing_has_a_docstring() -> None:
    for name in PUBLIC:
        module = importlib.import_module(name)
        things = [getattr(module, public) for public in module.__all__]
        silent = [thing.__qualname__ for thing in things if inspect.isclass(thing) and not thing.__doc__]
        assert silent == []
