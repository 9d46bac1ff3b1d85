"""The nursery tree: what is opened, kept, drained and left."""

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest
import trio
from trio.testing import MockClock

from turnout import (
    Ask,
    Chunk,
    Credential,
    Failure,
    Kernel,
    Metadata,
    Plugins,
    RateLimited,
    Record,
    Unauthorized,
    load_config,
    open_kernel,
    parse_config,
)
from turnout._aggregate import clear
from turnout._cooldown import Policy
from turnout._events import CallDecided, CredentialRegistered, Event, OutcomeRecorded
from turnout._ledger import record
from turnout._ledger_renewals import refused_for_good
from turnout._records import decode_state, encode_credential, encode_state
from turnout._renewal import mark_of
from turnout._values import CLEAN, Outcome
from turnout.errors import ConfigError, CoolingDown, Draining, InvalidAsk, PluginError, StoreError, UpstreamFailed
from turnout.testing import MemoryStore, Script, ScriptedProvider, given, scripted_kernel
from turnout.testing._house import scripted_config, wall

ASK = Ask(model="m")
TOML = """
[retry]
max_wait = "0s"
[providers.scripted]
models = [{ name = "m" }]
credentials = [{ name = "a", api_key = "key-a-0123456789" }]
"""


def tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


async def test_nothing_is_left_when_the_block_ends(autojump_clock: MockClock) -> None:
    before = tasks()
    async with scripted_kernel(TOML, {"scripted": ScriptedProvider()}) as kernel:
        assert tasks() > before
        await kernel.execute(ASK)
    assert tasks() == before


async def test_an_error_in_the_block_comes_out_as_itself_and_leaves_nothing(autojump_clock: MockClock) -> None:
    before = tasks()
    with pytest.raises(ValueError, match="mine"):
        async with scripted_kernel(TOML, {"scripted": ScriptedProvider()}):
            raise ValueError("mine")
    assert tasks() == before


async def test_a_cooldown_survives_a_restart(autojump_clock: MockClock) -> None:
    """D5, O18: runtime state is kept apart from secrets, and restored at start."""
    store = MemoryStore()
    provider = ScriptedProvider(Script(failure=RateLimited(retry_after=300)))
    async with scripted_kernel(TOML, {"scripted": provider}, store=store) as kernel:
        with pytest.raises(UpstreamFailed):
            await kernel.execute(ASK)
    assert set(store.records) == {("state", "a")}
    await trio.sleep(200)
    provider = ScriptedProvider()
    async with scripted_kernel(TOML, {"scripted": provider}, store=store) as kernel:
        with pytest.raises(CoolingDown):
            await kernel.execute(ASK)
        await trio.sleep(100)
        await kernel.execute(ASK)
    assert set(store.records) == {("state", "a")}
    assert all(map(clear, decode_state(store.records["state", "a"].data).models.values()))


async def test_a_state_that_is_as_good_as_new_takes_nothing_that_another_process_wrote(
    autojump_clock: MockClock,
) -> None:
    """E7, C3.6: that a token was refused is not removed together with a cooldown that is over."""
    store = MemoryStore()
    provider = ScriptedProvider(Script(failure=RateLimited(retry_after=300)))
    async with scripted_kernel(TOML, {"scripted": provider}, store=store) as kernel:
        with pytest.raises(UpstreamFailed):
            await kernel.execute(ASK)
        await trio.sleep(290)
        ours, credential = store.records["state", "a"], kernel.credentials.get("a")
        assert credential is not None
        theirs = refused_for_good(decode_state(ours.data), "invalid_grant", wall(), secret=mark_of(credential))
        store.records["state", "a"] = attrs.evolve(ours, data=encode_state(theirs), version=ours.version + 1)
        await trio.sleep(20)
        provider.script(Script())
        await kernel.execute(ASK)
    assert decode_state(store.records["state", "a"].data).needs_login == "invalid_grant"


