"""The marker `turnout` runs a plugin author's test, and fails it for what it leaves behind."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAD = """
import threading
import pytest, trio

ended = threading.Event()

@pytest.mark.turnout(clock="real")
async def test_it():
"""


def outcome(body: str, folder: Path) -> str:
    (folder / "test_it.py").write_text(f"{HEAD}    {body}\n")
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:trio", "--rootdir", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "body",
    [
        "await trio.to_thread.run_sync(print)",
        "threading.Timer(0.2, print).start()",  # ends soon, as one that was told to does
    ],
)
def test_threads_that_end_and_those_of_trio_are_let_be(body: str, tmp_path: Path) -> None:
    assert "1 passed" in outcome(body, tmp_path)


def test_a_thread_that_runs_on_fails_the_test_and_is_named(tmp_path: Path) -> None:
    told = outcome("threading.Thread(target=ended.wait, name='pump', daemon=True).start()", tmp_path)

    assert "left running: thread pump (turnout.abc; plugins.md, Lifetimes)" in told
    assert "1 failed" in told


def test_a_file_that_stays_open_fails_the_test(tmp_path: Path) -> None:
    assert "left open: " in outcome("global kept; kept = open(__file__)", tmp_path)
