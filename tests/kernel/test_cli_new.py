"""`turnout new`: what it writes is complete, and what it refuses is said."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from turnout._cli_new import KINDS, new


def run(*arguments: str) -> Result:
    return CliRunner().invoke(new, arguments)


def test_what_it_writes_passes_its_own_tests_and_a_linter(tmp_path: Path) -> None:
    for kind in KINDS:
        done = run(kind, f"my-{kind}", "--into", str(tmp_path))
        assert done.exit_code == 0, done.output
        assert "pip install" in done.output
        folder = tmp_path / f"turnout-my-{kind}"
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        assert project["entry-points"] == {f"turnout.{kind}s": {f"my-{kind}": f"turnout_my_{kind}:My{kind.title()}"}}
        assert (folder / "README.md").read_text().startswith(f"# turnout-my-{kind}\n")

    options = ["-q", "-p", "no:cacheprovider", "-p", "no:trio", "-W", "error", "--rootdir", str(tmp_path)]
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", *options], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert tested.returncode == 0, tested.stdout
    assert "4 passed" in tested.stdout
    sources = f"src = {[path.name for path in tmp_path.iterdir()]}"
    linted = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--config", sources, "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert linted.returncode == 0, linted.stdout


@pytest.mark.parametrize("name", ["Upper", "1st", "a_b", "a--b", "-a", "a-", "../up", "class", "ü", ""])
def test_a_bad_name_is_refused_and_says_what_a_good_one_is(name: str, tmp_path: Path) -> None:
    done = run("selector", "--into", str(tmp_path), "--", name)

    assert done.exit_code == 2
    assert "no name of a plugin: small letters and digits" in " ".join(done.output.split())
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "turnout-mine").mkdir()

    done = run("store", "mine", "--into", str(tmp_path))

    assert done.exit_code == 1
    assert "exists already, and nothing of it was touched" in " ".join(done.output.split())
    assert list((tmp_path / "turnout-mine").iterdir()) == []


@pytest.mark.parametrize(("kind", "name"), [("store", "files"), ("selector", "wire")])
def test_the_name_of_an_installed_distribution_is_refused(kind: str, name: str, tmp_path: Path) -> None:
    done = run(kind, name, "--into", str(tmp_path))

    assert done.exit_code == 1
    assert "is installed already, and the new one would take its place" in " ".join(done.output.split())
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_kind_lists_those_that_there_are() -> None:
    done = run("frontend", "mine")

    assert done.exit_code == 2
    assert all(kind in done.output for kind in KINDS)
