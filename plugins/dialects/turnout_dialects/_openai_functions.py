"""What the two request forms of OpenAI say alike: functions, the choice among them, the format of an answer.

Chat nests under one more key (`function`, `json_schema`) what Responses writes flat. `inside` is that key, and None
where the form is flat.
"""

from turnout_dialects._errors import Untranslatable
from turnout_dialects._form import CHAT, RESPONSES, Choice, Format, Tool
from turnout_dialects._json import Node
from turnout_dialects._schema_openai import is_strict

_FUNCTION = frozenset({"name", "description", "parameters", "strict"})
_FORMAT = frozenset({"type", "name", "description", "schema", "strict"})


def read_tool(tool: Node, *, inside: str | None) -> Tool:
    """Raises BadRequest; Untranslatable for tools that the vendor runs itself."""
    if tool.text("type") != "function":
        raise Untranslatable(tool.path("type"), "only functions can be called in every dialect")
    function = tool.need(inside) if inside else tool
    if inside:
        tool.only({"type", inside, "cache_control"})
    function.only(_FUNCTION if inside else _FUNCTION | {"type"})
    return Tool(
        name=function.text("name"),
        description=function.text_or_none("description"),
        schema=function.table("parameters"),
        strict=function.flag("strict"),
        at=function.path("parameters"),
    )


def read_choice(body: Node, *, inside: str | None) -> Choice | None:
    """None where the request leaves the choice to the vendor. Raises BadRequest, Untranslatable."""
    given = body.any("tool_choice")
    if given is None or type(given) is str:
        if given not in {None, "auto", "none", "required"}:
            body.fail("tool_choice", "must be auto, none, required or a function")
        return Choice(given) if given else None
    choice = body.need("tool_choice")
    if choice.text("type") != "function":
        raise Untranslatable(choice.path("type"), "only functions can be chosen in every dialect")
    function = choice.need(inside) if inside else choice
    choice.only({"type", inside or "name"})
    function.only({"type", "name"})
    return Choice("named", function.text("name"))


def read_format(given: Node | None, *, inside: str | None) -> Format | None:
    """None where any text will do. Raises BadRequest."""
    if given is None or (kind := given.text("type")) == "text":
        return None
    given.only({"type", inside} if inside else _FORMAT)
    if kind == "json_object":
        return Format()
    if kind != "json_schema":
        given.fail("type", f"{kind!r} is none of text, json_object, json_schema")
    schema = given.need(inside) if inside else given
    schema.only(_FORMAT)
    return Format(
        schema=schema.table("schema") or {},
        name=schema.text_or_none("name") or "response",
        description=schema.text_or_none("description"),
        strict=schema.flag("strict"),
        at=schema.path("schema"),
    )


def written_strict(wanted: Tool | Format, source: str) -> bool | None:
    """`strict` of a tool or an answer: only where OpenAI takes the schema so, unless its own client asks for it."""
    return wanted.strict and (source in {CHAT, RESPONSES} or is_strict(wanted.schema))
