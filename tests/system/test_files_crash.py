"""Crashes of the files store, with real processes."""

import subprocess
import sys
from pathlib import Path

import pytest

CRASH = Path(__file__).with_name("crash_files.py")


def crash(*arguments: object, seconds: float) -> str:
    done = subprocess.run(
        [sys.executable, str(CRASH), *map(str, arguments)], capture_output=True, text=True, timeout=seconds, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "nothing was damaged or put right"
    return done.stdout


def test_killed_at_random_the_store_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    """F-1, in its short form."""
    assert crash("random", tmp_path / "d", 60, 1, seconds=60).startswith("60 kills")


@pytest.mark.long
def test_killed_a_thousand_times_the_store_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    """F-1."""
    assert crash("random", tmp_path / "d", 1000, 2, seconds=90).startswith("1000 kills")


@pytest.mark.parametrize("saves", [12, pytest.param(50, marks=pytest.mark.long)])
def test_dying_before_any_of_its_steps_the_store_loses_nothing(tmp_path: Path, saves: int) -> None:
    """F-2."""
    steps = int(crash("steps", tmp_path / "d", saves, seconds=60).split()[0])

    assert steps > saves * 8, "each save takes at least as many system calls"
