"""What follows when one of several processes ends: another in its place, or the end of all (acceptance H8)."""

from signal import SIGTERM
from typing import Final

import attrs

STEADY: Final = 10.0
"""Seconds of serving after which a process counts as sound: what ends it then has nothing to do with how it started."""

PAUSE_FLOOR, PAUSE_CAP = 1.0, 60.0
"""Seconds before the next process when the one before ended early: doubled each time (acceptance H8)."""

TRIES: Final = 5
"""How often in a row a process may end early, while no other one serves, before that is the end of all."""

FAILED: Final = 1


@attrs.frozen(kw_only=True)
class End:
    """How a process ended.

    Attributes:
        code: its exit code; below 0 the number of the signal that killed it.
        served: seconds for which it served, None when it never did.
    """

    code: int
    served: float | None

    @property
    def failed(self) -> bool:
        """Whether that is a failure of a process that was asked to end: SIGTERM ends one that does not serve yet."""
        return self.code != 0 and not (self.code == -SIGTERM and self.served is None)


@attrs.frozen(kw_only=True)
class House:
    """The other processes.

    Attributes:
        draining: all of them are asked to end.
        started: there was a time at which every one served.
        serving: some other one serves now.
    """

    draining: bool
    started: bool
    serving: bool


@attrs.frozen
class Respawn:
    """Another process after `pause` seconds; `early` is how many in a row have ended early by now."""

    pause: float
    early: int


@attrs.frozen
class GiveUp:
    """Every process ends, and this is the exit code."""

    code: int


def next_step(end: End, early: int, house: House) -> Respawn | GiveUp | None:
    """What follows the end of a process in whose place `early` others before it ended early; None: nothing.

    The first of a row is replaced at once: what serves for long and dies has met something that may not come again.
    A start that fails is the end of all: what it fails of is in the configuration or the machine, and was told.
    """
    if house.draining:
        return None
    if not house.started:
        return GiveUp(end.code if end.code > 0 else FAILED)
    early = 0 if (end.served or 0.0) >= STEADY else early + 1
    if early > TRIES and not house.serving:
        return GiveUp(FAILED)
    return Respawn(_pause(early), early)


def _pause(early: int) -> float:
    doublings = min(early - 2, 10)  # a number that grows for days would leave what a float can hold
    return min(PAUSE_FLOOR * 2**doublings, PAUSE_CAP) if early > 1 else 0.0
