"""Writer of requests of `openai.chat`.

`platform.openai.com/docs/api-reference/chat/create` as the types of the vendor's SDK 3.54 tell it (read 2026-11-23).
"""

from collections.abc import Iterable
from typing import Any

from turnout_dialects._errors import Untranslatable
from turnout_dialects._form import (
    CHAT,
    GEMINI,
    WORDS,
    Choice,
    Format,
    Media,
    Part,
    Reasoning,
    Refusal,
    Request,
    Text,
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
from turnout_dialects._seal import seal
from turnout_dialects._thinking import openai_effort


def write_request(request: Request, *, model: str, stream: bool) -> dict[str, Any]:
    """The request as a body for OpenAI's chat completions. Raises Untranslatable."""
    effort = openai_effort(request.thinking)
    verbosity = request.openai.get("verbosity")
    body: dict[str, Any] = {
        "model": model,
        "messages": [
            *({"role": "system", "content": text} for text in request.system),
            *_messages(request.turns, keeps_signatures(model)),
        ],
        "stream": stream or None,
        "stream_options": {"include_usage": True} if stream else None,
        "tools": [_written_tool(tool, request.source) for tool in request.tools] or None,
        "tool_choice": _written_choice(request.choice),
        "parallel_tool_calls": request.parallel if request.tools else None,
        "response_format": _written_format(request.format, request.source),
        "reasoning_effort": effort,
        "max_completion_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stop": list(request.stop) or None,
        "seed": request.seed,
        "presence_penalty": request.presence_penalty,
        "frequency_penalty": request.frequency_penalty,
        "logprobs": None if request.top_logprobs is None else True,
        "top_logprobs": request.top_logprobs or None,
        "safety_identifier": request.user,
        **request.openai,
        "verbosity": verbosity,
    }
    return without_none(body)


def keeps_signatures(model: str) -> bool:
    """Whether a chat's upstream takes Google's signatures back: Google's own surface does, for Gemini and by its name.

    Others refuse members that they do not know; Gemini 3 refuses calls without their signature
    (`ai.google.dev/gemini-api/docs/thought-signatures`, read 2026-11-23).
    """
    return "gemini" in model.lower()


def _messages(turns: Iterable[Turn], signs: bool) -> Iterable[dict[str, Any]]:
    for turn in turns:
        if turn.role == "assistant":
            yield _written_assistant(turn, signs)
        else:
            yield from _written_user(turn)


def _written_user(turn: Turn) -> Iterable[dict[str, Any]]:
    """Results are messages of their own; images in them move to the user's message behind, for want of a place."""
    rest: list[Part] = []
    for part in turn.parts:
        if isinstance(part, ToolResult):
            texts = [one.text for one in part.parts if isinstance(one, Text)]
            rest.extend(one for one in part.parts if isinstance(one, Media))
            yield {"role": "tool", "tool_call_id": call_id(part.call_id, CHAT), "content": "\n".join(texts)}
        else:
            rest.append(part)
    if rest or not turn.parts:
        yield {"role": "user", "content": _written_contents(rest)}


def _written_contents(parts: list[Part]) -> str | list[dict[str, Any]]:
    if len(parts) == 1 and isinstance(parts[0], Text):
        return parts[0].text
    return [_written_part(part) for part in parts] or ""


def _written_part(part: Part) -> dict[str, Any]:
    if isinstance(part, Media):
        return _written_media(part)
    assert isinstance(part, WORDS), "a user says texts and shows media"  # noqa: S101  # readers make no other
    return {"type": "text", "text": part.text}


def _written_media(media: Media) -> dict[str, Any]:
    if media.kind == "image" and media.file_id is None:
        url = media.url or data_url(media.media_type or "image/png", media.data or "")
        return {"type": "image_url", "image_url": {"url": url} | ({"detail": media.detail} if media.detail else {})}
    if media.kind == "audio" and media.data is not None:
        return {"type": "input_audio", "input_audio": {"data": media.data, "format": audio_type(media)}}
    name = {"filename": media.name} if media.name else {}
    if media.kind == "file" and media.file_id is not None:
        return {"type": "file", "file": {"file_id": media.file_id} | name}
    if media.kind == "file" and media.data is not None:
        name = name or {"filename": "file"}
        return {"type": "file", "file": {"file_data": data_url(media.media_type, media.data)} | name}
    raise Untranslatable(media.at, "openai.chat takes files and sounds as data, and no images by file id")


def _written_assistant(turn: Turn, signs: bool) -> dict[str, Any]:
    """Reasoning stays out: OpenAI takes none in a chat; but a signature of Gemini goes with the call that it signs.

    `signs`: the upstream is Google's own surface for it; OpenAI refuses members that it does not know.
    """
    calls: list[dict[str, Any]] = []
    signed: Reasoning | None = None
    for part in turn.parts:
        if isinstance(part, ToolCall):
            calls.append(written_call(part, signed))
        signed = part if isinstance(part, Reasoning) and signs else None
    texts = [part for part in turn.parts if isinstance(part, Text)]
    refusal = "".join(part.text for part in turn.parts if isinstance(part, Refusal))
    content = _written_contents(list(texts)) if texts else None
    message: dict[str, Any] = {"role": "assistant", "content": content if calls or refusal else content or ""}
    if refusal:
        message["refusal"] = refusal
    if calls:
        message["tool_calls"] = calls
    for part in turn.parts:
        if isinstance(part, Media):
            raise Untranslatable(part.at, "openai.chat has no images in the model's turns")
    return message


def written_call(call: ToolCall, signed: Reasoning | None) -> dict[str, Any]:
    """A call as a message of the model holds it."""
    made: dict[str, Any] = {
        "id": call_id(call.id, CHAT),
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments or "{}"},
    }
    if signed and signed.signature and signed.signature.origin == GEMINI:
        made["extra_content"] = {"google": {"thought_signature": seal(signed.signature, GEMINI)}}
    return made


def _written_tool(tool: Tool, source: str) -> dict[str, Any]:
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.schema,
        "strict": written_strict(tool, source),
    }
    return {"type": "function", "function": without_none(function)}


def _written_choice(choice: Choice | None) -> Any:
    if choice is None or choice.mode != "named":
        return choice.mode if choice else None
    return {"type": "function", "function": {"name": choice.name}}


def _written_format(wanted: Format | None, source: str) -> dict[str, Any] | None:
    if wanted is None:
        return None
    if wanted.schema is None:
        return {"type": "json_object"}
    schema = {"name": wanted.name, "description": wanted.description, "schema": wanted.schema}
    return {"type": "json_schema", "json_schema": without_none(schema | {"strict": written_strict(wanted, source)})}
