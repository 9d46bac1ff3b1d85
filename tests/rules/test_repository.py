"""The tree as a newcomer finds it: what lies where, what each distribution says about itself, what no file holds."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
TOP_LEVEL = {"pyproject.toml", "README.md", "LICENSE", "kernel", "plugins", "tests", "examples"}
"""Design 4; dotfiles besides."""

DISTRIBUTIONS = [ROOT / "kernel", *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))]
PLUGINS = DISTRIBUTIONS[1:]

MACHINE = ["/" + "work/", "/" + "root/", "/" + "opt/wheels", "/" + "tmp/bash"]
INDEX = ["pypi" + ".org", "python" + "hosted", "index" + "-url", "find" + "-links"]
"""Put together, so that this file does not hold what it looks for."""

COMMANDS = [
    "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/turnout demo",
    "python3 -m venv .venv && .venv/bin/pip install '.[test]' && .venv/bin/pytest",
]

KERNEL_MOST, PLUGIN_MOST = 6, 4
"""Direct dependencies on other people's distributions (S60)."""


def files() -> list[Path]:
    """What is tracked; where there is no git, everything that is not built or hidden."""
    if (ROOT / ".git").exists():
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
        return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]
    hidden = re.compile(r"\.venv|\.git|__pycache__|.*\.egg-info|dist|build|\..*_cache|\.hypothesis")
    found = (path for path in ROOT.rglob("*") if path.is_file())
    return [path for path in found if not any(map(hidden.fullmatch, path.relative_to(ROOT).parts))]


def project(distribution: Path) -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((distribution / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return table


def requirements(distribution: Path) -> list[str]:
    table = project(distribution)
    return [
        *table["dependencies"],
        *(one for extra in table.get("optional-dependencies", {}).values() for one in extra),
    ]


def is_ours(requirement: str) -> bool:
    return requirement.startswith("turnout")


def test_the_top_level_holds_what_the_design_says() -> None:
    """Design 4."""
    top = {path.relative_to(ROOT).parts[0] for path in files()}

    assert {name for name in top if not name.startswith(".")} == TOP_LEVEL


def test_no_file_names_this_machine_or_an_index() -> None:
    strange = [
        f"{path.relative_to(ROOT)}: {word}"
        for path in files()
        for word in (*MACHINE, *INDEX)
        if word.encode() in path.read_bytes()
    ]

    assert strange == []


def test_no_built_or_secret_file_is_kept() -> None:
    kept = re.compile(r".*\.(?:pyc|pyo|so|whl|egg-info|pem|key|crt|p12|sqlite|db|log)|\.env.*|.*\.pth")

    assert [path.name for path in files() if kept.fullmatch(path.name)] == []


@pytest.mark.parametrize("command", COMMANDS, ids=["demo", "tests"])
def test_the_readme_has_both_commands_word_for_word(command: str) -> None:
    """A1, A2: what a newcomer types is what is tested."""
    assert any(line.strip() == command for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines())


def test_the_workspace_installs_the_kernel_and_every_plugin() -> None:
    """Design 4: plain pip by path, uv by its workspace; none forgotten in either."""
    workspace = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    names = {project(distribution)["name"] for distribution in DISTRIBUTIONS}
    by_path = {f"{project(one)['name']} @ {{root:uri}}/{one.relative_to(ROOT)}" for one in DISTRIBUTIONS}

    assert set(workspace["project"]["dependencies"]) == by_path
    assert set(workspace["tool"]["uv"]["sources"]) == names
    assert "Private :: Do Not Upload" in workspace["project"]["classifiers"]


def test_the_type_checker_and_the_import_sorter_know_every_package() -> None:
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    packages = {"turnout", *(path.parent.name for path in ROOT.glob("plugins/*/turnout_*/__init__.py"))}

    assert set(tools["mypy"]["packages"]) == packages
    assert set(tools["ruff"]["lint"]["isort"]["known-first-party"]) == packages
    assert set(tools["mypy"]["mypy_path"]) == {str(one.relative_to(ROOT)) for one in DISTRIBUTIONS}


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=lambda path: path.name)
def test_a_distribution_says_what_it_is(distribution: Path) -> None:
    """Design 4: name, description, licence, readme, types."""
    table = project(distribution)
    packages = [path.parent for path in distribution.glob("turnout*/__init__.py")]

    assert table["name"] == ("turnout" if distribution.name == "kernel" else f"turnout-{distribution.name}")
    assert table["description"].strip()
    assert table["license"] == "MIT"
    assert table["readme"] == "README.md"
    assert table["requires-python"] == ">=3.11"
    assert (distribution / "README.md").read_text(encoding="utf-8").strip()
    assert len(packages) == 1, "one import package"
    assert (packages[0] / "py.typed").is_file()


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)
def test_a_plugin_lies_where_its_name_says(plugin: Path) -> None:
    """Design 4: one distribution, one import package `turnout_NAME`, and it needs the kernel."""
    assert (plugin / f"turnout_{plugin.name}" / "__init__.py").is_file()
    assert "turnout" in project(plugin)["dependencies"]


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=lambda path: path.name)
def test_every_dependency_of_others_is_bounded_from_both_sides(distribution: Path) -> None:
    """S60."""
    loose = [
        one
        for one in requirements(distribution)
        if not is_ours(one) and not (">=" in one and re.search(r"<[0-9]", one))
    ]

    assert loose == []


def test_what_the_tests_need_is_bounded_too() -> None:
    """S60."""
    loose = [one for one in project(ROOT)["optional-dependencies"]["test"] if not re.search(r">=.*,<[0-9]", one)]

    assert loose == []


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=lambda path: path.name)
def test_a_distribution_needs_few_others(distribution: Path) -> None:
    """S60: the kernel at most six, a plugin at most four, those of this tree not counted."""
    others = [one for one in project(distribution)["dependencies"] if not is_ours(one)]

    assert len(others) <= (KERNEL_MOST if distribution.name == "kernel" else PLUGIN_MOST)


def test_test_files_have_names_of_their_own() -> None:
    """Test modules are imported by path; two of one name would shadow each other in reports."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]

    assert len(names) == len(set(names))
