"""Renewals under leases: held on to while what came is in memory only, lost, refused, hanging (E2, E6, E7, G2, G4)."""

import math
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import ClassVar

import attrs
import pytest
import trio
from trio.testing import MockClock

from turnout import Ask, Credential, Kernel, Metadata, Record, Transient, Unauthorized
from turnout._leasing import LEASE
from turnout._ledger_renewals import refused_for_good
from turnout._records import decode_credential, decode_state, encode_credential, encode_state
from turnout._refresh import CLOSING_LIMIT, LIMIT, PATIENCE
from turnout._renewal import mark_of
from turnout._values import CLEAN, CredentialState, ModelState
from turnout._write_behind import STORE_LIMIT
from turnout.abc import Change, Lease
from turnout.errors import PoolError, StoreConflict, StoreError, UnknownCredential, UpstreamFailed
from turnout.testing import MemoryStore, ScriptedProvider, scripted_kernel

TOML = '[providers.scripted]\nmodels = [{ name = "m" }]\n'
START = 1_800_000_000


class Leased:
    """A store with leases over a memory.

    Attributes:
        slow: seconds that a save of a secret takes.
        away: every save of a secret fails.
        mute: what is saved of a secret is there, and nobody is told so.
        fenced: the lease is somebody else's now: no secret is taken from us.
        shut: no lease is given.
        giving: seconds until one is.
        others: ids of which somebody else has the lease.
        reading: seconds that a look at a record takes.
        taking: seconds that a lease takes to be given back.
        deaf: every look at a record fails.
        asked: how often somebody asked for a lease.
        ends: on Trio's clock, of each lease that was given; moved up to when it is given back.
        labels: of the credential, at each save.
        given_back: what there was of its secret when each lease was given back.
    """

    api: ClassVar[int] = 1

    def __init__(self) -> None:
        self.memory = MemoryStore()
        self.slow = self.giving = self.reading = self.taking = 0.0
        self.away = self.deaf = self.mute = self.fenced = self.shut = False
        self.asked = 0
        self.others: set[str] = set()
        self.ends: list[float] = []
        self.labels: list[str] = []
        self.given_back: list[bytes] = []

    async def list(self) -> Iterable[Record]:
        return await self.memory.list()

    async def read(self, kind: str, id: str) -> Record | None:
        await trio.sleep(self.reading)
        if self.deaf:
            raise StoreError("away")
        return self.memory.records.get((kind, id))

    async def save(self, kind: str, id: str, data: bytes, if_version: int | None) -> int:
        if kind == "secret":
            await trio.sleep(self.slow)
            if self.away:
                raise StoreError("away")
            if self.fenced:
                raise StoreConflict("its lease was lost", current=self.memory.records[kind, id].version)
            self.labels.append(decode_credential(data).label)
        version = await self.memory.save(kind, id, data, if_version)
        if kind == "secret" and self.mute:
            raise StoreError("no answer")
        return version

    async def delete(self, kind: str, id: str) -> None:
        await self.memory.delete(kind, id)

    @asynccontextmanager
    async def lease(self, id: str, seconds: float) -> AsyncIterator[Lease | None]:
        self.asked += 1
        await trio.sleep(self.giving)
        if self.shut:
            raise StoreError("away")
        if self.held or id in self.others:
            yield None
            return
        number = len(self.ends)
        self.ends.append(trio.current_time() + seconds)
        try:
            yield Lease(id=id, fence=number + 1, until=self.ends[-1])
        finally:
            await trio.sleep(self.taking)
            self.given_back.append(self.kept())
            self.ends[number] = min(self.ends[number], trio.current_time())

    @property
    def held(self) -> bool:
        return bool(self.ends) and self.ends[-1] > trio.current_time()

    def kept(self) -> bytes:
        return self.memory.records["secret", "a"].data


