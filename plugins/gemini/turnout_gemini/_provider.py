"""The provider: puts an ask on the wire with a credential, and turns what comes back into a reply or a verdict."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import ClassVar, final
from urllib.parse import quote

import httpx

from turnout import Call, Credential, Failure, Operation, Reply
from turnout.abc import PluginContext
from turnout_gemini._events import GENERATE
from turnout_gemini._refusals import MARKS, waiting
from turnout_gemini._settings import GeminiSettings
from turnout_wire.exchange import Exchange
from turnout_wire.provider import HttpProvider
from turnout_wire.stream import OpenStream

DIALECT = "gemini.generate"


@final
class Gemini(HttpProvider):
    """Provider for the Gemini API (C2.1). The model is in the path, so bodies are never changed."""

    api: ClassVar[int] = 1
    dialects: ClassVar[frozenset[str]] = frozenset({DIALECT})
    Settings = GeminiSettings
    marks = MARKS

    def __init__(self, settings: GeminiSettings, *, now: Callable[[], float]) -> None:
        """`now` reads POSIX seconds; dates in headers are measured by it."""
        super().__init__(settings.base_url, now=now)

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: GeminiSettings, context: PluginContext) -> AsyncIterator["Gemini"]:
        """A provider on the kernel's clock."""
        yield cls(settings, now=context.now)

    async def execute(self, call: Call) -> Reply:
        """Content in one piece; a blocked prompt has no candidates."""
        members = ("candidates", "promptFeedback")
        return await self.posted(call, _path(call, "generateContent"), members, dialect=DIALECT)

    def stream(self, call: Call) -> OpenStream:
        """Content event by event."""
        return self.streamed(call, _path(call, "streamGenerateContent?alt=sse"), GENERATE, dialect=DIALECT)

    async def count(self, call: Call) -> Reply:
        """The number of tokens, as the upstream counts them."""
        return await self.posted(call, _path(call, "countTokens"), ("totalTokens",), dialect=DIALECT)

    async def embed(self, call: Call) -> Reply:
        """The embedding of one content."""
        return await self.posted(call, _path(call, "embedContent"), ("embedding",), dialect=DIALECT)

    async def models(self, credential: Credential, transport: httpx.AsyncBaseTransport | None) -> Iterable[str]:
        """Names of the models that the upstream lists for this credential, of its first thousand."""
        entries = await self.listed(credential, transport, "/models?pageSize=1000", "models")
        return [name.removeprefix("models/") for entry in entries if isinstance(name := entry.get("name"), str)]

    def shown(self, credential: Credential) -> dict[str, str]:
        """The key as `x-goog-api-key`: URLs end up in logs."""
        return {"x-goog-api-key": credential.api_key.reveal()} if credential.api_key else {}

    def payload(self, call: Call) -> bytes:
        """The body as it came."""
        return call.ask.payload

    def judge(
        self,
        credential: Credential,
        exchange: Exchange,
        status: int,
        body: bytes,
        operation: Operation = Operation.GENERATE,
    ) -> Failure:
        """The verdict of a refusal; how long a quota stays used up stands in Google's body."""
        return waiting(super().judge(credential, exchange, status, body, operation), body)


def _path(call: Call, verb: str) -> str:
    return f"/models/{quote(call.model, safe='')}:{verb}"
