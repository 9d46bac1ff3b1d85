"""Every hook of every kind of plugin raises, in every way: it hurts what it served, and the kernel runs on (H8)."""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, ClassVar, Self

import attrs
import pytest
import trio
from trio.testing import MockClock

from turnout import Ask, Call, Chunk, Credential, Kernel, Metadata, Record, Reply
from turnout.abc import Candidate, Change, Lease, Ready
from turnout.errors import ConfigError, PluginError, StoreError, TurnoutError
from turnout.testing import MemoryStore, ScriptedProvider, scripted_kernel
from turnout.testing._house import scripted_config, wall

ERRORS = [
    ZeroDivisionError(),
    SystemExit(3),
    KeyboardInterrupt(),
    ExceptionGroup("many", [ValueError(), KeyError()]),
    BaseExceptionGroup("worse", [SystemExit(4)]),
]
LIMIT = 300.0
"""Seconds, on the mock clock, that anything here may take."""

TOML = """
[turnout]
selector = "broken"
transport = "broken"
[observers.broken]
[providers.sound]
models = [{ name = "m" }]
credentials = [{ name = "s", api_key = "key-s-0123456789" }]
[providers.broken]
credentials = [{ name = "b", api_key = "key-b-0123456789" }]
"""


class Broken:
    """Raises in one hook, as soon as it is armed."""

    api: ClassVar[int] = 1

    def __init__(self, hook: str, error: BaseException) -> None:
        self.hook, self.error = hook, error
        self.armed = False
        self.raised = 0

    def _reach(self, hook: str) -> None:
        if self.armed and hook == self.hook:
            self.raised += 1
            raise self.error


class Provider(Broken):
    dialects: ClassVar[frozenset[str]] = frozenset()

    def origin(self, credential: Credential) -> str:
        self._reach("origin")
        return "https://upstream.test:443"

    async def execute(self, call: Call) -> Reply:
        self._reach("execute")
        await trio.lowlevel.checkpoint()
        return Reply(body=b"{}")

    def stream(self, call: Call) -> Any:
        self._reach("stream")
        return self._stream()

    @asynccontextmanager
    async def _stream(self) -> AsyncIterator[Any]:
        self._reach("stream's entering")
        yield Words(self._reach)
        self._reach("stream's leaving")

    async def count(self, call: Call) -> Reply:
        self._reach("count")
        return Reply(body=b"1")

    async def embed(self, call: Call) -> Reply:
        self._reach("embed")
        return Reply(body=b"[]")

    async def refresh(self, credential: Credential, transport: object) -> Credential | None:
        self._reach("refresh")
        return attrs.evolve(credential, metadata=Metadata({"access_token": "new", "expires_at": wall() + 4000}))

    def refresh_lead(self, credential: Credential) -> float | None:
        self._reach("refresh_lead")
        return 60.0

    def token_origin(self, credential: Credential) -> str:
        self._reach("token_origin")
        return "https://tokens.test:443"

    async def models(self, credential: Credential, transport: object) -> Sequence[str]:
        self._reach("models")
        return ["n"]

    def prepare(self, request: object, credential: Credential) -> None:
        self._reach("prepare")

    async def send(self, request: object, credential: Credential, transport: object) -> Any:
        self._reach("send")

    async def close_session(self, session: str) -> None:
        self._reach("close_session")


class Words:
    def __init__(self, reach: Callable[[str], None]) -> None:
        self.headers: dict[str, str] = {}
        self._reach = reach
        self._chunks = iter([Chunk(b"one"), Chunk(b"two")])

    def __aiter__(self) -> "Words":
        return self

    async def __anext__(self) -> Chunk:
        await trio.lowlevel.checkpoint()
        for chunk in self._chunks:
            self._reach("stream's first chunk" if chunk.data == b"one" else "stream's second chunk")
            return chunk
        raise StopAsyncIteration


class Selector(Broken):
    def select(self, ready: Ready, ask: Ask, draw: object) -> Candidate:
        self._reach("select")
        return ready.best.first()

    def observe(self, outcome: object, took: float) -> None:
        self._reach("observe")


class Transport(Broken):
    def for_credential(self, credential: Credential) -> None:
        self._reach("for_credential")


class Observer(Broken):
    async def hear(self, event: object) -> None:
        self._reach("hear")

    def expose(self) -> dict[str, str]:
        self._reach("expose")
        return {}


