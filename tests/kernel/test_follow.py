"""Kernels that share a store: each takes over what the others change, and nobody's change is lost."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from types import MappingProxyType
from typing import Any, ClassVar

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from turnout import Ask, Credential, Kernel, Metadata, Protocol, RateLimited, Record, Secret, Sent, Transient
from turnout._aggregate import forgotten
from turnout._events import CredentialRegistered, CredentialRemoved, CredentialUpdated, Event
from turnout._ledger_renewals import refused_for_good
from turnout._reconcile import joined, reconciled
from turnout._records import decode_state, encode_credential, encode_state
from turnout._registry import Registry
from turnout._renewal import mark_of, mark_of_tokens
from turnout._store_edit import reset
from turnout._values import CredentialState, ModelState, Status
from turnout.abc import Change
from turnout.errors import CoolingDown, StoreError, TurnoutError, UnknownCredential, UnknownModel, UpstreamFailed
from turnout.testing import MemoryStore, Script, ScriptedProvider, scripted_kernel
from turnout.testing._house import wall

ASK = Ask(model="m")
TOML = '[retry]\nmax_wait = "0s"\n[providers.scripted]\nmodels = [{ name = "m" }]\n'


class Shared:
    """One memory that several stores look into; each hears of what the others write."""

    def __init__(self) -> None:
        self.memory = MemoryStore()
        self.views: list[View] = []

    def view(self) -> "View":
        view = View(self.memory, self)
        self.views.append(view)
        return view

    async def write(self, id: str, credential: Credential) -> None:
        """As an operator's command does it."""
        await self.view().save("secret", id, encode_credential(credential), None)


class View:
    """A store over a shared memory. `deaf` ones hear of nothing for now."""

    api: ClassVar[int] = 1

    def __init__(self, memory: MemoryStore, shared: Shared) -> None:
        self._memory = memory
        self._shared = shared
        self.deaf = False
        self.failures = 0
        self._send, self._receive = trio.open_memory_channel[Change](1000)

    async def list(self) -> Iterable[Record]:
        return await self._memory.list()

    async def save(self, kind: str, id: str, data: bytes, if_version: int | None) -> int:
        version = await self._memory.save(kind, id, data, if_version)
        self._tell(Change(kind=kind, id=id, record=self._memory.records[kind, id]))
        return version

    async def delete(self, kind: str, id: str) -> None:
        await self._memory.delete(kind, id)
        self._tell(Change(kind=kind, id=id, record=None))

    def _tell(self, change: Change) -> None:
        for view in self._shared.views:
            if view is not self and not view.deaf:
                view._send.send_nowait(change)

    def watch(self) -> AsyncIterator[Sequence[Change]]:
        return self

    def __aiter__(self) -> "View":
        return self

    async def __anext__(self) -> Sequence[Change]:
        if self.failures:
            self.failures -= 1
            raise StoreError("the store is away")
        return [await self._receive.receive()]


class Ear:
    api: ClassVar[int] = 1

    def __init__(self) -> None:
        self.heard: list[Event] = []

    async def hear(self, event: Event) -> None:
        self.heard.append(event)


def credential(id: str = "a", **fields: Any) -> Credential:
    return attrs.evolve(
        Credential(id=id, provider="scripted", api_key=Secret(f"key-of-{id}-0123456789"), metadata=Metadata({"n": 0})),
        **fields,
    )


def tokens(one: Credential) -> dict[str, Any]:
    return dict(one.metadata) if one.metadata is not None else {}


def node(
    store: object, provider: ScriptedProvider | None = None, toml: str = TOML, **others: Any
) -> AbstractAsyncContextManager[Kernel]:
    return scripted_kernel(toml, {"scripted": provider or ScriptedProvider()}, store=store, **others)


async def settled() -> None:
    """Longer than a change takes from one kernel to the other."""
    await trio.sleep(2)


