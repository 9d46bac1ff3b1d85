"""Somebody who calls a kernel, waits or does not, and leaves early, by chance that can be replayed."""

import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from random import Random
from typing import Any

import attrs
import trio

from turnout._kernel import Kernel
from turnout._values import Ask
from turnout.testing._referee import Referee
from turnout.testing._variants import TOTAL


@attrs.frozen(kw_only=True)
class Habits:
    """What the clients of one simulation are like: each takes one of these at a time, by chance.

    Attributes:
        models, pins, sessions: an empty session is the client's own.
    """

    models: Sequence[str] = ("m", "m", "m", "m", "m", "m(high)", "pool", "pool", "x/m", "nothing")
    pins: Sequence[str | None] = (*(None,) * 9, "a")
    sessions: Sequence[str | None] = (None, None, "s1", "")


HABITS = (Habits(), Habits(), Habits(models=("m",), pins=(None,), sessions=("s1",)), Habits(pins=("a", "b", "c")))
"""Everything at once, and simulations about one thing, in which it comes often enough to be seen going wrong."""


@attrs.frozen
class Client:
    """Calls, streams and counts; in sessions, pinned, with deadlines and without patience."""

    chance: Random
    referee: Referee
    kernel: Kernel
    sleep: Callable[[float], Awaitable[None]]
    habits: Habits

    async def act(self, name: str) -> None:
        """Call some times, one after the other."""
        session = self.chance.choice(self.habits.sessions)
        for turn in range(self.chance.randint(1, 3)):
            await self.sleep(self.chance.choice((0, 0, 0.3, 3, 70)))
            await self._call(self._ask(f"{name}.{turn}", name if session == "" else session))
            self.referee.look()

    def _ask(self, id: str, session: str | None) -> Ask:
        return Ask(
            id=id,
            model=self.chance.choice(self.habits.models),
            pin=self.chance.choice(self.habits.pins),
            affinity=session,
            deadline=self.chance.choice((None, None, 5.0, 30.0)),
        )

    async def _call(self, ask: Ask) -> None:
        chance = self.chance
        patience = chance.choice((math.inf, math.inf, math.inf, math.inf, 0.0, 0.2, 6.0))
        leaves_after = chance.choice((99, 99, 1, 3))
        way: Callable[[Ask, int], Any] = chance.choice((self._execute, self._stream, self._stream, self._count))
        began = trio.current_time()
        failed: BaseException | None = None
        self.referee.called(ask)
        gone = True
        try:
            with trio.move_on_after(patience) if patience < math.inf else nullcontext() as scope:
                try:
                    await way(ask, leaves_after)
                except Exception as error:  # noqa: BLE001 # judged by the referee
                    failed = error
            gone = scope is not None and scope.cancelled_caught
        finally:
            self.referee.answered(ask, began, min(TOTAL, ask.deadline or TOTAL), failed, gone=gone)

    async def _execute(self, ask: Ask, _: int) -> None:
        await self.kernel.execute(ask)

    async def _count(self, ask: Ask, _: int) -> None:
        await self.kernel.count(ask)

    async def _stream(self, ask: Ask, leaves_after: int) -> None:
        async with self.kernel.stream(ask) as stream:
            async for _ in stream:
                leaves_after -= 1
                if not leaves_after:
                    break
                await self.sleep(self.chance.choice((0, 0, 1)))
