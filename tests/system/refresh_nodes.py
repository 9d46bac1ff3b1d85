"""Processes that renew credentials of one store, some of which die or stop on the way. Run by test_refresh_nodes.

    refresh_nodes.py together STORE COUNT        three at once, COUNT credentials that are due (E2)
    refresh_nodes.py killed STORE TIMES KIND...  kill -9 at each of five points, with a `strict` server, or `grace` (E5)
    refresh_nodes.py stopped STORE               SIGSTOP within a renewal, for longer than its lease (E6)

STORE is the URL of a Redis, or a directory for SQLite. Children are forked from this process, which has imported
everything and has no threads. The failpoints exist in this file alone: they are in a store and a transport around the
real ones.
"""

import json
import logging
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, ClassVar

import attrs
import httpx
import trio
from loopback_tokens import serve_one

from turnout import Credential, Kernel, Metadata, Record, Secret, _leasing, _refresh, open_kernel, parse_config
from turnout._records import decode_credential, decode_state, encode_credential
from turnout._write_behind import STORE_LIMIT
from turnout.abc import Change, Lease, Limits, PluginContext
from turnout.testing import ScriptedProvider, scripted_plugins
from turnout_oauth import OAuthSettings, drive, merged, renewal
from turnout_oauth.testing import Answer, OAuthServer
from turnout_redis import Redis, RedisSettings
from turnout_sqlite import Sqlite

POINTS = ("leased", "posted", "replied", "saving", "saved")
"""Intent written, POST sent, reply received, about to be written, written."""

LEASE = 0.5
"""Seconds that the others wait for one who has fallen into a trap."""

LOOK_AGAIN = 0.1
"""Seconds between their looks; a second or so, outside of these scenes."""

TOML = """\
[turnout]
selector = "in-turn"
store = "memory"
transport = "none"
[providers.scripted]
models = [{ name = "m" }]
"""
LIMIT = 600.0
CLIENT = ("client", "s3cret-of-the-client")
PLAIN: Any = {"trust_env": False, "verify": False}
"""No proxy, and no certificates to be loaded for nothing."""

logging.disable(logging.CRITICAL)


@attrs.define
class Trap:
    """Where this process gets a signal, once: at a point of the renewal of one credential."""

    point: str = ""
    id: str = ""
    number: signal.Signals = signal.SIGKILL
    sprung: bool = False

    def at(self, point: str, id: str) -> None:
        if not self.sprung and (point, id) == (self.point, self.id):
            self.sprung = True
            os.kill(os.getpid(), self.number)


class Trapped:
    """A store around the real one, with traps in it."""

    api: ClassVar[int] = 1

    def __init__(self, inner: Any, trap: Trap) -> None:
        self._inner = inner
        self._trap = trap

    async def list(self) -> Iterable[Record]:
        return tuple(await self._inner.list())

    async def read(self, kind: str, id: str) -> Record | None:
        found: Record | None = await self._inner.read(kind, id)
        return found

    async def save(self, kind: str, id: str, data: bytes, if_version: int | None) -> int:
        if kind == "secret":
            self._trap.at("saving", id)
        version: int = await self._inner.save(kind, id, data, if_version)
        if kind == "secret":
            self._trap.at("saved", id)
        return version

    async def delete(self, kind: str, id: str) -> None:
        await self._inner.delete(kind, id)

    def watch(self) -> AsyncIterator[Sequence[Change]]:
        changes: AsyncIterator[Sequence[Change]] = self._inner.watch()
        return changes

    @asynccontextmanager
    async def lease(self, id: str, seconds: float) -> AsyncIterator[Lease | None]:
        async with self._inner.lease(id, seconds) as lease:
            if lease is not None:
                self._trap.at("leased", id)
            yield lease