class Renewing(ScriptedProvider):
    """Gives a new token each time, that lasts `lasts` seconds, or refuses; `befalls` the store at that moment."""

    def __init__(self) -> None:
        super().__init__()
        self.renewals = 0
        self.lasts = 3600.0
        self.takes = 0.0
        self.refuses = self.fails = False
        self.befalls = dict[str, object]()
        self.store = Leased()

    def refresh_lead(self, credential: Credential) -> float | None:
        return 300

    async def refresh(self, credential: Credential, transport: object) -> Credential | None:
        await trio.sleep(self.takes)
        self.renewals += 1
        for name, value in self.befalls.items():
            setattr(self.store, name, value)
        if self.fails:
            raise UpstreamFailed(Transient(message="busy"))
        if self.refuses:
            raise UpstreamFailed(Unauthorized(message="invalid_grant"))
        return login(f"token-{self.renewals}", trio.current_time() + self.lasts)


def login(token: str, ends: float) -> Credential:
    return Credential(
        id="a", provider="scripted", metadata=Metadata({"access_token": token, "expires_at": START + ends})
    )


def token(kernel: Kernel) -> object:
    credential = kernel.credentials.get("a")
    assert credential is not None
    assert credential.metadata is not None
    return credential.metadata["access_token"]


OF_THE_FILE = f"""{TOML}[[providers.scripted.credentials]]
name = "a"
metadata = {{ access_token = "token-0", expires_at = {START + 10_000} }}
"""


@asynccontextmanager
async def renewing(provider: Renewing, ends: float = 10_000, toml: str = TOML) -> AsyncIterator[Kernel]:
    async with scripted_kernel(toml, {"scripted": provider}, store=provider.store) as kernel:
        await kernel.credentials.register(login("token-0", ends))
        yield kernel


async def test_a_lease_is_given_back_when_the_save_has_landed(autojump_clock: MockClock) -> None:
    provider = Renewing()
    async with renewing(provider) as kernel:
        await kernel.credentials.refresh("a")
        await trio.testing.wait_all_tasks_blocked()
        assert b"token-1" in provider.store.kept()
        assert not provider.store.held


@pytest.mark.parametrize("trouble", [{"slow": STORE_LIMIT + 1}, {"away": True}])
async def test_a_lease_is_held_on_to_until_the_save_has_landed(
    autojump_clock: MockClock, trouble: dict[str, object]
) -> None:
    """E2, G2: whoever waits has the new token at once; nobody else may renew before the store has it."""
    provider = Renewing()
    provider.befalls = trouble
    store = provider.store
    async with renewing(provider) as kernel:
        with suppress(StoreError):
            await kernel.credentials.refresh("a")
        assert token(kernel) == "token-1"
        await trio.sleep(20)
        assert b"token-0" in store.kept()
        assert store.held
        store.slow, store.away = 0.0, False
        await trio.sleep(STORE_LIMIT + 3)
        assert b"token-1" in store.kept()
        assert not store.held


async def test_a_lease_that_has_ended_is_let_go_of_though_nothing_could_be_saved(autojump_clock: MockClock) -> None:
    provider = Renewing()
    provider.befalls = {"away": True}
    async with renewing(provider) as kernel:
        with suppress(StoreError):
            await kernel.credentials.refresh("a")
        await trio.sleep(LEASE + STORE_LIMIT + 1)
        assert not provider.store.held
        provider.befalls = {}
        provider.store.away = False
        await kernel.credentials.refresh("a")
        assert b"token-2" in provider.store.kept()
        assert len(provider.store.ends) == 2


async def test_the_next_renewal_takes_up_the_lease_that_is_held_on_to(autojump_clock: MockClock) -> None:
    """Or it would wait for itself until the lease ends."""
    provider = Renewing()
    provider.befalls = {"away": True}
    store = provider.store
    async with renewing(provider) as kernel:
        with suppress(StoreError):
            await kernel.credentials.refresh("a")
        store.away, provider.befalls = False, {}
        before = trio.current_time()
        await kernel.credentials.refresh("a")
        assert trio.current_time() - before < 1
        assert provider.renewals == 2
        assert len(store.ends) == 1, "under one lease"
        await trio.testing.wait_all_tasks_blocked()
        assert b"token-2" in store.kept()
        assert not store.held


