"""What pytest learns from Turnout: the marker `turnout`, for asynchronous tests of plugins.

Loaded by pytest itself through the entry point group `pytest11`; imports nothing of pytest, since the kernel must not
need it. With pytest-trio in its `trio_mode` the marker is left to that.
"""

import inspect
import threading
import time
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any

import trio
import trio.testing

OPEN_FILES = Path("/proc/self/fd")
ENDING = 2.0
"""Seconds that threads which have been told to end may take for it, all together."""

CLOCKS = ("mock", "real")

MARKER = (
    "turnout(clock='mock'): run this async test under Trio and fail it if it leaves a file or socket open or a "
    "thread running. The mock clock jumps over waits; clock='real' is for tests with real sockets."
)


def pytest_configure(config: Any) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", MARKER)


def pytest_pyfunc_call(pyfuncitem: Any) -> bool | None:
    """Run a marked async test; None: it is another one's to run."""
    marker = pyfuncitem.get_closest_marker("turnout")
    test = pyfuncitem.obj
    if marker is None or not inspect.iscoroutinefunction(test) or pyfuncitem.get_closest_marker("trio"):
        return None
    wanted = marker.kwargs.get("clock", "mock")
    if wanted not in CLOCKS:
        raise ValueError(f"the marker turnout has clock='mock' or clock='real', not {wanted!r}")
    clock = trio.testing.MockClock(autojump_threshold=0) if wanted == "mock" else None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}  # noqa: SLF001 # as pytest's own plugins do
    before, threads = _open_files(), set(threading.enumerate())
    trio.run(partial(test, **arguments), clock=clock)
    left = _open_files() - before
    if left:
        raise AssertionError(f"left open: {', '.join(sorted(left))} (turnout.abc; plugins.md, Lifetimes)")
    running = _running(threads)
    if running:
        raise AssertionError(f"left running: {', '.join(sorted(running))} (turnout.abc; plugins.md, Lifetimes)")
    return True


def _running(before: Collection[object]) -> set[str]:
    """The names of new threads that do not end. Trio keeps its own for the next run, and lets look-ups finish."""
    own = [one for one in threading.enumerate() if one not in before and not _is_trios(one)]
    deadline = time.monotonic() + ENDING
    for one in own:
        one.join(max(0.0, deadline - time.monotonic()))
    return {f"thread {one.name}" for one in own if one.is_alive()}


def _is_trios(thread: object) -> bool:
    target = getattr(thread, "_target", None)  # None too for a thread that has ended
    return getattr(target, "__module__", "").startswith("trio.")


def _open_files() -> set[str]:
    """What this process has open, where the system tells."""
    found = set()
    for entry in OPEN_FILES.iterdir() if OPEN_FILES.is_dir() else ():
        try:
            found.add(f"{entry.name} {entry.readlink()}")
        except OSError:  # the one that listed the folder
            continue
    return found
