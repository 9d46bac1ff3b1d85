"""What comes in on a connection, into the parser of its replies: read by the transport's reader, or when asked for."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeAlias, final

import httpx
import trio

from turnout_sockets import Readers
from turnout_transport._failures import failure
from turnout_transport._replies import ReplyParser
from turnout_transport._sockets import READ_SIZE, SocketStream

HELD = 64 * 1024
"""What may wait of a body before its connection is read no further; with the read that made it too much, a connection
holds 320 KiB at the most."""

Enough: TypeAlias = Callable[[], bool]
"""Whether what has come is enough to wake who waits for it."""

BUFFER = memoryview(bytearray(256 * 1024))
"""What is read is parsed before anybody else can run, so one for all is enough: nothing is allocated for each read, and
a reply of 300 KB takes two waits instead of six with 64 KiB."""


class Intake(ABC):
    """The incoming side of a connection.

    Attributes:
        reply: what has been read of the current reply.
        spoilt: is called when something comes behind a whole reply, if that is noticed: by the transport's reader.
    """

    __slots__ = ("_failure", "_headed", "_paused", "reply", "spoilt")

    def __init__(self, reply: ReplyParser) -> None:
        self.reply: Final = reply
        self.spoilt: Callable[[], None] | None = None
        self._failure: Exception | None = None
        self._headed = False
        self._paused = False

    def start(self, *, bodiless: bool) -> None:
        """Get ready for the reply to the next request."""
        self._headed = False
        self.reply.start(bodiless=bodiless)

    async def read_head(self) -> None:
        """Wait for the head of a reply; raises httpx's transport errors."""
        while not self._headed:
            if self._failure is not None:
                raise self._failure
            await self.wait()

    def read_nowait(self) -> bytes | None:
        """The bytes of the body that have come; empty at its proper end, None when there are none yet.

        Raises httpx's transport errors, once what came before is taken.
        """
        reply = self.reply
        if reply.pieces:
            data = reply.take()
            if self._paused:
                self._resume()
            return data
        if reply.complete:
            return b""
        if self._failure is not None:
            raise self._failure
        return None

    def _resume(self) -> None:
        """Read on: what was held has been taken."""
        self._paused = False

    @abstractmethod
    def wait(self, enough: Enough | None = None) -> Coroutine[Any, Any, None]:
        """Wait until something has come, or an end; for one task at a time. Cancelled, it has lost nothing.

        Whoever reads may ask `enough` as soon as something has come, instead of waking the task: it goes on waiting
        unless that gives True. `enough` must not wait; it may read what has come, and close the connection.
        """

    def close(self) -> None:
        """The connection is about to be closed, once."""
        self.reply.close()
        self.spoilt = None  # which holds the connection
        if self._failure is None:
            self._failure = failure(httpx.ReadError, "the connection was closed on our side", sent=True)

    def _feed(self, data: bytes | bytearray | memoryview) -> None:
        """Hand the parser what came, nothing at the end; a failure is raised by whoever reads the reply."""
        try:
            if data:
                self.reply.feed(data)
            else:
                self.reply.end()
            self._headed = self.reply.head_complete
        except httpx.TransportError as exc:
            self._failure = exc

    def _fail(self, exc: Exception) -> None:
        broke = isinstance(exc, trio.BrokenResourceError)
        text = "the connection to the upstream broke" if broke else "the connection was closed on our side"
        self._failure = failure(httpx.ReadError, text, sent=True)
        self._failure.__cause__ = exc


@final
class AskedIntake(Intake):
    """Read by whoever wants something: TLS, and transports without a reader."""

    __slots__ = ("_stream",)

    def __init__(self, reply: ReplyParser, stream: trio.abc.Stream) -> None:
        super().__init__(reply)
        self._stream = stream

    async def wait(self, enough: Enough | None = None) -> None:  # noqa: ARG002  # it reads by itself
        """See `Intake.wait`."""
        try:
            data = await self._stream.receive_some(READ_SIZE)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            self._fail(exc)
        else:
            self._feed(data)


