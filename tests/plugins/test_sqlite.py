import ast
import fcntl
import logging
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path

import attrs
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_setup import (
    LIMIT,
    NOW,
    WHEN,
    KeysMeanwhile,
    check_that_a_cancelled_save_is_whole,
    check_that_sessions_are_shared,
    check_that_states_outlive_a_restart,
    full_disk,
    mode,
    store_context,
)

from turnout import Config, Credential, Metadata, Plugins, open_kernel, parse_config
from turnout.abc import KeyRotator, Leaser, Watcher
from turnout.errors import StoreConflict, StoreError
from turnout.testing import ScriptedProvider, check_store
from turnout.testing import given as given_instance
from turnout.testing._house import InTurn, NoTransport
from turnout_seal import KeyFile, Versions
from turnout_sqlite import Sqlite
from turnout_sqlite._database import connect
from turnout_sqlite._leases import LONGEST, store_now, take
from turnout_sqlite._opening import Opened
from turnout_sqlite._place import PAUSE
from turnout_sqlite._records import Records

CANARY = b"sk-canary-1234567890"
LOG = logging.getLogger("turnout.stores.sqlite")
SOURCE = Path(__file__).parents[2] / "plugins" / "sqlite" / "turnout_sqlite"


def sqlite(place: Path) -> AbstractAsyncContextManager[Sqlite]:
    return Sqlite.open(Sqlite.Settings(path=str(place)), store_context("sqlite", lambda: NOW))


@contextmanager
def opened(place: Path) -> Iterator[Opened]:
    one = Opened(Sqlite.Settings(path=str(place)), NOW, LOG)
    try:
        yield one
    finally:
        one.close()


