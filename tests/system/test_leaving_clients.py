"""Clients that leave, through the whole house: the upstream call ends with them, and nobody is blamed."""

import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from inside import House, open_house

from turnout_upstream import EndedBy, Play, Script, plays


@asynccontextmanager
async def asking(house: House, *, stream: bool) -> AsyncIterator[trio.SocketStream]:
    """A request on its way, over a plain socket; leaving the block is how a client leaves."""
    url = house.client.base_url
    body = json.dumps({"model": "m", "stream": stream, "messages": []})
    head = {
        "host": f"{url.host}:{url.port}",
        "authorization": house.client.headers["authorization"],
        "content-type": "application/json",
        "content-length": str(len(body)),
    }
    text = "POST /v1/chat/completions HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in head.items())
    async with await trio.open_tcp_stream(url.host, url.port or 80) as client:
        await client.send_all(f"{text}\r\n{body}".encode())
        yield client


async def read_words(client: trio.SocketStream, count: int) -> None:
    seen = b""
    while seen.count(b"word-") < count:
        part = await client.receive_some(65536)
        assert part, seen
        seen += part


async def sound(house: House, key: str) -> None:
    """The pool is as it was: the first credential serves, and what it serves is right."""
    reply = await house.chat()
    assert reply.status_code == 200
    assert house.upstream.log.keys()[-1] == key


SERVERS = ("llhttp", "hypercorn")


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("play", [plays.stall_before_head(), plays.stall_after_head()], ids=["head", "body"])
async def test_a_client_that_leaves_before_the_answer_ends_the_upstream_call(
    tmp_path: Path, play: Play, stream: bool, server: str
) -> None:
    """C-1: no retry, no cooldown, the upstream's connection is closed."""
    async with open_house(tmp_path, Script(default=play), server=server) as house:
        async with asking(house, stream=stream):
            await house.upstream.wait_for(lambda log: log.seen == 1)
        with trio.fail_after(1):
            await house.upstream.wait_for(lambda log: log.ended == 1)
        (ending,) = house.upstream.log.endings
        seen = house.upstream.log.seen
        house.upstream.use(Script())
        await sound(house, "sk-bad")

    assert seen == 1
    assert ending.during == 1
    assert ending.by is not EndedBy.UPSTREAM


@pytest.mark.parametrize("server", SERVERS)
async def test_clients_that_leave_in_the_middle_of_streams_cost_nothing_but_their_own(
    tmp_path: Path, server: str
) -> None:
    """C-2, two hundred times, eight at a time; then a hundred sound calls (pool canary, X2)."""
    draw = random.Random(20261123)  # noqa: S311  # a repeatable scatter
    script = Script(default=plays.events(10_000, every=0.002))
    async with open_house(tmp_path, script, server=server) as house:

        async def leave(times: int) -> None:
            for _ in range(times):
                async with asking(house, stream=True) as client:
                    await read_words(client, draw.randrange(0, 6))

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(leave, 25)
        with trio.fail_after(2):
            await house.upstream.wait_for(lambda log: log.open == 0)
        endings = list(house.upstream.log.endings)
        house.upstream.use(Script())
        for _ in range(100):
            await sound(house, "sk-bad")

    assert len(endings) <= 200
    assert {ending.by for ending in endings} <= {EndedBy.FIN, EndedBy.RST}
    assert all(ending.sent < 100_000 for ending in endings)
