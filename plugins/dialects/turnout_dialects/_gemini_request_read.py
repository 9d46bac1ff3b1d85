"""Reader of requests of `gemini.generate`.

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
    Request,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
)
from turnout_dialects._json import Node, encoded
from turnout_dialects._media import kind_of, type_by_ending
from turnout_dialects._openai import count_choices
from turnout_dialects._schema import json_schema
from turnout_dialects._seal import unseal
from turnout_dialects._thinking import LEVELS, of_budget
from turnout_dialects._turns import with_signatures

UNSIGNED = "skip_thought_signature_validator"
"""What Google documents for calls of a history that Gemini did not make."""

_KNOWN = frozenset(
    {"model", "contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "safetySettings", "labels"}
)
_CONFIG = frozenset(
    {
        *("temperature", "topP", "topK", "maxOutputTokens", "stopSequences", "seed", "thinkingConfig"),
        *("presencePenalty", "frequencyPenalty", "responseMimeType", "responseSchema", "responseJsonSchema"),
        *("responseLogprobs", "logprobs", "candidateCount", "mediaResolution", "responseModalities"),
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
    if "_" in "".join(node.members):
        members = {_SNAKE.sub(lambda found: found[1].upper(), name): value for name, value in node.members.items()}
        return Node(members, node.place, node.wrong)
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
        top_logprobs=config.count("logprobs") if config.flag("responseLogprobs") else None,
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
            yield Reasoning("", unseal(signature, GEMINI))
        if part.has("text"):
            text = part.text("text")
            if thought:
                yield Reasoning(text, unseal(signature, GEMINI) if signature else None)
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
    schema = config.table("responseJsonSchema")
    if schema:
        return Format(schema=schema, at=config.path("responseJsonSchema"))
    return Format(schema=json_schema(config.table("responseSchema")), at=config.path("responseSchema"))


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
