"""Refreshes against scripted providers: when, how many at once, and what they leave."""

import itertools
import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio
from steps import Steps
from trio.testing import MockClock

from turnout import (
    Ask,
    Credential,
    Kernel,
    Metadata,
    PaymentRequired,
    RateLimited,
    Secret,
    Transient,
    Unauthorized,
    open_kernel,
)
from turnout._conduct import PASSED_OVER
from turnout._events import CredentialUpdated, Event, RefreshFailed
from turnout._records import decode_credential, decode_state
from turnout._values import CLEAN, ErrorRecord
from turnout.errors import DeadlineExceeded, NotSupported, PoolError, UpstreamFailed
from turnout.testing import MemoryStore, Script, ScriptedProvider, scripted_kernel, scripted_plugins
from turnout.testing._house import scripted_config

ASK = Ask(model="m")
START = 1_800_000_000


class Renewing(ScriptedProvider):
    """Renews tokens for an hour each; `lead` seconds before their end."""

    def __init__(self, default: Script = Script()) -> None:  # noqa: B008 # frozen
        super().__init__(default)
        self.refreshed: list[tuple[float, str]] = []
        self.at_once = 0
        self.most_at_once = 0
        self.lead: float | None = 300
        self.takes = 1.0
        self.answer: Callable[[Credential], Credential | None] | None = None
        self.failure: Any = None

    def refresh_lead(self, credential: Credential) -> float | None:
        return self.lead

    async def refresh(self, credential: Credential, transport: object) -> Credential | None:
        self.refreshed.append((trio.current_time(), credential.id))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await trio.sleep(self.takes)
        finally:
            self.at_once -= 1
        if self.failure is not None:
            raise UpstreamFailed(self.failure)
        return self.answer(credential) if self.answer else renewed(credential)


def renewed(credential: Credential, lasts: float = 3600) -> Credential:
    assert credential.metadata is not None
    generation = credential.metadata.get("generation", 0) + 1
    data = {
        **credential.metadata,
        "access_token": f"token-{generation}",
        "generation": generation,
        "expires_at": START + trio.current_time() + lasts,
    }
    return attrs.evolve(credential, metadata=Metadata(data))


def oauth(id: str, ends: float) -> Credential:
    """A credential whose token ends so many seconds after the start."""
    data = {"email": f"{id}@example.test", "access_token": "token-0", "expires_at": START + ends}
    return Credential(id=id, provider="scripted", metadata=Metadata(data))


def of_key(id: str) -> Credential:
    return Credential(id=id, provider="scripted", api_key=Secret("key-0123456789abcdef"))


TOML = '[retry]\nmax_wait = "30s"\n[providers.scripted]\nmodels = [{ name = "m" }]\n'


def metadata(kernel: Kernel, id: str) -> Metadata:
    credential = kernel.credentials.get(id)
    assert credential is not None
    assert credential.metadata is not None
    return credential.metadata


async def test_a_token_is_renewed_its_lead_before_it_ends(autojump_clock: MockClock) -> None:
    """C11.3.6, C11.4, O56: asleep until then."""
    provider = Renewing()
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel:
        await kernel.credentials.register(oauth("a", 1000))
        await trio.sleep(1100)
        ((at, id),) = provider.refreshed
        assert id == "a"
        assert 1000 - 300 * 1.1 <= at <= 1000 - 300
        assert metadata(kernel, "a")["access_token"] == "token-1"
        credential = kernel.credentials.get("a")
        assert credential is not None
        assert credential.last_refreshed_at == pytest.approx(START + at + 1)
        await trio.sleep(3600)
        assert len(provider.refreshed) == 2


async def test_a_rest_that_is_too_short_for_the_clock_is_slept_over(mock_clock: MockClock) -> None:
    """The refresh room must not spin: at 131.01 s on Trio's clock, what is added to it is at least 2.8e-14 s."""
    provider = Renewing()
    plugins = scripted_plugins({"scripted": provider})

    def wall() -> float:
        return trio.current_time() - 30.4

    async with open_kernel(scripted_config(TOML), plugins=plugins, wall=wall, draw=lambda: 0.0) as kernel:
        mock_clock.jump(131.01)
        due = math.nextafter(kernel._clock.now(), math.inf)
        assert trio.current_time() + (due - kernel._clock.now()) == trio.current_time()
        await kernel.credentials.register(attrs.evolve(oauth("a", -START), next_refresh_after=due))
        with Steps("refresh") as steps:
            for _ in range(100):
                await trio.lowlevel.checkpoint()
        assert steps.count < 10
        assert provider.refreshed == []
        mock_clock.jump(1)
        await trio.testing.wait_all_tasks_blocked()
        assert [id for _, id in provider.refreshed] == ["a"]
        mock_clock.autojump_threshold = 0


