"""Judge a request body without keeping it: one strict decode, and the few members that routing needs.

The body travels on as the bytes that came; the decoded form is thrown away. Two readers must never understand one body
differently, so whatever readers are known to disagree on is refused: a name that occurs twice, numbers beyond every
range, half surrogates, bytes that are no UTF-8, nesting that no stack survives (C-9, pitfall F11).
"""

import gc
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import msgspec

from turnout.errors import InvalidAsk

_Decoded = TypeVar("_Decoded")

_NONE: Mapping[str, str] = MappingProxyType({})

_decode = msgspec.json.Decoder().decode


class _Key:
    """What msgspec is told to decode the names at the top level into, so that it calls its hook for each."""

    __slots__ = ()


class _Name(_Key, msgspec.Struct, eq=False, gc=False):
    """A member's name that equals no other one, so that a dict of members keeps the second of two alike as well."""

    kind: type
    text: str


# Only the names at the top level are made by the hook: everything below is decoded as ever. Searching the bytes for a
# second `model`, `stream` or an escape in them took three passes: 500 µs of a body of 300 KB, 3 of one of 1 KB.
# The class is its own hook, since a function that made a name cost as much again: a tenth of the decoding of 1 KB.
_decode_members: Callable[[bytes], dict[_Name, Any]]
_decode_members = msgspec.json.Decoder(dict[_Key, Any], dec_hook=_Name).decode  # type: ignore[assignment]


class _Named(msgspec.Struct):
    model: Any = None


LARGE = 64 * 1024
"""Bytes of a body above which the cycle collector rests while it is decoded."""

_decode_model = msgspec.json.Decoder(_Named).decode

_PLACE = re.compile(r"\s*\(byte (\d+)\)$")
_VALUE = re.compile(rb'\s*:\s*("[^"\\]*+(?:\\.[^"\\]*+)*+")', re.DOTALL)
_SPACE = re.compile(r"[ \t\n\r]*")
_read_value = json.JSONDecoder().raw_decode

_LONGEST_MODEL = 512


class BadJSON(InvalidAsk):
    """A body that is not sound JSON.

    Attributes:
        offset: byte where it goes wrong, None when the reader cannot tell.
    """

    def __init__(self, reason: str, *, offset: int | None = None) -> None:
        place = "" if offset is None else f" at byte {offset}"
        super().__init__(f"the body is not sound JSON{place}: {reason}", argument="body")
        self.offset = offset


class Peek(NamedTuple):
    """What routing needs of a request body.

    Attributes:
        stream: False when the body does not say.
        texts: the members that were asked for and are texts, by name; for affinity.
        members: the whole object, for who must know more.
    """

    model: str
    stream: bool
    texts: Mapping[str, str]
    members: Mapping[str, Any]


class Span(NamedTuple):
    """Bytes `start` to `end` (exclusive) of a body."""

    start: int
    end: int


def peek(body: bytes, *, texts: tuple[str, ...] = ()) -> Peek:
    """Check a request body and give its `model`, `stream` and the `texts` that it has.

    Names in `texts` are those of top-level members, or `NAME.INNER` for a member of an object there.

    Raises BadJSON for what is not sound JSON, InvalidAsk for a body without a usable `model`. A mebibyte of texts takes
    a millisecond, one of small values 100; a thread would hold up the others as long. The decoded body may take twenty
    times the body's bytes: do not keep what this gives.
    """
    found = check_json(body)
    return Peek(
        _model(found.get("model")),
        _flag(found.get("stream"), "stream"),
        texts_in(found, texts) if texts else _NONE,
        found,
    )


def texts_in(found: Mapping[str, Any], names: tuple[str, ...]) -> Mapping[str, str]:
    """Those of the named members that are texts and not empty; `NAME.INNER` is a member of an object."""
    if _outer(names).isdisjoint(found):  # as in nearly every request
        return _NONE
    texts = {}
    for name, outer, inner in _places(names):
        if outer in found:
            value = found[outer]
            if inner:
                value = value.get(inner) if isinstance(value, dict) else None
            if isinstance(value, str) and value:
                texts[name] = value
    return texts


@lru_cache(maxsize=16)
def _places(names: tuple[str, ...]) -> tuple[tuple[str, str, str], ...]:
    """The names, each with the member that it speaks of and the one in it, which is empty for the member itself."""
    split = ((name, *name.partition(".")) for name in names)
    return tuple((name, outer, inner) for name, outer, _, inner in split)


