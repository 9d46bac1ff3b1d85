"""Places under limits that hold over every process that shares the store (acceptance G11, G12).

A process holds some places ahead and lets calls in up to that number by itself. Its task tells the store what is in use
and asks for more, or gives back: every `PERIOD` or `ALONE`, and soon when few are left. Only a call that finds none
left waits for that. While the store is away, each process has its part of the limit; without a store that can divide,
all of it.
"""

from collections.abc import Callable, Sequence
from logging import getLogger
from typing import Final, final

import attrs
import trio

from turnout._allowance import alone, asked, spare, wanted
from turnout._checks import checked_count, checked_text
from turnout._leasing import AWAY
from turnout._plugin_calls import offers, plugin_code
from turnout._values import refuse
from turnout._write_behind import STORE_LIMIT
from turnout.abc import Allotment, Allotter, Claim, Share

PERIOD: Final = 0.5
"""Seconds between two claims while places are in use: what others know of us is that old."""

GAP: Final = 0.05
"""Seconds between two claims at the least, however many calls come (G12)."""

LIFE: Final = 5.0
"""Seconds that a claim lasts: for so long a process that died keeps its places from the others."""

ALONE: Final = LIFE / 2
"""Seconds in place of `PERIOD` while nobody else is known under the limits and whoever comes finds half of each free.

Each claim holds up the calls of that millisecond; at two of them a second that is half a hundredth of all calls.
"""

PATIENCE: Final = 1.0
"""Seconds that a call waits at the most for places that others hold and do not use, or for a store that hangs.

While the store gives all that is asked for, and calls take it that came later, a call waits on.
"""

WAITERS: Final = 32
"""Calls that may always wait so under one limit; more of them only while there may be a place for each."""

PRESENCE: Final = Claim(name="processes", limit=1 << 20, used=1, wanted=1, seconds=30.0)
"""Tells how many processes share the store, so that each knows its part when it cannot ask."""

PRESENCE_PACE: Final = 10.0
"""Seconds between two times of telling."""

log = getLogger("turnout.limits")


@final
@attrs.define(eq=False)
class Account:
    """What one process knows of one limit.

    Attributes:
        peak: places that were needed at once since the last claim, those in vain among them.
        waiting: calls that wait for a place.
        held: places that may be used until `until`, on Trio's clock.
        short: more are wanted than can be had for now.
        heard: the number of the claim that was answered last.
    """

    name: str
    limit: int
    used: int = 0
    peak: int = 0
    waiting: int = 0
    held: int = 0
    until: float = 0.0
    short: bool = False
    heard: int = 0
    others: Sequence[Share] = ()

    def claim(self) -> Claim:
        """What to tell the store now. What is given up with it is not used from now on."""
        ask = asked(self.peak, self.limit, [other.wanted for other in self.others])
        self.short = wanted(self.peak, self.limit) > ask
        self.held = min(self.held, ask)
        self.peak = self.used + self.waiting
        return Claim(name=self.name, limit=self.limit, used=self.used, wanted=ask, seconds=LIFE)

    def take(self, allotment: Allotment, claim: Claim, until: float, number: int) -> None:
        """What the store has answered to a claim."""
        self.held, self.until, self.heard, self.others = allotment.granted, until, number, allotment.others
        self.short = self.short or allotment.granted < claim.wanted

    @property
    def full(self) -> bool:
        """Whether every place is in use, by whomever, as far as we know."""
        return self.used + sum(other.used for other in self.others) >= self.limit

    @property
    def idle(self) -> bool:
        """Whether nothing is lost when this is forgotten."""
        return not (self.used or self.peak or self.waiting or self.held)


