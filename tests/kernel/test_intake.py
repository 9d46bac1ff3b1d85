"""Credentials that come into the file and leave it, while the gateway runs and while it is stopped."""

import logging
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from turnout import Ask, Config, Credential, Kernel, Metadata, Plugins, Secret, open_kernel, parse_config
from turnout._entries import OF_FILE
from turnout._records import decode_credential, encode_credential
from turnout.errors import UnknownModel
from turnout.testing import MemoryStore, ScriptedProvider, scripted_plugins

KEY = {"leaver": "api_key = 'key-leaver-123456'\nmetadata = {}", "mine": "api_key = 'key-mine-123456'\nmetadata = {}"}
LOGIN = {"login": "metadata = { email = 'e@x.test', refresh_token = 'first' }"}


class Renewing(ScriptedProvider):
    """A provider whose logins spend a refresh token each time, as strict ones do."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def refresh_lead(self, credential: Credential) -> float:
        return 300.0

    async def refresh(self, credential: Credential, transport: object) -> Credential:
        assert credential.metadata is not None
        asked = str(credential.metadata["refresh_token"])
        self.asked.append(asked)
        token = f"after {asked}"
        return attrs.evolve(credential, metadata=Metadata({**(credential.metadata or {}), "refresh_token": token}))


def config(entries: Mapping[str, str], *, other: bool = False, more: str = "") -> Config:
    credentials = "".join(f"[[providers.own.credentials]]\nname = '{id}'\n{entry}\n" for id, entry in entries.items())
    others = "[providers.other]\nmodels = [{ name = 'n' }]\n" if other else ""
    return parse_config(
        "[turnout]\nselector = 'in-turn'\nstore = 'memory'\ntransport = 'none'\n"
        f"[retry]\nmax_wait = '0s'\n{more}\n{others}[providers.own]\nmodels = [{{ name = 'm' }}]\n{credentials}"
    )


def plugins(store: object, provider: ScriptedProvider | None = None) -> Plugins:
    return scripted_plugins({"own": provider or ScriptedProvider(), "other": ScriptedProvider()}, store=store)


def gateway(
    store: object, entries: Mapping[str, str], provider: ScriptedProvider | None = None, **others: Any
) -> AbstractAsyncContextManager[Kernel]:
    return open_kernel(config(entries, **others), plugins=plugins(store, provider))


def ids(kernel: Kernel) -> set[str]:
    return {one.id for one in kernel.credentials.list()}


def kept(store: MemoryStore, id: str) -> Credential:
    return decode_credential(store.records["secret", id].data)


def refresh_token(kernel: Kernel, id: str) -> object:
    one = kernel.credentials.get(id)
    return None if one is None or one.metadata is None else one.metadata["refresh_token"]


async def test_a_credential_that_left_the_file_while_the_gateway_was_stopped_serves_nobody(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The file lists its credentials; what the store has of one adds tokens to it, no credential."""
    store, provider = MemoryStore(), ScriptedProvider()
    async with gateway(store, KEY, provider) as kernel:
        assert ids(kernel) == {"leaver", "mine"}
    with caplog.at_level(logging.WARNING, logger="turnout.intake"):
        async with gateway(store, {"mine": KEY["mine"]}, provider) as kernel:
            assert {(await kernel.execute(Ask(model="m"))).decision.served_by for _ in range(4)} == {"mine"}
    assert "credential leaver is left out" in caplog.text
    assert "key-leaver" not in caplog.text
    assert ("secret", "leaver") in store.records


async def test_a_credential_that_a_command_added_serves_whatever_the_file_lists(autojump_clock: MockClock) -> None:
    """Also one that was registered from what a file once made, or that an earlier version kept."""
    own = Credential(id="own", provider="own", api_key=Secret("key-own-12345678"), metadata=Metadata({}))
    store = MemoryStore()
    await store.save("secret", "own", encode_credential(own), 0)
    async with gateway(store, KEY) as kernel:
        known = kernel.credentials.get("leaver")
        assert known is not None
        await kernel.credentials.register(attrs.evolve(known, id="copied"))
    async with gateway(store, {}) as kernel:
        assert ids(kernel) == {"own", "copied"}


async def test_what_an_earlier_version_kept_of_the_file_is_known_as_such_from_the_next_start_on(
    autojump_clock: MockClock,
) -> None:
    store = MemoryStore()
    old = Credential(id="mine", provider="own", api_key=Secret("key-mine-123456"), metadata=Metadata({}))
    await store.save("secret", "mine", encode_credential(old), 0)
    async with gateway(store, KEY):
        await trio.sleep(2)
        assert OF_FILE in kept(store, "mine").attributes
        versions = {key: record.version for key, record in store.records.items()}
    async with gateway(store, KEY):
        await trio.sleep(2)
    assert {key: record.version for key, record in store.records.items()} == versions
    async with gateway(store, {}) as kernel:
        assert ids(kernel) == set()


