"""Writer of requests of `anthropic.messages`, in the form of version 2023-06-01, which later versions only narrow.

`platform.claude.com/docs/en/api/messages/create` as the types of the vendor's SDK 2.12 tell it (read 2026-11-23).
"""

from collections.abc import Sequence
from typing import Any

from turnout_dialects._errors import BadRequest, Untranslatable
from turnout_dialects._form import (
    ANTHROPIC,
    WORDS,
    Choice,
    Format,
    Media,
    Part,
    Reasoning,
    Request,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
)
from turnout_dialects._ids import call_id
from turnout_dialects._json import parsed, without_none
from turnout_dialects._media import kind_of, text_of
from turnout_dialects._schema_anthropic import constrained
from turnout_dialects._thinking import anthropic_thinking, claude_version
from turnout_dialects._turns import joined

_NO_ARGUMENTS = {"type": "object", "properties": {}}


def default_max_tokens(model: str) -> int:
    """`max_tokens` where the client gave none, and Anthropic insists: what every model of that age can give."""
    version = claude_version(model)
    return 4_096 if version < (3, 5) else 8_192 if version < (3, 7) else 32_000


def write_request(request: Request, *, model: str, stream: bool) -> dict[str, Any]:
    """The request as a body for Anthropic's messages. Raises Untranslatable, BadRequest.

    Models from 4.7 on refuse `temperature`, `top_p` and `top_k`, and none takes them together with a budget of thinking
    (`platform.claude.com/docs/en/build-with-claude/extended-thinking`, read 2026-11-23): then they are left out.
    """
    max_tokens = request.max_tokens or default_max_tokens(model)
    thinking, effort = anthropic_thinking(request.thinking, model, max_tokens)
    turns = joined(request.turns)
    if thinking and _excludes(thinking["type"], request.choice, turns):
        thinking = None
    samples = claude_version(model) < (4, 7) and (thinking is None or thinking["type"] != "enabled")
    output = {"effort": effort, "format": _written_format(request.format)}
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": max_tokens,
        "system": "\n\n".join(request.system) or None,
        "messages": [{"role": turn.role, "content": content} for turn in turns if (content := _written_contents(turn))],
        "stream": stream or None,
        "stop_sequences": list(request.stop) or None,
        **(_samples(request) if samples else {}),
        "tools": [_written_tool(tool) for tool in request.tools] or None,
        "tool_choice": _written_choice(request),
        "thinking": thinking,
        "output_config": without_none(output) or None,
        "metadata": {"user_id": request.user} if request.user else None,
    }
    return without_none(body)


def _excludes(kind: str, choice: Choice | None, turns: Sequence[Turn]) -> bool:
    """Whether a request cannot be one with thinking.

    A forced tool excludes it, and the tool was asked for by name. A budget insists that the model's last turn begins
    with what it thought, signed, while its calls are being answered: clients of `openai.chat` keep no signatures
    (`platform.claude.com/docs/en/build-with-claude/extended-thinking`, read 2026-11-26; adaptive thinking does not).
    """
    if kind == "disabled":
        return False
    if choice and choice.mode in {"required", "named"}:
        return True
    last = next((place for place in reversed(range(len(turns))) if turns[place].role == "assistant"), None)
    if kind != "enabled" or last is None:
        return False
    answered = any(isinstance(part, ToolResult) for turn in turns[last + 1 :] for part in turn.parts)
    first = next(iter(turns[last].parts), None)
    thought = isinstance(first, Reasoning) and first.signature is not None and first.signature.origin == ANTHROPIC
    return answered and not thought


def _samples(request: Request) -> dict[str, Any]:
    heat = None if request.temperature is None else min(request.temperature, 1.0)  # OpenAI and Gemini go up to 2
    return {"temperature": heat, "top_p": request.top_p, "top_k": request.top_k}


