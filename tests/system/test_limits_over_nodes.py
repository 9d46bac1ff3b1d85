"""A limit of client keys over three kernels that serve on one store, as a client of them meets it (G11)."""

import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import pytest
import trio
from coredis_marks import COREDIS
from processes import LIMIT, RemoteUpstream
from valkey_server import running

from turnout import open_kernel, parse_config
from turnout_upstream import Script, plays

KEY = secrets.token_urlsafe(24)
PER_KEY = 10
CONFIG = """\
[turnout]
store = "{store}"
drain = "1s"
[stores.{store}]
{place}
[frontends.http]
listen = ["127.0.0.1:0"]
keys = ["{key}"]
[frontends.http.limits]
per_key = {per_key}
half_close = "0s"
[providers.openai]
base_url = "{url}/v1"
credentials = [{{ name = "one", api_key = "sk-one-of-the-upstream" }}]
models = [{{ name = "m" }}]
"""

pytestmark = COREDIS


@contextmanager
def a_place(store: str, folder: Path) -> Iterator[str]:
    """The table of a store that three kernels share."""
    if store == "sqlite":
        yield f'path = "{folder}/store"'
        return
    (folder / "server").mkdir()
    with running(folder / "server") as server:
        yield f'url = "{server.url.reveal()}"\nkey_file = "{folder}/key"'


class Streams:
    """A client with one key, and the streams that nodes have begun for it."""

    def __init__(self, client: httpx.AsyncClient, nodes: list[str], nursery: trio.Nursery) -> None:
        self.nodes = nodes
        self._client = client
        self._nursery = nursery
        self._scopes: list[tuple[str, trio.CancelScope]] = []

    @property
    def open(self) -> int:
        return len(self._scopes)

    async def ask(self, node: str) -> None:
        """Have a stream begun on this node, if it lets us in; it stays open."""
        await self._nursery.start(self._hold, node)

    async def _hold(self, node: str, task_status: trio.TaskStatus[None]) -> None:
        body = {"model": "m", "stream": True, "messages": []}
        with trio.CancelScope() as scope:
            async with self._client.stream("POST", f"{node}/v1/chat/completions", json=body) as answer:
                if answer.status_code == 200:
                    self._scopes.append((node, scope))
                else:
                    assert answer.status_code == 429
                task_status.started()
                if answer.status_code == 200:
                    await trio.sleep_forever()

    def close(self, node: str) -> None:
        """End those of this node."""
        for at, scope in self._scopes:
            if at == node:
                scope.cancel()
        self._scopes = [one for one in self._scopes if one[0] != node]


@asynccontextmanager
async def house(store: str, folder: Path, url: str) -> AsyncIterator[Streams]:
    with a_place(store, folder) as place:
        config = parse_config(CONFIG.format(store=store, place=place, key=KEY, per_key=PER_KEY, url=url))
        async with AsyncExitStack() as stack:
            stack.enter_context(trio.fail_after(2 * LIMIT))
            nodes = [(await stack.enter_async_context(open_kernel(config))).addresses["http"][0] for _ in range(3)]
            headers = {"authorization": f"Bearer {KEY}"}
            client = httpx.AsyncClient(headers=headers, trust_env=False, timeout=LIMIT, limits=httpx.Limits())
            await stack.enter_async_context(client)
            nursery = await stack.enter_async_context(trio.open_nursery())
            yield Streams(client, nodes, nursery)
            nursery.cancel_scope.cancel()


async def until_full(streams: Streams, ask: Callable[[], str]) -> None:
    """Ask until all places are taken: a node may have to wait for what another gives back."""
    while streams.open < PER_KEY:
        await streams.ask(ask())


@pytest.mark.parametrize("store", ["redis", "sqlite"])
async def test_three_nodes_keep_one_limit_together(store: str, tmp_path: Path, upstream: RemoteUpstream) -> None:
    """G11: all of the limit can be had, on any node, and nothing beyond it: the overrun is 0 of the 10 % allowed."""
    upstream.use(Script(default=plays.stall_mid_stream(3)))
    async with house(store, tmp_path, upstream.url) as streams:
        async with trio.open_nursery() as nursery:
            for node in 8 * streams.nodes:
                nursery.start_soon(streams.ask, node)
        assert 0 < streams.open <= PER_KEY
        turns = iter(50 * streams.nodes)
        await until_full(streams, lambda: next(turns))
        for node in streams.nodes:
            await streams.ask(node)
        assert streams.open == PER_KEY
        for node in streams.nodes:
            streams.close(node)
        await until_full(streams, lambda: streams.nodes[1])
        for node in streams.nodes:
            await streams.ask(node)
        assert streams.open == PER_KEY
