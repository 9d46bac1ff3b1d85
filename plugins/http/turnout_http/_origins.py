"""Which `Host` and `Origin` headers a request may carry, so that no web page can talk to us behind a user's back.

A page whose name was re-pointed at this machine still sends its own name as `Host`; a page that posts across sites
sends its own `Origin` (S35, S36).
"""

import re
from collections.abc import Iterable
from typing import final

from turnout_http._addresses import Address

_HOST = re.compile(rb"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?", re.IGNORECASE)

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")

REMEMBERED = 64


@final
class Hosts:
    """The names by which this frontend may be called."""

    def __init__(self, names: Iterable[str], addresses: Iterable[Address]) -> None:
        self._names = {*LOOPBACK, *(name.lower() for name in names)}
        self._names.update(address.host for address in addresses if not address.ip.is_unspecified)
        self._known: set[bytes] = set()

    def allows(self, host: bytes, server: str) -> bool:
        """Whether this `Host` names us. `server` is the address that the client connected to.

        That address is always a good name: a page cannot be served from it without being ours.
        """
        if host in self._known:
            return True
        match = _HOST.fullmatch(host)
        if match is None or int(match["port"] or 0) > 65535:
            return False
        name = match["name"].decode().lower()
        if name not in self._names and name.strip("[]") != server:
            return False
        if len(self._known) < REMEMBERED:
            self._known.add(host)
        return True


def is_foreign(origin: bytes, host: bytes) -> bool:
    """Whether a request with this `Origin` came from a page that we did not serve."""
    return origin.lower() not in {b"http://" + host.lower(), b"https://" + host.lower()}
