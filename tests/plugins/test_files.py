import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_setup import (
    NOW,
    WHEN,
    check_that_a_cancelled_save_is_whole,
    check_that_states_outlive_a_restart,
    full_disk,
    mode,
    store_context,
)

from turnout import Record
from turnout.errors import StoreConflict, StoreError
from turnout.testing import check_store
from turnout_files import Files, _directory
from turnout_files._archive import Archive
from turnout_files._directory import LARGEST
from turnout_files._envelope import Damaged, Newer, pack, unpack
from turnout_files._names import PLAIN, RECORD, SEAL, TURNS, file_name
from turnout_seal import KeyFile

LOG = logging.getLogger("turnout.stores.files")


def files(place: Path) -> AbstractAsyncContextManager[Files]:
    return Files.open(Files.Settings(path=str(place)), store_context("files", lambda: NOW))


def keys(place: Path) -> KeyFile:
    return KeyFile(place.with_name(place.name + ".key"))


@contextmanager
def archive(place: Path) -> Iterator[Archive]:
    one = Archive(place, LOG, keys(place), NOW)
    try:
        yield one
    finally:
        one.close()


def names(place: Path) -> set[str]:
    """What is in the directory, but for the seal header and the empty file whose lock gives turns."""
    return {one.name for one in place.iterdir()} - {TURNS, SEAL}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "state" / "credentials"


# --- the laws of a store ---------------------------------------------------------------------------------------------


async def test_the_files_store_keeps_the_laws_of_a_store(place: Path) -> None:
    await check_store(lambda: files(place))


# --- private files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o777])
def test_files_and_directories_are_private_whatever_the_umask(place: Path, mask: int) -> None:
    """F-10, S23: the directories that were missing on the way as well."""
    old = os.umask(mask & 0o077)
    try:
        with archive(place) as one:
            os.umask(mask)
            one.save("secret", "anna", b"x", 0, NOW)
    finally:
        os.umask(old)

    assert mode(place) == mode(place.parent) == 0o700
    assert mode(place / "anna.secret.jsonl") == 0o600


def test_the_file_that_gives_turns_is_private_and_ours_whatever_the_umask(place: Path) -> None:
    """F-10, S23."""
    place.mkdir(parents=True, mode=0o700)
    old = os.umask(0o777)
    try:
        with archive(place):
            pass
    finally:
        os.umask(old)
    assert mode(place / TURNS) == 0o600


def test_a_file_that_others_can_read_is_made_private(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    """F-10: and it is said."""
    with archive(place) as one:
        one.save("secret", "anna", b"x", 0, NOW)
        (place / "anna.secret.jsonl").chmod(0o644)
        assert [record.data for record in one.list(NOW)] == [b"x"]

    assert mode(place / "anna.secret.jsonl") == 0o600
    assert "anna.secret.jsonl had mode 0644" in caplog.text


@pytest.mark.parametrize("found", [0o777, 0o770, 0o702])
def test_a_directory_that_others_may_write_to_is_refused(place: Path, found: int) -> None:
    """F-10: what is in it may have been planted."""
    place.mkdir(parents=True)
    place.chmod(found)
    with pytest.raises(StoreError, match=rf"others may write to it \(mode {found:04o}\).* chmod 700"):
        Archive(place, LOG, keys(place), NOW)

    assert mode(place) == found


def test_a_directory_that_others_may_read_is_made_private_if_it_is_ours_alone(place: Path) -> None:
    """F-10: a plain mkdir gives 0755; but the directory of somebody else's files is never changed."""
    place.mkdir(parents=True, mode=0o755)
    place.chmod(0o755)
    with archive(place) as one:
        one.save("state", "a", b"x", 0, NOW)
    assert mode(place) == 0o700

    place.chmod(0o750)
    (place / "holiday.jpg").touch()
    with pytest.raises(StoreError, match="not ours alone; make it private with: chmod 700"):
        Archive(place, LOG, keys(place), NOW)
    assert mode(place) == 0o750


def test_a_directory_that_is_a_symlink_or_no_directory_is_refused(tmp_path: Path) -> None:
    """F-10, S25."""
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "file").touch()
    for wrong in ("link", "file", "file/below"):
        with pytest.raises(StoreError, match=f"cannot use .*{wrong}"):
            Archive(tmp_path / wrong, LOG, keys(tmp_path / wrong), NOW)


