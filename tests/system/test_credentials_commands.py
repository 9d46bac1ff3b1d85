"""`turnout credentials …` on a real store, beside a real gateway."""

import json
import os
import signal
import stat
from pathlib import Path

import pytest
from command_place import CANARY, KEY, Place, place_of, soon
from processes import RemoteUpstream, running_gateway

from turnout_upstream import Rule, Script, plays


@pytest.fixture(params=["sqlite", "files"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return place_of(tmp_path, request.param)


# --- while no gateway runs -------------------------------------------------------------------------------------------


def test_what_is_added_is_listed_kept_sealed_and_removed(place: Place) -> None:
    """S70, S20: the key comes from stdin or the environment, and lies nowhere in clear."""
    place.done("add", "openai", "--id", "anna", "--priority", "7", given=CANARY + "\n")
    place.done("add", "OpenAI", "--id", "ben", "--key-env", "BENS", BENS=CANARY)

    listed = json.loads(place.done("list", "--json"))
    assert [(one["id"], one["source"], one["priority"]) for one in listed] == [
        ("anna", "store", 7),
        ("ben", "store", 0),
        ("of-the-file", "file", 0),
    ]
    kept = [path for path in place.folder.rglob("*") if path.is_file()]
    assert all(CANARY.encode() not in path.read_bytes() for path in kept)
    place.done("remove", "anna")
    assert "no credential 'anna'" in place.refused("remove", "anna")
    assert "ben" in place.done("list")


def test_what_is_wrong_with_a_new_credential_is_said(place: Place) -> None:
    place.done("add", "openai", "--id", "anna", given=CANARY)
    for arguments, given, told in (
        (("nobody",), CANARY, "no provider 'nobody' is configured; known: openai"),
        (("openai",), "", "no key was given"),
        (("openai", "--key-env", "NOWHERE"), CANARY, "no key was given"),
        (("openai", "--id", "anna"), CANARY, "there is a credential 'anna' already"),
        (("openai", "--id", "of-the-file"), CANARY, "is named in"),
        (("openai", "--base-url", "ftp://x"), CANARY, "expected a URL"),
        (("openai", "--id", " "), CANARY, "spaces around it"),
    ):
        assert told in place.refused("add", *arguments, given=given)
    for command in ("remove", "enable", "disable"):
        assert "is named in" in place.refused(command, "of-the-file")


def test_a_disabled_credential_stays_so_until_it_is_enabled(place: Place) -> None:
    """O23."""
    place.done("add", "openai", "--id", "anna", given=CANARY)
    place.done("disable", "anna")
    assert json.loads(place.done("show", "anna", "--json"))["status"] == "disabled"
    place.done("enable", "anna")
    assert json.loads(place.done("show", "anna", "--json"))["status"] == "active"


def test_an_export_shows_no_secret_unless_it_is_asked_to_and_the_audit_can_be_written(place: Place) -> None:
    """S26: the row is there before anything is shown; without it nothing is."""
    place.done("add", "openai", "--id", "anna", "--label", "work", given=CANARY)
    audit = place.folder / "xdg" / "turnout" / "audit.jsonl"
    (masked,) = json.loads(place.done("export"))
    assert (masked["api_key"], masked["label"]) == ("***", "work")
    assert not audit.exists()

    (shown,) = json.loads(place.done("export", "anna", "--reveal"))
    assert shown["api_key"] == CANARY
    (row,) = [json.loads(line) for line in audit.read_text().splitlines()]
    assert (row["what"], row["credentials"]) == ("export --reveal", ["anna"])
    assert CANARY not in audit.read_text()
    assert stat.S_IMODE(audit.stat().st_mode) == 0o600

    assert "cannot be written, so nothing is shown" in place.refused("export", "--reveal", "--audit", "/proc/audit")
    audit.unlink()
    audit.symlink_to(place.folder / "elsewhere")
    assert "cannot be written, so nothing is shown" in place.refused("export", "--reveal")


SECRETS = [f"sk-canary-{number:02}-0123456789" for number in range(5)]
WHOLE = {
    "id": "anna",
    "provider": "openai",
    "label": "work",
    "api_key": SECRETS[0],
    "proxy_url": f"http://user:{SECRETS[1]}@127.0.0.1:9",
    "attributes": {"header:X-Team": SECRETS[2], "priority": "7"},
    "metadata": {"access_token": SECRETS[3], "vendor": {"refresh": SECRETS[4]}},
}


def test_nothing_that_may_be_a_secret_is_in_a_masked_export_or_comes_back_from_one(place: Place) -> None:
    """S26: keys, proxies with passwords, headers, and whatever a vendor keeps; names and the rest stay readable."""
    place.done("import", given=json.dumps([WHOLE]))
    masked = place.done("export")

    assert [secret for secret in SECRETS if secret in masked] == []
    (fields,) = json.loads(masked)
    assert fields["attributes"] == {"header:X-Team": "***", "priority": "7"}
    assert fields["metadata"] == {"access_token": "***", "vendor": "***"}
    assert (fields["proxy_url"], fields["label"]) == ("***", "work")
    for name in ("api_key", "proxy_url", "metadata"):
        spoiled = json.dumps([WHOLE | {name: fields[name]}])
        assert "is masked: export it with --reveal" in place.refused("import", "--replace", given=spoiled)
    (shown,) = json.loads(place.done("export", "--reveal"))
    assert {name: shown[name] for name in WHOLE} == WHOLE


def test_each_reveal_adds_a_row_that_names_what_was_shown(place: Place) -> None:
    """S26, S73: also where no id was given; earlier rows stay, and a pipe in the file's place hangs nobody."""
    for id in ("anna", "ben"):
        place.done("add", "openai", "--id", id, given=CANARY)
    audit = place.folder / "rows.jsonl"
    audit.touch(0o644)
    place.done("export", "ben", "--reveal", "--audit", str(audit))
    place.done("export", "--reveal", "--audit", str(audit))

    rows = [json.loads(line)["credentials"] for line in audit.read_text().splitlines()]
    assert rows == [["ben"], ["anna", "ben"]]
    assert stat.S_IMODE(audit.stat().st_mode) == 0o600
    audit.unlink()
    os.mkfifo(audit)
    assert "so nothing is shown" in place.refused("export", "--reveal", "--audit", str(audit))
    reader = os.open(audit, os.O_RDONLY | os.O_NONBLOCK)
    assert "is no plain file, so nothing is shown" in place.refused("export", "--reveal", "--audit", str(audit))
    os.close(reader)


@pytest.mark.parametrize(
    "spoiled",
    [
        {"created_at": SECRETS[0]},
        {"api_key": [SECRETS[0]]},
        {"metadata": SECRETS[0]},
        {"attributes": {"header:X": [SECRETS[0]]}},
        {"disabled": SECRETS[0]},
        {"proxy_url": f"http://user:{SECRETS[0]}@ [/"},
        {"provider": None, "label": SECRETS[0]},
    ],
)
def test_what_is_wrong_with_an_import_is_said_without_quoting_it(place: Place, spoiled: dict[str, object]) -> None:
    """S40."""
    said = place.run("import", given=json.dumps([WHOLE | spoiled]))

    assert [secret for secret in SECRETS if secret in said.out + said.err] == []


def test_what_is_exported_can_be_imported_elsewhere(place: Place, tmp_path_factory: pytest.TempPathFactory) -> None:
    place.done("add", "openai", "--id", "anna", "--label", "work", given=CANARY)
    other = place_of(tmp_path_factory.mktemp("other"), "sqlite")
    exported = place.done("export", "--reveal")

    other.done("import", given=exported)
    again = json.loads(other.done("export", "--reveal"))
    for one in (*again, *(known := json.loads(exported))):
        del one["updated_at"]
    assert again == known
    assert "already; --replace takes its place" in other.refused("import", given=exported)
    other.done("import", "--replace", given=exported)
    assert "is masked: export it with --reveal" in other.refused("import", "--replace", given=place.done("export"))
    for wrong in ("", "{}", '[{"id": 7}]', "[1]"):
        assert "Error" in other.refused("import", given=wrong)


def test_the_key_is_rotated_and_everything_still_opens(place: Place) -> None:
    """S22."""
    place.done("add", "openai", "--id", "anna", given=CANARY)
    key = place.folder / "state" / "store.key"
    old = key.read_text()
    assert "1 secrets are under the new key" in place.done("rotate-key")

    assert key.read_text() != old
    assert json.loads(place.done("export", "--reveal"))[0]["api_key"] == CANARY


# --- while a gateway runs --------------------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "files", "redis"])
def running(request: pytest.FixtureRequest, tmp_path: Path, upstream: RemoteUpstream) -> Place:
    """Where a gateway is to run."""
    server = request.getfixturevalue("server") if request.param == "redis" else None
    return place_of(tmp_path, request.param, upstream.url, server)


def test_a_running_gateway_follows_every_command(running: Place, upstream: RemoteUpstream) -> None:
    """Added, disabled, enabled, replaced, its key rotated, removed: each within a moment, and nothing restarts."""
    place = running

    def serves(key: str = CANARY) -> bool:
        return gateway.chat("m").status == 200 and upstream.requests(1)[-1].key == key

    with running_gateway(place.text, place.folder, key=KEY) as gateway:
        assert not serves()
        place.done("add", "openai", "--id", "anna", given=CANARY)
        soon(serves)
        place.done("disable", "anna")
        soon(lambda: not serves())
        assert "1 secrets are under the new key" in place.done("rotate-key")
        place.done("enable", "anna")
        soon(serves)
        (shown,) = json.loads(place.done("export", "--reveal"))
        place.done("import", "--replace", given=json.dumps([shown | {"api_key": "sk-replaced-0123456789"}]))
        soon(lambda: serves("sk-replaced-0123456789"))
        assert [(one["id"], one["status"]) for one in json.loads(place.done("list", "--json"))] == [
            ("anna", "active"),
            ("of-the-file", "disabled"),
        ]
        place.done("remove", "anna")
        soon(lambda: not serves("sk-replaced-0123456789"))
        gateway.process.send(signal.SIGTERM)
        assert gateway.process.wait_code() == 0
    assert place.done("export") == "[]\n", "the gateway wrote nothing back"


def test_a_cooldown_survives_a_kill_and_ends_by_a_command(running: Place, upstream: RemoteUpstream) -> None:
    """H7, D5, O22: the second gateway does not ask the upstream; after the reset it does."""
    upstream.use(Script(rules=(Rule(plays=(plays.rate_limited(600),)),)))
    place = running
    place.done("add", "openai", "--id", "anna", given=CANARY)
    with running_gateway(place.text, place.folder, key=KEY) as gateway:
        assert gateway.chat("m").status == 429
        soon(lambda: bool(json.loads(place.done("show", "anna", "--json"))["cooldowns"]))
        gateway.process.send(signal.SIGKILL)
        gateway.process.wait_code()
    with running_gateway(place.text, place.folder, key=KEY) as gateway:
        assert gateway.chat("m").status == 429
        assert len(upstream.requests(1)) == 1
        place.done("reset", "anna")
        soon(lambda: gateway.chat("m").status == 200)