class Store(Broken):
    def __init__(self, hook: str, error: BaseException) -> None:
        super().__init__(hook, error)
        self._inner = MemoryStore()

    async def list(self) -> Iterable[Record]:
        self._reach("list")
        return await self._inner.list()

    async def save(self, kind: str, id: str, data: bytes, if_version: int | None) -> int:
        self._reach("save")
        return await self._inner.save(kind, id, data, if_version)

    async def delete(self, kind: str, id: str) -> None:
        self._reach("delete")
        await self._inner.delete(kind, id)

    async def read(self, kind: str, id: str) -> Record | None:
        self._reach("read")
        return next((one for one in await self._inner.list() if (one.kind, one.id) == (kind, id)), None)

    def watch(self) -> AsyncIterator[Sequence[Change]]:
        self._reach("watch")
        return Changes(self._reach)

    def lease(self, id: str, seconds: float) -> Any:
        self._reach("lease")
        return self._lease(id, seconds)

    @asynccontextmanager
    async def _lease(self, id: str, seconds: float) -> AsyncIterator[Lease]:
        self._reach("lease's entering")
        yield Lease(id=id, fence=1, until=wall() + seconds)
        self._reach("lease's leaving")


class Changes:
    def __init__(self, reach: Callable[[str], None]) -> None:
        self._reach = reach

    def __aiter__(self) -> "Changes":
        return self

    async def __anext__(self) -> Sequence[Change]:
        await trio.sleep(5)
        self._reach("watch's next")
        return []


N = Ask(model="n")
LOGIN = Credential(id="t", provider="broken", metadata=Metadata({"access_token": "old"}))


async def stream(kernel: Kernel) -> None:
    async with kernel.stream(N) as chunks:
        async for _ in chunks:
            pass


async def register(kernel: Kernel) -> None:
    await kernel.credentials.register(LOGIN)


async def remove(kernel: Kernel) -> None:
    await kernel.credentials.remove("t")


async def renew(kernel: Kernel) -> None:
    await kernel.credentials.refresh("t")


async def reload(kernel: Kernel) -> None:
    await kernel.reload(scripted_config(TOML.replace("key-b-", "key-B-")))


async def prepare(kernel: Kernel) -> None:
    await trio.lowlevel.checkpoint()
    kernel.credentials.prepare(object(), "b")  # type: ignore[arg-type]  # nobody looks at it


async def send(kernel: Kernel) -> None:
    await kernel.credentials.send(object(), "b")  # type: ignore[arg-type]  # nobody looks at it


async def expose(kernel: Kernel) -> None:
    await trio.lowlevel.checkpoint()
    assert kernel.expose() == {}


async def look_on(_: Kernel) -> None:
    await trio.sleep(10)


Act = Callable[[Kernel], Awaitable[object]]
HOOKS: list[tuple[type[Broken], str, Act]] = [
    (Provider, "origin", register),
    (Provider, "origin", reload),
    (Provider, "execute", lambda kernel: kernel.execute(N)),
    *(
        (Provider, hook, stream)
        for hook in (
            "stream",
            "stream's entering",
            "stream's first chunk",
            "stream's second chunk",
            "stream's leaving",
        )
    ),
    (Provider, "count", lambda kernel: kernel.count(N)),
    (Provider, "embed", lambda kernel: kernel.embed(N)),
    (Provider, "refresh", renew),
    (Provider, "refresh_lead", renew),
    (Provider, "refresh_lead", register),
    (Provider, "refresh_lead", reload),
    (Provider, "token_origin", renew),
    (Provider, "models", reload),
    (Provider, "prepare", prepare),
    (Provider, "send", send),
    (Provider, "close_session", lambda kernel: kernel.credentials.close_session("x")),
    (Selector, "select", lambda kernel: kernel.execute(N)),
    (Selector, "observe", lambda kernel: kernel.execute(N)),
    (Transport, "for_credential", lambda kernel: kernel.execute(N)),
    (Transport, "for_credential", stream),
    (Transport, "for_credential", renew),
    (Transport, "for_credential", send),
    (Transport, "for_credential", reload),
    (Observer, "hear", lambda kernel: kernel.execute(N)),
    (Observer, "expose", expose),
    (Store, "list", lambda kernel: kernel.credentials.load()),
    (Store, "save", register),
    (Store, "delete", remove),
    (Store, "watch's next", look_on),
    (Store, "read", renew),
    *((Store, hook, renew) for hook in ("lease", "lease's entering", "lease's leaving")),
]


@asynccontextmanager
async def house(broken: Broken, *, armed: bool = False, extra: str = "") -> AsyncIterator[Kernel]:
    """A kernel with a plugin that breaks, and sound ones for the rest."""
    broken.armed = armed

    def this(kind: type[Broken]) -> Any:
        return broken if isinstance(broken, kind) else kind("", ValueError())

    async with scripted_kernel(
        TOML + extra,
        {"sound": ScriptedProvider(), "broken": this(Provider)},
        store=this(Store),
        selectors={"broken": this(Selector)},
        transports={"broken": this(Transport)},
        observers={"broken": this(Observer)},
    ) as kernel:
        yield kernel


