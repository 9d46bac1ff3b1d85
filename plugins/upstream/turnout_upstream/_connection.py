"""One connection of a scripted upstream, from its first byte to its end."""

from collections.abc import Awaitable, Callable
from typing import final

import trio

from turnout_upstream._log import EndedBy, Ending, Log, Request
from turnout_upstream._parser import NOTHING, BadRequest, Head, Parser, peek
from turnout_upstream._render import Send, Step, Wait
from turnout_upstream._script import How, Play
from turnout_upstream._wire import PeerReset, Wire

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
SLOW_READ = 0.005
"""Seconds between reads of a body that was answered early: about 13 MB a second, so that a peer which stops sending
is told from one which does not."""


class PeerClosed(Exception):
    """The peer closed the connection with a FIN."""


class Over(Exception):
    """We ended the connection."""


@final
class Connection:
    """Reads requests and plays what the script has for them.

    Args:
        choose: gives the steps for a request.
        early: gives a play that wants to answer before the body is here, None to wait for it.
    """

    def __init__(
        self,
        wire: Wire,
        log: Log,
        choose: Callable[[Request], Awaitable[tuple[Step, ...]]],
        early: Callable[[Head], Play | None],
    ) -> None:
        self._wire = wire
        self._log = log
        self._choose = choose
        self._early = early
        self._parser = Parser()
        self._number = log.add_connection()
        self._during: int | None = None
        self._requests = 0
        self._sent = 0
        self._received = 0

    async def run(self, fate: How | None) -> None:
        """Serve until the connection is over. `fate` ends it before anything is read; nothing is raised for a peer."""
        by = EndedBy.UPSTREAM
        try:
            if fate is not None:
                await self._end(fate)
            await self._serve()
        except PeerClosed:
            by = EndedBy.FIN
        except PeerReset:
            by = EndedBy.RST
        except Over:
            pass
        finally:
            self._wire.close()
            self._log.add_ending(
                Ending(
                    connection=self._number,
                    by=by,
                    at=trio.current_time(),
                    during=self._during,
                    requests=self._requests,
                    sent=self._sent,
                    received=self._received,
                )
            )

    async def _serve(self) -> None:
        while True:
            request = await self._next_request()
            self._requests += 1
            self._during = request.number
            self._log.add_request(request)
            for step in await self._choose(request):
                if type(step) is Send:
                    await self._wire.send(step.data)
                    self._sent += len(step.data)
                elif type(step) is Wait:
                    await self._wait(step.seconds)
                else:
                    await self._end(step)
            if not request.whole:
                await self._read_slowly()
            self._during = None

    async def _next_request(self) -> Request:
        parser = self._parser
        asked: Head | None = None
        while not parser.ready:
            await self._read()
            head = parser.arriving
            if head is not None and head is not asked and not head.whole:
                asked = head
                if self._early(head) is not None:
                    return self._request(head)
                if head.expects:
                    await self._wire.send(CONTINUE)
        return self._request(parser.ready.popleft())

    def _request(self, head: Head) -> Request:
        body = bytes(head.body)
        seen = peek(body) if head.whole else NOTHING
        return Request(
            number=self._log.seen + 1,
            connection=self._number,
            at=trio.current_time(),
            method=head.method,
            path=head.path,
            query=head.query,
            headers=head.headers,
            body=body,
            key=head.key,
            model=seen.model,
            stream=seen.stream,
            usage=seen.usage,
            whole=head.whole,
        )

    async def _read(self) -> None:
        data = await self._wire.receive()
        if not data:
            raise PeerClosed
        self._received += len(data)
        try:
            self._parser.feed(data)
        except BadRequest:
            await self._wire.send(BAD_REQUEST)
            await self._end(How.CLOSE)

    async def _wait(self, seconds: float) -> None:
        """Wait, but notice at once when the peer ends the connection."""
        with trio.move_on_after(seconds):
            while True:
                await self._read()

    async def _read_slowly(self) -> None:
        while self._parser.arriving is not None:
            await trio.sleep(SLOW_READ)
            await self._read()

    async def _end(self, how: How) -> None:
        if how is not How.STALL:
            await self._wire.end(how)
        if how in {How.STALL, How.HALF_CLOSE}:
            await self._wait(float("inf"))
        raise Over
