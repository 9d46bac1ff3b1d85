"""Crashes of the stores, with real processes and kill -9."""

import subprocess
import sys
from pathlib import Path

import pytest


def crash(what: str, *arguments: object, seconds: float) -> str:
    script = Path(__file__).with_name(f"crash_{what}.py")
    done = subprocess.run(
        [sys.executable, str(script), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "nothing was damaged or put right"
    return done.stdout


def test_killed_at_random_the_files_store_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    """F-1, in its short form."""
    assert crash("files", "random", tmp_path / "d", 60, 1, seconds=60).startswith("60 kills")


@pytest.mark.long
def test_killed_a_thousand_times_the_files_store_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    """F-1."""
    assert crash("files", "random", tmp_path / "d", 1000, 2, seconds=300).startswith("1000 kills")


@pytest.mark.parametrize("saves", [12, pytest.param(50, marks=pytest.mark.long)])
def test_dying_before_any_of_its_steps_the_files_store_loses_nothing(tmp_path: Path, saves: int) -> None:
    """F-2."""
    steps = int(crash("files", "steps", tmp_path / "d", saves, seconds=60).split()[0])

    assert steps > saves * 8, "each save takes at least as many system calls"


def test_two_processes_killed_at_random_lose_nothing_that_sqlite_acknowledged(tmp_path: Path) -> None:
    """F-1, F-8, in its short form: all the while they share one database."""
    assert crash("sqlite", tmp_path / "store", 40, 1, seconds=60).startswith("40 kills")


@pytest.mark.long
def test_two_processes_killed_a_thousand_times_lose_nothing_that_sqlite_acknowledged(tmp_path: Path) -> None:
    """F-1, F-8."""
    assert crash("sqlite", tmp_path / "store", 1000, 2, seconds=300).startswith("1000 kills")


def test_a_server_and_its_client_killed_at_random_lose_nothing_that_redis_acknowledged(tmp_path: Path) -> None:
    """F-1, G2, in its short form: the append-only file brings everything back."""
    assert crash("redis", tmp_path, 20, 1, seconds=90).startswith("20 kills")


@pytest.mark.long
def test_a_server_and_its_client_killed_a_thousand_times_lose_nothing_that_redis_acknowledged(tmp_path: Path) -> None:
    """F-1, G2."""
    assert crash("redis", tmp_path, 1000, 2, seconds=1200).startswith("1000 kills")
