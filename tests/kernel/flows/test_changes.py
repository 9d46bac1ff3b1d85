"""Credentials, plugins and settings while the kernel runs (C2, C3, C5.13)."""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import attrs
import pytest
import trio
from trio.testing import MockClock

from turnout import Ask, Credential, Metadata, RateLimited, Record, parse_config
from turnout._alias_tables import Channel
from turnout._config import Config
from turnout.abc import Candidate, Ready
from turnout.errors import (
    ConfigError,
    CoolingDown,
    InvalidAsk,
    NoCredential,
    PluginError,
    StoreError,
    UnknownModel,
)
from turnout.testing import (
    Announce,
    Disable,
    Enable,
    Execute,
    MemoryStore,
    Models,
    Pick,
    RecordOutcome,
    Refresh,
    Register,
    Reload,
    Remove,
    Renewal,
    Scenario,
    Script,
    ScriptedProvider,
    Together,
    Update,
    Wait,
    scripted_kernel,
)
from turnout.testing._house import scripted_config
from turnout.testing._steps import Series

CONFIG = """
[retry]
max_wait = "0s"
[providers.p]
models = [{ name = "m" }]
credentials = [{ name = "a", api_key = "key-of-a-0123456789" }, { name = "b", api_key = "key-of-b-0123456789" }]
"""
KEPT = Credential(id="t", provider="p", metadata=Metadata({"token": "t0"}))


# --- credentials -----------------------------------------------------------------------------------------------------


def test_the_emptiest_configuration_serves() -> None:
    """C3.1: with the budgets of design 11 in place of the seed's zeros, no alias, and nobody who listens."""
    config: Config = parse_config("")
    assert (config.retry.passes, config.retry.max_wait, config.retry.max_credentials) == (4, 30.0, 0)
    assert not config.oauth_aliases
    report = Scenario(
        config='[providers.p]\nmodels = [{ name = "m" }]\n', credentials=[KEPT], steps=[Execute("m")]
    ).run()
    assert report.called == ["t"]


def test_a_credential_that_is_off_stays_listed_and_one_that_is_removed_does_not() -> None:
    """C3.5, C3.5.2 with O18: removal is real, everywhere; disabling keeps the record."""
    steps = [Disable("a"), Pick("m"), Pick("m"), Register(KEPT), Wait(1), Remove("t"), Remove("b"), Pick("m"), Models()]
    report = Scenario(config=CONFIG, steps=steps).run()
    assert report.values[1:3] == ["b", "b"]
    assert set(report.credentials) == {"a"}
    assert report.credentials["a"].disabled
    assert isinstance(report.errors[7], UnknownModel)
    assert report.values[8] == ()
    assert not [key for key in report.records if key[1] in {"t", "b"}]


async def test_what_is_handed_out_is_a_snapshot_that_nobody_can_change() -> None:
    """C3.5.1, C1.6.1, C5.13.5, C2.1.1 with O26: lists, look-ups and what a provider is given."""
    provider = ScriptedProvider()
    async with scripted_kernel(CONFIG, {"p": provider}) as kernel:
        assert {one.id for one in kernel.credentials.list()} == {"a", "b"}
        assert kernel.credentials.get("") is None
        assert kernel.credentials.get("nobody") is None
        before = kernel.credentials.get("a")
        assert before is not None
        await kernel.execute(Ask(model="m", pin="a"))
        given = provider.calls[0].credential
        for snapshot in (before, given, kernel.credentials.list()[0]):
            with pytest.raises(attrs.exceptions.FrozenInstanceError):
                snapshot.label = "mine"  # type: ignore[misc]  # that is the point
            with pytest.raises(TypeError):
                snapshot.attributes["priority"] = "9"  # type: ignore[index]  # that is the point
        await kernel.credentials.update(attrs.evolve(before, label="new"))
        assert (before.label, given.label) == ("", "")
        after = kernel.credentials.get("a")
        assert after is not None
        assert after.label == "new"


def test_the_schedule_follows_what_is_announced_by_itself() -> None:
    """C3.8.1 with O12: newcomers get traffic while others are ready, and what is withdrawn is not picked any more."""
    report = Scenario(
        config=CONFIG,
        steps=[
            Pick("m"),
            Announce("b", ["other"]),
            *[Pick("m")] * 3,
            Pick("other"),
            Announce("b", ["m"]),
            *[Pick("m")] * 4,
            Pick("other"),
        ],
    ).run()
    assert report.values[2:5] == ["a", "a", "a"]
    assert report.values[5] == "b"
    assert sorted(report.values[7:11]) == ["a", "a", "b", "b"]
    assert isinstance(report.errors[11], UnknownModel)


