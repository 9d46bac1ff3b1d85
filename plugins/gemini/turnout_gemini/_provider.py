"""The provider for the Gemini API: a key, and models right behind the base URL."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import final
from urllib.parse import quote

import httpx

from turnout import Call, Credential
from turnout.abc import PluginContext
from turnout_gemini._operations import Operations
from turnout_gemini._settings import GeminiSettings


@final
class Gemini(Operations):
    """Provider for the Gemini API (C2.1)."""

    Settings = GeminiSettings

    def __init__(self, settings: GeminiSettings, *, now: Callable[[], float]) -> None:
        """`now` reads POSIX seconds; dates in headers are measured by it."""
        super().__init__(settings.base_url, now=now)

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: GeminiSettings, context: PluginContext) -> AsyncIterator["Gemini"]:
        """A provider on the kernel's clock."""
        yield cls(settings, now=context.now)

    async def models(self, credential: Credential, transport: httpx.AsyncBaseTransport | None) -> Iterable[str]:
        """Names of the models that the upstream lists for this credential, of its first thousand."""
        entries = await self.listed(credential, transport, "/models?pageSize=1000", "models")
        return [name.removeprefix("models/") for entry in entries if isinstance(name := entry.get("name"), str)]

    def shown(self, credential: Credential) -> dict[str, str]:
        """The key as `x-goog-api-key`: URLs end up in logs."""
        return {"x-goog-api-key": credential.api_key.reveal()} if credential.api_key else {}

    def path(self, call: Call, verb: str) -> str:
        """`/models/MODEL:VERB`."""
        return f"/models/{quote(call.model, safe='')}:{verb}"
