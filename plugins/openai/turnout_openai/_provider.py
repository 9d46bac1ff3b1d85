"""The provider: puts an ask on the wire with a credential, and turns what comes back into a reply or a verdict."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import ClassVar

import httpx

from turnout import Call, Credential, Reply
from turnout.abc import PluginContext
from turnout_openai._chat_events import CHAT_EVENTS
from turnout_openai._renewing import Renewing
from turnout_openai._response_events import RESPONSE_EVENTS
from turnout_openai._settings import OpenAISettings
from turnout_wire.provider import HttpProvider
from turnout_wire.stream import OpenStream

CHAT = "openai.chat"
RESPONSES = "openai.responses"
EMBEDDINGS = "openai.embeddings"


class OpenAI(HttpProvider):
    """Provider for OpenAI and every service that speaks its chat completions (C2.1).

    Requests and answers pass as the bytes that came. Only the value of the top-level `model` is replaced, and only
    when the upstream's name for it is another one (C2.1.1).
    """

    api: ClassVar[int] = 1
    dialects: ClassVar[frozenset[str]] = frozenset({CHAT, EMBEDDINGS, RESPONSES})
    Settings = OpenAISettings

    def __init__(self, settings: OpenAISettings, *, now: Callable[[], float]) -> None:
        """`now` reads POSIX seconds; dates in headers are measured by it."""
        super().__init__(settings.base_url, now=now)
        self._settings = settings

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: OpenAISettings, context: PluginContext) -> AsyncIterator["OpenAI"]:
        """A provider on the kernel's clock; one that renews tokens when the settings say where."""
        yield (cls if settings.oauth is None else RenewingOpenAI)(settings, now=context.now)

    async def execute(self, call: Call) -> Reply:
        """A chat completion, or a response, in one piece."""
        if call.ask.dialect == RESPONSES:
            return await self.posted(call, "/responses", ("output",), dialect=RESPONSES)
        return await self.posted(call, "/chat/completions", ("choices",), dialect=CHAT)

    async def embed(self, call: Call) -> Reply:
        """Embeddings."""
        return await self.posted(call, "/embeddings", ("data",), dialect=EMBEDDINGS)

    def stream(self, call: Call) -> OpenStream:
        """A chat completion, or a response, event by event."""
        if call.ask.dialect == RESPONSES:
            return self.streamed(call, "/responses", RESPONSE_EVENTS, dialect=RESPONSES)
        return self.streamed(call, "/chat/completions", CHAT_EVENTS, dialect=CHAT)

    async def models(self, credential: Credential, transport: httpx.AsyncBaseTransport | None) -> Iterable[str]:
        """Names of the models that the upstream lists for this credential."""
        entries, _ = await self.listed(credential, transport, "/models", "data")
        return [name for entry in entries if isinstance(name := entry.get("id"), str)]

    def shown(self, credential: Credential) -> dict[str, str]:
        """The token or key as a bearer, and what the settings say of the account."""
        shown: dict[str, str] = {}
        if token := self._token(credential):
            shown["authorization"] = f"Bearer {token}"
        elif credential.api_key:
            shown["authorization"] = f"Bearer {credential.api_key.reveal()}"
        if self._settings.organization:
            shown["openai-organization"] = self._settings.organization
        if self._settings.project:
            shown["openai-project"] = self._settings.project
        return shown

    def _token(self, credential: Credential) -> str:  # noqa: ARG002  # for the provider that has tokens
        """The bearer token that goes before the credential's key, empty for none."""
        return ""


class RenewingOpenAI(Renewing, OpenAI):
    """Credentials may have tokens instead of keys. A class of its own, for keys alone cannot be renewed."""

    def __init__(self, settings: OpenAISettings, *, now: Callable[[], float]) -> None:
        """`settings.oauth` must be given."""
        if settings.oauth is None:
            raise ValueError("the oauth table is missing")
        super().__init__(settings, now=now)
        self._oauth = settings.oauth
