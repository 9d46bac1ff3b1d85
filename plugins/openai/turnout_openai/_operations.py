"""What every provider of OpenAI's API does alike: chats, responses and embeddings."""

from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

from turnout import Call, Credential, Reply
from turnout_dialects.provider import OPENAI_WAYS, Into, translated_to, translating, translating_stream
from turnout_openai._chat_events import CHAT_EVENTS, error_in
from turnout_openai._response_events import RESPONSE_EVENTS
from turnout_openai._vendors import CHAT, EMBEDDINGS, RESPONSES
from turnout_wire.provider import HttpProvider
from turnout_wire.stream import OpenStream

_CHOICES = ("choices",)


class Operations(HttpProvider):
    """The operations; a subclass says where they are and how a credential is shown.

    Requests and answers of its own API pass as the bytes that came. Only the value of the top-level `model` is
    replaced, and only when the upstream's name for it is another one (C2.1.1), or has a thinking suffix (C7.1). Calls
    of other vendors' APIs are translated.

    Attributes:
        dialects: what it speaks natively.
        translated: what it translates into these.
    """

    api: ClassVar[int] = 1
    dialects: frozenset[str] = frozenset({CHAT, EMBEDDINGS, RESPONSES})

    def __init__(
        self,
        base_url: str,
        *,
        now: Callable[[], float],
        dialects: frozenset[str] = dialects,
        ways: Into = OPENAI_WAYS,
    ) -> None:
        """Keep what calls need.

        Args:
            base_url: where the API is, unless a credential says otherwise.
            now: reads POSIX seconds.
            dialects: what it speaks.
            ways: into which of these the calls of other APIs are translated, the preferred one first.
        """
        super().__init__(base_url, now=now)
        self.dialects = dialects
        self.into: Into = {
            operation: tuple(dialect for dialect in targets if dialect in dialects)
            for operation, targets in ways.items()
        }
        self.translated = translated_to(self.into) - dialects

    @translating
    def execute(self, call: Call) -> Coroutine[Any, Any, Reply]:
        """A chat completion, or a response, in one piece."""
        if call.ask.dialect == RESPONSES:
            return self.posted(call, self.path("/responses", call), ("output",), dialect=RESPONSES)
        return self.posted(call, self.path("/chat/completions", call), _CHOICES, dialect=CHAT)

    @translating
    def count(self, call: Call) -> Coroutine[Any, Any, Reply]:
        """The number of input tokens of a response, as the upstream counts them."""
        return self.posted(call, self.path("/responses/input_tokens", call), ("input_tokens",), dialect=RESPONSES)

    @translating
    def embed(self, call: Call) -> Coroutine[Any, Any, Reply]:
        """Embeddings."""
        return self.posted(call, self.path("/embeddings", call), ("data",), dialect=EMBEDDINGS)

    @translating_stream
    def stream(self, call: Call) -> OpenStream:
        """A chat completion, or a response, event by event."""
        if call.ask.dialect == RESPONSES:
            return self.streamed(call, self.path("/responses", call), RESPONSE_EVENTS, dialect=RESPONSES)
        return self.streamed(call, self.path("/chat/completions", call), CHAT_EVENTS, dialect=CHAT)

    def error_within(self, body: bytes, members: tuple[str, ...]) -> object:
        """What the choices of a chat tell of their failure."""
        return error_in(body) if members == _CHOICES else None

    def path(self, operation: str, call: Call) -> str:  # noqa: ARG002  # for those whose paths name the model
        """Where an operation is, behind the base URL."""
        return operation

    def token(self, credential: Credential) -> str:  # noqa: ARG002  # for the provider that has tokens
        """The bearer token that goes before the credential's key, empty for none."""
        return ""
