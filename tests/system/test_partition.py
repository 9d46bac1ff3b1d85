"""One of two nodes is cut off from their store, and comes back (G4): the way to it is cut, or swallows everything."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from coredis_marks import COREDIS
from cut_wire import wire_to
from links import Links, linked
from store_setup import store_context
from valkey_server import LIMIT, Valkey, running

from turnout import Ask, Credential, Kernel, Metadata, RateLimited, Secret
from turnout.errors import StoreError, UpstreamFailed
from turnout.testing import Script, ScriptedProvider, scripted_kernel
from turnout.testing._house import wall
from turnout_oauth import OAuthSettings, drive, merged, renewal
from turnout_oauth.testing import TOKEN_URL, OAuthServer, OAuthTransport
from turnout_redis import Redis, RedisSettings

ASK = Ask(model="m")
TOML = '[retry]\npasses = 1\n[providers.scripted]\nmodels = [{ name = "m" }]\n'
LEAD = 300.0
CLIENT = ("client", "s3cret-of-the-client")
OAUTH = OAuthSettings(token_url=TOKEN_URL, client_id=CLIENT[0], client_secret=Secret(CLIENT[1]))

pytestmark = COREDIS
REAL = [pytest.mark.root, pytest.mark.long]
WAYS = pytest.mark.parametrize(
    "how",
    ["cut", "stalled", pytest.param("link down", marks=REAL), pytest.param("peer down", marks=REAL)],
)


@attrs.frozen
class Place:
    """Where the store is, and the links to it where it has a network of its own."""

    server: Valkey
    links: Links | None = None


@pytest.fixture
def server(how: str, tmp_path: Path) -> Iterator[Place]:
    if how in {"cut", "stalled"}:
        with running(tmp_path) as server:
            yield Place(server)
        return
    with linked() as links, running(tmp_path, hosts=(links.near, links.far), within=links.within) as server:
        yield Place(server, links)


class Renewing(ScriptedProvider):
    """Renews at a server that is strict about tokens that were spent. `replied` is run when the new ones are here."""

    def __init__(self, tokens: OAuthServer) -> None:
        super().__init__()
        self._wire = OAuthTransport(tokens)
        self.replied: Callable[[], object] = bool

    def refresh_lead(self, credential: Credential) -> float:
        return LEAD

    async def refresh(self, credential: Credential, transport: object) -> Credential:
        tokens = await drive(renewal(OAUTH, credential, now=wall()), self._wire)
        self.replied()
        return attrs.evolve(credential, metadata=merged(credential.metadata, tokens))


class Node:
    def __init__(self, kernel: Kernel, provider: Renewing) -> None:
        self.kernel = kernel
        self.provider = provider

    def token(self, id: str = "a", key: str = "access_token") -> object:
        found = self.kernel.credentials.get(id)
        return None if found is None or found.metadata is None else found.metadata.get(key)

    def label(self, id: str) -> str | None:
        found = self.kernel.credentials.get(id)
        return None if found is None else found.label

    def cools(self, id: str) -> bool:
        model = self.kernel.credentials.state(id).models.get("m")
        return model is not None and model.quota.exceeded

    async def used_token(self) -> object:
        """The token that a call goes with."""
        await self.kernel.execute(ASK)
        metadata = self.provider.calls[-1].credential.metadata
        return None if metadata is None else metadata.get("access_token")


@attrs.frozen
class House:
    """Two nodes, of which `far` reaches the store over a wire that may fail."""

    near: Node
    far: Node
    wire: Any
    tokens: OAuthServer

    async def know_the_login(self, by: Node, other: Node) -> None:
        """Have a login come in by one node, and wait until the other one knows it."""
        await by.kernel.credentials.register(login())
        await until(lambda: other.token() == "old")

    async def agreed(self) -> None:
        """Wait until both have the same tokens, which were never there before."""
        await until(lambda: self.near.token() == self.far.token() != "old")
        assert self.near.token(key="refresh_token") == self.far.token(key="refresh_token")
        assert self.tokens.live() == {self.near.token(key="refresh_token")}


@asynccontextmanager
async def node(url: Secret, key: Path, tokens: OAuthServer) -> AsyncIterator[Node]:
    provider = Renewing(tokens)
    settings = RedisSettings(url=url, key_file=str(key))
    async with (
        Redis.open(settings, store_context("redis")) as store,
        scripted_kernel(TOML, {"scripted": provider}, store=store) as kernel,
    ):
        yield Node(kernel, provider)


@asynccontextmanager
async def house(place: Place, tmp_path: Path) -> AsyncIterator[House]:
    tokens = OAuthServer(CLIENT)
    tokens.issue("refresh-1")
    async with AsyncExitStack() as stack:
        stack.enter_context(trio.fail_after(2 * LIMIT))
        server, way = place.server, place.links
        if way is None:
            wire = await stack.enter_async_context(wire_to(server.port))
            url = server.url_at("127.0.0.1", wire.port)
        else:
            url = server.url_at(way.far)
        near, far = [await stack.enter_async_context(node(one, tmp_path / "key", tokens)) for one in (server.url, url)]
        yield House(near, far, way or wire, tokens)


async def until(holds: Callable[[], bool]) -> None:
    """Wait until it holds; the limit of the test ends it otherwise."""
    while not holds():  # noqa: ASYNC110  # it comes from another machine, as it were
        await trio.sleep(0.02)


def login() -> Credential:
    """Its token is good for long; who wants another one asks for it."""
    data = {"access_token": "old", "refresh_token": "refresh-1", "expires_at": wall() + 10 * LEAD}
    return Credential(id="a", provider="scripted", metadata=Metadata({**data, "email": "a"}))


@WAYS
async def test_a_node_that_is_cut_off_renews_nothing_and_adopts_what_the_other_renewed(
    how: str, server: Place, tmp_path: Path
) -> None:
    """G4: calls go on from memory meanwhile; the token is spent once."""
    async with house(server, tmp_path) as both:
        await both.know_the_login(both.near, both.far)
        both.wire.fail(how)
        with pytest.raises(UpstreamFailed, match="not renewed now: the store is away"):
            await both.far.kernel.credentials.refresh("a")
        await both.near.kernel.credentials.refresh("a")
        assert both.near.token() != "old"
        assert await both.far.used_token() == "old"
        both.wire.heal()
        await both.agreed()
        assert await both.far.used_token() == both.near.token()

        assert [form["refresh_token"] for form in both.tokens.forms] == ["refresh-1"]


@WAYS
async def test_a_node_that_is_cut_off_as_its_new_token_comes_uses_it_and_is_the_only_one_that_has_spent_the_old(
    how: str, server: Place, tmp_path: Path
) -> None:
    """G4: it has the lease, so the other one waits; what it could not write is written first when it is back."""
    async with house(server, tmp_path) as both:
        await both.know_the_login(both.far, both.near)
        both.far.provider.replied = partial(both.wire.fail, how)
        with pytest.raises(StoreError, match="in force but not saved yet"):
            await both.far.kernel.credentials.refresh("a")
        assert both.tokens.live() == {both.far.token(key="refresh_token")}
        assert await both.far.used_token() == both.far.token() != "old"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(both.near.kernel.credentials.refresh, "a")
            assert await both.near.used_token() == "old"
            both.wire.heal()
        await both.agreed()

        assert [form["refresh_token"] for form in both.tokens.forms] == ["refresh-1"]


@WAYS
async def test_what_either_side_changes_meanwhile_is_joined_when_they_meet_again(
    how: str, server: Place, tmp_path: Path
) -> None:
    """G4: an operator's edit on one side and a cooldown on the other, of one credential."""
    async with house(server, tmp_path) as both:
        await both.know_the_login(both.near, both.far)
        both.wire.fail(how)
        both.far.provider.script(Script(failure=RateLimited(retry_after=500)))
        with pytest.raises(UpstreamFailed):
            await both.far.kernel.execute(ASK)
        await both.near.kernel.credentials.update(attrs.evolve(login(), label="edited"))
        other = attrs.evolve(login(), id="b", label="added while away")
        with pytest.raises(StoreError):
            await both.far.kernel.credentials.register(other)
        both.wire.heal()
        await until(lambda: both.near.cools("a") and both.far.label("a") == "edited")
        await until(lambda: both.near.label("b") == "added while away")

        assert both.near.token() == both.far.token() == "old"
        assert not both.tokens.forms