@final
class WatchedIntake(Intake):
    """Read by the transport's reader as soon as something comes; whoever wants it waits to be woken, or reads alone."""

    __slots__ = ("_alone", "_enough", "_fd", "_readers", "_socket", "_waiter", "_watched")

    def __init__(self, reply: ReplyParser, socket: SocketStream, readers: Readers) -> None:
        super().__init__(reply)
        self._socket = socket
        self._fd = socket.fileno()
        self._readers = readers
        self._waiter: trio.lowlevel.Task | None = None
        self._enough: Enough | None = None
        self._alone = False
        self._watched = False
        self._watch()

    def wait(self, enough: Enough | None = None) -> Coroutine[Any, Any, None]:
        """See `Intake.wait`."""
        if self._waiter is not None:
            raise trio.BusyResourceError("another task reads this reply")
        alone = self._readers.alone(self._fd)
        self._readers.busy += 1
        self._waiter = trio.lowlevel.current_task()
        self._enough = enough
        if alone:
            return self._read_alone()
        return trio.lowlevel.wait_task_rescheduled(self._stop_waiting)  # noqa: ASYNC105  # the caller awaits it

    async def _read_alone(self) -> None:
        """Wait as `wait` says, and read in the task that waits: no other waits for a reply (see `Readers`)."""
        self._alone = True
        self._readers.pause(self._fd)
        try:
            while self._waiter is not None:
                await trio.lowlevel.wait_readable(self._fd)
                self._arrived()
        except trio.ClosedResourceError:
            pass  # `close` has said why
        finally:
            self._alone = False
            self._readers.resume(self._fd)
            self._wait_no_more()
        await trio.lowlevel.checkpoint_if_cancelled()  # by who was asked whether it is enough

    def close(self) -> None:
        """See `Intake.close`."""
        super().close()
        self._unwatch()
        self._enough = None
        self._wake()
        if self._alone:
            trio.lowlevel.notify_closing(self._fd)

    def _resume(self) -> None:
        super()._resume()
        if self._failure is None:
            self._watch()

    def _watch(self) -> None:
        self._watched = True
        self._readers.add(self._fd, self._arrived)

    def _unwatch(self) -> None:
        if self._watched:
            self._watched = False
            self._readers.remove(self._fd)

    def _arrived(self) -> None:
        """Something has come, or an end: take it. A fault of ours fails this reply, never the reader."""
        reply = self.reply
        if not self._watched:
            return  # no longer since the same look around
        if reply.complete:
            reply.keep_alive = False  # nobody has asked for this
            self._unwatch()
            if self.spoilt is not None:
                self.spoilt()
        elif reply.pieces and reply.held() > HELD:
            self._paused = True  # until somebody takes it: back-pressure
            self._unwatch()
            self._enough = None  # whoever waits for more gets none before he takes this
            self._wake()
        else:
            try:
                count = self._socket.receive_nowait(BUFFER)
                if count is not None:
                    self._feed(BUFFER[:count])
            except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
                self._fail(exc)
            except Exception as exc:  # noqa: BLE001  # raised by whoever reads this reply
                self._failure = exc
            if self._failure is not None:
                self._unwatch()
            self._wake()

    def _wake(self) -> None:
        """Wake the task that waits, unless it has said what is enough, and more may come and must."""
        enough, self._enough = self._enough, None  # while it is asked, whatever else happens wakes the task
        if enough is not None and not self._asked(enough) and not self.reply.complete:
            self._enough = enough if self._waiter is not None else None
            return
        waiter = self._waiter
        self._wait_no_more()
        if waiter is not None and not self._alone:
            trio.lowlevel.reschedule(waiter)

    def _asked(self, enough: Enough) -> bool:
        try:
            return enough()
        except Exception as exc:  # noqa: BLE001  # a fault of the one who waits; the reader goes on for the others
            self._failure = exc
            return True

    def _wait_no_more(self) -> None:
        self._enough = None
        if self._waiter is not None:
            self._waiter = None
            self._readers.busy -= 1

    def _stop_waiting(self, _: object) -> trio.lowlevel.Abort:
        self._wait_no_more()
        return trio.lowlevel.Abort.SUCCEEDED
