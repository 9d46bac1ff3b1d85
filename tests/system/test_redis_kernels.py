"""Several kernels on one Redis: what one learns, the others know; an outage of the store stops nobody."""

import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from pathlib import Path

import attrs
import pytest
import trio
from coredis_marks import COREDIS
from store_setup import store_context
from valkey_server import LIMIT, Valkey

from turnout import Ask, Credential, Kernel, Metadata, RateLimited
from turnout.errors import StoreError, UpstreamFailed
from turnout.testing import Script, ScriptedProvider, scripted_kernel
from turnout.testing._house import wall
from turnout_redis import Redis, RedisSettings

ASK = Ask(model="m")
TOML = '[retry]\npasses = 1\n[providers.scripted]\nmodels = [{ name = "m" }]\n'

pytestmark = COREDIS


class Node:
    """One of the machines."""

    def __init__(self, kernel: Kernel, provider: ScriptedProvider) -> None:
        self.kernel = kernel
        self.provider = provider

    def label(self, id: str) -> str | None:
        found = self.kernel.credentials.get(id)
        return None if found is None else found.label

    def token(self, id: str) -> object:
        found = self.kernel.credentials.get(id)
        return None if found is None or found.metadata is None else found.metadata.get("access_token")

    def cools(self, id: str) -> bool:
        model = self.kernel.credentials.state(id).models.get("m")
        return model is not None and model.quota.exceeded


class Renewing(ScriptedProvider):
    """Renews what is due. `renewed` has the ids."""

    def __init__(self) -> None:
        super().__init__()
        self.renewed: list[str] = []

    def refresh_lead(self, credential: Credential) -> float:
        return 300.0

    async def refresh(self, credential: Credential, transport: object) -> Credential:
        await trio.lowlevel.checkpoint()
        self.renewed.append(credential.id)
        data = {"access_token": "new", "expires_at": wall() + 3600}
        return attrs.evolve(credential, metadata=Metadata({**(credential.metadata or {}), **data}))


@asynccontextmanager
async def node(server: Valkey, key: Path, provider: ScriptedProvider | None = None) -> AsyncIterator[Node]:
    provider = provider or ScriptedProvider()
    settings = RedisSettings(url=server.url, key_file=str(key))
    async with (
        Redis.open(settings, store_context("redis")) as store,
        scripted_kernel(TOML, {"scripted": provider}, store=store) as kernel,
    ):
        yield Node(kernel, provider)


@asynccontextmanager
async def nodes(server: Valkey, tmp_path: Path, count: int = 2) -> AsyncIterator[list[Node]]:
    async with AsyncExitStack() as stack:
        stack.enter_context(trio.fail_after(LIMIT))
        yield [await stack.enter_async_context(node(server, tmp_path / "key")) for _ in range(count)]


async def until(holds: Callable[[], bool]) -> float:
    """Seconds until it holds; the limit of the test ends it otherwise."""
    began = trio.current_time()
    while not holds():  # noqa: ASYNC110  # it comes from another machine, as it were
        await trio.sleep(0.02)
    return trio.current_time() - began


def credential(id: str, label: str = "") -> Credential:
    return Credential(
        id=id, provider="scripted", label=label, metadata=Metadata({"access_token": f"token of {id}", "email": id})
    )


async def test_what_one_node_learns_the_others_know(server: Valkey, tmp_path: Path) -> None:
    """Design 14: a credential that is added, changed, cooling or removed, within about a second."""
    async with nodes(server, tmp_path, 3) as (one, two, three):
        await one.kernel.credentials.register(credential("a", "first"))
        await until(lambda: two.label("a") == three.label("a") == "first")
        two.provider.script(Script(failure=RateLimited(retry_after=500)))
        with pytest.raises(UpstreamFailed):
            await two.kernel.execute(ASK)
        took = await until(lambda: one.cools("a") and three.cools("a"))
        assert took < 3
        await three.kernel.credentials.update(credential("a", "second"))
        await until(lambda: one.label("a") == two.label("a") == "second")
        await one.kernel.credentials.remove("a")
        await until(lambda: two.label("a") is None and three.label("a") is None)


