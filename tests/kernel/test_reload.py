"""Another configuration while calls are under way: a new generation, nothing dropped, nothing half-applied."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import attrs
import pytest
import trio
from trio.testing import MockClock

from turnout import Ask, Chunk, Config, Credential, Metadata, Plugins, RateLimited, Reply, open_kernel, parse_config
from turnout._events import Event, Reloaded
from turnout.errors import ConfigError, PluginError, UpstreamFailed
from turnout.testing import MemoryStore, Script, ScriptedProvider, given, scripted_plugins

ASK = Ask(model="m")


def config(*names: str, more: str = "", settings: str = "", turnout: str = "") -> Config:
    credentials = "".join(
        f'[[providers.own.credentials]]\nname = "{name}"\napi_key = "key-{name}-123456"\n' for name in names
    )
    return parse_config(
        f'[turnout]\nselector = "in-turn"\nstore = "memory"\ntransport = "none"\n{turnout}\n'
        f'[retry]\nmax_wait = "0s"\n{more}\n[providers.own]\n{settings}\n'
        f'[[providers.own.models]]\nname = "m"\n{credentials}'
    )


@attrs.frozen
class OwnSettings:
    base: str = "https://one.test:443"


class Own(ScriptedProvider):
    """A provider with settings, that counts how often it is open, and answers with what it was opened with."""

    Settings = OwnSettings
    opened: ClassVar[list[str]] = []
    shut: ClassVar[list[str]] = []
    scripts: ClassVar[list[Script]] = []
    refuse: ClassVar[bool] = False

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: OwnSettings, context: object) -> AsyncIterator["Own"]:
        if cls.refuse:
            raise ZeroDivisionError
        cls.opened.append(settings.base)
        own = cls(Script(body=settings.base.encode()), origin=settings.base)
        yield own
        cls.shut.append(settings.base)


@pytest.fixture
def own() -> type[Own]:
    class Fresh(Own):
        opened: ClassVar[list[str]] = []
        shut: ClassVar[list[str]] = []

    return Fresh


def plugins(own: type[Own], **others: Any) -> Plugins:
    base = scripted_plugins({}, store=MemoryStore())
    groups: dict[str, dict[str, Any]] = {
        "turnout.providers": {"own": own},
        **{
            group: {name: base.load(group, name)}
            for group, name in (
                ("turnout.selectors", "in-turn"),
                ("turnout.stores", "memory"),
                ("turnout.transports", "none"),
            )
        },
    }
    for group, members in others.items():
        groups.setdefault(f"turnout.{group}", {}).update(members)
    return Plugins.of(groups)


async def test_credentials_of_the_file_come_and_go_and_keep_their_state(
    own: type[Own], autojump_clock: MockClock
) -> None:
    """H1, C15.2, C3.3."""
    async with open_kernel(config("a", "b"), plugins=plugins(own)) as kernel:
        with pytest.raises(UpstreamFailed):
            provider = kernel._conductor.generation.providers["own"].plugin
            assert isinstance(provider, Own)
            provider.script(*[Script(failure=RateLimited(retry_after=900))] * 2)
            await kernel.execute(ASK)
        await kernel.reload(config("b", "c"))
        assert {one.id for one in kernel.credentials.list()} == {"b", "c"}
        assert kernel.credentials.state("b").models["m"].unavailable
        assert (await kernel.execute(ASK)).decision.served_by == "c"


async def test_plugins_whose_tables_did_not_change_carry_over(own: type[Own], autojump_clock: MockClock) -> None:
    """O64: sessions of a provider survive a reload."""
    async with open_kernel(config("a"), plugins=plugins(own)) as kernel:
        await kernel.reload(config("a", "b", more="passes = 2"))
        assert own.opened == ["https://one.test:443"]
        await kernel.reload(config("a", settings='base = "https://two.test:443"'))
        assert own.opened == ["https://one.test:443", "https://two.test:443"]
        await trio.sleep(1)
        assert own.shut == ["https://one.test:443"]
        assert (await kernel.execute(ASK)).reply.body == b"https://two.test:443"
        one = kernel.credentials.get("a")
        assert one is not None
        assert one.origin == "https://two.test:443"


async def test_a_call_under_way_finishes_on_its_generation(own: type[Own], autojump_clock: MockClock) -> None:
    """H1, design 11: its plugin is closed only when it is over."""
    async with open_kernel(config("a"), plugins=plugins(own)) as kernel:
        provider = kernel._conductor.generation.providers["own"].plugin
        assert isinstance(provider, Own)
        provider.script(Script(chunks=[Chunk(b"x")] * 10, gap=1))
        async with kernel.stream(ASK) as stream:
            await anext(stream)
            await kernel.reload(config("a", settings='base = "https://two.test:443"'))
            assert own.shut == []
            assert len([chunk async for chunk in stream]) == 9
            assert own.shut == []
        await trio.sleep(1)
        assert own.shut == ["https://one.test:443"]


async def test_a_provider_that_does_not_open_changes_nothing(own: type[Own], autojump_clock: MockClock) -> None:
    """H2: never a half-applied one."""
    async with open_kernel(config("a"), plugins=plugins(own)) as kernel:
        own.refuse = True
        with pytest.raises(PluginError):
            await kernel.reload(config("b", settings='base = "https://two.test:443"'))
        own.refuse = False
        assert {one.id for one in kernel.credentials.list()} == {"a"}
        assert (await kernel.execute(ASK)).reply.body == b"https://one.test:443"


async def test_a_credential_without_an_origin_changes_nothing(own: type[Own], autojump_clock: MockClock) -> None:
    """H2: what was opened for the new generation is closed again."""

    class Picky(own):  # type: ignore[valid-type,misc]  # a class of the fixture
        def origin(self, credential: Credential) -> str:
            if credential.id == "bad":
                raise ValueError("no")
            return str(super().origin(credential))

    async with open_kernel(config("a"), plugins=plugins(Picky)) as kernel:
        with pytest.raises(ConfigError, match="bad"):
            await kernel.reload(config("a", "bad", settings='base = "https://two.test:443"'))
        assert own.shut == ["https://two.test:443"]
        assert (await kernel.execute(ASK)).reply.body == b"https://one.test:443"


async def test_credentials_of_the_store_stay(own: type[Own], autojump_clock: MockClock) -> None:
    async with open_kernel(config("a"), plugins=plugins(own)) as kernel:
        await kernel.credentials.register(
            Credential(id="kept", provider="own", metadata=Metadata({"access_token": "t"}))
        )
        await kernel.reload(config("b"))
        assert {one.id for one in kernel.credentials.list()} == {"b", "kept"}


async def test_another_store_gets_everything(own: type[Own], autojump_clock: MockClock) -> None:
    """C3.8: the store can be swapped."""
    new = MemoryStore()
    known = plugins(own, stores={"other": given(new)})
    async with open_kernel(config("a"), plugins=known) as kernel:
        await kernel.credentials.register(
            Credential(id="kept", provider="own", metadata=Metadata({"access_token": "t"}))
        )
        text = config("a")
        moved = parse_config(text._text.text.replace('store = "memory"', 'store = "other"'))
        await kernel.reload(moved)
        await trio.sleep(2)
        assert ("secret", "kept") in new.records


async def test_another_selector_is_used_from_the_next_call_on(own: type[Own], autojump_clock: MockClock) -> None:
    """C3.8: the selector can be swapped."""

    class Last:
        api: ClassVar[int] = 1

        def select(self, ready: Any, ask: Ask, draw: Callable[[], float]) -> Any:
            return [*ready.best][-1]

    known = plugins(own, selectors={"last": Last})
    async with open_kernel(config("a", "b", "c"), plugins=known) as kernel:
        assert (await kernel.execute(ASK)).decision.served_by == "a"
        other = parse_config(config("a", "b", "c")._text.text.replace('"in-turn"', '"last"'))
        await kernel.reload(other)
        assert [(await kernel.execute(ASK)).decision.served_by for _ in range(2)] == ["c", "c"]


async def test_two_hundred_reloads_under_load_drop_nothing_and_leave_nothing(
    own: type[Own], autojump_clock: MockClock
) -> None:
    """H1 in its short form: every call is served, every old generation's plugins are closed."""
    served: list[Reply] = []
    async with open_kernel(config("a", "b"), plugins=plugins(own)) as kernel, trio.open_nursery() as nursery:

        async def keep_calling() -> None:
            for _ in range(200):
                served.append((await kernel.execute(ASK)).reply)
                await trio.sleep(0.3)

        for _ in range(5):
            nursery.start_soon(keep_calling)
        tasks = trio.lowlevel.current_statistics().tasks_living
        for number in range(200):
            await kernel.reload(config("a", "b", settings=f'base = "https://n{number % 7}.test:443"'))
            await trio.sleep(0.3)
        assert trio.lowlevel.current_statistics().tasks_living <= tasks + 1
    assert len(served) == 1000
    assert len(own.opened) == len(own.shut) == 201