@final
class SharedLimits:
    """Implements `abc.Places` for one process."""

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}
        self._store: Allotter | None = None
        self._border = plugin_code("turnout.stores", "")
        self._scope = trio.CancelScope()
        self._away = False
        self._processes = 1
        self._tell_presence_at = 0.0
        self._claims = 0
        self._time: Callable[[], float] = trio.lowlevel.current_clock().current_time  # a third of `trio.current_time()`
        self._poked = trio.Event()
        self._news = trio.Event()

    def use(self, store: object, border: plugin_code) -> bool:
        """Divide by this store from now on; gives whether it can, and `run` is to be started."""
        self._scope.cancel()
        self._scope, self._border = trio.CancelScope(), border
        self._store = store if offers(store, Allotter) else None
        self._away, self._processes, self._tell_presence_at = False, 1, 0.0
        for account in self._accounts.values():
            account.held, account.others = 0, ()
        self._wake()
        return self._store is not None

    async def enter(self, name: str, limit: int) -> bool:
        """Take a place; see `turnout.abc.Places`."""
        account = self._accounts.get(name if type(name) is str else checked_text(name, "name"))
        if account is None:
            account = self._accounts[name] = Account(name, checked_count(limit, "limit"))
        elif limit != account.limit:
            account.limit = checked_count(limit, "limit")
        if account.used >= self._room(account) and not await self._wait(account):
            return False
        account.used += 1
        if account.used > account.peak:  # noqa: PLR1730  # not `max`, a call more for every request
            account.peak = account.used
        if self._store is not None and not account.short and account.held - account.used <= spare(account.used) // 2:
            self._poked.set()
        return True

    def leave(self, name: str) -> None:
        """Give a place back."""
        account = self._accounts.get(name)
        if account is None or not account.used:
            refuse(f"nobody has a place under {name!r}", "name")
        account.used -= 1
        if account.waiting:
            self._wake()
        if self._store is None and not account.used:
            del self._accounts[name]

    def _room(self, account: Account) -> int:
        """Places that this process may use now."""
        if self._store is None:
            return account.limit
        held = account.held if self._time() < account.until else 0
        return min(account.limit, max(held, alone(account.limit, self._processes)) if self._away else held)

    async def _wait(self, account: Account) -> bool:
        """Wait for a place while there may be one; gives whether there is."""
        account.peak = max(account.peak, account.used + account.waiting + 1)
        if self._store is None or self._away or account.waiting >= max(WAITERS, account.limit - account.used):
            return False
        account.waiting += 1
        try:
            while True:
                asked_after = self._claims
                with trio.move_on_after(PATIENCE):
                    while account.used >= self._room(account):
                        if self._away or (account.heard > asked_after and account.full):
                            return False
                        self._poked.set()
                        await self._news.wait()
                    return True
                if account.heard <= asked_after:
                    self._lost("it does not answer")
                if account.short or self._away:
                    break
                # The store gave all that was asked for, and calls that came later took it: ask once more.
        finally:
            account.waiting -= 1
        return account.used < self._room(account)

    # --- the task ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Claim what is needed, until another store is used."""
        store = self._store
        with self._scope:
            while store is not None:
                await self._claim(store)
                await trio.sleep(PERIOD if self._away else GAP)
                with trio.move_on_after(self._period()):
                    await self._poked.wait()
                self._poked = trio.Event()

    def _period(self) -> float:
        """Seconds until the next claim, if no call asks for places before."""
        if not self._accounts:
            return PRESENCE_PACE
        alone = not any(one.others or one.held > one.limit // 2 for one in self._accounts.values())
        return ALONE if alone and not self._away else PERIOD

    async def _claim(self, store: Allotter) -> None:
        """One round with the store."""
        began = trio.current_time()
        accounts = tuple(self._accounts.values())
        claims = [account.claim() for account in accounts]
        if telling := began >= self._tell_presence_at:
            claims.append(PRESENCE)
        if not claims:
            return
        self._claims += 1
        try:
            with trio.fail_after(STORE_LIMIT), self._border:
                allotments = await store.allot(claims)
        except AWAY as error:
            self._lost(str(error) or "the store took too long")
            return
        if telling:
            self._processes = 1 + len(allotments[-1].others)
            self._tell_presence_at = began + PRESENCE_PACE
        for account, claim, allotment in zip(accounts, claims, allotments, strict=False):
            account.take(allotment, claim, began + LIFE, self._claims)
            if account.idle:
                del self._accounts[account.name]
        if self._away:
            log.info("limits hold over all processes again")
        self._away = False
        self._wake()

    def _lost(self, why: str) -> None:
        """Go on with our part."""
        if not self._away:
            log.warning("each of %d processes keeps to its part of the limits for now: %s", self._processes, why)
        self._away = True
        self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, trio.Event()
        news.set()
