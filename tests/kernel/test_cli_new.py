"""`turnout new`: what it writes is complete, and what it refuses is said."""

import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from turnout._new_files import KINDS

TURNOUT = Path(sys.executable).parent / "turnout"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([TURNOUT, "new", *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("kind", KINDS)
def test_what_it_writes_passes_its_own_test_and_strict_linting(kind: str, tmp_path: Path) -> None:
    done = run(kind, "two-words", "--into", str(tmp_path))
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "turnout-two-words"

    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["entry-points"] == {f"turnout.{kind}s": {"two-words": "turnout_two_words:TwoWords"}}
    assert (folder / "README.md").read_text().startswith("# turnout-two-words\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:trio", "-W", "error"]
    if not entry_points(group="pytest11", name="turnout"):  # an environment that was made before there was one
        command += ["-p", "turnout.testing._pytest"]
    tested = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)

    assert tested.returncode == 0, tested.stdout
    assert " passed" in tested.stdout
    linted = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--line-length", "120", "."],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert linted.returncode == 0, linted.stdout


@pytest.mark.parametrize("name", ["Upper", "1st", "a_b", "a--b", "-a", "a-", "../up", "class", "ü", ""])
def test_a_bad_name_is_refused_and_says_what_a_good_one_is(name: str, tmp_path: Path) -> None:
    done = run("selector", "--into", str(tmp_path), "--", name)

    assert done.returncode == 2
    assert "no name of a plugin: small letters and digits" in " ".join(done.stderr.split())
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "turnout-mine").mkdir()

    done = run("store", "mine", "--into", str(tmp_path))

    assert done.returncode == 1
    assert "exists already, and nothing of it was touched" in " ".join(done.stderr.split())
    assert list((tmp_path / "turnout-mine").iterdir()) == []


def test_an_unknown_kind_lists_those_that_there_are() -> None:
    done = run("frontend", "mine")

    assert done.returncode == 2
    assert all(kind in done.stderr for kind in KINDS)
