"""Parts of contents in `gemini.generate`, of requests and of replies.

`ai.google.dev/api/caching#Part` as the types of the vendor's SDK 3.6 tell it (read 2026-11-28). Members may be spelled
in camels or snakes, as protocol buffers allow.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from turnout_dialects._form import GEMINI, Media, Part, Reasoning, Text, ToolCall, ToolResult
from turnout_dialects._json import Node, encoded
from turnout_dialects._media import kind_of, type_by_ending
from turnout_dialects._seal import unseal

UNSIGNED = "skip_thought_signature_validator"
"""What Google documents for calls of a history that Gemini did not make."""

_PART = frozenset(
    {
        *("text", "thought", "thoughtSignature", "functionCall", "functionResponse", "inlineData", "fileData"),
        *("videoMetadata", "mediaResolution"),
    }
)
_INSIDE: Mapping[str, frozenset[str]] = {
    "functionCall": frozenset({"id", "name", "args"}),
    "functionResponse": frozenset({"id", "name", "response", "parts"}),
    "inlineData": frozenset({"mimeType", "data", "displayName"}),
    "fileData": frozenset({"mimeType", "fileUri", "displayName"}),
}
_SNAKE = re.compile(r"_([a-z])")


def camel(node: Node) -> Node:
    """The same object with its member names in camels."""
    if "_" in "".join(node.members):
        members = {_SNAKE.sub(lambda found: found[1].upper(), name): value for name, value in node.members.items()}
        return Node(members, node.place, node.wrong)
    return node


def sub(node: Node, name: str) -> Node | None:
    """An object to read on with its member names in camels, None when absent."""
    found = node.node(name)
    return camel(found) if found else None


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
            _check(part)
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


def _check(part: Node) -> None:
    """Refuse what no other dialect can say of a part. Raises BadRequest, Untranslatable."""
    part.only(_PART)
    if sum(part.has(name) for name in ("text", *_INSIDE)) > 1:
        raise part.wrong(part.at, "must hold one kind of data")
    for name, known in _INSIDE.items():
        inner = sub(part, name)
        if inner is not None:
            inner.only(known)
            for one in inner.nodes("parts"):
                _check(camel(one))


def _result_text(given: dict[str, Any]) -> str:
    """`output` or `error` alone is the text itself, as Google says of `FunctionResponse.response`."""
    if len(given) == 1 and (only := given.get("output", given.get("error"))) is not None:
        return only if type(only) is str else encoded(only).decode()
    return encoded(given).decode()


def _media(part: Node) -> Media:
    blob = sub(part, "inlineData")
    if blob is not None:
        kind, name, at = blob.text_or_none("mimeType"), blob.text_or_none("displayName"), blob.path("data")
        return Media(kind=kind_of(kind), media_type=kind, data=blob.text("data"), name=name, at=at)
    file = camel(part.need("fileData"))
    url, name, at = file.text("fileUri"), file.text_or_none("displayName"), file.path("fileUri")
    kind = file.text_or_none("mimeType") or type_by_ending(url)
    return Media(kind=kind_of(kind), media_type=kind, url=url, name=name, at=at)
