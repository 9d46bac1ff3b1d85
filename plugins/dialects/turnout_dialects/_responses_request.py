"""Requests of `openai.responses`.

`platform.openai.com/docs/api-reference/responses/create` as the types of the vendor's SDK 3.54 tell it (read
2026-11-23). Only stateless use can be translated: `previous_response_id` and `conversation` name what the vendor keeps.
"""

from collections.abc import Iterable
from typing import Any

from turnout_dialects._errors import Untranslatable
from turnout_dialects._form import (
    RESPONSES,
    Choice,
    Format,
    Media,
    Part,
    Reasoning,
    Refusal,
    Request,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
)
from turnout_dialects._json import Node
from turnout_dialects._media import data_url, split_data_url
from turnout_dialects._openai import OPENAI_ONLY, audio_type, effort_of, openai_only, unsealed
from turnout_dialects._thinking import openai_effort

_KNOWN = frozenset(
    {
        *("model", "input", "instructions", "stream", "stream_options", "tools", "tool_choice", "parallel_tool_calls"),
        *("text", "reasoning", "max_output_tokens", "temperature", "top_p", "top_logprobs", "include", "user"),
        *("safety_identifier", "truncation", "background", *OPENAI_ONLY),
    }
)
_LOGPROBS = "message.output_text.logprobs"


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
        tools=tuple(_tool(tool) for tool in body.nodes("tools")),
        choice=_choice(body),
        parallel=body.flag("parallel_tool_calls"),
        format=_format(text.node("format") if text else None),
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
        kind = item.text_or_none("type") or "message"
        if kind == "message":
            _message(item, system, turns)
        elif kind == "function_call":
            call = _call(item)
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
    item.only({"type", "role", "content", "id", "status", "phase"})
    role = item.text("role")
    content = item.any("content")
    parts = [Text(content)] if type(content) is str else [_part(part) for part in item.nodes("content")]
    if role in {"system", "developer"}:
        system.append("\n".join(part.text for part in parts if isinstance(part, Text)))
    elif role in {"user", "assistant"}:
        _append(turns, role, *parts)
    else:
        item.fail("role", f"{role!r} is none of system, developer, user, assistant")


def _part(part: Node) -> Part:
    kind = part.text("type")
    if kind in {"input_text", "output_text", "text"}:
        return Text(part.text("text"))
    if kind == "refusal":
        return Refusal(part.text("refusal"))
    if kind == "input_image":
        return _media(part, "image", "image_url")
    if kind == "input_file":
        return _media(part, "file", "file_url" if part.has("file_url") else "file_data")
    if kind == "input_audio":
        audio = part.need("input_audio")
        return Media(kind="audio", media_type=f"audio/{audio.text('format')}", data=audio.text("data"), at=part.at)
    return part.fail("type", f"{kind!r} is no kind of content")


def _media(part: Node, kind: str, member: str) -> Media:
    name = part.text_or_none("filename")
    detail = part.text_or_none("detail")
    if part.has("file_id"):
        return Media(kind=kind, file_id=part.text("file_id"), name=name, detail=detail, at=part.path("file_id"))
    at = part.path(member)
    value = part.text(member)
    try:
        split = split_data_url(value)
    except ValueError as exc:
        part.fail(member, str(exc))
    if split is None and member != "file_data":
        return Media(kind=kind, url=value, name=name, detail=detail, at=at)
    media_type, data = split or (None, value)
    return Media(kind=kind, media_type=media_type, data=data, name=name, detail=detail, at=at)


def _call(item: Node) -> ToolCall:
    arguments = item.text_or_none("arguments") or ""
    return ToolCall(id=item.text("call_id"), name=item.text("name"), arguments=arguments, at=item.path("arguments"))


def read_reasoning(item: Node) -> Reasoning:
    """A reasoning item; what can be read of it is its summary, or the raw text of open models."""
    texts = [part.text_or_none("text") or "" for part in (*item.nodes("summary"), *item.nodes("content"))]
    value = item.text_or_none("encrypted_content")
    signature = unsealed(value, RESPONSES) if value else None
    if value and signature and signature.origin == RESPONSES and not signature.id:
        signature = type(signature)(origin=RESPONSES, value=value, id=item.text_or_none("id") or "")
    return Reasoning("\n\n".join(text for text in texts if text), signature)


def _result(item: Node, names: dict[str, str]) -> ToolResult:
    call_id = item.text("call_id")
    output = item.any("output")
    parts = (Text(output),) if type(output) is str else tuple(_part(part) for part in item.nodes("output"))
    kept = tuple(part for part in parts if isinstance(part, Text | Media))
    return ToolResult(call_id=call_id, name=names.get(call_id, ""), parts=kept, at=item.path("call_id"))


def _tool(tool: Node) -> Tool:
    if tool.text("type") != "function":
        raise Untranslatable(tool.path("type"), "only functions can be called in every dialect")
    tool.only({"type", "name", "description", "parameters", "strict"})
    return Tool(
        name=tool.text("name"),
        description=tool.text_or_none("description"),
        schema=tool.table("parameters"),
        strict=tool.flag("strict"),
    )


def _choice(body: Node) -> Choice | None:
    given = body.any("tool_choice")
    if given is None or type(given) is str:
        if given not in {None, "auto", "none", "required"}:
            body.fail("tool_choice", "must be auto, none, required or a function")
        return Choice(given) if given else None
    choice = body.need("tool_choice")
    if choice.text("type") != "function":
        raise Untranslatable(choice.path("type"), "only functions can be chosen in every dialect")
    return Choice("named", choice.text("name"))


