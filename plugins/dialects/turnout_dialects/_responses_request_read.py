"""Reader of requests of `openai.responses`.

`platform.openai.com/docs/api-reference/responses/create` as the types of the vendor's SDK 3.54 tell it (read
2026-11-23). Only stateless use can be translated: `previous_response_id` and `conversation` name what the vendor keeps.
"""

from collections.abc import Mapping

from turnout_dialects._blocks import CACHING, check_caller, instructions, kind_of_block, result_parts
from turnout_dialects._errors import Untranslatable
from turnout_dialects._form import (
    RESPONSES,
    Media,
    Part,
    Reasoning,
    Refusal,
    Request,
    Signature,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Turn,
)
from turnout_dialects._json import Node
from turnout_dialects._openai import OPENAI_ONLY, effort_of, openai_only, read_audio, read_data_url
from turnout_dialects._openai_functions import read_choice, read_format, read_tool
from turnout_dialects._seal import unseal

_KNOWN = frozenset(
    {
        *("model", "input", "instructions", "stream", "stream_options", "tools", "tool_choice", "parallel_tool_calls"),
        *("text", "reasoning", "max_output_tokens", "temperature", "top_p", "top_logprobs", "include", "user"),
        *("safety_identifier", "truncation", "background", *OPENAI_ONLY),
    }
)
_LOGPROBS = "message.output_text.logprobs"
_ITEMS: Mapping[str, frozenset[str]] = {
    "message": frozenset({"role", "content", "id", "status", "phase"}),
    "function_call": frozenset({"id", "call_id", "name", "arguments", "status", "caller"}),
    "function_call_output": frozenset({"id", "call_id", "output", "status", "caller"}),
    "reasoning": frozenset({"id", "summary", "content", "encrypted_content", "status"}),
}
_TEXT = CACHING | {"text", "annotations", "logprobs"}
_PARTS: Mapping[str, frozenset[str]] = {
    "input_text": _TEXT,
    "output_text": _TEXT,
    "text": _TEXT,
    "refusal": frozenset({"refusal"}),
    "input_image": CACHING | {"image_url", "file_id", "detail"},
    "input_file": CACHING | {"file_url", "file_data", "file_id", "filename", "detail"},
    "input_audio": CACHING | {"input_audio"},
}


def read_request(body: Node) -> Request:
    """A request in the intermediate form. Raises BadRequest, Untranslatable."""
    body.only(_KNOWN)
    if body.flag("background"):
        raise Untranslatable("background", "no other vendor answers later")
    text = body.node("text")
    if text:
        text.only({"format", "verbosity"})
    top = body.whole("top_logprobs")
    system, turns = _input(body)
    instructions = body.text_or_none("instructions")
    return Request(
        source=RESPONSES,
        turns=tuple(turns),
        system=(*([instructions] if instructions else []), *system),
        tools=tuple(read_tool(tool, inside=None) for tool in body.nodes("tools")),
        choice=read_choice(body, inside=None),
        parallel=body.flag("parallel_tool_calls"),
        format=read_format(text.node("format") if text else None, inside=None),
        thinking=_thinking(body.node("reasoning")),
        max_tokens=body.whole("max_output_tokens"),
        temperature=body.number("temperature"),
        top_p=body.number("top_p"),
        top_logprobs=top or 0 if top or _LOGPROBS in body.texts("include") else None,
        user=body.text_or_none("safety_identifier") or body.text_or_none("user"),
        openai=openai_only(body, verbosity=text.any("verbosity") if text else None),
    )


def _thinking(reasoning: Node | None) -> Thinking | None:
    if reasoning is None:
        return None
    reasoning.only({"effort", "summary", "generate_summary", "context"})
    effort = effort_of(reasoning, "effort")
    include = True if reasoning.has("summary") or reasoning.has("generate_summary") else None
    return Thinking(level=effort.level if effort else None, include=include) if effort or include else None


