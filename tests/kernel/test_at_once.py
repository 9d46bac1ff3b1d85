"""The contract's first words: times, texts, and many calls at once (C0)."""

import pytest
import trio
from trio.testing import MockClock

from turnout import Ask, Credential, CredentialState, ModelState, RateLimited, Status
from turnout._standing import Kind, blocked
from turnout.errors import UnknownModel, UpstreamFailed
from turnout.testing import Script, ScriptedProvider, scripted_kernel

TOML = """
[retry]
max_wait = "0s"
[providers.scripted]
models = [{ name = "m" }]
credentials = [{ name = "a", api_key = "key-a-0123456789" }]
"""
ASK = Ask(model="m")


async def test_providers_are_trimmed_and_ignore_case_and_models_do_neither(autojump_clock: MockClock) -> None:
    """C0.1, O6."""
    assert Credential(id="x", provider=" Scripted ").provider == "scripted"
    async with scripted_kernel(TOML, {"scripted": ScriptedProvider()}) as kernel:
        with pytest.raises(UnknownModel):
            await kernel.execute(Ask(model="M"))


def test_an_unset_time_is_neither_past_nor_future() -> None:
    """C0.2, C4.2c."""
    entry = ModelState(status=Status.ERROR, unavailable=True, next_retry_after=None)
    state = CredentialState(models={"m": entry})
    for now in (-1e12, 0.0, 1e12):
        assert blocked(Credential(id="x", provider="p"), state, ("m",), now).kind is Kind.READY


async def test_a_cooldown_counts_from_its_recording_and_not_from_the_start_of_the_call(
    autojump_clock: MockClock,
) -> None:
    """C0.3."""
    provider = ScriptedProvider()
    provider.script(Script(wait=20, failure=RateLimited(retry_after=30)))
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel:
        began = trio.current_time()
        with pytest.raises(UpstreamFailed):
            await kernel.execute(ASK)
        until = kernel.credentials.state("a").models["m"].next_retry_after
        assert until == pytest.approx(1_800_000_000 + began + 50)


async def test_changes_of_calls_that_run_at_once_are_not_lost(autojump_clock: MockClock) -> None:
    """C0.4: eight failures are eight steps of the backoff, whatever their order."""
    provider = ScriptedProvider(Script(wait=1, failure=RateLimited()))
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel:

        async def fail() -> None:
            with pytest.raises(UpstreamFailed):
                await kernel.execute(ASK)

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(fail)
        assert len(provider.calls) == 8
        assert kernel.credentials.state("a").models["m"].quota.backoff_level == 8


async def test_equal_idempotency_keys_are_not_joined(autojump_clock: MockClock) -> None:
    """C-11: joining them is a feature that is not there; each call is its own, and the header is the upstream's."""
    provider = ScriptedProvider(Script(wait=1))
    ask = Ask(model="m", headers={"idempotency-key": "k1"})
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel, trio.open_nursery() as nursery:
        nursery.start_soon(kernel.execute, ask)
        nursery.start_soon(kernel.execute, ask)
    assert [call.ask.headers["idempotency-key"] for call in provider.calls] == ["k1", "k1"]
