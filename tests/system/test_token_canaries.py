"""Secrets of stores and of renewals, which must show up nowhere: not in what processes print, nor on any disk.

A real gateway at its most talkative and real commands, on each store that several processes can share; a token endpoint
that repeats in its answers whatever it was sent.
"""

import base64
import json
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import quote

import attrs
import pytest
import trio
from canaries import Canaries, canary
from loopback_tokens import serve
from processes import LIMIT, TURNOUT, Gateway, Process, clean_environment
from valkey_server import running

from turnout_oauth.testing import Answer, OAuthServer
from turnout_upstream import Rule, Script, Upstream, open_upstream, plays

CONFIG = """\
[turnout]
store = "{kind}"
drain = "1s"

[stores.{kind}]
{place}
key_env = "MASTER_KEY"

[frontends.http]
listen = ["127.0.0.1:0"]
keys = ["${{CLIENT_KEY}}"]

[retry]
passes = 1

[providers.openai]
base_url = "{api}/v1"

[providers.openai.oauth]
token_url = "{tokens}/token"
client_id = "client"
client_secret = "${{CLIENT_SECRET}}"

[[providers.openai.models]]
name = "m"
"""
COMMANDS = Path(__file__).with_name("commands.py")


@attrs.frozen
class Secrets(Canaries):
    """One of each kind that stores and renewals know."""

    client_key: str = attrs.field(factory=canary)
    client_secret: str = attrs.field(factory=canary)
    refresh: str = attrs.field(factory=canary)
    access: str = attrs.field(factory=canary)
    renewed: str = attrs.field(factory=canary)
    id_token: str = attrs.field(factory=canary)
    api_key: str = attrs.field(factory=canary)
    header: str = attrs.field(factory=canary)
    proxy: str = attrs.field(factory=canary)
    of_the_server: str = attrs.field(factory=canary)
    master_key: str = attrs.field(factory=lambda: base64.b64encode(secrets.token_bytes(32)).decode())


