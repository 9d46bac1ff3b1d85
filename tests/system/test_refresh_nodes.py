"""Renewals by real processes on one store: together, killed at every point, stopped for longer than their lease."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from valkey_server import running

NODES = Path(__file__).with_name("refresh_nodes.py")


@contextmanager
def place(kind: str, folder: Path) -> Iterator[str]:
    """Where the store is, as the script takes it."""
    if kind == "sqlite":
        yield str(folder / "store")
        return
    (folder / "server").mkdir()
    with running(folder / "server") as server:
        yield server.url.reveal()


def play(kind: str, folder: Path, what: str, *arguments: object, seconds: float) -> str:
    with place(kind, folder) as store:
        done = subprocess.run(
            [sys.executable, str(NODES), what, store, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            env=os.environ | {"KEY_FILE": str(folder / "key")},
        )
    assert done.returncode == 0, done.stderr
    return done.stdout


STORES = pytest.mark.parametrize("kind", ["redis", "sqlite"])


@STORES
def test_three_processes_renew_each_credential_once(kind: str, tmp_path: Path) -> None:
    """E2, in its short form: one request for each, by whomever; everybody has the same tokens afterwards."""
    assert "60 requests, 0 reuses" in play(kind, tmp_path, "together", 60, seconds=90)


@STORES
def test_a_process_killed_at_any_point_of_a_renewal_costs_one_request_at_the_most(kind: str, tmp_path: Path) -> None:
    """E5, in its short form, with a strict server: a lost reply ends in `needs_login`."""
    assert "5 kills: 3 requests more than once, 3 need a login" in play(
        kind, tmp_path, "killed", 1, "strict", seconds=120
    )


@STORES
def test_one_that_slept_through_its_lease_cannot_write_and_adopts(kind: str, tmp_path: Path) -> None:
    """E6, K2: what the second process has renewed stays."""
    assert "the woken node adopted" in play(kind, tmp_path, "stopped", seconds=60)


@pytest.mark.long
@STORES
def test_three_processes_renew_a_thousand_credentials_once_each(kind: str, tmp_path: Path) -> None:
    """E2."""
    assert "1000 requests, 0 reuses" in play(kind, tmp_path, "together", 1000, seconds=900)


@pytest.mark.long
@STORES
def test_processes_killed_a_thousand_times_cost_one_request_at_the_most(kind: str, tmp_path: Path) -> None:
    """E5: each of five points two hundred times, half of them with a strict server."""
    assert play(kind, tmp_path, "killed", 100, "strict", "grace", seconds=7200).startswith("1000 kills: 600 ")
