from collections.abc import Callable
from typing import ClassVar, final

from turnout import Ask
from turnout.abc import Candidate, Ready


@final
class RoundRobin:
    """Everybody in turn: providers alternate, then virtual parents, then ids (C5.7.2, C5.7.3, C5.10.5).

    It keeps nothing itself. The rotation goes on behind the last credential that was called, whoever chose it and
    whatever cooled, came or went meanwhile (O10). Providers alternate one to one, however many credentials each has
    (O17).
    """

    api: ClassVar[int] = 1

    def select(self, ready: Ready, ask: Ask, draw: Callable[[], float]) -> Candidate:  # noqa: ARG002 - the protocol's
        """The one whose turn it is in the highest ready tier."""
        return ready.best.following()