class Renewing(ScriptedProvider):
    """Renews over HTTP, as the providers with `oauth` do."""

    def __init__(self, url: str, trap: Trap) -> None:
        super().__init__()
        self._oauth = OAuthSettings(token_url=f"{url}/token", client_id=CLIENT[0], client_secret=Secret(CLIENT[1]))
        self._trap = trap

    def refresh_lead(self, credential: Credential) -> float:
        return 300.0

    async def refresh(self, credential: Credential, transport: object) -> Credential:
        async with httpx.AsyncHTTPTransport(verify=False) as wire, trio.open_nursery() as nursery:
            nursery.start_soon(self._after_the_post, credential.id)
            tokens = await drive(renewal(self._oauth, credential, now=time.time()), wire)
            nursery.cancel_scope.cancel()
        self._trap.at("replied", credential.id)
        return attrs.evolve(credential, metadata=merged(credential.metadata, tokens))

    async def _after_the_post(self, id: str) -> None:
        """The server has the request, and takes longer to answer it."""
        await trio.sleep(TAKES / 2)
        self._trap.at("posted", id)


TAKES = 0.4


# --- a token endpoint in a process of its own ------------------------------------------------------------------------


async def answered(server: OAuthServer, stream: trio.SocketStream) -> None:
    async def answers(target: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        found = controlled(server, target, body)
        if found is None:
            found = server.answer(body, headers)
            await trio.sleep(server.takes)
        return found

    try:
        await serve_one(stream, answers)
    except trio.BrokenResourceError:
        return  # whoever asked has been killed


def controlled(server: OAuthServer, target: str, body: bytes) -> Answer | None:
    """What the tests ask: to begin anew with these logins, and what has happened since."""
    if target == "/begin":
        wanted = json.loads(body)
        server.__init__(CLIENT)  # type: ignore[misc]
        server.grace, server.takes = wanted["grace"], wanted["takes"]
        for token in wanted["tokens"]:
            server.issue(token)
        return Answer(body=b"{}")
    if target == "/told":
        seen = {"asked": [form["refresh_token"] for form in server.forms], "reuses": server.reuses}
        return Answer(body=json.dumps({**seen, "live": sorted(server.live())}).encode())
    return None


def serve_for_ever(pipe: int) -> None:
    async def main() -> None:
        server = OAuthServer(CLIENT)
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(
                partial(trio.serve_tcp, partial(answered, server), 0, host="127.0.0.1", backlog=512)
            )
            os.write(pipe, f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}\n".encode())

    trio.run(main)


# --- nodes -----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def opened(place: str, trap: Trap) -> AsyncIterator[Trapped]:
    log = logging.getLogger("turnout.stores")
    context = PluginContext(
        key="s", group="turnout.stores", limits=Limits(), drain=1.0, now=time.time, draw=random.random, log=log
    )
    store: AbstractAsyncContextManager[Any]
    if place.startswith("redis:"):
        store = Redis.open(RedisSettings(url=Secret(place), key_file=os.environ["KEY_FILE"]), context)
    else:
        store = Sqlite.open(Sqlite.Settings(path=place), context)
    async with store as inner:
        yield Trapped(inner, trap)


async def empty(place: str, pipe: int) -> None:
    async with opened(place, Trap()) as store:
        for record in await store.list():
            await store.delete(record.kind, record.id)


async def fill(place: str, ids: Sequence[str], pipe: int) -> None:
    """Put credentials there that are due: the token of the one called `a` is `refresh of a`."""
    async with opened(place, Trap()) as store:
        for id in ids:
            data = {"access_token": f"old {id}", "refresh_token": f"refresh of {id}", "expires_at": time.time() + 200}
            await store.save("secret", id, encode_credential(credential(id, data)), None)


def credential(id: str, data: dict[str, Any]) -> Credential:
    return Credential(id=id, provider="scripted", metadata=Metadata({**data, "email": f"{id}@example.test"}))


async def renew(place: str, url: str, trap: Trap, pipe: int) -> None:
    """A node that runs until each of its credentials is renewed or refused, and tells what it has then."""
    if trap.id:
        _leasing.LEASE = LEASE
    async with opened(place, trap) as store:
        plugins = scripted_plugins({"scripted": Renewing(url, trap)}, store=store)
        with trio.fail_after(LIMIT):
            async with open_kernel(parse_config(TOML), plugins=plugins) as kernel:
                while not all(settled(kernel, one) for one in kernel.credentials.list()):  # noqa: ASYNC110  # others do it
                    await trio.sleep(0.02)
                told = {one.id: one.metadata["access_token"] for one in kernel.credentials.list() if one.metadata}
                os.write(pipe, json.dumps(told).encode())


def settled(kernel: Kernel, one: Credential) -> bool:
    token = str(dict(one.metadata or ()).get("access_token", ""))
    return not token.startswith("old ") or bool(kernel.credentials.state(one.id).needs_login)


async def look(place: str, pipe: int) -> None:
    """What the store has."""
    found: dict[str, dict[str, Any]] = {}
    async with opened(place, Trap()) as store:
        for record in await store.list():
            entry = found.setdefault(record.id, {"refresh_token": "", "needs_login": "", "version": 0})
            if record.kind == "secret":
                entry |= {key: dict(decode_credential(record.data).metadata or ())[key] for key in TOKENS}
                entry["version"] = record.version
            elif record.kind == "state":
                entry["needs_login"] = decode_state(record.data).needs_login
    os.write(pipe, json.dumps(found).encode())


TOKENS = ("access_token", "refresh_token")


# --- processes -------------------------------------------------------------------------------------------------------


class Child:
    """A forked process and what it writes."""

    def __init__(
        self, work: Callable[[int], Awaitable[None]] | None, plain: Callable[[int], None] | None = None
    ) -> None:
        self._reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._reading)
            code = 1
            try:
                if plain is not None:
                    plain(writing)
                elif work is not None:
                    trio.run(work, writing)
                code = 0
            except BaseException:  # noqa: BLE001  # whatever ends a child is told, and ends it
                traceback.print_exc()
            finally:
                os._exit(code)
        os.close(writing)

    def line(self) -> str:
        text = b""
        while not text.endswith(b"\n"):
            text += os.read(self._reading, 1)
        return text.decode().strip()

    def told(self) -> Any:
        """Wait for its end, and give what it wrote."""
        text = self._rest()
        _, status = os.waitpid(self.pid, 0)
        require(status == 0, f"a process ended with {status}")
        return json.loads(text) if text else None

    def wait_killed(self) -> None:
        self._rest()
        _, status = os.waitpid(self.pid, 0)
        require(os.WIFSIGNALED(status), f"it was not killed on its way: {status}")

    def wait_stopped(self) -> None:
        _, status = os.waitpid(self.pid, os.WUNTRACED)
        require(os.WIFSTOPPED(status), f"it was not stopped on its way: {status}")

    def _rest(self) -> bytes:
        with os.fdopen(self._reading, "rb") as pipe:
            return pipe.read()


