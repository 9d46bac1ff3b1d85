"""What `turnout new` writes, as texts with a few blanks to fill."""

from collections.abc import Mapping
from types import MappingProxyType

PYPROJECT = """\
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "turnout-{name}"
version = "0.1.0"
description = "{article} {kind} for Turnout"
readme = "README.md"
requires-python = ">=3.11"
dependencies = [{needs}]

[project.optional-dependencies]
test = ["pytest>=9,<10"]

[project.entry-points."turnout.{kind}s"]
{name} = "{package}:{cls}"
"""

SELECTOR = '''\
"""A selector for Turnout."""

from collections.abc import Callable
from typing import ClassVar

from turnout import Ask
from turnout.abc import Candidate, Ready


class {cls}:
    """Whoever serves the fewest calls right now."""

    api: ClassVar[int] = 1

    def select(self, ready: Ready, ask: Ask, draw: Callable[[], float]) -> Candidate | None:
        """One of the candidates of the best tier."""
        return min(ready.best, key=lambda candidate: candidate.in_flight)
'''

SELECTOR_TEST = """\
from turnout.testing import check_selector

from {package} import {cls}


def test_it_keeps_the_laws_of_a_selector() -> None:
    check_selector({cls})
"""

OBSERVER = '''\
"""An observer for Turnout."""

from collections import Counter
from collections.abc import Mapping
from typing import ClassVar

import trio
from turnout import Event


class {cls}:
    """Counts events by their kind."""

    api: ClassVar[int] = 1

    def __init__(self) -> None:
        self._heard: Counter[str] = Counter()

    async def hear(self, event: Event) -> None:
        """Count one event."""
        await trio.lowlevel.checkpoint()
        self._heard[type(event).__name__] += 1

    def expose(self) -> Mapping[str, str]:
        """The counts, one a line."""
        return {{"text/plain": "".join(f"{{kind}} {{count}}\\n" for kind, count in sorted(self._heard.items()))}}
'''

OBSERVER_TEST = """\
from functools import partial

import pytest
from turnout.testing import check_observer, open_plugin

from {package} import {cls}


@pytest.mark.turnout
async def test_it_keeps_the_laws_of_an_observer() -> None:
    await check_observer(partial(open_plugin, "observers", {cls}))
"""

STORE = '''\
"""A store for Turnout."""

from collections.abc import Iterable
from typing import ClassVar

import trio
from turnout import Record
from turnout.errors import StoreConflict


class {cls}:
    """Keeps records in memory: what it holds is gone when the process ends. Put something lasting in its place."""

    api: ClassVar[int] = 1

    def __init__(self) -> None:
        self._records: dict[tuple[str, str], Record] = {{}}

    async def list(self) -> Iterable[Record]:
        """Every record."""
        await trio.lowlevel.checkpoint()
        return tuple(self._records.values())

    async def save(self, kind: str, id: str, data: bytes, if_version: int | None) -> int:
        """Write a record if it has the version that the caller knows; gives the new one. Raises StoreConflict."""
        await trio.lowlevel.checkpoint()
        old = self._records.get((kind, id))
        current = old.version if old else 0
        if if_version is not None and if_version != current:
            raise StoreConflict(f"{{kind}} of {{id!r}} has version {{current}}, not {{if_version}}", current=current)
        self._records[kind, id] = Record(kind=kind, id=id, data=data, version=current + 1)
        return current + 1

    async def delete(self, kind: str, id: str) -> None:
        """Remove a record, if it is there."""
        await trio.lowlevel.checkpoint()
        self._records.pop((kind, id), None)
'''

STORE_TEST = """\
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from turnout.testing import check_store

from {package} import {cls}


@pytest.mark.turnout
async def test_it_keeps_the_laws_of_a_store() -> None:
    kept = {cls}()  # stands for the place that outlives the plugin

    @asynccontextmanager
    async def opened() -> AsyncIterator[{cls}]:
        yield kept

    await check_store(opened)
"""

