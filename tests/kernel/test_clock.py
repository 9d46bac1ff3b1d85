"""Wall clocks that jump (K1, K3), and a process that was stopped (K2)."""

import pytest
import trio
from hypothesis import given, strategies
from trio.testing import MockClock

from turnout import (
    Ask,
    Chunk,
    Credential,
    CredentialState,
    Kernel,
    Metadata,
    ModelState,
    Quota,
    RateLimited,
    Transient,
    open_kernel,
    parse_config,
)
from turnout._clock import Clock
from turnout._shift import shifted
from turnout._values import CLEAN
from turnout.errors import CoolingDown, StoreError, UpstreamFailed
from turnout.testing import MemoryStore, Script, ScriptedProvider, scripted_plugins

ASK = Ask(model="m")
TOML = """
[turnout]
selector = "in-turn"
store = "memory"
transport = "none"
[retry]
max_wait = "0s"
[providers.scripted]
models = [{ name = "m" }]
credentials = [{ name = "a", api_key = "key-a-0123456789" }]
"""


class Wall:
    """A wall clock that can be set."""

    def __init__(self) -> None:
        self.offset = 1_800_000_000.0

    def __call__(self) -> float:
        return self.offset + trio.current_time()


@pytest.mark.parametrize("jump", [86_400, -86_400, -1_800_000_000, 3600, -3600])
async def test_a_cooldown_keeps_its_remaining_length_when_the_wall_clock_jumps(
    jump: float, autojump_clock: MockClock
) -> None:
    """K1, E13."""
    wall = Wall()
    provider = ScriptedProvider()
    provider.script(Script(failure=RateLimited(retry_after=500)))
    plugins = scripted_plugins({"scripted": provider}, store=MemoryStore())
    async with open_kernel(parse_config(TOML), plugins=plugins, wall=wall) as kernel:
        with pytest.raises(UpstreamFailed):
            await kernel.execute(ASK)
        await trio.sleep(100)
        wall.offset += jump
        await trio.sleep(300)
        with pytest.raises(CoolingDown) as caught:
            await kernel.execute(ASK)
        assert caught.value.until == pytest.approx(wall() + 100)
        await trio.sleep(100)
        await kernel.execute(ASK)


@pytest.mark.parametrize("jump", [86_400, -3600])
async def test_a_state_that_is_given_back_after_a_jump_keeps_its_remaining_length(
    jump: float, autojump_clock: MockClock
) -> None:
    """K1, design 8: two failures of one call blame the way, and between them the clock was set."""
    wall = Wall()
    provider = ScriptedProvider()
    soon, late = (Script(wait=wait, failure=Transient()) for wait in (1, 5))
    provider.script(soon, late, credential="b")
    provider.script(Script(), Script(wait=60, failure=Transient()), credential="a")
    plugins = scripted_plugins({"scripted": provider}, store=MemoryStore())
    text = TOML.replace('789" }]', '789" }, { name = "b", api_key = "key-b-0123456789", priority = 1 }]')
    async with open_kernel(parse_config(text), plugins=plugins, wall=wall) as kernel, trio.open_nursery() as nursery:
        nursery.start_soon(kernel.execute, ASK)
        await trio.sleep(0.5)
        with pytest.raises(UpstreamFailed):
            nursery.start_soon(jump_of, wall, jump)
            await kernel.execute(ASK)
        assert provider.called() == ["b", "b", "a", "a"]
        until = kernel.credentials.state("b").models["m"].next_retry_after
        assert until == pytest.approx(wall() - trio.current_time() + 1 + 60)


async def jump_of(wall: Wall, by: float) -> None:
    await trio.sleep(20)
    wall.offset += by


async def streamed(kernel: Kernel) -> None:
    async with kernel.stream(ASK) as stream:
        assert [chunk.data async for chunk in stream] == [b"1", b"2"]


async def executed(kernel: Kernel) -> None:
    await kernel.execute(ASK)


LONG = {"stream": Script(chunks=[Chunk(b"1"), Chunk(b"2")], gap=40), "execute": Script(wait=40)}


@pytest.mark.parametrize("jump", [86_400, 3600, 0, -3600])
@pytest.mark.parametrize("operation", LONG)
async def test_a_success_that_was_under_way_does_not_end_a_bench_across_a_jump(
    operation: str, jump: float, autojump_clock: MockClock
) -> None:
    """K1, B32: nor does that of a stream, which is recorded at its end."""
    wall = Wall()
    provider = ScriptedProvider()
    provider.script(LONG[operation], Script(failure=RateLimited(retry_after=3600)))
    plugins = scripted_plugins({"scripted": provider}, store=MemoryStore())
    async with open_kernel(parse_config(TOML), plugins=plugins, wall=wall) as kernel:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(streamed if operation == "stream" else executed, kernel)
            await trio.sleep(10)
            with pytest.raises(UpstreamFailed):
                await kernel.execute(ASK)
            wall.offset += jump
        with pytest.raises(CoolingDown) as caught:
            await kernel.execute(ASK)
        assert caught.value.until == pytest.approx(wall() + 3600 - 30)
        await trio.sleep(3571)
        await kernel.execute(ASK)
        assert kernel.credentials.state("a").models["m"].last_error is None


