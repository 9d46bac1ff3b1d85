"""Ends what does not end although it is cancelled: a check must come to an end, and say what hung.

A scope that is shielded and has no deadline keeps its task for ever, and with it every nursery around. Nobody but the
scope's owner can reach it through Trio, so it is looked for among all objects.
"""

import contextlib
import gc
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path, PurePath
from weakref import WeakSet

import trio

from turnout.testing._law import Laws

GRACE = 2.0
"""Seconds, on Trio's clock, that what was cancelled may take to end: closing what it uses may wait."""

_TURNOUT = Path(__file__).parent.parent
_OTHERS = (Path(trio.__file__).parent, Path(contextlib.__file__))
"""Code whose lines say nothing about who waits."""


class Hanging:
    """Sees to it that the parts of one check end, from a task beside it. See `watching`."""

    def __init__(self, law: Laws) -> None:
        self._law = law
        self._scope = trio.CancelScope(shield=True)  # what is cancelled around the check must end, too
        self._shielded = WeakSet(_shielded())
        self._tasks = WeakSet(_tasks())
        self._places: list[str] = []
        self._timer = trio.CancelScope()

    @contextmanager
    def ended(self, within: float, what: str) -> Iterator[None]:
        """A part that is cancelled after `within` seconds on Trio's clock, if not before, and then ends within `GRACE`.

        Whatever keeps it by a shield is cancelled then, and the law told as broken.
        """
        self._places = []
        self._timer.deadline = trio.current_time() + within + GRACE
        failed: BaseException | None = None
        try:
            yield
        except BaseException as error:
            failed = error
            if not self._places:
                raise
        finally:
            self._timer.deadline = math.inf
        hung = ", ".join(self._places)
        self._law(not hung, f"what is cancelled ends; a scope without a deadline shields {hung} ({what})", failed)

    async def run(self) -> None:
        """Cut what is not over at its time, and again as long as it is not."""
        with self._scope:
            while True:
                with self._timer:
                    await trio.sleep_forever()
                self._timer = trio.CancelScope(deadline=trio.current_time() + GRACE)
                self._cut()

    def stop(self) -> None:
        """End the task."""
        self._scope.cancel()

    def _cut(self) -> None:
        shields = [one for one in _shielded() if one not in self._shielded]
        if shields and not self._places:
            self._places = self._waiting() or ["something"]
        for one in shields:
            one.cancel()

    def _waiting(self) -> list[str]:
        """Where code that is neither Trio's nor Turnout's waits, for no task of its own: file and line, sorted."""
        own = {trio.lowlevel.current_task()}
        last = [task for task in _tasks() if not any(nursery.child_tasks - own for nursery in task.child_nurseries)]
        found = {_place(task, seen_before=task in self._tasks) for task in last}
        return sorted(place for place in found if place)


@asynccontextmanager
async def watching(law: Laws) -> AsyncIterator[Hanging]:
    """Give what sees to it that the parts of a check end. What is shielded already is let be."""
    hanging = Hanging(law)
    failed: BaseException | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hanging.run)
        try:
            yield hanging
        except BaseException as error:  # noqa: BLE001 # raised below, as it is and in no group
            failed = error
        hanging.stop()
    if failed is not None:
        raise failed


def _shielded() -> list[trio.CancelScope]:
    return [one for one in gc.get_objects() if type(one) is trio.CancelScope and one.shield]


def _tasks() -> list[trio.lowlevel.Task]:
    """All tasks of this run of Trio but its own."""
    root = trio.lowlevel.current_root_task()
    left, found = [root] if root else [], []
    while left:
        task = left.pop()
        found.append(task)
        left += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return found


def _place(task: trio.lowlevel.Task, *, seen_before: bool) -> str:
    """Where a task waits, in the plugin; for one that ran the check, only what the check called."""
    place, inside = "", not seen_before
    for frame, line in task.iter_await_frames():
        path = PurePath(frame.f_code.co_filename)
        if path.is_relative_to(_TURNOUT):
            inside = True
        elif inside and not any(map(path.is_relative_to, _OTHERS)):
            place = f"{'/'.join(path.parts[-2:])}:{line}"
    return place
