"""The token endpoint of the tests on a port of 127.0.0.1, for whoever renews over real sockets."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial

import h11
import trio

from turnout_oauth.testing import Answer, OAuthServer

Answers = Callable[[str, bytes, Mapping[str, str]], Awaitable[Answer]]
"""What to answer to a request: its target, its body, its headers."""


async def serve_one(stream: trio.SocketStream, answers: Answers) -> None:
    """One connection, one request. Raises trio.BrokenResourceError when whoever asked is gone."""
    wire, body = h11.Connection(h11.SERVER), bytearray()
    async with stream:
        while not isinstance(event := wire.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                wire.receive_data(await stream.receive_some())
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
            else:
                return
        headers = {name.decode(): value.decode() for name, value in request.headers}
        answer = await answers(request.target.decode(), bytes(body), headers)
        fields = [*answer.headers.items(), ("content-length", str(len(answer.body))), ("connection", "close")]
        head = wire.send(h11.Response(status_code=answer.status, headers=fields))
        await stream.send_all(b"".join((head or b"", answer.body)))


async def serve(server: OAuthServer, paths: list[str], stream: trio.SocketStream) -> None:
    """A request for tokens; `paths` gets its target."""

    async def answers(target: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        paths.append(target)
        answer = server.answer(body, headers)
        await trio.sleep(server.takes)
        return answer

    await serve_one(stream, answers)


@asynccontextmanager
async def token_endpoint(server: OAuthServer, paths: list[str] | None = None) -> AsyncIterator[str]:
    """Its URL; `paths` gets that of each request."""
    handler = partial(serve, server, [] if paths is None else paths)
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, handler, 0, host="127.0.0.1"))
        yield f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()