@pytest.mark.root
def test_a_directory_of_somebody_else_is_refused(place: Path) -> None:
    """S23."""
    place.mkdir(parents=True, mode=0o700)
    os.chown(place, 12345, 12345)
    with pytest.raises(StoreError, match="it belongs to user 12345"):
        Archive(place, LOG, keys(place), NOW)


def test_a_planted_symlink_is_not_followed(place: Path, tmp_path: Path) -> None:
    """F-10: neither when reading nor when writing."""
    outside = tmp_path / "outside"
    outside.write_bytes(b"precious")
    with archive(place) as one:
        for name in ("anna.secret.jsonl", "ben.secret.jsonl"):
            (place / name).symlink_to(outside)
        assert one.list(NOW) == ()
        (place / "anna.secret.jsonl").symlink_to(outside)
        one.save("secret", "anna", b"mine", None, NOW)
        one.save("secret", "ben", b"mine", 0, NOW)

        assert {record.id for record in one.list(NOW)} == {"anna", "ben"}
    assert outside.read_bytes() == b"precious"
    assert not (place / "anna.secret.jsonl").is_symlink()


def test_a_symlink_in_place_of_the_file_that_gives_turns_is_refused(place: Path, tmp_path: Path) -> None:
    """S23, F-10: its lock would be one of another file."""
    with archive(place):
        (place / TURNS).unlink()
    (tmp_path / "outside").write_bytes(b"")
    (place / TURNS).symlink_to(tmp_path / "outside")
    with pytest.raises(StoreError, match="cannot use"):
        Archive(place, LOG, keys(place), NOW)


def test_a_planted_pipe_or_directory_does_not_hang_the_store(place: Path) -> None:
    with archive(place) as one:
        os.mkfifo(place / "pipe.secret.jsonl")
        (place / "folder.secret.jsonl").mkdir()
        with (place / "huge.secret.jsonl").open("wb") as huge:
            huge.truncate(LARGEST + 1)
        one.save("secret", "sound", b"x", 0, NOW)

        assert [record.id for record in one.list(NOW)] == ["sound"]


# --- names -----------------------------------------------------------------------------------------------------------


def test_plain_ids_are_their_own_names() -> None:
    """S25."""
    for id in ("a", "anna.json", "A-1_b.c", "x" * 128):
        assert file_name("secret", id) == f"{id}.secret.jsonl"


@given(st.text(min_size=1) | st.text("./%\\\0ab", min_size=1) | st.text("x", min_size=60, max_size=300))
def test_no_id_gives_a_name_that_leads_out_hides_or_is_too_long(id: str) -> None:
    """S25."""
    name = file_name("secret", id)

    assert RECORD.fullmatch(name)
    assert len(name.encode()) <= 255
    assert not set(name) & set("/\\\0 \n")
    assert name[0] not in ".-"


anything = st.text(min_size=1, max_size=8) | st.text("%2e.a", min_size=1, max_size=8)


@given(anything, anything)
def test_distinct_ids_give_distinct_names(one: str, other: str) -> None:
    """S25."""
    assert (file_name("secret", one) == file_name("secret", other)) is (one == other)
    assert (file_name("secret", one) == one + ".secret.jsonl") is bool(PLAIN.fullmatch(one))


@pytest.mark.parametrize(("kind", "id"), [("", "a"), ("../x", "a"), ("Secret", "a"), ("secret", "")])
def test_a_record_without_a_proper_kind_or_id_is_refused(place: Path, kind: str, id: str) -> None:
    with archive(place) as one, pytest.raises(StoreError, match="record"):
        one.save(kind, id, b"x", None, NOW)
    assert names(place) == set()


def test_files_of_others_in_the_directory_are_left_alone(place: Path) -> None:
    with archive(place) as one:
        for name in ("notes.txt", "a.jsonl", ".secret.jsonl", "a.secret.jsonl~"):
            (place / name).write_bytes(b"mine")
        assert one.list(NOW) == ()
    assert names(place) == {"notes.txt", "a.jsonl", ".secret.jsonl", "a.secret.jsonl~"}


# --- damage ----------------------------------------------------------------------------------------------------------


