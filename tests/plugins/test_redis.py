"""The store `redis` against a real Valkey: laws, leases, outages, and what a server must be like."""

import logging
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from coredis.exceptions import ResponseError
from coredis_marks import COREDIS
from store_setup import (
    KeysMeanwhile,
    check_that_sessions_are_shared,
    check_that_states_outlive_a_restart,
    store_context,
)
from valkey_server import LIMIT, Valkey, running

from turnout import Record, Secret
from turnout.abc import KeyRotator, Leaser, Store, Watcher
from turnout.errors import StoreConflict, StoreError
from turnout.testing import check_store
from turnout_redis import Redis, RedisSettings, _news
from turnout_redis._keys import Keys, digest_of
from turnout_redis._leases import take
from turnout_redis._seal import SharedSealing
from turnout_redis._server import CONNECTIONS, Server, open_server, shown
from turnout_redis._soundness import why_late, why_unsound
from turnout_seal import KeyFile

CANARY = b"canary-token-0123456789"
KEY = "turnout-test-key"

pytestmark = COREDIS


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with running(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def server(shared_server: Valkey) -> Valkey:
    """A sound server with nothing on it."""
    shared_server.ask("FLUSHALL")
    return shared_server


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Valkey]:
    """A server that a test may ill-treat."""
    with running(tmp_path) as server:
        yield server


@pytest.fixture(autouse=True)
def key(tmp_path: Path) -> Path:
    return tmp_path / KEY


@asynccontextmanager
async def opened(server: Valkey, key: Path, prefix: str = "turnout") -> AsyncIterator[Redis]:
    with trio.fail_after(LIMIT):
        chosen = RedisSettings(url=server.url, key_file=str(key), prefix=prefix)
        async with Redis.open(chosen, store_context("redis")) as store:
            yield store


def keys_in(key: Path) -> int:
    return len(key.read_text().split())


async def held(store: Store) -> dict[tuple[str, str], Record]:
    return {(record.kind, record.id): record for record in await store.list()}


async def test_it_keeps_the_laws_of_stores(server: Valkey, key: Path) -> None:
    """Design 7; S25."""

    @asynccontextmanager
    async def open_store() -> AsyncIterator[Store]:
        async with opened(server, key) as store:
            yield store

    await check_store(open_store)


async def test_it_can_be_watched_leased_and_rotated(server: Valkey, key: Path) -> None:
    async with opened(server, key) as store:
        assert isinstance(store, Watcher)
        assert isinstance(store, Leaser)
        assert isinstance(store, KeyRotator)


async def test_cooldowns_backoff_levels_and_affinity_outlive_a_restart(server: Valkey, key: Path) -> None:
    """O18, D5."""
    await check_that_states_outlive_a_restart(lambda: opened(server, key))


