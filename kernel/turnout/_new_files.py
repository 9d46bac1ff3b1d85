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
dependencies = ["turnout>={version},<1"]

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
"""A provider for Turnout."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

import trio
from turnout import Call, Chunk, Credential, Reply


class {cls}:
    """Answers by itself, without an upstream. Put the conversation with yours in its place."""

    api: ClassVar[int] = 1
    dialects: ClassVar[frozenset[str]] = frozenset({{"openai.chat"}})

    def origin(self, credential: Credential) -> str:
        """Where this credential may be sent, and nowhere else."""
        return "https://api.example.com:443"

    async def execute(self, call: Call) -> Reply:
        """One call that does not stream."""
        await trio.lowlevel.checkpoint()
        return Reply(body=b'{{"choices": [{{"message": {{"role": "assistant", "content": "hello"}}}}]}}')

    @asynccontextmanager
    async def stream(self, call: Call) -> AsyncIterator["Words"]:
        """Open a stream; leaving the block closes it."""
        await trio.lowlevel.checkpoint()
        yield Words()


class Words:
    """An open stream."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {{}}
        self._chunks = iter([Chunk(b'data: {{"choices": [{{"delta": {{"content": "hello"}}}}]}}\\n\\n')])

    def __aiter__(self) -> "Words":
        return self

    async def __anext__(self) -> Chunk:
        """The next piece as it came, marked as payload when a client can use it."""
        await trio.lowlevel.checkpoint()
        for chunk in self._chunks:
            return chunk
        raise StopAsyncIteration
'''

PROVIDER_TEST = """\
import pytest
from turnout import Ask, Call, Credential

from {package} import {cls}

CALL = Call(
    ask=Ask(model="m", dialect="openai.chat"),
    credential=Credential(id="a", provider="{name}"),
    model="m",
)


@pytest.mark.turnout
async def test_a_call_is_answered() -> None:
    reply = await {cls}().execute(CALL)

    assert b"hello" in reply.body


@pytest.mark.turnout
async def test_a_stream_has_a_payload() -> None:
    async with {cls}().stream(CALL) as stream:
        chunks = [chunk async for chunk in stream]

    assert any(chunk.payload for chunk in chunks)


# As soon as it talks to an upstream, `turnout.testing.check_provider` checks what a provider promises:
# `turnout_wire.testing.HttpDouble` is an upstream that plays every kind of trouble.
"""

README = """\
# turnout-{name}

{article} {kind} for Turnout. Name it in the configuration:

```toml
{toml}
```

`turnout plugins --config turnout.toml` shows it. Its test checks the laws of its kind:

    pip install -e '.[test]' && pytest
"""

TOML: Mapping[str, str] = MappingProxyType(
    {
        "selector": '[turnout]\nselector = "{name}"',
        "provider": '[providers.{name}]\nmodels = [{{ name = "m" }}]\ncredentials = [{{ name = "a" }}]',
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
        "version": version,
    }
    source, test = SOURCES[kind]
    return {
        "pyproject.toml": PYPROJECT.format(**words),
        "README.md": README.format(**words, toml=TOML[kind].format(name=name)),
        f"{package}.py": source.format(**words),
        f"test_{name.replace('-', '_')}.py": test.format(**words),
    }