PROVIDER = '''\
"""A provider for Turnout.

Its upstream is imaginary: POST /say with `{{"model", "text"}}` answers with lines, `{{"word"}}` ..., then `{{"done"}}`.
"""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import attrs
import httpx
from turnout import Call, Chunk, Credential, InvalidRequest, Protocol, Reply, Sent
from turnout.abc import PluginContext
from turnout.errors import UpstreamFailed
from turnout_wire import endpoint, origin_of, secrets_of, verdict
from turnout_wire.exchange import Exchange
from turnout_wire.provider import given


@attrs.frozen(kw_only=True)
class {cls}Settings:
    """`[providers.{name}]`, beside the keys of it that are the kernel's."""

    base_url: str = "https://{name}.example/v1"


class {cls}:
    """Takes calls in the dialect `openai.chat` and answers in it; what its upstream speaks is its own business."""

    api = 1
    dialects = frozenset({{"openai.chat"}})
    Settings = {cls}Settings

    def __init__(self, settings: {cls}Settings, now: Callable[[], float]) -> None:
        self._settings = settings
        self._now = now

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: {cls}Settings, context: PluginContext) -> AsyncIterator["{cls}"]:
        """Nothing is opened: connections come with each call."""
        yield cls(settings, context.now)

    def base_url(self, credential: Credential) -> str:
        """The credential's own, else the table's."""
        return credential.attributes.get("base_url") or self._settings.base_url

    def origin(self, credential: Credential) -> str:
        """Where this credential may be sent, and nowhere else."""
        return origin_of(self.base_url(credential))

    async def execute(self, call: Call) -> Reply:
        """One call that does not stream."""
        words = []
        async with self.stream(call) as stream:
            while (word := await stream.word()) is not None:
                words.append(word)
        message = {{"role": "assistant", "content": "".join(words)}}
        choice = {{"index": 0, "message": message, "finish_reason": "stop"}}
        body = {{"object": "chat.completion", "model": call.model, "choices": [choice]}}
        return Reply(body=json.dumps(body).encode())

    @asynccontextmanager
    async def stream(self, call: Call) -> AsyncIterator["Words"]:
        """Open a stream; leaving the block closes its connection."""
        url = endpoint(self.base_url(call.credential), "/say")
        async with Exchange.of(given(call.transport), request_of(call, url)) as exchange:
            if exchange.status != 200:
                body, headers = await exchange.read_error(), exchange.headers
                secrets = secrets_of(call.credential)
                raise UpstreamFailed(verdict(exchange.status, body, headers, now=self._now(), secrets=secrets))
            yield Words(exchange, call.model)


class Words:
    """An open stream: lines of JSON come in, server-sent events of `openai.chat` go out."""

    def __init__(self, exchange: Exchange, model: str) -> None:
        self.headers: dict[str, str] = {{}}  # extra ones for the client; the content type is the frontend's
        self._exchange, self._model = exchange, model
        self._held, self._over = b"", False

    async def word(self) -> str | None:
        """The next one; None at the end that the upstream says. Without that it was cut off."""
        while b"\\n" not in self._held:
            if not (more := await self._exchange.read_more()):
                raise UpstreamFailed(Protocol(message="the answer ended before it was done"))
            self._held += more
        line, _, self._held = self._held.partition(b"\\n")
        try:
            said = json.loads(line)
            return None if "done" in said else str(said["word"])
        except (ValueError, LookupError, TypeError):
            raise UpstreamFailed(Protocol(message="a line of the answer is not as agreed")) from None

    def __aiter__(self) -> "Words":
        return self

    async def __anext__(self) -> Chunk:
        """The next piece, marked as payload: all that comes here is something a client can use."""
        if self._over:
            raise StopAsyncIteration
        word = await self.word()
        self._over = word is None
        delta, finish = ({{}}, "stop") if word is None else ({{"content": word}}, None)
        choice = {{"index": 0, "delta": delta, "finish_reason": finish}}
        event = json.dumps({{"object": "chat.completion.chunk", "model": self._model, "choices": [choice]}})
        return Chunk(f"data: {{event}}\\n\\n".encode() + (b"data: [DONE]\\n\\n" if self._over else b""))


def request_of(call: Call, url: httpx.URL) -> httpx.Request:
    """What the upstream is sent. Raises UpstreamFailed for a request that it could not be."""
    try:
        text = json.loads(call.ask.payload)["messages"][-1]["content"]
    except (ValueError, LookupError, TypeError):
        raise UpstreamFailed(InvalidRequest(message="messages: the last has no content", sent=Sent.NO)) from None
    key = call.credential.api_key
    headers = {{"accept-encoding": "identity"}} | ({{"authorization": f"Bearer {{key.reveal()}}"}} if key else {{}})
    return httpx.Request("POST", url, json={{"model": call.model, "text": text}}, headers=headers)
'''

PROVIDER_TEST = """\
import pytest
from turnout import Ask
from turnout.testing import check_provider, open_plugin
from turnout_wire.testing import HttpDouble

from {package} import {cls}

LINES = [b'{{"word": "' + word + b'"}}\\n' for word in (b"one", b"two", b"three", b"four")] + [b'{{"done": true}}\\n']
ASK = Ask(model="m", dialect="openai.chat", payload=b'{{"messages": [{{"role": "user", "content": "hi"}}]}}')


@pytest.mark.turnout
async def test_it_keeps_the_laws_of_a_provider() -> None:
    double = HttpDouble(reply=b"".join(LINES), events=LINES, media_type="application/x-ndjson")
    async with open_plugin("providers", {cls}) as provider:
        await check_provider(provider, double, ASK)
"""

README = """\
# turnout-{name}

{article} {kind} for Turnout. Name it in the configuration:

```toml
{toml}
```

`turnout plugins --config turnout.toml` shows it. Its test checks the laws of its kind:

    pip install '.[test]' && pytest
"""

TOML: Mapping[str, str] = MappingProxyType(
    {
        "selector": '[turnout]\nselector = "{name}"',
        "provider": '[providers.{name}]\nmodels = [{{ name = "m" }}]\n'
        'credentials = [{{ name = "a", api_key = "${{{variable}_KEY}}" }}]',
        "store": '[turnout]\nstore = "{name}"',
        "observer": "[observers.{name}]",
    }
)

SOURCES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "selector": (SELECTOR, SELECTOR_TEST),
        "provider": (PROVIDER, PROVIDER_TEST),
        "store": (STORE, STORE_TEST),
        "observer": (OBSERVER, OBSERVER_TEST),
    }
)

KINDS = tuple(SOURCES)
"""What `turnout new` can write."""


def files_of(kind: str, name: str, version: str) -> Mapping[str, str]:
    """The texts of a package, by path inside its folder."""
    package = f"turnout_{name.replace('-', '_')}"
    words = {
        "kind": kind,
        "name": name,
        "package": package,
        "cls": "".join(part.capitalize() for part in name.split("-")),
        "article": "An" if kind == "observer" else "A",
        "needs": f'"turnout>={version},<1"' + (f', "turnout-wire>={version},<1"' if kind == "provider" else ""),
    }
    source, test = SOURCES[kind]
    toml = TOML[kind].format(name=name, variable=name.replace("-", "_").upper())
    return {
        "pyproject.toml": PYPROJECT.format(**words),
        "README.md": README.format(**words, toml=toml),
        f"{package}.py": source.format(**words),
        f"test_{name.replace('-', '_')}.py": test.format(**words),
    }
