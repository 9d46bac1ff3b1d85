"""How soon after one refresh another may begin, where calls ask for it and not the time (E8, E9)."""

import itertools

import attrs
import pytest
import trio
from trio.testing import MockClock

from turnout import Ask, Credential, Kernel, Metadata, Transient, Unauthorized
from turnout.errors import PoolError, TurnoutError, UpstreamFailed
from turnout.testing import Script, ScriptedProvider, scripted_kernel

ASK = Ask(model="m")
START = 1_800_000_000
REFUSED = Script(failure=Unauthorized(message="account closed"))
MODELS = '[providers.scripted]\nmodels = [{ name = "m" }, { name = "n" }]\n'
AT_ONCE = '[retry]\nmax_wait = "0s"\n' + MODELS


class Renewing(ScriptedProvider):
    """Renews tokens at once; a lead of None asks for nothing by itself."""

    def __init__(self, default: Script = Script(), *, lead: float | None = None, lasts: float = 36_000) -> None:  # noqa: B008 # frozen
        super().__init__(default)
        self.lead = lead
        self.lasts = lasts
        self.fails = False
        self.refreshed: list[float] = []

    def refresh_lead(self, credential: Credential) -> float | None:
        return self.lead

    async def refresh(self, credential: Credential, transport: object) -> Credential:
        self.refreshed.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        if self.fails:
            raise UpstreamFailed(Transient(message="busy"))
        return attrs.evolve(credential, metadata=tokens(len(self.refreshed), trio.current_time() + self.lasts))


def tokens(generation: int, ends: float) -> Metadata:
    """A login whose token ends so many seconds after the start."""
    return Metadata({"email": "a@example.test", "access_token": f"token-{generation}", "expires_at": START + ends})


def login(id: str = "a", *, ends: float) -> Credential:
    return Credential(id=id, provider="scripted", metadata=tokens(0, ends))


async def keep_calling(kernel: Kernel, seconds: float, *, every: float = 0.1) -> set[str]:
    """Call for so many seconds; gives the names of what came of it, "" for an answer."""
    found = set()
    for _ in range(round(seconds / every)):
        try:
            await kernel.execute(ASK)
        except TurnoutError as error:
            found.add(type(error).__name__)
        else:
            found.add("")
        await trio.sleep(every)
    return found


async def test_a_token_that_is_refused_right_after_its_refresh_rests_as_after_any_401(
    autojump_clock: MockClock,
) -> None:
    """B23, E9: one refresh, one more try with the new token, then half an hour of rest (C10.4)."""
    provider = Renewing(REFUSED)
    async with scripted_kernel(MODELS, {"scripted": provider}) as kernel:
        await kernel.credentials.register(login(ends=36_000))
        with pytest.raises(UpstreamFailed) as caught:
            await kernel.execute(ASK)
        assert caught.value.until == pytest.approx(START + 1800, abs=1)
        assert await keep_calling(kernel, 60) == {"Unavailable"}
        assert (len(provider.refreshed), provider.called()) == (1, ["a", "a"])
        await trio.sleep(1800)
        await keep_calling(kernel, 10)
        assert (len(provider.refreshed), provider.called()) == (2, ["a"] * 4), "the next 401 is worth the next refresh"


async def test_a_refusal_long_after_the_last_refresh_is_cured_though_by_our_clock_those_gain_nothing(
    autojump_clock: MockClock,
) -> None:
    """O48, O54: the clock makes the gaps grow; a 401 says that a new token is needed."""
    provider = Renewing(lead=300, lasts=-1)
    async with scripted_kernel(MODELS, {"scripted": provider}) as kernel:
        await kernel.credentials.register(login(ends=305))
        await trio.sleep(600)
        tries = len(provider.refreshed)
        provider.script(REFUSED)
        await kernel.execute(ASK)
        assert len(provider.refreshed) == tries + 1
        assert provider.refreshed[-1] - provider.refreshed[-2] < 480, (
            "by the clock alone it would have been minutes later"
        )