async def test_a_credential_that_a_command_adds_serves_at_once(autojump_clock: MockClock) -> None:
    """`turnout credentials add` while the gateway runs; and its removal."""
    shared, ear = Shared(), Ear()
    async with node(shared.view(), toml=TOML + "[observers.ear]\n", observers={"ear": ear}) as kernel:
        with pytest.raises(UnknownModel):
            await kernel.execute(ASK)
        await shared.write("a", credential())
        await settled()
        await kernel.execute(ASK)
        await shared.view().delete("secret", "a")
        await settled()
        with pytest.raises(UnknownModel):
            await kernel.execute(ASK)
        assert shared.memory.records.get(("secret", "a")) is None, "it is not written back"

    assert [type(event) for event in ear.heard if isinstance(event, CredentialRegistered | CredentialRemoved)] == [
        CredentialRegistered,
        CredentialRemoved,
    ]


async def test_a_credential_that_another_process_disables_serves_nobody(autojump_clock: MockClock) -> None:
    """O23: until it is enabled again; its tokens and cooldowns stay."""
    shared, ear = Shared(), Ear()
    async with (
        node(shared.view(), toml=TOML + "[observers.ear]\n", observers={"ear": ear}) as one,
        node(shared.view()) as two,
    ):
        await one.credentials.register(credential())
        await settled()
        await two.credentials.disable("a")
        await settled()
        with pytest.raises(UnknownModel):
            await one.execute(ASK)
        await two.credentials.enable("a")
        await settled()
        await one.execute(ASK)

    assert sum(isinstance(event, CredentialUpdated) for event in ear.heard) == 2


async def test_cooldowns_are_shared_and_a_reset_is_too(autojump_clock: MockClock) -> None:
    """O22: what one process learns keeps the other from asking the upstream again."""
    shared = Shared()
    limited = ScriptedProvider(Script(failure=RateLimited(retry_after=500)))
    async with node(shared.view(), limited) as one, node(shared.view()) as two:
        await one.credentials.register(credential())
        with pytest.raises(UpstreamFailed):
            await one.execute(ASK)
        await settled()
        with pytest.raises(CoolingDown):
            await two.execute(ASK)
        await shared.view().delete("state", "a")
        await settled()
        await two.execute(ASK)
        assert one.credentials.state("a").status is Status.ACTIVE


async def test_a_reset_frees_also_what_is_not_saved_yet(autojump_clock: MockClock) -> None:
    """O22: a busy gateway nearly always has something unsaved; what comes afterwards counts again."""
    shared = Shared()
    provider = ScriptedProvider(Script(failure=RateLimited(retry_after=500)))
    async with node(shared.view(), provider) as one:
        await one.credentials.register(credential())
        with pytest.raises(UpstreamFailed):
            await one.execute(ASK)
        await settled()
        one._custody.dirty.mark("state", "a")
        await shared.view().delete("state", "a")
        await trio.testing.wait_all_tasks_blocked()
        assert not one.credentials.state("a").unavailable
        await settled()
        with pytest.raises(UpstreamFailed):
            await one.execute(ASK)
        await settled()
        with pytest.raises(CoolingDown):
            await one.execute(ASK)


@pytest.mark.parametrize("kept", [False, True], ids=["nothing kept yet", "a cooldown kept"])
async def test_a_reset_by_command_frees_also_what_is_not_saved_yet(autojump_clock: MockClock, kept: bool) -> None:
    """O22: neither what is known of that credential in the store, nor the time of the next save, makes a difference."""
    shared = Shared()
    provider = ScriptedProvider(Script(failure=RateLimited(retry_after=500)))
    async with node(shared.view(), provider) as one, node(shared.view()) as two:
        await one.credentials.register(credential())
        await settled()
        with pytest.raises(UpstreamFailed):
            await one.execute(ASK)
        if kept:
            await settled()
            one._custody.dirty.mark("state", "a")
        await trio.sleep(0.1)
        await reset(shared.view(), "a", wall())
        await settled()
        for kernel in (one, two):
            assert not kernel.credentials.state("a").models
        assert not decode_state(shared.memory.records["state", "a"].data).models
        with pytest.raises(UpstreamFailed):
            await one.execute(ASK)
        await settled()
        assert two.credentials.state("a").models["m"].unavailable, "what comes afterwards counts again"


