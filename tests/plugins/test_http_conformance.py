"""The frontend `http` passes `check_frontend`, and `check_frontend` catches frontends that break its laws."""

import json
import re
import socket
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from typing import Any, ClassVar

import httpx
import pytest
import trio
import trio.testing
from kit_laws import laws_of, unproven

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
    beside: trio.Nursery
    """Ends after `serve`, for what is broken."""

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


def opened(frontend: Callable[[], Lines]) -> Any:
    @asynccontextmanager
    async def opening() -> AsyncIterator[Frontend]:
        async with trio.open_nursery() as nursery:
            opened = frontend()
            opened.beside = nursery
            yield opened
            nursery.cancel_scope.cancel()

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


class RetriesFailures(Lines):
    async def call(self, switch: Switch, stream: trio.SocketStream) -> None:
        with suppress(TurnoutError):
            await super().call(switch, stream)
            return
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


class Greets(Lines):
    async def stream(self, switch: Switch, stream: trio.SocketStream) -> None:
        await stream.send_all(b"hello\n")
        await super().stream(switch, stream)


class LeavesOut(Lines):
    async def stream(self, switch: Switch, stream: trio.SocketStream) -> None:
        async with switch.stream(self.ask()) as chunks:
            await stream.send_all((await anext(aiter(chunks))).data)
            await anext(aiter(chunks))
            async for chunk in chunks:
                await stream.send_all(chunk.data)


class RefusesAll(Lines):
    async def call(self, switch: Switch, stream: trio.SocketStream) -> None:
        await stream.send_all(b"no, never")


class Ignores(Lines):
    async def watch(self, stream: trio.SocketStream, scope: trio.CancelScope) -> None:
        await trio.lowlevel.checkpoint()


class IgnoresReaders(Lines):
    streaming = False

    async def answer(self, switch: Switch, stream: trio.SocketStream, streaming: bool) -> None:
        self.streaming = streaming
        await super().answer(switch, stream, streaming)

    async def watch(self, stream: trio.SocketStream, scope: trio.CancelScope) -> None:
        with trio.CancelScope() as watching:
            await super().watch(stream, watching)
        if not self.streaming:
            scope.cancel()


class Shields(Lines):
    async def call(self, switch: Switch, stream: trio.SocketStream) -> None:
        with trio.CancelScope(shield=True):
            await super().call(switch, stream)


class Blocks(Lines):
    async def call(self, switch: Switch, stream: trio.SocketStream) -> None:
        time.sleep(0.03)  # noqa: ASYNC251 # it breaks the law
        await super().call(switch, stream)


class AsksNobody(Lines):
    async def call(self, switch: Switch, stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async def stream(self, switch: Switch, stream: trio.SocketStream) -> None:
        await stream.send_all(LinesClient.chunks[0])


class HangsUp(Lines):
    async def answer(self, switch: Switch, stream: trio.SocketStream, streaming: bool) -> None:
        with suppress(Exception):
            await (self.stream if streaming else self.call)(switch, stream)


class Sulks(Lines):
    """Has nothing to say after its first failure."""

    hurt = False

    async def call(self, switch: Switch, stream: trio.SocketStream) -> None:
        if self.hurt:
            await stream.send_all(b"ok \n")
            return
        try:
            await super().call(switch, stream)
        except Exception:
            self.hurt = True
            raise


class Glosses(Lines):
    async def call(self, switch: Switch, stream: trio.SocketStream) -> None:
        with suppress(ZeroDivisionError):
            await super().call(switch, stream)
            return
        await stream.send_all(b"ok \n")


class TellsBugs(Lines):
    def shown(self, error: Exception) -> str:
        return repr(error)


class EndsAtABug(Lines):
    """Its `serve` is over before the client is told."""

    async def serve(self, switch: Switch, *, task_status: "trio.TaskStatus[Sequence[str]]") -> None:
        self.hurt = trio.Event()
        task_status.started(await self.beside.start(partial(super().serve, switch)))
        await self.hurt.wait()

    async def call(self, switch: Switch, stream: trio.SocketStream) -> None:
        try:
            await super().call(switch, stream)
        except ZeroDivisionError:
            self.hurt.set()
            await trio.testing.wait_all_tasks_blocked()
            raise


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


class ReadsAhead(Lines):
    async def stream(self, switch: Switch, stream: trio.SocketStream) -> None:
        async with switch.stream(self.ask()) as chunks:
            await stream.send_all((await anext(aiter(chunks))).data)
            async for _ in chunks:
                pass


class OneByOne(Lines):
    def __init__(self) -> None:
        self._lock = trio.Lock()

    async def call(self, switch: Switch, stream: trio.SocketStream) -> None:
        async with self._lock:
            await super().call(switch, stream)


class CutsOff(Lines):
    returns = True

    async def serve(self, switch: Switch, *, task_status: "trio.TaskStatus[Sequence[str]]") -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(super().serve, switch, task_status=task_status))
            await switch.wait_draining()
            nursery.cancel_scope.cancel()
        if not self.returns:
            await trio.sleep_forever()


