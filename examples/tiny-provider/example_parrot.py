"""An imaginary upstream: POST / gives back what it was sent, and its stream gives it word by word."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from turnout import Call, Chunk, Credential, Failed, RateLimited, Reply, Sent, Unreachable
from turnout.errors import UpstreamFailed


class Parrot:
    """Speaks the dialect `openai.chat`, or so it says."""

    api = 1
    dialects = frozenset({"openai.chat"})

    def origin(self, credential: Credential) -> str:
        """The credential's `base_url`, which names its port."""
        return credential.attributes.get("base_url", "https://parrot.example:443")

    async def execute(self, call: Call) -> Reply:
        """Send the payload, give the answer."""
        async with self.stream(call) as words:
            return Reply(body=b"".join([chunk.data async for chunk in words]))

    @asynccontextmanager
    async def stream(self, call: Call) -> AsyncIterator["Words"]:
        """Open the stream; leaving closes its connection."""
        key = call.credential.api_key
        headers = {"authorization": f"Bearer {key.reveal() if key else ''}"}
        request = httpx.Request("POST", self.origin(call.credential) + "/", content=call.ask.payload, headers=headers)
        try:
            response = await call.transport.handle_async_request(request)  # type: ignore[union-attr]
        except httpx.TransportError as error:
            raise UpstreamFailed(Unreachable(message=type(error).__name__)) from error
        try:
            if response.status_code != 200:
                raise UpstreamFailed((RateLimited if response.status_code == 429 else Failed)(sent=Sent.ANSWERED))
            yield Words(response)
        finally:
            await response.aclose()


class Words:
    """An open stream, piece by piece as it comes."""

    def __init__(self, response: httpx.Response) -> None:
        self.headers: dict[str, str] = {}
        self._pieces = response.aiter_raw()

    def __aiter__(self) -> "Words":
        return self

    async def __anext__(self) -> Chunk:
        try:
            return Chunk(await anext(self._pieces))
        except httpx.TransportError as error:
            raise UpstreamFailed(Unreachable(message=type(error).__name__, sent=Sent.ANSWERED)) from error