async def test_a_reset_on_one_node_is_not_undone_by_what_another_has_not_saved_yet(autojump_clock: MockClock) -> None:
    """O22."""
    shared = Shared()
    limited = ScriptedProvider(Script(failure=RateLimited(retry_after=500)))
    async with node(shared.view()) as one, node(shared.view(), limited) as two:
        await one.credentials.register(credential())
        await settled()
        with pytest.raises(UpstreamFailed):
            await two.execute(ASK)
        await trio.sleep(0.1)
        one.credentials.reset("a")
        await settled()
        for kernel in (one, two):
            assert not kernel.credentials.state("a").models


async def test_a_reset_lets_a_token_that_could_not_be_renewed_be_tried_at_once(autojump_clock: MockClock) -> None:
    """O57: that it rests is this process's own word, which is in no record."""
    shared, provider = Shared(), Failing()
    ended = credential(api_key=None, metadata=Metadata({"access_token": "0", "expires_at": 1_700_000_000}))
    async with scripted_kernel(TOML, {"scripted": provider}, store=shared.view()) as kernel:
        await kernel.credentials.register(ended)
        await trio.testing.wait_all_tasks_blocked()
        assert kernel.credentials.state("a").unusable_until is not None
        await reset(shared.view(), "a", wall())
        await trio.testing.wait_all_tasks_blocked()
        assert kernel.credentials.state("a").unusable_until is None


async def test_one_who_lost_the_race_joins_both_changes(autojump_clock: MockClock) -> None:
    """Compare and set: deaf to the other's change, its own save finds it."""
    shared = Shared()
    view = shared.view()
    async with node(view) as one, node(shared.view()) as two:
        await one.credentials.register(credential())
        await settled()
        view.deaf = True
        await two.credentials.disable("a")
        known = one.credentials.get("a")
        assert known is not None
        assert not known.disabled
        joined = await one.credentials.update(attrs.evolve(known, label="renamed"))

        assert (joined.label, joined.disabled) == ("renamed", True)
        await settled()
        other = two.credentials.get("a")
        assert other is not None
        assert (other.label, other.disabled) == ("renamed", True)


@pytest.mark.parametrize(
    "change",
    [
        lambda registry, known: registry.register(known),
        lambda registry, known: registry.update(known),
        lambda registry, known: registry.disable(known.id),
        lambda registry, known: registry.enable(known.id),
    ],
    ids=["register", "update", "disable", "enable"],
)
async def test_what_another_process_has_just_removed_stays_removed_and_whoever_changes_it_is_told(
    autojump_clock: MockClock, change: Callable[[Registry, Credential], Awaitable[Credential]]
) -> None:
    """O18."""
    shared = Shared()
    view = shared.view()
    async with node(view) as kernel:
        known = await kernel.credentials.register(credential())
        view.deaf = True
        await shared.view().delete("secret", "a")
        with pytest.raises(UnknownCredential, match="'a'"):
            await change(kernel.credentials, known)
        assert kernel.credentials.list() == ()
    assert ("secret", "a") not in shared.memory.records


async def test_a_store_that_cannot_be_watched_for_a_while_is_watched_again(autojump_clock: MockClock) -> None:
    """Design 14: calls go on from memory."""
    shared = Shared()
    view = shared.view()
    view.failures = 3
    async with node(view) as kernel:
        await shared.write("a", credential())
        await trio.sleep(20)
        await kernel.execute(ASK)


