"""What both of Google's APIs for Gemini do alike.

The model is in the path, so bodies are not changed, but for a thinking suffix (C7.1) and where a body names it again.
"""

from abc import abstractmethod
from typing import ClassVar

from turnout import Call, Failure, Operation, Reply
from turnout_dialects.provider import GEMINI_WAYS, Into, translated_to, translating, translating_stream
from turnout_gemini._events import GENERATE
from turnout_gemini._inner_models import has_several, named
from turnout_gemini._refusals import MARKS, waiting
from turnout_wire.provider import HttpProvider
from turnout_wire.stream import OpenStream

DIALECT = "gemini.generate"


class Operations(HttpProvider):
    """The operations; a subclass says where models are and how a credential is shown."""

    api: ClassVar[int] = 1
    dialects: ClassVar[frozenset[str]] = frozenset({DIALECT})
    into: ClassVar[Into] = GEMINI_WAYS
    translated: ClassVar[frozenset[str]] = translated_to(GEMINI_WAYS)
    marks = MARKS

    @abstractmethod
    def path(self, call: Call, verb: str) -> str:
        """Where a verb of the call's model is, behind the base URL."""

    @translating
    async def execute(self, call: Call) -> Reply:
        """Content in one piece; a blocked prompt has no candidates."""
        members = ("candidates", "promptFeedback")
        return await self.posted(call, self.path(call, "generateContent"), members, dialect=DIALECT)

    @translating_stream
    def stream(self, call: Call) -> OpenStream:
        """Content event by event."""
        return self.streamed(call, self.path(call, "streamGenerateContent?alt=sse"), GENERATE, dialect=DIALECT)

    @translating
    async def count(self, call: Call) -> Reply:
        """The number of tokens, as the upstream counts them."""
        return await self.posted(call, self.path(call, "countTokens"), ("totalTokens",), dialect=DIALECT)

    @translating
    async def embed(self, call: Call) -> Reply:
        """The embedding of one content, or of each of several `requests`."""
        verb = "batchEmbedContents" if has_several(call.ask.payload) else "embedContent"
        return await self.posted(call, self.path(call, verb), ("embedding", "embeddings"), dialect=DIALECT)

    def payload(self, call: Call) -> bytes:
        """The body as it came; where it names the model again, that is the upstream's name as well."""
        ask = call.ask
        same = call.model == ask.model or ask.operation is Operation.GENERATE
        return ask.payload if same else named(ask.payload, f"models/{call.model}")

    def refined(self, found: Failure, body: bytes) -> Failure:
        """The verdict, with how long a quota stays used up, which stands in Google's body."""
        return waiting(found, body)