@contextmanager
def raw(place: Path) -> Iterator[sqlite3.Connection]:
    """The database as anybody sees it who can read the file."""
    connection = sqlite3.connect(place / "credentials.sqlite", isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


def held(one: Opened) -> dict[str, bytes]:
    return {record.id: record.data for record in one.records.list(NOW)}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "state" / "store"


# --- the laws of a store ---------------------------------------------------------------------------------------------


async def test_the_sqlite_store_keeps_the_laws_of_a_store(place: Path) -> None:
    await check_store(lambda: sqlite(place))


async def test_the_sqlite_store_can_do_more_than_a_store_must(place: Path) -> None:
    async with sqlite(place) as store:
        assert isinstance(store, Watcher)
        assert isinstance(store, Leaser)
        assert isinstance(store, KeyRotator)


async def test_cooldowns_backoff_levels_and_affinity_outlive_a_restart(place: Path) -> None:
    """O18, D5."""
    await check_that_states_outlive_a_restart(lambda: sqlite(place))


async def test_processes_share_what_sessions_prefer(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Design 14."""
    await check_that_sessions_are_shared(lambda: sqlite(place), monkeypatch)


async def test_a_cancelled_save_that_has_begun_is_whole(place: Path) -> None:
    await check_that_a_cancelled_save_is_whole(lambda: sqlite(place))


def test_versions_go_on_after_a_removal(place: Path) -> None:
    """Somebody who still has version 1 of what was removed cannot overwrite what came after it."""
    with opened(place) as one:
        one.records.save("state", "a", b"x", 0, NOW)
        one.records.delete("state", "a")
        assert one.records.save("state", "a", b"y", 0, NOW) == 3
        with pytest.raises(StoreConflict) as caught:
            one.records.save("state", "a", b"z", 1, NOW)

    assert caught.value.current == 3


def test_the_default_directory_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """XDG base directories 0.8."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert Sqlite.Settings().place() == tmp_path / "turnout" / "store"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert Sqlite.Settings(path="").place() == Path.home() / ".local/state/turnout/store"
    assert Sqlite.Settings(path="~/x").place() == Path.home() / "x"


# --- ids and SQL -----------------------------------------------------------------------------------------------------

AWKWARD = ["'", "a'; DROP TABLE records; --", "%", "_", "a\0b", "\u202egnp.exe", "x" * 10_000, "\ud800", "", " "]


@given(ids=st.lists(st.sampled_from(AWKWARD) | st.text(max_size=6), unique=True, max_size=6))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_id_is_one_record_and_no_part_of_a_statement(tmp_path: Path, ids: list[str]) -> None:
    """S24: quotes, wildcards, NUL, right-to-left marks, 10 KB."""
    place = tmp_path / "store"
    with opened(place) as one:
        for id in ids:
            one.records.save("secret", id, id.encode("utf-8", "surrogatepass"), 0, NOW)

        assert held(one) == {id: id.encode("utf-8", "surrogatepass") for id in ids}
        for id in ids:
            one.records.delete("secret", id)
        assert held(one) == {}


def test_every_statement_is_a_constant() -> None:
    """S24: no value can become part of one, whatever it holds."""
    calls = [
        (path.name, call.lineno, call.args[0])
        for path in SOURCE.glob("*.py")
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in {"execute", "executemany", "executescript"}
    ]

    assert len(calls) > 20
    assert [call[:2] for call in calls if not isinstance(call[2], ast.Constant)] == []


# --- secrets at rest -------------------------------------------------------------------------------------------------


def everything(place: Path) -> bytes:
    files = [path for path in place.parent.rglob("*") if path.is_file()]
    assert any(path.name.endswith("-wal") for path in files), "the store is open, with its journal"
    return b"".join(path.read_bytes() for path in files)


def test_no_secret_is_in_any_file(place: Path) -> None:
    """S20: database, journal, versions and lock, while the store is open and after it was closed."""
    with opened(place) as one:
        for turn in range(5):
            one.records.save("secret", "anna", b'{"api_key":"%s","turn":%d}' % (CANARY, turn), None, NOW)
            one.records.save("secret", f"ben-{turn}", CANARY, None, NOW)
        one.records.delete("secret", "ben-0")
        found = everything(place)
        assert CANARY not in found
        assert b"ben-1" in found, "the search sees what is in the files"
        assert held(one)["ben-1"] == CANARY
    assert all(CANARY not in path.read_bytes() for path in place.parent.rglob("*") if path.is_file())


def test_a_secret_moved_to_another_credential_is_refused(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    """S21, F-6: it is set aside with its bytes, and the others load."""
    with opened(place) as one:
        for id in ("anna", "ben", "carl"):
            one.records.save("secret", id, b"of " + id.encode(), 0, NOW)
    with raw(place) as database:
        moved = "UPDATE records SET data = (SELECT data FROM records WHERE id = ?) WHERE id = ?"
        database.execute(moved, (b"anna", b"ben"))
    with opened(place) as one:
        assert held(one) == {"anna": b"of anna", "carl": b"of carl"}
        assert one.records.save("secret", "ben", b"new", 0, NOW) == 2
        assert held(one)["ben"] == b"new"
    with raw(place) as database:
        rows = database.execute("SELECT at, kind, id, version, reason FROM set_aside").fetchall()
    assert rows == [(NOW, "secret", b"ben", 1, "it was changed, or sealed for another place or version")]
    assert "the secret of 'ben' cannot be read" in caplog.text


def test_an_older_secret_put_back_is_refused_and_one_with_its_version_is_flagged(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """S21, F-12."""
    with opened(place) as one:
        one.records.save("secret", "anna", b"first", 0, NOW)
    with raw(place) as database:
        ((old,),) = database.execute("SELECT data FROM records").fetchall()
    with opened(place) as one:
        one.records.save("secret", "anna", b"second", 1, NOW)
    with raw(place) as database:
        database.execute("UPDATE records SET data = ?", (old,))
    with opened(place) as one:
        assert held(one) == {}, "the version is authenticated"
        assert one.records.save("secret", "anna", b"third", 0, NOW) == 3
    with raw(place) as database:
        database.execute("UPDATE records SET data = ?, version = 1", (old,))
    with opened(place) as one:
        assert held(one) == {"anna": b"first"}
        assert "the secret of 'anna' has version 1 and had 3 before: the store was rolled back" in caplog.text
        caplog.clear()
        assert held(one) == {"anna": b"first"}
    assert caplog.text == "", "it is told once"


def test_a_restored_backup_loads_and_is_flagged(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    """F-12: a backup taken while the store is open is consistent."""
    with opened(place) as one:
        one.records.save("secret", "anna", b"backed up", 0, NOW)
        with raw(place) as database:
            copy = sqlite3.connect(place.parent / "backup.sqlite")
            database.backup(copy)
            copy.close()
        one.records.save("secret", "anna", b"rotated since", 1, NOW)
    shutil.copyfile(place.parent / "backup.sqlite", place / "credentials.sqlite")
    with opened(place) as one:
        assert held(one) == {"anna": b"backed up"}
    assert "has version 1 and had 2 before" in caplog.text


def test_a_store_that_was_emptied_says_so(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    """F-12, S22."""
    with opened(place) as one:
        one.records.save("secret", "anna", b"x", 0, NOW)
    (place / "credentials.sqlite").unlink()
    with opened(place) as one:
        assert held(one) == {}
    assert "the store is new or was emptied; it held 1 secrets" in caplog.text


def test_a_secret_that_is_not_sealed_was_planted(place: Path) -> None:
    """S21: this store never keeps one so."""
    with opened(place) as one:
        one.records.save("secret", "anna", b"x", 0, NOW)
    with raw(place) as database:
        database.execute("UPDATE records SET data = ?", (b'{"id":"anna"}',))
    with opened(place) as one:
        assert held(one) == {}


# --- the master key --------------------------------------------------------------------------------------------------


def digest(place: Path) -> bytes:
    return (place / "credentials.sqlite").read_bytes()


def key(place: Path) -> Path:
    return place.with_name("store.key")


def test_a_wrong_missing_or_readable_key_refuses_to_start_and_changes_nothing(place: Path) -> None:
    """S22."""
    with opened(place) as one:
        one.records.save("secret", "anna", b"x", 0, NOW)
    content, before = key(place).read_bytes(), digest(place)
    for spoil, told in (
        (lambda: key(place).chmod(0o644), "others may read the key file"),
        (key(place).unlink, "the master key is missing"),
        (lambda: KeyFile(key(place)).create(), "and another one is given"),
    ):
        spoil()
        with pytest.raises(StoreError, match=told):
            Opened(Sqlite.Settings(path=str(place)), NOW, LOG)
        assert digest(place) == before
    key(place).write_bytes(content)
    with opened(place) as one:
        assert held(one) == {"anna": b"x"}


async def test_a_rotation_rewraps_every_record_while_others_go_on(place: Path) -> None:
    """S22: one that opened the store before seals with the new key at once, and reads what was re-wrapped."""
    async with sqlite(place) as one, sqlite(place) as other:
        for number in range(250):
            await one.save("secret", f"c{number}", b"%d" % number, 0)
        old = key(place).read_text()
        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(other.save, "secret", f"c{number}", b"%d" % number, None)
            assert await one.rotate_key() >= 200
        await other.save("secret", "late", b"late", 0)

        new = key(place).read_text()
        assert len(new.split()) == 1
        assert new != old
        expected = {f"c{number}": b"%d" % number for number in range(250)} | {"late": b"late"}
        for store in (one, other):
            assert {record.id: record.data for record in await store.list()} == expected
    with raw(place) as database:
        assert len(database.execute("SELECT DISTINCT sealed_by FROM records").fetchall()) == 1
    async with sqlite(place) as again:
        assert len(list(await again.list())) == 251


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_a_rotation_that_was_cut_off_loses_nothing_and_can_be_done_again(place: Path, steps: int) -> None:
    """S22: after the new key is in the file, in the header, after some records, after all of them."""
    with opened(place) as one:
        for number in range(150):
            one.records.save("secret", f"c{number}", b"x", 0, NOW)
        if steps == 0:
            KeyFile(key(place)).add(one.records._sealing.now.key.id)
        else:
            one.records.begin_rotation()
        after: str | None = None
        for _ in range(steps - 1):
            _, after = one.records.rewrap_some(after, NOW)
    with opened(place) as one:
        assert len(held(one)) == 150
        one.records.save("secret", "late", b"x", 0, NOW)
        one.records.begin_rotation()
        after = None
        while (found := one.records.rewrap_some(after, NOW))[1] is not None:
            after = found[1]
        one.records.end_rotation()
    assert len(key(place).read_text().split()) == 1
    with opened(place) as one:
        assert len(held(one)) == 151


def opened_meanwhile(place: Path, work: Callable[[], object]) -> dict[str, bytes]:
    """What another process finds that opens the store, while this is done between its header and its key."""
    keys = KeysMeanwhile(KeyFile(key(place)), work)
    versions = Versions(place.with_name("store.versions"), LOG, alone=False)
    connection = connect(place / "credentials.sqlite")
    try:
        return {one.id: one.data for one in Records(connection, keys, versions, "w", LOG).list(NOW)}
    finally:
        connection.close()
        versions.close()


def test_whoever_opens_the_store_keeps_no_writer_waiting_until_it_has_the_key(place: Path) -> None:
    """G3: a command that prints the key may take seconds."""
    with opened(place) as one:
        one.records.save("secret", "a", b"x", 0, NOW)
        assert opened_meanwhile(place, lambda: one.records.save("secret", "a", b"y", 1, NOW)) == {"a": b"y"}


def test_a_key_that_is_rotated_between_a_look_at_the_header_and_one_at_the_key_is_taken_whole(place: Path) -> None:
    """S22: whoever opens the store at that very moment sees neither a wrong key nor a missing one."""
    with opened(place) as one:
        one.records.save("secret", "a", b"x", 0, NOW)

        def rotate() -> None:
            one.records.begin_rotation()
            one.records.rewrap_some(None, NOW)
            one.records.end_rotation()

        assert opened_meanwhile(place, rotate) == {"a": b"x"}


def test_a_rotation_whose_end_cannot_be_seen_keeps_the_older_key(place: Path) -> None:
    """S22; a store's failures are StoreError, whatever SQLite calls them."""
    with opened(place) as one:
        one.records.begin_rotation()
        with raw(place) as database:
            database.execute("DROP TABLE records")
        with pytest.raises(StoreError, match="the key cannot be rotated"):
            one.records.end_rotation()

    assert len(key(place).read_text().split()) == 2


def test_a_secret_under_a_key_that_is_not_here_is_left_alone_and_a_rotation_keeps_the_older_keys(place: Path) -> None:
    """S22: it may be sound, and the key may come back."""
    with opened(place) as one:
        for id in ("anna", "ben"):
            one.records.save("secret", id, b"x", 0, NOW)
        with raw(place) as database:
            ((sealed,),) = database.execute("SELECT data FROM records WHERE id = ?", (b"anna",))
            foreign = sealed[:14] + b"\xff" * 8 + sealed[22:]
            database.execute("UPDATE records SET data = ?, sealed_by = ? WHERE id = ?", (foreign, "f" * 16, b"anna"))
        assert held(one) == {"ben": b"x"}
        with pytest.raises(StoreError, match="is not overwritten"):
            one.records.save("secret", "anna", b"y", None, NOW)
        one.records.begin_rotation()
        assert one.records.rewrap_some(None, NOW) == (1, "ben")
        with pytest.raises(StoreError, match="1 records are sealed with keys that are not here"):
            one.records.end_rotation()
        with raw(place) as database:
            assert database.execute("SELECT data FROM records WHERE id = ?", (b"anna",)).fetchall() == [(foreign,)]
    assert len(key(place).read_text().split()) == 2


# --- private files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_files_and_directories_are_private_whatever_the_umask(place: Path, mask: int) -> None:
    """F-10, S23."""
    old = os.umask(mask)
    try:
        with opened(place) as one:
            one.records.save("secret", "anna", b"x", 0, NOW)
            modes = {path.name: mode(path) for path in place.parent.rglob("*")}
    finally:
        os.umask(old)

    assert modes.pop("store") == 0o700
    assert set(modes.values()) == {0o600}
    assert {"credentials.sqlite", "credentials.sqlite-wal", "credentials.sqlite-shm", "store.key"} <= modes.keys()


def test_what_others_may_enter_or_planted_is_refused(place: Path, tmp_path: Path) -> None:
    """F-10, S25."""
    place.mkdir(parents=True)
    place.chmod(0o777)
    with pytest.raises(StoreError, match=r"others may enter it \(mode 0777\).*chmod 700"):
        Opened(Sqlite.Settings(path=str(place)), NOW, LOG)
    place.chmod(0o700)
    (place / "credentials.sqlite").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="cannot use"):
        Opened(Sqlite.Settings(path=str(place)), NOW, LOG)
    (tmp_path / "link").symlink_to(place)
    with pytest.raises(StoreError, match="cannot use"):
        Opened(Sqlite.Settings(path=str(tmp_path / "link")), NOW, LOG)

    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("name", ["credentials.sqlite", "lock"])
def test_a_file_that_has_another_name_elsewhere_is_refused(place: Path, tmp_path: Path, name: str) -> None:
    """F-10, S25: whoever has the other name reads, or keeps others out, past the directory's mode."""
    with opened(place):
        pass
    (tmp_path / "elsewhere").hardlink_to(place / name)
    with pytest.raises(StoreError, match=f"{name} is no plain file of its own"):
        Opened(Sqlite.Settings(path=str(place)), NOW, LOG)


def test_a_directory_of_others_files_that_others_may_enter_is_left_as_it_is(place: Path) -> None:
    """F-10: it is somebody's, and to close it is not ours to do."""
    place.mkdir(parents=True)
    (place / "somebody's").touch()
    place.chmod(0o755)
    with pytest.raises(StoreError, match=r"others may enter it \(mode 0755\).*chmod 700"):
        Opened(Sqlite.Settings(path=str(place)), NOW, LOG)
    assert mode(place) == 0o755


def test_a_database_that_others_could_read_is_made_private(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    """F-10: and it is said."""
    with opened(place):
        pass
    (place / "credentials.sqlite").chmod(0o644)
    place.chmod(0o755)
    with opened(place):
        assert mode(place / "credentials.sqlite") == 0o600
        assert mode(place) == 0o700
    assert "credentials.sqlite had mode 0644" in caplog.text


# --- damage ----------------------------------------------------------------------------------------------------------


def test_a_damaged_database_is_set_aside_and_named(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    """F-6: kept byte for byte, private, and the store serves on; twice in one second, too."""
    contents = [b"no database at all" * 100, b"SQLite format 3\0" + bytes(5000)]
    for content in contents:
        with opened(place) as one:
            one.records.save("secret", "anna", b"x", None, NOW)
        (place / "credentials.sqlite").write_bytes(content)
    with opened(place) as one:
        assert held(one) == {}
        assert one.records.save("secret", "anna", b"new", 0, NOW) == 1

    aside = sorted(place.glob(f"*.corrupt-{WHEN}*"))
    assert [path.read_bytes() for path in aside] == contents
    assert {mode(path) for path in aside} == {0o600}
    assert f"it is kept as credentials.sqlite.corrupt-{WHEN}" in caplog.text


def test_pages_that_were_overwritten_are_damage(place: Path) -> None:
    """F-6: SQLite's own check is run at each start."""
    with opened(place) as one:
        for number in range(200):
            one.records.save("secret", f"c{number}", b"x" * 200, None, NOW)
    content = bytearray((place / "credentials.sqlite").read_bytes())
    for page in range(4, len(content) // 4096):
        content[page * 4096 : page * 4096 + 100] = bytes(100)
    (place / "credentials.sqlite").write_bytes(content)
    with opened(place) as one:
        assert held(one) == {}
    assert (place / f"credentials.sqlite.corrupt-{WHEN}").read_bytes() == content


def test_a_damaged_database_that_another_process_uses_is_left_alone(place: Path) -> None:
    """F-6, F-8: the other one may still bring it to its end."""
    with opened(place) as one:
        one.records.save("state", "a", b"x", 0, NOW)
        (place / "credentials.sqlite").write_bytes(b"garbage" * 1000)
        (place / "credentials.sqlite-wal").unlink()
        with pytest.raises(StoreError, match=r"is damaged .*: stop every process that uses it"):
            Opened(Sqlite.Settings(path=str(place)), NOW, LOG)
    assert list(place.glob("*.corrupt*")) == []


def test_a_database_of_another_program_or_of_a_later_version_is_left_alone(place: Path) -> None:
    """F-11."""
    place.mkdir(parents=True, mode=0o700)
    with raw(place) as database:
        database.execute("CREATE TABLE music (title TEXT)")
    before = digest(place)
    with pytest.raises(StoreError, match="the database of another program"):
        Opened(Sqlite.Settings(path=str(place)), NOW, LOG)
    assert digest(place) == before
    (place / "credentials.sqlite").unlink()
    with opened(place):
        pass
    with raw(place) as database:
        database.execute("PRAGMA user_version = 2")
    with pytest.raises(StoreError, match="format 2, this version knows 1: nothing is changed"):
        Opened(Sqlite.Settings(path=str(place)), NOW, LOG)


@pytest.mark.parametrize("size", [0, 100_000])
def test_a_full_disk_leaves_the_old_record_and_the_store_recovers(place: Path, size: int) -> None:
    """F-4."""
    with opened(place) as one:
        one.records.save("secret", "anna", b"old", 0, NOW)
        with full_disk(size), pytest.raises(StoreError, match="the secret of 'anna' cannot be saved: "):
            one.records.save("secret", "anna", b"x" * 1_000_000, 1, NOW)

        assert held(one) == {"anna": b"old"}
        assert one.records.save("secret", "anna", b"new", 1, NOW) == 2


# --- several processes -----------------------------------------------------------------------------------------------


async def test_several_that_share_a_database_lose_no_update(place: Path) -> None:
    """F-8: each save is a compare-and-set, whoever else writes."""
    won = []

    async def count_up(store: Sqlite) -> None:
        for _ in range(25):
            while True:
                found = {record.id: record for record in await store.list()}
                record = found.get("n")
                value, version = (int(record.data), record.version) if record else (0, 0)
                try:
                    await store.save("state", "n", b"%d" % (value + 1), version)
                except StoreConflict:
                    continue
                won.append(value + 1)
                break

    async with sqlite(place) as one, sqlite(place) as two, sqlite(place) as three, trio.open_nursery() as nursery:
        for store in (one, two, three):
            nursery.start_soon(count_up, store)

    assert sorted(won) == list(range(1, 76))


async def test_what_others_change_is_watched_and_what_one_writes_oneself_is_not(place: Path) -> None:
    """Design 7: each record once, in the order of the changes, removals among them."""
    async with sqlite(place) as one, sqlite(place) as two:
        await one.save("secret", "known", b"1", 0)
        await two.list()
        watching = two.watch()
        await one.save("state", "a", b"1", 0)
        await two.save("state", "mine", b"1", 0)
        await one.save("secret", "known", b"2", 1)
        await one.save("state", "a", b"2", 1)
        await one.save("state", "b", b"1", 0)
        await one.delete("state", "b")

        changes = await anext(watching)
        assert [(change.kind, change.id, change.record and change.record.data) for change in changes] == [
            ("secret", "known", b"2"),
            ("state", "a", b"2"),
            ("state", "b", None),
        ]
        with trio.move_on_after(1.2) as patience:
            await anext(watching)
        assert patience.cancelled_caught, "nothing has changed since"
        await one.save("state", "a", b"3", 2)
        (change,) = await anext(watching)
        assert change.record is not None
        assert (change.record.data, change.record.version) == (b"3", 3)


async def test_of_several_one_holds_the_lease(place: Path) -> None:
    """Design 14: fences grow, whoever gets it; leaving the block gives it back."""
    async with sqlite(place) as one, sqlite(place) as two:
        async with one.lease("anna", 60) as first:
            assert first is not None
            async with two.lease("anna", 60) as none, two.lease("ben", 60) as other:
                assert none is None
                assert other is not None
        async with two.lease("anna", 60) as second:
            assert second is not None
            assert second.fence == first.fence + 1
            assert second.until == pytest.approx(first.until, abs=30)


async def test_one_record_is_read_as_it_is_now(place: Path) -> None:
    """E7: whoever wrote it, also one that was removed."""
    async with sqlite(place) as one, sqlite(place) as two:
        await one.save("secret", "a", b"first", None)
        await one.save("secret", "a", b"second", 1)
        record = await two.read("secret", "a")
        assert record is not None
        assert (record.data, record.version) == (b"second", 2)
        await one.delete("secret", "a")
        assert await two.read("secret", "a") is None


async def test_one_that_lost_its_lease_cannot_write(place: Path) -> None:
    """E6: whatever the version, until the lease is let go."""
    async with sqlite(place) as slow, sqlite(place) as quick:
        await slow.save("secret", "a", b"old", None)
        async with slow.lease("a", 0.01):
            await trio.sleep(0.05)
            async with quick.lease("a", 60) as taken:
                assert taken is not None
                with pytest.raises(StoreConflict, match="lease was lost"):
                    await slow.save("secret", "a", b"late", 1)
                await quick.save("secret", "a", b"new", 1)


def test_a_lease_that_ran_out_can_be_taken_and_its_first_holder_ends_nothing(place: Path) -> None:
    with opened(place) as one, opened(place) as two:
        assert take(one.connection, "anna", -1.0) is not None, "it has run out at once"
        second = take(two.connection, "anna", 60.0)
        assert second is not None
        assert second.fence == 2
        assert take(one.connection, "anna", 60.0) is None


def test_a_lease_that_ends_later_than_any_can_is_no_hindrance(place: Path) -> None:
    """G8: the clock was ahead when it was given; a lease that may be true is one."""
    with opened(place) as one, raw(place) as database:
        assert take(one.connection, "anna", 60.0) is not None
        for longer, taken in ((LONGEST - 60, False), (LONGEST + 60, True)):
            database.execute("UPDATE leases SET until = ?", (store_now(one.connection) + longer,))
            assert (take(one.connection, "anna", 60.0) is not None) is taken


def test_a_lease_asked_for_longer_than_any_may_last_is_held_all_the_same(place: Path) -> None:
    """G8: it is cut to the longest; were it not, the next process would take its end for a clock that ran ahead."""
    with opened(place) as one, opened(place) as two:
        assert take(one.connection, "anna", 2 * LONGEST) is not None
        assert take(two.connection, "anna", 60.0) is None


async def test_one_whose_lease_is_forgotten_cannot_write(place: Path) -> None:
    """E6, G5: who else was given it since, nobody knows."""
    async with sqlite(place) as store, store.lease("a", 60):
        with raw(place) as database:
            database.execute("DELETE FROM leases")
        with pytest.raises(StoreConflict, match="lease was lost"):
            await store.save("secret", "a", b"late", 0)


async def test_one_that_has_let_go_of_its_lease_writes_by_version_again(place: Path) -> None:
    """E11: an operator's edit needs no lease, and is not to be refused because of one that is over."""
    async with sqlite(place) as one, sqlite(place) as other:
        async with one.lease("a", 60):
            pass
        async with other.lease("a", 60):
            assert await one.save("secret", "a", b"edit", 0) == 1


async def test_a_lease_that_cannot_be_given_back_ends_by_itself(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    """G2: what was done under it stands."""
    async with sqlite(place) as store:
        async with store.lease("a", 60):
            with raw(place) as database:
                database.execute("DROP TABLE leases")
        assert "it ends by itself" in caplog.text


async def test_a_lease_is_given_back_when_its_block_is_cancelled(place: Path) -> None:
    async with sqlite(place) as store:
        with trio.CancelScope() as scope:
            async with store.lease("anna", 60):
                scope.cancel()
                await trio.lowlevel.checkpoint()
        async with store.lease("anna", 60) as lease:
            assert lease is not None


def test_one_who_opens_waits_for_one_who_sets_up(place: Path) -> None:
    """F-8: eight at once find one database with one key."""
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            with opened(place) as one:
                one.records.save("secret", f"c{number}", b"x", 0, NOW)
        except BaseException as error:  # noqa: BLE001 - told to the test
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    with opened(place) as one:
        assert len(held(one)) == 8


@contextmanager
def being_set_up(place: Path) -> Iterator[int]:
    """Somebody else sets the database up; gives the descriptor by which the lock is held."""
    with opened(place):
        pass
    lock = os.open(place / "lock", os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock
    finally:
        os.close(lock)


def test_one_who_hangs_while_it_sets_up_is_waited_for_no_longer_than_a_start_may_take(place: Path) -> None:
    """H8: the error says who may be asked, and what to do."""
    pauses: list[None] = []
    with being_set_up(place), pytest.raises(StoreError, match=r"for 25 s, or was stopped .* `fuser '.*/lock'`"):
        Opened(Sqlite.Settings(path=str(place)), NOW, LOG, lambda: pauses.append(None))
    assert len(pauses) * PAUSE == pytest.approx(25.0)


async def test_a_start_that_waits_for_one_who_sets_up_can_be_given_up(place: Path) -> None:
    with being_set_up(place) as lock, trio.fail_after(LIMIT):
        with trio.move_on_after(0.1) as waited:
            async with sqlite(place):
                pass
        assert waited.cancelled_caught
        fcntl.flock(lock, fcntl.LOCK_UN)
        async with sqlite(place) as store:
            assert not list(await store.list())


# --- a database that is taken away -----------------------------------------------------------------------------------


async def test_nothing_is_written_to_a_database_that_was_removed_until_it_is_back(place: Path) -> None:
    """F-5: a file without a name takes every token and gives none back."""
    database, elsewhere = place / "credentials.sqlite", place.parent / "elsewhere"
    async with sqlite(place) as store:
        await store.save("secret", "anna", b"first", 0)
        database.rename(elsewhere)
        with pytest.raises(StoreError, match="removed or replaced"):
            await store.save("secret", "anna", b"lost", 1)
        with pytest.raises(StoreError, match="removed or replaced"):
            async with store.lease("anna", 60):
                pass
        elsewhere.rename(database)
        assert await store.save("secret", "anna", b"second", 1) == 2
    with opened(place) as one:
        assert held(one) == {"anna": b"second"}


async def test_a_database_that_was_put_in_the_place_of_another_is_left_alone(place: Path) -> None:
    """F-12: a restore under a gateway that runs."""
    backup = place.parent / "backup"
    async with sqlite(place) as store:
        await store.save("secret", "anna", b"backed up", 0)
        with raw(place) as database, sqlite3.connect(backup) as copy:
            database.backup(copy)
        copy.close()
        before = backup.read_bytes()
        backup.replace(place / "credentials.sqlite")
        with pytest.raises(StoreError, match="removed or replaced"):
            await store.save("secret", "anna", b"lost", 1)
        with pytest.raises(StoreError, match="removed or replaced"):
            await store.list()
    assert (place / "credentials.sqlite").read_bytes() == before


def test_what_goes_with_the_file_while_it_is_written_is_not_said_to_be_kept(place: Path) -> None:
    with opened(place) as one, pytest.raises(StoreError, match="removed or replaced"):
        one.in_place(lambda _: (place / "credentials.sqlite").unlink(), NOW)


async def test_a_reload_with_another_path_brings_what_is_in_memory_there(place: Path) -> None:
    """The way out that the error names."""
    plugins = Plugins.of(
        {
            "providers": {"p": given_instance(ScriptedProvider())},
            "selectors": {"in-turn": InTurn},
            "stores": {"sqlite": Sqlite},
            "transports": {"none": NoTransport},
        }
    )

    def config(path: Path) -> Config:
        return parse_config(
            f'[turnout]\nselector = "in-turn"\ntransport = "none"\n[stores.sqlite]\npath = "{path}"\n[providers.p]\n'
        )

    async with open_kernel(config(place), plugins=plugins) as kernel:
        anna = await kernel.credentials.register(Credential(id="anna", provider="p", metadata=Metadata({"n": 1})))
        (place / "credentials.sqlite").unlink()
        with pytest.raises(StoreError):
            await kernel.credentials.update(attrs.evolve(anna, metadata=Metadata({"n": 2})))
        await kernel.reload(config(place.parent / "other"))
    with opened(place.parent / "other") as one:
        assert b'"n":2' in held(one)["anna"]
