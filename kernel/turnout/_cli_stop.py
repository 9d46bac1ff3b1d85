"""What signals mean for a command that serves: the first asks to drain, the second ends everything at once."""

import os
import signal
from collections.abc import Callable
from logging import getLogger
from typing import Final, NoReturn

import trio

LAST_LIMIT: Final = 1.5
"""Seconds that a second signal leaves for saving what is dirty (acceptance H5 allows two in all)."""

CLOSING_LIMIT: Final = 20.0
"""Seconds after a drain in which everything has to be closed: ten for what is saved, ten for the plugins."""

log = getLogger("turnout.run")


class Stop:
    """Asks to stop, by signals and by a supervisor's orders.

    Attributes:
        scope: everything that a second signal ends, and a first one that comes before anything is served.
        limit: seconds after which the process ends whatever still runs in it.
        who: says who does not let go, in words, where that is known.
    """

    def __init__(self, limit: float = LAST_LIMIT, *, who: Callable[[], str] = str) -> None:
        self.asked = trio.Event()
        self.scope = trio.CancelScope()
        self.limit = limit
        self.who = who
        self.serving = False
        self.exit_code = 0

    async def watch(self, *, task_status: "trio.TaskStatus[None]") -> None:
        """Wait for signals until cancelled."""
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            task_status.started()
            async for number in signals:
                name = signal.Signals(number).name
                if self.asked.is_set():
                    log.warning("a second signal, %s: stopping at once, calls under way are cut off", name)
                    await self.end(128 + number)
                self.drain(f"{name}: draining, calls under way may finish; a second signal stops at once")

    def drain(self, why: str) -> None:
        """Ask for a drain, or for the end while nothing is served yet. Told again, it changes nothing."""
        if self.serving and not self.asked.is_set():
            log.info("%s", why)
        self.asked.set()
        if not self.serving:
            self.scope.cancel()

    async def end(self, code: int) -> None:
        """End the scope with this exit code; should something not let go of it, end the process."""
        self.exit_code = code
        self.asked.set()
        self.scope.cancel()
        await self.leave_behind(self.limit)

    async def leave_behind(self, limit: float) -> NoReturn:
        """End the process after so many seconds, unless cancelled before (acceptance H9)."""
        await trio.sleep(limit)
        log.error("%s did not stop within %g s; leaving it behind", self.who() or "something", limit)
        os._exit(self.exit_code)
