"""A hedged stream on real sockets: whoever is slower loses its connection, not only its turn."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from turnout import Ask, Kernel, Plugins, open_kernel, parse_config
from turnout.testing import MemoryStore, given
from turnout_openai import OpenAI
from turnout_selectors import FillFirst
from turnout_transport import Pool
from turnout_upstream import EndedBy, Log, Play, Rule, Script, Upstream, open_upstream, plays

KEYS = {"a": "key-of-a-0123456789", "b": "key-of-b-0123456789"}
ASK = Ask(
    model="demo-model",
    dialect="openai.chat",
    payload=b'{"model":"demo-model","messages":[],"stream":true}',
)
LATE = 0.1
"""Seconds after which a first payload is late."""


@asynccontextmanager
async def hedging(a: Play, b: Play) -> AsyncIterator[tuple[Kernel, Upstream]]:
    script = Script(rules=(Rule(key=KEYS["a"], always=a), Rule(key=KEYS["b"], always=b)))
    async with open_upstream(script) as upstream:
        credentials = ", ".join(f'{{ name = "{name}", api_key = "{key}" }}' for name, key in KEYS.items())
        config = f"""
            [turnout]
            selector = "fill-first"
            store = "memory"
            transport = "pool"
            [hedge]
            after = "{LATE}s"
            share = 1.0
            [providers.openai]
            base_url = "{upstream.url}/v1"
            models = [{{ name = "demo-model" }}]
            credentials = [{credentials}]
        """
        plugins = Plugins.of(
            {
                "turnout.providers": {"openai": OpenAI},
                "turnout.selectors": {"fill-first": FillFirst},
                "turnout.stores": {"memory": given(MemoryStore())},
                "turnout.transports": {"pool": Pool},
            }
        )
        async with open_kernel(parse_config(config), plugins=plugins) as kernel:
            yield kernel, upstream


def of(log: Log, name: str) -> int | None:
    """The number of the request that came with this key."""
    return next((one.number for one in log.requests if one.key == KEYS[name]), None)


@pytest.mark.parametrize(
    ("a", "b", "loser"),
    [
        (plays.stall_before_head(), plays.chat(), "a"),
        (plays.stall_after_head(), plays.chat(), "a"),
        (plays.chat(delay=2), plays.stall_after_head(), "b"),
    ],
)
async def test_the_slower_ones_socket_is_closed_while_the_other_one_streams(a: Play, b: Play, loser: str) -> None:
    """The upstream is not left to write, and to bill, an answer that nobody reads (O37)."""
    async with hedging(a, b) as (kernel, upstream):
        with trio.fail_after(20):
            async with kernel.stream(ASK) as stream:
                await upstream.wait_for(lambda log: bool(log.endings))
                (ending,) = upstream.log.endings
                assert ending.during == of(upstream.log, loser)
                assert ending.by is not EndedBy.UPSTREAM
                assert b"".join([chunk.data async for chunk in stream]).endswith(b"data: [DONE]\n\n")
            assert stream.decision.served_by != loser
        assert len(upstream.log.requests) == 2
