"""One streaming request over real HTTP, as any client would send it: what `turnout demo` shows."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any, final

import attrs
import httptools
import trio

RECEIVE = 65536


@final
@attrs.define
class Visit:
    """What a client got back.

    Attributes:
        headers: names in lower case.
        finished: whether the stream said `[DONE]`.
        whole: whether the HTTP body came to its end.
    """

    status: int = 0
    headers: dict[str, str] = attrs.Factory(dict)
    body: bytearray = attrs.Factory(bytearray)
    finished: bool = False
    whole: bool = False


async def visit(url: str, request: bytes, hear: Callable[[str], None]) -> Visit:
    """Send a chat request to the gateway and hear each word of the answer as it arrives. Put a deadline around it.

    Raises OSError or trio.BrokenResourceError when the gateway cannot be reached.
    """
    host, _, port = url.removeprefix("http://").rpartition(":")
    seen = Visit()
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        await stream.send_all(request)
        async for event in _events(stream, seen):
            if event == "[DONE]":
                seen.finished = True
            else:
                for choice in json.loads(event).get("choices", []):
                    hear(choice.get("delta", {}).get("content") or "")
    return seen


def chat_request(url: str, key: str, model: str, question: str) -> bytes:
    """A streaming chat request that asks for the decision record as well."""
    messages = [{"role": "user", "content": question}]
    body = json.dumps({"model": model, "stream": True, "messages": messages}).encode()
    head = [
        "POST /v1/chat/completions HTTP/1.1",
        f"host: {url.removeprefix('http://')}",
        f"authorization: Bearer {key}",
        "content-type: application/json",
        "x-turnout-explain: 1",
        f"content-length: {len(body)}",
    ]
    return "\r\n".join([*head, "", ""]).encode("ascii") + body


@final
class _Sink:
    """Where httptools puts what it parses."""

    def __init__(self, seen: Visit) -> None:
        self._seen = seen

    def on_header(self, name: bytes, value: bytes) -> None:
        self._seen.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, data: bytes) -> None:
        self._seen.body += data

    def on_message_complete(self) -> None:
        self._seen.whole = True


async def _events(stream: trio.SocketStream, seen: Visit) -> AsyncIterator[str]:
    """Data of each event, as soon as it is whole."""
    parser: Any = httptools.HttpResponseParser(_Sink(seen))
    told = 0
    while not seen.whole and (data := await stream.receive_some(RECEIVE)):
        parser.feed_data(data)
        seen.status = parser.get_status_code()
        if seen.status != 200:
            continue
        while (end := seen.body.find(b"\n\n", told)) >= 0:
            event, told = seen.body[told:end].decode(), end + 2
            for line in event.split("\n"):
                if line.startswith("data: "):
                    yield line.removeprefix("data: ")