ONCE = sorted({(kind, hook) for kind, hook, _ in HOOKS} | {(Store, "watch")}, key=str)


def shown(value: object) -> str:
    return getattr(value, "__name__", str(value)).strip("<>")


async def check_that_it_hurts_nothing_else(broken: Broken, act: Act) -> None:
    """Only errors of Turnout's come out, calls go on, and the kernel closes in time."""
    with trio.fail_after(LIMIT):
        async with house(broken) as kernel:
            await register(kernel)
            await trio.sleep(1)
            broken.armed = True
            with suppress(TurnoutError):
                await act(kernel)
            await trio.sleep(1)
            broken.armed = False
            await trio.sleep(100)
            assert broken.raised, "it was never reached"
            assert (await kernel.execute(Ask(model="m"))).decision.served_by == "s"


@pytest.mark.parametrize(("kind", "hook", "act"), HOOKS, ids=shown)
async def test_a_hook_that_raises_hurts_what_it_served_and_nothing_else(
    kind: type[Broken], hook: str, act: Act, autojump_clock: MockClock
) -> None:
    """H8."""
    for error in ERRORS:
        await check_that_it_hurts_nothing_else(kind(hook, error), act)


@pytest.mark.parametrize(("kind", "hook"), ONCE, ids=shown)
async def test_a_kernel_closes_whatever_its_plugins_raise_meanwhile(
    kind: type[Broken], hook: str, autojump_clock: MockClock
) -> None:
    """H8: teardown."""
    broken = kind(hook, SystemExit(3))
    with trio.fail_after(LIMIT):
        async with house(broken) as kernel:
            await register(kernel)
            broken.armed = True


@pytest.mark.parametrize(("kind", "hook"), ONCE, ids=shown)
async def test_a_kernel_opens_or_says_who_keeps_it_from_that(
    kind: type[Broken], hook: str, autojump_clock: MockClock
) -> None:
    """H8: a plugin that raises from the start is refused by an error of ours, or works as far as it does."""
    broken = kind(hook, SystemExit(3))
    with trio.fail_after(LIMIT), suppress(ConfigError, PluginError, StoreError):
        async with house(broken, armed=True) as kernel:
            await trio.sleep(100)
            broken.armed = False
            await trio.sleep(100)
            assert (await kernel.execute(Ask(model="m"))).decision.served_by == "s"


class Saying:
    """A stream of one thing, or what is no stream at all."""

    def __init__(self, *said: Any) -> None:
        self.headers: dict[str, str] = {}
        self._said = iter(said)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    def __aiter__(self) -> "Saying":
        return self

    async def __anext__(self) -> Any:
        await trio.lowlevel.checkpoint()
        for said in self._said:
            return said
        raise StopAsyncIteration


def lying(kind: type[Broken], method: str, lie: Any) -> Broken:
    """A plugin whose method gives something else than is due, as soon as it is armed."""
    plugin = kind("", ValueError())
    true = getattr(plugin, method)

    async def later(*given: Any) -> Any:
        return told(lie) if plugin.armed else await true(*given)

    def at_once(*given: Any) -> Any:
        return told(lie) if plugin.armed else true(*given)

    def told(lie: Any) -> Any:
        plugin.raised += 1
        return lie() if callable(lie) else lie

    setattr(plugin, method, later if inspect.iscoroutinefunction(true) else at_once)
    return plugin


LIES: list[tuple[type[Broken], str, Any, Act]] = [
    *((Provider, "execute", lie, lambda kernel: kernel.execute(N)) for lie in (None, b"{}", Reply(body="{}"))),  # type: ignore[arg-type]
    (Provider, "count", {"tokens": 3}, lambda kernel: kernel.count(N)),
    (Provider, "stream", None, stream),
    *(
        (Provider, "stream", partial(Saying, *chunks), stream)
        for chunks in ((b"one",), (Chunk("one"),), (Chunk(b"one"), "two"), (Chunk(b"one"), Chunk("two")))  # type: ignore[arg-type]
    ),
    *((Provider, "origin", lie, register) for lie in (None, 5, "upstream.test")),
    *((Provider, "refresh", lie, renew) for lie in (5, {"access_token": "x"})),
    *((Provider, "refresh_lead", lie, renew) for lie in ("soon", b"5")),
    *((Provider, "token_origin", lie, renew) for lie in (None, 5)),
    *((Provider, "models", lie, reload) for lie in (None, 5, [1, 2], [None, "n"])),
    *((Selector, "select", lie, lambda kernel: kernel.execute(N)) for lie in (None, "b", 5)),
    *((Store, "list", lie, lambda kernel: kernel.credentials.load()) for lie in (None, [5], [("secret", "t")])),
    *((Store, "save", lie, register) for lie in (None, "one", 1.5)),
    *((Store, "read", lie, renew) for lie in (5, "text", Record(kind="secret", id="t", data="{}", version=1))),  # type: ignore[arg-type]
    *((Store, "lease", lie, renew) for lie in (None, 5)),
    *((Observer, "expose", lie, expose) for lie in (None, 5, [1])),
]


