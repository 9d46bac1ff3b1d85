"""Power loss (F-3): every state of the disk that it may leave, from what was written and what was synced.

What was not synced may be missing, there, or there in part: sectors of 512 bytes of a file in any mixture, with zeros
or nothing where they are missing; names of a folder in any selection, whatever the order in which they were changed.
"""

import itertools
import logging
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import attrs
from store_setup import NOW

from turnout.errors import StoreError
from turnout_files._archive import Archive
from turnout_files._disk import RealDisk
from turnout_seal import KeyFile
from turnout_sqlite import Sqlite
from turnout_sqlite._opening import Opened
from turnout_sqlite._place import Place

LOG = logging.getLogger("turnout.stores")
SECTOR = 512

Values = dict[tuple[str, str], bytes]
"""Data of records, by kind and id."""


def mixtures(old: bytes, new: bytes) -> Iterator[bytes]:
    """`old` on the way to `new`: any sectors of it, as long as either; all of them if they are few, else samples."""
    length = max(len(old), len(new))
    before, after = old.ljust(length, b"\0"), new.ljust(length, b"\0")
    sectors = [at for at in range(0, length, SECTOR) if before[at : at + SECTOR] != after[at : at + SECTOR]]
    chosen: list[Sequence[int]] = [[], sectors, sectors[::2], sectors[1::2]]
    if len(sectors) <= 5:
        chosen = [some for size in range(len(sectors) + 1) for some in itertools.combinations(sectors, size)]
    else:
        chosen += [part for at in range(len(sectors)) for part in (sectors[:at], sectors[at:], [sectors[at]])]
    seen = set()
    for some in chosen:
        mixed = bytearray(before)
        for at in some:
            mixed[at : at + SECTOR] = after[at : at + SECTOR]
        for state in (bytes(mixed), bytes(mixed[: max([len(old), *(min(at + SECTOR, length) for at in some)])])):
            if state not in seen:
                seen.add(state)
                yield state


# --- a recording disk ------------------------------------------------------------------------------------------------


class Event(NamedTuple):
    """What was done, to which name or file; and the key file as it was then."""

    what: str
    name: str = ""
    other: str = ""
    file: int = -1
    content: bytes = b""
    key: bytes = b""


@attrs.define
class RecordingDisk:
    """Does what it is told, and remembers it; without `syncs`, what is synced is forgotten (to test the test)."""

    key: Path
    syncs: bool = True
    events: list[Event] = attrs.field(factory=list)
    _real: RealDisk = attrs.field(factory=RealDisk)
    _files: dict[int, int] = attrs.field(factory=dict)
    _numbers: Iterator[int] = attrs.field(factory=itertools.count)

    def note(self, what: str, **more: object) -> None:
        key = self.key.read_bytes() if self.key.exists() else b""
        self.events.append(Event(what, key=key, **more))  # type: ignore[arg-type]  # by name, and tested by use

    def make_folder(self, path: Path) -> None:
        self._real.make_folder(path)

    def create(self, name: str, folder: int) -> int:
        fd = self._real.create(name, folder)
        self._files[fd] = next(self._numbers)
        self.note("create", name=name, file=self._files[fd])
        return fd

    def write(self, fd: int, content: bytes) -> None:
        self._real.write(fd, content)
        self.note("write", file=self._files[fd], content=content)

    def sync(self, fd: int) -> None:
        if not self.syncs:
            return
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            self.note("sync names")
        else:
            self.note("sync", file=self._files[fd])

    def rename(self, old: str, new: str, folder: int) -> None:
        self._real.rename(old, new, folder)
        self.note("rename", name=old, other=new)

    def unlink(self, name: str, folder: int) -> None:
        self._real.unlink(name, folder)
        self.note("unlink", name=name)


class Names:
    """A folder: which file each name has. A file that was renamed is known by all its names, so that any may show."""

    def __init__(self, names: Mapping[str, int]) -> None:
        self.now = dict(names)

    def apply(self, event: Event, files: Mapping[str, int]) -> None:
        if event.what == "create":
            self.now[event.name] = event.file
        elif event.what == "unlink":
            self.now.pop(event.name, None)
        else:
            self.now.pop(event.name, None)
            self.now[event.other] = files[event.name]