@pytest.mark.parametrize("jump", [86_400, -3600])
async def test_a_failure_that_was_under_way_does_not_end_a_longer_bench_across_a_jump(
    jump: float, autojump_clock: MockClock
) -> None:
    """K1."""
    wall = Wall()
    provider = ScriptedProvider()
    brief, long = (RateLimited(retry_after=seconds) for seconds in (60, 3600))
    provider.script(Script(failure=brief, wait=40), Script(failure=long))
    plugins = scripted_plugins({"scripted": provider}, store=MemoryStore())
    async with open_kernel(parse_config(TOML), plugins=plugins, wall=wall) as kernel:
        with pytest.raises(ExceptionGroup):
            async with trio.open_nursery(strict_exception_groups=True) as nursery:
                nursery.start_soon(executed, kernel)
                await trio.sleep(10)
                with pytest.raises(UpstreamFailed):
                    await kernel.execute(ASK)
                wall.offset += jump
        until = kernel.credentials.state("a").models["m"].next_retry_after
        assert until == pytest.approx(wall() + 3600 - 30)


class Renewing(ScriptedProvider):
    """Gives tokens that end so many seconds later by this clock, and tells when it was asked for one."""

    def __init__(self, wall: Wall, lasts: float, renewals: list[float]) -> None:
        super().__init__()
        self.wall, self.lasts, self.renewals = wall, lasts, renewals

    def refresh_lead(self, credential: Credential) -> float:
        return 300

    async def refresh(self, credential: Credential, transport: object) -> Credential:
        self.renewals.append(trio.current_time())
        data = {"access_token": "new", "expires_at": self.wall() + self.lasts}
        return Credential(id="o", provider="scripted", metadata=Metadata(data))


async def test_a_token_is_judged_by_the_new_clock(autojump_clock: MockClock) -> None:
    """K1: a token that has ended by the wall clock is renewed, once."""
    wall = Wall()
    renewals: list[float] = []
    plugins = scripted_plugins({"scripted": Renewing(wall, 3600, renewals)}, store=MemoryStore())
    async with open_kernel(parse_config(TOML), plugins=plugins, wall=wall) as kernel:
        data = {"access_token": "old", "expires_at": wall() + 50_000}
        await kernel.credentials.register(Credential(id="o", provider="scripted", metadata=Metadata(data)))
        await trio.sleep(1000)
        assert renewals == []
        wall.offset += 86_400
        await trio.sleep(60)
        assert len(renewals) == 1


@pytest.mark.parametrize("jump", [-86_400, -3600, 3600])
async def test_a_refresh_that_waits_for_the_store_waits_no_longer_when_the_clock_was_set(
    jump: float, autojump_clock: MockClock
) -> None:
    """E13, G2."""
    wall = Wall()
    renewals: list[float] = []
    store = MemoryStore()
    plugins = scripted_plugins({"scripted": Renewing(wall, 36_000, renewals)}, store=store)
    async with open_kernel(parse_config(TOML), plugins=plugins, wall=wall) as kernel:
        data = {"access_token": "old", "expires_at": wall() + 200}
        store.broken = "away"
        await trio.sleep(0.5)  # so that it does not look at the store in the instant in which the clock is looked at
        with pytest.raises(StoreError):
            await kernel.credentials.register(Credential(id="o", provider="scripted", metadata=Metadata(data)))
        await trio.sleep(100)
        wall.offset += jump
        await trio.sleep(100)
        data = {"access_token": "old too", "expires_at": wall() + 200}
        store.broken = ""
        await kernel.credentials.update(Credential(id="o", provider="scripted", metadata=Metadata(data)))
        await trio.sleep(10)
        assert len(renewals) == 1


async def test_a_small_difference_is_left_alone(autojump_clock: MockClock) -> None:
    wall = Wall()
    clock = Clock(wall)
    wall.offset += 4
    assert clock.take_anchor() == 0.0
    wall.offset += 2
    assert clock.take_anchor() == pytest.approx(6)
    assert clock.now() == pytest.approx(wall())


def test_a_clean_state_is_not_touched() -> None:
    assert shifted(CLEAN, 100.0) is CLEAN


@given(strategies.floats(-1e9, 1e9), strategies.floats(0, 1e9), strategies.none() | strategies.floats(0, 1e9))
def test_everything_that_waits_moves_by_the_same_length(by: float, at: float, recover: float | None) -> None:
    quota = Quota(exceeded=True, next_recover_at=recover, backoff_level=3)
    entry = ModelState(unavailable=True, next_retry_after=at, quota=quota)
    state = CredentialState(models={"m": entry}, next_retry_after=at, unavailable=True, updated_at=7.0)
    after = shifted(state, by)
    moved = after.models["m"]
    assert moved.next_retry_after == after.next_retry_after == at + by
    assert moved.quota.next_recover_at == (None if recover is None else recover + by)
    assert (moved.quota.backoff_level, after.updated_at) == (3, 7.0)