@pytest.mark.parametrize(("kind", "method", "lie", "act"), LIES, ids=shown)
async def test_a_hook_that_gives_something_else_is_refused_at_the_border(
    kind: type[Broken], method: str, lie: Any, act: Act, autojump_clock: MockClock
) -> None:
    """H10."""
    await check_that_it_hurts_nothing_else(lying(kind, method, lie), act)


BEARER = attrs.evolve(LOGIN, metadata=Metadata({"refresh_token": "somebody else's"}))

FORGED: list[tuple[str, Any, Act]] = [
    *(("origin", lie, register) for lie in (None, 5, [0], b"https://upstream.test")),
    *(("token_origin", lie, renew) for lie in (None, 5, [0])),
    *(("refresh", lie, renew) for lie in (5, "t", {"access_token": "x"})),
    ("refresh", attrs.evolve(BEARER, id="u"), renew),
    ("refresh", attrs.evolve(BEARER, provider="other"), renew),
    ("refresh", attrs.evolve(BEARER, metadata=Metadata({"expires_at": object()})), renew),
    ("refresh", attrs.evolve(BEARER, metadata={"refresh_token": "x"}), renew),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("method", "lie", "act"), FORGED, ids=shown)
async def test_what_a_provider_may_not_say_of_a_credential_changes_nothing_of_it(
    method: str, lie: Any, act: Act, autojump_clock: MockClock
) -> None:
    """H10: another account's tokens least of all; the error names the plugin's method, or its credential."""
    broken = lying(Provider, method, lie)
    async with house(broken) as kernel:
        await register(kernel)
        await trio.sleep(1)
        before = kernel.credentials.get("t")
        broken.armed = True
        with pytest.raises(TurnoutError) as caught:
            await act(kernel)
        broken.armed = False
        after = kernel.credentials.get("t")

    assert f"`{method}`" in f"{caught.value} {caught.value.__cause__}"
    assert before is not None
    assert after is not None
    assert (after.origin, after.metadata) == (before.origin, before.metadata)


def hanging(kind: type[Broken], method: str) -> Broken:
    """A plugin whose method never comes back, as soon as it is armed."""
    plugin = kind("", ValueError())
    true = getattr(plugin, method)

    async def waits(*given: Any) -> Any:
        if not plugin.armed:
            return await true(*given)
        plugin.raised += 1
        return await trio.sleep_forever()

    setattr(plugin, method, waits)
    return plugin


HANGS: list[tuple[type[Broken], str, Act]] = [
    (Provider, "execute", lambda kernel: kernel.execute(N)),
    (Provider, "count", lambda kernel: kernel.count(N)),
    (Provider, "refresh", renew),
    (Provider, "models", reload),
    (Provider, "close_session", lambda kernel: kernel.credentials.close_session("x")),
    (Store, "list", lambda kernel: kernel.credentials.load()),
    (Store, "save", register),
    (Store, "delete", remove),
    (Store, "read", renew),
    (Observer, "hear", lambda kernel: kernel.execute(N)),
]


@pytest.mark.parametrize(("kind", "method", "act"), HANGS, ids=shown)
async def test_a_hook_that_never_comes_back_is_cut_off(
    kind: type[Broken], method: str, act: Act, autojump_clock: MockClock
) -> None:
    """H9: within its limit, and the kernel serves on and closes."""
    broken = hanging(kind, method)
    with trio.fail_after(3 * LIMIT):
        async with house(broken, extra='[deadlines]\nheaders = "10s"\n') as kernel:
            await register(kernel)
            await trio.sleep(1)
            broken.armed = True
            with trio.fail_after(LIMIT), suppress(TurnoutError):
                await act(kernel)
            assert (await kernel.execute(Ask(model="m"))).decision.served_by == "s"
            await trio.sleep(100)
            assert broken.raised, "it was never reached"


async def test_a_store_that_never_gives_its_records_is_named_at_the_start(autojump_clock: MockClock) -> None:
    """H9."""
    with trio.fail_after(LIMIT), pytest.raises(StoreError, match=r"'memory'.* did not list its records within 60 s"):
        async with house(hanging(Store, "list"), armed=True):
            pytest.fail("it opened")
