"""How often tasks are woken, counted by Trio."""

from typing import Self

import trio


class Steps(trio.abc.Instrument):
    """The steps of one task, or of those with one name, while the block runs.

    Attributes:
        count: so many were there.
    """

    def __init__(self, of: trio.lowlevel.Task | str) -> None:
        self._of = of
        self.count = 0

    def __enter__(self) -> Self:
        trio.lowlevel.add_instrument(self)
        return self

    def __exit__(self, *_: object) -> None:
        trio.lowlevel.remove_instrument(self)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += task is self._of or task.name == self._of
