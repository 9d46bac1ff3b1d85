"""The Responses API over a websocket: each `response.create` becomes an ordinary streaming call.

From "WebSocket Mode" (developers.openai.com/api/docs/guides/websocket-mode, read 2026-11-26): events and their order
are those of the stream over HTTP; responses on one connection come one after the other; a connection lasts an hour at
most, then the client opens another; what goes wrong is an `error` event with its status, and the connection stays.
Lanes (`stream_id`) keep their order here because all of them share one queue.
"""

import secrets
from collections.abc import Mapping
from typing import final

import trio

import turnout_wire
from turnout import Ask
from turnout.abc import Switch
from turnout_http._body import check_values
from turnout_http._door import Door
from turnout_http._framing import Head
from turnout_http._pages import RESPONSES
from turnout_http._refusals import Refusal
from turnout_http._settings import ClientLimits
from turnout_http._socket import Socket, SocketEnded
from turnout_http._stored import Stored, is_stored
from turnout_http._visit import Receive, Send, Visit

WAITING = 8
"""Messages that may wait while a response is being made."""

GOING_AWAY = 1001
POLICY = 1008

TOO_OLD = "this connection has been open for as long as one may be; create a new one to continue"

CLOSING = 5.0
"""Seconds that providers get to let go of a session."""


@final
class ResponsesSocket:
    """Serves one websocket after another; what belongs to one is in `_Session`."""

    def __init__(self, switch: Switch, limits: ClientLimits, stored: Stored) -> None:
        self.switch = switch
        self.limits = limits
        self.stored = stored

    async def __call__(self, door: Door, visit: Visit, receive: Receive, send: Send) -> None:
        """Serve a websocket to its end; its session is closed however it ends (C3.6)."""
        socket = Socket(receive, send, largest=self.limits.body_bytes)
        session = _Session(self, door, visit, socket)
        try:
            await session.run()
        finally:
            with trio.move_on_after(CLOSING, shield=True):
                await self.switch.close_session(session.id)


@final
class _Session:
    """One websocket and what it remembers.

    Attributes:
        id: names the execution session to providers; nobody else can guess it.
    """

    def __init__(self, page: ResponsesSocket, door: Door, visit: Visit, socket: Socket) -> None:
        self.id = f"ws-{secrets.token_hex(12)}"
        self._switch = page.switch
        self._limits = page.limits
        self._stored = page.stored
        self._door = door
        self._visit = visit
        self._socket = socket
        self._headers = _beta(visit.head)
        self._turns = 0
        self._put, self._get = trio.open_memory_channel[bytes](WAITING)
        self._waiting_bytes = 0
        self._scope = trio.CancelScope()
        self._between_turns = trio.CancelScope()
        self._closing = False
        self._too_old = False
        self._committed = False
        self._code: int | None = None

    async def run(self) -> None:
        """Serve it; returns once it is closed."""
        await self._socket.accept(self._visit.head)
        with self._scope, self._put, self._get:
            async with trio.open_nursery() as nursery:
                for task in (self._read, self._keep_alive, self._go_away, self._end_of_life):
                    nursery.start_soon(task)
                await self._take_turns()
                nursery.cancel_scope.cancel()
        await self._socket.close(self._code)

    def _end(self, code: int | None) -> None:
        """Close now, whatever is going on."""
        self._code = code
        self._scope.cancel()

    def _end_after_turn(self, code: int) -> None:
        """Close as soon as no response is being made."""
        self._code, self._closing = code, True
        self._between_turns.cancel()

    async def _read(self) -> None:
        try:
            while True:
                for message in await self._socket.read():
                    await self._queue(message)
        except SocketEnded as ended:
            self._end(ended.code)

    async def _queue(self, message: bytes) -> None:
        full = self._put.statistics().current_buffer_used >= WAITING
        if full or self._waiting_bytes + len(message) > self._limits.body_bytes:
            error = Refusal("rate_limited", "too much waits on this socket; wait for a response", retry_after=1.0)
            self._socket.bore()
            await self._tell(error, self._visit.id)
        else:
            self._put.send_nowait(message)
            self._waiting_bytes += len(message)

    async def _keep_alive(self) -> None:
        while True:
            await trio.sleep(self._limits.socket_ping)
            began = self._socket.began
            if began is not None and trio.current_time() - began > self._limits.body_total:
                self._end(POLICY)
            await self._socket.ping()

    async def _go_away(self) -> None:
        await self._switch.wait_draining()
        self._end_after_turn(GOING_AWAY)

    async def _end_of_life(self) -> None:
        await trio.sleep(self._limits.socket_life)
        self._too_old = True
        self._end_after_turn(GOING_AWAY)

    async def _take_turns(self) -> None:
        while not self._closing:
            message: bytes | None = None
            with trio.CancelScope() as self._between_turns:
                message = await self._get.receive()
            if message is not None:
                self._waiting_bytes -= len(message)
                await self._take_turn(message)
        if self._too_old:
            error = Refusal("websocket_connection_limit_reached", TOO_OLD)
            await self._tell(error, self._visit.id)

    async def _take_turn(self, message: bytes) -> None:
        self._turns += 1
        id, lane, self._committed = f"{self._visit.id}-{self._turns}", "", False
        try:
            check_values(message)
            turn = turnout_wire.read_turn(message)
            lane, stored = turn.lane, self._stored if is_stored(turn.members) else None
            async with self._door.admit():
                ask = await self._ask(turn, id)
                del turn  # decoded, a message is many times as large
                await self._forward(ask, lane, stored)
        except Exception as error:  # noqa: BLE001  # the border of one turn: every failure becomes an event
            await self._tell(error, id, lane)
            if isinstance(error, Refusal) and error.kind == "unauthorized":
                self._end(POLICY)

    async def _ask(self, turn: turnout_wire.Turn, id: str) -> Ask:
        """No affinity, for the session is one (C17.2); what goes on from a response goes to who made it (C17.3)."""
        return Ask(
            model=turnout_wire.peek(turn.body).model,
            payload=turn.body,
            dialect=RESPONSES,
            headers=self._headers,
            id=id,
            client=self._visit.tag,
            session=self.id,
            websocket=True,
            pin=await self._stored.pin(self._visit, turn.members),
        )

    async def _forward(self, ask: Ask, lane: str, stored: Stored | None) -> None:
        """`stored` is what the vendor keeps of the answer; None when it is to keep nothing."""
        blocks = turnout_wire.BlockReader.measured()
        async with self._switch.stream(ask) as stream:
            async for chunk in stream:
                for block in blocks.feed(chunk.data):
                    if stored:
                        stored.note(self._visit, turnout_wire.stored_by_events(block), stream.decision.served_by)
                    if event := turnout_wire.socket_event(block, lane):
                        self._committed = True
                        await self._socket.send(event)

    async def _tell(self, error: Exception, id: str, lane: str = "") -> None:
        await self._socket.send(turnout_wire.socket_error(self._door.tell(error, id, self._committed), lane))


def _beta(head: Head) -> Mapping[str, str]:
    """Of the opening's headers, those that mean each turn; that it was a websocket is nothing to an upstream."""
    named = head.get(b"openai-beta", b"").decode("latin-1").split(",")
    kept = ", ".join(name.strip() for name in named if name.strip() and "websocket" not in name)
    return turnout_wire.request_headers({"openai-beta": kept}, RESPONSES) if kept else {}