@lru_cache(maxsize=16)
def _outer(names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(outer for _, outer, _ in _places(names))


def check_json(body: bytes) -> dict[str, Any]:
    """The object that a body holds. Raises BadJSON for no sound JSON object, and for two of a member that is judged."""
    try:
        members = _decode_at_rest(_decode_members, body)
    except msgspec.ValidationError:
        raise _no_object(body) from None
    except msgspec.DecodeError as exc:
        raise _bad(str(exc), body) from None
    except UnicodeDecodeError:
        raise BadJSON("it is not UTF-8", offset=_first_bad_byte(body)) from None
    except RecursionError:
        raise BadJSON("it is nested too deeply") from None
    found: dict[str, Any] = {name.text: value for name, value in members.items()}
    if len(found) < len(members):
        _refuse_twice([name.text for name in members])
    return found


def _decode_at_rest(decode: Callable[[bytes], _Decoded], body: bytes) -> _Decoded:
    """Decode without the cycle collector: JSON has no cycles, and it took 0.27 s of 0.30 for half a million lists."""
    if len(body) < LARGE or not gc.isenabled():
        return decode(body)
    gc.disable()
    try:
        return decode(body)
    finally:
        gc.enable()


def with_model(body: bytes, model: str) -> bytes:
    """The same body with another top-level `model`; every other byte stays as it is.

    `body` has passed `check_json`. A body without a textual `model` is refused with InvalidAsk.
    """
    try:
        span = _model_span(body)
    except RecursionError:
        raise BadJSON("it is nested too deeply") from None
    if span is None:
        raise InvalidAsk("model is missing", argument="model")
    return b"".join((body[: span.start], msgspec.json.encode(model), body[span.end :]))


def _model(value: object) -> str:
    if value is None:
        raise InvalidAsk("model is missing: name the model to use", argument="model")
    if not isinstance(value, str) or not value.strip():
        raise InvalidAsk("model must be a non-blank text", argument="model")
    if len(value) > _LONGEST_MODEL or not value.isprintable():
        raise InvalidAsk(f"model must be at most {_LONGEST_MODEL} printable characters", argument="model")
    return value


def _flag(value: object, name: str) -> bool:
    if value is None or value is True or value is False:
        return bool(value)
    raise InvalidAsk(f"{name} must be true or false", argument=name)


def _bad(text: str, body: bytes) -> BadJSON:
    if (place := _PLACE.search(text)) is not None:
        return BadJSON(text[: place.start()].removeprefix("JSON is malformed: "), offset=int(place[1]))
    if "truncated" in text:
        return BadJSON(
            "it ends too early, or a text ends in half a surrogate pair" if body else "it is empty", offset=len(body)
        )
    return BadJSON("a number is out of range" if "out of range" in text else "it cannot be read")


def _first_bad_byte(body: bytes) -> int | None:
    try:
        body.decode()
    except UnicodeDecodeError as exc:
        return exc.start
    return None


def _no_object(body: bytes) -> BadJSON:
    """What is wrong with a body that is no object: first of all it may be no JSON."""
    try:
        _decode_at_rest(_decode, body)
    except msgspec.DecodeError as exc:
        return _bad(str(exc), body)
    except UnicodeDecodeError:
        return BadJSON("it is not UTF-8", offset=_first_bad_byte(body))
    except RecursionError:
        return BadJSON("it is nested too deeply")
    return BadJSON("its top level must be an object", offset=0)


def _refuse_twice(names: Sequence[str]) -> None:
    """Refuse a second one of the top-level members that are judged here, however it is spelled."""
    for name in ("model", "stream", "previous_response_id", "conversation", "input"):
        if names.count(name) > 1:
            raise BadJSON(f"{name!r} is given twice")


def _at_most_once(body: bytes, name: bytes) -> bool:
    # Two searches that usually meet near the start: two thirds of the time of counting.
    first = body.find(name)
    return first < 0 or body.rfind(name) == first


def _spells_letters(body: bytes) -> bool:
    # `rfind` takes half of the time of `in`, or two thirds, for what is not there: 0.1 ms of a body of 300 KB
    return b"\\" in body and body.rfind(b"\\u00") >= 0 and max(body.rfind(b"\\u006"), body.rfind(b"\\u007")) >= 0


def _model_span(body: bytes) -> Span | None:
    """Where the text of the top-level `model` is, quotes included; None when there is none.

    A body that spells the name once, and has it at the top level, spells it there.
    """
    if b'"model"' in body and _at_most_once(body, b'"model"') and not _spells_letters(body):
        if not isinstance(_decode_model(body).model, str):
            return None
        value = _VALUE.match(body, body.find(b'"model"') + len(b'"model"'))
        return Span(*value.span(1)) if value else None
    text = body.decode()
    spans = [span for name, value, span in _members(text) if name == "model" and isinstance(value, str)]
    return Span(*(len(text[:place].encode()) for place in spans[-1])) if spans else None


def _members(text: str) -> Iterator[tuple[str, object, Span]]:
    """The top-level members of a sound JSON object: name, value, and the characters of the value."""
    place = _after_space(text, text.index("{") + 1)
    while text[place] != "}":
        name, place = _read_value(text, place)
        start = _after_space(text, _after_space(text, place) + 1)  # over the colon
        value, end = _read_value(text, start)
        yield name, value, Span(start, end)
        place = _after_space(text, end)
        if text[place] == ",":
            place = _after_space(text, place + 1)


def _after_space(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    return found.end() if found else place