async def test_frontends_change_their_settings_if_they_can_and_otherwise_ask_for_a_restart(
    own: type[Own], autojump_clock: MockClock
) -> None:
    """Design 11: checked before anything changes."""

    @attrs.frozen
    class DoorSettings:
        keys: int = 1
        port: int = 1

    class Door:
        api: ClassVar[int] = 1
        Settings = DoorSettings
        now: ClassVar[list[int]] = []

        def __init__(self, settings: DoorSettings) -> None:
            self.port = settings.port

        async def serve(self, switch: Any, *, task_status: Any) -> None:
            task_status.started(["door://1"])
            await switch.wait_draining()

        def check(self, settings: DoorSettings) -> None:
            if settings.port != self.port:
                raise ConfigError(["[frontends.door] port takes a restart"])

        def reconfigure(self, settings: DoorSettings) -> None:
            self.now.append(settings.keys)

    def with_door(settings: str, *names: str) -> Config:
        return parse_config(config(*names)._text.text + f"[frontends.door]\n{settings}\n")

    async with open_kernel(with_door("", "a"), plugins=plugins(own, frontends={"door": Door})) as kernel:
        assert kernel.addresses == {"door": ("door://1",)}
        with pytest.raises(ConfigError, match="restart"):
            await kernel.reload(with_door("port = 2", "b"))
        assert {one.id for one in kernel.credentials.list()} == {"a"}
        await kernel.reload(with_door("keys = 5", "b"))
        assert Door.now == [5]
        with pytest.raises(ConfigError, match="restart"):
            await kernel.reload(config("b"))
        kernel.drain()
        await kernel.wait_drained()


async def test_observers_hear_of_a_new_generation(own: type[Own], autojump_clock: MockClock) -> None:
    class Ear:
        api: ClassVar[int] = 1
        heard: ClassVar[list[Event]] = []

        async def hear(self, event: Event) -> None:
            self.heard.append(event)

    def with_ear(*names: str) -> Config:
        return parse_config(config(*names)._text.text + "[observers.ear]\n")

    async with open_kernel(config("a"), plugins=plugins(own, observers={"ear": Ear})) as kernel:
        await kernel.reload(with_ear("a"))
        await kernel.reload(with_ear("a", "b"))
        await trio.sleep(1)
        assert [event.generation for event in Ear.heard if isinstance(event, Reloaded)] == [2, 3]
        await kernel.reload(config("a"))
        await trio.sleep(1)
        assert len([event for event in Ear.heard if isinstance(event, Reloaded)]) == 2