def test_enabling_brings_a_credential_back_with_its_cooldown() -> None:
    """C3.3, O23: the operator's switch and what outcomes say are two things."""
    report = Scenario(
        config=CONFIG,
        steps=[
            RecordOutcome("a", RateLimited(retry_after=60), "m"),
            Disable("a"),
            Enable("a"),
            Pick(Ask(model="m", pin="a")),
            Wait(60),
            Pick(Ask(model="m", pin="a")),
        ],
    ).run()
    assert isinstance(report.errors[3], CoolingDown)
    assert report.values[5] == "a"


# --- providers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("written", ["p", " P ", "P"])
def test_a_provider_is_found_under_one_spelling(written: str) -> None:
    """C3.6.2 with O24: normalised once, where it enters."""
    newcomer = Credential(id="z", provider=written, attributes={"priority": "5"})
    report = Scenario(config=CONFIG, steps=[Register(newcomer), Execute("m")]).run()
    assert report.called == ["z"]
    assert report.credentials["z"].provider == "p"


def test_a_configured_provider_has_one_spelling_too() -> None:
    """C3.6.1 with O24: a key of another case is refused instead of kept beside the first."""
    with pytest.raises(ConfigError, match="lower-case"):
        Scenario(config=CONFIG.replace("providers.p", "providers.P")).run()


def test_a_credential_of_a_provider_that_is_not_there_is_refused() -> None:
    """C5.13.3, C3.6.2: `executor_not_found` cannot happen to a call."""
    orphan = Credential(id="z", provider="gone", metadata=Metadata({}))
    report = Scenario(
        config=CONFIG, steps=[Register(orphan), Update("a", changes={"provider": "gone"}), Execute("m")]
    ).run()
    assert [type(error) for error in report.errors] == [InvalidAsk, InvalidAsk, type(None)]
    assert set(report.credentials) == {"a", "b"}


class Remembering(ScriptedProvider):
    """Keeps sessions."""

    def __init__(self) -> None:
        super().__init__(Script(wait=5))
        self.ended: list[tuple[float, str]] = []

    async def close_session(self, session: str) -> None:
        self.ended.append((trio.current_time(), session))


async def test_a_provider_that_goes_away_ends_its_sessions_when_its_calls_are_over(autojump_clock: MockClock) -> None:
    """C3.6.1, C3.6.3, C2.2 with O24, O64: one that stays is told nothing."""
    staying, going = Remembering(), Remembering()
    other = (
        '[providers.q]\nmodels = [{ name = "n" }]\ncredentials = [{ name = "z", api_key = "key-of-z-0123456789" }]\n'
    )
    async with scripted_kernel(CONFIG + other, {"p": staying, "q": going}) as kernel, trio.open_nursery() as nursery:
        nursery.start_soon(kernel.execute, Ask(model="n"))
        await trio.sleep(1)
        await kernel.reload(scripted_config(CONFIG))
        with pytest.raises(UnknownModel):
            await kernel.execute(Ask(model="n"))
        await trio.sleep(3)
        assert going.ended == []
        await trio.sleep(3)
        assert going.ended == [(5.0, "__all_execution_sessions__")]
        assert staying.ended == []


async def test_a_session_that_cannot_be_ended_does_not_hold_up_a_reload(autojump_clock: MockClock) -> None:
    """O24, H9: it is bounded."""

    class Stuck(Remembering):
        async def close_session(self, session: str) -> None:
            await trio.sleep_forever()

    other = '[providers.q]\nmodels = [{ name = "n" }]\n'
    async with scripted_kernel(CONFIG + other, {"p": Remembering(), "q": Stuck()}) as kernel:
        await kernel.reload(scripted_config(CONFIG))
        await trio.sleep(60)
        assert trio.current_time() == 60


# --- transport -------------------------------------------------------------------------------------------------------


class Wires:
    """A transport that gives each credential a wire of its own."""

    api: ClassVar[int] = 1

    def __init__(self, kind: str = "wire") -> None:
        self.asked: list[str] = []
        self._kind = kind

    def for_credential(self, credential: Credential) -> Any:
        self.asked.append(credential.id)
        return f"{self._kind} of {credential.id}"