async def test_what_the_file_names_stays_as_the_file_says(autojump_clock: MockClock) -> None:
    """C3.4: neither a removal nor a change in the store touches it; newer tokens are taken."""
    shared = Shared()
    toml = (
        TOML + '[[providers.scripted.credentials]]\nname = "a"\napi_key = "key-of-the-file-0123"\nmetadata = {n = 0}\n'
    )
    async with node(shared.view(), toml=toml) as kernel:
        await shared.write("a", credential(disabled=True))
        await settled()
        await kernel.execute(ASK)
        await shared.write("a", credential(metadata=Metadata({"n": 1}), last_refreshed_at=5.0, disabled=True))
        await settled()
        known = kernel.credentials.get("a")
        assert known is not None
        assert tokens(known) == {"n": 1}
        assert not known.disabled
        await shared.view().delete("secret", "a")
        await settled()
        await kernel.execute(ASK)


class Failing(ScriptedProvider):
    """Renews nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def refresh_lead(self, credential: Credential) -> float:
        return 300.0

    async def refresh(self, credential: Credential, transport: object) -> Credential:
        self.asked += 1
        raise UpstreamFailed(Protocol(message="the reply was lost", sent=Sent.MAYBE))


async def test_a_refusal_that_another_process_met_ends_our_own_tries(autojump_clock: MockClock) -> None:
    """E7: also when it is heard of before our own failure is saved."""
    shared, provider = Shared(), Failing()
    due = credential(api_key=None, metadata=Metadata({"access_token": "0", "expires_at": 1_800_000_100}))
    async with scripted_kernel(TOML, {"scripted": provider}, store=shared.view()) as kernel:
        await kernel.credentials.register(due)
        await trio.testing.wait_all_tasks_blocked()
        assert provider.asked == 1
        refused = refused_for_good(CredentialState(), "invalid_grant", 1_800_000_001, secret=mark_of(due))
        await shared.view().save("state", "a", encode_state(refused), None)
        await trio.sleep(4000)
        assert kernel.credentials.state("a").needs_login == "invalid_grant"
        assert provider.asked == 1


async def test_damaged_and_foreign_records_are_left_out(autojump_clock: MockClock) -> None:
    shared = Shared()
    async with node(shared.view()) as kernel:
        await shared.view().save("secret", "a", b"{broken", None)
        await shared.view().save("state", "a", b"{}", None)
        await shared.view().save("secret", "b", encode_credential(credential("other")), None)
        await shared.write("c", credential("c", provider="nobody"))
        await shared.write("d", credential("d"))
        await settled()
        assert {one.id for one in kernel.credentials.list()} == {"d"}


# --- by value --------------------------------------------------------------------------------------------------------

BASE = credential(label="", metadata=Metadata({"access": "0", "refresh": "0", "note": "x"}), updated_at=1.0)


def refreshed(one: Credential, at: float, **keys: str) -> Credential:
    return attrs.evolve(one, metadata=Metadata({**(one.metadata or {}), **keys}), last_refreshed_at=at, updated_at=at)


def test_of_two_refreshes_the_later_tokens_stay_together() -> None:
    """E11: a mixture of two grants would be worth nothing."""
    early, late = refreshed(BASE, 5.0, access="1", refresh="1"), refreshed(BASE, 6.0, access="2", refresh="2")
    for ours, theirs in ((early, late), (late, early)):
        both = reconciled(BASE, ours, theirs)
        assert tokens(both) == {"access": "2", "refresh": "2", "note": "x"}
        assert both.last_refreshed_at == 6.0


@pytest.mark.parametrize("at", [4.0, 9.0])
def test_where_there_are_leases_the_tokens_of_the_store_are_the_later_ones(at: float) -> None:
    """G8: whatever the clocks say, who wrote them had the lease after us."""
    ours, theirs = refreshed(BASE, 5.0, access_token="1"), refreshed(BASE, at, access_token="2")
    assert tokens(reconciled(BASE, ours, theirs, spent=()))["access_token"] == "2"
    edited = attrs.evolve(BASE, label="new", updated_at=at)
    both = reconciled(BASE, ours, edited, spent=())
    assert (tokens(both)["access_token"], both.label) == ("1", "new")


@pytest.mark.parametrize("at", [4.0, 9.0])
def test_tokens_that_we_have_replaced_do_not_come_back(at: float) -> None:
    """E4: a save whose answer was lost is found in the store after the next renewal."""
    first = refreshed(BASE, at, access_token="1")
    second = refreshed(first, 5.0, access_token="2")
    assert tokens(reconciled(BASE, second, first, spent=(mark_of_tokens(first),)))["access_token"] == "2"


@pytest.mark.parametrize("spent", [None, ()])
def test_tokens_that_meet_for_the_first_time_are_judged_by_their_times_and_stay_whole(spent: tuple[()] | None) -> None:
    """E11: no lease tells which of two stores had the later ones. An edit that came later makes no mixture of them."""
    early = attrs.evolve(refreshed(BASE, 5.0, access_token="1", extra="x"), label="new", updated_at=9.0)
    late = refreshed(BASE, 6.0, access_token="2")
    for ours, theirs in ((early, late), (late, early)):
        both = reconciled(None, ours, theirs, spent=spent)
        assert (tokens(both), both.label) == (tokens(late), "new")


def test_tokens_that_we_have_replaced_are_older_wherever_they_turn_up() -> None:
    """G8: whatever the clock of their writer said."""
    ours, theirs = refreshed(BASE, 5.0, access_token="2"), refreshed(BASE, 9.0, access_token="1")
    assert tokens(reconciled(None, ours, theirs, spent={mark_of_tokens(theirs)}))["access_token"] == "2"


def test_a_refresh_and_an_operators_change_are_both_kept() -> None:
    """O23, O53: whichever came first."""
    renewed = refreshed(BASE, 9.0, access="1")
    disabled = attrs.evolve(BASE, disabled=True, label="new", updated_at=3.0)
    for ours, theirs in ((renewed, disabled), (disabled, renewed)):
        both = reconciled(BASE, ours, theirs)
        assert both.disabled
        assert both.label == "new"
        assert tokens(both) == {"access": "1", "refresh": "0", "note": "x"}
        assert both.updated_at == 9.0


def test_without_a_common_past_the_later_update_wins() -> None:
    early, late = attrs.evolve(BASE, label="early"), attrs.evolve(BASE, label="late", updated_at=2.0)

    assert reconciled(None, early, late).label == "late"
    assert reconciled(None, late, early).label == "late"


changes = st.builds(
    lambda label, disabled, access, at: attrs.evolve(
        refreshed(BASE, at, access=access), label=label, disabled=disabled
    ),
    st.sampled_from(["", "x", "y"]),
    st.booleans(),
    st.sampled_from(["0", "1", "2"]),
    st.floats(2, 9),
)


@given(ours=changes, theirs=changes)
def test_nothing_that_only_one_side_changed_is_lost(ours: Credential, theirs: Credential) -> None:
    both = reconciled(BASE, ours, theirs)
    read: list[Callable[[Credential], object]] = [
        lambda one: one.label,
        lambda one: one.disabled,
        lambda one: tokens(one)["access"],
    ]
    for field in read:
        changed = {field(one) for one in (ours, theirs)} - {field(BASE)}
        assert field(both) in (changed or {field(BASE)})
    assert reconciled(BASE, ours, BASE) == attrs.evolve(ours, last_refreshed_at=ours.last_refreshed_at)
    assert reconciled(ours, ours, theirs) == attrs.evolve(
        theirs,
        last_refreshed_at=max(ours.last_refreshed_at or 0, theirs.last_refreshed_at or 0),
        updated_at=max(ours.updated_at or 0, theirs.updated_at or 0),
    )


def test_of_states_the_later_word_is_kept_for_each_model() -> None:
    def model(at: float, until: float) -> ModelState:
        return ModelState(updated_at=at, next_retry_after=until)

    ours = CredentialState(updated_at=2.0, models=MappingProxyType({"a": model(2, 20), "b": model(1, 10)}))
    theirs = CredentialState(updated_at=1.0, models=MappingProxyType({"b": model(3, 30), "c": model(1, 11)}))
    both = joined(ours, theirs)

    assert both.updated_at == 2.0
    assert {name: entry.next_retry_after for name, entry in both.models.items()} == {"a": 20, "b": 30, "c": 11}


FAILED = ModelState(status=Status.ERROR, unavailable=True, next_retry_after=99.0, updated_at=3.0)
SINCE = attrs.evolve(FAILED, updated_at=7.0)


def test_of_what_was_said_before_a_reset_nothing_is_left_and_what_was_said_since_stays() -> None:
    """O22: whoever has it, and that a person is needed goes as well."""
    before = CredentialState(models=MappingProxyType({"m": FAILED}), updated_at=3.0, unavailable=True, needs_login="x")
    since = attrs.evolve(before, models=MappingProxyType({"m": FAILED, "n": SINCE}), updated_at=7.0, needs_login="")
    reset = forgotten(5.0)
    for ours, theirs in ((before, reset), (reset, before)):
        assert attrs.evolve(joined(ours, theirs), updated_at=None) == CredentialState(reset_at=5.0)
    for ours, theirs in ((since, reset), (reset, since)):
        both = joined(ours, theirs)
        assert (dict(both.models), both.reset_at, both.updated_at) == ({"n": SINCE}, 5.0, 7.0)
    aware = attrs.evolve(since, reset_at=5.0)
    assert joined(aware, reset) == joined(reset, aware) == aware


@pytest.mark.parametrize(("ours_at", "theirs_at"), [(1.0, 2.0), (2.0, 1.0)])
def test_that_only_a_person_can_renew_is_not_unsaid_by_a_later_word(ours_at: float, theirs_at: float) -> None:
    """E7: a cooldown that another process has not saved yet would else have the refused token posted again."""
    theirs = CredentialState(updated_at=theirs_at, needs_login="invalid_grant", refused="digest")
    both = joined(CredentialState(updated_at=ours_at, status_message="limited"), theirs)

    assert (both.needs_login, both.refused, both.updated_at) == ("invalid_grant", "digest", 2.0)
    assert joined(theirs, CredentialState(updated_at=3.0)).needs_login == "", "whoever knew it has taken it back"


# --- affinity --------------------------------------------------------------------------------------------------------

SESSION = Ask(model="m", affinity="session-7")


def last_called(provider: ScriptedProvider) -> str:
    return provider.calls[-1].credential.id


async def test_a_session_keeps_its_credential_over_a_restart(autojump_clock: MockClock) -> None:
    """Issue of state: affinity is in the store, by digest alone."""
    store = MemoryStore()
    async with node(store) as kernel:
        for id in ("a", "b", "c"):
            await kernel.credentials.register(credential(id))
        await kernel.execute(ASK)
        await kernel.execute(SESSION)
    kept = [record.data for (kind, _), record in store.records.items() if kind == "affinity"]
    assert len(kept) == 1
    assert b"session-7" not in kept[0]
    provider = ScriptedProvider()
    async with node(store, provider) as kernel:
        for _ in range(3):
            await kernel.execute(SESSION)
        assert {call.credential.id for call in provider.calls} == {"b"}


async def test_sessions_are_shared_by_nodes_and_a_session_that_moves_moves_for_all(autojump_clock: MockClock) -> None:
    """Design 14: within the pace at which they are kept; joined where two write at once."""
    shared, first, second = Shared(), ScriptedProvider(), ScriptedProvider()
    async with node(shared.view(), first) as one, node(shared.view(), second) as two:
        for id in ("a", "b", "c"):
            await one.credentials.register(credential(id))
        await settled()
        await one.execute(ASK)
        await one.execute(SESSION)
        await trio.sleep(8)
        await two.execute(SESSION)
        assert last_called(second) == last_called(first) == "b"
        await trio.sleep(1)
        first.script(Script(failure=RateLimited(retry_after=500)), credential="b")
        await one.execute(SESSION)
        moved = last_called(first)
        assert moved != "b"
        await trio.sleep(8)
        await two.execute(SESSION)
        assert last_called(second) == moved


async def test_busy_sessions_write_once_in_a_while(autojump_clock: MockClock) -> None:
    """G12: a thousand calls of one session and one credential's state cost a few writes."""
    store = Counting()
    shaky = ScriptedProvider()
    async with node(store, shaky) as kernel:
        await kernel.credentials.register(credential("a"))
        store.calls = 0
        for number in range(1000):
            if number % 2:
                shaky.script(Script(failure=Transient(message="busy")))
            with suppress(UpstreamFailed):
                await kernel.execute(SESSION)
            await trio.sleep(0.01)
        assert len(shaky.calls) >= 1000, "each of them has changed the state"
        assert 0 < store.calls <= 2 * 10 + 3, "a state twice a second, and a session once in five"


