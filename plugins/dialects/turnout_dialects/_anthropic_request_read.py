"""Reader of requests of `anthropic.messages`, in the form of version 2023-06-01, which later versions only narrow.

`platform.claude.com/docs/en/api/messages/create` as the types of the vendor's SDK 2.12 tell it (read 2026-11-23).
"""

from collections.abc import Mapping

from turnout_dialects._anthropic_blocks import read_contents, read_plain
from turnout_dialects._blocks import instructions, kind_of_block
from turnout_dialects._errors import Untranslatable
from turnout_dialects._form import (
    ANTHROPIC,
    Choice,
    Format,
    Request,
    Thinking,
    Tool,
    Turn,
)
from turnout_dialects._json import Node
from turnout_dialects._thinking import INCLUDED, LEVELS, of_budget

_KNOWN = frozenset(
    {
        *("model", "messages", "system", "max_tokens", "stream", "stop_sequences", "temperature", "top_p", "top_k"),
        *("tools", "tool_choice", "thinking", "output_config", "metadata", "cache_control", "service_tier", "speed"),
        *("diagnostics", "context_management"),
    }
)
_THINKING: Mapping[str, frozenset[str]] = {
    "enabled": frozenset({"budget_tokens", "display"}),
    "adaptive": frozenset({"display"}),
    "disabled": frozenset(),
}
_CHOICE = frozenset({"type", "name", "disable_parallel_tool_use"})
_TOOL = frozenset(
    {
        *("type", "name", "description", "input_schema", "strict"),
        *("cache_control", "input_examples", "eager_input_streaming"),
    }
)


def read_request(body: Node) -> Request:
    """A request in the intermediate form. Raises BadRequest, Untranslatable."""
    body.only(_KNOWN)
    system, turns = _messages(body)
    choice = body.node("tool_choice")
    metadata = body.node("metadata")
    output = body.node("output_config")
    if metadata:
        metadata.only({"user_id"})
    if output:
        output.only({"effort", "format"})
    single = choice.flag("disable_parallel_tool_use") if choice else None
    return Request(
        source=ANTHROPIC,
        turns=tuple(turns),
        system=(*_system(body), *system),
        tools=tuple(_tool(tool) for tool in body.nodes("tools")),
        choice=_choice(choice),
        parallel=None if single is None else not single,
        format=_format(output.node("format") if output else None),
        thinking=_thinking(body.node("thinking"), output),
        max_tokens=body.whole("max_tokens"),
        temperature=body.number("temperature"),
        top_p=body.number("top_p"),
        top_k=body.whole("top_k"),
        stop=body.texts("stop_sequences"),
        user=metadata.text_or_none("user_id") if metadata else None,
    )


def _messages(body: Node) -> tuple[list[str], list[Turn]]:
    system: list[str] = []
    turns: list[Turn] = []
    names: dict[str, str] = {}
    for message in body.nodes("messages"):
        message.only({"role", "content"})
        role = message.text("role")
        parts = tuple(read_contents(message, names))
        if role == "system":
            system.extend(instructions(parts, message.path("content")))
        elif role in {"user", "assistant"}:
            turns.append(Turn(role, parts))
        else:
            message.fail("role", f"{role!r} is neither user nor assistant")
    if not turns:
        body.fail("messages", "is missing or empty")
    return system, turns


def _system(body: Node) -> list[str]:
    given = body.any("system")
    if given is None or type(given) is str:
        return [given] if given else []
    parts = (part for block in body.nodes("system") for part in read_plain(block))
    return instructions(parts, "system")


def _thinking(thinking: Node | None, output: Node | None) -> Thinking | None:
    level = output.text_or_none("effort") if output else None
    if level is not None and level not in LEVELS and output:
        output.fail("effort", f"{level!r} is no level of effort")
    if thinking is None:
        return Thinking(level=level) if level else None
    kind = kind_of_block(thinking, _THINKING)
    include = INCLUDED.get(thinking.text_or_none("display") or "")
    if kind in {"disabled", "between_tools"}:
        return Thinking(level="none")
    if kind == "enabled":
        if (budget := thinking.whole("budget_tokens")) is None:
            thinking.fail("budget_tokens", "is missing")
        found = of_budget(budget)
        return Thinking(level=found.level, budget=found.budget, include=include)
    if kind != "adaptive":
        thinking.fail("type", f"{kind!r} is none of adaptive, enabled, disabled, between_tools")
    return Thinking(level=level or "auto", include=include)


def _tool(tool: Node) -> Tool:
    if tool.text_or_none("type") not in {None, "custom"}:
        raise Untranslatable(tool.path("type"), "only the client's own tools can be called in every dialect")
    tool.only(_TOOL)
    return Tool(
        name=tool.text("name"),
        description=tool.text_or_none("description"),
        schema=tool.table("input_schema") or {},
        strict=tool.flag("strict"),
        at=tool.path("input_schema"),
    )


def _choice(choice: Node | None) -> Choice | None:
    if choice is None:
        return None
    kind = choice.text("type")
    choice.only(_CHOICE)
    if kind == "tool":
        return Choice("named", choice.text("name"))
    if kind not in {"auto", "any", "none"}:
        choice.fail("type", f"{kind!r} is none of auto, any, tool, none")
    return Choice("required" if kind == "any" else kind)


def _format(given: Node | None) -> Format | None:
    if given is None:
        return None
    if given.text("type") != "json_schema":
        given.fail("type", "must be json_schema")
    given.only({"type", "schema"})
    return Format(schema=given.table("schema") or {}, strict=True, at=given.path("schema"))
