"""What a simulation writes down: what happened, line by line, and what did not hold."""

import hashlib

import trio


class Transcript:
    """The trace of one simulation.

    Attributes:
        problems: what did not hold, in order of appearance; empty is good.
        trace: what happened, line by line.
    """

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.trace: list[str] = []

    def note(self, *words: object) -> None:
        """Add a line to the trace."""
        self.trace.append(f"{trio.current_time():.3f} {' '.join(map(str, words))}")

    def digest(self) -> str:
        """Stands for the whole trace: the same for the same run."""
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()

    def law(self, kept: bool, law: str, *what: object) -> None:  # reads as an assertion
        """Say that something must hold; `what` is put into the words, as in logging, where it does not."""
        if not kept:
            self.broken(law % what if what else law)

    def broken(self, law: str) -> None:
        """Say what did not hold."""
        self.note("BROKEN", law)
        self.problems.append(law)
