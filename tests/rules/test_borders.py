"""The borders of the house, read from its source: who may import what, open a nursery, or see a secret."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from itertools import chain, pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
KERNEL = ROOT / "kernel" / "turnout"
PLUGINS = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))
PACKAGES = {path.name: path for plugin in PLUGINS for path in plugin.glob("turnout_*") if path.is_dir()}

KERNEL_THIRD_PARTIES = {"trio", "attrs", "cattrs", "tomlkit", "click"}
OPEN_TO_PLUGINS = {"turnout", "turnout.abc", "turnout.errors", "turnout.testing"}
LIBRARIES = {"turnout_wire", "turnout_seal", "turnout_oauth", "turnout_dialects", "turnout_sockets"}
IMPURE = {"trio", "time", "random", "secrets", "os", "socket", "logging"}
PURE = {
    "_values",
    "_verdicts",
    "_names",
    "_readings",
    "_catalogue",
    "_ledger",
    "_schedule",
    "_affinity",
    "_allowance",
    "_due",
    "_renewal",
}
NURSERY_ROOMS = {
    *("_kernel", "_plugins", "_refresh", "_bootstrap", "_supervise"),
    "_hedge",  # a second candidate's stream lives beside the caller's task, for as long as the call does (design 8a)
    "_cli_run",  # the task that hears signals has to outlive the kernel that they end
    "_cli_processes",  # the supervisor has no kernel: one nursery with a task for each process
    "_inspect",  # commands look into a store without starting a kernel
}

DOWNHILL: list[set[str]] = [
    {"errors", "_verdicts"},
    {"_values"},
    {"_names", "_readings", "_catalogue", "_ledger", "_schedule", "_affinity", "_allowance", "_due", "_renewal"},
    {"_events"},
    {"abc"},
    {"_plugins", "_config"},
    {"_conduct", "_refresh"},
    {"_kernel"},
    {"_cli"},
]
"""Design 5.1, lowest first."""

UPHILL = {("_schedule", "abc"), ("_ready", "abc")}
"""The one exception: `abc` describes what a selector sees, and the schedule's own types say that they are that."""


class Import(NamedTuple):
    """One import statement's module. `lazy`: inside a function. `typing`: only for type checkers."""

    module: str
    line: int
    lazy: bool
    typing: bool


class Imports(ast.NodeVisitor):
    def __init__(self) -> None:
        self.found: list[Import] = []
        self._lazy = self._typing = False

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        before, self._lazy = self._lazy, True
        self.generic_visit(node)
        self._lazy = before

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815  # the visitor's own spelling

    def visit_If(self, node: ast.If) -> None:
        before = self._typing
        self._typing = before or ast.unparse(node.test).endswith("TYPE_CHECKING")
        self.generic_visit(node)
        self._typing = before

    def visit_Import(self, node: ast.Import) -> None:
        for name in node.names:
            self.found.append(Import(name.name, node.lineno, self._lazy, self._typing))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        assert not node.level, "imports are absolute here"
        for name in node.names:  # `from turnout import abc` imports turnout.abc
            inner = f"{node.module}.{name.name}"
            module = inner if node.module == "turnout" and is_module(name.name) else str(node.module)
            self.found.append(Import(module, node.lineno, self._lazy, self._typing))


def is_module(name: str) -> bool:
    return (KERNEL / f"{name}.py").is_file() or (KERNEL / name).is_dir()


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@cache
def imports_of(path: Path) -> tuple[Import, ...]:
    visitor = Imports()
    visitor.visit(tree_of(path))
    return tuple(visitor.found)


@cache
def graph() -> dict[str, set[str]]:
    """Which rooms of the kernel each room imports at run time, and those imports' own imports not yet."""
    rooms = {path.stem: path for path in KERNEL.glob("*.py") if path.stem != "__init__"}
    return {
        room: {
            one.module.split(".")[1] for one in imports_of(path) if one.module.startswith("turnout.") and not one.typing
        }
        for room, path in rooms.items()
    }


def reachable(room: str, *, without: frozenset[tuple[str, str]] = frozenset()) -> set[str]:
    found: set[str] = set()
    todo = [room]
    while todo:
        current = todo.pop()
        fresh = {to for to in graph().get(current, ()) if (current, to) not in without} - found
        found |= fresh
        todo.extend(fresh)
    return found


