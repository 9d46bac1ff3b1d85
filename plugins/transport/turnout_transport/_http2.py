"""HTTP/2 of httpcore, with what a gateway needs besides.

httpcore drops a reply that is left in the middle without telling the upstream, which goes on for nobody. What comes of
it is never acknowledged, until nothing comes for anybody on that connection any more. It also skips any number of
informational replies, sends a request to its end when the answer is there, and a call that is cancelled while its
frames are written breaks the connection for every other call (C-1, B18, B31).

Everything here overrides private parts of httpcore, which its version is bounded for.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

import h2.errors
import h2.events
import h2.exceptions
import httpcore
import trio

from turnout_transport._replies import MAX_INFORMATIONAL

PARTING = 1.0
"""Seconds in which a cancelled call may still write the frames that it has begun."""

WRITING = 30.0
"""Seconds after which an upstream that takes no frames is given up."""

NOBODY = httpcore.Request("GET", "https://nobody.invalid")
"""Stands for the request where httpcore wants one for its limits of time: this has none."""

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
        """Whole frames, however the call that writes them fares: the connection is others' too."""
        await trio.lowlevel.checkpoint_if_cancelled()
        now = trio.current_time()
        until = min(max(trio.current_effective_deadline(), now) + PARTING, now + WRITING)
        with trio.CancelScope(deadline=until, shield=True):
            await super()._write_outgoing_data(request)
            return
        self._connection_error = True
        self._write_exception = httpcore.WriteError("the upstream takes no frames")
        raise self._write_exception

    async def _read_incoming_data(self, request: httpcore.Request) -> list[h2.events.Event]:
        try:
            events = await super()._read_incoming_data(request)
        except h2.exceptions.ProtocolError as exc:
            self._connection_error = True
            self._read_exception = httpcore.RemoteProtocolError(f"the upstream broke HTTP/2: {type(exc).__name__}")
            raise self._read_exception from exc
        return list(self._judged(events))

    def _judged(self, events: Iterable[h2.events.Event]) -> Iterator[h2.events.Event]:
        """The events, and the ends of streams that have seen too many informational replies."""
        for event in events:
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

    async def _wait_for_outgoing_flow(self, request: httpcore.Request, stream_id: int) -> int:
        while not any(isinstance(each, ANSWERS) for each in self._events[stream_id]):
            window = self._h2_state.local_flow_control_window(stream_id)
            if flow := min(window, self._h2_state.max_outbound_frame_size):
                return flow
            await self._receive_events(request)
        raise Answered


class Connection(httpcore.AsyncHTTPConnection):
    """A connection that speaks what was agreed on in its handshake."""

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        """As httpcore's own, whose first call decides for a class of connections that it does not let anybody name."""
        try:
            async with self._request_lock:
                if self._connection is None:
                    self._connection = self._speak(await self._connect(request))
        except BaseException:
            self._connect_failed = True
            raise
        return await self._connection.handle_async_request(request)

    def _speak(self, stream: httpcore.AsyncNetworkStream) -> httpcore.AsyncConnectionInterface:
        tls = stream.get_extra_info("ssl_object")
        if tls is None or tls.selected_alpn_protocol() != "h2":
            return httpcore.AsyncHTTP11Connection(self._origin, stream, self._keepalive_expiry)
        return Http2(self._origin, stream, self._keepalive_expiry)


class Connections(httpcore.AsyncConnectionPool):
    """A pool of these."""

    def create_connection(self, origin: httpcore.Origin) -> httpcore.AsyncConnectionInterface:
        """A connection to this origin that is not open yet."""
        return Connection(
            origin=origin,
            ssl_context=self._ssl_context,
            keepalive_expiry=self._keepalive_expiry,
            http2=self._http2,
            network_backend=self._network_backend,
        )
