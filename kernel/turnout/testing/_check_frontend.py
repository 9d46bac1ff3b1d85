"""The laws that every frontend keeps: what is asked reaches the kernel once, what comes back reaches the client."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Protocol

import attrs
import trio
import trio.testing

from turnout._values import Ask, Chunk, Reply
from turnout._verdicts import Protocol as BadProtocol
from turnout._verdicts import RateLimited, Transient, Unauthorized
from turnout.abc import Frontend
from turnout.errors import (
    CoolingDown,
    DeadlineExceeded,
    NoCredential,
    TurnoutError,
    Unavailable,
    UnknownModel,
    UpstreamFailed,
)
from turnout.testing._blocking import QUICK, longest_step
from turnout.testing._hung import watching
from turnout.testing._law import Laws
from turnout.testing._scripted_switch import ScriptedSwitch

_law = Laws("Frontend", "Frontends")

OpenFrontend = Callable[[], AbstractAsyncContextManager[Frontend]]
"""Opens a frontend that listens on a free port of loopback."""

PATIENCE = 10.0
"""Seconds after which a check that should take milliseconds has failed."""

SOON = 2.0
"""Seconds within which a drain without calls is over, and a call goes past one that hangs."""

LEFT = 6.0
"""Seconds within which a client that left is noticed: closing looks like half closing for a while (RFC 9293, 3.6)."""

STILL = 0.5
BUG = "canary-of-a-bug-55c1"

FAILURES: tuple[TurnoutError, ...] = (
    UnknownModel("m", ["n"]),
    NoCredential("no auth available"),
    Unavailable("no auth available", until=1_800_000_000.0),
    CoolingDown(model="m", until=1_800_000_000.0),
    DeadlineExceeded("the call took longer than its 1 s"),
    *(UpstreamFailed(kind(message="as it was")) for kind in (RateLimited, Transient, Unauthorized, BadProtocol)),
)


class Refused(Exception):
    """A client was told of an error, in whatever way, or was cut off. Its text is all that it was told."""


class FrontendClient(Protocol):
    """How a client of this frontend speaks. Every method may wait for ever: the check cuts it off."""

    @property
    def reply(self) -> bytes:
        """An answer as an upstream of its dialect gives it."""
        ...

    @property
    def chunks(self) -> Sequence[bytes]:
        """A stream as an upstream gives it: three pieces at least, the last of which ends it properly."""
        ...

    async def call(self, address: str) -> bytes:
        """Ask once, without streaming, and give the answer's body. Raises Refused."""
        ...

    def stream(self, address: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Ask for a stream; entering waits for its beginning, leaving closes the connection. Raises Refused.

        The iterator gives what comes, as it comes, and raises Refused unless the stream ends as its dialect says.
        """
        ...


@attrs.frozen(kw_only=True)
class _Bench:
    client: FrontendClient
    switch: ScriptedSwitch
    address: str
    served: trio.Event

    async def call(self) -> bytes:
        return await self.client.call(self.address)

    async def refusal(self) -> str | None:
        try:
            await self.call()
        except Refused as refused:
            return str(refused)
        return None

    async def read(self) -> bytes:
        async with self.client.stream(self.address) as stream:
            return b"".join([piece async for piece in stream])

    async def settled(self) -> bool:
        with trio.move_on_after(LEFT):
            while self.switch.open:  # noqa: ASYNC110 # the switch tells nobody
                await trio.sleep(0.01)
        return not self.switch.open


Check = Callable[[_Bench], Awaitable[None]]


async def check_frontend(open_frontend: OpenFrontend, client: FrontendClient) -> None:
    """Check that a frontend keeps the laws of `turnout.abc.Frontend`.

    Raises AssertionError that says which law was broken and where it is written. Needs loopback sockets, and so a real
    clock.
    """
    async with watching(_law) as hanging:
        for check in CHECKS:
            with hanging.ended(PATIENCE, _sentence(check)), trio.move_on_after(PATIENCE) as scope:
                await _checked(check, open_frontend, client)
            _law(not scope.cancelled_caught, f"{_sentence(check)}, within {PATIENCE:g} s")


def _sentence(check: Check) -> str:
    return (check.__doc__ or "").rstrip(".")


async def _checked(check: Check, open_frontend: OpenFrontend, client: FrontendClient) -> None:
    tasks = trio.lowlevel.current_statistics().tasks_living
    try:
        async with _serving(open_frontend, client) as bench:
            await check(bench)
    except BaseExceptionGroup as group:  # the caller wants the law, not the nurseries that it came through
        leaves = list(_leaves(group))
        if any(isinstance(leaf, trio.Cancelled) for leaf in leaves):
            raise
        for leaf in leaves:
            if isinstance(leaf, AssertionError):
                raise leaf from group
        kinds = sorted({type(leaf).__name__ for leaf in leaves if not isinstance(leaf, Refused)})
        _law(not kinds, f"nothing that a call meets comes out of `serve` ({', '.join(kinds)})")
        _law(False, f"a sound call is served, not refused ({leaves[0]})")
    await trio.testing.wait_all_tasks_blocked()
    left = trio.lowlevel.current_statistics().tasks_living - tasks
    _law(left == 0, "no task of a frontend outlives `serve`, cancelled or not")


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        yield error
        return
    for inner in error.exceptions:
        yield from _leaves(inner)


@asynccontextmanager
async def _serving(open_frontend: OpenFrontend, client: FrontendClient) -> AsyncIterator[_Bench]:
    async def answer(_: Ask) -> Reply:
        await trio.lowlevel.checkpoint()
        return Reply(body=client.reply)

    async def stream(_: Ask) -> AsyncGenerator[Chunk, None]:
        await trio.lowlevel.checkpoint()
        for data in client.chunks:
            yield Chunk(data)

    switch, served = ScriptedSwitch(on_execute=answer, on_stream=stream), trio.Event()

    async def serve(frontend: Frontend, task_status: "trio.TaskStatus[Sequence[str]]") -> None:
        await frontend.serve(switch, task_status=task_status)
        served.set()

    async with open_frontend() as frontend, trio.open_nursery() as nursery:
        addresses: Sequence[str] = ()
        with trio.move_on_after(PATIENCE / 2) as starting:
            try:
                addresses = await nursery.start(serve, frontend)
            except RuntimeError as error:
                listens = "started" not in str(error)
                _law(listens, "`serve` reports its addresses by `task_status.started` once it listens")
                raise
        late = starting.cancelled_caught
        _law(not late, "`serve` reports its addresses by `task_status.started` once it listens")
        reported = isinstance(addresses, Sequence) and all("://" in one for one in addresses)
        _law(bool(addresses) and reported, "`serve` reports addresses such as http://127.0.0.1:8080 once it listens")
        yield _Bench(client=client, switch=switch, address=addresses[0], served=served)
        nursery.cancel_scope.cancel()


async def _answers(bench: _Bench) -> None:
    """A call is asked of the kernel once, and its answer given whole."""
    for number in range(1, 4):
        _law(await bench.call() == bench.client.reply, "the answer of a call is given whole")
        _law(len(bench.switch.asks) == number, "each call is asked of the kernel exactly once")
    ask = bench.switch.asks[-1]
    _law(bool(ask.model and ask.dialect and ask.payload), "an ask has its model, its dialect and its payload")


async def _quick(bench: _Bench) -> None:
    """A call does not block: everybody else would stand still."""
    longest = await longest_step(bench.call, own=False)
    _law(longest <= QUICK, f"a frontend does not block: no step of a call takes long (it took {longest * 1000:.0f} ms)")


async def _streams(bench: _Bench) -> None:
    """The pieces of a stream are given as they come."""
    proceed = trio.Event()

    async def play(_: Ask) -> AsyncGenerator[Chunk, None]:
        first, *rest = bench.client.chunks
        yield Chunk(first)
        await proceed.wait()
        for data in rest:
            yield Chunk(data)

    bench.switch.on_stream = play
    async with bench.client.stream(bench.address) as stream:
        got = await anext(stream)
        _law(bench.client.chunks[0].startswith(got[:1]), "the pieces of a stream are given as they come")
        proceed.set()
        got += b"".join([piece async for piece in stream])
    _law(got == b"".join(bench.client.chunks), "a stream is given whole and in order")


async def _leaving(bench: _Bench) -> None:
    """A client that leaves cancels its call, and nobody else's."""

    async def hang(_: Ask) -> Reply:
        await trio.sleep_forever()
        raise AssertionError

    async def stall(_: Ask) -> AsyncGenerator[Chunk, None]:
        yield Chunk(bench.client.chunks[0])
        await trio.sleep_forever()

    bench.switch.on_execute, bench.switch.on_stream = hang, stall
    with trio.move_on_after(STILL / 2):
        await bench.call()
    _law(await bench.settled(), f"a call whose client has left is cancelled within {LEFT:g} s")
    async with bench.client.stream(bench.address) as stream:
        await anext(stream)
    _law(await bench.settled(), f"a stream whose client has left is cancelled within {LEFT:g} s")
    _law(bench.switch.cancelled >= 1, "a call whose client has left is cancelled, not drained")


async def _failures(bench: _Bench) -> None:
    """Each error of the kernel is answered, and the next call served."""
    for failure in FAILURES:

        async def fail(_: Ask, failure: TurnoutError = failure) -> Reply:
            await trio.lowlevel.checkpoint()
            raise failure

        good, bench.switch.on_execute = bench.switch.on_execute, fail
        before = len(bench.switch.asks)
        told = await bench.refusal()
        _law(len(bench.switch.asks) == before + 1, "each call is asked of the kernel exactly once")
        _law(bool(told), f"a client is told of each error of the kernel ({type(failure).__name__})")
        bench.switch.on_execute = good
        _law(await bench.call() == bench.client.reply, f"a frontend serves on after {type(failure).__name__}")


async def _bugs(bench: _Bench) -> None:
    """A bug behind the switch hurts one call, and its text reaches nobody."""

    async def fail(_: Ask) -> Reply:
        await trio.lowlevel.checkpoint()
        raise ZeroDivisionError(BUG)

    good, bench.switch.on_execute = bench.switch.on_execute, fail
    told = await bench.refusal()
    _law(told is not None, "an error that is none of Turnout's is an error for the client")
    _law(BUG not in str(told), "the text of an error that is none of Turnout's reaches no client: it may hold secrets")
    bench.switch.on_execute = good
    _law(not bench.served.is_set(), "a bug that one call meets does not end `serve`")
    _law(await bench.call() == bench.client.reply, "a bug that one call meets does not hurt the next one")


async def _broken_streams(bench: _Bench) -> None:
    """A stream that breaks never looks as if it had ended well."""
    for failure in (UpstreamFailed(Transient(message="as it was")), ZeroDivisionError(BUG)):

        async def play(_: Ask, failure: Exception = failure) -> AsyncGenerator[Chunk, None]:
            for data in bench.client.chunks[:-1]:
                yield Chunk(data)
            raise failure

        bench.switch.on_stream = play
        refused = False
        try:
            await bench.read()
        except Refused as told:
            refused = True
            _law(BUG not in str(told), "the text of an error that is none of Turnout's reaches no client")
        _law(refused, "a stream that breaks is ended by an error of its dialect, never as if it had ended well")


async def _back_pressure(bench: _Bench) -> None:
    """A stream is taken from the kernel no faster than its client reads it."""
    taken = 0

    async def play(_: Ask) -> AsyncGenerator[Chunk, None]:
        nonlocal taken
        while True:
            taken += 1
            yield Chunk(bench.client.chunks[0] * 1000)
            await trio.lowlevel.checkpoint()

    bench.switch.on_stream = play
    async with bench.client.stream(bench.address) as stream:
        await anext(stream)
        before = -1
        with trio.move_on_after(PATIENCE / 2) as scope:
            while taken != before:
                before = taken
                await trio.sleep(STILL)
        _law(not scope.cancelled_caught, "a stream is taken from the kernel no faster than its client reads it")


async def _crowd(bench: _Bench) -> None:
    """A call that takes long does not hold up another one."""
    begun, gone = trio.Event(), trio.Event()

    async def first_hangs(_: Ask) -> Reply:
        if len(bench.switch.asks) == 1:
            begun.set()
            await gone.wait()
        return Reply(body=bench.client.reply)

    bench.switch.on_execute = first_hangs
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.call)
        await begun.wait()
        with trio.move_on_after(SOON) as scope:
            await bench.call()
        gone.set()
        _law(not scope.cancelled_caught, "a call that takes long does not hold up another one")