async def test_an_operators_change_makes_no_credential_of_the_store_out_of_one_of_the_file(
    autojump_clock: MockClock,
) -> None:
    store = MemoryStore()
    async with gateway(store, KEY) as kernel:
        await kernel.credentials.update(
            Credential(id="leaver", provider="own", api_key=Secret("key-other-123456"), metadata=Metadata({}))
        )
    async with gateway(store, {}) as kernel:
        assert ids(kernel) == set()


async def test_a_login_that_is_taken_out_and_listed_again_goes_on_with_its_renewed_token(
    autojump_clock: MockClock,
) -> None:
    """E9: the token in the file is spent. By reloads, by restarts, and listed again by a reload after a restart."""
    store, provider = MemoryStore(), Renewing()
    async with gateway(store, LOGIN, provider) as kernel:
        await kernel.credentials.refresh("login")
        renewed = refresh_token(kernel, "login")
        assert renewed != "first"
        await kernel.reload(config({}))
        await trio.sleep(5)
        assert ids(kernel) == set()
        assert kept(store, "login").metadata == Metadata({"email": "e@x.test", "refresh_token": renewed})
        await kernel.reload(config(LOGIN))
        assert refresh_token(kernel, "login") == renewed
        await trio.sleep(5)
        await kernel.credentials.refresh("login")
        renewed = refresh_token(kernel, "login")
    async with gateway(store, {}, provider) as kernel:
        assert ids(kernel) == set()
    async with gateway(store, LOGIN, provider) as kernel:
        assert refresh_token(kernel, "login") == renewed
    async with gateway(store, {}, provider) as kernel:
        await kernel.reload(config(LOGIN))
        assert refresh_token(kernel, "login") == renewed
    assert len(set(provider.asked)) == len(provider.asked)


async def test_a_login_that_is_listed_again_while_the_store_is_away_finds_its_token_later(
    autojump_clock: MockClock,
) -> None:
    """G2: the token in the file must not be written over the renewed one when the store is back."""
    store, provider = MemoryStore(), Renewing()
    async with gateway(store, LOGIN, provider) as kernel:
        await kernel.credentials.refresh("login")
        renewed = refresh_token(kernel, "login")
        await kernel.reload(config({}))
        store.broken = "away"
        await kernel.reload(config(LOGIN))
        await trio.sleep(30)
        store.broken = ""
        await trio.sleep(5)
        assert refresh_token(kernel, "login") == renewed
    assert kept(store, "login").metadata == Metadata({"email": "e@x.test", "refresh_token": renewed})
    assert len(set(provider.asked)) == len(provider.asked)


async def test_what_the_file_alone_holds_goes_from_the_store_with_its_entry(autojump_clock: MockClock) -> None:
    """O18: nothing is kept of a key that nobody renewed."""
    store = MemoryStore()
    async with gateway(store, KEY) as kernel:
        await trio.sleep(2)
        await kernel.reload(config({"mine": KEY["mine"]}))
        await trio.sleep(2)
        assert [id for kind, id in store.records if kind == "secret"] == ["mine"]


async def test_nodes_whose_files_differ_serve_what_their_own_file_and_the_store_list(
    autojump_clock: MockClock,
) -> None:
    store = MemoryStore()
    async with gateway(store, KEY) as one, gateway(store, {"mine": KEY["mine"]}) as other:
        await one.credentials.register(Credential(id="added", provider="own", metadata=Metadata({"t": 1})))
        await trio.sleep(2)
        await other.credentials.load()
        assert ids(one) == {"leaver", "mine", "added"}
        assert ids(other) == {"mine", "added"}
        await one.credentials.load()
        assert ids(one) == {"leaver", "mine", "added"}


async def test_a_stored_credential_serves_when_its_provider_comes_and_waits_when_it_goes(
    autojump_clock: MockClock,
) -> None:
    """C3.4: it is in the store all the time."""
    ask = Ask(model="n")
    store = MemoryStore()
    x = Credential(id="x", provider="other", metadata=Metadata({"t": 1}))
    await store.save("secret", "x", encode_credential(x), 0)
    async with gateway(store, {}) as kernel:
        assert ids(kernel) == set()
        for _ in range(2):
            await kernel.reload(config({}, other=True))
            assert (await kernel.execute(ask)).decision.served_by == "x"
            kernel.credentials.reset("x")  # what is still to be written when it goes removes no record
            await kernel.reload(config({}))
            await trio.sleep(5)
            assert ids(kernel) == set()
            assert ("secret", "x") in store.records
            with pytest.raises(UnknownModel):
                await kernel.execute(ask)


async def test_a_stored_credential_waits_on_while_the_store_is_away(autojump_clock: MockClock) -> None:
    """G2: the reload is in force nonetheless."""
    store = MemoryStore()
    x = Credential(id="x", provider="other", metadata=Metadata({"t": 1}))
    await store.save("secret", "x", encode_credential(x), 0)
    async with gateway(store, {}) as kernel:
        store.broken = "away"
        await kernel.reload(config({}, other=True))
        assert ids(kernel) == set()
        store.broken = ""
        await kernel.reload(config({}, other=True, more="passes = 2"))
        assert ids(kernel) == {"x"}
