"""The stores with many credentials (F-9): milliseconds of a save, seconds of a start, memory of a credential.

python tests/bench/stores.py [CREDENTIALS] [STORE…]        each store in a process of its own; limits in parentheses
"""

import gc
import resource
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "system"))

import trio
from store_setup import store_context
from valkey_server import running

from turnout import Credential, CredentialState, Metadata, ModelState
from turnout._records import encode_credential, encode_state
from turnout.abc import Store
from turnout.testing import ScriptedProvider, scripted_kernel
from turnout_files import Files
from turnout_redis import Redis, RedisSettings
from turnout_sqlite import Sqlite

STORES = ("files", "sqlite", "redis")
TOML = '[providers.scripted]\nmodels = [{ name = "m" }]\n'


def opened(name: str, folder: Path, url: object) -> AbstractAsyncContextManager[Store]:
    if name == "files":
        return Files.open(Files.Settings(path=str(folder / "d")), store_context(name))
    if name == "sqlite":
        return Sqlite.open(Sqlite.Settings(path=str(folder / "d")), store_context(name))
    return Redis.open(RedisSettings(url=url, key_file=str(folder / "key")), store_context(name))  # type: ignore[arg-type]


def credential(number: int) -> Credential:
    tokens = {"access_token": "a" * 300, "refresh_token": "r" * 100, "email": f"user-{number}@example.test"}
    return Credential(id=f"c{number}", provider="scripted", label="some", metadata=Metadata(tokens))


async def save_all(store: Store, credentials: int) -> list[float]:
    """Seconds of each save of a secret and of a state, one after the other."""
    took = []
    state = encode_state(CredentialState(models={"m": ModelState(status_message="of some length")}))
    for number in range(credentials):
        for kind, data in (("secret", encode_credential(credential(number))), ("state", state)):
            began = time.perf_counter()
            await store.save(kind, f"c{number}", data, None)
            took.append(time.perf_counter() - began)
    return sorted(took)


async def measure(name: str, folder: Path, url: object, credentials: int) -> None:
    async with opened(name, folder, url) as store:
        took = await save_all(store, credentials)
    p50, p99 = (took[len(took) * part // 100] * 1000 for part in (50, 99))

    began, cpu = time.perf_counter(), time.process_time()
    async with (
        opened(name, folder, url) as store,
        scripted_kernel(TOML, {"scripted": ScriptedProvider()}, store=store) as kernel,
    ):
        start, start_cpu = time.perf_counter() - began, time.process_time() - cpu
        assert len(kernel.credentials.list()) == credentials

    gc.collect()
    tracemalloc.start()
    async with (
        opened(name, folder, url) as store,
        scripted_kernel(TOML, {"scripted": ScriptedProvider()}, store=store),
    ):
        gc.collect()
        held = tracemalloc.get_traced_memory()[0] / credentials / 1024
    tracemalloc.stop()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{name:7} save p50 {p50:5.2f} ms, p99 {p99:5.2f} ms (20) · start with {credentials:,} {start:.2f} s (5), "
        f"{start_cpu:.2f} s of it CPU · {held:.1f} KiB a credential in store and kernel (10) · peak {peak:.0f} MiB"
    )


def main(names: Sequence[str], credentials: int) -> None:
    if len(names) > 1:
        for name in names:
            subprocess.run([sys.executable, __file__, str(credentials), name], check=True)
        return
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = None
        if names[0] == "redis":
            (folder / "server").mkdir()
            url = stack.enter_context(running(folder / "server", "--appendfsync", "always")).url
        trio.run(measure, names[0], folder, url, credentials)


main(sys.argv[2:] or STORES, int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