class CutsOffAndStays(CutsOff):
    returns = False


class Stays(Lines):
    async def serve(self, switch: Switch, *, task_status: "trio.TaskStatus[Sequence[str]]") -> None:
        await super().serve(switch, task_status=task_status)
        await trio.sleep_forever()


class LetsIn(Lines):
    """Listens on when `serve` is over, and answers by itself."""

    reply = b""

    async def serve(self, switch: Switch, *, task_status: "trio.TaskStatus[Sequence[str]]") -> None:
        self.answered = trio.Event()
        listeners = await self.beside.start(
            partial(trio.serve_tcp, partial(self.visit, switch), 0, host="127.0.0.1", handler_nursery=self.beside)
        )
        self.report(task_status, f"lines://127.0.0.1:{listeners[0].socket.getsockname()[1]}")
        await switch.wait_draining()
        await self.answered.wait()

    async def call(self, switch: Switch, stream: trio.SocketStream) -> None:
        self.reply = self.reply or (await switch.execute(self.ask())).reply.body
        await stream.send_all(b"ok " + self.reply + b"\n")
        self.answered.set()


BROKEN: tuple[tuple[Callable[[], Lines], rules.Check, str], ...] = (
    (NeverStarts, rules._answers, "reports its addresses by `task_status.started`"),
    (SaysNothing, rules._answers, "reports addresses such as"),
    (RefusesAll, rules._answers, "a sound call is served, not refused"),
    (Shortens, rules._answers, "the answer of a call is given whole"),
    (Retries, rules._answers, "asked of the kernel exactly once"),
    (RetriesFailures, rules._failures, "asked of the kernel exactly once"),
    (AsksNothing, rules._answers, "its model, its dialect and its payload"),
    (Blocks, rules._quick, "a frontend does not block: no step of a call takes long"),
    (Greets, rules._streams, "the pieces of a stream are given as they come"),
    (LeavesOut, rules._streams, "a stream is given whole and in order"),
    (Ignores, rules._leaving, "a call whose client has left is cancelled within"),
    (IgnoresReaders, rules._leaving, "a stream whose client has left is cancelled within"),
    (AsksNobody, rules._leaving, "a call whose client has left is cancelled, not drained"),
    (HangsUp, rules._failures, "told of each error of the kernel"),
    (Sulks, rules._failures, "a frontend serves on after"),
    (Glosses, rules._bugs, "an error that is none of Turnout's is an error for the client"),
    (TellsBugs, rules._bugs, "reaches no client: it may hold secrets"),
    (EndsAtABug, rules._bugs, "a bug that one call meets does not end `serve`"),
    (Sulks, rules._bugs, "a bug that one call meets does not hurt the next one"),
    (Dies, rules._bugs, r"nothing that a call meets comes out of `serve` \(.*ZeroDivisionError\)"),
    (TellsBugs, rules._broken_streams, "the text of an error that is none of Turnout's reaches no client$"),
    (Pretends, rules._broken_streams, "never as if it had ended well"),
    (ReadsAhead, rules._back_pressure, "no faster than its client reads it"),
    (OneByOne, rules._crowd, "does not hold up another one"),
    (CutsOff, rules._draining, "`serve` waits for calls under way"),
    (CutsOffAndStays, rules._draining, "calls under way finish"),
    (Stays, rules._draining, "`serve` returns within"),
    (LetsIn, rules._draining, "nobody is let in once `serve` has returned"),
)
"""Each with the check that finds it, and the law that it breaks."""