def _written_contents(turn: Turn) -> str | list[dict[str, Any]]:
    if len(turn.parts) == 1 and isinstance(turn.parts[0], Text):
        return turn.parts[0].text
    # Anthropic wants results before anything else in a turn; empty texts are refused.
    results = [part for part in turn.parts if isinstance(part, ToolResult)]
    rest = [part for part in turn.parts if not isinstance(part, ToolResult)]
    return [block for part in (*results, *rest) if (block := written_part(part)) is not None]


def written_part(part: Part) -> dict[str, Any] | None:
    """A block of content; None for reasoning that Anthropic did not sign and for empty text. Raises Untranslatable."""
    if isinstance(part, WORDS):
        return {"type": "text", "text": part.text} if part.text else None
    if isinstance(part, Media):
        return _written_media(part)
    if isinstance(part, ToolCall):
        arguments = parsed(part.arguments, part.at, BadRequest)
        return {"type": "tool_use", "id": call_id(part.id, ANTHROPIC), "name": part.name, "input": arguments}
    return _written_result(part) if isinstance(part, ToolResult) else _written_thinking(part)


def _written_result(result: ToolResult) -> dict[str, Any]:
    content: Any = [block for one in result.parts if (block := written_part(one)) is not None]
    if len(result.parts) == 1 and isinstance(result.parts[0], Text):
        content = result.parts[0].text
    made = {"type": "tool_result", "tool_use_id": call_id(result.call_id, ANTHROPIC), "content": content}
    return made | ({"is_error": True} if result.error else {})


def _written_thinking(part: Reasoning) -> dict[str, Any] | None:
    if part.signature is None or part.signature.origin != ANTHROPIC:
        return None
    if part.signature.redacted:
        return {"type": "redacted_thinking", "data": part.signature.value}
    return {"type": "thinking", "thinking": part.text, "signature": part.signature.value}


def _written_media(media: Media) -> dict[str, Any]:
    if media.file_id is not None:
        raise Untranslatable(media.at, "the file is kept by OpenAI: no other vendor can read it")
    if media.kind == "audio":
        raise Untranslatable(media.at, "Anthropic takes no sounds")
    made = {"type": "image" if media.kind == "image" or kind_of(media.media_type) == "image" else "document"}
    title = {"title": media.name} if media.name and made["type"] == "document" else {}
    return made | {"source": _written_source(media, made["type"])} | title


def _written_source(media: Media, kind: str) -> dict[str, Any]:
    if media.url is not None:
        return {"type": "url", "url": media.url}
    media_type = media.media_type or ("image/png" if kind == "image" else "application/pdf")
    if kind == "image" or media_type == "application/pdf":
        return {"type": "base64", "media_type": media_type, "data": media.data}
    if not media_type.startswith("text/"):
        raise Untranslatable(media.at, f"Anthropic takes images, PDF and text, not {media_type}")
    try:
        return {"type": "text", "media_type": "text/plain", "data": text_of(media.data or "")}
    except ValueError:
        raise BadRequest(media.at, "is no base64 of UTF-8 text") from None


def _written_tool(tool: Tool) -> dict[str, Any]:
    schema = {"type": "object"} | (dict(tool.schema) if tool.schema else {})
    if tool.strict:
        schema = constrained(schema if tool.schema else _NO_ARGUMENTS, tool.at)
    made = {"name": tool.name, "description": tool.description, "input_schema": schema}
    return without_none(made) | ({"strict": True} if tool.strict else {})


def _written_choice(request: Request) -> dict[str, Any] | None:
    if not request.tools:
        return None
    mode = request.choice.mode if request.choice else None
    single = {"disable_parallel_tool_use": True} if request.parallel is False and mode != "none" else {}
    if mode is None:
        return {"type": "auto"} | single if single else None
    if mode == "named" and request.choice:
        return {"type": "tool", "name": request.choice.name} | single
    return {"type": "any" if mode == "required" else mode} | single


def _written_format(wanted: Format | None) -> dict[str, Any] | None:
    if wanted is None:
        return None
    return {"type": "json_schema", "schema": constrained(wanted.described, wanted.at)}
