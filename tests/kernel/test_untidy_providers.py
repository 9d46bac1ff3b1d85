"""Providers that raise while they are cancelled or closed: whose error comes out, and whose tasks go on."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from logging import WARNING
from typing import Any, ClassVar

import attrs
import pytest
import trio
from trio.testing import MockClock

from turnout import Ask, Call, Chunk, Done, Kernel, Phase, RateLimited, Reply, TimedOut, Transient, Verdict
from turnout.errors import PluginError, UpstreamFailed
from turnout.testing import Script, ScriptedProvider, scripted_kernel

ASK = Ask(model="m", id="call")
TOML = """\
[deadlines]
headers = "10s"
first_payload = "10s"
idle = "5s"
[[providers.p.models]]
name = "m"
[[providers.p.credentials]]
name = "a"
api_key = "key-of-a-0123456789"
priority = 1
[[providers.p.credentials]]
name = "b"
api_key = "key-of-b-0123456789"
"""

Raises = Callable[[], BaseException]


class Untidy(ScriptedProvider):
    """With `a`, something raises when the call ends: the call itself, or a task beside it."""

    def __init__(self, script: Script, raises: Raises, *, in_task: bool) -> None:
        super().__init__()
        self.script(script, credential="a")
        self.raises = raises
        self.in_task = in_task

    async def execute(self, call: Call) -> Reply:
        async with self._around(call):
            return await super().execute(call)

    @asynccontextmanager
    async def stream(self, call: Call) -> AsyncIterator[object]:
        async with super().stream(call) as stream, self._around(call):
            yield stream

    @asynccontextmanager
    async def _around(self, call: Call) -> AsyncIterator[None]:
        if call.credential.id != "a":
            yield
        elif not self.in_task:
            try:
                yield
            finally:
                raise self.raises()
        else:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._beside)
                yield
                nursery.cancel_scope.cancel()

    async def _beside(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise self.raises()


WHAT: dict[str, Raises] = {
    "a bug": lambda: OSError(9, "key-of-a-0123456789"),
    "a failure": lambda: UpstreamFailed(Transient(message="reset while it was closed")),
    "a group": lambda: BaseExceptionGroup("of a nursery", [OSError(), SystemExit(3)]),
    "an exit": GeneratorExit,
    "a group of exits": lambda: BaseExceptionGroup("of a nursery", [GeneratorExit()]),
}

whatever_it_raises = pytest.mark.parametrize("raises", WHAT.values(), ids=WHAT.keys())
wherever = pytest.mark.parametrize("in_task", [False, True], ids=["itself", "in a task"])


@asynccontextmanager
async def beside() -> AsyncIterator[None]:
    """What the block cancels by mistake is noticed: a neighbour is to be there to the end."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        yield
        assert len(nursery.child_tasks) == 1
        assert not nursery.cancel_scope.cancel_called
        nursery.cancel_scope.cancel()


def verdicts(kernel: Kernel) -> list[tuple[str, type[Verdict]]]:
    decision = kernel.explain("call")
    assert decision is not None
    return [(one.credential, type(one.verdict)) for one in decision.attempts]