@pytest.mark.parametrize("failures", [0, 1, 2])
async def test_a_kernel_that_closes_saves_before_it_gives_the_lease_back(
    autojump_clock: MockClock, *, failures: int
) -> None:
    """H6, E2: or another process would have a moment to spend the old token, however late the save lands."""
    provider = Renewing()
    provider.befalls = {"away": True}

    class Watched(Leased):
        """Fails some more saves while the kernel closes, which makes three: at once, for the lease, and at the end."""

        left = failures

        async def save(self, kind: str, id: str, data: bytes, if_version: int | None) -> int:
            if kind == "secret" and closing and self.left:
                self.left -= 1
                raise StoreError("away")
            return await super().save(kind, id, data, if_version)

    closing = False
    store = provider.store = Watched()
    async with renewing(provider) as kernel:
        with suppress(StoreError):
            await kernel.credentials.refresh("a")
        store.away, closing = False, True
    assert not store.held
    assert b"token-1" in store.given_back[-1]


async def test_a_token_that_came_late_is_used_and_saved_though_no_time_is_left_for_its_renewal(
    autojump_clock: MockClock,
) -> None:
    """E2, E4: what came for a token that is spent is not given up with the wait for its save."""
    provider = Renewing()
    provider.takes, provider.store.slow = LIMIT - 0.5, 1.0
    async with renewing(provider) as kernel:
        began = trio.current_time()
        await kernel.credentials.refresh("a")
        assert trio.current_time() - began == pytest.approx(LIMIT + provider.store.slow)
        assert (token(kernel), provider.renewals) == ("token-1", 1)
        await trio.testing.wait_all_tasks_blocked()
        assert not provider.store.held
    assert [b"token-1" in kept for kept in provider.store.given_back] == [True]


async def test_a_token_that_came_when_the_kernel_had_nearly_closed_is_saved_before_the_lease_is_given_back(
    autojump_clock: MockClock,
) -> None:
    """H6, E2, E4: closing gives up the wait for the upstream, not what came from it."""
    provider = Renewing()
    provider.takes, provider.befalls = CLOSING_LIMIT + 0.5, {"slow": 1.0}
    async with renewing(provider, ends=10):
        await trio.sleep(1)
    assert trio.current_time() == pytest.approx(1 + CLOSING_LIMIT + 1)
    assert [b"token-1" in kept for kept in provider.store.given_back] == [True]
    assert provider.renewals == 1


async def test_a_token_that_came_before_its_process_was_stopped_is_kept_under_the_next_lease(
    autojump_clock: MockClock,
) -> None:
    """E6, E4: its lease may be somebody else's by then, so it is not used before; nor is it thrown away."""
    provider = Renewing()
    provider.takes = provider.store.slow = 1.0
    async with renewing(provider) as kernel, trio.open_nursery() as nursery:
        nursery.start_soon(kernel.credentials.refresh, "a")
        await trio.sleep(1.5)
        autojump_clock.jump(LEASE + 10)
        await trio.sleep(0.1)
        assert token(kernel) == "token-0"
        await trio.sleep(3)
        assert (token(kernel), provider.renewals) == ("token-1", 1)
        assert b"token-1" in provider.store.kept()
    assert len(provider.store.ends) == 2


async def test_a_lease_is_given_back_though_its_kernel_closes_without_having_saved(autojump_clock: MockClock) -> None:
    """H6: whoever goes on need not wait for its end."""
    provider = Renewing()
    provider.befalls = {"away": True}
    async with renewing(provider) as kernel:
        with suppress(StoreError):
            await kernel.credentials.refresh("a")
        assert provider.store.held
    assert b"token-0" in provider.store.kept()
    assert not provider.store.held


@pytest.mark.parametrize("others", [False, True])
async def test_a_token_in_its_last_minute_is_renewed_unread_by_whoever_had_the_last_lease(
    autojump_clock: MockClock, others: bool
) -> None:
    """G2, G4: that is the proof that nobody else has renewed it since; with a lease of others between there is none."""
    provider = Renewing()
    provider.lasts = 320
    store = provider.store
    async with renewing(provider) as kernel:
        await kernel.credentials.refresh("a")
        store.deaf = True
        if others:
            async with store.lease("a", LEASE):
                pass
        await trio.sleep(320 - 70)
        assert provider.renewals == 1
        await trio.sleep(30)
        assert provider.renewals == (1 if others else 2)