async def test_a_cooldown_that_was_kept_by_a_clock_a_year_ahead_is_over_within_a_day(autojump_clock: MockClock) -> None:
    """K3, D5: at the next start, when the clock is right."""
    limited = Outcome(credential="a", provider="scripted", model="m", verdict=RateLimited(retry_after=600))
    kept = encode_state(record(CLEAN, limited, wall() + 365 * 86_400.0, Policy()).state)
    store = MemoryStore([Record(kind="state", id="a", data=kept, version=1)])
    async with scripted_kernel(TOML, {"scripted": ScriptedProvider()}, store=store) as kernel:
        with pytest.raises(CoolingDown):
            await kernel.execute(ASK)
        await trio.sleep(86_400)
        await kernel.execute(ASK)


async def test_what_changes_is_written_behind_and_together(autojump_clock: MockClock) -> None:
    """O19: coalesced, and never while a call waits."""

    class Counting:
        api: ClassVar[int] = 1
        saves: ClassVar[int] = 0
        kept = MemoryStore()
        list = kept.list
        delete = kept.delete

        async def save(self, kind: str, id: str, data: bytes, if_version: int | None) -> int:
            Counting.saves += 1
            return await self.kept.save(kind, id, data, if_version)

    provider = ScriptedProvider()
    provider.script(*[Script(failure=RateLimited(retry_after=1))] * 3)
    text = TOML.replace('max_wait = "0s"', 'max_wait = "9s"')
    async with scripted_kernel(text, {"scripted": provider}, store=Counting()) as kernel:
        await kernel.execute(ASK)
        for _ in range(100):
            await kernel.execute(ASK)
        await trio.sleep(10)
        assert 1 <= Counting.saves <= 6


async def test_a_store_that_fails_loses_nothing_and_stops_nobody(autojump_clock: MockClock) -> None:
    """O20: tried again until it succeeds; F-4, F-5: readiness tells of it, and calls go on."""

    store = MemoryStore()
    provider = ScriptedProvider(Script(failure=RateLimited(retry_after=3000)))
    async with scripted_kernel(TOML, {"scripted": provider}, store=store) as kernel:
        store.broken = "no space left on device"
        with pytest.raises(UpstreamFailed):
            await kernel.execute(ASK)
        await trio.sleep(100)
        assert store.records == {}
        assert "the store does not take what changes" in kernel.readiness().problems
        store.broken = ""
        await trio.sleep(35)
        assert "the store does not take what changes" not in kernel.readiness().problems
        assert set(store.records) == {("state", "a")}


class Refusing:
    """A store that takes whatever is not about some credentials."""

    api: ClassVar[int] = 1

    def __init__(self, *refused: str) -> None:
        self.memory = MemoryStore()
        self._refused = refused

    async def list(self) -> Any:
        return await self.memory.list()

    async def save(self, kind: str, id: str, data: bytes, if_version: int | None) -> int:
        if id in self._refused:
            raise StoreError("this record is too long")
        return await self.memory.save(kind, id, data, if_version)

    async def delete(self, kind: str, id: str) -> None:
        await self.memory.delete(kind, id)


async def test_a_record_that_the_store_refuses_keeps_no_other_from_it(autojump_clock: MockClock) -> None:
    """O18, O19, O20: neither while somebody waits for another one, nor when the kernel closes."""
    store = Refusing(*"abcef")
    provider = ScriptedProvider(Script(failure=RateLimited(retry_after=3000)))
    more = "".join(f', {{ name = "{name}", api_key = "key-{name}-0123456789" }}' for name in "bcefz")
    text = TOML.replace('789" }]', f'789" }}{more}]')
    async with scripted_kernel(text, {"scripted": provider}, store=store) as kernel:
        with pytest.raises(UpstreamFailed):
            await kernel.execute(ASK)
        assert provider.called() == list("abcefz")
        await kernel.credentials.register(Credential(id="d", provider="scripted", metadata=Metadata({"note": "kept"})))
        assert set(store.memory.records) == {("secret", "d")}
        with pytest.raises(StoreError):
            await kernel.credentials.register(Credential(id="a", provider="scripted", metadata=Metadata()))
    assert set(store.memory.records) == {("secret", "d"), ("state", "z")}


