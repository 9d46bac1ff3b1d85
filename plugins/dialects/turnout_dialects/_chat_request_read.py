"""Reader of requests of `openai.chat`.

`platform.openai.com/docs/api-reference/chat/create` as the types of the vendor's SDK 3.54 tell it (read 2026-11-23).
"""

from collections.abc import Iterable, Mapping

from turnout_dialects._blocks import CACHING, instructions, kind_of_block, result_parts
from turnout_dialects._errors import Untranslatable
from turnout_dialects._form import (
    CHAT,
    GEMINI,
    Media,
    Part,
    Reasoning,
    Refusal,
    Request,
    Text,
    ToolCall,
    ToolResult,
    Turn,
)
from turnout_dialects._json import Node
from turnout_dialects._openai import OPENAI_ONLY, count_choices, effort_of, openai_only, read_audio, read_data_url
from turnout_dialects._openai_functions import read_choice, read_format, read_tool
from turnout_dialects._seal import unseal
from turnout_dialects._turns import with_signatures

_KNOWN = frozenset(
    {
        *("model", "messages", "stream", "stream_options", "tools", "tool_choice", "parallel_tool_calls", "n"),
        *("response_format", "reasoning_effort", "max_tokens", "max_completion_tokens", "temperature", "top_p", "stop"),
        *("seed", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs", "user", "safety_identifier"),
        *("verbosity", "modalities", *OPENAI_ONLY),
    }
)
_MESSAGE = frozenset({"role", "content", "name"})
_ASSISTANT = _MESSAGE | {
    *("refusal", "tool_calls", "reasoning_content", "reasoning", "audio", "annotations", "function_call"),
    "extra_content",
}
_PARTS: Mapping[str, frozenset[str]] = {
    "text": CACHING | {"text"},
    "image_url": CACHING | {"image_url"},
    "input_audio": CACHING | {"input_audio"},
    "file": CACHING | {"file"},
    "refusal": frozenset({"refusal"}),
    "thinking": frozenset({"thinking", "closed"}),
    "reference": frozenset({"reference_ids"}),
}
_CALL = frozenset({"id", "type", "function", "index", "extra_content"})
_FUNCTION = frozenset({"name", "arguments"})


def read_request(body: Node) -> Request:
    """A request in the intermediate form. Raises BadRequest, Untranslatable."""
    body.only(_KNOWN)
    count_choices(body, "n")
    if body.has("modalities") and body.texts("modalities") != ("text",):
        raise Untranslatable("modalities", "only text can be asked for")
    system, turns = _messages(body)
    return Request(
        source=CHAT,
        turns=tuple(turns),
        system=tuple(system),
        tools=tuple(read_tool(tool, inside="function") for tool in body.nodes("tools")),
        choice=read_choice(body, inside="function"),
        parallel=body.flag("parallel_tool_calls"),
        format=read_format(body.node("response_format"), inside="json_schema"),
        thinking=effort_of(body, "reasoning_effort"),
        max_tokens=body.whole("max_completion_tokens") or body.whole("max_tokens"),
        temperature=body.number("temperature"),
        top_p=body.number("top_p"),
        stop=_stop(body),
        seed=body.whole("seed"),
        presence_penalty=body.number("presence_penalty"),
        frequency_penalty=body.number("frequency_penalty"),
        top_logprobs=body.count("top_logprobs") if body.flag("logprobs") else None,
        user=body.text_or_none("safety_identifier") or body.text_or_none("user"),
        openai=openai_only(body, verbosity=body.any("verbosity")),
    )


def _messages(body: Node) -> tuple[list[str], list[Turn]]:
    system: list[str] = []
    turns: list[Turn] = []
    names: dict[str, str] = {}
    for message in body.nodes("messages"):
        role = message.text("role")
        if role in {"system", "developer"}:
            message.only(_MESSAGE)
            system.append("\n".join(instructions(_contents(message), message.path("content"))))
        elif role == "assistant":
            turns.append(Turn("assistant", with_signatures(_assistant(message, names))))
        elif role == "user":
            message.only(_MESSAGE)
            turns.append(Turn("user", tuple(_contents(message))))
        elif role == "tool":
            turns.append(Turn("user", (_result(message, names),)))
        else:
            message.fail("role", f"{role!r} is none of system, developer, user, assistant, tool")
    if not turns and not system:
        body.fail("messages", "is missing or empty")
    return system, turns


def _assistant(message: Node, names: dict[str, str]) -> Iterable[Part]:
    message.only(_ASSISTANT)
    for name in ("audio", "function_call"):
        if message.has(name):
            raise Untranslatable(message.path(name), "use text and tool_calls")
    if thought := message.text_or_none("reasoning_content") or message.text_or_none("reasoning"):
        yield Reasoning(thought)
    if signature := carried(message):
        yield Reasoning("", unseal(signature, GEMINI))
    yield from _contents(message)
    if refusal := message.text_or_none("refusal"):
        yield Refusal(refusal)
    for call in message.nodes("tool_calls"):
        if call.text_or_none("type") not in {None, "function"}:
            raise Untranslatable(call.path("type"), "only functions can be called in every dialect")
        call.only(_CALL)
        function = call.need("function")
        function.only(_FUNCTION)
        names[call.text("id")] = function.text("name")
        yield from read_call(call, function)


def read_call(call: Node, function: Node) -> Iterable[Part]:
    """A call of a function, and before it the signature that it carries."""
    if signature := carried(call):
        yield Reasoning("", unseal(signature, GEMINI))
    yield ToolCall(
        id=call.text("id"),
        name=function.text("name"),
        arguments=function.text_or_none("arguments") or "",
        at=function.path("arguments"),
    )


def carried(call: Node) -> str | None:
    """The signature where Google's own OpenAI surface keeps it (`ai.google.dev/gemini-api/docs/thought-signatures`).

    It is with a call, or with the message of which it signs the text.
    """
    extra = call.node("extra_content")
    google = extra.node("google") if extra else None
    return google.text_or_none("thought_signature") if google else None


def _contents(message: Node) -> list[Part]:
    content = message.any("content")
    if content is None:
        return []
    if type(content) is str:
        return [Text(content)] if content else []
    if type(content) is not list:
        message.fail("content", "must be a text or an array of parts")
    return [found for part in message.nodes("content") if (found := _part(part)) is not None]


def _part(part: Node) -> Part | None:
    """One part; None for a mark that points to a source."""
    kind = kind_of_block(part, _PARTS)
    if kind == "text":
        return Text(part.text("text"))
    if kind == "refusal":
        return Refusal(part.text("refusal"))
    if kind == "thinking":
        return read_thoughts(part)
    return None if kind == "reference" else _media(part, kind)


def _media(part: Node, kind: str) -> Media:
    if kind == "image_url":
        return _image(part.need("image_url"))
    if kind == "input_audio":
        return read_audio(part)
    if kind == "file":
        return _file(part.need("file"))
    return part.fail("type", f"{kind!r} is no kind of content")


def read_thoughts(part: Node) -> Reasoning:
    """A part of the type `thinking`: Mistral's models that reason tell their thoughts so, in pieces.

    `docs.mistral.ai/capabilities/reasoning`, by `ThinkChunk` of the vendor's client (read 2026-11-28).
    """
    if type(part.any("thinking")) is str:
        return Reasoning(part.text("thinking"))
    pieces = (piece.text("text") for piece in part.nodes("thinking") if piece.text("type") == "text")
    return Reasoning("".join(pieces))


def _image(image: Node) -> Media:
    image.only({"url", "detail"})
    split = read_data_url(image, "url")
    detail = image.text_or_none("detail")
    if split is None:
        return Media(kind="image", url=image.text("url"), detail=detail, at=image.path("url"))
    return Media(kind="image", media_type=split[0], data=split[1], detail=detail, at=image.path("url"))


def _file(file: Node) -> Media:
    file.only({"filename", "file_id", "file_data"})
    name = file.text_or_none("filename")
    if file.has("file_id"):
        return Media(kind="file", file_id=file.text("file_id"), name=name, at=file.path("file_id"))
    media_type, data = read_data_url(file, "file_data") or (None, file.text("file_data"))
    return Media(kind="file", media_type=media_type, data=data, name=name, at=file.path("file_data"))


def _result(message: Node, names: Mapping[str, str]) -> ToolResult:
    message.only(_MESSAGE | {"tool_call_id"})
    call_id = message.text("tool_call_id")
    parts = result_parts(_contents(message), message.path("content"))
    return ToolResult(call_id=call_id, name=names.get(call_id, ""), parts=parts, at=message.path("tool_call_id"))


def _stop(body: Node) -> tuple[str, ...]:
    given = body.any("stop")
    return (given,) if type(given) is str else body.texts("stop")
