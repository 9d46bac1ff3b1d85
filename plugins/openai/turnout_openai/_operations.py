"""What every provider of OpenAI's API does alike: chats, responses, embeddings and model lists."""

from collections.abc import Iterable
from typing import ClassVar

import httpx

from turnout import Call, Credential, Reply
from turnout_openai._chat_events import CHAT_EVENTS
from turnout_openai._response_events import RESPONSE_EVENTS
from turnout_openai._vendors import CHAT, EMBEDDINGS, RESPONSES
from turnout_wire.provider import HttpProvider
from turnout_wire.stream import OpenStream


class Operations(HttpProvider):
    """The operations; a subclass says where they are and how a credential is shown.

    Requests and answers pass as the bytes that came. Only the value of the top-level `model` is replaced, and only
    when the upstream's name for it is another one (C2.1.1).
    """

    api: ClassVar[int] = 1
    dialects: frozenset[str] = frozenset({CHAT, EMBEDDINGS, RESPONSES})

    async def execute(self, call: Call) -> Reply:
        """A chat completion, or a response, in one piece."""
        if call.ask.dialect == RESPONSES:
            return await self.posted(call, self.path("/responses", call), ("output",), dialect=RESPONSES)
        return await self.posted(call, self.path("/chat/completions", call), ("choices",), dialect=CHAT)

    async def embed(self, call: Call) -> Reply:
        """Embeddings."""
        return await self.posted(call, self.path("/embeddings", call), ("data",), dialect=EMBEDDINGS)

    def stream(self, call: Call) -> OpenStream:
        """A chat completion, or a response, event by event."""
        if call.ask.dialect == RESPONSES:
            return self.streamed(call, self.path("/responses", call), RESPONSE_EVENTS, dialect=RESPONSES)
        return self.streamed(call, self.path("/chat/completions", call), CHAT_EVENTS, dialect=CHAT)

    async def models(self, credential: Credential, transport: httpx.AsyncBaseTransport | None) -> Iterable[str]:
        """Names of the models that the upstream lists for this credential."""
        entries = await self.listed(credential, transport, self.path("/models", None), "data")
        return [name for entry in entries if isinstance(name := entry.get("id"), str)]

    def path(self, operation: str, call: Call | None) -> str:  # noqa: ARG002  # for those whose paths name the model
        """Where an operation is, behind the base URL; `call` is None for one that is about no model."""
        return operation

    def token(self, credential: Credential) -> str:  # noqa: ARG002  # for the provider that has tokens
        """The bearer token that goes before the credential's key, empty for none."""
        return ""