async def test_an_edit_that_is_heard_of_while_a_save_waits_for_its_turn_is_in_it(autojump_clock: MockClock) -> None:
    """E11: what was renewed is written on top of what the store has then, not of what it had before."""
    provider = Renewing()
    store = provider.store
    async with renewing(provider) as kernel, trio.open_nursery() as nursery, kernel._storing.writer.turn:
        nursery.start_soon(kernel.credentials.refresh, "a")
        await trio.testing.wait_all_tasks_blocked()
        assert provider.renewals == 1
        edited = attrs.evolve(decode_credential(store.kept()), label="edited")
        version = await store.save("secret", "a", encode_credential(edited), None)
        record = Record(kind="secret", id="a", data=store.kept(), version=version)
        kernel._storing.writer._hear([Change(kind="secret", id="a", record=record)])
    assert b"token-1" in store.kept()
    assert set(store.labels[store.labels.index("edited") :]) == {"edited"}


@pytest.mark.parametrize("replaced", [False, True])
async def test_a_refused_token_is_not_posted_again_to_learn_what_only_the_store_can_tell(
    autojump_clock: MockClock, *, replaced: bool
) -> None:
    """E7: whether somebody else has replaced it is asked until the store answers."""
    provider = Renewing()
    provider.refuses, provider.befalls = True, {"deaf": True}
    store = provider.store
    async with renewing(provider, ends=310) as kernel:
        await trio.sleep(90)
        assert provider.renewals == 1
        assert not kernel.credentials.state("a").needs_login
        if replaced:
            await store.save("secret", "a", encode_credential(login("token-of-another", 10_000)), None)
        store.deaf, provider.befalls = False, {}
        await trio.sleep(90)
        assert bool(kernel.credentials.state("a").needs_login) is not replaced
        assert token(kernel) == ("token-of-another" if replaced else "token-0")
        assert provider.renewals == 1


async def test_another_login_is_tried_though_the_one_before_was_refused_while_the_store_was_away(
    autojump_clock: MockClock,
) -> None:
    """E7: a refusal speaks of one token."""
    provider = Renewing()
    provider.refuses, provider.befalls = True, {"deaf": True}
    async with renewing(provider, ends=310) as kernel:
        await trio.sleep(20)
        assert provider.renewals == 1
        provider.refuses, provider.befalls = False, {}
        await kernel.credentials.register(login("another-login", 310))
        provider.store.deaf = False
        await trio.sleep(90)
        assert token(kernel) == "token-2"


async def test_a_token_in_hand_whose_lease_was_lost_waits_for_the_next_one_and_is_asked_for_once(
    autojump_clock: MockClock,
) -> None:
    """E6, E4: who has the lease may be renewing, so it is neither used nor thrown away."""
    provider = Renewing()
    provider.befalls = {"fenced": True}
    store = provider.store
    async with renewing(provider) as kernel, trio.open_nursery() as nursery:
        nursery.start_soon(kernel.credentials.refresh, "a")
        await trio.testing.wait_all_tasks_blocked()
        store.ends.append(trio.current_time() + 30)
        await trio.sleep(20)
        assert (token(kernel), provider.renewals) == ("token-0", 1)
        assert b"token-0" in store.kept()
        store.fenced = False
        await trio.sleep(20)
        assert (token(kernel), provider.renewals) == ("token-1", 1)
        assert b"token-1" in store.kept()