SHORTER: dict[rules.Check, dict[str, float]] = {
    rules._leaving: {"LEFT": 1.0},
    rules._back_pressure: {"PATIENCE": 2.0},
    rules._crowd: {"SOON": 0.2},
    rules._draining: {"SOON": 1.0},
}
"""Seconds that a broken one is waited for, no shorter than a busy machine needs to find the law before."""

HANGS = "The pieces of a stream are given as they come, within 0.2 s"
LEFT_BEHIND = "no task of a frontend outlives `serve`"


@pytest.mark.parametrize(("broken", "check", "law"), BROKEN)
async def test_a_frontend_that_breaks_a_law_is_told_which(
    broken: Callable[[], Lines], check: rules.Check, law: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(check, monkeypatch)
    with pytest.raises(AssertionError) as caught:
        await check_frontend(opened(broken), LinesClient())
    told = re.fullmatch(r"broken: (.*) \(turnout\.abc\.Frontend; plugins\.md, Frontends\)", str(caught.value))
    assert told is not None, caught.value
    assert re.search(law, told[1]), caught.value


def only(check: rules.Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "CHECKS", (check,))
    for name, seconds in SHORTER.get(check, {}).items():
        monkeypatch.setattr(rules, name, seconds)


async def test_a_frontend_that_listens_and_never_says_where_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class KeepsItsAddress(Lines):
        def report(self, task_status: Any, address: str) -> None:
            pass

    only(rules._answers, monkeypatch)
    monkeypatch.setattr(rules, "PATIENCE", 0.4)
    with pytest.raises(AssertionError, match="reports its addresses by `task_status"):
        await check_frontend(opened(KeepsItsAddress), LinesClient())


async def test_a_frontend_that_hangs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    only(rules._streams, monkeypatch)
    monkeypatch.setattr(rules, "PATIENCE", 0.2)
    with pytest.raises(AssertionError, match=HANGS):
        await check_frontend(opened(Gathers), LinesClient())


async def test_a_frontend_that_shields_its_calls_is_told_where(monkeypatch: pytest.MonkeyPatch) -> None:
    """It hung the check for ever: what is shielded does not hear that the check gave it up."""
    only(rules._leaving, monkeypatch)
    monkeypatch.setattr(rules, "PATIENCE", 0.2)
    monkeypatch.setattr("turnout.testing._hung.GRACE", 0.5)
    shields = (
        r"what is cancelled ends; a scope without a deadline shields plugins/test_http_conformance\.py:\d+ \(A client"
    )
    with pytest.raises(AssertionError, match=shields):
        await check_frontend(opened(Shields), LinesClient())


async def test_a_frontend_whose_task_stays_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async with trio.open_nursery() as nursery:

        class LeavesATask(Lines):
            async def call(self, switch: Switch, stream: trio.SocketStream) -> None:
                nursery.start_soon(trio.sleep_forever)
                await super().call(switch, stream)

        only(rules._answers, monkeypatch)
        with pytest.raises(AssertionError, match=LEFT_BEHIND):
            await check_frontend(opened(LeavesATask), LinesClient())
        nursery.cancel_scope.cancel()


def test_every_law_of_a_frontend_has_a_broken_one() -> None:
    assert not unproven(laws_of(rules), [HANGS, LEFT_BEHIND, *(law for _, _, law in BROKEN)])