async def test_nodes_share_what_sessions_prefer(server: Valkey, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Design 14."""
    await check_that_sessions_are_shared(lambda: opened(server, key), monkeypatch)


async def test_a_subscription_that_is_lost_again_and_again_costs_no_connection(
    server: Valkey, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G4, X2: more often than there are connections."""
    monkeypatch.setattr(_news, "CAP", _news.FLOOR)
    async with opened(server, key) as store:
        for _ in range(CONNECTIONS + 1):
            while b"sub=1" not in server.ask("CLIENT", "LIST", "TYPE", "pubsub"):  # noqa: ASYNC110  # it is the server's
                await trio.sleep(0.01)
            server.ask("CLIENT", "KILL", "TYPE", "pubsub")
        await store.save("state", "a", b"kept", None)
        assert (await held(store))["state", "a"].data == b"kept"


async def test_no_secret_is_on_the_server_in_clear(own_server: Valkey, key: Path) -> None:
    """S20: neither in the append-only file nor in an answer; ids and secrets are in no key (S24)."""
    async with opened(own_server, key) as store:
        await store.save("secret", "*'; DROP\r\n{x}", CANARY, 0)
        await store.save("state", "*'; DROP\r\n{x}", b"cooling", 0)
        async with store.lease("*'; DROP\r\n{x}", 30) as lease:
            assert lease is not None
        assert {record.data for record in await store.list()} == {CANARY, b"cooling"}
    names = own_server.ask("KEYS", "*")

    assert b"DROP" not in names
    assert names.count(b"turnout:") == 6, names
    kept = b"".join(own_server.on_disk().values())
    assert b"cooling" in kept
    assert CANARY not in kept


async def test_another_key_is_refused_and_changes_nothing(server: Valkey, key: Path, tmp_path: Path) -> None:
    """S22: and so is a missing one."""
    async with opened(server, key) as store:
        await store.save("secret", "a", CANARY, 0)
    for wrong in ("missing", "other"):
        other = tmp_path / wrong
        if wrong == "other":
            KeyFile(other).create()
        with pytest.raises(StoreError, match="key"):
            async with opened(server, other):
                raise AssertionError("it opened")
        assert (KeyFile(other).load() is not None) is (wrong == "other")
    async with opened(server, key) as store:
        assert (await held(store))["secret", "a"].data == CANARY


async def test_a_record_in_another_place_is_set_aside(
    server: Valkey, key: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """S21: a ciphertext of one credential under the name of another does not open; the others load."""
    async with opened(server, key) as store:
        await store.save("secret", "a", b"of a", 0)
        await store.save("secret", "b", b"of b", 0)
        a, b = (store._keys.record(one) for one in (digest_of("secret", "a"), digest_of("secret", "b")))
        script = "redis.call('HSET', KEYS[1], 'data', redis.call('HGET', KEYS[2], 'data')) return 1"
        assert server.ask("EVAL", script, "2", b, a) == b":1\r\n"
    async with opened(server, key) as store:
        assert {id: record.data for (_, id), record in (await held(store)).items()} == {"a": b"of a"}
        assert "set aside" in caplog.text or "kept in the hash" in caplog.text
        assert server.ask("HLEN", "turnout:aside") == b":1\r\n"
        assert await store.save("secret", "b", b"anew", None) == 2


async def test_a_server_that_is_not_there_is_named(tmp_path: Path, key: Path) -> None:
    """G1: a clear message and no secret in it."""
    with running(tmp_path) as gone:
        gone.kill()
        settings = RedisSettings(url=Secret(f"redis://me:{CANARY.decode()}@127.0.0.1:{gone.port}/0"), key_file=str(key))
        with pytest.raises(StoreError, match=rf"start the server.*127\.0\.0\.1:{gone.port}/0") as caught:
            async with Redis.open(settings, store_context("redis")):
                raise AssertionError("it opened")
    assert CANARY.decode() not in f"{caught.value!r} {caught.value.__cause__!r} {settings!r}"


async def test_a_wrong_password_is_told_and_not_shown(tmp_path: Path, key: Path) -> None:
    """S40."""
    with running(tmp_path) as server:
        server.ask("CONFIG", "SET", "requirepass", "the-right-password")
        settings = RedisSettings(url=Secret(f"redis://:{CANARY.decode()}@127.0.0.1:{server.port}/0"), key_file=str(key))
        with pytest.raises(StoreError, match="Authentication") as caught:
            async with Redis.open(settings, store_context("redis")):
                raise AssertionError("it opened")
        assert CANARY.decode() not in f"{caught.value!r} {caught.value.__cause__!r}"


async def test_a_server_that_hangs_fails_each_call_in_two_seconds(own_server: Valkey, key: Path) -> None:
    """G3: SIGSTOP; and it serves again afterwards, on the same object."""
    async with opened(own_server, key) as store:
        await store.save("secret", "a", b"before", 0)
        own_server.send(signal.SIGSTOP)
        took: list[float] = []

        async def fail(number: int) -> None:
            began = trio.current_time()
            with pytest.raises(StoreError, match="did not answer within 2 s"):
                if number % 2:
                    await store.save("state", f"s{number}", b"x", None)
                else:
                    async with store.lease(f"l{number}", 30):
                        raise AssertionError("it was given")
            took.append(trio.current_time() - began)

        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(fail, number)
        own_server.send(signal.SIGCONT)
        assert len(took) == 10
        assert max(took) < 3

        assert await store.save("secret", "a", b"after", 1) == 2
        assert (await held(store))["secret", "a"].data == b"after"


async def test_what_was_acknowledged_survives_a_kill_of_the_server(own_server: Valkey, key: Path) -> None:
    """G2, F-1: the store itself goes on when the server is back."""
    own_server.ask("CONFIG", "SET", "appendfsync", "always")
    async with opened(own_server, key) as store:
        for number in range(50):
            await store.save("secret", f"c{number}", b"kept", 0)
        own_server.kill()
        began = trio.current_time()
        with pytest.raises(StoreError):
            await store.save("secret", "c0", b"lost", 1)
        assert trio.current_time() - began < 3
        own_server.start()

        assert {record.version for record in await store.list()} == {1}
        assert len(await held(store)) == 50
        assert await store.save("secret", "c0", b"again", 1) == 2


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError("secret"),
        ResponseError("OOM secret"),
        ExceptionGroup("", [ExceptionGroup("", [trio.BrokenResourceError("secret")])]),
    ],
    ids=["the system's", "the server's", "a nursery's"],
)
async def test_whatever_the_way_breaks_with_is_an_error_of_the_store(error: Exception) -> None:
    """S41: by its class, and by the server's own word for it."""

    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        raise error

    with pytest.raises(StoreError, match="it cannot be done: redis at h:1/0: ") as caught:
        await Server(None, "h:1/0").ask("it cannot be done", fail)  # type: ignore[arg-type]  # no client is needed
    assert "secret" not in str(caught.value)


