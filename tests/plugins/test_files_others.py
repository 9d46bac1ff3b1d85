"""Files that people and other programs write while the files store is open, back-ups taken of it and put back."""

import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from store_setup import NOW, full_disk, mode, store_context

from turnout import Kernel
from turnout.abc import Change, Watcher
from turnout.errors import StoreConflict, StoreError
from turnout.testing import ScriptedProvider, scripted_kernel
from turnout_files import Files
from turnout_files._archive import Archive
from turnout_files._dropped import secret_record
from turnout_files._names import DROPPED
from turnout_files._stamps import Stamp, Stamps
from turnout_seal import KeyFile

CANARY = "sk-canary-0123456789abcdef"
DROP = {"provider": "scripted", "api_key": CANARY, "label": "by hand"}
LIMIT = 20.0


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "credentials"


@contextmanager
def archive(place: Path) -> Iterator[Archive]:
    context = store_context("files")
    one = Archive(place, context.log, KeyFile(place.with_name("credentials.key")), NOW)
    try:
        yield one
    finally:
        one.close()


def looked(one: Archive) -> list[Change]:
    return list(one.changes(one.look(), NOW))


def twice(one: Archive) -> list[Change]:
    assert looked(one) == [], "nothing is believed that was seen once"
    return looked(one)


# --- what was changed by others --------------------------------------------------------------------------------------


def test_a_change_is_believed_when_it_looks_the_same_twice_and_told_once() -> None:
    """F-7."""
    stamps = Stamps()
    half, whole = Stamp(1, 10, 5), Stamp(1, 20, 6)
    assert stamps.settled({"a": half}) == []
    assert stamps.settled({"a": whole}) == [], "it was still being written"
    assert stamps.settled({"a": whole}) == ["a"]
    stamps.know("a", whole)
    assert stamps.settled({"a": whole}) == stamps.settled({"a": whole}) == []
    assert stamps.settled({}) == []
    assert stamps.settled({}) == ["a"], "it is gone"


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12))
def test_what_we_write_ourselves_is_never_a_change(writes: list[int]) -> None:
    """F-7: no write-back loop, however looks and writes come after each other."""
    stamps = Stamps()
    found: dict[str, Stamp] = {}
    for number, count in enumerate(writes):
        for turn in range(count):
            found["a"] = Stamp(number, turn, 0)
            stamps.know("a", found["a"])
        assert stamps.settled(found) == []


