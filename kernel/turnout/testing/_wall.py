"""A wall clock that jumps."""

from turnout.testing._house import wall


class JumpingWall:
    """The wall clock of a simulated machine: goes with Trio's clock until somebody sets it.

    Attributes:
        ahead: seconds by which it was set forward in all.
    """

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        """POSIX seconds."""
        return wall() + self.ahead
