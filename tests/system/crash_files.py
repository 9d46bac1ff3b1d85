"""Kill a process that saves to the files store, and look at what is left. Run by test_store_crashes; prints a summary.

crash_files.py random PLACE KILLS SEED     kill -9 at random times while four writers save (F-1)
crash_files.py steps PLACE SAVES           die before system call N of the store, for every N (F-2)
"""

import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from crash_kit import Found, Work, check, found, kill_at_random, spawn, tell, told, writers
from store_setup import store_context

from turnout import Record
from turnout_files import Files
from turnout_files._archive import Archive
from turnout_seal import KeyFile

LOG = logging.getLogger("turnout.stores.files")
IDS = [f"writer-{number}" for number in range(4)]
STEPS = {"open", "write", "fchmod", "fsync", "close", "rename", "unlink", "flock", "fstat", "listdir", "mkdir"}


def sealed(place: Path) -> Archive:
    return Archive(place, LOG, KeyFile(place.with_name(place.name + ".key")), time.time())


def look(place: Path) -> Found:
    """Every record; fails on anything corrupt or stray."""
    archive = sealed(place)
    try:
        records = archive.list(time.time())
    finally:
        archive.close()
    strange = [one.name for one in place.iterdir() if ".corrupt" in one.name or one.name.startswith(".new-")]
    if strange:
        raise SystemExit(f"left behind: {strange}")
    return found(records)


def kill(place: Path, kills: int, seed: int) -> None:
    def works(turn: int) -> list[Work]:
        return [writers(lambda: Files.open(Files.Settings(path=str(place)), store_context("files")), IDS, turn)]

    kill_at_random(works, lambda: look(place), kills=kills, seed=seed)


def die_before(step: int) -> Callable[[FrameType, str, Any], None]:
    left = step

    def profile(frame: FrameType, event: str, arg: Any) -> None:
        nonlocal left
        if event == "c_call" and arg.__module__ in {"posix", "fcntl"} and arg.__name__ in STEPS:
            if left == 0:
                os._exit(9)
            left -= 1

    return profile


def save_some(place: Path, count: int, step: int) -> Work:
    def work(pipe: int) -> None:
        profile = die_before(step)
        sys.setprofile(profile)
        archive = sealed(place)
        for number in range(count):
            id, kind, data = IDS[number % len(IDS)], ("state", "secret")[number % 3 > 0], b"%d " % number * 50
            version = archive.save(kind, id, data, None, 0.0)
            sys.setprofile(None)
            tell(pipe, Record(kind=kind, id=id, data=data, version=version))
            sys.setprofile(profile)
        archive.close()

    return work


def die_at_every_step(place: Path, count: int) -> None:
    before = look(place)
    for step in range(100_000):
        status, acked = told(*spawn(save_some(place, count, step)))
        after = look(place)
        check(before, acked, after)
        before = after
        if status == 0:
            print(f"{step} steps of {count} saves")
            return
    raise SystemExit("the workload never came to its end")


if sys.argv[1] == "random":
    kill(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
else:
    die_at_every_step(Path(sys.argv[2]), int(sys.argv[3]))