# --- who keeps what ---------------------------------------------------------------------------------------------------


async def test_who_keeps_something_is_known_after_a_restart_for_as_long_as_it_is_kept(
    autojump_clock: MockClock,
) -> None:
    """C17.3, S8: by digest alone; not once the credential is gone."""
    store = MemoryStore()
    async with node(store) as kernel:
        for id in ("a", "b"):
            await kernel.credentials.register(credential(id))
            kernel._switch().keep(f"response of {id}", id)
        kernel._switch().keep("of nobody", "z")
    kept = [record.data for (kind, _), record in store.records.items() if kind == "keepers"]
    assert kept
    assert not any(b"response of" in data for data in kept)
    async with node(store) as kernel:
        switch = kernel._switch()
        assert [await switch.keeper(name) for name in ("response of a", "response of b")] == ["a", "b"]
        assert [await switch.keeper(name) for name in ("of nobody", "response of c", "", "Response of a")] == [None] * 4
        await kernel.credentials.disable("b")
        assert await switch.keeper("response of b") == "b", "it is still there when the credential comes back"
        await kernel.credentials.remove("b")
        assert await switch.keeper("response of b") is None
        await trio.sleep(30 * 86_400)
        assert await switch.keeper("response of a") is None


async def test_another_node_looks_into_the_store_for_what_it_has_not_heard_of_yet(autojump_clock: MockClock) -> None:
    """C17.3: it need not be told first; while the store is away there is nothing to be found."""
    shared = Shared()
    deaf = Readable(shared.memory, shared)
    shared.views.append(deaf)
    async with node(shared.view()) as one, node(deaf) as two:
        await one.credentials.register(credential("a"))
        await settled()
        deaf.deaf = deaf.away = True
        one._switch().keep("response", "a")
        await trio.sleep(1)
        assert await two._switch().keeper("response") is None
        deaf.away = False
        assert await two._switch().keeper("response") == "a"
        assert deaf.read_ids == [deaf.read_ids[0]] * 2, "one record, and only when it is not known here"
        assert await two._switch().keeper("response") == "a"
        assert len(deaf.read_ids) == 2


