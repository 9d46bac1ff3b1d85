"""Plugins that break while they are in use: what they hurt, and what they do not."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from logging import getLogger
from typing import Any, ClassVar

import pytest
import trio
from trio.testing import MockClock

from turnout import Ask, Event
from turnout._supervise import CLOSE_LIMIT, RESTARTS, Supervisor
from turnout.abc import Limits, PluginContext
from turnout.errors import PluginError
from turnout.testing import ScriptedProvider, scripted_kernel

ASK = Ask(model="m")
TOML = '[providers.p]\nmodels = [{ name = "m" }]\ncredentials = [{ name = "a", api_key = "key-a-0123456789" }]\n'


class First:
    api: ClassVar[int] = 1

    def select(self, ready: Any, ask: Ask, draw: object) -> Any:
        return ready.best.first()


@pytest.mark.parametrize("error", [ZeroDivisionError(), SystemExit(3), ExceptionGroup("many", [ValueError()])])
async def test_a_selector_that_cannot_learn_hurts_no_call(error: BaseException, autojump_clock: MockClock) -> None:
    """H8, O25: the call was served before it was told."""

    class Dull(First):
        def observe(self, outcome: object, took: float) -> None:
            raise error

    async with scripted_kernel(TOML, {"p": ScriptedProvider()}, selector=Dull()) as kernel:
        answer = await kernel.execute(ASK)

    assert answer.decision.served_by == "a"


@pytest.mark.parametrize("error", [ZeroDivisionError(), SystemExit(3), KeyboardInterrupt()])
async def test_a_selector_that_raises_hurts_its_call_only(error: BaseException, autojump_clock: MockClock) -> None:
    """H8."""

    class Stumbles(First):
        errors: ClassVar[list[BaseException]] = [error]

        def select(self, ready: Any, ask: Ask, draw: object) -> Any:
            if self.errors:
                raise self.errors.pop()
            return super().select(ready, ask, draw)

    async with scripted_kernel(TOML, {"p": ScriptedProvider()}, selector=Stumbles()) as kernel:
        with pytest.raises(PluginError, match=type(error).__name__):
            await kernel.execute(ASK)
        await kernel.execute(ASK)


class Ear:
    api: ClassVar[int] = 1

    def __init__(self) -> None:
        self.heard: list[Event] = []

    async def hear(self, event: Event) -> None:
        await trio.lowlevel.checkpoint()
        self.heard.append(event)

    def expose(self) -> Any:
        return {"text/plain": "well\n"}


class Mute(Ear):
    def expose(self) -> Any:
        return {"text/plain": 1 / 0}


async def test_an_observer_that_has_nothing_to_show_hides_no_other(autojump_clock: MockClock) -> None:
    """H8, H10."""
    text = TOML + "[observers.mute]\n[observers.ear]\n"
    async with scripted_kernel(text, {"p": ScriptedProvider()}, observers={"mute": Mute(), "ear": Ear()}) as kernel:
        assert kernel.expose() == {"text/plain": "well\n"}


def context() -> PluginContext:
    return PluginContext(
        key="crashing",
        group="turnout.observers",
        limits=Limits(),
        drain=30.0,
        now=lambda: 0.0,
        draw=lambda: 0.5,
        log=getLogger("test"),
    )


async def openings(lives: int, seconds: float) -> tuple[list[float], list[str]]:
    """When a plugin was opened whose task fails 0.5 s after each of so many openings, and what was told of it."""
    opened: list[float] = []
    told: list[str] = []

    async def crash() -> None:
        await trio.sleep(0.5)
        raise ZeroDivisionError

    @asynccontextmanager
    async def opening() -> AsyncIterator[object]:
        opened.append(trio.current_time())
        async with trio.open_nursery() as inner:
            if len(opened) <= lives:
                inner.start_soon(crash)
            yield object()
            inner.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        supervisor: Supervisor[object] = Supervisor(opening, context(), told.append)
        await supervisor.start(nursery)
        await trio.sleep(seconds)
        with trio.fail_after(CLOSE_LIMIT):
            await supervisor.stop()
    return [at - opened[0] for at in opened], told


async def test_a_plugin_that_fails_while_it_is_open_is_opened_again_ever_later(autojump_clock: MockClock) -> None:
    """H8: 1 s, doubled; told when it fails and when it is back."""
    opened, told = await openings(lives=3, seconds=60)

    assert opened == pytest.approx([0, 1.5, 4, 8.5])
    assert [bool(reason) for reason in told] == [True, False, True, False, True, False]
    assert "observer 'crashing': raised ExceptionGroup; opened again soon" in told[0]


async def test_a_plugin_that_goes_on_failing_is_given_up(autojump_clock: MockClock) -> None:
    """H8: after five times."""
    opened, told = await openings(lives=99, seconds=1000)

    assert len(opened) == 1 + RESTARTS
    assert told[-1].endswith("given up")
