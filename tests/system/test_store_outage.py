"""The store of two serving nodes is killed under load, and comes back (G2): nobody who calls notices."""

import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import attrs
import httpx
import pytest
import trio
from coredis_marks import COREDIS
from inside import LIMIT, TLS
from loopback_tokens import token_endpoint
from valkey_server import Valkey

from turnout import Credential, Kernel, Metadata, open_kernel, parse_config
from turnout.errors import StoreError, UpstreamFailed
from turnout_oauth.testing import OAuthServer
from turnout_upstream import Rule, Script, Upstream, open_upstream, plays

KEY = secrets.token_urlsafe(24)
CLIENTS = 8
EVERY = 0.16
"""Seconds between two requests of a client: fifty a second in all."""

CONFIG = """\
[turnout]
store = "redis"
drain = "1s"
[stores.redis]
url = "{store}"
key_file = "{folder}/key"
[frontends.http]
listen = ["127.0.0.1:0"]
keys = ["{key}"]
[retry]
passes = 1
[providers.openai]
base_url = "{api}/v1"
credentials = [{{ name = "one", api_key = "sk-one-of-the-upstream" }}]
models = [{{ name = "m" }}]
[providers.spent]
plugin = "openai"
base_url = "{api}/v1"
credentials = [{{ name = "spent", api_key = "sk-spent" }}]
models = [{{ name = "spent" }}]
[providers.logins]
plugin = "openai"
base_url = "{api}/v1"
models = [{{ name = "t" }}]
oauth = {{ token_url = "{tokens}/token", client_id = "client", client_secret = "s3cret-of-the-client" }}
"""

pytestmark = COREDIS


@attrs.define
class House:
    """Two nodes, and clients that ask both all the time."""

    kernels: list[Kernel]
    client: httpx.AsyncClient
    upstream: Upstream
    tokens: OAuthServer
    done: int = 0
    over: bool = False
    failed: list[str] = attrs.field(factory=list)

    async def ask(self, node: int, model: str) -> int:
        """The status of a call through this node."""
        url = self.kernels[node].addresses["http"][0]
        body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
        return (await self.client.post(f"{url}/v1/chat/completions", json=body)).status_code

    async def ask_on(self, number: int) -> None:
        """One client that asks one after the other; never cut off, for httpx leaves such a request to the collector."""
        while not self.over:
            status = await self.ask(number % 2, "m")
            self.done += 1
            if status != 200:
                self.failed.append(f"{status} from node {number % 2}")
            await trio.sleep(EVERY)

    async def more(self, count: int) -> None:
        """Wait until so many more calls are over."""
        wanted = self.done + count
        await until(lambda: self.done >= wanted)

    def seen(self, key: str) -> int:
        """How often the upstream was asked with this key."""
        return self.upstream.log.keys().count(key)

    def login(self, node: int) -> tuple[str, object]:
        """Label and token of the login, as this node knows it."""
        found = self.kernels[node].credentials.get("login")
        return ("", None) if found is None or found.metadata is None else (found.label, found.metadata["access_token"])


async def until(holds: Callable[[], bool]) -> None:
    """Wait until it holds; the limit of the test ends it otherwise."""
    while not holds():  # noqa: ASYNC110  # it comes from another machine, as it were
        await trio.sleep(0.02)


@asynccontextmanager
async def house(server: Valkey, folder: Path) -> AsyncIterator[House]:
    tokens = OAuthServer()
    tokens.issue("refresh-1")
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(token_endpoint(tokens))
        script = Script(rules=(Rule(key="sk-spent", always=plays.rate_limited(600)),))
        upstream = await stack.enter_async_context(open_upstream(script))
        text = CONFIG.format(store=server.url.reveal(), folder=folder, key=KEY, api=upstream.url, tokens=url)
        kernels = [await stack.enter_async_context(open_kernel(parse_config(text))) for _ in range(2)]
        headers = {"authorization": f"Bearer {KEY}"}
        client = httpx.AsyncClient(headers=headers, trust_env=False, timeout=LIMIT, verify=TLS)
        await stack.enter_async_context(client)
        yield House(kernels, client, upstream, tokens)


async def survive(house: House, server: Valkey, seconds: float) -> None:
    """Lose the store for so long, and have it back."""
    one, other = house.kernels
    data = {"access_token": "old", "refresh_token": "refresh-1", "expires_at": time.time() + 3600, "email": "a"}
    login = Credential(id="login", provider="logins", metadata=Metadata(data))
    with suppress(StoreError):  # a busy machine may take longer than a save is given: it is tried again, and arrives
        await one.credentials.register(login)
    await until(lambda: house.login(1) == ("", "old"))
    await house.more(20)

    server.kill()
    for count, node in ((1, 0), (1, 0), (2, 1), (2, 1)):  # each node finds out for itself, and remembers
        assert await house.ask(node, "spent") == 429
        assert house.seen("sk-spent") == count
    with pytest.raises(UpstreamFailed, match="not renewed now: the store is away"):
        await one.credentials.refresh("login")
    with pytest.raises(StoreError):
        await one.credentials.update(attrs.evolve(login, label="changed meanwhile"))
    await trio.sleep(seconds)
    await house.more(20)
    assert house.login(1) == ("", "old")

    server.start()
    await until(lambda: house.login(1) == ("changed meanwhile", "old"))
    assert not house.tokens.forms
    await other.credentials.refresh("login")
    await until(lambda: house.login(0) == house.login(1))
    await house.more(20)


@pytest.mark.parametrize("seconds", [1.0, pytest.param(30.0, marks=pytest.mark.long)])
async def test_calls_go_on_while_the_store_is_killed_and_nodes_agree_afterwards(
    seconds: float, server: Valkey, tmp_path: Path
) -> None:
    """G2: no call fails, rests are learnt by each node for itself, nothing is renewed meanwhile, and once then."""
    with trio.fail_after(3 * LIMIT + seconds):
        async with house(server, tmp_path) as both, trio.open_nursery() as nursery:
            for number in range(CLIENTS):
                nursery.start_soon(both.ask_on, number)
            await survive(both, server, seconds)
            both.over = True

    assert both.failed == []
    assert [form["refresh_token"] for form in both.tokens.forms] == ["refresh-1"]
    assert both.login(0)[1] not in {"old", None}
