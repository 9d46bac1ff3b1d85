"""What both of Google's APIs for Gemini do alike. The model is in the path, so bodies are never changed."""

from abc import abstractmethod
from typing import ClassVar

from turnout import Call, Credential, Failure, Operation, Reply
from turnout_gemini._events import GENERATE
from turnout_gemini._refusals import MARKS, waiting
from turnout_wire.exchange import Exchange
from turnout_wire.provider import HttpProvider
from turnout_wire.stream import OpenStream

DIALECT = "gemini.generate"


class Operations(HttpProvider):
    """The operations; a subclass says where models are and how a credential is shown."""

    api: ClassVar[int] = 1
    dialects: ClassVar[frozenset[str]] = frozenset({DIALECT})
    marks = MARKS

    @abstractmethod
    def path(self, call: Call, verb: str) -> str:
        """Where a verb of the call's model is, behind the base URL."""

    async def execute(self, call: Call) -> Reply:
        """Content in one piece; a blocked prompt has no candidates."""
        members = ("candidates", "promptFeedback")
        return await self.posted(call, self.path(call, "generateContent"), members, dialect=DIALECT)

    def stream(self, call: Call) -> OpenStream:
        """Content event by event."""
        return self.streamed(call, self.path(call, "streamGenerateContent?alt=sse"), GENERATE, dialect=DIALECT)

    async def count(self, call: Call) -> Reply:
        """The number of tokens, as the upstream counts them."""
        return await self.posted(call, self.path(call, "countTokens"), ("totalTokens",), dialect=DIALECT)

    async def embed(self, call: Call) -> Reply:
        """The embedding of one content."""
        return await self.posted(call, self.path(call, "embedContent"), ("embedding",), dialect=DIALECT)

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