def test_a_credential_dropped_by_hand_is_sealed_and_its_file_goes(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """F-7, S20: written in pieces, with a umask that lets others read it."""
    with archive(place) as one:
        file = place / "anna.json"
        text = json.dumps(DROP)
        file.write_text(text[:20])
        file.chmod(0o644)
        assert looked(one) == []
        with file.open("a") as more:
            more.write(text[20:])
        (change,) = twice(one)
        assert change.record is not None
        assert json.loads(change.record.data) == DROP | {"id": "anna", "metadata": {}}
        assert looked(one) == looked(one) == []
        assert one.list(NOW) == (change.record,)
    assert not file.exists()
    assert "anna.json had mode 0644" in caplog.text
    assert CANARY.encode() not in b"".join(path.read_bytes() for path in place.iterdir())
    assert CANARY not in caplog.text


def test_a_half_written_file_that_rests_is_left_alone_until_it_is_whole(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """F-7: told once, never half-read."""
    with archive(place) as one:
        file = place / "anna.json"
        file.write_text(json.dumps(DROP)[:-1])
        for _ in range(5):
            assert looked(one) == []
        assert caplog.text.count("it is not JSON, or not whole") == 1
        with file.open("a") as more:
            more.write("}")
        assert len(twice(one)) == 1


def test_what_an_editor_leaves_beside_a_file_is_none_and_its_rename_is_one_change(place: Path) -> None:
    """F-7: vim and emacs write another file and rename it."""
    with archive(place) as one:
        for name in (".anna.json.swp", "4913", "anna.json~", "#anna.json#", ".#anna.json"):
            (place / name).write_text(json.dumps(DROP))
        assert twice(one) == []
        (place / "4913").rename(place / "anna.json")
        (change,) = twice(one)
        assert change.id == "anna"
        (place / "anna.json~").rename(place / "anna.json")
        (again,) = twice(one)
        assert again.record is not None
        assert again.record.version == 2
        assert twice(one) == []


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[]", "no JSON object"),
        ("{}", "names no provider"),
        ('{"provider": "p", "apikey": "x"}', "no field 'apikey'"),
        ('{"provider": "p", "api_key": 7}', "'api_key' is a int"),
        ('{"provider": "p", "id": "ben"}', "not the name of the file"),
        ('{"provider": "p", "created_at": true}', "'created_at' is a bool"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_what_is_no_credential_stays_where_it_is_and_is_told_once(
    place: Path, content: str, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    """F-7."""
    with archive(place) as one:
        (place / "anna.json").write_text(content)
        for _ in range(4):
            assert looked(one) == []
    assert (place / "anna.json").read_text() == content
    assert caplog.text.count(told) == 1


def test_the_header_of_the_seal_is_no_credential() -> None:
    assert DROPPED.fullmatch("seal.json") is None
    assert DROPPED.fullmatch("seals.json") is not None


@given(st.binary(max_size=80))
def test_no_content_of_a_dropped_file_fails_otherwise_than_by_being_refused(content: bytes) -> None:
    try:
        secret_record("anna", content)
    except ValueError:
        return


def test_a_record_written_or_removed_by_another_program_is_told(place: Path) -> None:
    """F-7: such as one put back from a copy; what cannot be read is left where it is and never set aside."""
    with archive(place) as one:
        one.save("secret", "anna", b"1", 0, NOW)
        one.save("secret", "ben", b"1", 0, NOW)
        copy = (place / "anna.secret.jsonl").read_bytes()
        assert twice(one) == []
        (place / "anna.secret.jsonl").unlink()
        (place / "ben.secret.jsonl").write_bytes(b"half a re")
        (gone,) = twice(one)
        assert (gone.id, gone.record) == ("anna", None)
        (place / "anna.secret.jsonl").write_bytes(copy)
        (back,) = twice(one)
        assert back.record is not None
        assert back.record.data == b"1"
        assert (place / "ben.secret.jsonl").read_bytes() == b"half a re"


def test_a_directory_that_went_away_is_an_error_of_the_store(place: Path) -> None:
    with archive(place) as one:
        shutil.rmtree(place)
        assert one.look() == {}
        with pytest.raises(StoreError, match="its seal header is gone"):
            one.save("secret", "anna", b"1", 0, NOW)


def test_what_cannot_be_taken_in_now_is_taken_in_later(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    """F-4, F-7: as on a disk that is full for a while; that is said once."""
    with archive(place) as one:
        (place / "anna.json").write_text(json.dumps(DROP))
        with full_disk(50):
            for _ in range(4):
                assert looked(one) == []
        (change,) = looked(one)
        assert change.record is not None
        assert looked(one) == looked(one) == []
    assert caplog.text.count("anna.json was written by somebody else and waits") == 1


async def test_a_running_kernel_takes_in_what_is_dropped_and_writes_nothing_back(place: Path) -> None:
    """F-7: one reload for one change, and no more."""

    async def until(holds: str, kernel: Kernel) -> None:
        while (found := kernel.credentials.get("anna")) is None or found.label != holds:  # noqa: ASYNC110
            await trio.sleep(0.05)

    text = '[providers.scripted]\nmodels = [{ name = "m" }]\n'
    with trio.fail_after(LIMIT):
        async with Files.open(Files.Settings(path=str(place)), store_context("files")) as store:
            assert isinstance(store, Watcher)
            async with scripted_kernel(text, {"scripted": ScriptedProvider()}, store=store) as kernel:
                for turn, label in enumerate(("by hand", "again"), 1):
                    (place / "anna.json").write_text(json.dumps(DROP | {"label": label}))
                    await until(label, kernel)
                    await trio.sleep(1)
                    (record,) = await store.list()
                    assert record.version == turn, "nobody wrote it back"


# --- back-ups --------------------------------------------------------------------------------------------------------


def test_a_copy_taken_while_others_write_is_whole_in_every_record(place: Path, tmp_path: Path) -> None:
    """F-12: each record as it was at some moment of the copying; nothing in it is damaged."""
    turns = itertools.count(100)
    seen = set()
    for number in range(4):
        backup = tmp_path / f"backup-{number}" / "credentials"
        with archive(place) as one:

            def write(one: Archive = one) -> None:
                for _ in range(3):
                    turn = next(turns)
                    one.save("secret", f"c{turn % 5}", b"%d" % turn * 2000, None, NOW)

            write()
            copy(place, backup, meanwhile=write)
        shutil.copy(place.with_name("credentials.key"), backup.with_name("credentials.key"))
        with archive(backup) as one:
            for record in one.list(NOW):
                assert record.data == record.data[:3] * 2000
                seen.add(record.version)
        assert not any(".corrupt" in path.name or path.name.startswith(".new") for path in backup.iterdir())
    assert len(seen) > 5, "it was written to meanwhile"


def copy(place: Path, to: Path, meanwhile: Callable[[], None]) -> None:
    """What `cp -a` does: names first, then one after the other, in pieces."""
    to.mkdir(parents=True, mode=0o700)
    for name in [path.name for path in place.iterdir()]:
        with (place / name).open("rb") as file:
            content = file.read(1000)
            meanwhile()
            content += file.read()
        (to / name).write_bytes(content)
        (to / name).chmod(0o600)


def test_an_older_directory_put_back_is_marked_at_each_start_until_it_is_saved_anew(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """F-12, S21: tokens were rotated since; versions go on where they were, so no older record fits any more."""
    with archive(place) as one:
        one.save("secret", "anna", b"backed up", 0, NOW)
        shutil.copytree(place, place.with_name("backup"))
        for turn in range(1, 5):
            one.save("secret", "anna", b"rotated %d" % turn, turn, NOW)
    shutil.rmtree(place)
    place.with_name("backup").rename(place)
    place.chmod(0o700)
    for _ in range(2):
        caplog.clear()
        with archive(place) as one:
            assert [(record.data, record.version) for record in one.list(NOW)] == [(b"backed up", 1)]
            one.list(NOW)
        assert caplog.text.count("'anna' has version 1 and had 5 before: the store was rolled back or restored") == 1
    with archive(place) as one:
        with pytest.raises(StoreConflict):
            one.save("secret", "anna", b"of nobody", 3, NOW)
        assert one.save("secret", "anna", b"renewed", 1, NOW) == 6
    caplog.clear()
    with archive(place) as one:
        one.list(NOW)
    assert "rolled back" not in caplog.text
    assert mode(place) == 0o700


def test_an_older_record_put_back_while_the_store_is_open_is_told_and_loses_to_what_is_newer(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """F-12, G5: the process that runs has the tokens that work; its next save stands."""
    with archive(place) as one:
        one.save("secret", "anna", b"backed up", 0, NOW)
        old = (place / "anna.secret.jsonl").read_bytes()
        one.save("secret", "anna", b"rotated since", 1, NOW)
        (place / "anna.secret.jsonl").write_bytes(old)
        (change,) = twice(one)
        assert change.record is not None
        assert change.record.version == 1, "so that a kernel, which knows of 2, does not take it"
        assert "'anna' has version 1 and had 2 before" in caplog.text
        assert one.save("secret", "anna", b"renewed", 2, NOW) == 3
        assert [record.data for record in one.list(NOW)] == [b"renewed"]
