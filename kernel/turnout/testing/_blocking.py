"""See how long code keeps all others waiting: everything of the process stands still while one step of a task runs."""

import time
from collections.abc import Awaitable, Callable

import trio

QUICK = 0.02
"""Seconds that one step of a task may take."""

TURNS = 20
"""Runs of which one must be so quick: a busy machine takes the processor away from most of them."""


async def longest_step(run: Callable[[], Awaitable[object]], *, own: bool = True) -> float:
    """Seconds of the longest step that any task takes meanwhile, in the best of `TURNS` runs; the first quick one ends.

    Without `own`, the steps of the task that asks do not count.
    """
    best = float("inf")
    for _ in range(TURNS):
        await trio.lowlevel.checkpoint()
        asking = trio.lowlevel.current_task()
        clock = _StepClock(None if own else asking)
        trio.lowlevel.add_instrument(clock)
        try:
            await run()
        finally:
            clock.after_task_step(asking)
            trio.lowlevel.remove_instrument(clock)
        best = min(best, clock.longest)
        if best <= QUICK:
            break
    return best


class _StepClock(trio.abc.Instrument):
    """Times each step of a task, with the process's clock: a mock clock stands still in a step."""

    def __init__(self, apart: trio.lowlevel.Task | None) -> None:
        self.longest = 0.0
        self._apart = apart
        self._began = time.perf_counter()  # in the middle of a step of the task that asks

    def before_task_step(self, _: trio.lowlevel.Task) -> None:
        self._began = time.perf_counter()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is not self._apart:
            self.longest = max(self.longest, time.perf_counter() - self._began)
