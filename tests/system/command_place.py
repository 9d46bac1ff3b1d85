"""A place where `turnout credentials …` is run on a real store, by itself or beside a gateway."""

import contextlib
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import attrs
import commands
from processes import LIMIT, clean_environment
from valkey_server import Valkey

CONFIG = """\
[turnout]
store = "{store}"
drain = "1s"

[stores.{store}]
{where}

[frontends.http]
listen = ["127.0.0.1:0"]
keys = ["${{TURNOUT_KEY}}"]

[providers.openai]
base_url = "{url}/v1"

[[providers.openai.credentials]]
name = "of-the-file"
api_key = "sk-of-the-file-0123456789"
disabled = true

[[providers.openai.models]]
name = "m"
"""
KEY = secrets.token_urlsafe(24)
CANARY = "sk-canary-0123456789abcdef"


@attrs.frozen
class Said:
    code: object
    out: str
    err: str


@attrs.frozen
class Place:
    folder: Path
    text: str

    def run(self, *arguments: str, given: str = "", **variables: str) -> Said:
        """`turnout credentials ARGUMENTS` with this text on stdin, in this process: many starts would take long."""
        wanted = clean_environment() | {"TURNOUT_KEY": KEY, "XDG_STATE_HOME": str(self.folder / "xdg")} | variables
        with mock.patch.dict(os.environ, wanted, clear=True), contextlib.chdir(self.folder):
            said = Said(*commands.run(["credentials", *arguments], given))
        assert "Traceback" not in said.err
        return said

    def done(self, *arguments: str, given: str = "", **variables: str) -> str:
        said = self.run(*arguments, given=given, **variables)
        assert said.code == 0, said.err
        return said.out

    def refused(self, *arguments: str, given: str = "", **variables: str) -> str:
        said = self.run(*arguments, given=given, **variables)
        assert said.code != 0, said.out
        assert CANARY not in said.out + said.err
        return said.err


def place_of(folder: Path, store: str, url: str = "http://127.0.0.1:9", server: Valkey | None = None) -> Place:
    """A configuration in this folder with a store of this kind, whose master key is `state/store.key`."""
    where = f'path = "{folder}/state/store"'
    if server is not None:
        where = f'url = "{server.url.reveal()}"\nkey_file = "{folder}/state/store.key"'
    text = CONFIG.format(store=store, where=where, url=url)
    (folder / "turnout.toml").write_text(text)
    return Place(folder, text)


def soon(what: Callable[[], bool]) -> None:
    """Wait for something that another process does, within the limit."""
    deadline = time.monotonic() + LIMIT
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.1)
