"""A new key for the files store: by itself, beside the process that owns the directory, and after deaths on the way."""

import logging
import os
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from store_setup import NOW, KeysMeanwhile, store_context

from turnout.errors import StoreError
from turnout_files import Files
from turnout_files._archive import BATCH, Archive
from turnout_files._directory import TRY
from turnout_files._envelope import pack, unpack
from turnout_seal import KeyFile, KeyVariable, new_key

LOG = logging.getLogger("turnout.stores.files")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "state" / "credentials"


def key_of(place: Path) -> Path:
    return place.with_name("credentials.key")


@contextmanager
def archive(place: Path, *, guest: bool = False) -> Iterator[Archive]:
    one = Archive(place, LOG, KeyFile(key_of(place)), NOW, guest=guest)
    try:
        yield one
    finally:
        one.close()


def fill(one: Archive, ids: str = "abc") -> None:
    for id in ids:
        one.save("secret", id, b"of " + id.encode(), None, NOW)


def held(one: Archive) -> set[bytes]:
    return {record.data for record in one.list(NOW)}


def of(ids: str) -> set[bytes]:
    return {b"of " + id.encode() for id in ids}


def rotated(one: Archive) -> int:
    return sum(one.rotation(NOW))


def keys_in(place: Path) -> int:
    return len(key_of(place).read_text().split())


# --- alone -----------------------------------------------------------------------------------------------------------


def test_a_rotated_key_opens_every_secret_and_the_old_one_none(place: Path) -> None:
    """S22."""
    with archive(place) as one:
        fill(one)
        old = key_of(place).read_text()
        assert rotated(one) == 3
        one.save("secret", "late", b"late", 0, NOW)
    assert keys_in(place) == 1
    with archive(place) as one:
        assert len(one.list(NOW)) == 4
    key_of(place).write_text(old)
    with pytest.raises(StoreError, match="and another one is given"), archive(place):
        pass


def test_a_secret_under_a_key_that_is_not_here_is_left_alone_and_a_rotation_keeps_the_older_keys(place: Path) -> None:
    """S22: it may be sound, and the key may come back."""
    with archive(place) as one:
        fill(one, "ab")
        file = place / "a.secret.jsonl"
        record = unpack(file.read_bytes())
        file.write_bytes(pack(attrs.evolve(record, data=record.data[:14] + b"\xff" * 8 + record.data[22:])))
        foreign = file.read_bytes()
        assert held(one) == of("b")
        with pytest.raises(StoreError, match="is not overwritten"):
            one.save("secret", "a", b"y", None, NOW)
        with pytest.raises(StoreError, match="1 records are sealed with keys that are not here"):
            rotated(one)
        assert file.read_bytes() == foreign
    assert keys_in(place) == 2


# --- beside the owner ------------------------------------------------------------------------------------------------


def test_the_owner_follows_a_key_that_a_command_rotates_at_every_step_of_it(place: Path) -> None:
    """S22: it reads and writes between any two steps, and so does another command; nothing waits for the end."""
    ids = [f"c{number:03}" for number in range(BATCH * 3)]
    with archive(place) as owner, archive(place, guest=True) as command, archive(place, guest=True) as other:
        for id in ids:
            owner.save("secret", id, id.encode(), 0, NOW)
        for step, _ in enumerate(command.rotation(NOW), 1):
            owner.save("secret", ids[-step], b"renewed by the owner", 1, NOW)
            other.save("secret", ids[step], b"edited by a command", 1, NOW)
            for one in (owner, other, command):
                assert len(held(one)) == len(ids) - 2 * step + 2
        assert step > 3
    assert keys_in(place) == 1
    with archive(place) as again:
        assert len(again.list(NOW)) == len(ids)
    assert not [path for path in place.iterdir() if ".corrupt" in path.name]


