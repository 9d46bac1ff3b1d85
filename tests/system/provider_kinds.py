"""Every provider that there is, each with sound answers in its own words: what the suites over all of them share."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from turnout import Ask, Credential, Metadata, Secret
from turnout.abc import Provider
from turnout.testing import CANARY
from turnout_anthropic import Anthropic, AnthropicSettings
from turnout_gemini import Gemini, GeminiSettings, Vertex, VertexSettings
from turnout_openai import VENDORS, AzureOpenAI, AzureSettings, OpenAI, OpenAISettings
from turnout_wire.testing import REFUSALS, events

NOW = 1_790_000_000.0


@attrs.frozen(kw_only=True)
class Kind:
    """One provider in one dialect.

    Attributes:
        reply: a sound answer in one piece.
        opening: events before the first payload.
        content: an event of content.
        end: the events that end a stream.
        error: an event that is the error of a rate limit.
        failed: a body that is the error of a rate limit.
        tokens: its credentials have tokens and no keys.
    """

    name: str
    make: Callable[[], Provider]
    dialect: str
    reply: bytes
    opening: bytes
    content: bytes
    end: bytes
    error: bytes
    failed: bytes
    tokens: bool = False
    marks: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def sound(self) -> list[bytes]:
        """A whole stream."""
        return [self.opening, self.content, self.content, self.content, self.end]

    @property
    def ask(self) -> Ask:
        return Ask(model="m", dialect=self.dialect, payload=b'{"model":"m"}')

    @property
    def credential(self) -> Credential:
        if self.tokens:
            return Credential(id="a", provider="p", metadata=Metadata({"access_token": CANARY}))
        return Credential(id="a", provider="p", api_key=Secret(CANARY))

    @property
    def refusals(self) -> Mapping[str, Any]:
        """What each status is due: the table of all, and what this vendor's own marks make of it."""
        return {**REFUSALS, **self.marks}


def sse(data: Mapping[str, Any], name: str = "") -> bytes:
    """One event."""
    return (f"event: {name}\n" if name else "").encode() + b"data: " + json.dumps(data).encode() + b"\n\n"


LIMITED = {"message": "slow down", "type": "rate_limit_error", "code": "rate_limit_exceeded"}
OPENAI_FAILED = json.dumps({"error": LIMITED}).encode()


def chat(name: str, make: Callable[[], Provider], marks: Mapping[str, Any]) -> Kind:
    role, content, finish, done = events("hello")
    return Kind(
        name=name,
        make=make,
        dialect="openai.chat",
        reply=b'{"choices":[]}',
        opening=role,
        content=content,
        end=finish + done,
        error=sse({"error": LIMITED}),
        failed=OPENAI_FAILED,
        marks=marks,
    )


def vendor(name: str) -> Kind:
    marks = {str(mark.status): mark.kind for mark in VENDORS[name].marks if not mark.text}
    known = {status: kind for status, kind in marks.items() if status in REFUSALS}
    return chat(name, lambda: OpenAI(OpenAISettings(vendor=name), now=lambda: NOW), known)


def azure(version: str) -> Kind:
    settings = AzureSettings(base_url="https://house.openai.azure.com", api_version=version)
    return chat(f"azure {version or 'v1'}", lambda: AzureOpenAI(settings, now=lambda: NOW), {})


def gemini(name: str, make: Callable[[], Provider], *, tokens: bool) -> Kind:
    def candidate(text: str, **members: str) -> bytes:
        return sse({"candidates": [{"content": {"parts": [{"text": text}]}} | members]})

    error = {"error": {"code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED"}}
    return Kind(
        name=name,
        make=make,
        dialect="gemini.generate",
        reply=b'{"candidates":[]}',
        opening=candidate(""),
        content=candidate("hello"),
        end=candidate("", finishReason="STOP"),
        error=sse(error),
        failed=json.dumps(error).encode(),
        tokens=tokens,
    )


RESPONSES = Kind(
    name="openai responses",
    make=lambda: OpenAI(OpenAISettings(), now=lambda: NOW),
    dialect="openai.responses",
    reply=b'{"output":[]}',
    opening=sse({"type": "response.created", "response": {}}, "response.created"),
    content=sse({"type": "response.output_text.delta", "delta": "hello"}, "response.output_text.delta"),
    end=sse({"type": "response.completed", "response": {}}, "response.completed"),
    error=sse({"type": "error"} | {"error": LIMITED}, "error"),
    failed=OPENAI_FAILED,
)

ANTHROPIC = Kind(
    name="anthropic",
    make=lambda: Anthropic(AnthropicSettings(), now=lambda: NOW),
    dialect="anthropic.messages",
    reply=b'{"content":[]}',
    opening=sse({"type": "message_start", "message": {}}, "message_start"),
    content=sse(
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "hello"}}, "content_block_delta"
    ),
    end=sse({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}, "message_delta")
    + sse({"type": "message_stop"}, "message_stop"),
    error=sse({"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}}, "error"),
    failed=b'{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}',
)

KINDS: Sequence[Kind] = [
    *map(vendor, VENDORS),
    azure(""),
    azure("2024-10-21"),
    RESPONSES,
    ANTHROPIC,
    gemini("gemini", lambda: Gemini(GeminiSettings(), now=lambda: NOW), tokens=False),
    gemini("vertex", lambda: Vertex(VertexSettings(project="house"), now=lambda: NOW), tokens=True),
]

SPENT: Mapping[str, Sequence[tuple[int, str]]] = {
    "openai.chat": [(402, "{}"), (403, "{}"), (429, '{"error":{"type":"insufficient_quota"}}')],
    "openai.responses": [(402, "{}"), (429, '{"error":{"code":"credit_balance_exhausted"}}')],
    "anthropic.messages": [
        (402, '{"error":{"type":"billing_error"}}'),
        (400, '{"error":{"type":"invalid_request_error","message":"Your credit balance is too low"}}'),
        (429, '{"error":{"type":"rate_limit_error","details":{"error_code":"enforced_spend_limit_reached"}}}'),
    ],
    "gemini.generate": [
        (402, '{"error":{"status":"RESOURCE_EXHAUSTED"}}'),
        (400, '{"error":{"status":"FAILED_PRECONDITION"}}'),
        (403, '{"error":{"status":"PERMISSION_DENIED"}}'),
    ],
}
"""Refusals that are about money or the account, by dialect; `PaymentRequired` where no vendor says otherwise."""
