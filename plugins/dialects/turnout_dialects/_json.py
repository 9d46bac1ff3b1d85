"""Read decoded JSON member by member, with the path for the error if one is not as its dialect says.

`null` counts as absent, as it does for all four vendors.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any, NoReturn

import msgspec

from turnout_dialects._errors import BadReply, BadRequest, Untranslatable

_decode = msgspec.json.Decoder().decode

_TYPE_NAMES = {str: "a text", bool: "true or false", dict: "an object", list: "an array", int: "a whole number"}


def decoded(body: bytes, wrong: type[BadRequest] | type[BadReply]) -> "Node":
    """The object that a body holds; raises `wrong` for what is no sound JSON object (pitfall F11)."""
    try:
        found = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise wrong("", f"not sound JSON: {_reason(exc)}") from None
    if type(found) is not dict:
        raise wrong("", "not a JSON object")
    return Node(found, "", wrong)


def encoded(value: Any) -> bytes:
    """JSON of a value that was decoded before, or made here. Raises Untranslatable beyond what JSON readers take."""
    try:
        return msgspec.json.encode(value)
    except (OverflowError, RecursionError, UnicodeEncodeError, msgspec.ValidationError):
        raise Untranslatable("body", "a number is out of range, or it is nested too deeply") from None


def without_none(members: Mapping[str, Any]) -> dict[str, Any]:
    """The members that have a value: what a client leaves open is left out, for vendors do not all take null."""
    return {name: value for name, value in members.items() if value is not None}


def parsed(text: str, path: str, wrong: type[BadRequest] | type[BadReply]) -> dict[str, Any]:
    """The object in a tool call's argument text; empty text is no arguments."""
    if not text.strip():
        return {}
    try:
        found = _decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        found = None
    if type(found) is not dict:
        raise wrong(path, "the arguments of a tool call must be the text of a JSON object")
    return found


def is_whole(text: str) -> bool:
    """Whether a text is a complete JSON object: nothing but blanks can follow."""
    if not text.rstrip().endswith("}"):
        return False
    try:
        return type(_decode(text)) is dict
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return False


def _reason(exc: Exception) -> str:
    if isinstance(exc, UnicodeDecodeError):
        return "it is not UTF-8"
    return (
        "it is nested too deeply" if isinstance(exc, RecursionError) else str(exc).removeprefix("JSON is malformed: ")
    )


class Node:
    """One object of a decoded body, and where it is: told only when somebody asks, for nearly nobody does.

    Attributes:
        members: of the object.
        place: its path, or the object that holds it with the member's name and, in an array, the number.
        wrong: what is raised when it is not as its dialect says.
    """

    __slots__ = ("members", "place", "wrong")

    def __init__(
        self,
        members: dict[str, Any],
        place: "str | tuple[Node, str, int | None]",
        wrong: type[BadRequest] | type[BadReply],
    ) -> None:
        self.members = members
        self.place = place
        self.wrong = wrong

    @property
    def at(self) -> str:
        """The path of this object."""
        if isinstance(self.place, str):
            return self.place
        holder, name, number = self.place
        return holder.path(name) if number is None else f"{holder.path(name)}[{number}]"

    def path(self, name: str) -> str:
        """The path of a member."""
        at = self.at
        return f"{at}.{name}" if at else name

    def fail(self, name: str, reason: str) -> NoReturn:
        """Raise: a member is not as the dialect says."""
        raise self.wrong(self.path(name), reason)

    def only(self, known: AbstractSet[str]) -> None:
        """Refuse members that are not known: nothing of a request is lost in silence. Raises Untranslatable."""
        if not self.members.keys() <= known:
            for name in self.members.keys() - known:
                if self.members[name] is not None:
                    raise Untranslatable(self.path(name), "no other dialect can say it")

    def has(self, name: str) -> bool:
        """Whether the member is there and not null."""
        return self.members.get(name) is not None

    def any(self, name: str) -> Any:
        """The member as it is, None when absent."""
        return self.members.get(name)

    def text(self, name: str) -> str:
        """A text that must be there."""
        value = self.members.get(name)
        if type(value) is not str:
            self._mistyped(name, value, str)
        return value

    def text_or_none(self, name: str) -> str | None:
        """A text, None when absent."""
        value = self.members.get(name)
        if value is not None and type(value) is not str:
            self._mistyped(name, value, str)
        return value

    def flag(self, name: str) -> bool | None:
        """True or false, None when absent."""
        value = self.members.get(name)
        if value is not None and type(value) is not bool:
            self._mistyped(name, value, bool)
        return value

    def whole(self, name: str) -> int | None:
        """A whole number, None when absent. JSON writers may write it as `5.0`."""
        value = self.members.get(name)
        if type(value) is float and value.is_integer():
            return int(value)
        if value is not None and type(value) is not int:
            self._mistyped(name, value, int)
        return value

    def count(self, name: str) -> int:
        """A whole number, 0 when absent or below."""
        return max(0, self.whole(name) or 0)

    def number(self, name: str) -> float | None:
        """A number, None when absent."""
        value = self.members.get(name)
        if value is not None and type(value) is not float and type(value) is not int:
            self.fail(name, "must be a number")
        return value

    def table(self, name: str) -> dict[str, Any] | None:
        """An object as it is, None when absent."""
        value = self.members.get(name)
        if value is not None and type(value) is not dict:
            self._mistyped(name, value, dict)
        return value

    def node(self, name: str) -> "Node | None":
        """An object to read on, None when absent."""
        value = self.table(name)
        return None if value is None else Node(value, (self, name, None), self.wrong)

    def need(self, name: str) -> "Node":
        """An object to read on that must be there."""
        found = self.node(name)
        return self.fail(name, "is missing") if found is None else found

    def nodes(self, name: str) -> "list[Node]":
        """An array of objects, empty when absent."""
        value = self.members.get(name)
        if value is None:
            return []
        if type(value) is not list:
            self._mistyped(name, value, list)
        return [self._nth(one, name, number) for number, one in enumerate(value)]

    def texts(self, name: str) -> tuple[str, ...]:
        """An array of texts, empty when absent."""
        value = self.members.get(name)
        if value is None:
            return ()
        if type(value) is not list or not all(type(one) is str for one in value):
            self.fail(name, "must be an array of texts")
        return tuple(value)

    def _nth(self, value: object, name: str, number: int) -> "Node":
        if type(value) is not dict:
            raise self.wrong(f"{self.path(name)}[{number}]", "must be an object")
        return Node(value, (self, name, number), self.wrong)

    def _mistyped(self, name: str, value: object, wanted: type) -> NoReturn:
        self.fail(name, "is missing" if value is None else f"must be {_TYPE_NAMES[wanted]}")