class Readable(View):
    """A view that can be asked for one record, unless it is `away`."""

    def __init__(self, memory: MemoryStore, shared: Shared) -> None:
        super().__init__(memory, shared)
        self.away = False
        self.read_ids: list[tuple[str, str]] = []

    async def read(self, kind: str, id: str) -> Record | None:
        self.read_ids.append((kind, id))
        if self.away:
            raise StoreError("the store is away")
        return self._memory.records.get((kind, id))


class Counting:
    """A store that counts its calls."""

    api: ClassVar[int] = 1

    def __init__(self) -> None:
        self._memory = MemoryStore()
        self.calls = 0

    async def list(self) -> Iterable[Record]:
        return await self._memory.list()

    async def save(self, kind: str, id: str, data: bytes, if_version: int | None) -> int:
        self.calls += 1
        return await self._memory.save(kind, id, data, if_version)

    async def delete(self, kind: str, id: str) -> None:
        self.calls += 1
        await self._memory.delete(kind, id)


# --- logins ----------------------------------------------------------------------------------------------------------


async def test_a_new_login_clears_the_need_for_one_whoever_brings_it(autojump_clock: MockClock) -> None:
    """E7: at once on a node that runs, and at the start of one that did not; the old one's refusal stays its own."""
    shared = Shared()
    view = shared.view()
    async with node(view) as kernel:
        await kernel.credentials.register(login("old"))
        refused = refused_for_good(kernel.credentials.state("a"), "invalid_grant", 5.0, secret=mark_of(login("old")))
        kernel._custody.settle("a", refused, None)
        await settled()
        async with node(shared.view()) as other:
            assert other.credentials.state("a").needs_login == "invalid_grant"
            await shared.write("a", login("new"))
            await settled()
            assert not kernel.credentials.state("a").needs_login
            assert not other.credentials.state("a").needs_login
        await shared.view().save("state", "a", encode_state(refused), None)
        await settled()
        assert not kernel.credentials.state("a").needs_login, "what comes late is about the old one"
    shared.memory.records["state", "a"] = Record(kind="state", id="a", data=encode_state(refused), version=99)
    async with node(shared.view()) as kernel:
        assert not kernel.credentials.state("a").needs_login
        await kernel.execute(ASK)


