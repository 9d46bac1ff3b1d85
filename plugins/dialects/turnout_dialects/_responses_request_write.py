"""Writer of requests of `openai.responses`.

`platform.openai.com/docs/api-reference/responses/create` as the types of the vendor's SDK 3.54 tell it (read
2026-11-23). Only stateless use can be translated: `previous_response_id` and `conversation` name what the vendor keeps.
"""

from collections.abc import Iterable
from typing import Any

from turnout_dialects._errors import Untranslatable
from turnout_dialects._form import (
    RESPONSES,
    SAID,
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
from turnout_dialects._ids import call_id
from turnout_dialects._json import without_none
from turnout_dialects._media import data_url
from turnout_dialects._openai import audio_type
from turnout_dialects._openai_functions import written_strict
from turnout_dialects._thinking import openai_effort

_LOGPROBS = "message.output_text.logprobs"


def write_request(request: Request, *, model: str, stream: bool) -> dict[str, Any]:
    """The request as a body for OpenAI's responses. Raises Untranslatable.

    `store` is false unless the client of the other dialect says otherwise: it did not ask for its words to be kept.
    """
    openai = dict(request.openai)
    verbosity = openai.pop("verbosity", None)
    text = {"format": _written_format(request.format, request.source), "verbosity": verbosity}
    include = ["reasoning.encrypted_content", *([] if request.top_logprobs is None else [_LOGPROBS])]
    body: dict[str, Any] = {
        "model": model,
        "instructions": "\n\n".join(request.system) or None,
        "input": [item for turn in request.turns for item in _items(turn)],
        "stream": stream or None,
        "tools": [_written_tool(tool, request.source) for tool in request.tools] or None,
        "tool_choice": _written_choice(request.choice),
        "parallel_tool_calls": request.parallel if request.tools else None,
        "text": without_none(text) or None,
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
    return without_none(body)


def _written_reasoning(thinking: Thinking | None) -> dict[str, Any] | None:
    effort = openai_effort(thinking)
    summary = {"summary": "auto"} if thinking and thinking.include else {}
    return ({"effort": effort} if effort else {}) | summary or None


def _items(turn: Turn) -> Iterable[dict[str, Any]]:
    said: list[Part] = []
    for part in turn.parts:
        if isinstance(part, SAID):
            said.append(part)
            continue
        yield from _said(turn.role, said)
        said = []
        if isinstance(part, ToolCall):
            arguments = part.arguments or "{}"
            id = call_id(part.id, RESPONSES)
            yield {"type": "function_call", "call_id": id, "name": part.name, "arguments": arguments}
        elif isinstance(part, ToolResult):
            id = call_id(part.call_id, RESPONSES)
            yield {"type": "function_call_output", "call_id": id, "output": _output(part)}
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
    if media.name and media.kind == "file":
        made["filename"] = media.name
    if media.file_id is not None:
        return made | {"file_id": media.file_id}
    if media.url is not None:
        return made | {"image_url" if media.kind == "image" else "file_url": media.url}
    if media.kind == "image":
        return made | {"image_url": data_url(media.media_type or "image/png", media.data or "")}
    return made | {"filename": media.name or "file", "file_data": data_url(media.media_type, media.data or "")}


def _written_tool(tool: Tool, source: str) -> dict[str, Any]:
    function = {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        # The last two are required; left out, `strict` would be true, which the other dialects do not mean.
        "parameters": tool.schema if tool.schema is not None else {"type": "object", "properties": {}},
        "strict": bool(written_strict(tool, source)),
    }
    return without_none(function)


def _written_choice(choice: Choice | None) -> Any:
    if choice is None or choice.mode != "named":
        return choice.mode if choice else None
    return {"type": "function", "name": choice.name}


def _written_format(wanted: Format | None, source: str) -> dict[str, Any] | None:
    if wanted is None:
        return None
    if wanted.schema is None:
        return {"type": "json_object"}
    made = {
        "type": "json_schema",
        "name": wanted.name,
        "description": wanted.description,
        "schema": wanted.schema,
        "strict": bool(written_strict(wanted, source)),
    }
    return without_none(made)