def caused(error: Exception, *, by: Exception) -> Exception:
    error.__cause__ = by
    return error


async def hang_up(stream: trio.SocketStream) -> None:
    """As a server does that is just starting, or a balancer with nobody behind it."""
    await stream.aclose()


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ExceptionGroup("", [ExceptionGroup("", [trio.BrokenResourceError("secret")])]), "BrokenResourceError"),
        (
            caused(ConnectionError("secret"), by=ConnectionResetError("secret")),
            "ConnectionError (ConnectionResetError)",
        ),
        (caused(ConnectionError("x"), by=ExceptionGroup("", [EOFError()])), "ConnectionError (EOFError)"),
        (ResponseError("OOM secret"), "ResponseError OOM"),
    ],
    ids=["a group", "a cause", "a group as the cause", "the server's"],
)
def test_an_error_is_shown_with_what_it_was_raised_for(error: Exception, says: str) -> None:
    assert shown(error) == says


async def test_an_outage_leaves_no_traceback_in_the_log(
    own_server: Valkey, key: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """S41: of coredis neither; and whoever else uses it sees what it always logs."""
    caplog.set_level(logging.DEBUG)
    async with opened(own_server, key) as store:
        await store.save("state", "a", b"before", None)
        own_server.kill()
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(trio.serve_tcp, hang_up, own_server.port, host="127.0.0.1"))
            with pytest.raises(StoreError, match="ConnectionError"):
                await store.save("state", "a", b"lost", None)
            nursery.cancel_scope.cancel()
    assert not [record for record in caplog.records if record.exc_info or "Traceback" in record.getMessage()]
    assert any(record.getMessage().startswith("Connection closed") for record in caplog.records)
    logging.getLogger("coredis").error("somebody else's", exc_info=EOFError())
    assert caplog.records[-1].exc_info


async def test_a_bug_is_no_error_of_the_store() -> None:
    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        raise ExceptionGroup("", [KeyError("x"), OSError()])

    with pytest.raises(ExceptionGroup):
        await Server(None, "h:1/0").ask("it cannot be done", fail)  # type: ignore[arg-type]  # no client is needed