async def test_a_damaged_record_is_left_out_and_the_others_load(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    await store.save("state", "a", b"{torn", 0)
    await store.save("secret", "b", b"\xff", 0)
    async with scripted_kernel(TOML, {"scripted": ScriptedProvider()}, store=store) as kernel:
        await kernel.execute(ASK)
    assert store.records["secret", "b"].data == b"\xff"


@pytest.mark.parametrize("streams", [False, True], ids=["execute", "stream"])
async def test_calls_of_other_tasks_end_with_the_block_and_none_begins_after_it(
    autojump_clock: MockClock, streams: bool
) -> None:
    """Design 1: when the block ends, nothing is left, and no plugin that is closed is called."""
    provider = ScriptedProvider(Script(wait=100) if not streams else Script(chunks=[Chunk(b"x")] * 9, gap=100))
    ended: list[float] = []

    async def call(kernel: Kernel) -> None:
        with pytest.raises(Draining):
            if streams:
                async with kernel.stream(ASK) as stream:
                    async for _ in stream:
                        pass
            else:
                await kernel.execute(ASK)
        ended.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        async with scripted_kernel(TOML, {"scripted": provider}) as kernel:
            nursery.start_soon(call, kernel)
            await trio.sleep(1)
        assert ended == [1]
    with pytest.raises(Draining):
        await kernel.execute(ASK)
    assert not kernel.readiness().ready
    assert len(provider.calls) == 1
    assert not provider.open_streams


async def test_a_wrong_argument_of_the_kernel_is_named_and_nothing_changes(autojump_clock: MockClock) -> None:
    """H2: as for a file that is wrong."""
    wrong: Any
    for wrong in (None, TOML, {"providers": {}}):
        with pytest.raises(InvalidAsk) as caught:
            async with open_kernel(wrong):
                pass
        assert caught.value.argument == "config"
    async with scripted_kernel(TOML, {"scripted": ScriptedProvider()}) as kernel:
        for wrong in (None, TOML):
            with pytest.raises(InvalidAsk) as caught:
                await kernel.reload(wrong)
            assert caught.value.argument == "config"
        with pytest.raises(InvalidAsk) as caught:
            kernel.explain(["id"])  # type: ignore[arg-type]  # that is the point
        assert caught.value.argument == "id"
        assert (await kernel.execute(ASK)).decision.served_by == "a"


OPENED_WITH: tuple[tuple[str, Any], ...] = (
    ("plugins", {"providers": {}}),
    ("wall", 7),
    ("draw", 0.5),
    ("renew", None),
    ("sockets", []),
    ("watch_stalls", "yes"),
)


@pytest.mark.parametrize(("argument", "value"), OPENED_WITH, ids=str)
async def test_a_kernel_is_not_opened_with_what_it_cannot_use(argument: str, value: Any) -> None:
    """The refusal names the argument, at once and not when it is needed."""
    with pytest.raises(InvalidAsk) as caught:
        async with open_kernel(scripted_config(TOML), **{"plugins": Plugins.of({}), argument: value}):
            pass

    assert caught.value.argument == argument


def test_what_makes_configurations_and_plugins_names_a_wrong_argument(tmp_path: Path) -> None:
    """H2."""
    wrong: Any
    path = tmp_path / "turnout.toml"
    path.write_text("")
    refused: list[tuple[Callable[[Any], object], str]] = [
        (parse_config, "text"),
        (lambda wrong: parse_config("", source=wrong), "source"),
        (lambda wrong: parse_config("", environ=wrong), "environ"),
        (lambda wrong: load_config(wrong, {}), "path"),
        (lambda wrong: load_config(path, wrong), "environ"),
        (Plugins.of, "classes"),
        (lambda wrong: Plugins.of({"stores": wrong}), "classes"),
        (Plugins.discover, "environ"),
    ]
    for make, argument in refused:
        for wrong in (None, 7, b"bytes", [1]):
            with pytest.raises(InvalidAsk) as caught:
                make(wrong)
            assert caught.value.argument == argument


async def test_what_a_frontend_asks_of_its_switch_is_checked_and_named(autojump_clock: MockClock) -> None:
    """As every public call: nothing changes."""
    wrong: Any
    async with scripted_kernel(TOML, {"scripted": ScriptedProvider()}) as kernel:
        switch = kernel._switch()
        for wrong in (None, 7, [], b"name"):
            for call, argument in (
                (partial(switch.keep, wrong, "a"), "name"),
                (partial(switch.keep, "response", wrong), "credential"),
                (partial(switch.places.leave, "nobody's"), "name"),
            ):
                with pytest.raises(InvalidAsk) as caught:
                    call()
                assert caught.value.argument == argument
            for ask, argument in (
                (partial(switch.keeper, wrong), "name"),
                (partial(switch.places.enter, wrong, 3), "name"),
            ):
                with pytest.raises(InvalidAsk) as caught:
                    await ask()
                assert caught.value.argument == argument
        for wrong in (None, -1, 1.5, True, "3"):
            with pytest.raises(InvalidAsk) as caught:
                await switch.places.enter("somebody's", wrong)
            assert caught.value.argument == "limit"
        assert await switch.keeper("response") is None


async def test_draining_takes_no_new_calls_and_lets_those_under_way_finish(autojump_clock: MockClock) -> None:
    """H4."""
    provider = ScriptedProvider(Script(chunks=[Chunk(b"x")] * 10, gap=1))
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel, trio.open_nursery() as nursery:
        got = []

        async def read(task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
            async with kernel.stream(ASK) as stream:
                task_status.started()
                async for chunk in stream:
                    got.append(chunk)  # noqa: PERF401 # read one by one

        await nursery.start(read)
        kernel.drain()
        assert not kernel.readiness().ready
        with pytest.raises(Draining):
            await kernel.execute(ASK)
        await kernel.wait_drained()
        assert len(got) == 10


async def test_calls_that_outlast_the_drain_are_ended_with_the_reason(autojump_clock: MockClock) -> None:
    """H4: in-band by the frontend; here as `Draining` on leaving the stream."""
    provider = ScriptedProvider(Script(chunks=[Chunk(b"x")] * 1000, gap=1))
    text = '[turnout]\ndrain = "5s"\n' + TOML
    async with scripted_kernel(text, {"scripted": provider}) as kernel, trio.open_nursery() as nursery:
        ended: list[float] = []

        async def read(task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
            with pytest.raises(Draining):
                async with kernel.stream(ASK) as stream:
                    task_status.started()
                    async for _ in stream:
                        pass
            ended.append(trio.current_time())

        await nursery.start(read)
        began = trio.current_time()
        kernel.drain()
        await kernel.wait_drained()
        assert math.isclose(ended[0] - began, 5)
        assert provider.open_streams == 0


class Ear:
    api: ClassVar[int] = 1

    def __init__(self) -> None:
        self.heard: list[Event] = []

    async def hear(self, event: Event) -> None:
        self.heard.append(event)

    def expose(self) -> dict[str, str]:
        return {"text/plain": f"heard {len(self.heard)}\n"}


async def test_an_observer_hears_registrations_outcomes_and_decisions(autojump_clock: MockClock) -> None:
    """C2.7: after the change is visible."""
    ear = Ear()
    async with scripted_kernel(
        TOML + "[observers.ear]\n", {"scripted": ScriptedProvider()}, observers={"ear": ear}
    ) as kernel:
        await kernel.execute(ASK)
        await trio.sleep(1)
        assert [type(event) for event in ear.heard] == [CredentialRegistered, OutcomeRecorded, CallDecided]
        assert kernel.expose() == {"text/plain": "heard 3\n"}


async def test_an_observer_that_raises_or_hangs_harms_nobody(autojump_clock: MockClock) -> None:
    """O25, H8, H9, H12."""

    class Deaf(Ear):
        async def hear(self, event: Event) -> None:
            await super().hear(event)
            if len(self.heard) % 2:
                raise ZeroDivisionError
            await trio.sleep_forever()

    deaf, ear = Deaf(), Ear()
    text = TOML + "[observers.deaf]\n[observers.ear]\n"
    async with scripted_kernel(text, {"scripted": ScriptedProvider()}, observers={"deaf": deaf, "ear": ear}) as kernel:
        began = trio.current_time()
        for _ in range(3000):
            await kernel.execute(ASK)
        assert trio.current_time() == began
        await trio.sleep(30)
        assert len(deaf.heard) > 2
        assert ear.heard


class Opening:
    """A selector that fails or hangs while it is opened or closed."""

    api: ClassVar[int] = 1
    mode: ClassVar[str] = ""

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: object, context: Any) -> AsyncIterator["Opening"]:
        if cls.mode == "raise":
            raise ZeroDivisionError
        if cls.mode == "exit":
            raise SystemExit
        if cls.mode == "hang":
            await trio.sleep_forever()
        try:
            if cls.mode == "leak a task":
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(trio.sleep_forever)
                    yield cls()
            else:
                yield cls()
        finally:
            if cls.mode == "hang at the end":
                await trio.sleep_forever()
            if cls.mode == "raise at the end":
                raise ZeroDivisionError

    def select(self, ready: Any, ask: Ask, draw: object) -> Any:
        return ready.best.first()


def with_selector(mode: str) -> Plugins:
    provider, store = ScriptedProvider(), MemoryStore()

    class NoTransport:
        api: ClassVar[int] = 1

        def for_credential(self, credential: Credential) -> None:
            return None

    return Plugins.of(
        {
            "turnout.providers": {"scripted": given(provider)},
            "turnout.stores": {"memory": given(store)},
            "turnout.transports": {"none": NoTransport},
            "turnout.selectors": {"odd": type("Odd", (Opening,), {"mode": mode})},
        }
    )


ODD = parse_config('[turnout]\nselector = "odd"\nstore = "memory"\ntransport = "none"\n' + TOML)


@pytest.mark.parametrize("mode", ["raise", "exit", "hang"])
async def test_a_plugin_that_does_not_open_is_named_and_nothing_is_left(mode: str, autojump_clock: MockClock) -> None:
    """H8, H9."""
    before = tasks()
    with pytest.raises(PluginError, match="odd"):
        async with open_kernel(ODD, plugins=with_selector(mode)):
            pytest.fail("it opened")
    assert tasks() == before


@pytest.mark.parametrize("mode", ["hang at the end", "raise at the end", "leak a task"])
async def test_a_plugin_that_does_not_close_is_cut_off(mode: str, autojump_clock: MockClock) -> None:
    """H9."""
    before = tasks()
    async with open_kernel(ODD, plugins=with_selector(mode)) as kernel:
        await kernel.execute(ASK)
        began = trio.current_time()
    assert tasks() == before
    assert trio.current_time() - began <= 10


async def test_every_plugin_that_cannot_be_loaded_is_told_at_once(autojump_clock: MockClock) -> None:
    """H11: nothing is opened."""
    config = parse_config('[turnout]\nselector = "nosuch"\nstore = "neither"\n' + TOML)
    with pytest.raises(ConfigError) as caught:
        async with open_kernel(config, plugins=with_selector("")):
            pytest.fail("it opened")
    assert len(caught.value.problems) == 3
    assert "nosuch" in str(caught.value)
    assert "neither" in str(caught.value)


async def test_a_strategy_that_nobody_offers_is_refused_and_not_replaced(autojump_clock: MockClock) -> None:
    """O14, C15: strategies are selectors, by name; there is no third value that silently means round robin."""
    config = parse_config('[turnout]\nselector = "ff"\nstore = "memory"\ntransport = "none"\n' + TOML)
    with pytest.raises(ConfigError, match="ff"):
        async with open_kernel(config, plugins=with_selector("")):
            pytest.fail("it opened")


async def test_a_selector_that_chooses_a_stranger_hurts_its_call_only(autojump_clock: MockClock) -> None:
    """H10, O25."""

    class Liar:
        api: ClassVar[int] = 1
        lies: ClassVar[list[object]] = ["a", object(), None]

        def select(self, ready: Any, ask: Ask, draw: object) -> Any:
            return self.lies.pop() if self.lies else ready.best.first()

    async with scripted_kernel(TOML, {"scripted": ScriptedProvider()}, selector=Liar()) as kernel:
        for error in (Exception, PluginError, PluginError):
            with pytest.raises(error):
                await kernel.execute(ASK)
        await kernel.execute(ASK)


async def test_a_selector_cannot_choose_again_what_was_tried_or_belongs_to_another_model(
    autojump_clock: MockClock,
) -> None:
    """H10: candidates are valid only during the pick that showed them."""

    class Hoarder:
        api: ClassVar[int] = 1

        def __init__(self) -> None:
            self.kept: Any = None

        def select(self, ready: Any, ask: Ask, draw: object) -> Any:
            self.kept = self.kept or ready.best.first()
            return self.kept

    text = TOML.replace('[{ name = "m" }]', '[{ name = "m" }, { name = "n" }]').replace(
        "credentials = [", 'credentials = [{ name = "b", api_key = "key-b-0123456789" }, '
    )
    provider = ScriptedProvider()
    async with scripted_kernel(text, {"scripted": provider}, selector=Hoarder()) as kernel:
        await kernel.execute(ASK)
        with pytest.raises(PluginError):
            await kernel.execute(Ask(model="n"))
        provider.script(Script(failure=RateLimited(retry_after=60)))
        with pytest.raises(PluginError):
            await kernel.execute(ASK)
        assert len(provider.calls) == 2


async def test_credentials_of_the_store_join_those_of_the_file(autojump_clock: MockClock) -> None:
    """C3.4."""
    from_store = Credential(id="kept", provider="scripted", metadata=Metadata({"access_token": "t"}))
    stranger = Credential(id="other", provider="unknown", metadata=Metadata({"access_token": "t"}))
    store = MemoryStore()
    provider = ScriptedProvider()
    async with scripted_kernel(TOML, {"scripted": provider}, store=store):
        pass
    for credential in (from_store, stranger):
        await store.save("secret", credential.id, encode_credential(credential), 0)
    async with scripted_kernel(TOML, {"scripted": provider}, store=store) as kernel:
        for _ in range(4):
            await kernel.execute(ASK)
        assert provider.called() == ["a", "kept", "a", "kept"]
    assert ("secret", "other") in store.records


TWO = """
[retry]
max_wait = "0s"
[health]
keep_last = false
half_open = false
blame_routes = false
[providers.scripted]
models = [{ name = "m" }]
credentials = [{ name = "a", api_key = "key-a-0123456789" }, { name = "b", api_key = "key-b-0123456789" }]
"""

LIMITED, BROKEN = RateLimited(retry_after=100), Unauthorized()

LISTED: tuple[tuple[Failure | None, Failure | None, tuple[int, ...]], ...] = (
    (None, BROKEN, (1,)),
    (LIMITED, LIMITED, (0,)),
    (LIMITED, BROKEN, ()),
    (BROKEN, BROKEN, ()),
)


@pytest.mark.parametrize(("a", "b", "ready"), LISTED)
async def test_a_model_is_listed_while_somebody_is_ready_or_all_wait_for_rate_limits(
    a: Failure | None, b: Failure | None, ready: tuple[int, ...], autojump_clock: MockClock
) -> None:
    """C16.5 with O60, O61: what is broken vanishes, and is back when its time has come."""
    provider = ScriptedProvider()
    for name, failure in (("a", a), ("b", b)):
        provider.script(Script(failure=failure), credential=name)
    async with scripted_kernel(TWO, {"scripted": provider}) as kernel:
        for name in "ab":
            with suppress(UpstreamFailed):
                await kernel.execute(Ask(model="m", pin=name))
        assert tuple(model.ready for model in kernel.models()) == ready
        await trio.sleep(31 * 60)
        assert [model.ready for model in kernel.models()] == [2]


async def test_a_kernel_is_ready_while_its_only_credential_is_probed(autojump_clock: MockClock) -> None:
    """Design 8: what a balancer sees does not change for the length of a probe; a rest it does see."""
    provider = ScriptedProvider()
    provider.script(Script(failure=RateLimited(retry_after=5)), Script(wait=20))
    async with scripted_kernel(TOML_PROBED, {"scripted": provider}) as kernel, trio.open_nursery() as nursery:
        with pytest.raises(UpstreamFailed):
            await kernel.execute(Ask(model="m"))
        assert not kernel.readiness().ready
        await trio.sleep(6)
        nursery.start_soon(kernel.execute, Ask(model="m"))
        await trio.sleep(10)
        assert kernel.readiness().ready


TOML_PROBED = """
[retry]
max_wait = "0s"
[providers.scripted]
models = [{ name = "m" }]
credentials = [{ name = "a", api_key = "key-a-0123456789" }]
"""
