import base64
import hashlib
import logging
import os
import resource
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.errors import StoreError
from turnout_seal import (
    Key,
    KeyCommand,
    KeyFile,
    KeyRing,
    KeySettings,
    KeySource,
    KeyVariable,
    Place,
    Sealing,
    UnknownKey,
    Unsealable,
    Versions,
    is_sealed,
    key_of,
    new_key,
    open_sealing,
    rewrap,
    seal,
    unseal,
)

LOG = logging.getLogger("turnout.stores.x")
OLD, NEW = Key(bytes(range(32))), Key(bytes(range(32, 64)))
OLD_TEXT = base64.b64encode(OLD.raw).decode()
NEW_TEXT = base64.b64encode(NEW.raw).decode()
PLACE = Place(store="s", id="anna", field="secret", version=3)


def counting() -> Callable[[int], bytes]:
    """Random bytes that are not."""
    count = 0

    def draw(size: int) -> bytes:
        nonlocal count
        count += 1
        return hashlib.shake_256(b"%d" % count).digest(size)

    return draw


# --- the envelope ----------------------------------------------------------------------------------------------------

places = st.builds(
    Place,
    store=st.text(max_size=6),
    id=st.text(max_size=6) | st.text("a\0ü", max_size=4),
    field=st.sampled_from(["secret", "state", ""]),
    version=st.integers(1, 2**63),
)


@given(place=places, data=st.binary(max_size=300))
def test_what_was_sealed_is_unsealed_in_its_place(place: Place, data: bytes) -> None:
    """S20."""
    sealed = seal(OLD, place, data)

    assert unseal(KeyRing(OLD), place, sealed) == data
    assert is_sealed(sealed)
    assert len(data) < 8 or data not in sealed.removeprefix(b"\0turnout-seal\x01"), "which Hypothesis reads in our code"


@given(one=places, other=places)
def test_a_sealed_record_opens_in_no_other_place(one: Place, other: Place) -> None:
    """S21: another store, credential, field or version, however the texts are cut."""
    sealed = seal(OLD, one, b"x")
    if one == other:
        return
    with pytest.raises(Unsealable, match="changed, or sealed for another place"):
        unseal(KeyRing(OLD), other, sealed)
    with pytest.raises(Unsealable, match="changed, or sealed for another place"):
        rewrap(KeyRing(OLD), NEW, other, sealed)


def test_the_parts_of_a_place_cannot_run_into_each_other() -> None:
    """S21: what one part gives up another cannot take."""
    sealed = seal(OLD, Place(store="ab", id="c", field="d", version=1), b"x")
    with pytest.raises(Unsealable):
        unseal(KeyRing(OLD), Place(store="a", id="bc", field="d", version=1), sealed)


@given(at=st.integers(0), bit=st.integers(0, 7))
def test_a_changed_bit_anywhere_is_noticed(at: int, bit: int) -> None:
    """S20: in the wrapped key as in the data."""
    sealed = bytearray(seal(OLD, PLACE, b"some data"))
    sealed[at % len(sealed)] ^= 1 << bit
    with pytest.raises(Unsealable):
        unseal(KeyRing(OLD), PLACE, bytes(sealed))


@given(length=st.integers(0, 120))
def test_a_cut_record_is_noticed(length: int) -> None:
    sealed = seal(OLD, PLACE, b"some data")
    with pytest.raises(Unsealable):
        unseal(KeyRing(OLD), PLACE, sealed[: min(length, len(sealed) - 1)])


def test_another_key_is_told_from_damage() -> None:
    """S22: the record may be sound, so nobody must set it aside."""
    sealed = seal(OLD, PLACE, b"x")

    assert key_of(sealed) == OLD.id
    with pytest.raises(UnknownKey, match=OLD.id):
        unseal(KeyRing(NEW), PLACE, sealed)


def test_a_record_of_a_later_layout_is_told_from_damage() -> None:
    """F-11."""
    sealed = bytearray(seal(OLD, PLACE, b"x"))
    sealed[13] += 1
    with pytest.raises(UnknownKey, match="later version"):
        unseal(KeyRing(OLD), PLACE, bytes(sealed))