async def test_who_hears_late_of_a_renewal_does_not_outweigh_a_refusal_of_the_new_token(
    autojump_clock: MockClock,
) -> None:
    """E7, G8: the need for a login that the old token had is gone with it, which is no word about the new one."""
    shared = Shared()
    async with node(shared.view()) as kernel:
        old, new = login("old"), attrs.evolve(login("new"), last_refreshed_at=7.0)
        await kernel.credentials.register(old)
        kernel._custody.settle("a", refused_for_good(CredentialState(), "expired", 5.0, secret=mark_of(old)), None)
        await settled()
        other = shared.view()
        await other.save("secret", "a", encode_credential(new), None)
        refused = refused_for_good(CredentialState(), "invalid_grant", 8.0, secret=mark_of(new))
        await other.save("state", "a", encode_state(refused), None)
        await settled()
        assert kernel.credentials.state("a").needs_login == "invalid_grant"


def login(token: str) -> Credential:
    data = {"access_token": f"at of {token}", "refresh_token": token, "email": "a@example.test"}
    return Credential(id="a", provider="scripted", metadata=Metadata(data))


class Unrenewable(ScriptedProvider):
    """Cannot renew a token."""

    tries = 0

    def refresh_lead(self, credential: Credential) -> float:
        return 300

    async def refresh(self, credential: Credential, transport: object) -> None:
        self.tries += 1
        await trio.lowlevel.checkpoint()
        raise UpstreamFailed(Transient(message="busy"))


async def test_what_others_say_of_a_credential_does_not_have_its_refresh_tried_again(autojump_clock: MockClock) -> None:
    """E8, O57: until when a token that has ended rests is known to this process only."""
    shared, provider = Shared(), Unrenewable()
    other = shared.view()
    ended = Metadata({"email": "a@example.test", "access_token": "old", "expires_at": 1_800_000_000 - 10})
    async with node(shared.view(), provider) as kernel:
        await kernel.credentials.register(credential(metadata=ended, api_key=None))
        for second in range(25):
            with pytest.raises(TurnoutError):
                await kernel.execute(ASK)
            said = CredentialState(models={"n": ModelState(updated_at=1_800_000_000.0 + second)})
            await other.save("state", "a", encode_state(said), None)
            await trio.sleep(1)
            assert "n" in kernel.credentials.state("a").models
        assert provider.tries == 1
        assert provider.calls == []
        await other.delete("state", "a")  # a reset
        await settled()
        with pytest.raises(TurnoutError):
            await kernel.execute(ASK)
        assert provider.tries == 2
