"""Blocks of content in `anthropic.messages`, those of replies among them.

`platform.claude.com/docs/en/api/messages/create` as the types of the vendor's SDK 2.14 tell it (read 2026-11-28).
"""

from collections.abc import Iterable, Mapping

from turnout_dialects._blocks import CACHING, check_caller, kind_of_block
from turnout_dialects._errors import Untranslatable
from turnout_dialects._form import ANTHROPIC, Media, Part, Reasoning, Signature, Text, ToolCall, ToolResult
from turnout_dialects._json import Node, encoded
from turnout_dialects._media import data_of
from turnout_dialects._seal import unseal

_TEXT = CACHING | {"text", "citations"}
_BLOCKS: Mapping[str, frozenset[str]] = {
    "text": _TEXT,
    "image": CACHING | {"source"},
    "document": CACHING | {"source", "title", "context", "citations"},
    "tool_use": CACHING | {"id", "name", "input", "caller"},
    "tool_result": CACHING | {"tool_use_id", "content", "is_error"},
    "thinking": frozenset({"thinking", "signature"}),
    "redacted_thinking": frozenset({"data"}),
}
_SOURCES: Mapping[str, frozenset[str]] = {
    "base64": frozenset({"media_type", "data"}),
    "text": frozenset({"media_type", "data"}),
    "url": frozenset({"url"}),
}


def read_contents(message: Node, names: dict[str, str]) -> Iterable[Part]:
    """What a message says; `names` of calls by their ids grow with it. Raises BadRequest, Untranslatable."""
    content = message.any("content")
    if type(content) is str:
        yield Text(content)
        return
    if type(content) is not list:
        message.fail("content", "must be a text or an array of blocks")
    for block in message.nodes("content"):
        kind = kind_of_block(block, _BLOCKS)
        if kind == "tool_use":
            check_caller(block)
            call = read_call(block)
            names[call.id] = call.name
            yield call
        elif kind == "tool_result":
            yield _result(block, names)
        elif kind in {"thinking", "redacted_thinking"}:
            yield read_thinking(block)
        else:
            yield from read_plain(block)


def read_call(block: Node) -> ToolCall:
    """A `tool_use` block."""
    arguments = encoded(block.table("input") or {}).decode()
    return ToolCall(id=block.text("id"), name=block.text("name"), arguments=arguments, at=block.path("input"))


def read_thinking(block: Node) -> Reasoning:
    """A `thinking` or `redacted_thinking` block."""
    if block.text("type") == "redacted_thinking":
        found = unseal(block.text("data"), ANTHROPIC)
        if found and found.origin == ANTHROPIC:
            found = Signature(origin=ANTHROPIC, value=found.value, redacted=True)
        return Reasoning("", found)
    value = block.text_or_none("signature")
    return Reasoning(block.text("thinking"), unseal(value, ANTHROPIC) if value else None)


def read_plain(block: Node) -> Iterable[Text | Media]:
    """A text, an image or a document; what is said about a document becomes a text before it, for the model to read."""
    kind = kind_of_block(block, _BLOCKS)
    if kind == "text":
        yield Text(block.text("text"))
    elif kind == "image":
        yield _source(block.need("source"), "image", None)
    elif kind == "document":
        if context := block.text_or_none("context"):
            yield Text(context)
        yield _source(block.need("source"), "file", block.text_or_none("title"))
    else:
        raise Untranslatable(block.path("type"), f"no other dialect has {kind!r}")


def _source(source: Node, kind: str, name: str | None) -> Media:
    how = kind_of_block(source, _SOURCES)
    if how == "base64":
        media_type, data = source.text("media_type"), source.text("data")
        return Media(kind=kind, media_type=media_type, data=data, name=name, at=source.path("data"))
    if how == "url":
        return Media(kind=kind, url=source.text("url"), name=name, at=source.path("url"))
    if how == "text":
        data = data_of(source.text("data"))
        return Media(kind=kind, media_type="text/plain", data=data, name=name, at=source.path("data"))
    if how == "content":
        raise Untranslatable(source.path("type"), "no other dialect has documents made of blocks")
    raise Untranslatable(source.path("type"), f"{how!r} is kept by Anthropic: no other vendor can read it")


def _result(block: Node, names: dict[str, str]) -> ToolResult:
    call_id = block.text("tool_use_id")
    content = block.any("content")
    if type(content) is str:
        parts: tuple[Text | Media, ...] = (Text(content),)
    else:
        parts = tuple(part for one in block.nodes("content") for part in read_plain(one))
    return ToolResult(
        call_id=call_id,
        name=names.get(call_id, ""),
        parts=parts,
        error=bool(block.flag("is_error")),
        at=block.path("tool_use_id"),
    )
