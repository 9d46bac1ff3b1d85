"""Writer of requests of `gemini.generate`.

`ai.google.dev/api/generate-content` as the types of the vendor's SDK 3.4 tell it, signatures by
`ai.google.dev/gemini-api/docs/thought-signatures` (both read 2026-11-23).
"""

from collections.abc import Iterable
from typing import Any

from turnout_dialects._errors import BadRequest, Untranslatable
from turnout_dialects._form import (
    GEMINI,
    WORDS,
    Choice,
    Media,
    Part,
    Reasoning,
    Request,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from turnout_dialects._gemini_parts import UNSIGNED
from turnout_dialects._json import parsed, without_none
from turnout_dialects._media import type_by_ending
from turnout_dialects._thinking import gemini_thinking
from turnout_dialects._turns import joined

_ROLES = {"user": "user", "assistant": "model"}
_SILENCE = {"text": ""}


def write_request(request: Request, *, model: str, stream: bool) -> dict[str, Any]:  # noqa: ARG001  # the path says it
    """The request as a body for Gemini. Raises Untranslatable, BadRequest."""
    turns = joined(request.turns)
    config: dict[str, Any] = {
        "temperature": request.temperature,
        "topP": request.top_p,
        "topK": request.top_k,
        "maxOutputTokens": request.max_tokens,
        "stopSequences": list(request.stop) or None,
        "seed": request.seed,
        "presencePenalty": request.presence_penalty,
        "frequencyPenalty": request.frequency_penalty,
        "responseLogprobs": None if request.top_logprobs is None else True,
        "logprobs": request.top_logprobs or None,
        "thinkingConfig": gemini_thinking(request.thinking, model),
        "responseMimeType": "application/json" if request.format else None,
        "responseJsonSchema": request.format.described if request.format else None,
    }
    config = without_none(config)
    declarations = [_written_tool(tool) for tool in request.tools]
    body: dict[str, Any] = {
        "contents": [
            {"role": _ROLES[turn.role], "parts": parts} for turn in turns if (parts := written_parts(turn.parts))
        ],
        "systemInstruction": {"parts": [{"text": text} for text in request.system]} if request.system else None,
        "tools": [{"functionDeclarations": declarations}] if declarations else None,
        "toolConfig": _written_choice(request.choice) if declarations else None,
        "generationConfig": config or None,
    }
    return without_none(body)


def written_parts(parts: Iterable[Part]) -> list[dict[str, Any]]:
    """Parts of a request. A signature of Gemini's goes to the part that it signs, a foreign one stays out.

    So does empty text that nothing signs, as it says nothing; no parts are left of a turn without anything else.
    The first call of a turn must be signed (`ai.google.dev/gemini-api/docs/thought-signatures`, read 2026-11-23).
    """
    made: list[dict[str, Any]] = []
    signature: str | None = None
    called = False
    for part in parts:
        if isinstance(part, Reasoning):
            if part.signature is None or part.signature.origin != GEMINI:
                continue
            if signature:
                made.append({"text": "", "thoughtSignature": signature})
            signature = part.signature.value
            continue
        written = _written_part(part)
        if isinstance(part, ToolCall) and not called:
            called = True
            signature = signature or UNSIGNED
        if signature:
            written["thoughtSignature"] = signature
            signature = None
        if written != _SILENCE:
            made.append(written)
    if signature:
        made.append({"text": "", "thoughtSignature": signature})
    return made


def _written_part(part: Part) -> dict[str, Any]:
    if isinstance(part, ToolCall):
        args = parsed(part.arguments, part.at, BadRequest)
        return {"functionCall": {"id": part.id, "name": part.name, "args": args}}
    if isinstance(part, ToolResult):
        return {"functionResponse": _written_result(part)}
    if isinstance(part, Media):
        return written_media(part)
    assert isinstance(part, WORDS), "reasoning was left out before"  # noqa: S101  # the caller's loop
    return {"text": part.text}


def _written_result(result: ToolResult) -> dict[str, Any]:
    if not result.name:
        raise BadRequest(result.at, f"no call before has the id {result.call_id!r}")
    text = "\n".join(part.text for part in result.parts if isinstance(part, Text))
    made: dict[str, Any] = {"id": result.call_id, "name": result.name}
    made["response"] = {"error" if result.error else "output": text}
    media = [written_media(part) for part in result.parts if isinstance(part, Media)]
    return made | ({"parts": media} if media else {})


def written_media(media: Media) -> dict[str, Any]:
    """An image, file or sound. Raises Untranslatable."""
    if media.file_id is not None:
        raise Untranslatable(media.at, "the file is kept by OpenAI: no other vendor can read it")
    if media.url is not None:
        media_type = media.media_type or type_by_ending(media.url)
        return {"fileData": {"fileUri": media.url} | ({"mimeType": media_type} if media_type else {})}
    fallback = {"image": "image/png", "audio": "audio/wav"}.get(media.kind) or type_by_ending(media.name)
    return {"inlineData": {"mimeType": media.media_type or fallback or "application/pdf", "data": media.data}}


def _written_tool(tool: Tool) -> dict[str, Any]:
    made = {"name": tool.name, "description": tool.description, "parametersJsonSchema": tool.schema or None}
    return without_none(made)


def _written_choice(choice: Choice | None) -> dict[str, Any] | None:
    if choice is None:
        return None
    modes = {"auto": "AUTO", "none": "NONE", "required": "ANY", "named": "ANY"}
    names = {"allowedFunctionNames": [choice.name]} if choice.mode == "named" else {}
    return {"functionCallingConfig": {"mode": modes[choice.mode]} | names}