@whatever_it_raises
@wherever
async def test_a_stream_without_payload_in_time_goes_on_with_the_next(
    raises: Raises, *, in_task: bool, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """B9, O38, H8."""
    provider = Untidy(Script(wait=1000), raises, in_task=in_task)
    async with scripted_kernel(TOML, {"p": provider}) as kernel, beside():
        async with kernel.stream(ASK) as stream:
            assert [chunk.data async for chunk in stream] == [b"{}"]
        assert verdicts(kernel) == [("a", TimedOut), ("b", Done)]
    assert provider.open_streams == 0
    assert "key-of-a" not in caplog.text


@whatever_it_raises
@wherever
async def test_a_stream_that_falls_silent_ends_at_its_limit(
    raises: Raises, *, in_task: bool, autojump_clock: MockClock
) -> None:
    """B10."""
    provider = Untidy(Script(chunks=[Chunk(b"1"), Chunk(b"2")], gap=100), raises, in_task=in_task)
    async with scripted_kernel(TOML, {"p": provider}) as kernel, beside():
        with pytest.raises(UpstreamFailed) as caught:
            async with kernel.stream(ASK) as stream:
                async for _ in stream:
                    pass
        assert isinstance(caught.value.verdict, TimedOut)
        assert caught.value.verdict.phase is Phase.IDLE
        assert not kernel._conductor.calls.scopes


@whatever_it_raises
async def test_a_call_that_is_not_answered_in_time_goes_on_with_the_next(
    raises: Raises, autojump_clock: MockClock
) -> None:
    """C9.3: it was cancelled, whatever else its tasks met then."""
    provider = Untidy(Script(wait=1000), raises, in_task=True)
    async with scripted_kernel(TOML, {"p": provider}) as kernel, beside():
        assert (await kernel.execute(ASK)).decision.served_by == "b"
        assert verdicts(kernel) == [("a", TimedOut), ("b", Done)]


@whatever_it_raises
@pytest.mark.parametrize(("operation", "in_task"), [("stream", False), ("stream", True), ("execute", True)])
async def test_a_caller_that_is_cancelled_is_that_and_nothing_else(
    operation: str, raises: Raises, *, in_task: bool, autojump_clock: MockClock
) -> None:
    """C9.3, C-1: the client has left."""
    provider = Untidy(Script(chunks=[Chunk(b"1"), Chunk(b"2")], gap=100, wait=1), raises, in_task=in_task)
    async with scripted_kernel(TOML, {"p": provider}) as kernel, beside():
        with trio.move_on_after(3 if operation == "stream" else 0.5) as left:
            if operation == "execute":
                await kernel.execute(ASK)
            else:
                async with kernel.stream(ASK) as stream:
                    async for _ in stream:
                        pass
        assert left.cancelled_caught
        assert not kernel._conductor.calls.scopes
        assert [one.ready for one in kernel.models()] == [2]


@wherever
async def test_a_failure_to_break_off_is_none_of_the_upstream(*, in_task: bool, autojump_clock: MockClock) -> None:
    """O36: whoever leaves early has been served."""
    provider = Untidy(Script(chunks=[Chunk(b"1")] * 9), WHAT["a failure"], in_task=in_task)
    async with scripted_kernel(TOML, {"p": provider}) as kernel:
        async with kernel.stream(ASK) as stream:
            await anext(aiter(stream))
        assert [one.ready for one in kernel.models()] == [2]


async def test_a_bug_that_shows_when_a_stream_is_broken_off_is_told(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """H8: to the caller, or in the log where he has an error of his own."""
    provider = Untidy(Script(chunks=[Chunk(b"1")] * 9), WHAT["a bug"], in_task=False)
    async with scripted_kernel(TOML, {"p": provider}) as kernel:
        with pytest.raises(PluginError, match="raised OSError"):
            async with kernel.stream(ASK) as stream:
                await anext(aiter(stream))
        with caplog.at_level(WARNING), pytest.raises(ZeroDivisionError):
            async with kernel.stream(ASK):
                raise ZeroDivisionError
        assert [one.ready for one in kernel.models()] == [2]
    assert "while a stream was broken off: provider 'p': raised OSError" in caplog.text


async def test_the_callers_own_errors_are_all_that_is_left_beside_a_limit(autojump_clock: MockClock) -> None:
    """A caller with a nursery of its own has its errors and the cancellation in one group."""

    async def stumbles() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ZeroDivisionError

    provider = ScriptedProvider(Script(chunks=[Chunk(b"1"), Chunk(b"2")], gap=100))
    async with scripted_kernel(TOML, {"p": provider}) as kernel, beside():
        with pytest.raises(ExceptionGroup) as caught:
            async with kernel.stream(ASK) as stream, trio.open_nursery() as nursery:
                nursery.start_soon(stumbles)
                async for _ in stream:
                    pass
        assert [type(error) for error in caught.value.exceptions] == [ZeroDivisionError]


@attrs.define
class Iterates:
    """What is easily written for a stream and is none: its iterator is another object."""

    headers: ClassVar[dict[str, str]] = {}

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        await trio.lowlevel.checkpoint()
        yield Chunk(b"1")


async def test_a_stream_that_is_no_iterator_is_its_plugins_mistake(autojump_clock: MockClock) -> None:
    """H10: and nothing stays open."""

    class Provider(ScriptedProvider):
        @asynccontextmanager
        async def stream(self, call: Call) -> AsyncIterator[object]:
            yield Iterates()

    async with scripted_kernel(TOML, {"p": Provider()}) as kernel, beside():
        with pytest.raises(PluginError, match="AttributeError"):
            async with kernel.stream(ASK):
                pytest.fail("there is no stream")
        assert not kernel._conductor.calls.scopes


@pytest.mark.parametrize("raises", [GeneratorExit, WHAT["a group of exits"]], ids=["an exit", "a group of exits"])
@pytest.mark.parametrize("operation", ["execute", "stream"])
async def test_a_generator_exit_is_its_plugins_mistake(
    operation: str, raises: Raises, autojump_clock: MockClock
) -> None:
    """H8: as of an async generator that is closed by hand, and what it ends is the one call."""
    provider = ScriptedProvider()
    provider.script(Script(raises=raises()), credential="a")
    async with scripted_kernel(TOML, {"p": provider}) as kernel, beside():
        with pytest.raises(PluginError, match=r"raised (GeneratorExit|BaseExceptionGroup)"):
            if operation == "execute":
                await kernel.execute(ASK)
            else:
                async with kernel.stream(ASK):
                    pytest.fail("there is no stream")
        assert not kernel._conductor.calls.scopes
        assert (await kernel.execute(attrs.evolve(ASK, pin="b"))).decision.served_by == "b"


async def test_a_call_that_is_thrown_away_is_no_mistake_of_its_plugin(autojump_clock: MockClock) -> None:
    """Its coroutine is closed, as where a run has crashed: Python's own way to end it goes on untouched."""
    async with scripted_kernel(TOML, {"p": ScriptedProvider(Script(wait=1000))}) as kernel:
        call = kernel.execute(ASK)
        call.send(None)
        call.close()  # raises nothing
        assert kernel.explain("call") is not None


async def test_the_end_of_an_iterator_is_no_answer(autojump_clock: MockClock) -> None:
    """H8: as of `await anext(chunks)` where there are none."""
    provider = ScriptedProvider(Script(raises=StopAsyncIteration()))
    async with scripted_kernel(TOML, {"p": provider}) as kernel:
        with pytest.raises(PluginError, match="StopAsyncIteration"):
            await kernel.execute(ASK)


async def test_a_selector_that_keeps_a_candidate_breaks_no_pin(autojump_clock: MockClock) -> None:
    """C5.11: a pin never falls back."""

    class Keeps:
        api: ClassVar[int] = 1
        kept: object = None

        def select(self, ready: object, ask: Ask, draw: object) -> object:
            self.kept = self.kept or ready.best.first()  # type: ignore[attr-defined]
            return self.kept

    provider = ScriptedProvider()
    async with scripted_kernel(TOML, {"p": provider}, selector=Keeps()) as kernel:
        assert (await kernel.execute(ASK)).decision.served_by == "a"
        with pytest.raises(PluginError, match="none of the candidates"):
            await kernel.execute(attrs.evolve(ASK, pin="b"))
    assert provider.called() == ["a"]


@pytest.mark.parametrize("wrong", [{"retry_after": "5"}, {"retry_after": True}, {"message": b"slow"}, {"sent": "no"}])
async def test_a_failure_with_a_text_for_a_time_is_its_plugins_mistake(
    wrong: dict[str, Any], autojump_clock: MockClock
) -> None:
    """H10: a header's text passed on, say."""

    class Careless(ScriptedProvider):
        async def execute(self, call: Call) -> Reply:
            await trio.lowlevel.checkpoint()
            raise UpstreamFailed(RateLimited(**wrong))

    async with scripted_kernel(TOML, {"p": Careless()}) as kernel:
        with pytest.raises(PluginError, match="raised TypeError"):
            await kernel.execute(ASK)
        assert [one.ready for one in kernel.models()] == [2]
