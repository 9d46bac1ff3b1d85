"""Every decision as a line of JSON in a file."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import attrs
import trio

from turnout import CallDecided, Event
from turnout.abc import PluginContext


@attrs.frozen(kw_only=True)
class JsonLinesSettings:
    """`[observers.jsonl]`: the file that lines are added to."""

    path: Path


class JsonLines:
    """Writes who served each call, after how many attempts, in how many seconds."""

    api: ClassVar[int] = 1
    Settings = JsonLinesSettings

    def __init__(self, file: Any) -> None:
        self._file = file

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: JsonLinesSettings, context: PluginContext) -> AsyncIterator[Self]:  # noqa: ARG003 # the protocol's
        """Hold the file open while the kernel runs."""
        async with await trio.open_file(settings.path, "a", encoding="utf-8") as file:
            yield cls(file)

    async def hear(self, event: Event) -> None:
        """Write decisions, pass over everything else."""
        await trio.lowlevel.checkpoint()
        if isinstance(event, CallDecided):
            one = event.decision
            line = {"at": event.at, "id": one.id, "by": one.served_by, "tries": len(one.attempts), "took": one.took}
            await self._file.write(json.dumps(line) + "\n")
            await self._file.flush()