async def test_the_transport_is_asked_once_per_attempt_and_its_answer_goes_with_the_call() -> None:
    """C2.8: for counts and streams as for executions; not for a credential that is not called."""
    wires = Wires()
    provider = ScriptedProvider()
    provider.script(Script(failure=RateLimited(retry_after=9)), credential="a")
    config = f'[turnout]\ntransport = "wires"\n{CONFIG}'
    async with scripted_kernel(config, {"p": provider}, transports={"wires": wires}) as kernel:
        await kernel.execute(Ask(model="m"))
        await kernel.count(Ask(model="m"))
        async with kernel.stream(Ask(model="m")):
            pass
    assert wires.asked == provider.called() == ["a", "b", "b", "b"]
    assert [str(call.transport) for call in provider.calls] == ["wire of a", "wire of b", "wire of b", "wire of b"]


async def test_a_refresh_goes_over_the_credentials_own_transport() -> None:
    """O58 against C2.8: the same as executions."""

    class Renewing(ScriptedProvider):
        given: ClassVar[list[object]] = []

        def refresh_lead(self, credential: Credential) -> None:
            return None

        async def refresh(self, credential: Credential, transport: object) -> None:
            self.given.append(transport)

    provider = Renewing()
    config = f'[turnout]\ntransport = "wires"\n{CONFIG}'
    async with scripted_kernel(config, {"p": provider}, transports={"wires": Wires()}) as kernel:
        await kernel.credentials.register(KEPT)
        await kernel.credentials.refresh("t")
    assert provider.given == ["wire of t"]


async def test_another_transport_serves_from_the_next_call_on() -> None:
    """C3.8: the transport can be swapped."""
    wires, cables = Wires(), Wires("cable")
    provider = ScriptedProvider()
    transports = {"wires": wires, "cables": cables}
    config = f'[turnout]\ntransport = "wires"\n{CONFIG}'
    async with scripted_kernel(config, {"p": provider}, transports=transports) as kernel:
        await kernel.execute(Ask(model="m"))
        await kernel.reload(scripted_config(config.replace('"wires"', '"cables"')))
        await kernel.execute(Ask(model="m"))
    assert [str(call.transport) for call in provider.calls] == ["wire of a", "cable of b"]


async def test_other_oauth_aliases_are_in_force_at_once() -> None:
    """C3.8, C15.2: the old ones stop working immediately."""

    class Channelled(ScriptedProvider):
        channel = Channel("claude", keys=True)

    provider = Channelled()
    old = CONFIG + '[[oauth_aliases.claude]]\nname = "m"\nalias = "old"\n'
    async with scripted_kernel(old, {"p": provider}) as kernel:
        await kernel.execute(Ask(model="old"))
        await kernel.reload(scripted_config(old.replace('"old"', '"new"')))
        await kernel.execute(Ask(model="new"))
        with pytest.raises(UnknownModel):
            await kernel.execute(Ask(model="old"))
    assert [call.model for call in provider.calls] == ["m", "m"]


# --- store -----------------------------------------------------------------------------------------------------------


@attrs.define(eq=False)
class Ledgered:
    """A store that says what was asked of it, slowly."""

    api: ClassVar[int] = 1

    memory: MemoryStore = attrs.field(factory=MemoryStore)
    done: list[str] = attrs.field(factory=list)
    takes: float = 0.0

    async def list(self) -> Iterable[Record]:
        self.done.append("list")
        await trio.sleep(self.takes)
        return await self.memory.list()

    async def save(self, kind: str, id: str, data: bytes, if_version: int | None) -> int:
        self.done.append(f"save {kind} {id}")
        await trio.sleep(self.takes)
        return await self.memory.save(kind, id, data, if_version)

    async def delete(self, kind: str, id: str) -> None:
        self.done.append(f"delete {kind} {id}")
        await self.memory.delete(kind, id)


def test_the_store_is_listed_once_saved_to_and_deleted_from() -> None:
    """C2.6, C3.4, C3.7 with O18."""
    store = Ledgered()
    Scenario(
        config=CONFIG, store=store, steps=[Register(KEPT), Wait(5), Execute("m"), Wait(5), Remove("t"), Wait(5)]
    ).run()
    assert store.done[0] == "list"
    assert store.done.count("list") == 1
    assert store.done.count("save secret t") == 1
    assert store.done[-1] == "delete secret t"
    assert not [line for line in store.done if line.endswith((" a", " b"))]  # keys of the file are kept nowhere else


