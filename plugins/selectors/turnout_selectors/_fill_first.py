from collections.abc import Callable
from typing import ClassVar, final

from turnout import Ask
from turnout.abc import Candidate, Ready


@final
class FillFirst:
    """Always the same one while it is ready, to spend one account before the next (C5.7.1, C5.10.4).

    That is the first credential by id of the first provider asked for.
    """

    api: ClassVar[int] = 1

    def select(self, ready: Ready, ask: Ask, draw: Callable[[], float]) -> Candidate:  # noqa: ARG002 - the protocol's
        """The first of the highest ready tier."""
        return ready.best.first()
