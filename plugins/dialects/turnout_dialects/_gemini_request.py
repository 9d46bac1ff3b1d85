"""Requests of `gemini.generate`.

`ai.google.dev/api/generate-content` as the types of the vendor's SDK 3.4 tell it, signatures by
`ai.google.dev/gemini-api/docs/thought-signatures` (both read 2026-11-23). Members may be spelled in camels or snakes,
as protocol buffers allow.
"""

import re
from collections.abc import Iterable
from typing import Any

from turnout_dialects._errors import BadRequest, Untranslatable
from turnout_dialects._form import (
    GEMINI,
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
from turnout_dialects._json import Node, encoded, parsed
from turnout_dialects._media import kind_of, type_by_ending
from turnout_dialects._openai import count_choices, unsealed
from turnout_dialects._schema import json_schema
from turnout_dialects._thinking import LEVELS, gemini_thinking, of_budget
from turnout_dialects._turns import joined, with_signatures

UNSIGNED = "skip_thought_signature_validator"
"""What Google documents for calls of a history that Gemini did not make."""

_KNOWN = frozenset(
    {"model", "contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "safetySettings", "labels"}
)
_CONFIG = frozenset(
    {
        *(
            "temperature",
            "topP",
            "topK",
            "maxOutputTokens",
            "stopSequences",
            "seed",
            "presencePenalty",
            "thinkingConfig",
        ),
        *(
            "frequencyPenalty",
            "responseMimeType",
            "responseSchema",
            "responseJsonSchema",
            "responseLogprobs",
            "logprobs",
        ),
        *("candidateCount", "mediaResolution", "responseModalities"),
    }
)
_PART = frozenset(
    {
        *("text", "thought", "thoughtSignature", "functionCall", "functionResponse", "inlineData", "fileData"),
        *("videoMetadata", "mediaResolution"),
    }
)
_SNAKE = re.compile(r"_([a-z])")
_ROLES = {"user": "user", "function": "user", "model": "assistant"}


def camel(node: Node) -> Node:
    """The same object with its member names in camels."""
    if any("_" in name for name in node.members):
        members = {_SNAKE.sub(lambda found: found[1].upper(), name): value for name, value in node.members.items()}
        return Node(members, node.at, node.wrong)
    return node


def _sub(node: Node, name: str) -> Node | None:
    found = node.node(name)
    return camel(found) if found else None


def read_request(body: Node) -> Request:
    """A request in the intermediate form. Raises BadRequest, Untranslatable."""
    body = camel(body)
    body.only(_KNOWN)
    config = _sub(body, "generationConfig") or Node({}, "generationConfig", BadRequest)
    config.only(_CONFIG)
    count_choices(config, "candidateCount")
    if {one.upper() for one in config.texts("responseModalities")} - {"TEXT"}:
        raise Untranslatable(config.path("responseModalities"), "only text can be asked for")
    contents = [camel(content) for content in body.nodes("contents")]
    if not contents:
        body.fail("contents", "is missing or empty")
    top = config.count("logprobs") if config.flag("responseLogprobs") else None
    return Request(
        source=GEMINI,
        turns=tuple(_turns(contents)),
        system=_system(_sub(body, "systemInstruction")),
        tools=tuple(_tools(body)),
        choice=_choice(_sub(body, "toolConfig")),
        format=_format(config),
        thinking=_thinking(_sub(config, "thinkingConfig")),
        max_tokens=config.whole("maxOutputTokens"),
        temperature=config.number("temperature"),
        top_p=config.number("topP"),
        top_k=config.whole("topK"),
        stop=config.texts("stopSequences"),
        seed=config.whole("seed"),
        presence_penalty=config.number("presencePenalty"),
        frequency_penalty=config.number("frequencyPenalty"),
        top_logprobs=top,
    )


def _system(content: Node | None) -> tuple[str, ...]:
    return tuple(part.text_or_none("text") or "" for part in content.nodes("parts")) if content else ()


def _turns(contents: list[Node]) -> Iterable[Turn]:
    open_calls: list[tuple[str, str]] = []
    for place, content in enumerate(contents):
        role = content.text_or_none("role") or "user"
        if role not in _ROLES:
            content.fail("role", f"{role!r} is neither user nor model")
        found = PartReader(f"call_{place}", open_calls)
        parts = tuple(part for one in content.nodes("parts") for part in found.read(camel(one), strict=True))
        yield Turn(_ROLES[role], with_signatures(parts))


class PartReader:
    """Reads parts one after another.

    Calls without an id get one, results without one go to the oldest open call of their name.
    """

    def __init__(self, prefix: str, open_calls: list[tuple[str, str]]) -> None:
        self._prefix = prefix
        self._open = open_calls
        self._count = 0

    def read(self, part: Node, *, strict: bool) -> Iterable[Part]:
        """What a part says, its signature first. `strict`: of a request, where unknown kinds are refused."""
        if strict:
            part.only(_PART)
        signature = part.text_or_none("thoughtSignature")
        thought = bool(part.flag("thought"))
        if signature and signature != UNSIGNED and not thought:
            yield Reasoning("", unsealed(signature, GEMINI))
        if part.has("text"):
            text = part.text("text")
            if thought:
                yield Reasoning(text, unsealed(signature, GEMINI) if signature else None)
            elif text:
                yield Text(text)
        elif part.has("functionCall"):
            yield self._call(camel(part.need("functionCall")))
        elif part.has("functionResponse"):
            yield self._result(camel(part.need("functionResponse")))
        elif part.has("inlineData") or part.has("fileData"):
            yield _media(part)
        elif strict and not signature:
            raise part.wrong(part.at, "must hold text, functionCall, functionResponse, inlineData or fileData")

    def _call(self, call: Node) -> ToolCall:
        id = call.text_or_none("id") or f"{self._prefix}_{self._count}"
        self._count += 1
        name = call.text("name")
        self._open.append((id, name))
        return ToolCall(id=id, name=name, arguments=encoded(call.table("args") or {}).decode(), at=call.path("args"))

    def _result(self, response: Node) -> ToolResult:
        name = response.text("name")
        matching = (id for id, called in self._open if called == name)
        id = response.text_or_none("id") or next(matching, None) or f"{self._prefix}_{name}"
        self._open[:] = [one for one in self._open if one[0] != id]
        given = response.table("response") or {}
        error = set(given) == {"error"}
        media = (_media(camel(part)) for part in response.nodes("parts"))
        parts: tuple[Text | Media, ...] = (Text(_result_text(given)), *media)
        return ToolResult(call_id=id, name=name, parts=parts, error=error, at=response.path("name"))


def _result_text(given: dict[str, Any]) -> str:
    """`output` or `error` alone is the text itself, as Google says of `FunctionResponse.response`."""
    if len(given) == 1 and (only := given.get("output", given.get("error"))) is not None:
        return only if type(only) is str else encoded(only).decode()
    return encoded(given).decode()


def _media(part: Node) -> Media:
    blob = _sub(part, "inlineData")
    if blob is not None:
        media_type = blob.text_or_none("mimeType")
        return Media(kind=kind_of(media_type), media_type=media_type, data=blob.text("data"), at=blob.path("data"))
    file = camel(part.need("fileData"))
    media_type = file.text_or_none("mimeType") or type_by_ending(file.text("fileUri"))
    return Media(kind=kind_of(media_type), media_type=media_type, url=file.text("fileUri"), at=file.path("fileUri"))


def _tools(body: Node) -> Iterable[Tool]:
    for tool in body.nodes("tools"):
        found = camel(tool)
        found.only({"functionDeclarations"})
        for one in found.nodes("functionDeclarations"):
            function = camel(one)
            function.only({"name", "description", "parameters", "parametersJsonSchema"})
            schema = function.table("parametersJsonSchema") or json_schema(function.table("parameters"))
            yield Tool(name=function.text("name"), description=function.text_or_none("description"), schema=schema)


def _choice(config: Node | None) -> Choice | None:
    calling = _sub(config, "functionCallingConfig") if config else None
    if calling is None:
        return None
    mode = (calling.text_or_none("mode") or "AUTO").upper()
    names = calling.texts("allowedFunctionNames")
    if mode == "ANY" and names:
        if len(names) > 1:
            raise Untranslatable(calling.path("allowedFunctionNames"), "one function can be named, or none")
        return Choice("named", names[0])
    modes = {"ANY": "required", "NONE": "none"}
    return Choice(modes.get(mode, "auto"))


def _format(config: Node) -> Format | None:
    kind = config.text_or_none("responseMimeType")
    if kind in {None, "text/plain"}:
        return None
    if kind != "application/json":
        raise Untranslatable(config.path("responseMimeType"), "only text and JSON can be asked for")
    schema = config.table("responseJsonSchema") or json_schema(config.table("responseSchema"))
    return Format(schema=schema)


def _thinking(config: Node | None) -> Thinking | None:
    if config is None:
        return None
    config.only({"includeThoughts", "thinkingBudget", "thinkingLevel"})
    include = config.flag("includeThoughts")
    level = (config.text_or_none("thinkingLevel") or "").lower()
    if level and level not in LEVELS:
        config.fail("thinkingLevel", f"{level!r} is no level of thinking")
    budget = config.whole("thinkingBudget")
    if budget is not None and not level:
        found = of_budget(budget)
        return Thinking(level=found.level, budget=found.budget, include=include)
    return Thinking(level=level or None, include=include) if level or include is not None else None


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
        "responseJsonSchema": request.format.schema if request.format else None,
    }
    config = {name: value for name, value in config.items() if value is not None}
    declarations = [_written_tool(tool) for tool in request.tools]
    body: dict[str, Any] = {
        "contents": [_written_turn(turn) for turn in turns if turn.parts],
        "systemInstruction": {"parts": [{"text": text} for text in request.system]} if request.system else None,
        "tools": [{"functionDeclarations": declarations}] if declarations else None,
        "toolConfig": _written_choice(request.choice) if declarations else None,
        "generationConfig": config or None,
    }
    return {name: value for name, value in body.items() if value is not None}


def _written_turn(turn: Turn) -> dict[str, Any]:
    return {"role": "user" if turn.role == "user" else "model", "parts": written_parts(turn.parts)}


def written_parts(parts: Iterable[Part]) -> list[dict[str, Any]]:
    """Parts of a request. A signature of Gemini's goes to the part that it signs, a foreign one stays out.

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
        made.append(written)
    if signature:
        made.append({"text": "", "thoughtSignature": signature})
    return made or [{"text": ""}]


def _written_part(part: Part) -> dict[str, Any]:
    if isinstance(part, ToolCall):
        args = parsed(part.arguments, part.at, BadRequest)
        return {"functionCall": {"id": part.id, "name": part.name, "args": args}}
    if isinstance(part, ToolResult):
        return {"functionResponse": _written_result(part)}
    if isinstance(part, Media):
        return written_media(part)
    assert isinstance(part, Text | Refusal), "reasoning was left out before"  # noqa: S101  # the caller's loop
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
    return {name: value for name, value in made.items() if value is not None}


def _written_choice(choice: Choice | None) -> dict[str, Any] | None:
    if choice is None:
        return None
    modes = {"auto": "AUTO", "none": "NONE", "required": "ANY", "named": "ANY"}
    names = {"allowedFunctionNames": [choice.name]} if choice.mode == "named" else {}
    return {"functionCallingConfig": {"mode": modes[choice.mode]} | names}