@pytest.mark.parametrize("when", ["before the answer", "before the save has landed"])
@pytest.mark.parametrize("how", ["heard of", "here", "in the store"])
async def test_a_login_that_came_during_a_renewal_stands(autojump_clock: MockClock, how: str, when: str) -> None:
    """E7, E11: a person brought it, and what is renewed of the old one is worth nothing, least of all mixed with it."""
    provider = Renewing()
    store = provider.store
    anew = login("of-a-person", 9000)
    anew = attrs.evolve(anew, metadata=Metadata({**(anew.metadata or {}), "email": "b@example.test"}))
    provider.takes, store.slow = 1.0, 1.0
    async with renewing(provider) as kernel, trio.open_nursery() as nursery:
        nursery.start_soon(kernel.credentials.refresh, "a")
        await trio.sleep(0.5 if when == "before the answer" else 1.5)
        assert provider.renewals == (0 if when == "before the answer" else 1)
        if how == "here":
            await kernel.credentials.register(anew)
        else:
            version = await store.memory.save("secret", "a", encode_credential(anew), None)
            record = Record(kind="secret", id="a", data=store.kept(), version=version)
            if how == "heard of":
                kernel._storing.writer._hear([Change(kind="secret", id="a", record=record)])
        await trio.sleep(10)
        known = kernel.credentials.get("a")
        assert known is not None
        assert known.metadata == anew.metadata
        assert decode_credential(store.kept()).metadata == anew.metadata
        assert not store.held


@pytest.mark.parametrize("of_the_file", [False, True])
async def test_a_token_that_was_replaced_does_not_come_back_though_its_save_was_not_acknowledged(
    autojump_clock: MockClock, *, of_the_file: bool
) -> None:
    """E2, G2: it was kept all the same, and is spent since; found in the store, it is taken for nobody else's."""
    provider = Renewing()
    provider.lasts, provider.befalls = 50, {"mute": True, "deaf": True}
    store = provider.store
    toml = OF_THE_FILE if of_the_file else TOML
    async with scripted_kernel(toml, {"scripted": provider}, store=store) as kernel:
        if of_the_file:
            await kernel._storing.flush()
        else:
            await kernel.credentials.register(login("token-0", 10_000))
        with suppress(StoreError):
            await kernel.credentials.refresh("a")
        assert b"token-1" in store.kept()
        store.away, provider.befalls = True, {}
        with suppress(StoreError):
            await kernel.credentials.refresh("a")
        assert (token(kernel), provider.renewals) == ("token-2", 2)
        assert b"token-1" in store.kept()
        store.away = store.deaf = store.mute = False
        await trio.sleep(4)
        assert token(kernel) == "token-2"
        assert b"token-2" in store.kept()


async def test_that_a_token_was_refused_is_told_before_the_lease_is_given_back(autojump_clock: MockClock) -> None:
    """E7: or whoever has it next would post the same token."""
    told: list[bool] = []

    class Watched(Leased):
        @asynccontextmanager
        async def lease(self, id: str, seconds: float) -> AsyncIterator[Lease | None]:
            async with super().lease(id, seconds) as lease:
                yield lease
                state = self.memory.records.get(("state", id))
                told.append(state is not None and decode_state(state.data).needs_login == "invalid_grant")

    provider = Renewing()
    provider.refuses, provider.store = True, Watched()
    async with renewing(provider) as kernel:
        with pytest.raises(UpstreamFailed):
            await kernel.credentials.refresh("a")
    assert told == [True]


async def test_a_lease_is_counted_from_before_it_was_asked_for(autojump_clock: MockClock) -> None:
    """G8: by our own clock, it ends before the store says so, never after."""
    provider = Renewing()
    provider.store.giving = STORE_LIMIT - 0.5
    async with renewing(provider) as kernel:
        known = kernel.credentials.get("a")
        assert known is not None
        before = trio.current_time()
        async with kernel._refresh._leasing.hold(known) as held:
            assert trio.current_time() == before + provider.store.giving
            assert held.ends == before + LEASE
            assert held.left == LEASE - provider.store.giving


async def test_what_no_store_keeps_is_renewed_without_one(autojump_clock: MockClock) -> None:
    """C3.7: nobody else can have it."""
    provider = Renewing()
    async with renewing(provider) as kernel:
        provider.store.shut = True
        with pytest.raises(UpstreamFailed, match="not renewed now"):
            await kernel.credentials.refresh("a")
        known = kernel.credentials.get("a")
        assert known is not None
        with suppress(StoreError):
            await kernel.credentials.update(attrs.evolve(known, attributes={"runtime_only": "true"}))
        await kernel.credentials.refresh("a")
        assert token(kernel) == "token-1"


