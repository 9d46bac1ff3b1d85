"""Kill processes that share a database, again and again, and look at what is left. Run by test_sqlite_crash.

    crash_sqlite.py PLACE KILLS SEED     kill -9 two processes with two writers each at random times (F-1)

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
from pathlib import Path

import trio

from turnout.abc import Limits, PluginContext
from turnout_sqlite import Sqlite
from turnout_sqlite._opening import Opened

LOG = logging.getLogger("turnout.stores.sqlite")
PROCESSES, WRITERS = 2, 2

Found = dict[tuple[str, str], tuple[int, str]]


def look(place: Path) -> Found:
    """Version and digest of every record; fails on anything that was set aside."""
    opened = Opened(Sqlite.Settings(path=str(place)), time.time(), LOG)
    try:
        records = opened.records.list(time.time())
        ((aside,),) = opened.connection.execute("SELECT count(*) FROM set_aside").fetchall()
        ((integrity,),) = opened.connection.execute("PRAGMA integrity_check").fetchall()
    finally:
        opened.close()
    strange = [one.name for one in place.iterdir() if ".corrupt" in one.name]
    if strange or aside or integrity != "ok":
        raise SystemExit(f"left behind: {strange}, {aside} records set aside, integrity {integrity}")
    return {(one.kind, one.id): (one.version, hashlib.sha256(one.data).hexdigest()) for one in records}


async def write_for_ever(store: Sqlite, pipe: int, id: str, draw: random.Random) -> None:
    while True:
        kind = draw.choice(["secret", "state"])
        data = draw.randbytes(draw.choice([10, 600, 5000]))
        version = await store.save(kind, id, data, None)
        os.write(pipe, f"{kind} {id} {version} {hashlib.sha256(data).hexdigest()}\n".encode())


async def writers(place: Path, process: int, pipe: int, seed: int) -> None:
    context = PluginContext(
        key="sqlite",
        group="turnout.stores",
        limits=Limits(),
        drain=60.0,
        now=time.time,
        draw=random.random,
        log=LOG,
    )
    draw = random.Random(seed)  # noqa: S311 - a test's data
    async with Sqlite.open(Sqlite.Settings(path=str(place)), context) as store, trio.open_nursery() as nursery:
        for number in range(WRITERS):
            nursery.start_soon(write_for_ever, store, pipe, f"writer-{process}-{number}", draw)


def spawn(place: Path, process: int, seed: int) -> tuple[int, int]:
    """Fork a process that writes; gives its id and the pipe on which it tells of acknowledged saves."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            trio.run(writers, place, process, writing, seed)
        finally:
            os._exit(0)
    os.close(writing)
    return child, reading


def acknowledged(child: int, reading: int) -> Found:
    """Wait for a child's end and give the last saves that it was told of as done."""
    with os.fdopen(reading, "rb") as pipe:
        lines = pipe.read().decode().splitlines(keepends=True)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        raise SystemExit("a writer ended by itself")
    whole = [line.split() for line in lines if line.endswith("\n")]
    return {(kind, id): (int(version), digest) for kind, id, version, digest in whole}


def check(before: Found, acked: Found, after: Found) -> None:
    """No acknowledged save is lost, and no other record changed."""
    for key, (version, digest) in {**before, **acked}.items():
        found = after.get(key, (0, ""))
        if not version <= found[0] <= version + 1 or (found[0] == version and found[1] != digest):
            raise SystemExit(f"{key}: version {version} was acknowledged, {found[0]} is there, or its bytes differ")


def main() -> None:
    place, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    draw = random.Random(seed)  # noqa: S311 - a test's moments
    before, saves, idle = look(place), 0, 0
    for turn in range(kills):
        children = [spawn(place, process, seed + turn * PROCESSES + process) for process in range(PROCESSES)]
        if turn % 2:  # every other time while they save for sure, else perhaps while they open the store
            select.select([reading for _, reading in children], [], [], 10)
        time.sleep(draw.uniform(0.001, 0.06))
        for child, _ in children:
            os.kill(child, signal.SIGKILL)
        acked: Found = {}
        for child, reading in children:
            acked |= acknowledged(child, reading)
        after = look(place)
        check(before, acked, after)
        saves += len(acked)
        idle += not acked
        before = after
    print(f"{kills} kills, {saves} records checked, {idle} kills before the first save")
    if idle > kills / 2:
        raise SystemExit("hardly any save was under way")


main()