@given(data=st.binary(max_size=100))
def test_a_new_key_takes_a_new_wrapping_and_nothing_else(data: bytes) -> None:
    """S22: rotation never touches the data."""
    sealed = seal(OLD, PLACE, data)
    renewed = rewrap(KeyRing(NEW, OLD), NEW, PLACE, sealed)

    assert unseal(KeyRing(NEW), PLACE, renewed) == data
    assert renewed[82:] == sealed[82:]
    with pytest.raises(UnknownKey):
        unseal(KeyRing(OLD), PLACE, renewed)


def test_sealing_draws_nothing_by_itself() -> None:
    """Equal draws give equal bytes, other draws other ones: no key or nonce is used twice."""
    assert seal(OLD, PLACE, b"x", counting()) == seal(OLD, PLACE, b"x", counting())
    draw = counting()
    one, two = seal(OLD, PLACE, b"x", draw), seal(OLD, PLACE, b"x", draw)
    assert one[22:34] != two[22:34], "nonces of the wrapping"
    assert one[82:94] != two[82:94], "nonces of the data"


# --- keys ------------------------------------------------------------------------------------------------------------


def test_a_key_ring_reads_what_it_writes() -> None:
    ring = KeyRing(NEW, OLD)

    assert KeyRing.parse(ring.text()).keys == (NEW, OLD)
    assert KeyRing.parse(f"{OLD_TEXT}, {base64.urlsafe_b64encode(NEW.raw).decode()}").keys == (OLD, NEW)
    assert OLD_TEXT not in repr(ring) + repr(OLD)


@pytest.mark.parametrize("text", ["", " \n", "hunter2-canary", "AAAA", OLD_TEXT[:-1], OLD_TEXT + "A", OLD_TEXT * 2])
def test_what_is_no_key_is_refused_and_not_quoted(text: str) -> None:
    """S22: a word from somebody's head is no key."""
    with pytest.raises(ValueError, match="key") as caught:
        KeyRing.parse(text)

    assert not text.strip() or text.strip() not in str(caught.value)


def test_new_keys_differ() -> None:
    assert new_key().id != new_key().id


# --- where keys come from --------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "state" / "store.key")


