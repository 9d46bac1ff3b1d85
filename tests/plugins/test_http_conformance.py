"""The frontend `http` passes `check_frontend`, and `check_frontend` catches frontends that break its laws."""

import json
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from typing import Any, ClassVar

import httpx
import pytest
import trio

from turnout import Ask
from turnout.abc import Frontend, Switch
from turnout.errors import TurnoutError
from turnout.testing import Refused, check_frontend, open_plugin
from turnout.testing import _check_frontend as rules
from turnout_http import Http

KEY = "k7-Qd2mX9vLw4TzR8"
TOML = f'listen = ["127.0.0.1:0"]\nkeys = ["{KEY}"]\nlimits = {{ half_close = "500ms" }}\n'
BODY = {"model": "fast", "messages": []}


class HttpClient:
    """Speaks OpenAI's chat API."""

    reply = b'{"object":"chat.completion"}'
    chunks = (b'data: {"n":1}\n\n', b'data: {"n":2}\n\n', b"data: [DONE]\n\n")

    async def call(self, address: str) -> bytes:
        async with httpx.AsyncClient(timeout=60) as client:
            try:
                response = await client.post(**request(address, BODY))
            except httpx.TransportError as error:
                raise Refused(str(error)) from error
            if response.status_code != 200:
                raise Refused(response.text)
            return response.content

    @asynccontextmanager
    async def stream(self, address: str) -> AsyncIterator[AsyncIterator[bytes]]:
        sent = request(address, BODY | {"stream": True})
        async with (
            httpx.AsyncClient(timeout=60) as client,
            client.stream("POST", **sent) as response,
            aclosing(read(response)) as pieces,
        ):
            yield pieces


def request(address: str, body: dict[str, Any]) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {KEY}"}
    return {"url": f"{address}/v1/chat/completions", "content": json.dumps(body).encode(), "headers": headers}


async def read(response: httpx.Response) -> AsyncGenerator[bytes, None]:
    seen = b""
    try:
        async for piece in response.aiter_raw():
            seen += piece
            yield piece
    except httpx.TransportError as error:
        raise Refused(str(error)) from error
    if response.status_code != 200 or not seen.endswith(b"data: [DONE]\n\n"):
        raise Refused(seen.decode())


# httpx leaves its generators to the collector when a response is closed early
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("server", ["hypercorn", "llhttp"])
async def test_our_frontend_keeps_the_laws(server: str) -> None:
    """Both of its servers (design 7, 13)."""
    await check_frontend(partial(open_plugin, "frontends", Http, f'{TOML}server = "{server}"'), HttpClient())


# A frontend as small as can be: one line in, one line out, over TCP. Sound, and a base of broken ones.


class Lines:
    """`call` and `stream` are its requests; `ok …`, `no …`, `+…` and `.` its answers."""

    api: ClassVar[int] = 1

    async def serve(self, switch: Switch, *, task_status: "trio.TaskStatus[Sequence[str]]") -> None:
        async with trio.open_nursery() as connections, trio.open_nursery() as nursery:
            listeners = await nursery.start(
                partial(trio.serve_tcp, partial(self.visit, switch), 0, host="127.0.0.1", handler_nursery=connections)
            )
            self.report(task_status, f"lines://127.0.0.1:{listeners[0].socket.getsockname()[1]}")
            await switch.wait_draining()
            nursery.cancel_scope.cancel()

    def report(self, task_status: Any, address: str) -> None:
        task_status.started([address])

    async def visit(self, switch: Switch, stream: trio.SocketStream) -> None:
        async with stream:
            line = await stream.receive_some(100)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.watch, stream, nursery.cancel_scope)
                with suppress(trio.BrokenResourceError):  # the client has left
                    await self.answer(switch, stream, line == b"stream\n")
                nursery.cancel_scope.cancel()

    async def watch(self, stream: trio.SocketStream, scope: trio.CancelScope) -> None:
        with suppress(trio.BrokenResourceError):
            await stream.receive_some(1)
        scope.cancel()

    async def answer(self, switch: Switch, stream: trio.SocketStream, streaming: bool) -> None:
        try:
            await (self.stream if streaming else self.call)(switch, stream)
        except TurnoutError as error:
            await stream.send_all(f"no {error}\n".encode())
        except trio.BrokenResourceError:
            raise
        except Exception as error:  # noqa: BLE001 # a border
            await stream.send_all(f"no {self.shown(error)}\n".encode())

    def shown(self, error: Exception) -> str:
        return "internal error"

    def ask(self) -> Ask:
        return Ask(model="m", dialect="lines", payload=b"call")

    async def call(self, switch: Switch, stream: trio.SocketStream) -> None:
        answer = await switch.execute(self.ask())
        await stream.send_all(b"ok " + answer.reply.body + b"\n")

    async def stream(self, switch: Switch, stream: trio.SocketStream) -> None:
        async with switch.stream(self.ask()) as chunks:
            async for chunk in chunks:
                await stream.send_all(chunk.data)