def sources(root: Path) -> list[Path]:
    return sorted(root.rglob("*.py"))


def where(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def functions(path: Path) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]]:
    """Every class and function with its dotted name; `<locals>` is part of it inside a function."""

    def walk(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                inner = "." if isinstance(child, ast.ClassDef) else ".<locals>."
                yield f"{prefix}{child.name}", child
                yield from walk(child, f"{prefix}{child.name}{inner}")
            else:
                yield from walk(child, prefix)

    yield from walk(tree_of(path), "")


def test_the_kernel_has_no_circle_of_imports() -> None:
    """Design 5.1: downhill has an end."""
    assert [room for room in graph() if room in reachable(room)] == []


def test_imports_go_downhill_only() -> None:
    """Design 5.1: through however many rooms."""
    height = {room: level for level, rooms in enumerate(DOWNHILL) for room in rooms}
    uphill = [
        (room, to)
        for room in height
        for to in reachable(room, without=frozenset(UPHILL))
        if height.get(to, -1) > height[room]
    ]

    assert uphill == []


def test_the_order_of_the_house_is_the_order_of_its_imports() -> None:
    """Each level is really above another one, so that the test before this one cannot pass for want of rooms."""
    missing = [room for rooms in DOWNHILL for room in rooms if room not in graph()]

    assert set(missing) <= {"_due", "_refresh"}, "rooms that the design names and that do not exist"
    assert all(lower != upper for lower, upper in pairwise(DOWNHILL))
    assert {"_schedule", "_names", "abc"} <= reachable("_kernel")


def test_the_pure_ring_reads_no_clock_draws_nothing_and_waits_for_nothing() -> None:
    """Design 5.2: the rooms named pure, and every room that they lean on."""
    ring = {room for room in PURE & graph().keys() for room in {room, *reachable(room)}} - {"abc"}
    impure = [
        f"{where(KERNEL / f'{room}.py', one.line)} imports {one.module}"
        for room in sorted(ring)
        for one in imports_of(KERNEL / f"{room}.py")
        if one.module.split(".")[0] in IMPURE
    ]

    assert impure == []


def test_importing_the_pure_ring_does_not_import_trio() -> None:
    """Design 5.2: not through the protocols either."""
    everything = {room for pure in PURE & graph().keys() for room in {pure, *reachable(pure)}}
    imported = {one.module for room in everything for one in imports_of(KERNEL / f"{room}.py") if not one.typing}

    assert "trio" not in {module.split(".")[0] for module in imported}


@pytest.mark.parametrize("call", ["datetime.now", "datetime.utcnow", "datetime.today", "date.today"])
def test_the_kernel_asks_no_calendar_for_the_time(call: str) -> None:
    """Design 5.2 and 10: `datetime` is there to parse and to print."""
    calls = [
        where(path, node.lineno)
        for path in sources(KERNEL)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Attribute) and ast.unparse(node).endswith(call)
    ]

    assert calls == []


def test_the_kernel_imports_its_five_libraries_and_no_plugin() -> None:
    """Design 5.3."""
    allowed = KERNEL_THIRD_PARTIES | set(sys.stdlib_module_names) | {"turnout"}
    strangers = [
        f"{where(path, one.line)} imports {one.module}"
        for path in sources(KERNEL)
        for one in imports_of(path)
        if one.module.split(".")[0] not in allowed and not (one.typing and one.module in {"httpx", "attr"})
    ]

    assert strangers == []


