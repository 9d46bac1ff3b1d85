"""Plugins that break while they are in use: what they hurt, and what they do not."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from logging import Formatter, getLogger
from typing import Any, ClassVar

import attrs
import pytest
import trio
from trio.testing import MockClock

from turnout import Ask, Done, Event, Kernel, PluginFailed, Plugins, RateLimited, open_kernel, parse_config
from turnout._plugin_check import flaw_of
from turnout._supervise import CLOSE_LIMIT, RESTARTS, Supervisor
from turnout.abc import Limits, PluginContext
from turnout.errors import PluginError, TurnoutError, UpstreamFailed
from turnout.testing import MemoryStore, Script, ScriptedProvider, given, scripted_kernel
from turnout.testing._given import given_open
from turnout.testing._house import NoTransport

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
    assert "observer 'crashing': raised ExceptionGroup at kernel/test_isolation.py:" in told[0]
    assert told[0].endswith("; opened again soon")


async def test_a_plugin_that_goes_on_failing_is_given_up(autojump_clock: MockClock) -> None:
    """H8: after five times."""
    opened, told = await openings(lives=99, seconds=1000)

    assert len(opened) == 1 + RESTARTS
    assert told[-1].endswith("given up")


async def test_a_plugin_without_an_open_of_its_own_takes_no_task(autojump_clock: MockClock) -> None:
    """It holds nothing that a task would have to keep open: only those that are opened have a supervisor's."""
    counts = []
    for opened in (False, True):
        store = given_open(MemoryStore()) if opened else given(MemoryStore())
        groups: dict[str, dict[str, Any]] = {
            "providers": {"p": given(ScriptedProvider())},
            "selectors": {"first": First},
            "stores": {"memory": store},
            "transports": {"none": given(NoTransport())},
        }
        config = parse_config(f'[turnout]\nselector = "first"\nstore = "memory"\ntransport = "none"\n{TOML}')
        async with open_kernel(config, plugins=Plugins.of(groups)) as kernel:
            assert (await kernel.execute(ASK)).decision.served_by == "a"
            counts.append(trio.lowlevel.current_statistics().tasks_living)
    assert counts[1] == counts[0] + 1


@pytest.mark.parametrize("error", [ZeroDivisionError(), SystemExit(3), ExceptionGroup("many", [ValueError()])])
async def test_a_plugin_that_cannot_be_made_is_told_by_name(error: BaseException, autojump_clock: MockClock) -> None:
    """H8."""

    class Unmade(First):
        def __init__(self) -> None:
            raise error

    supervisor: Supervisor[object] = Supervisor(nullcontext, context(), list)
    with pytest.raises(PluginError, match="observer 'crashing': raised"):
        supervisor.make(Unmade)


async def refuse() -> None:
    await trio.sleep(1)
    raise ValueError("refused for token canary-2718281828")


@asynccontextmanager
async def refusing(settings: object, context: PluginContext) -> AsyncIterator[Ear]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(refuse)
        yield Ear()
        nursery.cancel_scope.cancel()


def opened_by(opener: Any, instance: object) -> Any:
    """A plugin like this one, with such an `open`."""
    return type("Odd", (given(instance),), {"open": staticmethod(opener)})


@asynccontextmanager
async def nothing(settings: object, context: PluginContext) -> AsyncIterator[None]:
    yield


@asynccontextmanager
async def something_else(settings: object, context: PluginContext) -> AsyncIterator[object]:
    yield First()


async def undecorated(settings: object, context: PluginContext) -> AsyncIterator[object]:
    yield MemoryStore()


