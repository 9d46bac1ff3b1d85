"""The calls under way: who they are, so that a drain can wait for them and end those that take too long."""

from types import TracebackType
from typing import Self

import trio

from turnout._run import Run
from turnout.errors import DeadlineExceeded, Draining, TurnoutError


class CallScope:
    """The scope of one call: its total deadline, and the kernel's hand on it while it drains.

    Leaving raises DeadlineExceeded or Draining in place of the cancellation that the scope itself brought about.
    """

    __slots__ = ("_calls", "_run", "_scope")

    def __init__(self, calls: "Calls", run: Run) -> None:
        self._calls = calls
        self._run = run
        self._scope = trio.CancelScope(deadline=run.deadline)

    def __enter__(self) -> Self:
        self._calls.enter(self._scope, self._run.generation.number)
        self._scope.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._calls.leave(self._scope)
        if self._scope.__exit__(kind, error, trace) and error is not None:
            raise self.reason() from None

    @property
    def cancelled(self) -> bool:
        """Whether the deadline has passed or a drain has ended it."""
        return self._scope.cancel_called

    def reason(self) -> TurnoutError:
        """Why this scope is cancelled."""
        if trio.current_time() < self._run.deadline:
            return Draining("the gateway is closing and the time for open calls is over")
        return DeadlineExceeded(f"the call took longer than its {self._run.deadline - self._run.began:g} s")


class Calls:
    """The calls under way in one kernel, each with the generation it began in."""

    __slots__ = ("_left", "_open", "draining")

    def __init__(self) -> None:
        self._open: dict[trio.CancelScope, int] = {}
        self._left = trio.lowlevel.ParkingLot()
        self.draining = trio.Event()

    def __len__(self) -> int:
        return len(self._open)

    def enter(self, scope: trio.CancelScope, generation: int) -> None:
        """Count a call in; raises Draining when no new ones are taken."""
        if self.draining.is_set():
            raise Draining("the gateway is closing and takes no new calls")
        self._open[scope] = generation

    def leave(self, scope: trio.CancelScope) -> None:
        """Count a call out."""
        self._open.pop(scope, None)
        self._left.unpark_all()

    def drain(self) -> None:
        """Take no new calls from now on."""
        self.draining.set()

    async def wait_gone(self, generation: int | None = None) -> None:
        """Wait until no call of this generation or an earlier one is under way; None: no call at all."""
        while any(generation is None or number <= generation for number in self._open.values()):
            await self._left.park()

    def cancel(self) -> None:
        """End the calls that are still under way: each raises Draining in its own task."""
        for scope in self._open:
            scope.cancel()
