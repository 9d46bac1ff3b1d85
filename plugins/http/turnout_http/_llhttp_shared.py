"""What all connections of our own server have in common."""

from typing import final

import trio

from turnout_http._settings import ClientLimits
from turnout_sockets import Burst, Readers

READ = 256 * 1024
"""Bytes that are read at once; a body of 300 KB takes two waits instead of six with 64 KiB."""


@final
class Shared:
    """One for each server.

    Attributes:
        date: line of the `date` header now.
        idle_until: when a connection ends that is idle from now on, on Trio's clock; a little later than after
            `keep_alive`, because it is looked at now and then only: asking for the time costs 0.4 µs a request.
        burst: of answers to clients on this host.
        closing: no connection serves another request.
        buffer: what is read is parsed before anybody else can run, so one is enough.
        view: the same, to read into.
    """

    def __init__(self, limits: ClientLimits, readers: Readers) -> None:
        self.limits = limits
        self.readers = readers
        self.burst = Burst()
        self.date = b""
        self.idle_until = trio.current_time() + limits.keep_alive
        self.closing = False
        self.buffer = bytearray(READ)
        self.view = memoryview(self.buffer)
