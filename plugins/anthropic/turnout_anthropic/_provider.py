"""The provider: puts an ask on the wire with a credential, and turns what comes back into a reply or a verdict."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import ClassVar, final

import httpx

from turnout import Call, Credential, PaymentRequired, Reply
from turnout.abc import PluginContext
from turnout_anthropic._events import MESSAGES
from turnout_anthropic._settings import AnthropicSettings
from turnout_dialects.provider import ANTHROPIC_WAYS, Into, translated_to, translating, translating_stream
from turnout_wire import Mark
from turnout_wire.provider import HttpProvider
from turnout_wire.stream import OpenStream

DIALECT = "anthropic.messages"

_MARKS = (
    Mark(400, "credit balance is too low", PaymentRequired),
    Mark(400, "API usage limits", PaymentRequired),
    Mark(429, "enforced_spend_limit_reached", PaymentRequired),
    Mark(429, "API usage limits", PaymentRequired),
)
"""Money, not the request and not its rate (B24).

platform.claude.com/docs/en/api/errors, read 2026-11-23: a spend limit answers 400 with `invalid_request_error`.
"""


@final
class Anthropic(HttpProvider):
    """Provider for the Messages API (C2.1), and for clients of other APIs, whose calls are translated.

    A request of its own API passes as the bytes that came, but for the value of `model` and a thinking suffix (C7.1).
    """

    api: ClassVar[int] = 1
    dialects: ClassVar[frozenset[str]] = frozenset({DIALECT})
    into: ClassVar[Into] = ANTHROPIC_WAYS
    translated: ClassVar[frozenset[str]] = translated_to(ANTHROPIC_WAYS)
    Settings = AnthropicSettings
    marks = _MARKS

    def __init__(self, settings: AnthropicSettings, *, now: Callable[[], float]) -> None:
        """`now` reads POSIX seconds; dates in headers are measured by it."""
        super().__init__(settings.base_url, now=now)
        self._version = settings.version

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: AnthropicSettings, context: PluginContext) -> AsyncIterator["Anthropic"]:
        """A provider on the kernel's clock."""
        yield cls(settings, now=context.now)

    @translating
    async def execute(self, call: Call) -> Reply:
        """A message in one piece."""
        return await self.posted(call, "/v1/messages", ("content",), dialect=DIALECT)

    @translating_stream
    def stream(self, call: Call) -> OpenStream:
        """A message event by event."""
        return self.streamed(call, "/v1/messages", MESSAGES, dialect=DIALECT)

    @translating
    async def count(self, call: Call) -> Reply:
        """The number of input tokens, as the upstream counts them."""
        return await self.posted(call, "/v1/messages/count_tokens", ("input_tokens",), dialect=DIALECT)

    async def models(self, credential: Credential, transport: httpx.AsyncBaseTransport | None) -> Iterable[str]:
        """Names of the models that the upstream lists for this credential, of its first thousand."""
        entries = await self.listed(credential, transport, "/v1/models?limit=1000", "data")
        return [name for entry in entries if isinstance(name := entry.get("id"), str)]

    def shown(self, credential: Credential) -> dict[str, str]:
        """The key as `x-api-key`."""
        own = {"anthropic-version": self._version}
        return own | ({"x-api-key": credential.api_key.reveal()} if credential.api_key else {})
