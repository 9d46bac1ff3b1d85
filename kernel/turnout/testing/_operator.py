"""Somebody who manages a kernel while calls are under way, by chance that can be replayed."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from random import Random
from typing import Any

import attrs
import trio

from turnout._kernel import Kernel
from turnout._values import Credential, Metadata
from turnout.errors import ConfigError, PluginError, StoreError, TurnoutError
from turnout.testing._referee import Referee
from turnout.testing._variants import VARIANTS, variant


@attrs.frozen
class Operator:
    """Switches, changes, registers, removes, resets and reloads."""

    chance: Random
    referee: Referee
    kernel: Kernel
    sleep: Callable[[float], Awaitable[None]]

    async def act(self) -> None:
        """Do this and that."""
        acts: Sequence[Callable[[], Any]] = (
            self._switch,
            self._remove,
            self._change,
            self._reset,
            self._reload,
            self._jump,
            lambda: self.register(self.chance.randrange(4)),
        )
        for _ in range(self.chance.randint(0, 5)):
            await self.sleep(self.chance.choice((0, 0.4, 2, 30)))
            with suppress(StoreError, ConfigError):
                await self.chance.choice(acts)()
            self.referee.sessions.forget()  # what was changed may have been preferred
            self.referee.look()

    async def register(self, number: int) -> None:
        """Register a credential with a token, perhaps in place of one."""
        ends = self.referee.wall() + self.chance.choice((-10, 20, 400, 4000))
        credential = Credential(
            id=f"t{number}",
            provider=self.chance.choice(("p", "q")),
            metadata=Metadata({"email": "t@example.test", "access_token": "0", "expires_at": ends}),
            attributes={"priority": self.chance.choice(("0", "0", "5"))},
            prefix=self.chance.choice(("", "x")),
        )
        self.referee.note("register", credential.id, credential.provider)
        with suppress(StoreError, TurnoutError):
            await self.kernel.credentials.register(credential)

    def _somebody(self) -> str:
        return self.chance.choice(sorted(one.id for one in self.kernel.credentials.list()) or [""])

    async def _switch(self) -> None:
        if id := self._somebody():
            known = self.kernel.credentials.get(id)
            off = known is not None and known.disabled
            self.referee.note("enable" if off else "disable", id)
            await (self.kernel.credentials.enable(id) if off else self.kernel.credentials.disable(id))

    async def _remove(self) -> None:
        if id := self._somebody():
            self.referee.note("remove", id)
            await self.kernel.credentials.remove(id)

    async def _change(self) -> None:
        known = self.kernel.credentials.get(self._somebody() or "nobody")
        if known is not None:
            provider = self.chance.choice((known.provider, "p", "q"))
            label = str(trio.current_time())
            self.referee.note("update", known.id, provider)
            with suppress(TurnoutError):
                await self.kernel.credentials.update(attrs.evolve(known, provider=provider, label=label))

    async def _reset(self) -> None:
        await trio.lowlevel.checkpoint()
        if id := self._somebody():
            self.referee.note("reset", id)
            self.kernel.credentials.reset(id)

    async def _jump(self) -> None:
        """Set the wall clock: a day, an hour, to 1970, or by less than is noticed (K1)."""
        await trio.lowlevel.checkpoint()
        by = self.chance.choice((86_400, -86_400, 3600, -3600, 4, -4, -self.referee.wall()))
        self.referee.note("jump", f"{by:.0f}")
        self.referee.wall.ahead += by

    async def _reload(self) -> None:
        number = self.chance.randrange(VARIANTS)
        self.referee.note("reload", number)
        with suppress(PluginError):
            await self.kernel.reload(variant(number))