async def test_what_cannot_be_saved_once_its_lease_has_ended_is_not_used_while_another_has_it(
    autojump_clock: MockClock,
) -> None:
    """E6: a lease that was held on to may end during the next renewal; what came waits for another one."""
    provider = Renewing()
    provider.befalls = {"away": True}
    store = provider.store
    async with renewing(provider) as kernel, trio.open_nursery() as nursery:
        with suppress(StoreError):
            await kernel.credentials.refresh("a")
        await trio.sleep(LEASE - 10)
        provider.befalls, provider.takes, store.away = {"slow": STORE_LIMIT + 1}, 20, False
        nursery.start_soon(kernel.credentials.refresh, "a")
        await trio.sleep(15)
        store.ends.append(trio.current_time() + 30)
        await trio.sleep(20)
        assert (token(kernel), provider.renewals) == ("token-1", 2)
        store.slow = 0.0
        await trio.sleep(20)
        assert (token(kernel), provider.renewals) == ("token-2", 2)
        assert b"token-2" in store.kept()


async def test_a_credential_that_another_process_removed_during_a_renewal_stays_removed(
    autojump_clock: MockClock,
) -> None:
    """O18: what was renewed is not written, for that would bring it back."""

    class Removing(Renewing):
        async def refresh(self, credential: Credential, transport: object) -> Credential | None:
            await self.store.delete("secret", "a")
            return await super().refresh(credential, transport)

    provider = Removing()
    async with renewing(provider) as kernel:
        with pytest.raises(UnknownCredential):
            await kernel.credentials.refresh("a")
        await trio.sleep(10)
        assert kernel.credentials.get("a") is None
    assert ("secret", "a") not in provider.store.memory.records


@pytest.mark.parametrize("what", ["giving", "reading", "taking"])
async def test_no_step_of_a_store_that_hangs_is_waited_for_longer_than_it_may_take(
    autojump_clock: MockClock, what: str
) -> None:
    """G3: without a lease, or without a look at what is there, nothing is renewed; the end of a lease is its own."""
    provider = Renewing()
    async with renewing(provider) as kernel:
        setattr(provider.store, what, 2 * LEASE)
        began = trio.current_time()
        if what == "taking":
            await kernel.credentials.refresh("a")
            assert b"token-1" in provider.store.kept()
        else:
            with pytest.raises(UpstreamFailed, match="not renewed now: the store is away"):
                await kernel.credentials.refresh("a")
            assert provider.renewals == 0
        assert trio.current_time() - began == STORE_LIMIT
        setattr(provider.store, what, 0.0)


async def test_a_renewal_that_is_given_up_gives_its_lease_back(autojump_clock: MockClock) -> None:
    """E6: or nobody could try again before its end."""
    provider = Renewing()
    provider.takes = math.inf
    async with renewing(provider) as kernel:
        with pytest.raises(UpstreamFailed, match="took longer"):
            await kernel.credentials.refresh("a")
        assert not provider.store.held
        with trio.move_on_after(1):
            await kernel.credentials.refresh("a")
        assert provider.store.held
    assert not provider.store.held, "nor by a kernel that has closed"


async def test_what_others_have_said_of_a_token_is_known_before_it_is_posted(autojump_clock: MockClock) -> None:
    """E7: that it was refused is read under the lease, whether it was heard of before or not."""
    provider = Renewing()
    async with renewing(provider) as kernel:
        known = kernel.credentials.get("a")
        assert known is not None
        state = refused_for_good(CLEAN, "invalid_grant", START, secret=mark_of(known))
        await provider.store.save("state", "a", encode_state(state), None)
        with pytest.raises(UpstreamFailed, match="invalid_grant"):
            await kernel.credentials.refresh("a")
        assert provider.renewals == 0
        assert kernel.credentials.state("a").needs_login == "invalid_grant"


