"""The intermediate form: what all four dialects mean, as frozen values.

Each dialect has one reader into it and one writer from it. The README describes it.
Field names follow no vendor where vendors disagree. Nothing here refers back to its holder, so the collector of cycles
need not follow these values: a long conversation makes thousands of them.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

CHAT = "openai.chat"
RESPONSES = "openai.responses"
ANTHROPIC = "anthropic.messages"
GEMINI = "gemini.generate"

DIALECTS = frozenset({CHAT, RESPONSES, ANTHROPIC, GEMINI})
"""Design 2."""


class Text(msgspec.Struct, frozen=True, gc=False):
    """Plain text."""

    text: str


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """The model's words of refusal, where a dialect keeps them apart from text."""

    text: str


class Media(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An image, a file or a sound: exactly one of `data`, `url` and `file_id` is given.

    Attributes:
        kind: `image`, `file` or `audio`.
        media_type: None when the source does not say.
        data: base64.
        file_id: of a file that OpenAI holds; no other vendor can read it.
        detail: OpenAI's `low`, `high`, `auto`.
        at: where the client wrote it, for errors.
    """

    kind: str
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    file_id: str | None = None
    name: str | None = None
    detail: str | None = None
    at: str = ""


class Signature(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A vendor's sealed reasoning, opaque to everybody else.

    Attributes:
        origin: the dialect of the vendor that made it, the only one that can read it.
        redacted: Anthropic's `redacted_thinking` rather than the signature of readable thinking.
        id: OpenAI's id of the reasoning item, empty elsewhere.
    """

    origin: str
    value: str
    redacted: bool = False
    id: str = ""


class Reasoning(msgspec.Struct, frozen=True, gc=False):
    """What the model thought. It comes before the part that it led to; Gemini signs that part, others the thought."""

    text: str
    signature: Signature | None = None


class ToolCall(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A call that the model wants made.

    Attributes:
        arguments: JSON text, as the model wrote it; empty means no arguments.
    """

    id: str
    name: str
    arguments: str
    at: str = ""


class ToolResult(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a call gave."""

    call_id: str
    name: str
    parts: "tuple[Text | Media, ...]"
    error: bool = False
    at: str = ""


WORDS = (Text, Refusal)
SAID = (Text, Refusal, Media)
"""For `isinstance` in what is done to every part: a union costs four times as much as a tuple."""

Part = Text | Refusal | Media | Reasoning | ToolCall | ToolResult


class Turn(msgspec.Struct, frozen=True, gc=False):
    """One side's say.

    Attributes:
        role: `user` (tool results included) or `assistant`.
    """

    role: str
    parts: tuple[Part, ...]


class Tool(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A function that the model may call.

    Attributes:
        schema: JSON Schema of its arguments, None for none.
        strict: whether arguments must keep the schema, None when the client does not say.
        at: where the client wrote the schema, for errors.
    """

    name: str
    description: str | None = None
    schema: Mapping[str, Any] | None = None
    strict: bool | None = None
    at: str = ""


class Choice(msgspec.Struct, frozen=True, gc=False):
    """Which tool to call.

    Attributes:
        mode: `auto`, `none`, `required` or `named`.
    """

    mode: str
    name: str = ""


class Format(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """JSON is wanted instead of prose.

    Attributes:
        schema: None for any JSON object.
        at: where the client wrote the schema, for errors.
    """

    schema: Mapping[str, Any] | None = None
    name: str = "response"
    description: str | None = None
    strict: bool | None = None
    at: str = ""

    @property
    def described(self) -> Mapping[str, Any] | None:
        """The schema, with the description in it unless it has its own: for dialects that have no other place."""
        if self.schema is None or self.description is None or "description" in self.schema:
            return self.schema
        schema = dict(self.schema)
        if "$ref" in schema and all(name.startswith("$") for name in schema):
            # Anthropic and Gemini refuse a description beside a reference (`response_json_schema` of google-genai).
            schema["anyOf"] = [{"$ref": schema.pop("$ref")}]
        return {"description": self.description, **schema}


class Thinking(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How much the model should think.

    Attributes:
        level: `none`, `minimal`, `low`, `medium`, `high`, `xhigh`, `max`, `auto`; None when not said.
        budget: tokens, above 0; it wins over `level`.
        include: whether the thoughts (or their summary) are wanted; None when not said.
    """

    level: str | None = None
    budget: int | None = None
    include: bool | None = None


class Request(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a client asks.

    Attributes:
        system: instructions, in order; those from the middle of a conversation come last.
        parallel: whether several calls in one turn are allowed; None when not said.
        top_logprobs: how many alternatives a token; None when log probabilities are not wanted.
        openai: members that both dialects of OpenAI spell alike and nobody else knows.
    """

    source: str
    turns: tuple[Turn, ...]
    system: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    choice: Choice | None = None
    parallel: bool | None = None
    format: Format | None = None
    thinking: Thinking | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    top_logprobs: int | None = None
    user: str | None = None
    openai: Mapping[str, Any] = {}


class Usage(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Tokens of one call.

    Attributes:
        input: all tokens of the prompt, cached ones included (OpenAI and Gemini count so, Anthropic does not).
        cached: of these, read from a cache.
        cache_write: of these, written to a cache.
        output: all tokens generated, reasoning included (Gemini counts it apart).
        reasoning: of these, spent on thinking.
    """

    input: int = 0
    cached: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0

    @property
    def total(self) -> int:
        """Input and output."""
        return self.input + self.output


class Logprob(msgspec.Struct, frozen=True, gc=False):
    """One token's log probability, and those of its alternatives."""

    token: str
    logprob: float
    top: "tuple[Logprob, ...]" = ()


class Reply(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a model answered.

    Attributes:
        stop: a key of `STOPS`.
        stop_sequence: the sequence that stopped it, where the vendor says.
    """

    parts: tuple[Part, ...]
    stop: str
    stop_sequence: str | None = None
    usage: Usage | None = None
    logprobs: tuple[Logprob, ...] = ()


STOPS = frozenset({"end", "sequence", "length", "calls", "filter", "refusal"})
"""Why a model stopped: it was done, met a stop sequence, reached a limit of tokens, wants tools called, was cut by a
safety filter, or refused."""

CUTS = frozenset({"length", "filter"})
"""Reasons that may leave a call in the middle of its arguments."""