@pytest.mark.parametrize(
    ("opener", "said"),
    [
        (nothing, "its `open` yields a NoneType, which lacks delete, list, save"),
        (something_else, "its `open` yields a First, which lacks delete, list, save"),
        (undecorated, "its `open` gave a async_generator, no async context manager: is its decorator missing?"),
    ],
)
async def test_an_open_that_gives_no_plugin_is_told_as_that(opener: Any, said: str, autojump_clock: MockClock) -> None:
    """H8, H10: to the author, in the words of the plugin's group."""

    groups: dict[str, dict[str, Any]] = {
        "providers": {"p": given(ScriptedProvider())},
        "selectors": {"first": First},
        "stores": {"odd": opened_by(opener, MemoryStore())},
        "transports": {"none": NoTransport},
    }
    config = parse_config(f'[turnout]\nselector = "first"\nstore = "odd"\ntransport = "none"\n{TOML}')
    with pytest.raises(PluginError) as caught:
        async with open_kernel(config, plugins=Plugins.of(groups)):
            pytest.fail("there is no store")
    assert str(caught.value) == f"store 'odd': {said}"


async def test_what_a_plugin_raises_in_a_task_of_its_own_is_told_without_its_text(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """S40: the text of an exception may hold a secret; a traceback would show it."""

    class Door(door()):  # type: ignore[misc]  # made above
        async def serve(self, switch: Any, *, task_status: Any) -> None:
            task_status.started(["door://"])
            await refuse()

    async with served(opened_by(refusing, Ear()), door=Door, sound=door()):
        await trio.sleep(100)

    formatter = Formatter()
    texts = [formatter.format(record) for record in caplog.records]
    assert sum("raised" in text for text in texts) > 5
    assert not [text for text in texts if "canary" in text]


@pytest.mark.parametrize("verdict", [RateLimited, Done(), "rate limited", None])
def test_a_failure_is_made_with_a_verdict_or_not_at_all(verdict: Any) -> None:
    with pytest.raises(TypeError, match="must be a Failure, not"):
        UpstreamFailed(verdict)


def test_an_instance_that_is_given_is_neither_opened_nor_made_anew() -> None:
    class Opened(First):
        @staticmethod
        def open(*_: object) -> None:
            raise AssertionError("never")

    instance = Opened()
    cls: Any = given(instance)
    assert cls() is cls("settings") is instance
    assert flaw_of("turnout.selectors", given(instance)) == ""


def door(*ends: str) -> Any:
    """A frontend that ends so, one time after the other, each a second after it began; then it serves until drained."""

    class Door:
        api: ClassVar[int] = 1
        opened: ClassVar[list[float]] = []

        async def serve(self, switch: Any, *, task_status: Any) -> None:
            self.opened.append(trio.current_time())
            number = len(self.opened)
            task_status.started([f"door://{number}"])
            if number > len(ends):
                await switch.wait_draining()
                return
            await trio.sleep(1)
            if ends[number - 1] == "raises":
                raise ZeroDivisionError

    return Door


def text_of(*doors: str) -> str:
    head = '[turnout]\nselector = "first"\nstore = "memory"\ntransport = "none"\n'
    return head + TOML + "[observers.ear]\n" + "".join(f"[frontends.{name}]\n" for name in doors)


@asynccontextmanager
async def served(ear: Any, **doors: type) -> AsyncIterator[Kernel]:
    """A kernel with these frontends."""
    offered: dict[str, dict[str, Any]] = {
        "providers": {"p": given(ScriptedProvider())},
        "stores": {"memory": given(MemoryStore())},
    }
    offered |= {"selectors": {"first": First}, "transports": {"none": NoTransport}}
    plugins = Plugins.of(
        {**offered, "frontends": doors, "observers": {"ear": ear if isinstance(ear, type) else given(ear)}}
    )
    async with open_kernel(parse_config(text_of(*doors)), plugins=plugins) as kernel:
        yield kernel


@pytest.mark.parametrize("end", ["raises", "returns unasked"])
async def test_a_frontend_that_fails_while_it_serves_is_opened_again(end: str, autojump_clock: MockClock) -> None:
    """H8: the same curve as every plugin's; calls go on meanwhile."""
    frontend, ear = door(end, end), Ear()
    async with served(ear, door=frontend) as kernel:
        await trio.sleep(1.5)
        await kernel.execute(ASK)
        await trio.sleep(60)
        assert kernel.addresses == {"door": ("door://3",)}
        kernel.drain()
        with trio.fail_after(1):
            await kernel.wait_drained()

    assert [at - frontend.opened[0] for at in frontend.opened] == [0, 2, 5]
    told = [event for event in ear.heard if isinstance(event, PluginFailed)]
    assert [(event.group, event.name) for event in told] == [("turnout.frontends", "door")] * 2


async def test_a_frontend_that_goes_on_failing_is_given_up_while_another_one_serves(
    autojump_clock: MockClock,
) -> None:
    """H8: then disabled and shown."""
    frontend, ear = door(*["raises"] * 99), Ear()
    async with served(ear, broken=frontend, sound=door()) as kernel:
        await trio.sleep(1000)
        await kernel.execute(ASK)
        kernel.drain()
        await kernel.wait_drained()

    assert len(frontend.opened) == 1 + RESTARTS


async def test_a_kernel_that_can_serve_nobody_any_more_ends_and_says_why(autojump_clock: MockClock) -> None:
    """H8: whoever started the process can start it anew; one that runs on unheard helps nobody."""
    frontend = door(*["raises"] * 99)
    with pytest.raises(PluginError, match="frontend 'door': raised ZeroDivisionError"):
        async with served(Ear(), door=frontend):
            await trio.sleep_forever()

    assert len(frontend.opened) == 1 + RESTARTS


async def test_a_drain_does_not_wait_for_a_frontend_that_is_to_be_opened_again(autojump_clock: MockClock) -> None:
    async with served(Ear(), door=door("raises")) as kernel:
        await trio.sleep(1.5)
        kernel.drain()
        with trio.fail_after(0.1):
            await kernel.wait_drained()


async def test_a_frontend_that_cannot_take_on_what_it_let_pass_serves_on(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """H8, H10: `reconfigure` should raise nothing; the rest of the reload is in force."""

    @attrs.frozen
    class DoorSettings:
        keys: int = 1

    class Door(door()):  # type: ignore[misc]  # made above
        Settings: ClassVar[type] = DoorSettings

        def __init__(self, settings: DoorSettings) -> None:
            self.settings = settings

        def check(self, settings: DoorSettings) -> None:
            pass

        def reconfigure(self, settings: DoorSettings) -> None:
            raise SystemExit(settings.keys)

    async with served(Ear(), door=Door) as kernel:
        await kernel.reload(parse_config(text_of("door") + "keys = 2\n"))
        await kernel.execute(ASK)

    assert "[frontends.door] is not in force as it should be" in caplog.text


async def test_what_is_dirty_is_saved_before_a_plugin_can_keep_the_kernel_from_closing(
    autojump_clock: MockClock,
) -> None:
    """H5, H9: the process may be ended any moment then."""
    store = MemoryStore()
    saved: list[bool] = []

    class Lingers(Ear):
        async def hear(self, event: Event) -> None:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(20)
                    saved.append(("state", "a") in store.records)

    provider = ScriptedProvider()
    provider.script(Script(failure=RateLimited(retry_after=100)))
    text = '[retry]\nmax_wait = "0s"\n' + TOML + "[observers.lingers]\n"
    async with scripted_kernel(text, {"p": provider}, store=store, observers={"lingers": Lingers()}) as kernel:
        with pytest.raises(TurnoutError):
            await kernel.execute(ASK)

    assert saved == [True]


@pytest.mark.parametrize(("takes", "limit"), [(30, 30), (64, 64), (1000, 65)])
async def test_a_frontend_has_the_time_of_a_drain_for_what_its_clients_have_not_taken_yet(
    takes: float, limit: float, autojump_clock: MockClock
) -> None:
    """H4, H9: a call is over before a slow client has its answer; who does not end is left after a little more."""

    class Slow:
        api: ClassVar[int] = 1

        async def serve(self, switch: Any, *, task_status: Any) -> None:
            task_status.started(["door://1"])
            await switch.wait_draining()
            await trio.sleep(takes)

    async with served(Ear(), door=Slow) as kernel:
        kernel.drain()
        began = trio.current_time()
        await kernel.wait_drained()
        assert trio.current_time() - began == pytest.approx(limit)
