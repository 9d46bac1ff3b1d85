"""The refresh protocol, simulated: several nodes, one store with leases, faults on every way."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

WORLD = Path(__file__).parents[1] / "system" / "refresh_world.py"
SEEDS = int(os.environ.get("TURNOUT_REFRESH_SEEDS", "120"))


def played(first: int, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(WORLD), str(first), str(count)]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def play(seeds: int) -> None:
    processes = len(os.sched_getaffinity(0))
    share = -(-seeds // processes)
    running = [played(number * share, share) for number in range(processes)]
    told = [process.communicate()[0] for process in running]
    assert all(f"{share} seeds, 0 failed" in text for text in told), "\n".join(told)


def test_no_node_spends_a_token_twice_or_uses_one_that_is_not_kept() -> None:
    """E2, E4, E7, E11, E12, G4, G8: and in the end all agree, no edit is lost, and what is kept works."""
    play(SEEDS)


@pytest.mark.long
def test_no_node_spends_a_token_twice_in_a_hundred_thousand_seeds() -> None:
    """E4: 0 violations."""
    play(100_000)


def test_the_same_seed_plays_the_same() -> None:
    """J7: or a failing seed could not be looked at."""
    one, two = (played(1000, 10) for _ in range(2))
    assert one.communicate()[0] == two.communicate()[0]
