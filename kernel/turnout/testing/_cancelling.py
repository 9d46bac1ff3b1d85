"""See whether code of a plugin lets a cancellation pass: it is cancelled at one wait after the other, and watched.

Trio tells a task of its cancellation by what it resumes it with. Only who sees that can tell code that swallows its
cancellation from code that had nothing to wait for, or that finishes a step which cannot be broken off.
"""

from collections.abc import Awaitable, Callable, Generator
from typing import Any

import attrs
import trio

MOST_WAITS = 100
"""Waits of one piece of code at which it is cancelled, one after the other."""

AT_ONCE = 0.1
"""Seconds after which what tells a task of a cancellation is no longer ours, but the deadline of a shielded scope."""


async def swallows(make: Callable[[], Awaitable[object]]) -> bool:
    """Whether code swallows a cancellation at any of its waits; it is made and run once for each of them.

    Swallowing is to return, or to raise something else in its place, once Trio has told it. What it raises without
    having been told comes out.
    """
    for wait in range(MOST_WAITS):
        seen = await cancelled_at(wait, make())
        if seen.swallowed:
            return True
        if not seen.reached:
            break
    return False


@attrs.frozen(kw_only=True)
class Seen:
    """What became of code that was to be cancelled at one of its waits: it may have come to its end before."""

    reached: bool
    swallowed: bool


async def cancelled_at(wait: int, code: Awaitable[object]) -> Seen:
    """Run code and cancel it when it begins its wait of this number, counted from 0; see `swallows`."""
    with trio.CancelScope() as scope:
        watched = _Watched(code, scope, wait)
        try:
            await watched
        except Exception:
            if not watched.told:
                raise
    return Seen(reached=watched.waits > wait, swallowed=watched.told and not scope.cancelled_caught)


@attrs.define(eq=False)
class _Watched:
    """Awaits code, cancels the scope at a wait of it, and sees whether it is told."""

    _awaited: Awaitable[object]
    _scope: trio.CancelScope
    _at: int
    waits: int = 0
    told: bool = False

    def __await__(self) -> Generator[Any, Any, object]:
        inner = self._awaited.__await__()
        given, cancelled_at = None, 0.0
        while True:
            try:
                trap = inner.send(given)
            except StopIteration as end:
                return end.value
            if self.waits == self._at:
                cancelled_at = trio.current_time()
                self._scope.cancel()
            self.waits += 1
            given = yield trap
            cancelled = self._scope.cancel_called and isinstance(getattr(given, "error", None), trio.Cancelled)
            self.told = self.told or (cancelled and trio.current_time() - cancelled_at < AT_ONCE)
