"""The whole house in the test's own process: a scripted upstream, the kernel with its HTTP frontend, an HTTP client."""

import json
import os
import secrets
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import httpx
import trio

import turnout
import turnout_http  # noqa: F401
import turnout_openai  # noqa: F401
import turnout_selectors  # noqa: F401
import turnout_sqlite  # noqa: F401  # the kernel imports what it needs in one long step of its start: not within a test
import turnout_transport  # noqa: F401
from turnout_upstream import Script, Upstream, open_upstream

TLS = ssl.create_default_context()
"""Made once: each client would read the certificates of this machine anew, for connections that need none."""

TRANSPORT = os.environ.get("TURNOUT_TRANSPORT", "pool")
"""Of every house whose test does not choose; `each_transport` has a test run over both."""

MODEL = "m"
LIMIT = 20.0

CONFIG = """\
[turnout]
drain = "1s"
transport = "{transport}"

[stores.sqlite]
path = "{folder}/store"

[frontends.http]
listen = ["127.0.0.1:0"]
keys = {keys}
server = "{server}"

{deadlines}

{more}

[providers.openai]

{credentials}

[[providers.openai.models]]
name = "m"
"""

CREDENTIAL = """\
[[providers.openai.credentials]]
name = "{name}"
api_key = "sk-{name}"
base_url = "{url}/v1"
priority = {priority}
"""


@attrs.frozen
class House:
    """Everything that a test of the whole house looks at."""

    upstream: Upstream
    kernel: turnout.Kernel
    client: httpx.AsyncClient

    async def chat(self, *, stream: bool = False, body: bytes | None = None) -> httpx.Response:
        """One request, its answer read to the end; it asks for the decision record as well."""
        own = {"model": MODEL, "stream": stream, "messages": [{"role": "user", "content": "hi"}]}
        return await self.client.post(
            "/v1/chat/completions",
            content=json.dumps(own).encode() if body is None else body,
            headers={"x-turnout-explain": "1"},
        )


def verdicts(response: httpx.Response) -> list[tuple[str, str]]:
    """Who was tried, and how it ended."""
    record: Mapping[str, Any] = json.loads(response.headers["x-turnout-decision"])
    return [(attempt["credential"], attempt["verdict"]) for attempt in record["attempts"]]


def error_code(response: httpx.Response) -> str:
    """The code of an error answer, which must have the dialect's shape."""
    error = json.loads(response.text)["error"]
    assert {"message", "type", "code"} <= set(error), error
    return str(error["code"])


def data_of(response: httpx.Response) -> list[str]:
    """The data of each event of a stream; every event must be whole."""
    text = response.text
    assert text == "" or text.endswith("\n\n"), text
    return [line.removeprefix("data: ") for event in text.split("\n\n") for line in event.split("\n") if line]


def words_of(events: Sequence[str]) -> str:
    """The text that a stream brought."""
    chunks = [json.loads(event) for event in events if event.startswith("{") and '"choices"' in event]
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])


@asynccontextmanager
async def open_house(
    folder: Path,
    script: Script | None = None,
    *,
    names: Sequence[str] = ("bad", "good"),
    urls: Mapping[str, str] | None = None,
    deadlines: Mapping[str, str] | None = None,
    more: str = "",
    server: str = "auto",
    keys: Sequence[str] = (),
    transport: str = "",
    limit: float = LIMIT,
) -> AsyncIterator[House]:
    """A house with these credentials, the first one preferred.

    `urls` replaces the upstream of some of them, `more` are further tables, `server` is the frontend's setting, `keys`
    are those of its clients, of which the house's own is the first; all of it ends after `limit` seconds.
    """
    keys = keys or [secrets.token_urlsafe(24)]
    async with open_upstream(script) as upstream:
        where = dict.fromkeys(names, upstream.url) | dict(urls or {})
        credentials = "\n".join(
            CREDENTIAL.format(name=name, url=where[name], priority=len(names) - at) for at, name in enumerate(names)
        )
        limits = "\n".join(f'{name} = "{value}"' for name, value in (deadlines or {}).items())
        text = CONFIG.format(
            folder=folder,
            keys=json.dumps(list(keys)),
            deadlines=f"[deadlines]\n{limits}" if limits else "",
            more=more,
            server=server,
            transport=transport or TRANSPORT,
            credentials=credentials,
        )
        with trio.fail_after(limit):
            async with turnout.open_kernel(turnout.parse_config(text)) as kernel:
                headers = {"authorization": f"Bearer {keys[0]}", "content-type": "application/json"}
                url = kernel.addresses["http"][0]
                client = httpx.AsyncClient(base_url=url, headers=headers, timeout=LIMIT, trust_env=False, verify=TLS)
                async with client:
                    yield House(upstream, kernel, client)
            await upstream.wait_for(lambda log: log.open == 0)