@pytest.mark.parametrize("word", ["http.client", "http.server", "http", "urllib.request", "ssl", "asyncio"])
def test_the_kernel_does_not_speak_to_the_network(word: str) -> None:
    """Design 3: sockets, TLS and HTTP are plugins' work."""
    users = [path.name for path in sources(KERNEL) if any(one.module == word for one in imports_of(path))]

    assert users == []


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_a_plugin_sees_of_turnout_only_what_is_public(package: str) -> None:
    """Design 5.4: never a private room, never another plugin."""
    allowed = OPEN_TO_PLUGINS | LIBRARIES
    strangers = [
        f"{where(path, one.line)} imports {one.module}"
        for path in sources(PACKAGES[package])
        for one in imports_of(path)
        if one.module.split(".")[0].startswith("turnout")
        and one.module.split(".")[0] != package
        and one.module not in allowed
        and one.module.split(".")[0] not in LIBRARIES
    ]

    assert strangers == []


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_a_plugin_uses_no_private_room_of_a_library(package: str) -> None:
    """Design 5.4."""
    private = [
        f"{where(path, one.line)} imports {one.module}"
        for path in sources(PACKAGES[package])
        for one in imports_of(path)
        if one.module.split(".")[0] in LIBRARIES - {package} and any(part[0] == "_" for part in one.module.split("."))
    ]

    assert private == []


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)
def test_a_plugin_declares_what_it_imports(plugin: Path) -> None:
    """Design 5.4 and 17: its third parties, those of its extras too; the kernel's own come with the kernel."""
    project = tomllib.loads((plugin / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = chain.from_iterable(project.get("optional-dependencies", {}).values())
    declared = {distribution(text) for text in (*project["dependencies"], *extras)}
    owners = packages_distributions()
    undeclared = [
        f"{where(path, one.line)} imports {one.module}"
        for path in sources(plugin)
        for one in imports_of(path)
        if (top := one.module.split(".")[0]) not in sys.stdlib_module_names
        and top not in KERNEL_THIRD_PARTIES
        and top.replace("_", "-") not in {*declared, f"turnout-{plugin.name}"}
        and not declared & {distribution(owner) for owner in owners.get(top, ())}
    ]

    assert undeclared == []


def test_the_scripted_upstream_is_used_by_nobody_but_itself_and_tests() -> None:
    """Design 5.4."""
    users = [
        where(path, one.line)
        for root in (KERNEL, *(path for name, path in PACKAGES.items() if name != "turnout_upstream"))
        for path in sources(root)
        for one in imports_of(path)
        if one.module.split(".")[0] == "turnout_upstream"
    ]

    assert users == []


@pytest.mark.parametrize("root", [KERNEL, *PACKAGES.values()], ids=lambda path: path.name)
def test_nothing_is_imported_inside_a_function(root: Path) -> None:
    """Design 5.1: no dodging of the borders."""
    lazy = [where(path, one.line) for path in sources(root) for one in imports_of(path) if one.lazy]

    assert lazy == []


def test_nurseries_of_the_kernel_are_opened_in_named_rooms_only() -> None:
    """Design 5.5: every task is in a nursery that a reader can see."""
    elsewhere = [
        where(path, node.lineno)
        for path in sources(KERNEL)
        if path.stem not in NURSERY_ROOMS and path.parent == KERNEL  # `testing` plays the plugins' part
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Attribute | ast.Name)
        and (node.attr if isinstance(node, ast.Attribute) else node.id) == "open_nursery"
    ]

    assert elsewhere == []


@pytest.mark.parametrize("root", [KERNEL, *PACKAGES.values()], ids=lambda path: path.name)
def test_no_task_is_started_outside_of_a_nursery(root: Path) -> None:
    """Design 1: no system task, no thread of one's own."""
    loose = {"spawn_system_task", "start_thread_soon", "Thread", "ThreadPoolExecutor"}
    found = [
        where(path, node.lineno)
        for path in sources(root)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Attribute) and node.attr in loose
    ]

    assert found == []


def test_every_public_thing_of_the_kernel_says_what_it_gives() -> None:
    """Style: a docstring on each public class, function and method, in private rooms too."""
    silent = [
        f"{where(path, node.lineno)} {name}"
        for path in sources(KERNEL)
        for name, node in functions(path)
        if not any(part[0] in "_<" for part in name.split(".")) and not ast.get_docstring(node) and not is_stub(node)
    ]

    assert silent == []


def is_stub(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
    """An overload, or a member of an inner protocol: its class says what it means."""
    return not isinstance(node, ast.ClassDef) and [ast.unparse(line) for line in node.body] == ["..."]


def distribution(requirement: str) -> str:
    """Normalised name of a requirement such as `httpx>=0.28,<1` (PEP 508)."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found, requirement
    return re.sub(r"[-_.]+", "-", found[0]).lower()
