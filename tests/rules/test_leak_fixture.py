"""The fixture of `tests/conftest.py` catches what it is there to catch, and nothing else."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"

SPECIMENS = """
import os
import socket
import time

import pytest
import trio

kept = []


def test_sync_clean():
    with socket.socket():
        pass


def test_sync_leaks_a_socket():
    kept.append(socket.socket())


def test_sync_leaks_a_file(tmp_path):
    kept.append((tmp_path / "a").open("w"))


def test_sync_leaks_a_pipe():
    os.pipe()


async def test_trio_clean():
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, None, 0)
        nursery.cancel_scope.cancel()
    limiter = trio.CapacityLimiter(1)
    async with limiter:
        kept.append(limiter)
    await trio.to_thread.run_sync(time.sleep, 0)


async def test_trio_clean_with_a_nursery_fixture(nursery):
    nursery.start_soon(trio.sleep_forever)


async def test_trio_leaks_a_socket():
    kept.append(trio.socket.socket())


async def test_trio_leaks_a_token():
    kept.append(trio.CapacityLimiter(1))
    await kept[-1].acquire_on_behalf_of("somebody")


async def test_trio_leaks_a_system_task():
    trio.lowlevel.spawn_system_task(trio.sleep_forever, name="straggler")
    await trio.sleep(0)


async def test_trio_leaks_a_task_under_mock_time(autojump_clock):
    trio.lowlevel.spawn_system_task(trio.sleep_forever, name="straggler")
    await trio.sleep(1000)


async def sluggish():
    await trio.sleep(0)
    time.sleep(0.3)


async def busy():
    await trio.sleep(0)
    end = time.thread_time() + 0.3
    while time.thread_time() < end:
        pass


async def test_trio_stalls_asleep():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sluggish, name="sluggard")


async def test_trio_stalls_at_work():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(busy, name="workhorse")


@pytest.mark.slow_steps("it is the point")
async def test_trio_may_stall():
    await sluggish()


async def test_trio_still_clean():
    await trio.sleep(0)
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What pytest says about the specimens."""
    place = tmp_path_factory.mktemp("specimens")
    (place / "conftest.py").write_text(CONFTEST.read_text())
    (place / "test_specimens.py").write_text(SPECIMENS)
    (place / "pytest.ini").write_text("[pytest]\ntrio_mode = true\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", "--tb=short", str(place)]
    wide = {**os.environ, "COLUMNS": "400"}  # so that reasons are told whole
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=place, env=wide).stdout


def line_of(outcomes: str, kind: str, name: str) -> str:
    found = re.search(rf"^{kind} \S*::{name}(?: - .*)?$", outcomes, re.MULTILINE)
    assert found is not None, outcomes
    return found.group()


@pytest.mark.parametrize(
    "name",
    [
        "test_sync_clean",
        "test_trio_clean",
        "test_trio_clean_with_a_nursery_fixture",
        "test_trio_may_stall",
        "test_trio_still_clean",
    ],
)
def test_a_clean_test_passes(outcomes: str, name: str) -> None:
    line_of(outcomes, "PASSED", name)
    assert not re.search(rf"^ERROR \S*::{name}\b(?! )", outcomes, re.MULTILINE)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("test_sync_leaks_a_socket", "socket:"),
        ("test_sync_leaks_a_file", "specimens|/a"),
        ("test_sync_leaks_a_pipe", "pipe:"),
        ("test_trio_leaks_a_socket", "socket:"),
        ("test_trio_leaks_a_token", "tokens not given back"),
    ],
)
def test_what_is_left_open_or_borrowed_is_an_error(outcomes: str, name: str, text: str) -> None:
    assert re.search(text, line_of(outcomes, "ERROR", name))


@pytest.mark.parametrize("name", ["test_trio_leaks_a_system_task", "test_trio_leaks_a_task_under_mock_time"])
def test_a_task_that_is_left_behind_is_named(outcomes: str, name: str) -> None:
    assert "straggler was left behind" in line_of(outcomes, "FAILED", name)


@pytest.mark.parametrize(
    ("name", "task"), [("test_trio_stalls_asleep", "sluggard"), ("test_trio_stalls_at_work", "workhorse")]
)
def test_a_step_that_holds_up_the_others_is_named(outcomes: str, name: str, task: str) -> None:
    """A8."""
    assert re.search(rf"a step of the task {task} took \d{{3,}} ms", line_of(outcomes, "FAILED", name))