async def test_who_waits_for_another_ones_renewal_is_told_of_it_at_once(autojump_clock: MockClock) -> None:
    """E2: it is adopted as soon as it is heard of, though the lease is not given back yet."""
    provider = Renewing()
    store = provider.store
    async with renewing(provider) as kernel, trio.open_nursery() as nursery:
        store.ends.append(trio.current_time() + LEASE)
        nursery.start_soon(kernel.credentials.refresh, "a")
        await trio.sleep(5.25)
        version = await store.save("secret", "a", encode_credential(login("of-another", 9000)), None)
        record = Record(kind="secret", id="a", data=store.kept(), version=version)
        heard = trio.current_time()
        kernel._storing.writer._hear([Change(kind="secret", id="a", record=record)])
        await kernel._refresh.wait_refreshed("a")
        assert trio.current_time() == heard
    assert (token(kernel), provider.renewals) == ("of-another", 0)


async def test_nobody_waits_for_ever_for_another_ones_renewal(autojump_clock: MockClock) -> None:
    """G3: whoever has the lease may hang, and take it again and again."""
    provider = Renewing()
    async with renewing(provider) as kernel:
        provider.store.ends.append(math.inf)
        began = trio.current_time()
        too_long = pytest.raises(UpstreamFailed, match="somebody else has the lease for too long")
        with trio.fail_after(2 * PATIENCE), too_long:
            await kernel.credentials.refresh("a")
        assert trio.current_time() - began == pytest.approx(PATIENCE, abs=2)
        assert token(kernel) == "token-0"
        provider.store.ends[-1] = 0.0


async def test_an_edit_after_one_that_was_heard_of_is_joined_with_what_could_not_be_saved(
    autojump_clock: MockClock,
) -> None:
    """E11, G4: what was heard of is what both agreed on last, so the next change of it is theirs."""
    provider = Renewing()
    store = provider.store

    async def edit(label: str) -> Change:
        edited = attrs.evolve(decode_credential(store.kept()), label=label)
        version = await store.memory.save("secret", "a", encode_credential(edited), None)
        return Change(kind="secret", id="a", record=Record(kind="secret", id="a", data=store.kept(), version=version))

    async with renewing(provider) as kernel:
        kernel._storing.writer._hear([await edit("first")])
        assert not kernel._custody.dirty.unsaved("secret", "a"), "what was heard of is not written back"
        provider.befalls = {"away": True}
        with suppress(StoreError):
            await kernel.credentials.refresh("a")
        kernel._storing.writer._hear([await edit("heard of meanwhile")])
        await edit("second")
        store.away = False
        await trio.sleep(4)
        known = kernel.credentials.get("a")
        assert known is not None
        assert (known.label, token(kernel)) == ("second", "token-1")
        assert (decode_credential(store.kept()).label, b"token-1" in store.kept()) == ("second", True)


async def test_a_renewal_by_another_node_ends_the_pause_after_our_own_failures(autojump_clock: MockClock) -> None:
    """E8: the next one is due by the new token, and not by what went wrong with the old one."""
    provider = Renewing()
    provider.fails = True
    store = provider.store
    async with renewing(provider, ends=310) as kernel:
        while provider.renewals < 6:  # noqa: ASYNC110  # right after one the pause is at least a quarter of an hour
            await trio.sleep(1)
        failures = provider.renewals
        renewed = login("of-another", trio.current_time() + 320)
        await store.save("secret", "a", encode_credential(renewed), None)
        provider.fails = False
        await kernel.credentials.refresh("a")
        assert (token(kernel), provider.renewals) == ("of-another", failures)
        await trio.sleep(60)
        assert provider.renewals == failures + 1


async def test_of_a_token_that_has_ended_calls_do_not_ask_a_store_that_hangs_each(autojump_clock: MockClock) -> None:
    """G3, O57: it rests for a second, and whoever calls meanwhile is answered at once."""
    provider = Renewing()
    async with renewing(provider, ends=310, toml='[retry]\nmax_wait = "0s"\n' + TOML) as kernel:
        provider.store.giving = 2 * LEASE
        await trio.sleep(400)
        provider.store.asked = 0
        began = trio.current_time()
        for _ in range(20):
            with pytest.raises(PoolError):
                await kernel.execute(Ask(model="m"))
        assert trio.current_time() - began <= STORE_LIMIT + 1
        assert provider.store.asked <= 1
        provider.store.giving = 0.0


