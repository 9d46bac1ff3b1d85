"""A watchdog that says which plugin holds up the event loop (acceptance H9).

Nothing can interrupt a plugin that blocks: every call stands still, and only the one who runs the process can help. So
a thread asks the loop for a sign of life, four times a second. When none comes it looks at the loop's stack, and once
more a moment later: a frame that is there both times has been running all the while, and the innermost one that
belongs to a plugin, or to Turnout itself, is the one to blame.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from logging import getLogger
from types import FrameType

import attrs
import trio

POLL = 0.25
"""Seconds between two signs of life. All of it costs 1.4 ms of CPU time a second on a machine that is very busy."""

LIMIT = 1.0
"""Seconds without a sign of life that are a stall: a loop with very much to do takes a tenth of that for a round."""

START_LIMIT = 5.0
"""The same while nothing is served yet: importing plugins from a cold disk may take a while."""

NOBODY_LIMIT = 5.0
"""The same when nobody in particular is to blame: many short things to do, or a machine that gives us no processor."""

AGAIN = 0.05
"""Seconds between the two looks."""

log = getLogger("turnout.stalls")

Whose = Callable[[str], str]
"""Whose code a module is, in words for people; empty when it is no plugin's."""


@attrs.frozen
class Blame:
    """Where the loop was found.

    Attributes:
        whose: code it is, in words; empty when no call that was there in both looks belongs to a plugin.
    """

    whose: str
    file: str
    line: int
    function: str

    @property
    def place(self) -> str:
        """Where that is."""
        return f"{self.function}(), {self.file}:{self.line}"

    def __str__(self) -> str:
        if not self.whose:
            return f"no call of a plugin holds it up; seen in {self.place}"
        return f"{self.whose} blocks it in {self.place}"


def blame(first: Sequence[FrameType], second: Sequence[FrameType], whose: Whose) -> Blame:
    """Who was running in both looks at a stack, innermost frame first; `second` is not empty."""
    stayed = set(map(id, first))
    for frame in second:
        if id(frame) in stayed and (owner := whose(frame.f_globals.get("__name__", ""))):
            return _blame(owner, frame)
    return _blame("", second[0])


def _blame(whose: str, frame: FrameType) -> Blame:
    code = frame.f_code
    return Blame(whose, code.co_filename, frame.f_lineno or code.co_firstlineno, code.co_name)


def stack_of(thread: int) -> Sequence[FrameType]:
    """The frames of a thread, innermost first; none when it has ended."""
    frames = []
    frame = sys._current_frames().get(thread)  # noqa: SLF001 # CPython documents it, for this purpose
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    return frames


def lingering(whose: Whose) -> str:
    """Plugins in whose code tasks of this run wait, and where, in words; empty when there are none.

    For the end of a run: what refuses to be cancelled is still there when everything else has gone.
    """
    tasks = [trio.lowlevel.current_root_task()]
    found: dict[str, None] = {}
    for task in filter(None, tasks):
        tasks += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
        for frame in reversed([frame for frame, _ in task.iter_await_frames()]):
            owner = whose(frame.f_globals.get("__name__", ""))
            if owner and owner != whose("turnout"):
                found[f"{owner} in {_blame(owner, frame).place}"] = None
                break
    return ", ".join(found)


def cpu_time_of(thread: int) -> float:
    """Seconds of CPU time that a thread has used; all threads together where the system does not say."""
    if sys.platform == "linux":
        return time.clock_gettime(time.pthread_getcpuclockid(thread))
    return time.process_time()


class Stalls:
    """Watches one event loop, and logs each stall once, and its end."""

    def __init__(
        self,
        whose: Whose,
        *,
        started: Callable[[], bool],
        look: Callable[[], Sequence[FrameType]],
        ask: Callable[[Callable[[], None]], object],
        cpu: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._whose = whose
        self._started = started
        self._look = look
        self._ask = ask
        self._clock = clock
        self._cpu = cpu
        self._stop = threading.Event()
        self._seen = clock(), cpu()
        self._first: Sequence[FrameType] = ()
        self._told: Blame | None = None
        self._request()

    def run(self) -> None:
        """Watch until told to stop; blocks, so it is for a thread."""
        wait = POLL
        while not self._stop.wait(wait):
            try:
                wait = self.step(wait)
            except trio.RunFinishedError:
                return

    def stop(self) -> None:
        """Let `run` end within a poll."""
        self._stop.set()

    def step(self, waited: float) -> float:
        """One look after `waited` seconds of rest; gives the seconds to rest until the next.

        Raises trio.RunFinishedError when there is no loop any more.
        """
        ran = self._ran(waited)
        held = ran > 2 * POLL
        self._silent += ran
        if self._alive and not held:
            self._end()
            self._request()
        elif self._told is None and self._silent >= (LIMIT if self._started() else START_LIMIT):
            return self._suspect(held=held)
        return POLL

    def _request(self) -> None:
        self._alive, self._silent, self._first = False, 0.0, ()
        self._ask(self._hear)

    def _hear(self) -> None:
        """The sign of life: called by the loop."""
        self._alive = True

    def _ran(self, waited: float) -> float:
        """Seconds that passed since the last step, less those in which this process was stopped or had no processor.

        Who stops the process stops this thread as well, so a pause that is longer than it was meant to be tells
        nothing about the loop; unless that used CPU time meanwhile: then it ran code that lets no other thread run.
        """
        before, cpu_before = self._seen
        self._seen = now, cpu = self._clock(), self._cpu()
        return min(now - before, max(waited, cpu - cpu_before))

    def _suspect(self, *, held: bool) -> float:
        """Look once, and again a moment later; `held`: once is enough, since nothing else could run."""
        frames = self._look()
        if not frames:
            return POLL
        if not held and not self._first:
            self._first = frames
            return AGAIN
        found = blame(self._first or frames, frames, self._whose)
        self._first = ()
        if not found.whose and self._silent < NOBODY_LIMIT:
            return POLL
        self._told = found
        what = "every call" if self._started() else "the start, with nothing served yet,"
        log.warning("the event loop and %s stand still, for %.1f s by now: %s", what, self._silent, self._told)
        return POLL

    def _end(self) -> None:
        if self._told is not None:
            log.warning("the event loop goes on after some %.1f s: %s", self._silent, self._told)
            self._told = None


@contextmanager
def watching(nursery: trio.Nursery, whose: Whose, started: Callable[[], bool]) -> Iterator[None]:
    """Watch the loop that runs now while the block runs, from a thread that a task of `nursery` waits for.

    `started` says whether anything is served yet. Leaving the block does not wait; the task ends within a poll.
    """
    thread = threading.get_ident()
    token = trio.lowlevel.current_trio_token()
    stalls = Stalls(
        whose, started=started, look=lambda: stack_of(thread), ask=token.run_sync_soon, cpu=lambda: cpu_time_of(thread)
    )
    nursery.start_soon(_watch, stalls, name="stalls")
    try:
        yield
    finally:
        stalls.stop()


async def _watch(stalls: Stalls) -> None:
    await trio.to_thread.run_sync(stalls.run, limiter=trio.CapacityLimiter(1))
