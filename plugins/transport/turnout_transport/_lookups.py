"""Names to addresses by the system's resolver, which blocks: in threads of our own, a few for each name.

A look-up that nobody waits for any more keeps its thread until the system gives up, 5 to 30 s later. Trio has 40
threads for everything, so that one name whose servers are silent took them all, and every other name with it (B3).
"""

import errno
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeAlias, cast, final
from weakref import WeakValueDictionary

import attrs
import trio

from turnout_transport._limiters import Places

PER_NAME = 4
"""Look-ups of one name at a time. More than one: where a datagram was lost, the next caller has an answer long before
the system asks again (5 s, resolv.conf(5))."""

THREADS = 128
"""Look-ups at a time, of all names: 32 names may be silent before another has to wait for a thread."""


_Found: TypeAlias = Sequence[str] | Exception


def system_addresses(host: str) -> Sequence[str]:
    """Addresses of a host by the system's resolver, in its order; blocks, raises OSError."""
    try:
        return _distinct(socket.getaddrinfo(host.encode("ascii"), None, type=socket.SOCK_STREAM))
    except socket.gaierror:
        # A process without descriptors is mostly told that there is no such name: what asks for one says what is wrong.
        socket.socket().close()
        raise


@attrs.define
class _Answer:
    """What a name leads to, or why that is not known; None when whoever looked it up has left before."""

    come: trio.Event = attrs.field(factory=trio.Event)
    found: _Found | None = None


@attrs.define(eq=False)
class _Name:
    """A name that is being looked up; for Trio, the limiter of the threads that do.

    Attributes:
        under_way: look-ups that have a thread or wait for one.
        answer: the next that comes from any of them.
        found: what threads have found and nobody has been told yet.
    """

    host: str
    look_up: Callable[[str], Sequence[str]]
    threads: Places
    under_way: int = 0
    answer: _Answer = attrs.field(factory=_Answer)
    found: deque[_Found] = attrs.field(factory=deque)

    def run(self) -> None:
        """Look it up, in a thread."""
        try:
            self.found.append(self.look_up(self.host))
        except Exception as exc:  # noqa: BLE001  # carried over the border of the thread, raised where it is waited for
            self.found.append(exc)

    async def acquire_on_behalf_of(self, _thread: object) -> None:
        """Wait until there may be another thread."""
        self.under_way += 1
        taken = False
        try:
            await self.threads.take()
            taken = True
        finally:
            if not taken:
                self._leave()

    def release_on_behalf_of(self, _thread: object) -> None:
        """A thread has ended, also one that nobody waits for any more."""
        self.threads.give_back()
        self._leave()

    def _leave(self) -> None:
        self.under_way -= 1
        answer, self.answer = self.answer, _Answer()
        answer.found = self.found.popleft() if self.found else None
        answer.come.set()


@final
class Lookups:
    """Looks names up for one transport.

    Whoever asks begins a look-up of the name; where `PER_NAME` are under way, the first answer that comes from then on
    is theirs too, good or bad. It is as fresh as one of their own, and a thousand callers at once cost four look-ups.
    """

    def __init__(self, look_up: Callable[[str], Sequence[str]] = system_addresses) -> None:
        """`look_up` may block, and raises OSError."""
        self._look_up = look_up
        self._names: WeakValueDictionary[str, _Name] = WeakValueDictionary()
        self._threads = Places(THREADS)

    @property
    def under_way(self) -> int:
        """Look-ups that hold a thread."""
        return self._threads.taken

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """Addresses of a host in the system's order; `host` is ASCII. Waits, raises OSError.

        An address in any spelling needs no thread. A resolver that was given to Trio is asked instead of the system's.
        """
        if addresses := _written_out(host):
            await trio.lowlevel.checkpoint()
            return addresses
        if _has_custom_resolver():
            return _distinct(await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        name = self._names.get(host)
        if name is None:
            name = self._names[host] = _Name(host, self._look_up, self._threads)
        found = None
        while found is None:
            found = await _next_answer(name)
        if isinstance(found, Exception):
            raise type(found)(*found.args) from found  # a new one for each that waits: raising changes it
        return found


async def _next_answer(name: _Name) -> _Found | None:
    answer = name.answer
    if name.under_way < PER_NAME:
        limiter = cast("trio.CapacityLimiter", name)  # Trio takes whatever has these two methods, and says so
        try:
            await trio.to_thread.run_sync(name.run, abandon_on_cancel=True, limiter=limiter)
        except RuntimeError as exc:  # as Python calls it; the system says EAGAIN
            raise OSError(errno.EAGAIN, "no thread can be started") from exc
    await answer.come.wait()
    return answer.found


def _written_out(host: str) -> Sequence[str]:
    """The address that a host is, in any spelling that the system knows; nothing for a name."""
    try:
        return _distinct(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST))
    except (socket.gaierror, UnicodeError):
        return ()


def _distinct(entries: Sequence[tuple[object, object, int, str, tuple[object, ...]]]) -> Sequence[str]:
    return list(dict.fromkeys(str(entry[4][0]) for entry in entries))


def _has_custom_resolver() -> bool:
    found = trio.socket.set_custom_hostname_resolver(None)  # there is no other way to ask
    trio.socket.set_custom_hostname_resolver(found)
    return found is not None