def require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise SystemExit(otherwise)


class Scene:
    """A store with credentials that are due, and a token endpoint that knows them."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.server = Child(None, serve_for_ever)
        self.url = self.server.line()

    def begin(self, ids: Sequence[str], *, grace: bool = False, takes: float = 0.0) -> None:
        logins = [f"refresh of {id}" for id in ids]
        httpx.post(f"{self.url}/begin", json={"tokens": logins, "grace": grace, "takes": takes}, **PLAIN)
        Child(partial(empty, self.place)).told()

    def put(self, ids: Sequence[str]) -> None:
        Child(partial(fill, self.place, ids)).told()

    def node(self, trap: Trap | None = None) -> Child:
        return Child(partial(renew, self.place, self.url, trap or Trap()))

    def seen(self) -> Any:
        return httpx.get(f"{self.url}/told", **PLAIN).json()

    def stored(self) -> Any:
        return Child(partial(look, self.place)).told()

    def close(self) -> None:
        os.kill(self.server.pid, signal.SIGKILL)
        os.waitpid(self.server.pid, 0)


def together(scene: Scene, count: str) -> None:
    """E2."""
    ids = [f"c{number}" for number in range(int(count))]
    scene.begin(ids)
    scene.put(ids)
    began = time.monotonic()
    nodes = [scene.node() for _ in range(3)]
    told = [node.told() for node in nodes]
    took = time.monotonic() - began
    seen, stored = scene.seen(), scene.stored()
    require(sorted(seen["asked"]) == sorted(f"refresh of {id}" for id in ids), f"{len(seen['asked'])} requests")
    require(seen["reuses"] == 0, f"{seen['reuses']} reuses")
    require({one["refresh_token"] for one in stored.values()} == set(seen["live"]), "the store has other tokens")
    for node in told:
        require(node == {id: one["access_token"] for id, one in stored.items()}, "a node has other tokens")
    print(f"3 processes, {count} credentials: {len(seen['asked'])} requests, {seen['reuses']} reuses, {took:.1f} s")


def killed(scene: Scene, times: str, *kinds: str) -> None:
    """E5."""
    extra = refused = 0
    for turn in range(int(times)):
        for grace, point in ((kind == "grace", point) for kind in kinds for point in POINTS):
            scene.begin(["a", "b"], grace=grace, takes=TAKES if point == "posted" else 0.0)
            scene.put(["a"])
            scene.node(Trap(point, "a")).wait_killed()
            scene.put(["b"])
            scene.node().told()
            seen, stored = scene.seen(), scene.stored()
            posts = seen["asked"].count("refresh of a")
            where = f"turn {turn}, {point}, {'grace' if grace else 'strict'}: {posts} requests, {stored['a']}"
            require(posts <= 2, where)
            require(stored["b"]["refresh_token"] in seen["live"] and not stored["b"]["needs_login"], f"b: {where}")
            lost = point in {"posted", "replied", "saving"}
            require(posts == 1 + lost, where)
            if lost and not grace:
                require("has been used before" in stored["a"]["needs_login"], where)
                require(len(seen["asked"]) - seen["asked"].count("refresh of b") == 2, f"a loop: {where}")
            else:
                require(stored["a"]["refresh_token"] in seen["live"] and not stored["a"]["needs_login"], where)
            extra += posts - 1
            refused += bool(stored["a"]["needs_login"])
    print(f"{int(times) * len(kinds) * len(POINTS)} kills: {extra} requests more than once, {refused} need a login")


def stopped(scene: Scene) -> None:
    """E6: woken at once when another has renewed, and later than a call of the store may take."""
    for pause in (0.0, STORE_LIMIT):
        slept(scene, pause)
    print(f"the woken node adopted; {len(scene.seen()['asked'])} requests")


def slept(scene: Scene, pause: float) -> None:
    scene.begin(["a"], grace=True)
    scene.put(["a"])
    slow = scene.node(Trap("saving", "a", signal.SIGSTOP))
    slow.wait_stopped()
    quick = scene.node().told()
    before = scene.stored()["a"]
    require(before["access_token"] == quick["a"], "the second one's token is kept")
    time.sleep(pause)
    os.kill(slow.pid, signal.SIGCONT)
    woken = slow.told()
    after = scene.stored()["a"]
    require(after == before, f"the woken one has written: {before}, {after}")
    require(woken == quick, f"the woken one has not adopted: {woken}, {quick}")


def main() -> None:
    what, place, *rest = sys.argv[1:]
    scene = Scene(place)
    try:
        plays: dict[str, Callable[..., None]] = {"together": together, "killed": killed, "stopped": stopped}
        if what != "together":
            _refresh.LOOK_AGAIN = LOOK_AGAIN
        plays[what](scene, *rest)
    finally:
        scene.close()


main()