def damaged(content: bytes) -> dict[str, bytes]:
    return {
        "empty": b"",
        "truncated": content[:-3],
        "first line only": content.split(b"\n")[0],
        "first line cut": content[:20],
        "longer": content + b"\n",
        "zero bytes": bytes(len(content)),
        "one bit": content[:-1] + bytes([content[-1] ^ 1]),
        "torn": content[: len(content) // 2] + bytes(len(content) - len(content) // 2),
        "other JSON": b'{"api_key": "sk"}\n',
        "no object": b"[]\n",
        "deep": b"[" * 100_000 + b"\n",
        "no version": b'{"format": 1, "kind": "secret", "id": "anna"}\n',
        "bad kind": content.replace(b'"secret"', b'"../../"', 1),
        "another record": content.replace(b'"anna"', b'"anne"'),
    }


@pytest.mark.parametrize("damage", sorted(damaged(b'{"kind": "secret"}\nx')))
def test_a_damaged_file_is_set_aside_and_the_others_load(
    place: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    """F-6: kept byte for byte, private, and never overwritten."""
    with archive(place) as one:
        one.save("secret", "anna", b'{"api_key": "sk-canary"}', 0, NOW)
        one.save("secret", "ben", b"sound", 0, NOW)
        file = place / "anna.secret.jsonl"
        content = damaged(file.read_bytes())[damage]
        file.write_bytes(content)
        file.chmod(0o644)

        assert [record.id for record in one.list(NOW)] == ["ben"]
        assert one.save("secret", "anna", b"new", 0, NOW) == 2, "versions go on"
        assert {record.id for record in one.list(NOW)} == {"anna", "ben"}

    aside = place / f"anna.secret.jsonl.corrupt-{WHEN}"
    assert aside.read_bytes() == content
    assert mode(aside) == 0o600
    assert "anna.secret.jsonl cannot be read: " in caplog.text
    assert "canary" not in caplog.text


def test_saving_onto_a_damaged_file_sets_it_aside_first(place: Path) -> None:
    """F-6: twice in one second, too."""
    with archive(place) as one:
        for turn in range(3):
            (place / "anna.secret.jsonl").write_bytes(b"%d" % turn)
            one.save("secret", "anna", b"new", None, NOW)

    kept = {path.read_bytes() for path in place.glob("*.corrupt-*")}
    assert kept == {b"0", b"1", b"2"}


def test_a_save_that_expects_what_was_damaged_is_a_conflict(place: Path) -> None:
    """F-6."""
    with archive(place) as one:
        one.save("secret", "anna", b"x", 0, NOW)
        (place / "anna.secret.jsonl").write_bytes(b"")
        with pytest.raises(StoreConflict) as caught:
            one.save("secret", "anna", b"y", 1, NOW)
    assert caught.value.current == 0


def test_a_file_of_a_later_version_is_neither_read_nor_overwritten(place: Path) -> None:
    """F-11: going back and forth between versions destroys nothing."""
    content = b'{"format": 3, "sealed": true}\n?'
    with archive(place) as one:
        (place / "anna.secret.jsonl").write_bytes(content)
        assert one.list(NOW) == ()
        with pytest.raises(StoreError, match="not overwritten: it has format 3, this version knows 2"):
            one.save("secret", "anna", b"x", None, NOW)

    assert (place / "anna.secret.jsonl").read_bytes() == content


@given(st.binary(max_size=60), st.integers(0, 300))
def test_any_damage_is_noticed(cut: bytes, at: int) -> None:
    """F-6: whatever is written over any part of a file, it is either the old record or none."""
    from_ = Record(kind="secret", id="anna", data=b'{"api_key": "sk"}' * 3, version=7)
    content = bytearray(pack(from_))
    content[at : at + len(cut)] = cut
    try:
        found = unpack(bytes(content))
    except (Damaged, Newer):
        return
    assert found.data == from_.data


# --- sealing ---------------------------------------------------------------------------------------------------------


def kept_by_an_earlier_version(place: Path, *records: Record) -> None:
    """A directory of one that sealed nothing."""
    place.mkdir(mode=0o700, parents=True)
    for one in records:
        (place / file_name(one.kind, one.id)).write_bytes(pack(one))
        (place / file_name(one.kind, one.id)).chmod(0o600)


def everything(place: Path) -> bytes:
    return b"".join(path.read_bytes() for path in place.parent.rglob("*") if path.is_file())


async def test_the_store_seals_secrets_and_nothing_else(place: Path) -> None:
    """S20: a canary in a secret is in no file; states stay readable."""
    async with files(place) as store:
        await store.save("secret", "anna", b'{"api_key": "sk-canary"}', 0)
        await store.save("state", "anna", b'{"status": "active"}', 0)
        assert {record.data for record in await store.list()} == {b'{"api_key": "sk-canary"}', b'{"status": "active"}'}

    assert b"sk-canary" not in everything(place)
    assert b'{"status": "active"}' in everything(place)
    assert {mode(path) for path in place.parent.rglob("*") if path.is_file()} == {0o600}
    assert names(place.parent) == {"credentials", "credentials.key", "credentials.versions"}


def test_records_of_an_earlier_version_are_read_forward_and_sealed(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """F-11, S20: with their versions; afterwards the earlier version of this plugin would leave them alone."""
    kept_by_an_earlier_version(
        place,
        Record(kind="secret", id="anna", data=b"sk-canary", version=3),
        Record(kind="state", id="anna", data=b"{}", version=1),
    )
    with archive(place) as one:
        assert b"sk-canary" not in everything(place)
        assert {(record.data, record.version) for record in one.list(NOW)} == {(b"sk-canary", 3), (b"{}", 1)}
        assert one.save("secret", "anna", b"new", 3, NOW) == 4

    assert "1 secrets were kept as they are; they are sealed now" in caplog.text
    assert b'"format": 2' in (place / "anna.secret.jsonl").read_bytes()
    assert b'"format": 1' in (place / "anna.state.jsonl").read_bytes()


def test_a_crash_while_old_records_are_sealed_loses_none(place: Path) -> None:
    """F-11, F-2: the header is there, some records are sealed, some are not yet."""
    kept_by_an_earlier_version(
        place, *(Record(kind="secret", id=id, data=b"of " + id.encode(), version=1) for id in "abcdef")
    )
    plain = {name: (place / name).read_bytes() for name in ("c.secret.jsonl", "d.secret.jsonl")}
    with archive(place) as one:
        one._vault._keep(attrs.evolve(one._vault._sealing, whole=False))
    for name, content in plain.items():
        (place / name).write_bytes(content)
    with archive(place) as one:
        assert {record.data for record in one.list(NOW)} == {b"of " + id.encode() for id in "abcdef"}
        assert b"of c" not in everything(place)


@pytest.mark.parametrize("planted", ["plain", "moved", "older"])
def test_a_secret_that_was_planted_moved_or_put_back_is_set_aside(place: Path, planted: str) -> None:
    """S21, F-6."""
    with archive(place) as one:
        one.save("secret", "anna", b"first", 0, NOW)
        first = unpack((place / "anna.secret.jsonl").read_bytes())
        one.save("secret", "anna", b"second", 1, NOW)
        one.save("secret", "ben", b"ben's", 0, NOW)
        content = {
            "plain": Record(kind="secret", id="anna", data=b"{}", version=2),
            "moved": attrs.evolve(unpack((place / "ben.secret.jsonl").read_bytes()), id="anna"),
            "older": attrs.evolve(first, version=2),
        }[planted]
        (place / "anna.secret.jsonl").write_bytes(pack(content))

        assert [record.data for record in one.list(NOW)] == [b"ben's"]
    assert (place / f"anna.secret.jsonl.corrupt-{WHEN}").read_bytes() == pack(content)


def test_a_directory_that_was_restored_from_a_backup_loads_and_is_flagged(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """S21, F-12."""
    with archive(place) as one:
        one.save("secret", "anna", b"backed up", 0, NOW)
        backup = (place / "anna.secret.jsonl").read_bytes()
        one.save("secret", "anna", b"rotated since", 1, NOW)
    (place / "anna.secret.jsonl").write_bytes(backup)
    with archive(place) as one:
        assert [record.data for record in one.list(NOW)] == [b"backed up"]

    assert "the secret of 'anna' has version 1 and had 2 before: the store was rolled back" in caplog.text


def test_without_its_key_the_store_does_not_start_and_changes_nothing(place: Path) -> None:
    """S22: missing, another one, readable for others; and a header that went away."""
    key = place.with_name("credentials.key")
    with archive(place) as one:
        one.save("secret", "anna", b"x", 0, NOW)
    before, content = everything(place), key.read_bytes()

    def refused(told: str) -> None:
        with pytest.raises(StoreError, match=told):
            Archive(place, LOG, KeyFile(key), NOW)

    key.unlink()
    refused("the master key is missing")
    KeyFile(key).create()
    refused("and another one is given")
    key.write_bytes(content)
    key.chmod(0o640)
    refused("others may read the key file")
    key.chmod(0o600)
    header = (place / "seal.json").read_bytes()
    (place / "seal.json").unlink()
    refused("its seal header is gone")
    (place / "seal.json").write_bytes(header)
    assert everything(place) == before


# --- one process, stray files, full disks ----------------------------------------------------------------------------


async def test_a_second_opening_of_the_directory_is_refused(place: Path) -> None:
    """F-8: until the first one is closed."""
    async with files(place):
        with pytest.raises(StoreError, match="another process uses it"):
            async with files(place):
                raise AssertionError("two stores own one directory")
    async with files(place) as store:
        assert await store.save("state", "a", b"x", 0) == 1


# --- guests ----------------------------------------------------------------------------------------------------------


@contextmanager
def guest(place: Path) -> Iterator[Archive]:
    one = Archive(place, LOG, KeyFile(place.with_name("credentials.key")), NOW, guest=True)
    try:
        yield one
    finally:
        one.close()


def test_a_command_writes_beside_the_owner_and_neither_loses_what_the_other_wrote(place: Path) -> None:
    """F-8: each save is a compare-and-set on what is on the disk; versions go on, also over a removal."""
    with archive(place) as owner, guest(place) as command:
        assert owner.save("secret", "a", b"first", 0, NOW) == 1
        assert command.save("secret", "a", b"edited", 1, NOW) == 2
        with pytest.raises(StoreConflict) as conflict:
            owner.save("secret", "a", b"renewed", 1, NOW)
        assert conflict.value.current == 2
        assert {record.data for record in owner.list(NOW)} == {b"edited"}
        assert owner.save("secret", "a", b"renewed and edited", 2, NOW) == 3
        assert {record.data for record in command.list(NOW)} == {b"renewed and edited"}
        command.delete("secret", "a")
        with guest(place) as another:
            assert another.save("secret", "a", b"again", 0, NOW) == 4
        with pytest.raises(StoreConflict):
            owner.save("secret", "a", b"renewed", 3, NOW)


def test_the_owner_hears_of_what_a_command_writes_and_removes(place: Path) -> None:
    """F-7: as of what anybody else does."""
    with archive(place) as owner:
        owner.save("secret", "a", b"of a", 0, NOW)
        with guest(place) as command:
            command.save("secret", "b", b"of b", 0, NOW)
            command.delete("secret", "a")
        assert not owner.changes(owner.look(), NOW), "it may not be whole yet"
        found = {change.id: change.record for change in owner.changes(owner.look(), NOW)}
        assert found.keys() == {"a", "b"}
        assert found["a"] is None
        assert found["b"] is not None
        assert found["b"].data == b"of b"


def test_nothing_is_said_of_the_files_that_are_our_own(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    """F-7: neither when others write, nor when nobody does, however often it looks."""
    with archive(place) as owner, guest(place) as command:
        command.save("secret", "a", b"of a", 0, NOW)
        for _ in range(4):
            owner.changes(owner.look(), NOW)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_command_beside_an_owner_sweeps_nothing(place: Path) -> None:
    """F-8: what looks stray may be just being written."""
    with archive(place):
        (place / ".new-17").write_bytes(b"being written")
        with guest(place):
            assert (place / ".new-17").exists()


def test_a_turn_that_does_not_end_is_an_error_of_the_store(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """G3: no call waits for ever."""
    monkeypatch.setattr(_directory, "BUSY", 0.05)
    with archive(place) as owner, guest(place) as command:
        with command._directory.turn(), pytest.raises(StoreError, match="another process keeps writing"):
            owner.save("secret", "a", b"of a", 0, NOW)
        assert owner.save("secret", "a", b"of a", 0, NOW) == 1


def test_stray_files_of_a_crash_are_swept_when_the_directory_is_opened(place: Path) -> None:
    """F-1."""
    with archive(place) as one:
        one.save("state", "a", b"x", 0, NOW)
    (place / ".new-17").write_bytes(b"half")
    with archive(place) as one:
        assert names(place) == {"a.state.jsonl"}


@pytest.mark.parametrize("size", [0, 50, 4096])
def test_a_full_disk_leaves_the_old_record_and_no_stray_file(place: Path, size: int) -> None:
    """F-4: and the store serves on as soon as there is room."""
    with archive(place) as one:
        one.save("secret", "anna", b"old", 0, NOW)
        with full_disk(size), pytest.raises(StoreError, match=r"anna\.secret\.jsonl cannot be saved: File too large"):
            one.save("secret", "anna", b"x" * 10_000, 1, NOW)

        assert [(record.data, record.version) for record in one.list(NOW)] == [(b"old", 1)]
        assert names(place) == {"anna.secret.jsonl"}
        assert one.save("secret", "anna", b"new", 1, NOW) == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", tmp_path], check=True)
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.root
def test_when_the_disk_fills_up_saves_fail_clearly_until_there_is_room(small_disk: Path) -> None:
    """F-4: at each write of a real file system of 64 KiB."""
    with archive(small_disk / "d") as one:
        kept, refused = {}, 0
        for turn in range(60):
            id, data = f"c{turn % 20}", b"%d" % turn * 900
            try:
                one.save("secret", id, data, None, NOW)
                kept[id] = data
            except StoreError as error:
                refused += 1
                assert "No space left on device" in str(error)  # noqa: PT017 - most saves succeed
            assert {record.id: record.data for record in one.list(NOW)} == kept
            assert len(names(small_disk / "d")) == len(kept)
        assert refused > 10
        for id in list(kept)[:3]:
            one.delete("secret", id)
        assert one.save("secret", "again", b"x" * 2000, 0, NOW) == 1


@pytest.mark.root
def test_on_a_disk_that_became_read_only_saves_fail_clearly_and_reading_goes_on(small_disk: Path) -> None:
    """F-5, as far as the store goes: and it saves again when the disk does."""
    with archive(small_disk / "d") as one:
        one.save("secret", "anna", b"old", 0, NOW)
        subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
        with pytest.raises(StoreError, match=r"anna\.secret\.jsonl cannot be saved: Read-only file system"):
            one.save("secret", "anna", b"new", 1, NOW)
        with pytest.raises(StoreError, match=r"anna\.secret\.jsonl cannot be removed: Read-only file system"):
            one.delete("secret", "anna")
        assert [record.data for record in one.list(NOW)] == [b"old"]
        subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
        assert one.save("secret", "anna", b"new", 1, NOW) == 2


@contextmanager
def system_calls() -> Iterator[list[str]]:
    """The names of what is asked of the system while the block runs."""
    calls: list[str] = []

    def profile(frame: FrameType, event: str, arg: Any) -> None:
        if event == "c_call" and arg.__module__ == "posix":
            calls.append(arg.__name__)

    sys.setprofile(profile)
    try:
        yield calls
    finally:
        sys.setprofile(None)


def test_a_save_brings_the_content_to_disk_before_the_name_and_the_name_before_it_returns(place: Path) -> None:
    """What survives a power loss: what was synced. So each rename stands between two syncs."""
    with archive(place) as one, system_calls() as calls:
        one.save("secret", "anna", b"x", 0, NOW)

    assert [call for call in calls if call in {"write", "fsync", "rename"}] == [
        *("write", "fsync", "rename", "fsync"),
        "write",  # a line of the file of versions: what is older than its line tells, and so it may be lost
    ]


def test_that_a_file_is_gone_or_set_aside_is_on_the_disk_before_it_is_told(place: Path) -> None:
    """F-6: or a power loss would bring back what was removed, or what is damaged under its old name."""
    with archive(place) as one:
        one.save("secret", "anna", b"x", 0, NOW)
        one.save("state", "anna", b"x", 0, NOW)
        (place / "anna.state.jsonl").write_bytes(b"no record")
        with system_calls() as removing:
            one.delete("secret", "anna")
        with system_calls() as listing:
            assert one.list(NOW) == ()

    for calls, step in ((removing, "unlink"), (listing, "rename")):
        assert [call for call in calls if call in {step, "fsync"}] == [step, "fsync"]


def test_a_file_that_is_larger_than_any_record_is_set_aside_unread(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """F-6: a start does not take in whatever lies there."""
    with archive(place) as one:
        one.save("secret", "anna", b"x", 0, NOW)
        os.truncate(place / "anna.secret.jsonl", LARGEST + 1)
        assert one.list(NOW) == ()
    assert f"it is larger than {LARGEST} bytes" in caplog.text
    assert (place / f"anna.secret.jsonl.corrupt-{WHEN}").stat().st_size == LARGEST + 1


async def test_a_cancelled_save_that_has_begun_is_whole(place: Path) -> None:
    await check_that_a_cancelled_save_is_whole(lambda: files(place))
    assert not any(name.startswith(".new-") for name in names(place))


async def test_cooldowns_backoff_levels_and_affinity_outlive_a_restart(place: Path) -> None:
    """O18, D5."""
    await check_that_states_outlive_a_restart(lambda: files(place))
    assert b"canary" not in (place / "anna.state.jsonl").read_bytes()


def test_the_default_directory_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """XDG base directories 0.8."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert Files.Settings().place() == tmp_path / "turnout" / "credentials"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert Files.Settings(path="").place() == Path.home() / ".local/state/turnout/credentials"
    assert Files.Settings(path="~/x").place() == Path.home() / "x"
