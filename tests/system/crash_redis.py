"""Kill a server with an append-only file, and a process that saves to it. Run by test_store_crashes; prints a summary.

crash_redis.py FOLDER KILLS SEED     kill -9 both at random times while two writers save (F-1)
"""

import sys
from pathlib import Path

import trio
from crash_kit import Found, Work, kill_at_random, spawn, tell, told, writers
from store_setup import store_context
from valkey_server import Valkey, running

from turnout_redis import Redis, RedisSettings


def main(folder: Path, kills: int, seed: int) -> None:
    with running(folder, "--appendfsync", "always") as server:
        settings = RedisSettings(url=server.url, key_file=str(folder / "master.key"))

        def works(turn: int) -> list[Work]:
            return [writers(lambda: Redis.open(settings, store_context("redis")), ["writer-1", "writer-2"], turn)]

        kill_at_random(works, lambda: look(server, settings), kills=kills, seed=seed, also=server.kill)


def look(server: Valkey, settings: RedisSettings) -> Found:
    """Every record that the server has after a restart, read in a child; fails on anything that was set aside."""
    if not server.runs:
        server.start()
    status, records = told(*spawn(lambda pipe: trio.run(tell_all, settings, pipe)))
    if status or (server.ask("HLEN", "turnout:aside") != b":0\r\n"):
        raise SystemExit("the records could not be read, or some were set aside")
    return records


async def tell_all(settings: RedisSettings, pipe: int) -> None:
    async with Redis.open(settings, store_context("redis")) as store:
        for record in await store.list():
            tell(pipe, record)


main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