@pytest.mark.parametrize(
    ("info", "says"),
    [
        ({"aof_enabled": 1, "maxmemory_policy": "noeviction", "role": "master"}, ""),
        ({"aof_enabled": 0, "maxmemory_policy": "noeviction"}, "appendonly yes"),
        ({"aof_enabled": 1, "maxmemory_policy": "allkeys-lru"}, "allkeys-lru"),
        ({"aof_enabled": 1, "maxmemory_policy": "noeviction", "role": "slave"}, "primary"),
        ({}, "appendonly"),
    ],
    ids=["sound", "forgets", "evicts", "a replica", "unknown"],
)
def test_a_server_that_forgets_or_evicts_is_unsound(info: dict[str, object], says: str) -> None:
    """G7."""
    why = why_unsound(info)

    assert bool(why) is bool(says)
    assert says in why


@pytest.mark.parametrize(("setting", "late"), [("always", False), ("everysec", True), ("no", True)])
async def test_a_server_that_answers_before_it_syncs_is_told(
    own_server: Valkey, key: Path, setting: str, late: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """G7: what a kill of it may cost, and what to set."""
    own_server.ask("CONFIG", "SET", "appendfsync", setting)
    async with opened(own_server, key):
        assert ("set `appendfsync always`" in caplog.text) is late


def test_of_a_server_that_does_not_say_nothing_is_said() -> None:
    assert why_late(None) == ""


@pytest.mark.parametrize(
    "option", [("appendonly", "no"), ("maxmemory-policy", "allkeys-lru")], ids=lambda option: option[0]
)
async def test_an_unsound_server_keeps_cooldowns_and_no_secrets(
    own_server: Valkey, key: Path, option: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """G7: and the message says what to change; nothing is made that would be needed later."""
    assert own_server.ask("CONFIG", "SET", *option) == b"+OK\r\n"
    async with opened(own_server, key) as store:
        assert option[0].split("-")[0] in caplog.text
        assert await store.save("state", "a", b"cooling", 0) == 1
        with pytest.raises(StoreError, match="no secret is kept"):
            await store.save("secret", "a", CANARY, 0)
        assert set(await held(store)) == {("state", "a")}
    assert KeyFile(key).load() is None
    own_server.ask("CONFIG", "SET", "appendonly", "yes")
    own_server.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
    async with opened(own_server, key) as store:
        assert await store.save("secret", "a", CANARY, 0) == 1
        assert (await held(store))["state", "a"].data == b"cooling"


async def test_what_others_write_is_seen_soon_and_what_we_write_is_not(server: Valkey, key: Path) -> None:
    """Bounded staleness: by a message at once, by polling within a second."""
    async with opened(server, key) as one, opened(server, key) as two:
        await one.list()
        watch = two.watch()
        await two.list()
        await trio.sleep(0.2)  # until it is subscribed: without that it would take up to a second
        began = trio.current_time()
        await two.save("secret", "own", b"ours", 0)
        await one.save("secret", "a", b"theirs", 0)
        await one.save("state", "a", b"cooling", 0)
        await one.delete("state", "a")
        seen: dict[tuple[str, str], Record | None] = {}
        while ("state", "a") not in seen or seen["state", "a"] is not None:
            for change in await anext(watch):
                seen[change.kind, change.id] = change.record
        assert seen == {
            ("secret", "a"): Record(kind="secret", id="a", data=b"theirs", version=1),
            ("state", "a"): None,
        }
        assert trio.current_time() - began < 2.5


async def test_a_watch_outlives_an_outage_and_catches_up(own_server: Valkey, key: Path) -> None:
    """G2, G3: it says that the server is away, goes on when asked again, and misses nothing; no subscription ends."""
    async with opened(own_server, key) as one, opened(own_server, key) as two:
        watch = two.watch()
        await two.list()
        for round in range(2):
            own_server.kill()
            with pytest.raises(StoreError):
                await anext(watch)
            own_server.start()
            await one.save("secret", "a", f"round {round}".encode(), None)
            began = trio.current_time()
            (change,) = await anext(watch)
            assert change.record is not None
            assert change.record.data == f"round {round}".encode()
            assert trio.current_time() - began < 5, "converged (G2)"
        while not own_server.ask("PUBSUB", "NUMSUB", "turnout:news").endswith(b":2\r\n"):  # noqa: ASYNC110  # its event
            await trio.sleep(0.1)  # both subscriptions are made again, or the limit of the test ends it


async def test_a_lease_is_held_by_one_and_given_back(server: Valkey, key: Path) -> None:
    """G8: by the server's clock; each has a greater number than the one before."""
    async with opened(server, key) as one, opened(server, key) as two:
        async with one.lease("a", 30) as first:
            assert first is not None
            assert first.until == pytest.approx(time.time() + 30, abs=5)
            async with two.lease("a", 30) as refused, one.lease("a", 30) as twice, two.lease("b", 30) as other:
                assert refused is None
                assert twice is None
                assert other is not None
        async with two.lease("a", 30) as second:
            assert second is not None
            assert second.fence == first.fence + 1


async def test_one_record_is_read_as_it_is_now(server: Valkey, key: Path) -> None:
    """E7: whoever wrote it, also one that was removed and known before it was opened."""
    async with opened(server, key) as one:
        await one.save("secret", "a", b"first", None)
        await one.save("state", "a", b"cools", None)
        await one.delete("state", "a")
        async with opened(server, key) as two:
            await two.list()
            assert await two.read("state", "a") is None
            assert await two.read("state", "never there") is None
            await one.save("secret", "a", b"second", 1)
            record = await two.read("secret", "a")
            assert record is not None
            assert (record.data, record.version) == (b"second", 2)
            await one.delete("secret", "a")
            assert await two.read("secret", "a") is None


async def test_of_many_that_want_a_lease_one_gets_it(server: Valkey, key: Path) -> None:
    async with opened(server, key) as one, opened(server, key) as two:
        got: list[int] = []
        over = trio.Event()

        async def want(store: Redis) -> None:
            async with store.lease("a", 30) as lease:
                if lease is not None:
                    got.append(lease.fence)
                    await over.wait()

        async with trio.open_nursery() as nursery:
            for store in (one, two) * 10:
                nursery.start_soon(want, store)
            await trio.sleep(0.5)
            over.set()
        assert got == [1]


async def test_a_node_that_lost_its_lease_cannot_write(server: Valkey, key: Path) -> None:
    """E6: even when the record has not been written since; what it wrote before stands, and states are free."""
    async with opened(server, key) as slow, opened(server, key) as quick:
        await slow.save("secret", "a", b"old", 0)
        async with slow.lease("a", 0.05) as lost:
            assert lost is not None
            assert await slow.save("secret", "a", b"still ours", 1) == 2
            await trio.sleep(0.2)
            async with quick.lease("a", 30) as taken:
                assert taken is not None
                for if_version in (2, None):
                    with pytest.raises(StoreConflict, match="lease was lost") as conflict:
                        await slow.save("secret", "a", b"too late", if_version)
                    assert conflict.value.current == 2
                assert await slow.save("state", "a", b"cooling", 0) == 1
                assert await quick.save("secret", "a", b"new", 2) == 3
            with pytest.raises(StoreConflict):
                await slow.save("secret", "a", b"too late", 3)
        async with quick.lease("a", 30) as free:
            assert free is not None, "the late one gave nothing back that was not its own"
        assert (await held(slow))["secret", "a"].data == b"new"


async def test_a_lease_whose_answer_got_lost_is_taken_back_by_whoever_asked(own_server: Valkey, key: Path) -> None:
    """G3, G2: nobody was told of it, so nothing was done under it; an ask that arrives late takes nothing away."""
    async with opened(own_server, key) as one, opened(own_server, key) as two:
        async with one.lease("a", 60):
            pass  # from here on it has a connection, and the server its script
        own_server.send(signal.SIGSTOP)
        with pytest.raises(StoreError):
            async with one.lease("a", 60):
                pass
        own_server.send(signal.SIGCONT)
        name = one._keys.lease("a")
        while own_server.ask("HGET", name, "fence") != b"$1\r\n2\r\n":  # noqa: ASYNC110  # its event
            await trio.sleep(0.01)  # what was asked is done, or the limit of the test ends it
        async with two.lease("a", 60) as refused:
            assert refused is None
        async with one.lease("a", 60) as lease, one.lease("a", 60) as twice, two.lease("a", 60) as refused:
            assert lease is not None
            assert (lease.fence, twice, refused) == (3, None, None)
            assert await take(one._server, one._keys, "a", 60, writer=one._records.writer, ask=2) is None, "late"
            assert await one.save("secret", "a", b"new", 0) == 1
        async with two.lease("a", 60) as free:
            assert free is not None


async def test_a_lease_that_an_earlier_version_has_taken_is_nobody_elses(server: Valkey, key: Path) -> None:
    """G10: it says nothing of its holder, and what was said of the one before stays."""
    async with opened(server, key) as store:
        async with store.lease("a", 60):
            pass
        name, ends = store._keys.lease("a"), int((time.time() + 60) * 1000)
        server.ask("HINCRBY", name, "fence", "1")
        server.ask("HSET", name, "until", str(ends))
        async with store.lease("a", 60) as refused:
            assert refused is None


async def test_a_lease_that_ends_later_than_any_can_is_no_hindrance(server: Valkey, key: Path) -> None:
    """G8: the server's clock was ahead when it was given; a lease that may be true is one."""
    async with opened(server, key) as store:
        lease = store._keys.lease("a")
        for hours, taken in ((0.5, False), (2.0, True)):
            ends = int((time.time() + hours * 3600) * 1000)
            server.ask("HSET", lease, "fence", "7", "until", str(ends))
            async with store.lease("a", 30) as got:
                assert (got is not None and got.fence == 8) is taken


async def test_a_lease_asked_for_longer_than_any_may_last_is_held_all_the_same(server: Valkey, key: Path) -> None:
    """G8: it is cut to the longest; were it not, the next node would take its end for a clock that ran ahead."""
    async with opened(server, key) as one, opened(server, key) as two, one.lease("a", 7200) as first:
        assert first is not None
        async with two.lease("a", 30) as second:
            assert second is None


async def test_one_that_has_let_go_of_its_lease_writes_by_version_again(server: Valkey, key: Path) -> None:
    """E11: an operator's edit needs no lease, and is not to be refused because of one that is over."""
    async with opened(server, key) as one, opened(server, key) as other:
        async with one.lease("a", 60):
            pass
        async with other.lease("a", 60):
            assert await one.save("secret", "a", b"edit", 0) == 1


async def test_a_lease_that_cannot_be_given_back_ends_by_itself(
    server: Valkey, key: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """G2: what was done under it stands."""
    async with opened(server, key) as store:
        async with store.lease("a", 60):
            name = store._keys.lease("a")
            server.ask("DEL", name)
            server.ask("SET", name, "no lease")
        assert "it ends by itself" in caplog.text


async def test_a_node_whose_lease_the_server_forgot_cannot_write(server: Valkey, key: Path) -> None:
    """G5, G8: who else was given it since, nobody knows."""
    async with opened(server, key) as store, store.lease("a", 30) as lease:
        assert lease is not None
        server.ask("DEL", store._keys.lease("a"))
        with pytest.raises(StoreConflict, match="lease was lost"):
            await store.save("secret", "a", b"late", 0)


async def test_a_lease_that_ended_untaken_may_still_write(server: Valkey, key: Path) -> None:
    async with opened(server, key) as store, store.lease("a", 0.01) as lease:
        assert lease is not None
        await trio.sleep(0.1)
        assert await store.save("secret", "a", b"new", 0) == 1


async def test_a_server_that_was_emptied_is_noticed(
    own_server: Valkey, key: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """G5: nothing is written to it as if it were new."""
    async with opened(own_server, key) as store:
        await store.save("secret", "a", CANARY, 0)
        await store.list()
        own_server.ask("FLUSHALL")
        with pytest.raises(StoreError, match="was emptied"):
            await store.save("secret", "a", CANARY, 1)
        watch = store.watch()
        with trio.move_on_after(1.5):
            await anext(watch)
        assert "went back" in caplog.text


async def test_an_older_server_replaces_nothing_newer(
    own_server: Valkey, key: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """G5: what it has is told loudly and not passed on."""
    async with opened(own_server, key) as one, opened(own_server, key) as two:
        await one.save("secret", "a", b"one", 0)
        own_server.send(signal.SIGSTOP)
        backup = own_server.on_disk()
        own_server.send(signal.SIGCONT)
        await one.save("secret", "a", b"two", 1)
        await two.list()
        own_server.kill()
        own_server.put_back(backup)
        own_server.start()

        watch = two.watch()
        with trio.move_on_after(3):
            await anext(watch)
            raise AssertionError("an older record was passed on")
        assert "went back to version 1 from 2" in caplog.text


async def test_the_key_can_be_rotated_while_others_write(server: Valkey, key: Path) -> None:
    """S22: both nodes go on; afterwards the old key is not needed."""
    async with opened(server, key) as one, opened(server, key) as two:
        for number in range(20):
            await one.save("secret", f"c{number}", CANARY, 0)
        before = KeyFile(key).load()
        assert await one.rotate_key() == 20
        assert await two.save("secret", "c0", b"new", 1) == 2
        after = KeyFile(key).load()
        assert before is not None
        assert after is not None
        assert after.get(before.first.id) is None
        assert len({record.data for record in await two.list()}) == 2
    async with opened(server, key) as store:
        assert len(await held(store)) == 20


async def test_a_rotation_takes_nothing_back_that_others_write_meanwhile(server: Valkey, key: Path) -> None:
    """S22, E11: what has changed since it was read is under the new key already, and is no failure of the rotation."""
    async with opened(server, key) as one, opened(server, key) as two:
        for number in range(40):
            await one.save("secret", f"c{number}", b"old", 0)

        async def write() -> None:
            for number in reversed(range(40)):
                await two.save("secret", f"c{number}", b"new", 1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            await one.rotate_key()
        for store in (one, two):
            assert {record.data for record in await store.list()} == {b"new"}
            assert len(await held(store)) == 40
    async with opened(server, key) as store:
        assert {record.data for record in await store.list()} == {b"new"}


async def test_a_node_reads_what_was_sealed_with_a_key_that_another_has_brought(server: Valkey, key: Path) -> None:
    """S22: without having written anything itself since."""
    async with opened(server, key) as one, opened(server, key) as two, opened(server, key) as three:
        await one.save("secret", "a", CANARY, 0)
        await one.rotate_key()
        assert [record.data for record in await two.list()] == [CANARY]
        found = await three.read("secret", "a")
        assert found is not None
        assert found.data == CANARY


async def test_of_two_rotations_at_once_the_later_key_opens_everything(server: Valkey, key: Path) -> None:
    """S22: neither takes the other's key away."""
    async with opened(server, key) as one, opened(server, key) as two:
        for number in range(20):
            await one.save("secret", f"c{number}", CANARY, 0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.rotate_key)
            nursery.start_soon(two.rotate_key)
        await two.rotate_key()
        assert await one.save("secret", "late", CANARY, 0) == 1
    async with opened(server, key) as store:
        assert len(await held(store)) == 21
    assert keys_in(key) == 1


async def test_a_secret_under_a_key_that_is_not_here_is_left_alone_and_a_rotation_keeps_the_older_keys(
    server: Valkey, key: Path
) -> None:
    """S22: it may be sound, and the key may come back."""
    async with opened(server, key) as store:
        for id in "ab":
            await store.save("secret", id, CANARY, 0)
        foreign = "local d = redis.call('HGET', KEYS[1], 'data') redis.call('HSET', KEYS[1], 'data', "
        foreign += "string.sub(d, 1, 14) .. string.rep('x', 8) .. string.sub(d, 23), 'by', 'another') return 1"
        assert server.ask("EVAL", foreign, "1", store._keys.record(digest_of("secret", "a"))) == b":1\r\n"
        lies = server.ask("HGET", store._keys.record(digest_of("secret", "a")), "data")
        assert [record.id for record in await store.list()] == ["b"]
        with pytest.raises(StoreError, match="is not overwritten"):
            await store.save("secret", "a", b"lost", None)
        with pytest.raises(StoreError, match="1 records are sealed with keys that are not here"):
            await store.rotate_key()
        assert server.ask("HGET", store._keys.record(digest_of("secret", "a")), "data") == lies
    assert keys_in(key) == 2


async def test_of_two_nodes_that_start_on_an_empty_server_at_once_one_makes_the_header(
    server: Valkey, key: Path
) -> None:
    """S22: what the first one has sealed by then opens, and stays."""

    async def another() -> None:
        async with opened(server, key) as first:
            await first.save("secret", "a", CANARY, 0)

    async with open_server(RedisSettings(url=server.url)) as late:
        keys = KeysMeanwhile(KeyFile(key), partial(trio.from_thread.run, another))
        await SharedSealing(late, Keys("turnout"), keys).follow(untouched=True)
    async with opened(server, key) as store:
        assert (await held(store))["secret", "a"].data == CANARY


async def test_a_header_that_is_gone_is_never_made_anew_over_what_is_sealed(server: Valkey, key: Path) -> None:
    """S22: it neither starts empty nor overwrites."""
    async with opened(server, key) as store:
        await store.save("secret", "a", CANARY, 0)
        assert server.ask("HDEL", "turnout:about", "seal") == b":1\r\n"
    with pytest.raises(StoreError, match="its seal header is gone"):
        async with opened(server, key):
            raise AssertionError("it opened")
    assert server.ask("HGET", "turnout:about", "seal") == b"$-1\r\n"


@pytest.mark.parametrize(
    "url", ["", "http://h", "redis:///0", "redis://h:x/0", "redis://h/a", "redis://h:99999999", "//h", "redis://h/٣"]
)
def test_an_unusable_url_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ValueError, match="url") as caught:
        RedisSettings(url=Secret(url))

    assert not url or url not in str(caught.value)


def test_a_url_may_hold_user_password_and_database() -> None:
    address = RedisSettings(url=Secret("rediss://me:p%40ss@[::1]:7000/3")).address()

    assert (address.host, address.port, address.db, address.tls) == ("::1", 7000, 3, True)
    assert address.username == "me"
    assert address.password == Secret("p@ss")
    assert str(address) == "[::1]:7000/3"


@pytest.mark.parametrize("prefix", ["", "a b", "a{b}", "x" * 65, "ü"])
def test_an_unusable_prefix_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="prefix"):
        RedisSettings(prefix=prefix)


async def test_pools_with_different_prefixes_share_a_server(server: Valkey, key: Path) -> None:
    async with opened(server, key) as one, opened(server, key, prefix="other") as two:
        await one.save("secret", "a", b"one", 0)
        await two.save("secret", "a", b"two", 0)
        assert (await held(one))["secret", "a"].data == b"one"
        assert (await held(two))["secret", "a"].data == b"two"
