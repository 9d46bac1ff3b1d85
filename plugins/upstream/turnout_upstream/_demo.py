"""`turnout demo`: Turnout's main job, shown without any account.

A scripted upstream with two keys, one of them used up, and a gateway in front of it that is configured like any
other. One streaming request goes through; then the gateway goes on serving.
"""

import json
import secrets
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import click
import trio

import turnout
from turnout.errors import TurnoutError
from turnout_upstream import plays
from turnout_upstream._script import Rule, Script
from turnout_upstream._upstream import Upstream, open_upstream
from turnout_upstream._visitor import Visit, chat_request, visit

MODEL = "demo-model"
USUAL_PORT = 8080
LIMIT = 20.0
"""Seconds for the whole demonstration; it takes about two."""
COOLDOWN = 30
TEXT = "Two keys, one of them used up, and you got your answer all the same. That is what Turnout is for."

CONFIG = """\
[turnout]
drain = "2s"

[stores.sqlite]
path = "{folder}/store"

[frontends.http]
listen = ["127.0.0.1:{port}"]
keys = ["{key}"]

[providers.openai]
base_url = "{upstream}/v1"

[[providers.openai.credentials]]
name = "key-one"
api_key = "{spent}"

[[providers.openai.credentials]]
name = "key-two"
api_key = "{fresh}"

[[providers.openai.models]]
name = "{model}"
"""


@click.command()
@click.option("--once", is_flag=True, help="Exit after the demonstration instead of serving on.")
@click.option("--port", type=click.IntRange(0, 65535), help=f"Of the gateway.  [default: {USUAL_PORT}, or a free one]")
def demo(*, once: bool, port: int | None) -> None:
    """Show a fail-over between two keys of a scripted local upstream, then go on serving."""
    trio.run(_demo, once, _usual_port() if port is None else port)


def _usual_port() -> int:
    """8080 if it is free, else 0."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", USUAL_PORT))
        except OSError:
            return 0
        return USUAL_PORT


async def _demo(once: bool, port: int) -> None:
    with tempfile.TemporaryDirectory(prefix="turnout-demo-") as folder:
        async with _stop_on_signal() as stop, _house(Path(folder), port) as (upstream, kernel, key):
            address = kernel.addresses["http"][0]
            await _show(upstream, address, key)
            if not once:
                _invite(address, key)
                await stop.wait()
                click.echo("\nGoodbye.")
            kernel.drain()
            await kernel.wait_drained()


@asynccontextmanager
async def _stop_on_signal() -> AsyncIterator[trio.Event]:
    """An event that the first SIGTERM or Ctrl-C sets; the second one ends the block at once."""
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(_watch_signals, stop, nursery.cancel_scope)
        yield stop
        nursery.cancel_scope.cancel()


async def _watch_signals(
    stop: trio.Event, scope: trio.CancelScope, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for _ in signals:
            if stop.is_set():
                scope.cancel()
            stop.set()


@asynccontextmanager
async def _house(folder: Path, port: int) -> AsyncIterator[tuple[Upstream, turnout.Kernel, str]]:
    """Upstream and gateway, and the key that clients of the gateway show."""
    spent, fresh, key = ("demo-" + secrets.token_hex(16) for _ in range(3))
    script = Script(
        rules=(Rule(key=spent, always=plays.rate_limited(COOLDOWN)),),
        default=plays.chat(TEXT, every=0.05),
        models=(MODEL,),
    )
    async with open_upstream(script) as upstream:
        text = CONFIG.format(
            folder=folder, port=port, key=key, upstream=upstream.url, spent=spent, fresh=fresh, model=MODEL
        )
        config = turnout.parse_config(text, source="the demo's configuration")
        async with turnout.open_kernel(config) as kernel:
            yield upstream, kernel, key


async def _show(upstream: Upstream, address: str, key: str) -> None:
    """Send the request and tell what happened; raises TurnoutError when it was not a fail-over."""
    click.echo("Turnout between a client and a pool of two API keys, all on this machine.\n")
    click.echo(f"  upstream   {upstream.url:<24} a scripted stand-in for an LLM API")
    click.echo(f"  gateway    {address:<24} this is Turnout")
    click.echo("  key-one    used up: the upstream answers 429, too many requests")
    click.echo("  key-two    works\n")
    click.echo(f"A client asks the gateway for {MODEL}, streaming:\n")
    click.echo("  > ", nl=False)
    seen = await _ask(address, key)
    click.echo("\n")
    for line in _told(_record(seen), upstream):
        click.echo(line)


async def _ask(address: str, key: str) -> Visit:
    request = chat_request(address, key, MODEL, "Does it work?")
    try:
        with trio.fail_after(LIMIT):
            return await visit(address, request, lambda word: click.echo(word, nl=False))
    except BrokenPipeError:
        raise  # the reader of our output went away, not the gateway: the command line knows what that means
    except (OSError, trio.BrokenResourceError, trio.TooSlowError) as error:
        raise TurnoutError(f"the gateway did not answer: {type(error).__name__}") from error


def _record(seen: Visit) -> Mapping[str, Any]:
    """The decision record of a stream that came to its proper end; raises TurnoutError for any other."""
    if seen.status != 200:
        raise TurnoutError(f"the gateway answered {seen.status}: {seen.body.decode(errors='replace')}")
    if not (seen.finished and seen.whole):
        raise TurnoutError("the stream broke off")
    record: Mapping[str, Any] = json.loads(seen.headers.get("x-turnout-decision", "{}"))
    if [attempt["verdict"] for attempt in record.get("attempts", [])] != ["RateLimited", "Done"]:
        raise TurnoutError(f"expected a rate limit and a success, but the decision record says: {record}")
    return record


def _told(record: Mapping[str, Any], upstream: Upstream) -> Iterator[str]:
    """The decision record in plain words."""
    refused, served = record["attempts"]
    began, took = _milliseconds(refused["ended"]), _milliseconds(record["took"])
    yield "The client saw one clean stream. Behind it (from the decision record of this call):\n"
    yield f"  {refused['credential']}    429 after {began}; it rests for {COOLDOWN} s, as the upstream asked"
    yield f"  {served['credential']}    tried next, streams; its first words left after {took} in all"
    yield f"  upstream   saw {upstream.log.seen} requests, each with a key of the pool, none with the client's\n"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def _invite(address: str, key: str) -> None:
    body = json.dumps({"model": MODEL, "stream": True, "messages": [{"role": "user", "content": "Hello"}]})
    click.echo("The gateway goes on serving. Try it from another terminal:\n")
    click.echo(
        f"  curl -N {address}/v1/chat/completions -H 'authorization: Bearer {key}' "
        f"-H 'content-type: application/json' -d '{body}'\n"
    )
    click.echo("Ctrl-C ends it.")