async def test_calls_go_on_while_another_store_is_read(autojump_clock: MockClock) -> None:
    """O21, C3.8: listed first, swapped afterwards."""
    slow = Ledgered(takes=10)
    stores = {"memory": MemoryStore(), "slow": slow}
    async with (
        scripted_kernel(CONFIG, {"p": ScriptedProvider()}, stores=stores) as kernel,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(kernel.reload, scripted_config(f'[turnout]\nstore = "slow"\n{CONFIG}'))
        await trio.sleep(5)
        assert slow.done == ["list"]
        await kernel.execute(Ask(model="m"))
        assert trio.current_time() == 5


async def test_a_store_that_cannot_be_read_changes_nothing(autojump_clock: MockClock) -> None:
    """C3.4, O20, O21: the failure is the answer."""
    broken = MemoryStore()
    broken.broken = "the disk is gone"
    with pytest.raises(StoreError, match="the disk is gone"):
        async with scripted_kernel(CONFIG, {"p": ScriptedProvider()}, store=broken):
            pass
    stores = {"memory": MemoryStore(), "broken": broken}
    async with scripted_kernel(CONFIG, {"p": ScriptedProvider()}, stores=stores) as kernel:
        with pytest.raises(StoreError):
            await kernel.reload(scripted_config(f'[turnout]\nstore = "broken"\n{CONFIG}'))
        await kernel.execute(Ask(model="m"))


def test_a_renewed_token_is_never_overwritten_by_an_older_one() -> None:
    """E4, E11, O53: an update in the middle of its saving; both survive, in memory and in the store."""
    store = Ledgered(takes=1.5)
    report = Scenario(
        config=CONFIG,
        credentials=[KEPT],
        store=store,
        refreshes={"t": [Renewal(takes=5)]},
        lead=None,
        steps=[
            Together([Refresh("t"), Series([Wait(6), Update("t", changes={"label": "mine"})])]),
            Wait(10),
        ],
    ).run()
    kept = store.memory.records["secret", "t"].data
    assert b"token-1" in kept
    assert b"mine" in kept
    metadata = report.credentials["t"].metadata
    assert metadata is not None
    assert metadata["access_token"] == "token-1"


# --- selectors -------------------------------------------------------------------------------------------------------


class Watching:
    """A selector of somebody else's: takes the last one, and remembers what it was shown."""

    api: ClassVar[int] = 1

    def __init__(self, answer: Callable[[Ready], Candidate | None]) -> None:
        self._answer = answer
        self.shown: list[list[str]] = []

    def select(self, ready: Ready, ask: Ask, draw: Callable[[], float]) -> Candidate | None:
        self.shown.append([one.id for tier in ready.tiers for one in tier])
        return self._answer(ready)


def test_a_strangers_selector_sees_the_same_ready_ones_as_ours() -> None:
    """C5.13.2, C2.5 with O6, D2: none that is blocked, tried, switched off or of another model; best tier first."""
    selector = Watching(lambda ready: list(ready.best)[-1])
    config = CONFIG.replace(
        '{ name = "b", api_key = "key-of-b-0123456789" }',
        '{ name = "b", api_key = "key-of-b-0123456789" }, { name = "c", api_key = "key-of-c-0123456789" },'
        ' { name = "low", api_key = "key-of-low-0123456789", priority = -1 }',
    )
    report = Scenario(
        config=config,
        selector=selector,
        scripts={"c": [RateLimited(retry_after=60)]},
        steps=[Execute("m"), Disable("a"), Execute("m(high)"), Announce("b", ["n"]), Execute("m")],
    ).run()
    assert selector.shown == [["a", "b", "c", "low"], ["a", "b", "low"], ["b", "low"], ["low"]]
    assert report.called == ["c", "b", "b", "low"]


def test_a_selector_that_chooses_nobody_leaves_the_call_without_one() -> None:
    """C5.13.2, C2.5, C6.1."""
    report = Scenario(config=CONFIG, selector=Watching(lambda _: None), steps=[Execute("m")]).run()
    assert isinstance(report.errors[0], NoCredential)
    assert str(report.errors[0]) == "selector returned no auth"
    assert report.calls == ()


def test_a_selector_that_fails_hurts_its_call_only() -> None:
    """C5.13.2, O25: the failure is told as the selector's."""

    def fail(ready: Ready) -> Candidate:
        raise ZeroDivisionError

    selector = Watching(fail)
    report = Scenario(config=CONFIG, selector=selector, steps=[Execute("m"), Models()]).run()
    assert isinstance(report.errors[0], PluginError)
    assert {model.name: model.ready for model in report.values[1]} == {"m": 2}


def test_a_strategy_that_does_not_exist_is_refused() -> None:
    """O14, C15: the seed took any other word for round robin."""
    with pytest.raises(ConfigError, match="in-order"):
        Scenario(config=f'[turnout]\nselector = "fastest-ever"\n{CONFIG}').run()


@pytest.mark.parametrize("lead", [None, 0.0, -5.0])
def test_a_lead_of_nothing_means_never_by_itself(lead: float | None) -> None:
    """O14, C11.3.5, C2.4: only positive leads count; there is no branch for zero."""
    token = Credential(id="t", provider="p", metadata=Metadata({"expires_at": 1_800_000_100}))
    report = Scenario(
        config=CONFIG, credentials=[token], refreshes={"t": [Renewal()]}, lead=lead, steps=[Wait(90)]
    ).run()
    assert report.refreshes == ()


def test_settings_change_with_the_next_call() -> None:
    """C3.8, C15.2: budgets, aliases and cooling, all by a reload; rotations go on (O10)."""
    aliased = CONFIG.replace('{ name = "m" }', '{ name = "m" }, { name = "m", alias = "fast" }')
    hasty = CONFIG.replace('[retry]\nmax_wait = "0s"\n', "[retry]\npasses = 1\n")
    report = Scenario(
        config=CONFIG,
        steps=[
            Execute("m"),
            Reload(aliased),
            Execute("m"),
            Execute("fast"),
            Reload(hasty),
            Execute("fast"),
            Execute("m"),
        ],
    ).run()
    assert report.called == ["a", "b", "a", "a"]
    assert isinstance(report.errors[5], UnknownModel)


async def test_two_kernels_of_one_process_share_no_switch_and_no_list() -> None:
    """O63: neither what they serve, nor whether they let credentials cool."""
    warm = CONFIG.replace('"m"', '"n"') + "[health]\ncooling = false\n"
    cold, hot = ScriptedProvider(), ScriptedProvider()
    for provider in (cold, hot):
        provider.script(Script(failure=RateLimited()), credential="a")
    async with scripted_kernel(CONFIG, {"p": cold}) as one, scripted_kernel(warm, {"p": hot}) as two:
        await one.execute(Ask(model="m"))
        await two.execute(Ask(model="n"))
        assert [(model.name, model.ready) for model in one.models()] == [("m", 1)]
        assert [(model.name, model.ready) for model in two.models()] == [("n", 2)]


def test_no_setting_of_health_or_affinity_waits_for_a_restart() -> None:
    """C3.8, C15.2: nor those that the schedule and the table of sessions read by themselves."""
    probed = CONFIG + "[health]\nhalf_open = false\n"
    steps = [RecordOutcome("a", RateLimited(retry_after=5), "m"), RecordOutcome("b", RateLimited(retry_after=900), "m")]
    together = Together([Execute("m")] * 2)
    report = Scenario(config=CONFIG, default=Script(wait=1), steps=[*steps, Reload(probed), Wait(5), together]).run()
    assert report.called == ["a", "a"]

    warm = CONFIG + "[health]\ncooling = false\n"
    limited = RecordOutcome("a", RateLimited(), "m")
    pinned = Pick(Ask(model="m", pin="a"))
    report = Scenario(config=CONFIG, steps=[Reload(warm), limited, pinned, Reload(CONFIG), limited, pinned]).run()
    assert (report.values[2], type(report.errors[5])) == ("a", CoolingDown)

    mine = Ask(model="m", affinity="s")
    brief = CONFIG + '[affinity]\nttl = "10s"\n'
    report = Scenario(config=CONFIG, steps=[Reload(brief), Execute(mine), Wait(11), Execute(mine)]).run()
    assert report.called == ["a", "b"]