@pytest.mark.parametrize("mask", [0o000, 0o077, 0o777])
def test_a_key_file_is_made_private_whatever_the_umask(file: KeyFile, mask: int) -> None:
    """S22, S23."""
    file.path.parent.mkdir()
    old = os.umask(mask)
    try:
        ring = file.create()
    finally:
        os.umask(old)

    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert file.load() is not None
    assert file.create().first == ring.first, "it is made once"
    assert [one.name for one in file.path.parent.iterdir()] == ["store.key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620])
def test_a_key_file_that_others_may_open_is_refused(file: KeyFile, mode: int) -> None:
    """S22: and it is not quietly made private: it may have been read already."""
    file.create()
    file.path.chmod(mode)
    with pytest.raises(StoreError, match=rf"mode {mode:04o}.*chmod 600"):
        file.load()

    assert stat.S_IMODE(file.path.stat().st_mode) == mode


def test_a_key_file_that_is_no_plain_file_is_refused(file: KeyFile, tmp_path: Path) -> None:
    """S22, S23."""
    file.create()
    link = KeyFile(tmp_path / "link.key")
    link.path.symlink_to(file.path)
    with pytest.raises(StoreError, match="symlink"):
        link.load()
    link.path.unlink()
    link.path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(StoreError, match="symlink"):
        link.create()
    os.mkfifo(tmp_path / "pipe.key")
    with pytest.raises(StoreError, match="no plain file"):
        KeyFile(tmp_path / "pipe.key").load()


@pytest.mark.root
def test_a_key_file_of_somebody_else_is_refused(file: KeyFile) -> None:
    """S23: whoever owns it can read and change it."""
    file.create()
    os.chown(file.path, 12345, 12345)
    with pytest.raises(StoreError, match="belongs to user 12345"):
        file.load()


def test_a_damaged_key_file_is_never_overwritten(file: KeyFile) -> None:
    """S22: not even an empty one: a crash leaves none, so somebody else did that."""
    file.path.parent.mkdir()
    for content in (b"", b"\xff" * 40, OLD_TEXT[:20].encode()):
        file.path.write_bytes(content)
        file.path.chmod(0o600)
        for read in (file.load, file.create, lambda: file.add(OLD.id)):
            with pytest.raises(StoreError, match="cannot be used"):
                read()
        assert file.path.read_bytes() == content


def test_a_rotated_key_file_holds_both_keys_until_it_is_told_otherwise(file: KeyFile) -> None:
    """S22."""
    old = file.create().first
    new = file.add(old.id)
    file.keep(old.id)

    assert new.first != old
    assert (found := file.load()) is not None
    assert found.keys == (new.first, old), "the old key is not the first one any more, so it alone is not kept"
    file.keep(new.first.id)
    assert (found := file.load()) is not None
    assert found.keys == (new.first,)


def test_a_key_that_was_put_before_the_current_one_is_the_next_one(file: KeyFile) -> None:
    """S22: by an operator who gave it to every node first, or by a rotation that died before it could use it."""
    old = file.create().first
    new = file.add(old.id)

    assert file.add(old.id).keys == new.keys
    assert file.add(new.first.id).keys[1:] == new.keys


@pytest.mark.parametrize(
    "given",
    [lambda text: KeyVariable("KEY", {"KEY": text}), lambda text: KeyCommand(("echo", *text.split(",")))],
    ids=["a variable", "a command"],
)
def test_a_rotation_without_a_new_key_is_refused_by_a_place_that_cannot_make_one(
    given: Callable[[str], KeySource],
) -> None:
    """S22: nothing is done, and nothing said to be done."""
    with pytest.raises(StoreError, match="begins with the key that is in use: put a new one before it"):
        given(OLD_TEXT).add(OLD.id)
    ring = given(f"{NEW_TEXT},{OLD_TEXT}").add(OLD.id)
    assert ring.keys == (NEW, OLD)


def test_a_variable_holds_keys_or_says_how_to_make_one() -> None:
    source = KeyVariable("KEY", {"KEY": OLD_TEXT})
    empty = KeyVariable("KEY", {"KEY": " "})

    assert source.create().first == OLD
    assert OLD_TEXT not in repr(source)
    assert empty.load() is None
    with pytest.raises(StoreError, match="variable KEY holds no key; make one with: openssl rand"):
        empty.create()
    with pytest.raises(StoreError, match="the variable KEY cannot be used: a key is 32 random bytes"):
        KeyVariable("KEY", {"KEY": "hunter2"}).load()


def test_a_command_prints_keys_or_its_failure_is_told() -> None:
    def printing(program: str) -> KeyCommand:
        return KeyCommand((sys.executable, "-c", program))

    assert printing(f"print('{OLD_TEXT}')").create().first == OLD
    with pytest.raises(StoreError, match="failed with exit code 3"):
        printing("raise SystemExit(3)").load()
    with pytest.raises(StoreError, match="a key is 32 random bytes"):
        printing("print('hunter2')").load()
    with pytest.raises(StoreError, match="cannot be run: No such file"):
        KeyCommand(("/nowhere/vault",)).load()


def test_the_settings_name_one_place(tmp_path: Path) -> None:
    beside = tmp_path / "credentials"

    assert KeySettings().key_source(beside) == KeyFile(tmp_path / "credentials.key")
    assert KeySettings(key_file="~/x").key_source(beside) == KeyFile(Path.home() / "x")
    assert KeySettings(key_command=("pass",)).key_source(beside) == KeyCommand(("pass",))
    assert isinstance(KeySettings(key_env="K").key_source(beside), KeyVariable)
    with pytest.raises(ValueError, match="key_file and key_env exclude each other"):
        KeySettings(key_file="x", key_env="K")


# --- the sealing of a store ------------------------------------------------------------------------------------------


def variable(*keys: Key) -> KeySource:
    return KeyVariable("KEY", {"KEY": KeyRing(*keys).text()} if keys else {})


def whole(source: KeySource) -> Sealing:
    return attrs.evolve(open_sealing(source, None, untouched=True), whole=True)


def test_a_store_opens_again_with_its_key_and_header() -> None:
    first = whole(variable(OLD))
    sealed = first.seal("secret", "anna", 3, b"data")
    again = open_sealing(variable(NEW, OLD), first.header(), untouched=False)

    assert again.unseal("secret", "anna", 3, sealed) == b"data"
    assert again.key == OLD, "the header says which key is current"
    assert again.is_current(sealed)


def test_a_missing_or_wrong_key_is_refused() -> None:
    """S22: whether or not the store holds any record."""
    header = whole(variable(OLD)).header()
    with pytest.raises(StoreError, match="the master key is missing"):
        open_sealing(variable(), header, untouched=True)
    with pytest.raises(StoreError, match=f"master key {OLD.id}, and another one is given"):
        open_sealing(variable(NEW), header, untouched=True)


def test_a_key_is_made_only_where_nothing_was_sealed(file: KeyFile) -> None:
    """S22."""
    with pytest.raises(StoreError, match="its seal header is gone"):
        open_sealing(file, None, untouched=False)
    with pytest.raises(StoreError, match="the master key is missing"):
        open_sealing(file, whole(variable(OLD)).header(), untouched=True)

    assert not file.path.parent.exists()


def test_a_changed_header_is_refused() -> None:
    """S21, S22: another store id would make every record look damaged; `whole` cannot be taken back."""
    sealing = whole(variable(OLD))
    header = sealing.header()
    for changed in (
        header.replace(sealing.store.encode(), b"0" * 32),
        header.replace(b"true", b"false"),
        header.replace(b'"code"', b'"kode"'),
        header[:-20],
        b"",
        b"[]",
        header.replace(b'"format": 1', b'"format": 2'),
    ):
        assert changed != header
        with pytest.raises(StoreError, match="seal header"):
            open_sealing(variable(OLD), changed, untouched=True)


def test_what_is_not_sealed_is_read_only_until_everything_is() -> None:
    """F-11: old records are read forward once; later somebody planted them."""
    sealing = open_sealing(variable(OLD), None, untouched=True)

    assert sealing.unseal("secret", "anna", 1, b"{}") == b"{}"
    renewed = sealing.renewed("secret", "anna", 1, b"{}")
    assert sealing.unseal("secret", "anna", 1, renewed) == b"{}"
    with pytest.raises(Unsealable, match="it is not sealed"):
        attrs.evolve(sealing, whole=True).unseal("secret", "anna", 1, b"{}")


def test_a_sealing_shows_no_key() -> None:
    sealing = whole(variable(OLD))

    assert OLD_TEXT not in repr(sealing)
    assert repr(OLD.raw) not in repr(sealing)
    assert OLD_TEXT.encode() not in sealing.header()


# --- versions --------------------------------------------------------------------------------------------------------


def test_a_record_older_than_it_was_is_told_at_each_start_until_it_is_saved_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """S21, F-12."""
    path = tmp_path / "store.versions"
    first = Versions(path, LOG, alone=True)
    for version in (1, 2, 5):
        first.note("secret", "anna", version)
    first.note("secret", "ben", 1)
    first.close()
    with path.open("ab") as file:
        file.write(b"half a li")
    for alone in (True, False):
        caplog.clear()
        again = Versions(path, LOG, alone=alone)
        for _ in range(2):
            again.tell_if_older("secret", "anna", 3)
            again.tell_if_older("secret", "anna", 5)
            again.tell_if_older("secret", "ben", 1)
            again.tell_if_older("state", "anna", 1)
        assert again.latest("secret", "anna") == 5
        again.close()
        (told,) = caplog.messages
        assert told.startswith("the secret of 'anna' has version 3 and had 5 before: the store was rolled back")
    caplog.clear()
    last = Versions(path, LOG, alone=True)
    last.note("secret", "anna", 6)
    last.tell_if_older("secret", "anna", 6)
    last.close()
    assert caplog.messages == []
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert b"anna" not in path.read_bytes()


def test_the_file_of_versions_is_private_whatever_its_mode_was(tmp_path: Path) -> None:
    """F-10, S23."""
    path = tmp_path / "store.versions"
    path.touch(mode=0o644)
    path.chmod(0o644)
    Versions(path, LOG, alone=True).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_file_of_versions_is_written_anew_when_it_has_grown(tmp_path: Path) -> None:
    path = tmp_path / "store.versions"
    path.write_text("".join(f"{0:032x} {version}\n" for version in range(3000)))
    for alone, lines in ((False, 3000), (True, 1)):
        Versions(path, LOG, alone=alone).close()
        assert len(path.read_text().splitlines()) == lines


def test_a_file_of_versions_that_is_a_symlink_is_refused(tmp_path: Path) -> None:
    (tmp_path / "v").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="cannot be used"):
        Versions(tmp_path / "v", LOG, alone=True)


def test_versions_that_cannot_be_written_stop_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """F-4: the record is saved; only a rollback of it would not be noticed."""
    versions = Versions(tmp_path / "v", LOG, alone=True)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, old[1]))
    try:
        versions.note("secret", "anna", 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    versions.close()

    assert "v cannot be written, so a rolled-back store may pass: File too large" in caplog.text