def states(events: Sequence[Event]) -> Iterator[dict[str, bytes]]:
    """Every content of the folder that a power loss after these events may leave."""
    contents: dict[int, bytes] = {}
    synced: dict[int, bytes] = {}
    all_names: dict[str, int] = {}
    durable: dict[str, int] = {}
    pending: list[tuple[Event, dict[str, int]]] = []
    for event in events:
        if event.what == "write":
            contents[event.file] = contents.get(event.file, b"") + event.content
        elif event.what == "sync":
            synced[event.file] = contents[event.file]
        elif event.what == "sync names":
            durable, pending = dict(all_names), []
        else:
            pending.append((event, dict(all_names)))
            after = Names(all_names)
            after.apply(event, all_names)
            all_names = after.now
    for size in range(len(pending) + 1):
        for some in itertools.combinations(pending, size):
            names = Names(durable)
            for event, before in some:
                names.apply(event, before)
            files = sorted(set(names.now.values()))
            choices = [mixtures(synced.get(file, b""), contents.get(file, b"")) for file in files]
            for mixed in itertools.product(*choices):
                by_file = dict(zip(files, mixed, strict=True))
                yield {name: by_file[file] for name, file in names.now.items()}


# --- the files store -------------------------------------------------------------------------------------------------


@attrs.frozen
class Moment:
    """After so many events: what was acknowledged, and what was under way."""

    events: int
    values: Values
    next: Values


def play(place: Path, disk: RecordingDisk) -> list[Moment]:
    """Save, overwrite, remove, rotate the key."""
    key = KeyFile(disk.key)
    archive = Archive(place, LOG, key, NOW, disk=disk)
    moments, values = [Moment(0, {}, {}), Moment(len(disk.events), {}, {})], Values()

    def done(after: Values) -> None:
        moments[-1] = attrs.evolve(moments[-1], next=after)
        moments.append(Moment(len(disk.events), after, after))

    try:
        for kind, id, data in (
            ("secret", "anna", b"1" * 1200),
            ("state", "anna", b"cooling"),
            ("secret", "anna", b"2" * 1500),
            ("secret", "ben", b"b"),
            ("secret", "anna", b"3" * 700),
        ):
            archive.save(kind, id, data, None, NOW)
            values = values | {(kind, id): data}
            done(values)
        archive.delete("state", "anna")
        values = {key: data for key, data in values.items() if key != ("state", "anna")}
        done(values)
        list(archive.rotation(NOW))
        done(values)
    finally:
        archive.close()
    return moments


def losses(disk: RecordingDisk, moments: Sequence[Moment], folder: Path) -> Iterator[str]:
    """What is wrong with any state that a power loss at any moment may leave."""
    seen: set[int] = set()
    for at in range(moments[1].events, len(disk.events) + 1):
        moment = max((one for one in moments[1:] if one.events <= at), key=lambda one: one.events)
        key = disk.events[at - 1].key if at else b""
        for state in states(disk.events[:at]):
            digest = hash((frozenset(state.items()), key, frozenset(moment.values.items())))
            if digest not in seen:
                seen.add(digest)
                yield from wrong(state, key, moment, folder / str(len(seen)))
    assert len(seen) > 50, "there is something to lose"


def wrong(state: Mapping[str, bytes], key: bytes, moment: Moment, folder: Path) -> Iterator[str]:
    place = folder / "d"
    place.mkdir(parents=True, mode=0o700)
    for path, content in [(place / name, content) for name, content in state.items()] + [(folder / "key", key)]:
        path.write_bytes(content)
        path.chmod(0o600)
    try:
        archive = Archive(place, LOG, KeyFile(folder / "key"), NOW)
    except StoreError as error:
        yield str(error)
        return
    found = {(one.kind, one.id): one.data for one in archive.list(NOW)}
    archive.close()
    if found not in (moment.values, moment.next):
        yield f"{sorted(found)} is neither what was acknowledged nor what came next"
    if strange := [path.name for path in place.iterdir() if ".corrupt" in path.name or path.name.startswith(".new")]:
        yield f"left behind: {strange}"
    shutil.rmtree(folder)


def test_after_a_power_loss_at_any_moment_each_file_has_its_old_or_its_new_record(tmp_path: Path) -> None:
    """F-3: and what was acknowledged is there; the rotation of the key included."""
    disk = RecordingDisk(tmp_path / "key")
    moments = play(tmp_path / "d", disk)

    assert list(losses(disk, moments, tmp_path / "states")) == []


def test_a_disk_that_syncs_nothing_would_lose_records(tmp_path: Path) -> None:
    """F-3: the test sees it."""
    disk = RecordingDisk(tmp_path / "key", syncs=False)
    moments = play(tmp_path / "d", disk)
    disk.events = disk.events[: moments[2].events]

    assert any("neither" in one for one in losses(disk, moments[:3], tmp_path / "states"))
    assert any("seal" in one for one in losses(disk, moments[:3], tmp_path / "more"))


