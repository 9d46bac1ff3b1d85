"""HTTP/2 of httpcore, with what a gateway needs besides.

httpcore drops a reply that is left in the middle without telling the upstream, which goes on for nobody. What comes of
it is never acknowledged, until nothing comes for anybody on that connection any more. It also skips any number of
informational replies, sends a request to its end when the answer is there, and a call that is cancelled while its
frames are written breaks the connection for every other call (C-1, B18, B31). An upstream that says goodbye cuts off
every call under way, and one that has closed behind its answer spoils that. It lets requests wait for a stream of a
connection that has none free, as long as they like, and an upstream that lowers the number of its streams makes the
connection's only reader wait for one.

Everything here overrides private parts of httpcore, which its version is bounded for.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import cast

import h2.errors
import h2.events
import h2.exceptions
import httpcore
import trio

from turnout_sockets import Frames
from turnout_transport import _http1
from turnout_transport._httpcore import COURSE
from turnout_transport._replies import MAX_INFORMATIONAL
from turnout_transport._streams import Streams

PARTING = 1.0
"""Seconds in which a cancelled call may still write the frames that it has begun."""

WRITING = 30.0
"""Seconds after which an upstream that takes no frames is given up."""

GLANCE = 0.01
"""Seconds in which what has come on an idle connection is read before it is used again."""

NOBODY = httpcore.Request("GET", "https://nobody.invalid")
"""Stands for the request where httpcore wants one for its limits of time: this has none."""

REFUSED = h2.errors.ErrorCodes.REFUSED_STREAM
"""The request was not looked at: it can be sent again and bills nobody twice (RFC 9113, 8.7)."""

ANSWERS = (h2.events.ResponseReceived, h2.events.StreamReset)


class TooManyHints(h2.events.StreamReset):
    """Ends a stream whose informational replies do not; its text is that of the exception it becomes."""

    def __repr__(self) -> str:
        return f"the upstream sent more than {MAX_INFORMATIONAL} informational replies"


class Answered(Exception):
    """The upstream has answered, and need not take the rest of the request."""


class Http2(httpcore.AsyncHTTP2Connection):
    """A connection that many calls share."""

    def __init__(
        self, origin: httpcore.Origin, stream: httpcore.AsyncNetworkStream, keepalive_expiry: float | None
    ) -> None:
        super().__init__(origin, stream, keepalive_expiry)
        self._hints: Counter[int] = Counter()
        self._frames = Frames()
        self._stuck = False
        self._streams = Streams()
        self._max_streams_semaphore = self._streams  # type: ignore[assignment]  # what httpcore asks of one, it has

    async def greet(self) -> None:
        """What comes before the first request."""
        await self._send_connection_init(NOBODY)
        self._sent_connection_init = True

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        """Send a request and wait for the head of its reply; raises ConnectionNotAvailable for the pool to hear."""
        try:
            if self.is_idle():
                await self._catch_up()
            return await super().handle_async_request(request)
        except httpcore.ConnectionNotAvailable:
            if not self._events and not self.is_closed():  # or the pool would keep it, in nobody's use
                await self.aclose()
            raise
        except httpcore.LocalProtocolError as exc:
            if not self._streams.closed:
                raise
            raise httpcore.RemoteProtocolError("the upstream closed the connection") from exc

    async def _catch_up(self) -> None:
        """Take what has come while nobody asked: an answer to a ping is due, and a goodbye or an end is heard in time.

        What looks like something may be none of HTTP/2's, so it is not waited for.
        """
        while self._network_stream.get_extra_info("is_readable"):
            with trio.move_on_after(GLANCE) as scope:
                try:
                    await self._receive_events(NOBODY)
                except (httpcore.NetworkError, httpcore.ProtocolError):
                    raise httpcore.ConnectionNotAvailable from None
            if scope.cancelled_caught:
                return

    def is_available(self) -> bool:
        """Whether another request may come."""
        return self._streams.available and super().is_available()

    def _part(self) -> None:
        """Serve no more requests, and close with the last one that is under way."""
        self._used_all_stream_ids = True  # as httpcore calls it
        self._streams.close()

    async def _receive_remote_settings_change(self, _event: h2.events.RemoteSettingsChanged) -> None:
        settings = self._h2_state.remote_settings
        self._streams.allow(min(settings.max_concurrent_streams, self._h2_state.local_settings.max_concurrent_streams))

    async def _response_closed(self, stream_id: int) -> None:
        self._reset(stream_id)
        self._hints.pop(stream_id, None)
        await self._write_outgoing_data(NOBODY)
        await super()._response_closed(stream_id)

    def _reset(self, stream_id: int) -> None:
        """Tell the upstream that nobody waits for a stream that has not ended, and take what came of it for read."""
        stream = self._h2_state.streams.get(stream_id)
        if stream is None or stream.closed:
            return
        waiting = self._events.get(stream_id, ())
        unread = sum(each.flow_controlled_length or 0 for each in waiting if isinstance(each, h2.events.DataReceived))
        try:
            self._h2_state.acknowledge_received_data(unread, stream_id)
            self._h2_state.reset_stream(stream_id, h2.errors.ErrorCodes.CANCEL)
        except h2.exceptions.ProtocolError:
            return  # the connection has ended, and its streams with it

    async def _write_outgoing_data(self, request: httpcore.Request) -> None:
        """Whole frames, however the call that writes them fares: the connection is others' too.

        What the upstream takes no more of it may have answered before: only who reads finds out.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        now = trio.current_time()
        until = min(max(trio.current_effective_deadline(), now) + PARTING, now + WRITING)
        with trio.CancelScope(deadline=until, shield=True):
            try:
                await super()._write_outgoing_data(request)
            except httpcore.WriteError:
                if self._stuck:
                    raise
            return
        self._stuck = True
        self._part()
        self._write_exception = httpcore.WriteError("the upstream takes no frames")
        raise self._write_exception

    async def _read_incoming_data(self, _request: httpcore.Request) -> list[h2.events.Event]:
        if self._read_exception is not None:
            raise self._read_exception
        try:
            passed, farewells = self._frames.take(await self._read())
            events = list(self._judged(self._h2_state.receive_data(passed)))
        except h2.exceptions.ProtocolError as exc:
            self._read_exception = httpcore.RemoteProtocolError(f"the upstream broke HTTP/2: {type(exc).__name__}")
            self._part()
            raise self._read_exception from exc
        except Exception as exc:
            self._read_exception = exc
            self._part()
            raise
        for farewell in farewells:
            self._part()
            events += [
                h2.events.StreamReset(stream_id=id, error_code=REFUSED) for id in self._events if id > farewell.last
            ]
        return events

    async def _read(self) -> bytes:
        if data := await self._network_stream.read(self.READ_NUM_BYTES):
            return data
        raise httpcore.RemoteProtocolError("the upstream closed the connection")

    async def _receive_stream_event(
        self, request: httpcore.Request, stream_id: int
    ) -> h2.events.ResponseReceived | h2.events.DataReceived | h2.events.StreamEnded:
        try:
            return await super()._receive_stream_event(request, stream_id)
        except httpcore.RemoteProtocolError as exc:
            course, (event, *_) = COURSE.get(), exc.args
            if course is not None and isinstance(event, h2.events.StreamReset) and event.error_code == REFUSED:
                course.refuse()
            raise

    def _judged(self, events: Iterable[h2.events.Event]) -> Iterator[h2.events.Event]:
        """The events, and the ends of streams that have seen too many informational replies."""
        for event in events:
            if isinstance(event, h2.events.DataReceived) and not event.flow_controlled_length:
                continue  # nothing limits how many of these may wait for whoever reads
            yield event
            if isinstance(event, h2.events.InformationalResponseReceived) and event.stream_id in self._events:
                self._hints[event.stream_id] += 1
                if self._hints[event.stream_id] > MAX_INFORMATIONAL:
                    self._reset(event.stream_id)
                    yield TooManyHints(stream_id=event.stream_id)

    async def _send_request_body(self, request: httpcore.Request, stream_id: int) -> None:
        try:
            await super()._send_request_body(request, stream_id)
        except Answered:
            return
        except h2.exceptions.StreamClosedError:
            # Reset between two sends, by a frame that another call has read. What came before says why: an answer,
            # which may be whole (RFC 9113, 8.1), or nothing, and then the reset itself is what is read next.
            if not self._is_answered(stream_id):
                raise

    async def _wait_for_outgoing_flow(self, request: httpcore.Request, stream_id: int) -> int:
        while not self._is_answered(stream_id):
            window = self._h2_state.local_flow_control_window(stream_id)
            if flow := min(window, self._h2_state.max_outbound_frame_size):
                return flow
            await self._receive_events(request)
        raise Answered

    def _is_answered(self, stream_id: int) -> bool:
        return any(isinstance(each, ANSWERS) for each in self._events[stream_id])


class Connection(_http1.Connection):
    """A connection that speaks what was agreed on in its handshake."""

    async def speak(self, stream: httpcore.AsyncNetworkStream) -> httpcore.AsyncConnectionInterface:
        """Begin to speak it."""
        tls = stream.get_extra_info("ssl_object")
        if tls is None or tls.selected_alpn_protocol() != "h2":
            return await super().speak(stream)
        connection = Http2(self._origin, stream, self._keepalive_expiry)
        greeted = False
        try:
            await connection.greet()
            greeted = True
        finally:
            if not greeted:
                await trio.aclose_forcefully(cast("trio.abc.AsyncResource", stream))
        return connection


class Connections(_http1.Connections):
    """A pool of these."""

    kind = Connection
