"""What translation costs, in microseconds of CPU: the best of several runs, each pair of dialects.

    python tests/bench/dialects.py

`request` is a chat of 30 KB in 200 turns, `stream` one of 300 text events, `decode` msgspec alone over the same bytes:
the floor of every translation. `pass` is what a provider's wrapped operation adds to a call in its own dialect: nothing
is parsed, however long the body is.
"""

import time
from collections.abc import Callable
from typing import Any

import msgspec

from turnout import Ask, Call, Credential
from turnout_dialects import DIALECTS, StreamTranslator, translate_request
from turnout_dialects.provider import CHAT_WAYS, translating
from turnout_wire import BlockReader
from turnout_wire.provider import HttpProvider

RUNS = 7
EVENTS = 300
PAIRS = [(a, b) for a in sorted(DIALECTS) for b in sorted(DIALECTS) if a != b]
MODELS = {"anthropic.messages": "claude-sonnet-5-5", "gemini.generate": "gemini-3.8-flash"}


def best(work: Callable[[], object], count: int) -> float:
    """Microseconds of CPU for one call."""
    times = []
    for _ in range(RUNS):
        start = time.process_time()
        for _ in range(count):
            work()
        times.append((time.process_time() - start) / count)
    return min(times) * 1e6


def chat_request() -> bytes:
    turns = [{"role": ("user", "assistant")[place % 2], "content": "hello world, " * 10} for place in range(200)]
    return msgspec.json.encode({"model": "m", "messages": [*turns, {"role": "user", "content": "?"}]})


def chat_stream() -> list[bytes]:
    choice = {"index": 0, "delta": {"content": " word"}, "finish_reason": None}
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    last = chunk | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    return [b"data: " + msgspec.json.encode(one) + b"\n\n" for one in [*[chunk] * EVENTS, last]] + [b"data: [DONE]\n\n"]


def request_in(dialect: str) -> bytes:
    body = chat_request()
    if dialect == "openai.chat":
        return body
    return translate_request(body, "openai.chat", dialect, model=MODELS.get(dialect, "gpt-6-astra"), stream=False)


def stream_in(dialect: str) -> list[bytes]:
    events = chat_stream()
    return events if dialect == "openai.chat" else BlockReader().feed(translated(events, "openai.chat", dialect))


def translated(events: list[bytes], source: str, target: str) -> bytes:
    machine = StreamTranslator(source, target, model="m", id="1", now=0)
    return b"".join([*map(machine.feed, events), machine.end()])


class Own(HttpProvider):
    """A provider whose operation does nothing, bare and wrapped."""

    translated = frozenset({"anthropic.messages", "gemini.generate", "openai.responses"})
    into = CHAT_WAYS

    def shown(self, credential: Credential) -> dict[str, str]:
        return {}

    def bare(self, call: Call) -> Any:
        return call

    wrapped = translating(bare)


def passing(size: int) -> float:
    """Microseconds that the wrapping adds to a call in the provider's own dialect, with a body of so many bytes."""
    ask = Ask(model="gpt-6-astra", dialect="openai.chat", payload=b"x" * size)
    call = Call(ask=ask, credential=Credential(id="a", provider="p"), model="gpt-6-astra")
    own = Own("http://127.0.0.1:9", now=time.time)
    return best(lambda: own.wrapped(call), 20_000) - best(lambda: own.bare(call), 20_000)


def main() -> None:
    decode = msgspec.json.Decoder().decode
    print(f"{'source':20}{'target':20}{'request':>9}{'decode':>9}{'stream':>9}{'an event':>10}")
    for source, target in PAIRS:
        body, events = request_in(source), stream_in(source)
        model = MODELS.get(target, "gpt-6-astra")
        request = best(lambda: translate_request(body, source, target, model=model, stream=True), 50)  # noqa: B023
        floor = best(lambda: decode(body), 200)  # noqa: B023
        stream = best(lambda: translated(events, source, target), 10)  # noqa: B023
        print(f"{source:20}{target:20}{request:9.0f}{floor:9.0f}{stream:9.0f}{stream / EVENTS:10.2f}")
    for size in (1_000, 30_000, 10_000_000):
        print(f"pass, a body of {size:>10} bytes: {passing(size):.2f}")


if __name__ == "__main__":
    main()