@pytest.mark.parametrize("how", ["killed", "stopped"])
async def test_an_outage_of_the_store_stops_no_call_and_nodes_agree_afterwards(
    server: Valkey, tmp_path: Path, how: str
) -> None:
    """G2, G3: calls go on from memory; both changes of one credential made meanwhile survive; agreed within 5 s."""
    async with nodes(server, tmp_path) as (one, two):
        await one.kernel.credentials.register(credential("a"))
        await one.kernel.credentials.register(credential("b"))
        await until(lambda: two.label("b") is not None)
        if how == "killed":
            server.kill()
        else:
            server.send(signal.SIGSTOP)
        for number in range(20):
            began = trio.current_time()
            await (one, two)[number % 2].kernel.execute(ASK)
            assert trio.current_time() - began < 0.5, "a call does not wait for the store"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(changed, one, credential("a", "changed by one"))
            nursery.start_soon(changed, two, credential("b", "changed by two"))
        assert one.label("a") == "changed by one"

        if how == "killed":
            server.start()
        else:
            server.send(signal.SIGCONT)
        took = await until(
            lambda: (one.label("b"), two.label("a")) == ("changed by two", "changed by one"),
        )
        assert took < 5
        assert (one.token("a"), two.token("b")) == ("token of a", "token of b")
    async with nodes(server, tmp_path, 1) as (fresh,):
        assert (fresh.label("a"), fresh.label("b")) == ("changed by one", "changed by two")


@pytest.mark.parametrize("sound", [False, True])
async def test_nothing_is_renewed_whose_new_token_the_server_must_not_keep(
    server: Valkey, tmp_path: Path, *, sound: bool
) -> None:
    """G7, F-5, E4: a server that has become unsound since; the token in use serves to its end."""
    due = credential("a")
    due = attrs.evolve(due, metadata=Metadata({**(due.metadata or {}), "expires_at": wall() + 100}))
    async with nodes(server, tmp_path, 1) as (one,):
        await one.kernel.credentials.register(due)
    server.ask("CONFIG", "SET", "maxmemory-policy", "noeviction" if sound else "allkeys-lru")

    provider = Renewing()
    async with node(server, tmp_path / "key", provider) as one:
        with nullcontext() if sound else pytest.raises(UpstreamFailed, match="not renewed now"):
            await one.kernel.credentials.refresh("a")
        await one.kernel.execute(ASK)
        assert one.token("a") == ("new" if sound else "token of a")
    assert provider.renewed == (["a"] if sound else [])


@pytest.mark.parametrize("how", ["emptied", "older"])
async def test_reading_a_server_that_went_back_takes_nothing_away(
    server: Valkey, tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """G5, C3.4: what is in memory stays in force, and whoever asked is told; the operator decides."""
    async with nodes(server, tmp_path, 1) as (one,):
        await one.kernel.credentials.register(credential("a"))
        server.send(signal.SIGSTOP)
        backup = server.on_disk()
        server.send(signal.SIGCONT)
        await one.kernel.credentials.register(credential("b", "added since"))
        await one.kernel.credentials.update(credential("a", "changed since"))
        if how == "emptied":
            server.ask("FLUSHALL")
        else:
            server.kill()
            server.put_back(backup)
            server.start()
        while "went back" not in (told := await not_loaded(one)):  # until it is reached again
            assert "Connection" in told
        await until(lambda: "it has seen" in caplog.text)
        assert "went back" in await not_loaded(one), "although it was noticed"
        assert (one.label("a"), one.label("b")) == ("changed since", "added since")
        await one.kernel.execute(ASK)


async def not_loaded(node: Node) -> str:
    """Why."""
    with pytest.raises(StoreError) as caught:
        await node.kernel.credentials.load()
    return str(caught.value)


async def changed(node: Node, credential: Credential) -> None:
    with pytest.raises(StoreError):
        await node.kernel.credentials.update(credential)