@pytest.mark.parametrize(("origins", "at_once"), [(1, 10), (4, 16)])
async def test_at_most_sixteen_run_at_once_and_ten_per_origin(
    autojump_clock: MockClock, origins: int, at_once: int
) -> None:
    """C11.1.2, C18, E1: each exactly once."""

    class Spread(Renewing):
        def token_origin(self, credential: Credential) -> str:
            return f"https://token-{int(credential.id[1:]) % origins}.test:443"

    provider = Spread()
    provider.takes = 20
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel:
        for number in range(100):
            await kernel.credentials.register(oauth(f"c{number}", 600))
        await trio.sleep(900)
        assert provider.most_at_once == at_once
        assert len(provider.refreshed) == len({id for _, id in provider.refreshed}) == 100


async def test_a_thousand_that_end_together_are_renewed_once_each_and_no_call_fails(autojump_clock: MockClock) -> None:
    """E1: a few at a time; calls meet tokens that are valid."""
    provider = Renewing()
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel:
        for number in range(1000):
            await kernel.credentials.register(oauth(f"c{number}", 600 + number % 60))
        for _ in range(150):
            await kernel.execute(ASK)
            await trio.sleep(5)
        assert len(provider.refreshed) == len({id for _, id in provider.refreshed}) == 1000
        assert provider.most_at_once <= 10
        per_second = Counter(int(at) for at, _ in provider.refreshed)
        assert max(per_second.values()) <= 30, "they do not come together"
        assert len(per_second) > 60


async def test_those_that_end_in_one_instant_do_not_come_together(autojump_clock: MockClock) -> None:
    """E1: spread by chance over the tenth of the lead; ten at a time they would be through in ten seconds."""
    provider = Renewing()
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel:
        for number in range(100):
            await kernel.credentials.register(oauth(f"c{number}", 600))
        await trio.sleep(310)
        times = [at for at, _ in provider.refreshed]
        assert len(times) == 100
        assert 600 - 300 * 1.1 <= min(times) < 600 - 300 * 1.08
        assert max(times) > 600 - 300 * 1.02


class Mind:
    """A runtime object that says itself when a refresh is due."""

    yes = False

    def should_refresh(self, now: float, credential: Credential) -> bool:
        return self.yes


async def test_a_runtime_object_says_when_a_refresh_is_due_and_cannot_make_a_storm(autojump_clock: MockClock) -> None:
    """C11.3.3, C2.3, O54: its word replaces the rules; one that says yes for ever is asked ever more slowly."""
    provider, mind = Renewing(), Mind()
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel:
        await kernel.credentials.register(attrs.evolve(oauth("a", 200), runtime=mind))
        await trio.sleep(100)
        assert provider.refreshed == []
        mind.yes = True
        await trio.sleep(61)
        assert len(provider.refreshed) == 1
        await trio.sleep(3600)
        gaps = [later - at for (at, _), (later, _) in itertools.pairwise(provider.refreshed)]
        assert gaps[:4] == pytest.approx([61, 121, 241, 481], abs=2)


async def test_a_runtime_objects_lead_goes_before_its_providers(autojump_clock: MockClock) -> None:
    """C11.4: unless it is not positive."""

    class Lead:
        def __init__(self, seconds: float) -> None:
            self.refresh_lead = lambda: seconds

    provider = Renewing()
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel:
        for id, lead in (("own", 600.0), ("zero", 0.0)):
            await kernel.credentials.register(attrs.evolve(oauth(id, 1000), runtime=Lead(lead)))
        await trio.sleep(900)
    (own, first), (zero, second) = provider.refreshed
    assert (first, second) == ("own", "zero")
    assert 400 - 60 <= own <= 400
    assert 700 - 30 <= zero <= 700


