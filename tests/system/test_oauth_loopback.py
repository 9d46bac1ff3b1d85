"""Tokens renewed over real sockets: the real transport, the real kernel, the command; a strict token endpoint."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import CompletedProcess

import trio
from inside import MODEL
from loopback_tokens import token_endpoint
from processes import LIMIT, TURNOUT, clean_environment

import turnout
from turnout import Ask, Credential, Kernel, Metadata
from turnout_oauth.testing import Answer, OAuthServer, told
from turnout_upstream import Upstream, open_upstream

CONFIG = """\
[turnout]
store = "files"
drain = "1s"

[stores.files]
path = "{folder}/store"

[providers.openai]
base_url = "{api}/v1"

[providers.openai.oauth]
token_url = "{tokens}/token"
client_id = "client"
client_secret = "s3cret-of-the-client"

[[providers.openai.models]]
name = "m"
"""

ASK = Ask(
    model=MODEL,
    dialect="openai.chat",
    payload=json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}).encode(),
)


class Place:
    """A token endpoint and an API on loopback, and a configuration that names both."""

    def __init__(self, server: OAuthServer, upstream: Upstream, config: str, paths: list[str]) -> None:
        self.server = server
        self.upstream = upstream
        self.config = config
        self.paths = paths

    @asynccontextmanager
    async def kernel(self, *, renew: bool = True) -> AsyncIterator[Kernel]:
        async with turnout.open_kernel(turnout.parse_config(self.config), renew=renew) as kernel:
            yield kernel


@asynccontextmanager
async def open_place(folder: Path) -> AsyncIterator[Place]:
    server, paths = OAuthServer(), list[str]()
    with trio.fail_after(LIMIT):
        async with open_upstream() as upstream, token_endpoint(server, paths) as tokens:
            config = CONFIG.format(folder=folder, api=upstream.url, tokens=tokens)
            yield Place(server, upstream, config, paths)


def login(server: OAuthServer, lasts: float) -> Credential:
    """Somebody logged in; the access token ends so many seconds after now."""
    server.issue("refresh-a")
    data = {"email": "a@example.test", "access_token": "at-old", "refresh_token": "refresh-a"}
    return Credential(id="a", provider="openai", metadata=Metadata({**data, "expires_at": time.time() + lasts}))


def kept(kernel: Kernel) -> Metadata:
    credential = kernel.credentials.get("a")
    assert credential is not None
    assert credential.metadata is not None
    return credential.metadata


async def test_many_calls_that_meet_an_ended_token_make_one_request(tmp_path: Path) -> None:
    """E3, S11: over real sockets; tokens go to one origin and calls to the other."""
    async with open_place(tmp_path) as place, place.kernel() as kernel:
        place.server.takes = 0.2
        await kernel.credentials.register(login(place.server, -1))
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(kernel.execute, ASK)

        assert len(place.server.forms) == 1
        assert place.upstream.log.keys() == ["at-1"] * 50
        assert place.paths == ["/token"]
        assert {request.path for request in place.upstream.log.requests} == {"/v1/chat/completions"}
        assert not any(headers["authorization"].startswith("Bearer") for headers in place.server.headers)
        assert {kept(kernel)["refresh_token"]} == place.server.live()


async def test_a_refresh_under_way_is_finished_and_kept_before_the_end(tmp_path: Path) -> None:
    """H6: what the next process finds is what the server takes."""
    async with open_place(tmp_path) as place:
        place.server.takes = 0.5
        async with place.kernel() as kernel:
            await kernel.credentials.register(login(place.server, 60))
            await place.server.asked.wait()
        async with place.kernel() as kernel:
            assert kept(kernel)["access_token"] == "at-1"
            assert {kept(kernel)["refresh_token"]} == place.server.live()
            await kernel.execute(ASK)
        assert place.server.reuses == 0


async def test_a_token_endpoint_that_redirects_gets_nothing_more(tmp_path: Path) -> None:
    """E8, S11: the token in use serves on."""
    async with open_place(tmp_path) as place, place.kernel() as kernel:
        location = {"location": f"{place.upstream.url}/v1/steal"}
        place.server.instead = Answer(status=307, headers=location)
        await kernel.credentials.register(login(place.server, 60))
        await place.server.asked.wait()
        await kernel.execute(ASK)

        assert place.upstream.log.keys() == ["at-old"]
        assert {request.path for request in place.upstream.log.requests} == {"/v1/chat/completions"}
        assert not kernel.credentials.state("a").needs_login


async def test_a_command_renews_a_credential_and_keeps_it(tmp_path: Path) -> None:
    """`turnout credentials refresh ID`: while no gateway holds the store; a refusal is one line and an exit code."""
    async with open_place(tmp_path) as place:
        async with place.kernel(renew=False) as kernel:
            await kernel.credentials.register(login(place.server, 10_000))
            place.server.issue("refresh-b")
            other = Metadata({"email": "b@example.test", "refresh_token": "refresh-b", "expires_at": time.time() + 60})
            await kernel.credentials.register(Credential(id="b", provider="openai", metadata=other))
        file = tmp_path / "turnout.toml"
        file.write_text(place.config)
        done = await run(file, "a")
        assert (done.returncode, done.stderr) == (0, b""), done.stderr
        assert b"a is renewed; its token ends in 3" in done.stdout
        assert "refresh-b" in place.server.live(), "what else is due is left to the gateway"

        async with place.kernel(renew=False) as kernel:
            assert kept(kernel)["access_token"] == "at-1"
            assert kept(kernel)["refresh_token"] in place.server.live()
            held = await run(file, "a")
        place.server.instead = told(400, error="invalid_grant")
        refused, unknown = await run(file, "a"), await run(file, "c")
        assert (held.returncode, refused.returncode, unknown.returncode) == (1, 1, 1)
        assert b"another process uses it" in held.stderr
        assert b"invalid_grant" in refused.stderr
        assert b"no credential 'c'" in unknown.stderr
        for shown in (done, held, refused, unknown):
            for secret in (b"refresh-a", b"at-1", b"at-old", b"s3cret-of-the-client"):
                assert secret not in shown.stdout + shown.stderr


async def run(config: Path, id: str) -> CompletedProcess[bytes]:
    command = [TURNOUT, "credentials", "refresh", id, "--config", str(config)]
    return await trio.run_process(
        command, check=False, capture_stdout=True, capture_stderr=True, env=clean_environment()
    )