class LinesClient:
    reply = b"hello"
    chunks = (b"+one\n", b"+two\n", b".\n")

    async def call(self, address: str) -> bytes:
        async with await self._connect(address) as stream:
            await stream.send_all(b"call\n")
            return self._judged(await self._all(stream))

    @asynccontextmanager
    async def stream(self, address: str) -> AsyncIterator[AsyncIterator[bytes]]:
        async with await self._connect(address) as stream:
            await stream.send_all(b"stream\n")
            async with aclosing(self._pieces(stream)) as pieces:
                yield pieces

    async def _pieces(self, stream: trio.SocketStream) -> AsyncGenerator[bytes, None]:
        seen = b""
        while piece := await stream.receive_some(1000):
            seen += piece
            yield piece
        if not seen.endswith(b"\n.\n"):
            raise Refused(seen.decode())

    async def _connect(self, address: str) -> trio.SocketStream:
        sock = trio.socket.socket()
        try:
            await sock.connect(("127.0.0.1", int(address.rpartition(":")[2])))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        except OSError:
            sock.close()
            raise
        return trio.SocketStream(sock)

    async def _all(self, stream: trio.SocketStream) -> bytes:
        got = b""
        try:
            while piece := await stream.receive_some(1000):
                got += piece
        except trio.BrokenResourceError as error:
            raise Refused(str(error)) from error
        return got

    def _judged(self, line: bytes) -> bytes:
        if not line.startswith(b"ok "):
            raise Refused(line.decode())
        return line[3:-1]


def opened(frontend: Callable[[], Frontend]) -> Any:
    @asynccontextmanager
    async def opening() -> AsyncIterator[Frontend]:
        yield frontend()

    return opening


async def test_a_small_frontend_keeps_the_laws() -> None:
    await check_frontend(opened(Lines), LinesClient())


class NeverStarts(Lines):
    async def serve(self, switch: Switch, *, task_status: "trio.TaskStatus[Sequence[str]]") -> None:
        await trio.lowlevel.checkpoint()


class SaysNothing(Lines):
    def report(self, task_status: Any, address: str) -> None:
        task_status.started()


class Retries(Lines):
    async def call(self, switch: Switch, stream: trio.SocketStream) -> None:
        await switch.execute(self.ask())
        await super().call(switch, stream)


class AsksNothing(Lines):
    def ask(self) -> Ask:
        return Ask(model="m")


class Shortens(Lines):
    async def call(self, switch: Switch, stream: trio.SocketStream) -> None:
        answer = await switch.execute(self.ask())
        await stream.send_all(b"ok " + answer.reply.body[:-1] + b"\n")


class Gathers(Lines):
    async def stream(self, switch: Switch, stream: trio.SocketStream) -> None:
        async with switch.stream(self.ask()) as chunks:
            data = b"".join([chunk.data async for chunk in chunks])
        await stream.send_all(data)


class Ignores(Lines):
    async def watch(self, stream: trio.SocketStream, scope: trio.CancelScope) -> None:
        await trio.lowlevel.checkpoint()


class HangsUp(Lines):
    async def answer(self, switch: Switch, stream: trio.SocketStream, streaming: bool) -> None:
        with suppress(Exception):
            await (self.stream if streaming else self.call)(switch, stream)


class TellsBugs(Lines):
    def shown(self, error: Exception) -> str:
        return repr(error)


class Dies(Lines):
    async def answer(self, switch: Switch, stream: trio.SocketStream, streaming: bool) -> None:
        try:
            await (self.stream if streaming else self.call)(switch, stream)
        except TurnoutError as error:
            await stream.send_all(f"no {error}\n".encode())


class Pretends(Lines):
    async def stream(self, switch: Switch, stream: trio.SocketStream) -> None:
        try:
            await super().stream(switch, stream)
        except TurnoutError:
            await stream.send_all(b".\n")


class OneByOne(Lines):
    def __init__(self) -> None:
        self._lock = trio.Lock()

    async def call(self, switch: Switch, stream: trio.SocketStream) -> None:
        async with self._lock:
            await super().call(switch, stream)


class CutsOff(Lines):
    async def serve(self, switch: Switch, *, task_status: "trio.TaskStatus[Sequence[str]]") -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(super().serve, switch, task_status=task_status))
            await switch.wait_draining()
            nursery.cancel_scope.cancel()


class Stays(Lines):
    async def serve(self, switch: Switch, *, task_status: "trio.TaskStatus[Sequence[str]]") -> None:
        await super().serve(switch, task_status=task_status)
        await trio.sleep_forever()


@pytest.mark.parametrize(
    ("broken", "law"),
    [
        (NeverStarts, "reports its addresses by `task_status.started`"),
        (SaysNothing, "reports addresses such as"),
        (Retries, "asked of the kernel exactly once"),
        (AsksNothing, "its model, its dialect and its payload"),
        (Shortens, "given whole"),
        (Gathers, "given as they come"),
        (Ignores, "whose client has left is cancelled within"),
        (HangsUp, "told of each error of the kernel"),
        (TellsBugs, "reaches no client"),
        (Dies, r"nothing that a call meets comes out of `serve` \(.*ZeroDivisionError\)"),
        (Pretends, "never as if it had ended well"),
        (OneByOne, "does not hold up another one"),
        (CutsOff, "under way"),
        (Stays, "`serve` returns within"),
    ],
)
async def test_a_frontend_that_breaks_a_law_is_told_which(
    broken: Callable[[], Frontend], law: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in {"PATIENCE": 2.0, "SOON": 0.5, "LEFT": 0.5, "STILL": 0.1}.items():
        monkeypatch.setattr(rules, name, seconds)
    with pytest.raises(
        AssertionError, match=rf"^broken: .*(?:{law}).*\(turnout\.abc\.Frontend; plugins\.md, Frontends\)$"
    ):
        await check_frontend(opened(broken), LinesClient())
