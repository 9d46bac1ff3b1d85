"""What holds for every test: it leaves nothing behind, and no step of a task holds up the others.

- No open file, socket or pipe, and no borrowed token of a `trio.CapacityLimiter` or place of a transport, may outlive
  a test.
- No system task may outlive the main task of a Trio test. Other tasks cannot: they live in nurseries.
- No step of a task may take longer than 250 ms (A8). A test that must block says so, with its reason:
  `@pytest.mark.slow_steps("…")`.

Hypothesis tests that are asynchronous are run by pytest-trio without us in between: theirs are checked for files and
tokens only.
"""

import gc
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import trio
from hypothesis import settings

import turnout_http._hypercorn  # noqa: F401
import turnout_transport._httpx  # noqa: F401  # both are imported late, in one long step: not within a test
from turnout_transport._limiters import Places

settings.register_profile("turnout", deadline=None)  # a busy machine is no failure of what is tested
settings.load_profile("turnout")

STEP_LIMIT = 0.25
"""Seconds (A8)."""

TRIO_SYSTEM_TASKS = {"<init>", "<TrioToken.run_sync_soon task>"}
"""Tasks that each Trio run keeps until its end."""


@pytest.fixture(scope="session", autouse=True)
def bytecode(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Processes find compiled code where this run has started one before, as in an installation.

    Without it each start compiles everything where the environment forbids to write bytecode: 1.3 s of CPU more.
    """
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        environment.setenv("PYTHONPYCACHEPREFIX", str(tmp_path_factory.mktemp("bytecode")))
        yield


class Stopwatch:
    """Measures steps of this thread, less the time in which it only waited for a processor to be free.

    On a busy machine that waiting may be long, and no test can help it. Nor can it help the time in which Python
    collects garbage: after thousands of tests in one process, a full collection alone takes longer than the limit.
    """

    def __init__(self) -> None:
        self._collecting = 0.0
        self._collection_began = 0.0
        gc.callbacks.append(self._collected)
        self._file = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        self.start()

    def start(self) -> None:
        self._began = time.perf_counter()
        self._schedstat = os.pread(self._file, 64, 0)
        self._collecting = 0.0

    def _collected(self, phase: str, info: dict[str, int]) -> None:  # gc's callback
        if phase == "start":
            self._collection_began = time.perf_counter()
        else:
            self._collecting += time.perf_counter() - self._collection_began

    def took(self) -> float:
        """Seconds since the start; exact only from the limit on, since the exact time costs a system call."""
        seconds = time.perf_counter() - self._began - self._collecting
        if seconds > STEP_LIMIT:
            seconds -= (_queued(os.pread(self._file, 64, 0)) - _queued(self._schedstat)) / 1e9
        return seconds

    def close(self) -> None:
        gc.callbacks.remove(self._collected)
        os.close(self._file)


def _queued(schedstat: bytes) -> int:
    """Nanoseconds spent waiting for a processor: the second of three numbers (Documentation/scheduler)."""
    return int(schedstat.split()[1])


class Watch(trio.abc.Instrument):
    """Watches one Trio run for slow steps and for tasks that are left over."""

    def __init__(self, *, slow_steps: bool) -> None:
        self.problems: list[str] = []
        self._slow_steps = slow_steps
        self._alive: dict[trio.lowlevel.Task, None] = {}
        self._main: trio.lowlevel.Task | None = None
        self._stopwatch = Stopwatch()

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        self._alive[task] = None

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        self._alive.pop(task, None)
        if task is self._main:
            left = [each.name for each in self._alive if each.name not in TRIO_SYSTEM_TASKS]
            self.problems += [f"the task {name} was left behind" for name in left]

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if self._main is None and task.name not in TRIO_SYSTEM_TASKS:
            self._main = task  # the first to run that is not Trio's own
        self._stopwatch.start()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        took = self._stopwatch.took()
        if took > STEP_LIMIT and not self._slow_steps:
            self.problems.append(f"a step of the task {task.name} took {took * 1000:.0f} ms (A8)")

    def close(self) -> None:
        self._stopwatch.close()


def run_watched(
    test: Callable[[], Awaitable[Any]],
    *,
    slow_steps: bool,
    clock: trio.abc.Clock | None = None,
    instruments: Sequence[trio.abc.Instrument] = (),
) -> Any:
    """`trio.run` under a watch; pytest-trio calls it for each asynchronous test."""
    watch = Watch(slow_steps=slow_steps)
    try:
        result = trio.run(test, clock=clock, instruments=[*instruments, watch])
    finally:
        watch.close()
    if watch.problems:
        pytest.fail("; ".join(watch.problems), pytrace=False)
    return result


def open_files() -> dict[str, str]:
    """What this process has open: descriptor to what it leads to, such as `socket:[4711]`."""
    found = {}
    for number in os.listdir("/proc/self/fd"):  # noqa: PTH208  # plain names: this runs around each test
        with suppress(FileNotFoundError):  # the one that listed the directory
            found[number] = os.readlink(f"/proc/self/fd/{number}")  # noqa: PTH115  # as above
    return found


def borrowed_tokens() -> list[trio.CapacityLimiter | Places]:
    """Limiters that somebody has not given back to, ours of the transports among them."""
    found: list[trio.CapacityLimiter | Places] = []
    for each in gc.get_objects():
        if type(each) is trio.CapacityLimiter:
            found += [each] if each.borrowed_tokens else []
        elif type(each) is Places and each.taken:
            found.append(each)
    return found


def left_open(before: dict[str, str]) -> list[str]:
    """What is open now and was not before, once unreachable objects are gone."""

    def fresh() -> list[str]:
        return [f"{number} ({target})" for number, target in open_files().items() if before.get(number) != target]

    if not fresh():
        return []
    gc.collect()  # whatever this closes says so itself, by a ResourceWarning
    return fresh()


@pytest.fixture(autouse=True)
def leaves_nothing_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves an open file, socket or pipe, or a borrowed token."""
    is_trio = request.node.get_closest_marker("trio") is not None
    before = open_files()
    tokens = borrowed_tokens() if is_trio else []
    yield
    if files := left_open(before):
        pytest.fail(f"left open: {', '.join(files)}", pytrace=False)
    if is_trio and (left := [each for each in borrowed_tokens() if each not in tokens]):
        pytest.fail(f"tokens not given back: {left}", pytrace=False)


@pytest.fixture
def collected() -> Iterator[None]:
    """Collect what coredis leaves of failed connections while that is forgiven: a later test would be blamed."""
    yield
    gc.collect()


def pytest_configure(config: pytest.Config) -> None:
    """Make our marker known."""
    config.addinivalue_line("markers", "slow_steps(reason): steps of its tasks may take longer than 250 ms")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have pytest-trio run asynchronous tests under our watch."""
    for item in items:
        if item.get_closest_marker("trio") is not None:
            slow_steps = item.get_closest_marker("slow_steps") is not None
            item.add_marker(pytest.mark.trio(run=partial(run_watched, slow_steps=slow_steps)), append=False)


def pytest_collection_finish() -> None:
    """Take what is loaded by now out of the collector's sight: each look at what a test left is quick then."""
    gc.collect()
    gc.freeze()