class Echoing(OAuthServer):
    """A token endpoint whose tokens are canaries, and which repeats what it was sent when it fails."""

    def __init__(self, canaries: Secrets) -> None:
        super().__init__(("client", canaries.client_secret))
        self._canaries = canaries
        self.failing: list[tuple[int, str]] = []

    def answer(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        found = super().answer(body, headers)
        if self.failing:
            return self.echo(*self.failing.pop(0), form=self.forms[-1], headers=headers)
        fields = json.loads(found.body)
        return attrs.evolve(found, body=json.dumps(fields | {"access_token": self._canaries.renewed}).encode())

    def echo(self, status: int, error: str, *, form: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        text = f"{form.get('refresh_token')} {headers.get('authorization')} {self._canaries.client_secret}"
        told = json.dumps({"error": error, "error_description": text}) if error else f"<html>{text}</html>"
        return Answer(status=status, headers={"location": f"/?{quote(text)}", "x-why": quote(text)}, body=told.encode())


@attrs.frozen
class Said:
    """What a command printed."""

    code: int
    out: str
    err: str


class Scene:
    """A store, a token endpoint, an upstream, and the commands."""

    def __init__(self, folder: Path, canaries: Secrets, server: Echoing, upstream: Upstream) -> None:
        self.folder = folder
        self.canaries = canaries
        self.server = server
        self.upstream = upstream
        self.said: dict[str, bytes] = {}
        self.env = {
            "MASTER_KEY": canaries.master_key,
            "CLIENT_KEY": canaries.client_key,
            "CLIENT_SECRET": canaries.client_secret,
        }

    async def run(self, *commands: tuple[str, ...], given: str = "") -> list[Said]:
        """Commands, one after the other in one process; what they print must hold no secret, unless it is to."""
        config = "--config", str(self.folder / "turnout.toml")
        wanted = [[["credentials", *arguments, *config], given] for arguments in commands]
        done = await trio.run_process(
            [sys.executable, str(COMMANDS)],
            stdin=json.dumps(wanted).encode(),
            capture_stdout=True,
            capture_stderr=True,
            env=clean_environment() | self.env,
            cwd=self.folder,
        )
        self.said[f"stderr {len(self.said)}"] = done.stderr
        said = [Said(*one) for one in json.loads(done.stdout)]
        for arguments, one in zip(commands, said, strict=True):
            shown = one.err if "--reveal" in arguments else one.out + one.err
            self.said[" ".join((*arguments, str(len(self.said))))] = shown.encode()
        return said

    def leaks(self) -> dict[str, list[str]]:
        """Where secrets were found, and which."""
        files = {str(path): path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}
        found = {name: self.canaries.found_in(content) for name, content in (self.said | files).items()}
        return {name: names for name, names in found.items() if names}


@contextmanager
def place(kind: str, folder: Path, canaries: Secrets) -> Iterator[str]:
    """The lines of the configuration that say where the store is; the URL with its password is in a variable."""
    if kind != "redis":
        yield f'path = "{folder}/store"'
        return
    (folder / "server").mkdir()
    with running(folder / "server") as server:
        server.ask("CONFIG", "SET", "requirepass", canaries.of_the_server)
        yield f'url = "redis://:${{DSN_PASSWORD}}@127.0.0.1:{server.port}/0"'


@asynccontextmanager
async def opened(kind: str, folder: Path) -> AsyncIterator[Scene]:
    canaries = Secrets()
    server = Echoing(canaries)
    with place(kind, folder, canaries) as where, trio.fail_after(2 * LIMIT):
        async with open_upstream() as upstream, trio.open_nursery() as nursery:
            listeners = await nursery.start(partial(trio.serve_tcp, partial(serve, server, []), 0, host="127.0.0.1"))
            tokens = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
            scene = Scene(folder, canaries, server, upstream)
            scene.env["DSN_PASSWORD"] = canaries.of_the_server
            (folder / "turnout.toml").write_text(CONFIG.format(kind=kind, place=where, api=upstream.url, tokens=tokens))
            yield scene
            nursery.cancel_scope.cancel()


def given(canaries: Secrets) -> str:
    """A login whose token ends soon, and a key that needs a proxy which is not there."""
    tokens = {"access_token": canaries.access, "refresh_token": canaries.refresh, "id_token": canaries.id_token}
    login = {"id": "a", "provider": "openai", "metadata": tokens | {"expires_at": time.time() + 60}}
    proxied = {
        "id": "b",
        "provider": "openai",
        "api_key": canaries.api_key,
        "proxy_url": f"http://user:{canaries.proxy}@127.0.0.1:1",
        "attributes": {"header:x-tenant": canaries.header},
    }
    return json.dumps([login, proxied])


@asynccontextmanager
async def gateway(scene: Scene) -> AsyncIterator[Gateway]:
    command = [TURNOUT, "run", "--log-level", "debug", str(scene.folder / "turnout.toml")]
    process = await trio.to_thread.run_sync(partial(Process, command, env=scene.env, cwd=scene.folder))
    try:
        yield await trio.to_thread.run_sync(Gateway, process, scene.canaries.client_key)
        process.send(signal.SIGTERM)
        assert await trio.to_thread.run_sync(process.wait_code) == 0
    finally:
        await trio.to_thread.run_sync(process.__exit__, None, None, None)
    scene.said["gateway"] = scene.said.get("gateway", b"") + (process.stdout.text + process.stderr.text).encode()


async def chat(scene: Scene, running: Gateway) -> int:
    answer = await trio.to_thread.run_sync(running.chat, "m")
    scene.said[f"answer {len(scene.said)}"] = f"{answer.body} {answer.headers}".encode()
    return answer.status


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("redis", marks=pytest.mark.long)])
async def test_no_secret_of_a_store_or_of_a_renewal_shows_anywhere(kind: str, tmp_path: Path) -> None:
    """S40, S20: renewed, refused, failing in every way, listed, exported; in no output, and in no file but sealed."""
    async with opened(kind, tmp_path) as scene:
        canaries, server = scene.canaries, scene.server
        server.issue(canaries.refresh)
        (imported,) = await scene.run(("import",), given=given(canaries))
        assert imported.code == 0, imported.err
        async with gateway(scene) as running:
            await server.asked.wait()
            assert await chat(scene, running) == 200
            assert scene.upstream.log.keys()[-1] in {canaries.access, canaries.renewed}
            await failures_of_commands_and_calls(scene, running)
        async with gateway(scene) as running:
            await failures_of_a_gateway(scene, running)
            await every_look(scene)
        assert b"DEBUG" in scene.said["gateway"]
        assert scene.leaks() == {}


async def failures_of_commands_and_calls(scene: Scene, running: Gateway) -> None:
    """Renewals that fail by the command, and a call whose token is refused soon after it was renewed."""
    scene.server.failing = [(500, "server_error"), (302, ""), (400, "invalid_grant")]
    for said in await scene.run(("refresh", "a"), ("refresh", "a")):
        assert said.code == 1
    scene.upstream.use(Script(rules=(Rule(always=plays.status(401, "no")),)))
    assert await chat(scene, running) != 200


async def failures_of_a_gateway(scene: Scene, running: Gateway) -> None:
    """What was refused is renewed by the next one, half a minute after the last renewal; then calls by the other."""
    await trio.to_thread.run_sync(running.process.stderr.wait_for, "could not be refreshed: .*invalid_grant")
    await scene.run(("disable", "a"))
    assert await chat(scene, running) != 200, "by way of the proxy that is not there"


async def every_look(scene: Scene) -> None:
    """Whatever shows credentials."""
    looks = ("list",), ("list", "--json"), ("show", "a", "--json"), ("show", "b"), ("export",), ("rotate-key",)
    audit = scene.folder / "audit"
    *_, state, _, _, _, shown = await scene.run(*looks, ("export", "--reveal", "--audit", str(audit)))
    assert "invalid_grant" in state.out
    assert scene.canaries.found_in(shown.out.encode()), "it is to be seen there"
    assert b"export" in audit.read_bytes()
