"""Kill a process that saves, again and again, and look at what is left. Run by test_files_crash; prints a summary.

    crash_files.py random PLACE KILLS SEED     kill -9 at random times while four writers save (F-1)
    crash_files.py steps PLACE SAVES           die before system call N of the store, for every N (F-2)

Children are forked from this process, which has imported everything and has no threads, so that one costs milliseconds.
"""

import hashlib
import logging
import os
import random
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import trio

from turnout.abc import Limits, PluginContext
from turnout_files import Files
from turnout_files._archive import Archive
from turnout_seal import KeyFile

LOG = logging.getLogger("turnout.stores.files")
WRITERS = 4
STEPS = {"open", "write", "fchmod", "fsync", "close", "rename", "unlink", "flock", "fstat", "listdir"}

Found = dict[tuple[str, str], tuple[int, str]]


def sealed(place: Path) -> Archive:
    return Archive(place, LOG, KeyFile(place.with_name(place.name + ".key")), time.time())


def look(place: Path) -> Found:
    """Version and digest of every record; fails on anything corrupt or stray."""
    archive = sealed(place)
    try:
        records = archive.list(time.time())
    finally:
        archive.close()
    strange = [one.name for one in place.iterdir() if ".corrupt" in one.name or one.name.startswith(".new-")]
    if strange:
        raise SystemExit(f"left behind: {strange}")
    return {(one.kind, one.id): (one.version, hashlib.sha256(one.data).hexdigest()) for one in records}


def spawn(work: Callable[[int], object]) -> tuple[int, int]:
    """Fork a child that runs `work` with a pipe to tell of acknowledged saves; gives its id and the reading end."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            work(writing)
        finally:
            os._exit(0)
    os.close(writing)
    return child, reading


def acknowledged(child: int, reading: int) -> tuple[int, Found]:
    """Wait for the child's end: its status, and the saves that it was told of as done."""
    with os.fdopen(reading, "rb") as pipe:
        lines = pipe.read().decode().splitlines(keepends=True)
    _, status = os.waitpid(child, 0)
    acked: Found = {}
    for line in lines:
        if line.endswith("\n"):
            kind, id, version, digest = line.split()
            acked[kind, id] = (int(version), digest)
    return status, acked


def tell(pipe: int, kind: str, id: str, version: int, data: bytes) -> None:
    os.write(pipe, f"{kind} {id} {version} {hashlib.sha256(data).hexdigest()}\n".encode())


def check(before: Found, acked: Found, after: Found) -> int:
    """No acknowledged save is lost, and no other record changed. Gives how many were acknowledged."""
    expected = {**before, **acked}
    for key, (version, digest) in expected.items():
        if key not in after:
            raise SystemExit(f"{key} is gone, version {version} was acknowledged")
        if after[key][0] < version:
            raise SystemExit(f"{key} has version {after[key][0]}, version {version} was acknowledged")
        if after[key][0] == version and after[key][1] != digest:
            raise SystemExit(f"{key} version {version} has other bytes than were acknowledged")
        if after[key][0] > version + 1:
            raise SystemExit(f"{key} has version {after[key][0]}, more than one beyond the acknowledged {version}")
    return len(acked)


def save_for_ever(place: Path, seed: int) -> Callable[[int], None]:
    async def writer(store: Files, pipe: int, id: str, draw: random.Random) -> None:
        while True:
            kind = draw.choice(["secret", "state"])
            data = draw.randbytes(draw.choice([10, 600, 5000]))
            tell(pipe, kind, id, await store.save(kind, id, data, None), data)

    async def main(pipe: int) -> None:
        context = PluginContext(
            key="files",
            group="turnout.stores",
            limits=Limits(),
            drain=60.0,
            now=time.time,
            draw=random.random,
            log=LOG,
        )
        draw = random.Random(seed)  # noqa: S311 - a test's data
        async with Files.open(Files.Settings(path=str(place)), context) as store, trio.open_nursery() as nursery:
            for number in range(WRITERS):
                nursery.start_soon(writer, store, pipe, f"writer-{number}", draw)

    return lambda pipe: trio.run(main, pipe)


def kill_at_random(place: Path, kills: int, seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311 - a test's moments
    before, saves, idle = look(place), 0, 0
    for turn in range(kills):
        child, reading = spawn(save_for_ever(place, seed + turn))
        if turn % 2:  # every other time while they save for sure, else perhaps while they open the store
            select.select([reading], [], [], 10)
        time.sleep(draw.uniform(0.001, 0.04))
        os.kill(child, signal.SIGKILL)
        _, acked = acknowledged(child, reading)
        after = look(place)
        saves += check(before, acked, after)
        idle += not acked
        before = after
    print(f"{kills} kills, {saves} records checked, {idle} kills before the first save")
    if idle > kills / 2:
        raise SystemExit("hardly any save was under way")


def die_before(step: int) -> Callable[[FrameType, str, Any], None]:
    left = step

    def profile(frame: FrameType, event: str, arg: Any) -> None:
        nonlocal left
        if event == "c_call" and arg.__module__ in {"posix", "fcntl"} and arg.__name__ in STEPS:
            if left == 0:
                os._exit(9)
            left -= 1

    return profile


def save_some(place: Path, count: int, step: int) -> Callable[[int], None]:
    def work(pipe: int) -> None:
        profile = die_before(step)
        sys.setprofile(profile)
        archive = sealed(place)
        for number in range(count):
            id, kind, data = f"writer-{number % WRITERS}", ("state", "secret")[number % 3 > 0], b"%d " % number * 50
            version = archive.save(kind, id, data, None, 0.0)
            sys.setprofile(None)
            tell(pipe, kind, id, version, data)
            sys.setprofile(profile)
        archive.close()

    return work


def die_at_every_step(place: Path, count: int) -> None:
    before = look(place)
    for step in range(100_000):
        status, acked = acknowledged(*spawn(save_some(place, count, step)))
        after = look(place)
        check(before, acked, after)
        before = after
        if status == 0:
            print(f"{step} steps of {count} saves")
            return
    raise SystemExit("the workload never came to its end")


def main() -> NoReturn:
    mode, place, number = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    if mode == "random":
        kill_at_random(place, number, int(sys.argv[4]))
    else:
        die_at_every_step(place, number)
    sys.exit(0)


main()