@pytest.mark.parametrize(("interval", "told"), [(7200, 1), (600, 0)])
async def test_an_interval_that_outlives_the_token_is_warned_of(
    interval: float, told: int, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    """O59: a token of an hour that is to be renewed every two hours."""
    credential = oauth("a", 1000)
    data = {**(credential.metadata or {}), "refresh_interval": interval}
    async with scripted_kernel(TOML, {"scripted": Renewing()}) as kernel:
        await kernel.credentials.register(attrs.evolve(credential, metadata=Metadata(data)))
        await kernel.credentials.refresh("a")
    lines = [record for record in caplog.records if "longer than its token lives" in record.getMessage()]
    assert len(lines) == told


async def test_a_slow_refresh_is_not_begun_again(autojump_clock: MockClock) -> None:
    """O55: one in flight per credential, known by the nursery."""
    provider = Renewing()
    provider.takes = 50
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel:
        await kernel.credentials.register(oauth("a", 10))
        await trio.sleep(40)
        await kernel.credentials.update(oauth("a", 11))
        await trio.sleep(9)
        assert len(provider.refreshed) == 1


async def test_a_refresh_that_hangs_is_given_up_and_tried_again(autojump_clock: MockClock) -> None:
    """E8: after a minute, which is less than its lease lasts; the token in use serves on."""
    provider = Renewing()
    provider.takes = math.inf
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel:
        await kernel.credentials.register(oauth("a", 10_000))
        began = trio.current_time()
        with pytest.raises(UpstreamFailed, match="took longer than 60 s"):
            await kernel.credentials.refresh("a")
        assert trio.current_time() - began == 60
        assert provider.at_once == 0
        await kernel.execute(ASK)
        provider.takes = 1
        await kernel.credentials.refresh("a")
        assert metadata(kernel, "a")["access_token"] == "token-1"


async def test_what_happens_during_a_refresh_survives_it(autojump_clock: MockClock) -> None:
    """O53, E11: a cooldown, the operator's switch and an edited field all stand, in the store as well."""
    provider, store = Renewing(), MemoryStore()
    provider.takes = 10
    async with scripted_kernel(TOML, {"scripted": provider}, store=store) as kernel:
        await kernel.credentials.register(oauth("a", 302))
        await trio.sleep(5)
        assert provider.at_once == 1
        provider.script(Script(failure=RateLimited(retry_after=500)))
        with pytest.raises(UpstreamFailed):
            await kernel.execute(ASK)
        edited = kernel.credentials.get("a")
        assert edited is not None
        await kernel.credentials.update(attrs.evolve(edited, label="renamed", disabled=True))
        await trio.sleep(30)
        after = kernel.credentials.get("a")
        assert after is not None
        assert (after.label, after.disabled) == ("renamed", True)
        assert metadata(kernel, "a")["access_token"] == "token-1"
        assert kernel.credentials.state("a").models["m"].unavailable
        kept = decode_credential(store.records["secret", "a"].data)
        assert (kept.label, kept.disabled, kept.metadata) == ("renamed", True, metadata(kernel, "a"))


async def test_a_credential_removed_during_its_refresh_stays_removed(autojump_clock: MockClock) -> None:
    provider = Renewing()
    provider.takes = 10
    store = MemoryStore()
    async with scripted_kernel(TOML, {"scripted": provider}, store=store) as kernel:
        await kernel.credentials.register(oauth("a", 302))
        await trio.sleep(5)
        await kernel.credentials.remove("a")
        await trio.sleep(30)
        assert kernel.credentials.get("a") is None
    assert store.records == {}


async def test_failures_are_tried_again_with_growing_gaps(autojump_clock: MockClock) -> None:
    """O57, E8: 30 s, doubled, at most an hour, with jitter; the old token serves meanwhile."""
    provider = Renewing()
    provider.failure = Transient(message="busy")
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel:
        await kernel.credentials.register(oauth("a", 50_000))
        provider.lead = 49_990
        await kernel.credentials.update(oauth("a", 50_000))
        await trio.sleep(20_000)
        times = [at for at, _ in provider.refreshed]
        gaps = [later - sooner for sooner, later in itertools.pairwise(times)]
        assert gaps[0] >= 30
        assert all(gap <= 3601 for gap in gaps)
        assert gaps == sorted(gaps) or max(gaps) > 2000
        assert len(times) < 20
        await kernel.execute(ASK)


async def test_an_expired_credential_whose_refresh_fails_is_not_called(autojump_clock: MockClock) -> None:
    """O57."""
    provider = Renewing()
    provider.failure = Transient(message="busy")
    text = TOML.replace('"30s"', '"0s"')
    async with scripted_kernel(text, {"scripted": provider}) as kernel:
        await kernel.credentials.register(oauth("a", 5))
        await trio.sleep(20)
        with pytest.raises(PoolError) as caught:
            await kernel.execute(ASK)
        assert caught.value.until is not None
        assert len(provider.refreshed) == 1, "its end is no reason to try again before its time"
        assert provider.calls == []
        await trio.sleep(40)
        tries = len(provider.refreshed)
        for _ in range(20):
            with pytest.raises(PoolError):
                await kernel.execute(ASK)
        assert len(provider.refreshed) == tries == 2, "calls do not have it tried again before its time"
        assert provider.calls == []
        provider.failure = None
        await trio.sleep(100)
        await kernel.execute(ASK)


async def test_a_token_that_has_ended_is_renewed_for_the_call_that_needs_it(autojump_clock: MockClock) -> None:
    """E3: nothing has failed, so it does not rest, though its record says to wait."""
    provider = Renewing()
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel:
        await kernel.credentials.register(attrs.evolve(oauth("a", 5), next_refresh_after=START + 1000.0))
        await trio.sleep(20)
        assert provider.refreshed == []
        await kernel.execute(ASK)
        assert [call.credential.metadata for call in provider.calls] == [metadata(kernel, "a")]
        assert metadata(kernel, "a")["access_token"] == "token-1"


@pytest.mark.parametrize("why", ["it has ended", "it was refused"])
async def test_no_call_waits_for_a_refresh_beyond_its_deadline(autojump_clock: MockClock, why: str) -> None:
    """D4."""
    provider = Renewing()
    provider.takes = math.inf
    provider.script(Script(failure=Unauthorized()))
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel:
        await kernel.credentials.register(
            attrs.evolve(oauth("a", 5 if why == "it has ended" else 10_000), next_refresh_after=START + 1000.0)
        )
        await trio.sleep(20)
        began = trio.current_time()
        with pytest.raises((DeadlineExceeded, UpstreamFailed)):
            await kernel.execute(attrs.evolve(ASK, deadline=7.0))
        assert trio.current_time() - began == pytest.approx(7)


async def test_many_that_wait_for_one_slow_origin_keep_nobody_else_waiting(autojump_clock: MockClock) -> None:
    """E1: who waits for a place at an origin has none of the sixteen."""

    class Slow(Renewing):
        def token_origin(self, credential: Credential) -> str:
            return f"https://{credential.label}.test:443"

        async def refresh(self, credential: Credential, transport: object) -> Credential | None:
            self.takes = 50 if credential.label == "slow" else 1
            return await super().refresh(credential, transport)

    provider = Slow()
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel, trio.open_nursery() as nursery:
        for number in range(30):
            await kernel.credentials.register(attrs.evolve(oauth(f"c{number}", 10_000), label="slow"))
            nursery.start_soon(kernel.credentials.refresh, f"c{number}")
        await trio.testing.wait_all_tasks_blocked()
        await kernel.credentials.register(attrs.evolve(oauth("quick", 10_000), label="quick"))
        began = trio.current_time()
        await kernel.credentials.refresh("quick")
        assert trio.current_time() - began == 1
        nursery.cancel_scope.cancel()


async def test_a_credential_that_comes_anew_has_no_failures_behind_it(autojump_clock: MockClock) -> None:
    """O57: another login under the same id is renewed when it is due."""
    provider = Renewing()
    provider.failure = Transient(message="busy")
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel:
        await kernel.credentials.register(oauth("a", 310))
        while len(provider.refreshed) < 6:  # noqa: ASYNC110  # right after one the pause is at least a quarter of an hour
            await trio.sleep(1)
        await trio.sleep(5)
        await kernel.credentials.remove("a")
        provider.failure = None
        await kernel.credentials.register(oauth("a", trio.current_time() + 310))
        await trio.sleep(60)
        assert len(provider.refreshed) == 7


async def test_a_refused_refresh_token_needs_a_login_and_is_never_tried_again(autojump_clock: MockClock) -> None:
    """E7: the token is kept."""
    provider = Renewing()
    provider.failure = Unauthorized(message="invalid_grant")
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel:
        await kernel.credentials.register(oauth("a", 305))
        await trio.sleep(80_000)
        assert len(provider.refreshed) == 1
        assert kernel.credentials.state("a").needs_login == "invalid_grant"
        assert metadata(kernel, "a")["access_token"] == "token-0"
        with pytest.raises(PoolError):
            await kernel.execute(ASK)


async def test_a_refresh_that_gains_nothing_is_not_repeated_at_once(autojump_clock: MockClock) -> None:
    """O54, E9: no storm when the expiry does not move."""
    provider = Renewing()
    provider.answer = lambda credential: renewed(credential, lasts=0)
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel:
        await kernel.credentials.register(oauth("a", 305))
        await trio.sleep(3600)
        times = [at for at, _ in provider.refreshed]
        assert 2 <= len(times) <= 12
        assert all(later - sooner >= 30 for sooner, later in itertools.pairwise(times))


async def test_many_calls_that_meet_one_expired_token_share_one_refresh(autojump_clock: MockClock) -> None:
    """E3: and a caller that gives up does not stop it for the others."""
    provider = Renewing()
    provider.takes = 5
    provider.lead = None
    seen: list[str] = []
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel:
        await kernel.credentials.register(oauth("a", -10))

        async def call(patience: float) -> None:
            with trio.move_on_after(patience):
                answer = await kernel.execute(ASK)
                seen.append(answer.decision.served_by)

        async with trio.open_nursery() as nursery:
            for number in range(200):
                nursery.start_soon(call, 1.0 if number == 0 else math.inf)
        assert len(provider.refreshed) == 1
        assert seen == ["a"] * 199
        assert {call.credential.metadata["access_token"] for call in provider.calls if call.credential.metadata} == {
            "token-1"
        }


SOUND = [of_key("b"), oauth("b", 10_000)]


@pytest.mark.parametrize("other", SOUND, ids=["a key", "a login"])
@pytest.mark.parametrize("picks", [1, 4])
async def test_nobody_waits_for_a_token_while_another_of_the_tier_is_sound(
    other: Credential, picks: int, autojump_clock: MockClock
) -> None:
    """E3: it is renewed meanwhile, and serves from then on."""
    provider = Renewing()
    provider.lead, provider.takes = None, 20
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel:
        await kernel.credentials.register(oauth("a", -10))
        await kernel.credentials.register(other)
        began = trio.current_time()
        for _ in range(picks):
            assert (await kernel.execute(ASK)).decision.served_by == "b"
        assert trio.current_time() == began
        await trio.sleep(21)
        assert provider.refreshed == [(began, "a")]
        assert {(await kernel.execute(ASK)).decision.served_by for _ in range(2)} == {"a", "b"}


@pytest.mark.parametrize(
    ("ask", "priority"),
    [(ASK, -1), (attrs.evolve(ASK, pin="a"), 0), (attrs.evolve(ASK, affinity="s"), 0)],
    ids=["a lower tier", "a pin", "a session"],
)
async def test_a_token_is_waited_for_where_another_credential_is_no_equal(
    ask: Ask, priority: int, autojump_clock: MockClock
) -> None:
    """C5.8, C5.11, C12: one whose token has ended is ready by C4."""
    provider = Renewing()
    provider.lead, provider.takes = None, 20
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel:
        await kernel.credentials.register(oauth("a", 5))
        await kernel.execute(attrs.evolve(ASK, affinity="s"))
        await kernel.credentials.register(attrs.evolve(of_key("b"), attributes={"priority": str(priority)}))
        await trio.sleep(6)
        began = trio.current_time()
        assert (await kernel.execute(ask)).decision.served_by == "a"
        assert trio.current_time() == began + 20


async def test_where_every_token_has_ended_the_first_is_waited_for_and_not_all_are_looked_at(
    autojump_clock: MockClock,
) -> None:
    """E1: a thousand that ended overnight do not cost one call a thousand picks."""
    provider = Renewing()
    provider.lead, provider.takes = None, 5
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel:
        for number in range(40):
            await kernel.credentials.register(oauth(f"c{number:02}", -10))
        began = trio.current_time()
        assert (await kernel.execute(ASK)).decision.served_by == "c00"
        assert trio.current_time() == began + 5
        assert len(provider.refreshed) == PASSED_OVER


async def test_a_401_of_a_refreshable_credential_triggers_one_refresh_and_unblocks(autojump_clock: MockClock) -> None:
    """O48, B23: the call itself goes on with the new token."""
    provider = Renewing()
    provider.script(Script(failure=Unauthorized()))
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel:
        await kernel.credentials.register(oauth("a", 10_000))
        await kernel.execute(ASK)
        assert len(provider.refreshed) == 1
        assert [call.credential.metadata["access_token"] for call in provider.calls if call.credential.metadata] == [
            "token-0",
            "token-1",
        ]


async def test_a_refresh_that_leaves_the_token_as_it_was_frees_it_as_well(autojump_clock: MockClock) -> None:
    """O48, C11.2: the provider says that it is good, so it may be used again."""
    provider = Renewing()
    provider.answer = lambda _: None
    provider.script(Script(failure=Unauthorized()))
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel:
        await kernel.credentials.register(oauth("a", 9000))
        await kernel.execute(ASK)
        assert provider.called() == ["a", "a"]
        assert not kernel.credentials.state("a").models["m"].unavailable


async def test_a_401_that_a_refresh_does_not_cure_is_not_refreshed_again_and_again(autojump_clock: MockClock) -> None:
    provider = Renewing(Script(failure=Unauthorized()))
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel:
        await kernel.credentials.register(oauth("a", 100_000))
        with pytest.raises(UpstreamFailed):
            await kernel.execute(ASK)
        assert len(provider.refreshed) <= 3


async def test_a_refresh_for_a_401_that_fails_is_tried_again_after_its_pause(autojump_clock: MockClock) -> None:
    """O48, E8: a token endpoint that is down for a moment must not cost half an hour."""
    provider = Renewing()
    provider.script(Script(failure=Unauthorized()))
    provider.failure = Transient(message="busy")
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel:
        await kernel.credentials.register(oauth("a", 100_000))
        with pytest.raises(UpstreamFailed):
            await kernel.execute(ASK)
        provider.failure = None
        await trio.sleep(45)
        (first, _), (second, _) = provider.refreshed
        assert 30 <= second - first <= 41
        await kernel.execute(ASK)
        await trio.sleep(1900)
        assert len(provider.refreshed) == 2


async def test_a_refresh_for_a_401_that_waits_for_the_store_is_made_up_for(autojump_clock: MockClock) -> None:
    """O48, F-5, G2: as soon as the store takes writes again."""
    provider, store = Renewing(), MemoryStore()
    provider.script(Script(failure=Unauthorized()))
    async with scripted_kernel(TOML, {"scripted": provider}, store=store) as kernel:
        await kernel.credentials.register(oauth("a", 100_000))
        store.broken = "no space left on device"
        with pytest.raises(UpstreamFailed):
            await kernel.execute(ASK)
        await trio.sleep(300)
        assert provider.refreshed == []
        store.broken = ""
        await trio.sleep(4)
        assert len(provider.refreshed) == 1
        await kernel.execute(ASK)


async def test_a_401_that_benches_over_a_restart_is_refreshed_by_whoever_comes_next(autojump_clock: MockClock) -> None:
    """O18, O48: the process that began its refresh is gone, the block is kept."""
    store = MemoryStore()
    for takes, expected in ((1000.0, "token-0"), (1.0, "token-1")):
        provider = Renewing()
        provider.takes = takes
        provider.script(Script(failure=Unauthorized()))
        async with scripted_kernel(TOML, {"scripted": provider}, store=store) as kernel:
            if not kernel.credentials.list():
                await kernel.credentials.register(oauth("a", 100_000))
                with trio.move_on_after(1):
                    await kernel.execute(ASK)
            await trio.sleep(2)
            assert len(provider.refreshed) == 1
            assert metadata(kernel, "a")["access_token"] == expected
    assert not decode_state(store.records["state", "a"].data).unavailable


async def test_a_late_401_of_the_old_token_does_not_bench_the_new_one(autojump_clock: MockClock) -> None:
    provider = Renewing()
    provider.script(Script(wait=20, failure=Unauthorized()))
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel, trio.open_nursery() as nursery:
        await kernel.credentials.register(oauth("a", 310))
        nursery.start_soon(kernel.execute, ASK)
        await trio.sleep(15)
        assert metadata(kernel, "a")["access_token"] == "token-1"
        await trio.sleep(6)
        assert len(provider.refreshed) == 1
        await kernel.execute(ASK)


async def test_a_cooling_credential_is_refreshed_and_a_disabled_one_is_not(autojump_clock: MockClock) -> None:
    """E10, C11.3.1."""
    provider = Renewing()
    provider.script(Script(failure=PaymentRequired()), credential="cooling")
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel:
        await kernel.credentials.register(oauth("cooling", 400))
        await kernel.credentials.register(attrs.evolve(oauth("off", 400), disabled=True))
        await kernel.credentials.register(of_key("key"))
        with pytest.raises(UpstreamFailed):
            await kernel.execute(Ask(model="m", pin="cooling"))
        await trio.sleep(500)
        assert [id for _, id in provider.refreshed] == ["cooling"]


async def test_no_refresh_is_begun_while_the_store_could_not_keep_its_token(autojump_clock: MockClock) -> None:
    """F-5: it is written to first; the token in use serves on, and the refresh is made up for."""
    provider, store = Renewing(), MemoryStore()
    async with scripted_kernel(TOML, {"scripted": provider}, store=store) as kernel:
        await kernel.credentials.register(oauth("a", 400))
        store.broken = "no space left on device"
        await trio.sleep(300)
        assert provider.refreshed == []
        await kernel.execute(ASK)
        store.broken = ""
        await trio.sleep(10)
        assert len(provider.refreshed) == 1
        kept = decode_credential(store.records["secret", "a"].data)
        assert kept.metadata is not None
        assert kept.metadata["access_token"] == metadata(kernel, "a")["access_token"] == "token-1"


async def test_restarts_bring_no_refresh_storm(autojump_clock: MockClock) -> None:
    """H7: what was renewed a moment ago is not due again, also where only the time of that renewal tells."""
    store, refreshed = MemoryStore(), list[tuple[float, str]]()

    def for_ever(credential: Credential) -> Credential:
        return attrs.evolve(credential, metadata=Metadata({"email": "a@example.test", "access_token": "token-1"}))

    for _ in range(5):
        provider = Renewing()
        provider.answer = for_ever
        async with scripted_kernel(TOML, {"scripted": provider}, store=store) as kernel:
            if not kernel.credentials.list():
                await kernel.credentials.register(oauth("a", 200))
            await trio.sleep(10)
        refreshed += provider.refreshed
    assert len(refreshed) == 1


async def test_a_renewed_token_is_in_the_store_before_it_is_used(autojump_clock: MockClock) -> None:
    """E4: calls go on with the old one while the new one is on its way to the disk."""
    used: list[tuple[str, str]] = []

    memory = MemoryStore()

    class Slow:
        api = 1
        list = memory.list
        delete = memory.delete

        async def save(self, kind: str, id: str, data: bytes, if_version: int | None) -> int:
            await trio.sleep(1.4)
            return await memory.save(kind, id, data, if_version)

    class Watching(Renewing):
        async def execute(self, call: Any) -> Any:
            stored = decode_credential(memory.records["secret", "a"].data)
            assert stored.metadata is not None
            used.append((stored.metadata["access_token"], call.credential.metadata["access_token"]))
            return await super().execute(call)

    provider = Watching()
    async with scripted_kernel(TOML, {"scripted": provider}, store=Slow()) as kernel:
        await kernel.credentials.register(oauth("a", 310))
        for _ in range(60):
            await kernel.execute(ASK)
            await trio.sleep(0.5)
    assert ("token-1", "token-1") in used
    assert all(stored == called for stored, called in used)


async def test_closing_lets_a_refresh_under_way_finish(autojump_clock: MockClock) -> None:
    """H6: bounded by ten seconds; O58: none outlives the kernel."""
    store = MemoryStore()
    for takes, expected in ((8.0, "token-1"), (1000.0, "token-0")):
        provider = Renewing()
        provider.takes = takes
        async with scripted_kernel(TOML, {"scripted": provider}, store=store) as kernel:
            await kernel.credentials.register(oauth("a", 10))
            await trio.sleep(1)
            assert provider.at_once == 1
            began = trio.current_time()
        assert trio.current_time() - began <= 10.1
        assert provider.at_once == 0
        stored = decode_credential(store.records["secret", "a"].data)
        assert stored.metadata is not None
        assert stored.metadata["access_token"] == expected
        store.records.clear()


async def test_a_kernel_that_has_closed_begins_no_refresh(autojump_clock: MockClock) -> None:
    """O58: whoever asks then, such as a call that ends late with a 401, is told so."""
    async with scripted_kernel(TOML, {"scripted": Renewing()}) as kernel:
        await kernel.credentials.register(oauth("a", 10_000))
    with pytest.raises(NotSupported):
        await kernel.credentials.refresh("a")


@pytest.mark.parametrize(("takes", "benched"), [(8.0, False), (1000.0, True)])
async def test_a_401_benches_over_a_restart_unless_its_refresh_ends_while_the_kernel_closes(
    autojump_clock: MockClock, takes: float, benched: bool
) -> None:
    """O18, O48, H6: a refresh under way is let finish, and what it cures is cured for whoever comes next."""
    store = MemoryStore()
    provider = Renewing()
    provider.takes = takes
    provider.script(Script(failure=Unauthorized()))
    async with scripted_kernel(TOML, {"scripted": provider}, store=store) as kernel:
        await kernel.credentials.register(oauth("a", 10_000))
        with trio.move_on_after(1):
            await kernel.execute(ASK)
        assert provider.at_once == 1
    async with scripted_kernel(TOML, {"scripted": provider}, store=store) as kernel:
        assert kernel.credentials.state("a").unavailable is benched
        assert metadata(kernel, "a")["access_token"] == ("token-0" if benched else "token-1")


@pytest.mark.parametrize("cure", ["refresh", "call"])
async def test_a_refresh_that_fails_leaves_its_message_and_nothing_else(autojump_clock: MockClock, cure: str) -> None:
    """C11.2: it goes with the next refresh that succeeds, or, as any error does, with the next success (C10.3)."""
    provider = Renewing()
    provider.failure = Transient(message="busy")
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel:
        await kernel.credentials.register(oauth("a", 10_000))
        with pytest.raises(UpstreamFailed):
            await kernel.credentials.refresh("a")
        state = kernel.credentials.state("a")
        assert state.last_error == ErrorRecord(message="busy")
        assert attrs.evolve(state, last_error=None, updated_at=None) == CLEAN
        provider.failure = None
        await (kernel.credentials.refresh("a") if cure == "refresh" else kernel.execute(ASK))
        assert kernel.credentials.state("a").last_error is None


async def test_of_a_credential_that_needs_a_login_only_another_secret_is_tried(autojump_clock: MockClock) -> None:
    """E7, B23: an address that is put right is none, whatever brings it."""
    provider = Renewing()
    provider.failure = Unauthorized(message="invalid_grant")
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel:
        await kernel.credentials.register(oauth("a", 310))
        await trio.sleep(400)
        assert kernel.credentials.state("a").needs_login == "invalid_grant"
        assert len(provider.refreshed) == 1
        known = metadata(kernel, "a")
        for edited in ({"email": "right@example.test"}, {"refresh_interval": 30}, {"request_retry": 2}):
            await kernel.credentials.update(attrs.evolve(oauth("a", 310), metadata=Metadata({**known, **edited})))
            await trio.sleep(100)
        assert kernel.credentials.state("a").needs_login == "invalid_grant"
        assert len(provider.refreshed) == 1
        await kernel.credentials.update(attrs.evolve(oauth("a", 310), metadata=Metadata({**known, "client": "other"})))
        await trio.sleep(100)
        assert len(provider.refreshed) == 2


async def test_whoever_insists_has_a_refused_token_tried_again(autojump_clock: MockClock) -> None:
    """E7: it is never tried again by itself; a person may know that the upstream has changed its mind."""
    provider = Renewing()
    provider.failure = Unauthorized(message="invalid_grant")
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel:
        await kernel.credentials.register(oauth("a", 10_000))
        for tries in (1, 2):
            with pytest.raises(UpstreamFailed, match="invalid_grant"):
                await kernel.credentials.refresh("a")
            assert len(provider.refreshed) == tries
            assert kernel.credentials.state("a").needs_login == "invalid_grant"
        provider.failure = None
        await kernel.credentials.refresh("a")
        assert metadata(kernel, "a")["access_token"] == "token-1"
        assert not kernel.credentials.state("a").needs_login
        await kernel.execute(ASK)


async def test_what_waits_for_its_turn_is_renewed_as_it_is_then(autojump_clock: MockClock) -> None:
    """E11: an address or a proxy that was put right meanwhile is the one that is used."""
    handed: list[str] = []
    provider = Renewing()
    provider.takes = 20

    def answer(credential: Credential) -> Credential:
        handed.append(credential.label)
        return renewed(credential)

    provider.answer = answer
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel:
        for number in range(11):
            await kernel.credentials.register(oauth(f"c{number:02}", 10_000))
        async with trio.open_nursery() as nursery:
            for number in range(11):
                nursery.start_soon(kernel.credentials.refresh, f"c{number:02}")
                await trio.testing.wait_all_tasks_blocked()
            assert provider.at_once == 10
            await kernel.credentials.update(attrs.evolve(oauth("c10", 10_000), label="put right"))
    assert handed == [""] * 10 + ["put right"]


async def test_observers_hear_of_refreshes_and_of_their_failures(autojump_clock: MockClock) -> None:
    """C11.2, O57: hook on success and on failure."""

    class Ear:
        api = 1

        def __init__(self) -> None:
            self.heard: list[Event] = []

        async def hear(self, event: Event) -> None:
            self.heard.append(event)

    ear = Ear()
    provider = Renewing()
    async with scripted_kernel(TOML + "[observers.ear]\n", {"scripted": provider}, observers={"ear": ear}) as kernel:
        provider.failure = Transient(message="busy")
        await kernel.credentials.register(oauth("a", 310))
        await trio.sleep(15)
        provider.failure = None
        await trio.sleep(60)
        kinds = [type(event) for event in ear.heard]
        assert RefreshFailed in kinds
        assert kinds.index(RefreshFailed) < kinds.index(CredentialUpdated)


@pytest.mark.parametrize(
    "nonsense",
    [
        lambda _: "token",
        lambda credential: attrs.evolve(renewed(credential), id="b"),
        lambda credential: attrs.evolve(renewed(credential), provider="other"),
    ],
    ids=["no credential", "another one", "another provider's"],
)
async def test_a_provider_that_gives_nonsense_for_a_renewal_is_a_failure(
    nonsense: Callable[[Credential], Credential | None], autojump_clock: MockClock
) -> None:
    """H10."""
    provider = Renewing()
    provider.answer = nonsense
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel:
        await kernel.credentials.register(oauth("a", 310))
        await trio.sleep(20)
        assert [(one.id, one.provider) for one in kernel.credentials.list()] == [("a", "scripted")]
        assert metadata(kernel, "a")["access_token"] == "token-0"
        await kernel.execute(ASK)
