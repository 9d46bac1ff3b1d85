"""What the tests of every store need: a context, a disk that is full, and what each store must do alike."""

import logging
import random
import resource
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from pathlib import Path

import attrs
import pytest
import trio

from turnout import Ask, Kernel, RateLimited, _write_behind
from turnout.abc import Limits, PluginContext, Store
from turnout.errors import CoolingDown, UpstreamFailed
from turnout.testing import Script, ScriptedProvider, scripted_kernel
from turnout_seal import KeyFile, KeyRing, KeySource

OpenStore = Callable[[], AbstractAsyncContextManager[Store]]

LIMIT = 20.0

NOW = 1_800_000_000.0
WHEN = "20270115T080000Z"
"""The same moment, in the names of what is set aside."""


def store_context(key: str, now: Callable[[], float] = time.time) -> PluginContext:
    """What a kernel hands to the store of this name."""
    return PluginContext(
        key=key,
        group="turnout.stores",
        limits=Limits(),
        drain=60.0,
        now=now,
        draw=random.random,
        log=logging.getLogger(f"turnout.stores.{key}"),
    )


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """Writes beyond `size` bytes of a file fail, as they do on a full disk."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


TOML = """
[retry]
passes = 2
max_wait = "{wait}"
[providers.scripted]
models = [{{ name = "m" }}, {{ name = "n" }}]
credentials = [
    {{ name = "anna", api_key = "sk-canary-1234567890" }},
    {{ name = "ben", api_key = "key-of-ben-0123456789" }},
]
"""
SESSION = Ask(model="n", affinity="session-7", payload=b"{}")


def kernel_on(store: Store, provider: ScriptedProvider, wait: str = "0s") -> AbstractAsyncContextManager[Kernel]:
    """A kernel with two credentials; `wait` is how long a call may wait for one to recover."""
    return scripted_kernel(TOML.format(wait=wait), {"scripted": provider}, store=store)


async def check_that_states_outlive_a_restart(open_store: OpenStore) -> None:
    """Cooldowns, how often in a row it failed, and what a session prefers: the second kernel asks no upstream."""
    limited = ScriptedProvider()
    limited.script(*[Script(failure=RateLimited())] * 2, credential="anna")
    limited.script(*[Script(failure=RateLimited(retry_after=600))] * 2, credential="ben")
    async with open_store() as store, kernel_on(store, limited, "30s") as kernel:
        with pytest.raises(UpstreamFailed):
            await kernel.execute(Ask(model="m", payload=b"{}"))
        await kernel.execute(Ask(model="n", payload=b"{}"))
        preferred = (await kernel.execute(SESSION)).decision.served_by
        before = kernel.credentials.state("ben")
    again = ScriptedProvider()
    async with open_store() as store, kernel_on(store, again) as kernel:
        assert kernel.credentials.state("ben") == before
        assert kernel.credentials.state("anna").models["m"].quota.backoff_level == 2
        with pytest.raises(CoolingDown):
            await kernel.execute(Ask(model="m", pin="ben", payload=b"{}"))
        assert again.called() == []
        assert {(await kernel.execute(SESSION)).decision.served_by for _ in range(3)} == {preferred}


async def check_that_sessions_are_shared(open_store: OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that one kernel serves goes on at the same credential on the other."""
    monkeypatch.setattr(_write_behind, "AFFINITY_PACE", 0.05)
    async with AsyncExitStack() as stack:
        one, two = [
            await stack.enter_async_context(
                kernel_on(await stack.enter_async_context(open_store()), ScriptedProvider())
            )
            for _ in range(2)
        ]
        await one.execute(Ask(model="n", payload=b"{}"))
        preferred = (await one.execute(SESSION)).decision.served_by
        with trio.fail_after(LIMIT):
            while not two._custody.affinity.statistics().entries:  # noqa: ASYNC110  # it comes from the other one
                await trio.sleep(0.02)
        assert {(await two.execute(SESSION)).decision.served_by for _ in range(3)} == {preferred}


async def check_that_a_cancelled_save_is_whole(open_store: OpenStore) -> None:
    """Cancelling does not abandon the thread: the record is written, or was never touched."""
    async with open_store() as store:
        for turn in range(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(store.save, "state", "a", b"%d" % turn * 1000, None)
                for _ in range(turn % 4):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            held = [record.data for record in await store.list()]
            assert all(data == data[:1] * 1000 or data == data[:2] * 1000 for data in held)


@attrs.define
class KeysMeanwhile(KeySource):
    """The keys of a file; somebody does something just before they are read next, or made."""

    file: KeyFile
    then: Callable[[], object] | None

    def load(self) -> KeyRing | None:
        self._meanwhile()
        return self.file.load()

    def create(self) -> KeyRing:
        self._meanwhile()
        return self.file.create()

    def _meanwhile(self) -> None:
        work, self.then = self.then, None
        if work is not None:
            work()

    def add(self, current: str) -> KeyRing:
        return self.file.add(current)

    def keep(self, id: str) -> None:
        self.file.keep(id)
