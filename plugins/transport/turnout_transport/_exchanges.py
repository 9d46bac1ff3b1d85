"""One exchange: a place at an origin, a connection in it, a request, a reply whose body the caller reads.

The place is given back when the reply has been read to its end, when the caller closes it, or at the first failure or
cancellation before the caller has it; whichever comes first, once.
"""

from collections.abc import AsyncIterator, Coroutine
from typing import Any, ClassVar, NamedTuple, Protocol, Self, TypeAlias

import httpx
import trio

from turnout_transport._connections import Connection
from turnout_transport._failures import mark_sent
from turnout_transport._intakes import Enough
from turnout_transport._limiters import Holder, Places
from turnout_transport._origin_pool import OriginPool
from turnout_transport._requests import Message, encode, posting_head

Answer: TypeAlias = tuple[int, list[tuple[bytes, bytes]], bytes, "ReplyBody | None"]

EXTENSIONS = {"http_version": b"HTTP/1.1"}


class Place(Holder):
    """The right to one connection at an origin, and that connection, for one exchange."""

    __slots__ = ("_pool", "connection")

    def __init__(self, pool: OriginPool) -> None:
        self._held = []  # and no call of the class above, which would take as long as all of this: 0.2 µs
        self._pool = pool
        self.connection: Connection | None = None

    def give_back_connection(self) -> None:
        """Part from the connection: kept when its exchange ended soundly, closed otherwise."""
        connection, self.connection = self.connection, None
        if connection is not None:
            self._pool.put_back(connection)

    def release(self) -> None:
        """Give everything back; may be called twice."""
        self.give_back_connection()
        super().release()

    async def send(self, message: Message) -> Connection:
        """Send a request and wait for its reply's head; resends once for free where that is safe."""
        connection = self._pool.take_idle()
        if connection is None:
            return await self._send_anew(message)
        self.connection = connection
        try:
            await connection.exchange(message)
        except (httpx.NetworkError, httpx.RemoteProtocolError):
            # A kept connection that dies before a byte of the answer was closed by the peer while our request was
            # under way: sent again once, on a new connection (design 8, "resent once for free"; B30).
            if connection.reply.answered or not message.replayable:
                raise
            self._pool.note_resend()
            self.give_back_connection()
        else:
            return connection
        try:
            return await self._send_anew(message)
        except httpx.TransportError as exc:
            mark_sent(exc)
            raise

    async def _send_anew(self, message: Message) -> Connection:
        self.connection = connection = await self._pool.connect()
        await connection.exchange(message)
        return connection


class Wait(Protocol):
    """See `Intake.wait`."""

    def __call__(self, enough: Enough | None = None, /) -> Coroutine[Any, Any, None]: ...


class ReplyBody(httpx.AsyncByteStream):
    """The body of a reply: bytes as they arrive, undecoded, read from the network only when asked for.

    A cancelled read has lost nothing and may be repeated. `aclose()` before the end closes the connection at once; at
    the end nothing is left to close.

    Attributes:
        closes_at_once: `aclose()` never waits and never fails, so that nobody needs to shield it.
        wait: waits until `read_nowait`, which has just given None, has something to give or to raise; with `enough`
            as `Intake.wait` does.
    """

    closes_at_once: ClassVar[bool] = True

    def __init__(self, whole: bytes, place: Place | None) -> None:
        """The body as it is here already, or the place whose connection gives it."""
        self._whole = whole
        self._place = place
        self.wait: Wait = _never
        if place is not None and place.connection is not None:
            self.wait = place.connection.intake.wait

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Itself: there is one reader."""
        return self

    async def __anext__(self) -> bytes:
        """Wait for more; raises ReadError or RemoteProtocolError when the rest does not come whole."""
        while (data := self.read_nowait()) is None:
            await self.wait()
        if not data:
            raise StopAsyncIteration
        return data

    def read_nowait(self) -> bytes | None:
        """What has come; empty at the end, None when there is nothing yet. Raises as `__anext__` does."""
        place = self._place
        connection = place.connection if place is not None else None
        if connection is None:
            data, self._whole = self._whole, b""
            return data
        try:
            piece = connection.intake.read_nowait()
        except httpx.TransportError:
            self._release()
            raise
        if connection.reply.complete:
            self._release()
        return piece

    async def aclose(self) -> None:
        """Let go of the connection; does not wait, may be called twice."""
        self._whole = b""
        self._release()

    def _release(self) -> None:
        place, self._place = self._place, None
        if place is not None:
            place.release()


def _never(_enough: Enough | None = None) -> Coroutine[Any, Any, None]:
    raise RuntimeError("the whole reply is here: there is nothing to wait for")


class Posting(Protocol):
    """What `BoundTransport.post` sends again and again; see `turnout.abc.Transport`."""

    url: httpx.URL
    headers: httpx.Headers
    made: object


class Made(NamedTuple):
    """The head of a posting, up to the length of its body, for one pool."""

    pool: OriginPool
    head: bytes

    def __repr__(self) -> str:
        return f"<head of {len(self.head)} bytes>"  # which holds a secret


class BoundTransport(httpx.AsyncBaseTransport):
    """Connections for one credential, or several alike: to their origin and nowhere else.

    Attributes:
        pool: where they come from.
    """

    def __init__(self, pool: OriginPool, limiter: Places | None) -> None:
        self.pool = pool
        self._limiter = limiter

    async def __aenter__(self) -> Self:
        """Nothing to open: the connections are the pool's."""
        return self

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and wait for the head of its reply; redirects are replies like any other.

        Raises httpx's transport errors, each with `request_sent`; LocalProtocolError for a request that leaves the
        credential's origin (S11), before anything is connected.
        """
        status, fields, first, rest = await self._exchange(encode(request, self.pool.origin))
        body = rest or ReplyBody(first, None)
        return httpx.Response(status, headers=fields, stream=body, extensions=EXTENSIONS)

    def post(self, posting: Posting, body: bytes) -> Coroutine[Any, Any, Answer]:
        """Send a posting with a body, as `handle_async_request` does: status, headers, body so far, and its rest.

        httpx's objects for a request and a response, and its head made anew, cost 60 µs a call.
        """
        made = posting.made
        if type(made) is not Made or made.pool is not self.pool:
            posting.made = made = Made(self.pool, posting_head(posting.url, posting.headers, self.pool.origin))
        head = b"%bContent-Length: %d\r\n\r\n" % (made.head, len(body))
        return self._exchange(Message(head, body, bodiless_reply=False))

    async def _exchange(self, message: Message) -> Answer:
        pool = self.pool
        if pool.burst is not None and pool.burst.goes_on() and pool.places.taken:  # by others, who are not alone then
            await trio.lowlevel.checkpoint()
        place = Place(pool)
        answer = None
        try:
            if self._limiter is not None and not place.take_nowait(self._limiter):
                await place.take(self._limiter, pool.terms.max_wait, pool.origin)
            if not place.take_nowait(pool.places):
                await place.take(pool.places, pool.terms.max_wait, pool.origin)
            answer = _answer(await place.send(message), place)
        finally:
            if answer is None:
                place.release()
        return answer


def _answer(connection: Connection, place: Place) -> Answer:
    reply = connection.reply
    if reply.complete:
        status, fields, whole = reply.status, reply.headers, reply.take()
        place.release()  # the reply is in memory: the next request need not wait until somebody has read it
        return status, fields, whole, None
    return reply.status, reply.headers, b"", ReplyBody(b"", place)