async def _draining(bench: _Bench) -> None:
    """When the kernel drains, calls under way finish, nobody else is let in, and `serve` returns."""
    begun, proceed = trio.Event(), trio.Event()

    async def slow(_: Ask) -> Reply:
        begun.set()
        await proceed.wait()
        return Reply(body=bench.client.reply)

    bench.switch.on_execute = slow
    finished: list[bytes] = []

    async def call() -> None:
        with suppress(Refused):
            finished.append(await bench.call())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await begun.wait()
        bench.switch.drain(PATIENCE)
        await trio.sleep(0.05)
        await trio.testing.wait_all_tasks_blocked()
        _law(not bench.served.is_set(), "`serve` waits for calls under way when the kernel drains")
        proceed.set()
    _law(finished == [bench.client.reply], "calls under way finish when the kernel drains")
    with trio.move_on_after(SOON):
        await bench.served.wait()
    _law(bench.served.is_set(), f"`serve` returns within {SOON:g} s when the kernel drains and no call is under way")
    try:
        await bench.call()
    except (Refused, OSError):
        return
    _law(False, "nobody is let in once `serve` has returned")


CHECKS: tuple[Check, ...] = (
    _answers,
    _quick,
    _streams,
    _leaving,
    _failures,
    _bugs,
    _broken_streams,
    _back_pressure,
    _crowd,
    _draining,
)