def test_the_owner_hears_of_what_is_sealed_with_the_new_key(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    """F-7, S22: what a command adds right after a rotation; that records were wrapped anew is no news to a kernel."""
    with archive(place) as owner:
        fill(owner)
        with archive(place, guest=True) as command:
            rotated(command)
            command.save("secret", "d", b"of d", 0, NOW)
        assert not owner.changes(owner.look(), NOW), "it may not be whole yet"
        found = {change.id: change.record for change in owner.changes(owner.look(), NOW)}
        assert {id: record.version for id, record in found.items() if record} == dict.fromkeys("abcd", 1)
        assert found["d"] is not None
        assert found["d"].data == b"of d"
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_of_two_rotations_at_once_the_later_key_stays_and_opens_everything(place: Path) -> None:
    """S22: whoever ends first leaves the keys to the other one."""
    with archive(place) as owner, archive(place, guest=True) as one, archive(place, guest=True) as two:
        fill(owner, "abcdef")
        first, second = one.rotation(NOW), two.rotation(NOW)
        next(first)
        next(second)
        list(first)
        assert keys_in(place) == 3
        owner.save("secret", "g", b"of g", 0, NOW)
        list(second)
        assert keys_in(place) == 1
        for archived in (owner, one, two):
            assert held(archived) == of("abcdefg")
    with archive(place) as again:
        assert held(again) == of("abcdefg")


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside the owner"])
@pytest.mark.parametrize("step", range(0, 50, 3))
def test_a_rotation_that_dies_at_any_step_loses_nothing_and_can_be_done_again(
    place: Path, step: int, *, beside: bool
) -> None:
    """S22: before every third system call of it; the owner goes on writing, and opens everything."""
    with archive(place) as owner:
        fill(owner)
        if beside:
            die_in_a_rotation(place, step)
            owner.save("secret", "d", b"of d", None, NOW)
            owner.save("secret", "a", b"of a", 1, NOW)
            assert held(owner) == of("abcd")
    if not beside:
        die_in_a_rotation(place, step)
    with archive(place) as one:
        assert held(one) == (of("abcd") if beside else of("abc"))
        rotated(one)
        assert held(one) == (of("abcd") if beside else of("abc"))
        assert not [path for path in place.iterdir() if path.name.startswith((".new-", "a.secret.jsonl."))]
    assert keys_in(place) == 1


def die_in_a_rotation(place: Path, step: int) -> None:
    child = os.fork()
    if child == 0:
        left = step

        def profile(frame: FrameType, event: str, arg: Any) -> None:
            nonlocal left
            if event == "c_call" and arg.__module__ == "posix" and arg.__name__ in {"open", "write", "fsync", "rename"}:
                left -= 1
                if left < 0:
                    os._exit(9)

        with archive(place, guest=True) as one:
            sys.setprofile(profile)
            rotated(one)
            os._exit(0)
    os.waitpid(child, 0)


def test_while_the_new_key_is_not_here_nothing_is_written_and_afterwards_all_is(place: Path) -> None:
    """S22: as with a variable that the running process cannot see change; nothing is sealed with a key that is gone."""
    old, new = (key.raw for key in (new_key(), new_key()))
    environ = {"KEY": text(old)}
    owner = Archive(place, LOG, KeyVariable("KEY", environ), NOW)
    fill(owner, "ab")
    command = Archive(place, LOG, KeyVariable("KEY", {"KEY": text(new, old)}), NOW, guest=True)
    assert rotated(command) == 2
    with pytest.raises(StoreError, match="and another one is given"):
        owner.save("secret", "a", b"lost", 1, NOW)
    with pytest.raises(StoreError, match="and another one is given"):
        owner.list(NOW)
    assert held(command) == of("ab")
    environ["KEY"] = text(new, old)
    assert owner.save("secret", "c", b"of c", 0, NOW) == 1
    assert held(owner) == of("abc")
    for one in (command, owner):
        one.close()


def text(*keys: bytes) -> str:
    return ",".join(b64encode(key).decode() for key in keys)


def test_a_key_that_is_rotated_between_a_look_at_the_header_and_one_at_the_key_is_taken_whole(place: Path) -> None:
    """S22: whoever opens the store at that very moment, or follows it, sees neither a wrong key nor a missing one."""
    with archive(place) as owner:
        fill(owner)
        for turn in range(2):
            file = KeyFile(key_of(place))
            with archive(place, guest=True) as command:
                keys = KeysMeanwhile(file, partial(rotated, command))
                one = Archive(place, LOG, keys, NOW, guest=True)
                assert held(one) == of("abc")
                keys.then = partial(rotated, command)
                rotated(command)
                assert one.save("secret", "a", b"of a", None, NOW) == turn + 2
                assert held(one) == held(owner) == of("abc")
                one.close()
    assert keys_in(place) == 1


def test_a_key_that_is_rotated_while_somebody_waits_for_a_turn_is_the_one_that_is_used(place: Path) -> None:
    """S22: after its last look at the header, and before it may write."""
    with archive(place) as owner, archive(place, guest=True) as command:
        fill(owner)
        steps = command.rotation(NOW)

        def profile(frame: FrameType, event: str, arg: Any) -> None:
            if event == "c_call" and arg.__name__ == "flock":
                sys.setprofile(None)
                next(steps)

        sys.setprofile(profile)
        owner.save("secret", "late", b"of late", 0, NOW)
        sys.setprofile(None)
        assert sum(steps) == 3, "the late one was sealed with the new key"


async def test_between_two_turns_of_a_rotation_others_find_one(
    place: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """G3: a rotation rests after each of its turns, for longer than it takes to try again."""
    context = store_context("files", lambda: NOW)
    async with Files.open(Files.Settings(path=str(place)), context) as store:
        for number in range(BATCH * 3):
            await store.save("secret", f"c{number}", b"x", 0)
        began = trio.current_time()
        assert await store.rotate_key() == BATCH * 3
        assert trio.current_time() - began >= (1 + 3) * 2 * TRY