def _input(body: Node) -> tuple[list[str], list[Turn]]:
    given = body.any("input")
    if type(given) is str:
        return [], [Turn("user", (Text(given),))]
    if not given:
        body.fail("input", "is missing or empty")
    system: list[str] = []
    turns: list[Turn] = []
    names: dict[str, str] = {}
    for item in body.nodes("input"):
        kind = kind_of_block(item, _ITEMS) if item.has("type") else "message"
        check_caller(item)
        if kind == "message":
            _message(item, system, turns)
        elif kind == "function_call":
            call = read_call(item)
            names[call.id] = call.name
            _append(turns, "assistant", call)
        elif kind == "reasoning":
            _append(turns, "assistant", read_reasoning(item))
        elif kind == "function_call_output":
            _append(turns, "user", _result(item, names))
        else:
            raise Untranslatable(item.path("type"), f"no other dialect has {kind!r}")
    return system, turns


def _append(turns: list[Turn], role: str, *parts: Part) -> None:
    """Items of one side that follow each other are one turn: calls with what was thought before them."""
    if turns and turns[-1].role == role:
        turns[-1] = Turn(role, (*turns[-1].parts, *parts))
    else:
        turns.append(Turn(role, parts))


def _message(item: Node, system: list[str], turns: list[Turn]) -> None:
    item.only(_ITEMS["message"] | {"type"})
    role = item.text("role")
    content = item.any("content")
    parts = [Text(content)] if type(content) is str else [_part(part) for part in item.nodes("content")]
    if role in {"system", "developer"}:
        system.append("\n".join(instructions(parts, item.path("content"))))
    elif role in {"user", "assistant"}:
        _append(turns, role, *parts)
    else:
        item.fail("role", f"{role!r} is none of system, developer, user, assistant")


def _part(part: Node) -> Part:
    kind = kind_of_block(part, _PARTS)
    if kind in {"input_text", "output_text", "text"}:
        return Text(part.text("text"))
    if kind == "refusal":
        return Refusal(part.text("refusal"))
    if kind == "input_image":
        return _media(part, "image", "image_url")
    if kind == "input_file":
        return _media(part, "file", "file_url" if part.has("file_url") else "file_data")
    if kind == "input_audio":
        return read_audio(part)
    return part.fail("type", f"{kind!r} is no kind of content")


def _media(part: Node, kind: str, member: str) -> Media:
    name = part.text_or_none("filename")
    detail = part.text_or_none("detail")
    if part.has("file_id"):
        return Media(kind=kind, file_id=part.text("file_id"), name=name, detail=detail, at=part.path("file_id"))
    at = part.path(member)
    value = part.text(member)
    split = read_data_url(part, member)
    if split is None and member != "file_data":
        return Media(kind=kind, url=value, name=name, detail=detail, at=at)
    media_type, data = split or (None, value)
    return Media(kind=kind, media_type=media_type, data=data, name=name, detail=detail, at=at)


def read_call(item: Node) -> ToolCall:
    """A `function_call` item."""
    arguments = item.text_or_none("arguments") or ""
    return ToolCall(id=item.text("call_id"), name=item.text("name"), arguments=arguments, at=item.path("arguments"))


def read_reasoning(item: Node) -> Reasoning:
    """A reasoning item; what can be read of it is its summary, or the raw text of open models."""
    texts = [part.text_or_none("text") or "" for part in (*item.nodes("summary"), *item.nodes("content"))]
    value = item.text_or_none("encrypted_content")
    signature = unseal(value, RESPONSES) if value else None
    if value and signature and signature.origin == RESPONSES and not signature.id:
        signature = Signature(origin=RESPONSES, value=value, id=item.text_or_none("id") or "")
    return Reasoning("\n\n".join(text for text in texts if text), signature)


def _result(item: Node, names: dict[str, str]) -> ToolResult:
    call_id = item.text("call_id")
    output = item.any("output")
    parts = (Text(output),) if type(output) is str else tuple(_part(part) for part in item.nodes("output"))
    kept = result_parts(parts, item.path("output"))
    return ToolResult(call_id=call_id, name=names.get(call_id, ""), parts=kept, at=item.path("call_id"))
