"""Limits on how much is under way: per origin and per credential, waited for in turn, given back by their holder."""

from typing import final
from weakref import WeakValueDictionary

import httpx
import trio

from turnout_transport._failures import failure


@final
class Places:
    """How many may be under way at once; whoever finds no place waits in turn.

    trio.CapacityLimiter also keeps who holds what, which costs 8 µs for every place that is taken and given back.

    Attributes:
        taken: places in use.
    """

    __slots__ = ("__weakref__", "_lot", "_total", "taken")

    def __init__(self, total: int) -> None:
        self._total = total
        self._lot = trio.lowlevel.ParkingLot()
        self.taken = 0

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return len(self._lot)

    def take_nowait(self) -> bool:
        """Take a place if one is free. While somebody waits none is."""
        if self.taken >= self._total:
            return False
        self.taken += 1
        return True

    async def take(self) -> None:
        """Wait for a place; cancelled, none is taken."""
        if not self.take_nowait():
            await self._lot.park()  # whoever gives a place back passes it on

    def give_back(self) -> None:
        """Give a place to whoever has waited longest, or free it."""
        if self.taken == self._total and self._lot:  # nobody waits unless all are taken
            self._lot.unpark()
        else:
            self.taken -= 1


class CredentialLimiters:
    """A limiter per credential, kept only as long as somebody uses it: credentials may come and go."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._limiters: WeakValueDictionary[str, Places] = WeakValueDictionary()

    def __len__(self) -> int:
        return len(self._limiters)

    def of(self, id: str) -> Places | None:
        """The limiter of this credential; None when credentials have no limit of their own."""
        if not self._limit:
            return None
        limiter = self._limiters.get(id)
        if limiter is None:
            limiter = self._limiters[id] = Places(self._limit)
        return limiter


class Holder:
    """Holds the places that an exchange has taken, until it is released; may be released twice."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: list[Places] = []

    def take_nowait(self, places: Places) -> bool:
        """Take a place if one is free."""
        if places.take_nowait():
            self._held.append(places)
            return True
        return False

    async def take(self, places: Places, max_wait: float, where: object) -> None:
        """Wait for a place, at most `max_wait` seconds; raises PoolTimeout."""
        with trio.move_on_after(max_wait) as scope:
            await places.take()
            self._held.append(places)
        if scope.cancelled_caught:
            text = f"no connection to {where} became free within {max_wait:g} s"
            raise failure(httpx.PoolTimeout, text, sent=False)

    def release(self) -> None:
        """Give everything back."""
        while self._held:
            self._held.pop().give_back()