@pytest.mark.parametrize("lead", [300.0, None])
async def test_a_token_that_has_ended_when_it_comes_serves_and_makes_no_storm(
    lead: float | None, autojump_clock: MockClock
) -> None:
    """E9, O54: the clocks differ, or the upstream means it; ever longer gaps, and never below half a minute."""
    provider = Renewing(lead=lead, lasts=-1)
    async with scripted_kernel(MODELS, {"scripted": provider}) as kernel:
        await kernel.credentials.register(login(ends=-10))
        assert await keep_calling(kernel, 300) == {""}
        assert len(provider.refreshed) <= 4
        gaps = [later - sooner for sooner, later in itertools.pairwise(provider.refreshed)]
        assert all(gap >= 30 for gap in gaps)
        assert gaps == sorted(gaps)


async def test_whoever_insists_has_a_token_refreshed_that_has_just_been(autojump_clock: MockClock) -> None:
    provider = Renewing()
    async with scripted_kernel(MODELS, {"scripted": provider}) as kernel:
        await kernel.credentials.register(login(ends=36_000))
        for _ in range(3):
            await kernel.credentials.refresh("a")
        assert len(provider.refreshed) == 3


async def test_a_refused_token_is_not_refreshed_in_the_pause_after_a_failure(autojump_clock: MockClock) -> None:
    """E8: whatever has freed it of its 401 meanwhile, here the operator."""
    provider = Renewing(REFUSED)
    provider.fails = True
    async with scripted_kernel(AT_ONCE, {"scripted": provider}) as kernel:
        await kernel.credentials.register(login(ends=36_000))
        for _ in range(20):
            with pytest.raises(UpstreamFailed):
                await kernel.execute(ASK)
            await trio.sleep(1)
            kernel.credentials.reset("a")
        assert len(provider.refreshed) == 1
        await trio.sleep(30)
        with pytest.raises(UpstreamFailed):
            await kernel.execute(ASK)
        await trio.sleep(1)
        assert len(provider.refreshed) == 2


async def test_a_token_that_only_calls_have_renewed_rests_once_that_has_failed(autojump_clock: MockClock) -> None:
    """O57, E8: a provider that knows no lead is asked no more often than others, and the others serve."""
    provider = Renewing()
    provider.fails = True
    async with scripted_kernel(AT_ONCE, {"scripted": provider}) as kernel:
        await kernel.credentials.register(login("a", ends=3))
        await trio.sleep(4)
        assert await keep_calling(kernel, 20) == {"Unavailable"}
        assert (len(provider.refreshed), provider.called()) == (1, [])
        await kernel.credentials.register(login("b", ends=36_000))
        assert await keep_calling(kernel, 200) == {""}
        assert len(provider.refreshed) <= 4
        assert set(provider.called()) == {"b"}
        provider.fails = False
        await trio.sleep(600)
        await keep_calling(kernel, 1)
        assert "a" in provider.called()


async def test_a_token_that_ends_after_its_refresh_has_failed_rests_from_then_on(autojump_clock: MockClock) -> None:
    """O57, E8: the refresh was for a 401 of another model."""
    provider = Renewing()
    provider.fails = True
    provider.script(REFUSED)
    async with scripted_kernel(AT_ONCE, {"scripted": provider}) as kernel:
        await kernel.credentials.register(login(ends=3))
        with pytest.raises(UpstreamFailed):
            await kernel.execute(attrs.evolve(ASK, model="n"))
        await kernel.execute(ASK)
        await trio.sleep(4)
        with pytest.raises(PoolError) as caught:
            await kernel.execute(ASK)
        assert caught.value.until is not None
        assert START + 30 <= caught.value.until <= START + 41
        assert len(provider.refreshed) == 1


async def test_a_reset_has_a_failed_refresh_tried_again_at_once(autojump_clock: MockClock) -> None:
    """O22: of a token that has ended."""
    provider = Renewing()
    provider.fails = True
    async with scripted_kernel(AT_ONCE, {"scripted": provider}) as kernel:
        await kernel.credentials.register(login(ends=3))
        await trio.sleep(4)
        with pytest.raises(PoolError):
            await kernel.execute(ASK)
        provider.fails = False
        kernel.credentials.reset("a")
        await kernel.execute(ASK)
        assert len(provider.refreshed) == 2