def _format(given: Node | None) -> Format | None:
    if given is None or (kind := given.text("type")) == "text":
        return None
    if kind == "json_object":
        return Format()
    if kind != "json_schema":
        given.fail("type", f"{kind!r} is none of text, json_object, json_schema")
    return Format(
        schema=given.table("schema") or {},
        name=given.text_or_none("name") or "response",
        description=given.text_or_none("description"),
        strict=given.flag("strict"),
    )


def write_request(request: Request, *, model: str, stream: bool) -> dict[str, Any]:
    """The request as a body for OpenAI's responses. Raises Untranslatable.

    `store` is false unless the client of the other dialect says otherwise: it did not ask for its words to be kept.
    """
    openai = dict(request.openai)
    verbosity = openai.pop("verbosity", None)
    text = {"format": _written_format(request.format), "verbosity": verbosity}
    include = ["reasoning.encrypted_content", *([] if request.top_logprobs is None else [_LOGPROBS])]
    body: dict[str, Any] = {
        "model": model,
        "instructions": "\n\n".join(request.system) or None,
        "input": [item for turn in request.turns for item in _items(turn)],
        "stream": stream or None,
        "tools": [_written_tool(tool) for tool in request.tools] or None,
        "tool_choice": _written_choice(request.choice),
        "parallel_tool_calls": request.parallel if request.tools else None,
        "text": {name: value for name, value in text.items() if value is not None} or None,
        "reasoning": _written_reasoning(request.thinking),
        "max_output_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_logprobs": request.top_logprobs or None,
        "include": include,
        "safety_identifier": request.user,
        "store": False,
        **openai,
    }
    return {name: value for name, value in body.items() if value is not None}


def _written_reasoning(thinking: Thinking | None) -> dict[str, Any] | None:
    effort = openai_effort(thinking)
    summary = {"summary": "auto"} if thinking and thinking.include else {}
    return ({"effort": effort} if effort else {}) | summary or None


def _items(turn: Turn) -> Iterable[dict[str, Any]]:
    said: list[Part] = []
    for part in turn.parts:
        if isinstance(part, Text | Refusal | Media):
            said.append(part)
            continue
        yield from _said(turn.role, said)
        said = []
        if isinstance(part, ToolCall):
            arguments = part.arguments or "{}"
            yield {"type": "function_call", "call_id": part.id, "name": part.name, "arguments": arguments}
        elif isinstance(part, ToolResult):
            yield {"type": "function_call_output", "call_id": part.call_id, "output": _output(part)}
        elif part.signature and part.signature.origin == RESPONSES:
            yield written_reasoning(part, part.signature.id, part.signature.value)
    yield from _said(turn.role, said)


def _said(role: str, parts: list[Part]) -> Iterable[dict[str, Any]]:
    if parts:
        yield {"type": "message", "role": role, "content": [_written_part(role, part) for part in parts]}


def written_reasoning(part: Reasoning, id: str, sealed: str | None) -> dict[str, Any]:
    """A reasoning item."""
    summary = [{"type": "summary_text", "text": part.text}] if part.text else []
    made: dict[str, Any] = {"type": "reasoning", "id": id, "summary": summary}
    return made | ({"encrypted_content": sealed} if sealed else {})


def _output(result: ToolResult) -> str | list[dict[str, Any]]:
    if all(isinstance(part, Text) for part in result.parts):
        return "\n".join(part.text for part in result.parts if isinstance(part, Text))
    return [_written_part("user", part) for part in result.parts]


def _written_part(role: str, part: Part) -> dict[str, Any]:
    if isinstance(part, Media):
        if role == "assistant":
            raise Untranslatable(part.at, "openai.responses has no images in the model's turns")
        return _written_media(part)
    if isinstance(part, Refusal):
        return {"type": "refusal", "refusal": part.text}
    assert isinstance(part, Text), "texts, refusals and media are said"  # noqa: S101  # the caller sorted them
    return {"type": "input_text" if role == "user" else "output_text", "text": part.text}


def _written_media(media: Media) -> dict[str, Any]:
    made: dict[str, Any] = {"type": f"input_{media.kind}"}
    if media.kind == "audio":
        if media.data is None:
            raise Untranslatable(media.at, "OpenAI takes sounds as data")
        return made | {"input_audio": {"data": media.data, "format": audio_type(media)}}
    if media.detail:
        made["detail"] = media.detail
    elif media.kind == "image":
        made["detail"] = "auto"
    if media.file_id is not None:
        return made | {"file_id": media.file_id}
    if media.url is not None:
        return made | {"image_url" if media.kind == "image" else "file_url": media.url}
    if media.kind == "image":
        return made | {"image_url": data_url(media.media_type or "image/png", media.data or "")}
    return made | {"filename": media.name or "file", "file_data": data_url(media.media_type, media.data or "")}


def _written_tool(tool: Tool) -> dict[str, Any]:
    made = {"type": "function", "name": tool.name, "description": tool.description}
    schema = tool.schema if tool.schema is not None else {"type": "object", "properties": {}}
    # Both members are required; left out, `strict` would be true, which the other dialects do not mean.
    return {name: one for name, one in made.items() if one is not None} | {
        "parameters": schema,
        "strict": bool(tool.strict),
    }


def _written_choice(choice: Choice | None) -> Any:
    if choice is None or choice.mode != "named":
        return choice.mode if choice else None
    return {"type": "function", "name": choice.name}


def _written_format(wanted: Format | None) -> dict[str, Any] | None:
    if wanted is None:
        return None
    if wanted.schema is None:
        return {"type": "json_object"}
    made = {
        "type": "json_schema",
        "name": wanted.name,
        "description": wanted.description,
        "schema": wanted.schema,
        "strict": bool(wanted.strict),
    }
    return {name: one for name, one in made.items() if one is not None}