def test_a_folder_that_is_made_is_synced_with_the_one_that_holds_it(tmp_path: Path) -> None:
    """F-3: else the whole store could go with its name."""
    synced: list[str] = []

    class Watched:
        def __getattr__(self, name: str) -> object:
            return getattr(RealDisk(), name)

        def make_folder(self, path: Path) -> None:
            RealDisk().make_folder(path)
            synced.append(path.name)

    keys = KeyFile(tmp_path / "key")
    Archive(tmp_path / "a" / "b" / "d", LOG, keys, NOW, disk=Watched()).close()  # type: ignore[arg-type]  # it has all

    assert synced == ["a", "b", "d"]


# --- the sqlite store ------------------------------------------------------------------------------------------------


@attrs.frozen
class Database:
    """The files of a database at one moment."""

    main: bytes
    journal: bytes

    @classmethod
    def of(cls, place: Path) -> "Database":
        main = place / "credentials.sqlite"
        return cls(main.read_bytes(), Path(f"{main}-wal").read_bytes())


def loaded(database: Database, key: Path, folder: Path) -> dict[str, bytes]:
    place = folder / "store"
    place.mkdir(parents=True, mode=0o700)
    for name, content in (("credentials.sqlite", database.main), ("credentials.sqlite-wal", database.journal)):
        (place / name).write_bytes(content)
    opened = Opened(Sqlite.Settings(path=str(place), key_file=str(key)), NOW, LOG)
    try:
        assert opened.connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return {record.id: record.data for record in opened.records.list(NOW)}
    finally:
        opened.close()
        assert not list(place.glob("*.corrupt*"))
        shutil.rmtree(folder)


def calls_of(work: Callable[[], object]) -> list[str]:
    """The calls of a work that matter to a power loss, in order."""
    calls: list[str] = []

    def profile(frame: FrameType, event: str, arg: Any) -> None:
        if event == "c_call" and arg.__module__ == "posix" and arg.__name__ in {"mkdir", "fsync", "rename"}:
            calls.append(arg.__name__)

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


def test_what_lies_around_a_store_is_synced_before_it_is_used(tmp_path: Path) -> None:
    """F-3, S22: each new folder with the one that holds it; a key before its name, and its name before it is used."""
    place = calls_of(lambda: Place(tmp_path / "a" / "b" / "store", LOG.warning, lambda: None).close())
    key = KeyFile(tmp_path / "c" / "store.key")

    assert place == ["mkdir", "fsync"] * 3
    assert calls_of(key.create) == ["mkdir", "fsync", "fsync", "rename", "fsync"]
    assert calls_of(lambda: key.add(key.create().first.id)) == ["fsync", "rename", "fsync"]


def test_sqlite_syncs_each_commit(tmp_path: Path) -> None:
    """F-3: WAL with `synchronous = FULL` syncs the journal before a commit returns (sqlite.org/pragma.html, 2026)."""
    opened = Opened(Sqlite.Settings(path=str(tmp_path / "store")), NOW, LOG)
    try:
        assert opened.connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert opened.connection.execute("PRAGMA synchronous").fetchone() == (2,)
    finally:
        opened.close()


def test_after_a_power_loss_the_database_has_its_old_or_its_new_record(tmp_path: Path) -> None:
    """F-3: while a commit is written to the journal, and while the journal is brought into the database."""
    place, key = tmp_path / "store", tmp_path / "key"
    opened = Opened(Sqlite.Settings(path=str(place), key_file=str(key)), NOW, LOG)
    try:
        opened.connection.execute("PRAGMA wal_autocheckpoint = 0")
        opened.records.save("secret", "anna", b"old" * 300, 0, NOW)
        before = Database.of(place)
        opened.records.save("secret", "anna", b"new" * 500, 1, NOW)
        after = Database.of(place)
        assert opened.connection.execute("PRAGMA wal_checkpoint(FULL)").fetchone()[0] == 0
        brought = Database.of(place)
    finally:
        opened.close()
    assert before.main == after.main
    assert before.journal != after.journal
    assert brought.main != after.main
    committing = [Database(after.main, journal) for journal in mixtures(before.journal, after.journal)]
    checkpointing = [Database(main, after.journal) for main in mixtures(after.main, brought.main)]

    seen = {loaded(state, key, tmp_path / "state")["anna"] for state in committing}
    assert seen == {b"old" * 300, b"new" * 500}
    assert {loaded(state, key, tmp_path / "state")["anna"] for state in checkpointing} == {b"new" * 500}
    assert min(len(committing), len(checkpointing)) > 20
