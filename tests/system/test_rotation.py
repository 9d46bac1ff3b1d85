"""A new master key while a gateway serves, by a command in a process of its own that is killed on the way (S22)."""

import json
import signal
import sys
from functools import partial
from pathlib import Path

import pytest
from command_place import KEY, Place, place_of, soon
from processes import TURNOUT, Gateway, Process, RemoteUpstream, running_gateway
from valkey_server import Valkey

from turnout_seal import KeyRing, new_key

DEATHS = {
    "files": (("rename", 0), ("rename", 1), ("rename", 2), ("rename", 4), ("rename", 11)),
    "sqlite": (("rename", 0), ("rename,execute", 4), ("rename,execute", 7), ("rename", 1), ("rename,execute", 1)),
    "redis": (("rename", 0), ("rename,send", 9), ("rename,send", 14), ("rename", 1), ("rename,send", 1)),
}
"""What is counted, and before which of these calls the command dies: before the new key is in its file, before the
header names it, among the records, before the older keys leave the file. In between nothing changes for others."""


@pytest.mark.parametrize("store", DEATHS)
def test_a_rotation_that_is_killed_at_any_step_stops_nobody_and_can_be_done_again(
    tmp_path: Path, upstream: RemoteUpstream, server: Valkey, store: str
) -> None:
    """S22: after each death the gateway follows what a command writes, seals what it takes in, and loses nothing."""
    place = place_of(tmp_path, store, upstream.url, server if store == "redis" else None)
    kept: dict[str, str] = {}
    with running_gateway(place.text, tmp_path, key=KEY) as gateway:
        add(place, kept, "first")
        for number, (calls, step) in enumerate(DEATHS[store]):
            place.done("disable", [*kept][-1])
            die_in_a_rotation(place, step, calls)
            if store == "files":
                drop(place, kept, f"dropped-{number}")
            add(place, kept, f"added-{number}")
            soon(partial(serves, gateway, upstream, kept[f"added-{number}"]))
            soon(lambda: not [*(place.folder / "state").glob("store/dropped-*.json")])
        assert len(key_file(place).read_text().split()) >= 3, "none is gone that may be needed"
        assert f"{len(kept)} secrets are under the new key" in place.done("rotate-key")
        assert shown(place) == kept
        assert len(key_file(place).read_text().split()) == 1
        assert serves(gateway, upstream, kept[f"added-{number}"])
        gateway.process.send(signal.SIGTERM)
        assert gateway.process.wait_code() == 0
    assert shown(place) == kept
    assert not [path for path in place.folder.rglob("*") if ".corrupt" in path.name]


@pytest.mark.parametrize("store", DEATHS)
def test_with_a_wrong_missing_or_open_key_no_gateway_starts_and_nothing_is_overwritten(
    tmp_path: Path, server: Valkey, store: str
) -> None:
    """S22."""
    place = place_of(tmp_path, store, server=server if store == "redis" else None)
    kept: dict[str, str] = {}
    add(place, kept, "anna")
    key, before = key_file(place), everything(place, server)
    right = key.read_bytes()

    def put_right() -> None:
        key.write_bytes(right)
        key.chmod(0o600)

    def refused(told: str) -> None:
        assert told in place.refused("add", "openai", "--id", "ben", given="sk-of-ben-0123456789")
        assert told in place.refused("rotate-key")

    key.unlink()
    refused("the master key is missing")
    put_right()
    key.chmod(0o644)
    refused("others may read the key file")
    put_right()
    key.write_text(KeyRing(new_key()).text())
    refused("and another one is given")
    with Process([TURNOUT, "run", "turnout.toml"], env={"TURNOUT_KEY": KEY}, cwd=tmp_path) as process:
        assert process.wait_code() not in {0, -signal.SIGKILL}
    assert "and another one is given" in process.stderr.text
    put_right()
    assert everything(place, server) == before
    assert shown(place) == kept


def everything(place: Place, server: Valkey) -> object:
    """All that is stored, in files of ours or in the server."""
    files = {path: path.read_bytes() for path in (place.folder / "state").rglob("*") if path.is_file()}
    return files, server.ask("HGETALL", "turnout:about"), server.ask("KEYS", "*"), server.ask("GET", "turnout:seq")


def add(place: Place, kept: dict[str, str], id: str) -> None:
    kept[id] = f"sk-of-{id}-0123456789"
    place.done("add", "openai", "--id", id, given=kept[id])


def drop(place: Place, kept: dict[str, str], id: str) -> None:
    """A credential in clear, which the running gateway seals."""
    kept[id] = f"sk-of-{id}-0123456789"
    file = place.folder / "state" / "store" / f"{id}.json"
    file.write_text(json.dumps({"provider": "openai", "api_key": kept[id], "disabled": True}))


def serves(gateway: Gateway, upstream: RemoteUpstream, key: str) -> bool:
    return gateway.chat("m").status == 200 and upstream.requests(1)[-1].key == key


def die_in_a_rotation(place: Place, step: int, calls: str) -> None:
    script = str(Path(__file__).with_name("dying_command.py"))
    command = [sys.executable, script, str(step), calls, "credentials", "rotate-key"]
    with Process(command, env={"TURNOUT_KEY": KEY}, cwd=place.folder) as process:
        assert process.wait_code() == -signal.SIGKILL, process.stderr.text


def shown(place: Place) -> dict[str, str]:
    return {one["id"]: one["api_key"] for one in json.loads(place.done("export", "--reveal"))}


def key_file(place: Place) -> Path:
    return place.folder / "state" / "store.key"
