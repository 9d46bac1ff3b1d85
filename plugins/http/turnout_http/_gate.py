"""How many connections may be open, in all and per address (section 4, A4)."""

import ipaddress
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import final

from turnout_http._settings import ClientLimits


@lru_cache(maxsize=1024)
def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False


@final
class Gate:
    """Counts open connections."""

    def __init__(self, limits: ClientLimits) -> None:
        self._limits = limits
        self._by_address: Counter[str] = Counter()
        self.open = 0

    @contextmanager
    def hold(self, address: str) -> Iterator[bool]:
        """Whether one more connection of this address may stay; while inside it is counted."""
        counted = "" if _is_loopback(address) else address
        if self.open >= self._limits.connections or self._by_address[counted] >= self._limits.per_address:
            yield False
            return
        self.open += 1
        if counted:
            self._by_address[counted] += 1
        try:
            yield True
        finally:
            self.open -= 1
            if counted:
                self._by_address[counted] -= 1
                if not self._by_address[counted]:
                    del self._by_address[counted]