async def test_cooldowns_that_two_met_at_once_are_both_known(autojump_clock: MockClock) -> None:
    """G4: what others say of one model takes nothing away of what is not saved yet of another."""
    async with renewing(Renewing()) as kernel:
        await kernel._storing.flush()
        cools = [ModelState(unavailable=True, next_retry_after=START + 500.0, updated_at=START + at) for at in (1, 2)]
        ours = attrs.evolve(kernel.credentials.state("a"), models={"m": cools[0]})
        kernel._custody.settle("a", ours, "m")
        theirs = encode_state(CredentialState(models={"other": cools[1]}))
        record = Record(kind="state", id="a", data=theirs, version=1)
        kernel._storing.writer._hear([Change(kind="state", id="a", record=record)])
        assert set(kernel.credentials.state("a").models) == {"m", "other"}


async def test_tokens_of_another_who_had_the_lease_since_are_the_later_ones_whatever_its_clock(
    autojump_clock: MockClock,
) -> None:
    """G8, G4: ours were not saved while we had the lease, and then it was somebody else's."""
    provider = Renewing()
    provider.befalls = {"away": True}
    store = provider.store
    async with renewing(provider) as kernel:
        with suppress(StoreError):
            await kernel.credentials.refresh("a")
        await trio.sleep(LEASE + STORE_LIMIT + 1)
        theirs = attrs.evolve(login("of-another", 9000), last_refreshed_at=START - 300.0, updated_at=START - 300.0)
        await store.memory.save("secret", "a", encode_credential(theirs), None)
        store.away = False
        await trio.sleep(4)
        assert token(kernel) == "of-another"
        assert b"of-another" in store.kept()


async def test_a_state_that_is_heard_of_before_its_credential_is_known(autojump_clock: MockClock) -> None:
    """Design 14: in whatever order they come together."""
    async with renewing(Renewing()) as kernel:
        data = {
            "secret": encode_credential(attrs.evolve(login("token-b", 9000), id="b")),
            "state": encode_state(CredentialState(needs_login="invalid_grant", updated_at=START)),
        }
        kernel._storing.writer._hear(
            Change(kind=kind, id="b", record=Record(kind=kind, id="b", data=data[kind], version=1))
            for kind in ("state", "secret")
        )
        assert kernel.credentials.state("b").needs_login == "invalid_grant"


async def test_a_credential_that_another_process_has_reset_is_tried_again(autojump_clock: MockClock) -> None:
    """E7: that it needed a login is forgotten, and so it is due."""
    provider = Renewing()
    provider.refuses = True
    async with renewing(provider, ends=310) as kernel:
        await trio.sleep(100)
        assert kernel.credentials.state("a").needs_login
        assert provider.renewals == 1
        provider.refuses = False
        await provider.store.delete("state", "a")
        kernel._storing.writer._hear([Change(kind="state", id="a", record=None)])
        await trio.sleep(60)
        assert token(kernel) == "token-2"


async def test_those_who_wait_for_renewals_of_others_keep_nobody_else_waiting(autojump_clock: MockClock) -> None:
    """E1, E2: they have no place at the origin meanwhile."""
    provider = Renewing()
    async with renewing(provider) as kernel, trio.open_nursery() as nursery:
        for number in range(20):
            id = f"other-{number}"
            provider.store.others.add(id)
            await kernel.credentials.register(attrs.evolve(login("token-0", 10_000), id=id))
            nursery.start_soon(kernel.credentials.refresh, id)
        await trio.sleep(5.5)
        began = trio.current_time()
        await kernel.credentials.refresh("a")
        assert trio.current_time() == began
        assert token(kernel) == "token-1"
        nursery.cancel_scope.cancel()
