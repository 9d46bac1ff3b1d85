"""A store that has done what it was asked to, and whose answer got lost: its own word is not taken for another's."""

import logging
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from typing import ClassVar

import attrs
import pytest
import trio
from trio.testing import MockClock

from turnout import Ask, Credential, Kernel, Metadata, RateLimited, Record
from turnout._records import decode_credential, decode_state, encode_credential
from turnout.errors import StoreError, UpstreamFailed
from turnout.testing import MemoryStore, Script, ScriptedProvider, scripted_kernel

ASK = Ask(model="m")
TOML = '[retry]\nmax_wait = "0s"\n[providers.p]\nmodels = [{ name = "m" }]\n'


class Forgetful:
    """A store over a memory that does what it is asked to; its next `lost` answers get lost."""

    api: ClassVar[int] = 1

    def __init__(self) -> None:
        self.memory = MemoryStore()
        self.lost = 0

    async def list(self) -> Iterable[Record]:
        return await self.memory.list()

    async def save(self, kind: str, id: str, data: bytes, if_version: int | None) -> int:
        version = await self.memory.save(kind, id, data, if_version)
        self._answer()
        return version

    async def delete(self, kind: str, id: str) -> None:
        await self.memory.delete(kind, id)
        self._answer()

    def _answer(self) -> None:
        if self.lost:
            self.lost -= 1
            raise StoreError("did not answer within 2 s")

    def kept(self) -> Credential:
        return decode_credential(self.memory.records["secret", "a"].data)


def credential(label: str = "") -> Credential:
    return Credential(id="a", provider="p", label=label, metadata=Metadata({"n": 0}))


def gateway(store: Forgetful, provider: ScriptedProvider | None = None) -> AbstractAsyncContextManager[Kernel]:
    return scripted_kernel(TOML, {"p": provider or ScriptedProvider()}, store=store)


async def test_a_change_that_is_taken_back_does_not_come_back_from_the_store(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """G2."""
    caplog.set_level(logging.INFO)
    store = Forgetful()
    async with gateway(store) as kernel:
        known = await kernel.credentials.register(credential("before"))
        store.lost = 1
        with pytest.raises(StoreError):
            await kernel.credentials.update(attrs.evolve(known, label="a mistake"))
        assert store.kept().label == "a mistake"
        after = await kernel.credentials.update(known)

        assert (after.label, store.kept().label) == ("before", "before")
    assert "somebody else" not in caplog.text


async def test_one_who_was_removed_and_comes_again_stays(autojump_clock: MockClock) -> None:
    """O18: the removal that is found is the one that is over."""
    store = Forgetful()
    async with gateway(store) as kernel:
        await kernel.credentials.register(credential("before"))
        store.lost = 1
        with pytest.raises(StoreError):
            await kernel.credentials.remove("a")
        assert (await kernel.credentials.register(credential("again"))).label == "again"
        await trio.sleep(5)

        assert store.kept().label == "again"
        assert [one.label for one in kernel.credentials.list()] == ["again"]


async def test_one_whose_first_save_was_not_told_of_is_removed_from_the_store_as_well(
    autojump_clock: MockClock,
) -> None:
    """O18: else it is there again at the next start."""
    store = Forgetful()
    async with gateway(store) as kernel:
        store.lost = 1
        with pytest.raises(StoreError):
            await kernel.credentials.register(credential())
        await kernel.credentials.remove("a")
        await trio.sleep(5)

    assert not store.memory.records


async def test_a_cooldown_that_was_reset_does_not_come_back_from_the_store(autojump_clock: MockClock) -> None:
    """O22."""
    store = Forgetful()
    async with gateway(store, ScriptedProvider(Script(failure=RateLimited(retry_after=900)))) as kernel:
        await kernel.credentials.register(credential())
        with pytest.raises(UpstreamFailed):
            await kernel.execute(ASK)
        store.lost = 1
        await trio.sleep(0.6)
        assert ("state", "a") in store.memory.records
        kernel.credentials.reset("a")
        await trio.sleep(5)

        assert not kernel.credentials.state("a").models
    assert not decode_state(store.memory.records["state", "a"].data, now=0.0).models


async def test_what_another_has_written_on_top_of_it_is_joined(autojump_clock: MockClock) -> None:
    store = Forgetful()
    async with gateway(store) as kernel:
        known = await kernel.credentials.register(credential("before"))
        store.lost = 1
        with pytest.raises(StoreError):
            await kernel.credentials.update(attrs.evolve(known, label="after"))
        await store.memory.save("secret", "a", encode_credential(attrs.evolve(store.kept(), disabled=True)), None)
        await trio.sleep(5)

        one = kernel.credentials.get("a")
        assert one is not None
        assert (one.label, one.disabled) == (store.kept().label, store.kept().disabled) == ("after", True)
