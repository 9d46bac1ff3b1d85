"""What the tests of every store need: a context, a disk that is full, and what each store must do alike."""

import logging
import random
import resource
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path

import pytest
import trio

from turnout import Ask, RateLimited
from turnout.abc import Limits, PluginContext, Store
from turnout.errors import CoolingDown, UpstreamFailed
from turnout.testing import Script, ScriptedProvider, scripted_kernel

OpenStore = Callable[[], AbstractAsyncContextManager[Store]]

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


async def check_that_a_cooldown_outlives_a_restart(open_store: OpenStore) -> None:
    """The second kernel does not call the upstream at all."""
    limited = ScriptedProvider(Script(failure=RateLimited(retry_after=600)))
    text = '[providers.scripted]\n[[providers.scripted.credentials]]\nname = "anna"\napi_key = "sk-canary-1234567890"\n'
    text += '[[providers.scripted.models]]\nname = "m"\n'
    for expected in (UpstreamFailed, CoolingDown):
        async with open_store() as store, scripted_kernel(text, {"scripted": limited}, store=store) as kernel:
            with pytest.raises(expected):
                await kernel.execute(Ask(model="m", payload=b"{}"))

    assert limited.called() == ["anna"]


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
