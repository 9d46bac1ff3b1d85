"""Reader of requests of `gemini.generate`.

`ai.google.dev/api/generate-content` as the types of the vendor's SDK 3.4 tell it, signatures by
`ai.google.dev/gemini-api/docs/thought-signatures` (both read 2026-11-23). Members may be spelled in camels or snakes,
as protocol buffers allow.
"""

from collections.abc import Iterable

from turnout_dialects._errors import BadRequest, Untranslatable
from turnout_dialects._form import (
    GEMINI,
    Choice,
    Format,
    Request,
    Thinking,
    Tool,
    Turn,
)
from turnout_dialects._gemini_parts import PartReader, camel, sub
from turnout_dialects._json import Node
from turnout_dialects._openai import count_choices
from turnout_dialects._schema import json_schema
from turnout_dialects._thinking import LEVELS, of_budget
from turnout_dialects._turns import with_signatures

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
_ROLES = {"user": "user", "function": "user", "model": "assistant"}


def read_request(body: Node) -> Request:
    """A request in the intermediate form. Raises BadRequest, Untranslatable."""
    body = camel(body)
    body.only(_KNOWN)
    config = sub(body, "generationConfig") or Node({}, "generationConfig", BadRequest)
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
        system=_system(sub(body, "systemInstruction")),
        tools=tuple(_tools(body)),
        choice=_choice(sub(body, "toolConfig")),
        format=_format(config),
        thinking=_thinking(sub(config, "thinkingConfig")),
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
    if content is None:
        return ()
    content.only({"role", "parts"})
    parts = [camel(part) for part in content.nodes("parts")]
    for part in parts:
        part.only({"text"})
    return tuple(part.text_or_none("text") or "" for part in parts)


def _turns(contents: list[Node]) -> Iterable[Turn]:
    open_calls: list[tuple[str, str]] = []
    for place, content in enumerate(contents):
        content.only({"role", "parts"})
        role = content.text_or_none("role") or "user"
        if role not in _ROLES:
            content.fail("role", f"{role!r} is neither user nor model")
        found = PartReader(f"call_{place}", open_calls)
        parts = tuple(part for one in content.nodes("parts") for part in found.read(camel(one), strict=True))
        yield Turn(_ROLES[role], with_signatures(parts))


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
    if config is not None:
        config.only({"functionCallingConfig"})
    calling = sub(config, "functionCallingConfig") if config else None
    if calling is None:
        return None
    calling.only({"mode", "allowedFunctionNames"})
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
