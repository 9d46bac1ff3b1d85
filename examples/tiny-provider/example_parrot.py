"""An imaginary upstream that speaks `openai.chat` itself: POST /say answers with JSON, POST /sing with events."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from turnout import Call, Credential, Reply
from turnout.abc import PluginContext, ReplyStream
from turnout_wire import Event, Grammar, Said, decoded
from turnout_wire.provider import HttpProvider


class Parrot(HttpProvider):
    """Passes on what comes, both ways; `turnout_wire` knows HTTP, verdicts and events."""

    api = 1
    dialects = frozenset({"openai.chat"})

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: None, context: PluginContext) -> AsyncIterator["Parrot"]:  # noqa: ARG003 # the protocol's
        """A credential's `base_url` goes before ours."""
        yield cls("https://parrot.example", now=context.now)

    def shown(self, credential: Credential) -> dict[str, str]:
        """How the upstream is told whose credential it is."""
        return {"authorization": f"Bearer {credential.api_key.reveal()}"} if credential.api_key else {}

    async def execute(self, call: Call) -> Reply:
        """Send the payload, give the answer; without choices it is none."""
        return await self.posted(call, "/say", ("choices",), dialect="openai.chat")

    def stream(self, call: Call) -> AbstractAsyncContextManager[ReplyStream]:
        """The same, event by event; leaving closes the connection."""
        return self.streamed(call, "/sing", SONG, dialect="openai.chat")


def said(event: Event) -> Said:
    """What one event of a song is: without a [DONE] it was cut off."""
    if event.data == b"[DONE]":
        return Said(end=True)
    return Said(payload=b'"content":"' in event.data, error=decoded(event.data).get("error"))


SONG = Grammar(read=said, plain=lambda data: False, end="[DONE]")  # noqa: ARG005 # each event is read
