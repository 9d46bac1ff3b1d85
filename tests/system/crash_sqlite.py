"""Kill processes that share a database, and look at what is left. Run by test_store_crashes; prints a summary.

crash_sqlite.py PLACE KILLS SEED     kill -9 two processes with two writers each at random times (F-1, F-8)
"""

import logging
import sys
import time
from pathlib import Path

from crash_kit import Found, Work, found, kill_at_random, writers
from store_setup import store_context

from turnout_sqlite import Sqlite
from turnout_sqlite._opening import Opened

PROCESSES = 2


def look(place: Path) -> Found:
    """Every record; fails on anything that was set aside."""
    log = logging.getLogger("turnout.stores.sqlite")
    opened = Opened(Sqlite.Settings(path=str(place)), time.time(), log)
    try:
        records = opened.records.list(time.time())
        ((aside,),) = opened.connection.execute("SELECT count(*) FROM set_aside").fetchall()
        ((integrity,),) = opened.connection.execute("PRAGMA integrity_check").fetchall()
    finally:
        opened.close()
    strange = [one.name for one in place.iterdir() if ".corrupt" in one.name]
    if strange or aside or integrity != "ok":
        raise SystemExit(f"left behind: {strange}, {aside} records set aside, integrity {integrity}")
    return found(records)


def main(place: Path, kills: int, seed: int) -> None:
    def works(turn: int) -> list[Work]:
        settings = Sqlite.Settings(path=str(place))
        return [
            writers(
                lambda: Sqlite.open(settings, store_context("sqlite")),
                [f"writer-{process}-{number}" for number in range(2)],
                turn * PROCESSES + process,
            )
            for process in range(PROCESSES)
        ]

    kill_at_random(works, lambda: look(place), kills=kills, seed=seed)


main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
