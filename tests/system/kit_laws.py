"""Which laws the checks of `turnout.testing` hold, read from their source, and for which no plugin is broken."""

import ast
import inspect
import re
from collections.abc import Iterable
from types import ModuleType

FIELD = "\0"
"""Stands for what a law is told only when it is broken."""


def laws_of(*modules: ModuleType) -> list[str]:
    """The sentences that these modules may break off with, each once, in their order."""
    return list(dict.fromkeys(law for module in modules for law in _laws(ast.parse(inspect.getsource(module)))))


def unproven(laws: Iterable[str], told: Iterable[str]) -> list[str]:
    """The laws that none of these patterns, with which broken plugins are told, is for.

    Raises AssertionError for a pattern that is for no law, or for more than one: it would prove nothing.
    """
    left, laws = dict.fromkeys(laws), tuple(laws)
    for pattern in told:
        meant = [law for law in laws if _is_for(pattern, law)]
        assert len(meant) == 1, f"{pattern!r} is for {len(meant)} laws: {_shown(meant)}"
        left.pop(meant[0], None)
    return _shown(left)


def _is_for(pattern: str, law: str) -> bool:
    """Whether it is found in the law as it is written, or the law, with its fields filled in, in it."""
    if pattern in law or re.search(pattern.partition(r" \(")[0], law):
        return True
    parts = [re.escape(part) for part in law.strip(FIELD).split(FIELD)]
    return FIELD in law and re.search(".*".join(parts), pattern.replace("\\", "")) is not None


def _shown(laws: Iterable[str]) -> list[str]:
    return [law.replace(FIELD, "…") for law in laws]


def _laws(tree: ast.Module) -> Iterable[str]:
    judges = {assigned.targets[0].id for assigned in ast.walk(tree) if _makes_laws(assigned)}  # type: ignore[attr-defined]
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for call in ast.walk(function):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in judges:
                yield from _sentences(call.args[1], function, tree)


def _makes_laws(node: ast.AST) -> bool:
    made = node.value if isinstance(node, ast.Assign) else None
    return isinstance(made, ast.Call) and isinstance(made.func, ast.Name) and made.func.id == "Laws"


def _sentences(law: ast.expr, function: ast.FunctionDef | ast.AsyncFunctionDef, tree: ast.Module) -> Iterable[str]:
    if not isinstance(law, ast.Name):
        yield _sentence(law)
        return
    for handed in (*function.args.defaults, *_handed(function.name, tree)):  # the law is an argument
        yield _sentence(handed)


def _handed(name: str, tree: ast.Module) -> Iterable[ast.expr]:
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == name:
            yield from call.args[1:]


def _sentence(law: ast.expr) -> str:
    if isinstance(law, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else FIELD for part in law.values)
    assert isinstance(law, ast.Constant), ast.unparse(law)
    return str(law.value)
