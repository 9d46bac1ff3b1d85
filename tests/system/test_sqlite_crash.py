"""Crashes of the sqlite store, with real processes."""

import subprocess
import sys
from pathlib import Path

import pytest

CRASH = Path(__file__).with_name("crash_sqlite.py")


def crash(*arguments: object, seconds: float) -> str:
    done = subprocess.run(
        [sys.executable, str(CRASH), *map(str, arguments)], capture_output=True, text=True, timeout=seconds, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "nothing was damaged or put right"
    return done.stdout


def test_two_processes_killed_at_random_lose_nothing_that_they_acknowledged(tmp_path: Path) -> None:
    """F-1, F-8, in its short form: all the while they share one database."""
    assert crash(tmp_path / "store", 40, 1, seconds=60).startswith("40 kills")


@pytest.mark.long
def test_two_processes_killed_a_thousand_times_lose_nothing_that_they_acknowledged(tmp_path: Path) -> None:
    """F-1, F-8."""
    assert crash(tmp_path / "store", 1000, 2, seconds=240).startswith("1000 kills")
