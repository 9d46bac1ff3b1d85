"""How an exception is told in a log: types and places only, for its text may hold a prompt or a secret (S41)."""

import traceback
from collections.abc import Iterator
from logging import Logger
from pathlib import PurePath
from typing import final

import trio

FRAMES = 4

QUIET = 1.0
"""Seconds between two log lines about faults that any client can cause (A1, I9)."""


def chain(error: BaseException) -> str:
    """`file:line:type` of an exception, of what it came from and of what a group holds, innermost frames only."""
    return " <- ".join(_links(error, set()))


def _links(error: BaseException, seen: set[int]) -> Iterator[str]:
    if id(error) in seen:
        return
    seen.add(id(error))
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES:]
    places = " > ".join(f"{'/'.join(PurePath(frame.filename).parts[-2:])}:{frame.lineno}" for frame in frames)
    yield f"{places}:{type(error).__qualname__}"
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            yield from _links(member, seen)
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        yield from _links(cause, seen)


@final
class FaultLog:
    """Logs faults that clients can cause at will, at most one a second; the next line says how many were left out."""

    def __init__(self, log: Logger) -> None:
        self._log = log
        self._next = float("-inf")
        self._left_out = 0

    def report(self, what: str, error: BaseException) -> None:
        """Log that `what` happened, unless a line was written less than a second ago."""
        now = trio.current_time()
        if now < self._next:
            self._left_out += 1
            return
        self._log.error("%s: %s (%d like it before)", what, chain(error), self._left_out)
        self._next, self._left_out = now + QUIET, 0
