"""What `turnout_wire` and the provider `openai` cost on a call, in microseconds of CPU; the best of several runs.

    python tests/bench/wire.py

`decode` is msgspec alone, the floor of every check of a body. The provider's transport answers from memory, so what is
shown is the provider's own part, httpx's request and response objects included (`objects`).
"""

import time
from collections.abc import Awaitable, Callable, Iterator

import httpx
import msgspec
import trio

from turnout import Ask, Call, Credential, Secret
from turnout.errors import UnknownModel
from turnout_openai import OpenAI, OpenAISettings
from turnout_wire import BlockReader, answer, peek, read_event, verdict, with_model
from turnout_wire.testing import events

RUNS = 15
CREDENTIAL = Credential(id="a", provider="openai", api_key=Secret("sk-0123456789"))
REPLY = b'{"id":"x","choices":[{"message":{"content":"%s"}}]}' % (b"x" * 950)
STREAM = events(*["hello"] * 300)


def body(size: int) -> bytes:
    message = b'{"role":"user","content":"%s"}' % (b"hello world\\n " * 8)
    return b'{"model":"m","stream":true,"messages":[' + b",".join([message] * (size // len(message))) + b"]}"


class Memory(httpx.AsyncBaseTransport):
    """Answers at once, from memory."""

    def __init__(self, media_type: bytes, pieces: list[bytes]) -> None:
        self.headers = [(b"content-type", media_type)]
        self.pieces = pieces

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers=self.headers, stream=Pieces(self.pieces))


class Pieces(httpx.AsyncByteStream):
    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces: Iterator[bytes] = iter(pieces)

    def __aiter__(self) -> "Pieces":
        return self

    async def __anext__(self) -> bytes:
        for piece in self.pieces:
            return piece
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Nothing is open."""


def best(work: Callable[[], object], count: int) -> float:
    took = []
    for _ in range(RUNS):
        began = time.process_time()
        for _ in range(count):
            work()
        took.append(time.process_time() - began)
    return min(took) / count * 1e6


async def best_of(work: Callable[[], Awaitable[object]], count: int) -> float:
    took = []
    for _ in range(RUNS):
        began = time.process_time()
        for _ in range(count):
            await work()
        took.append(time.process_time() - began)
    return min(took) / count * 1e6


def pure() -> None:
    decode = msgspec.json.Decoder().decode
    for size in (1_000, 30_000):
        sample, count = body(size), 20_000_000 // size // 20
        floor = best(lambda sample=sample: decode(sample), count)  # type: ignore[misc]
        peeked = best(lambda sample=sample: peek(sample), count)  # type: ignore[misc]
        renamed = best(lambda sample=sample: with_model(sample, "other"), count)  # type: ignore[misc]
        print(f"body of {len(sample):6}  decode {floor:7.2f}  peek {peeked:7.2f}  with_model {renamed:7.2f}")
    event, reader = STREAM[2], BlockReader()
    joined = event * 10
    print(f"event of {len(event)}     feed {best(lambda: reader.feed(event), 2000):.2f}", end="  ")
    print(f"ten at once, each {best(lambda: reader.feed(joined), 1000) / 10:.2f}", end="  ")
    print(f"read_event {best(lambda: read_event(event), 2000):.2f}")
    unknown = UnknownModel("m", ["a", "b"])
    print(f"answer {best(lambda: answer(unknown, 'openai.chat', now=0.0), 500):.1f}", end="  ")
    print(f"verdict {best(lambda: verdict(429, b'{}', {'retry-after': '3'}, now=0.0), 500):.1f}")


async def provider() -> None:
    openai = OpenAI(OpenAISettings(), now=lambda: 0.0)
    ask = Ask(model="m", payload=body(1_000))

    def call(transport: httpx.AsyncBaseTransport) -> Call:
        return Call(ask=ask, credential=CREDENTIAL, model="m", transport=transport)

    whole, stream = call(Memory(b"application/json", [REPLY])), call(Memory(b"text/event-stream", STREAM))

    async def read() -> None:
        async with openai.stream(stream) as chunks:
            async for _ in chunks:
                pass

    async def objects() -> None:
        url = httpx.URL("https://api.openai.com/v1/chat/completions")
        httpx.Request("POST", url, headers={"authorization": "Bearer x"}, content=ask.payload)
        httpx.Response(200, headers=[(b"content-type", b"application/json")], stream=Pieces([]))

    print(f"execute {await best_of(lambda: openai.execute(whole), 200):.1f}", end="  ")
    print(f"objects {await best_of(objects, 200):.1f}", end="  ")
    print(f"streamed event {await best_of(read, 3) / len(STREAM):.2f}")


if __name__ == "__main__":
    pure()
    trio.run(provider)
