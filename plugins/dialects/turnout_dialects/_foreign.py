"""What other vendors thought or signed, taken out of a request that stays in its own dialect.

A client keeps what this library handed to it, and its next request may go to the vendor whose dialect it speaks. That
vendor refuses signatures that it did not make. All else of the body stays as it was written: only what holds a seal is
read, the rest is copied byte by byte.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Raw

from turnout_dialects._chat_request_write import keeps_signatures
from turnout_dialects._form import ANTHROPIC, CHAT, GEMINI, RESPONSES
from turnout_dialects._gemini_parts import UNSIGNED
from turnout_dialects._seal import MARK, is_sealed, unseal

_Members = dict[str, Raw]

_encode = msgspec.json.encode
_read = msgspec.json.Decoder().decode
_read_members = msgspec.json.Decoder(_Members).decode
_read_items = msgspec.json.Decoder(list[Raw]).decode

_THOUGHTS = {"thinking": "signature", "redacted_thinking": "data"}
_SIGNATURES = ("thoughtSignature", "thought_signature")
_CALLS = ("functionCall", "function_call")
_EMPTY_TEXT = {"text": Raw(b'""')}

_GOOGLES = b'"thought_signature"'
"""What a chat calls a signature of Google's: it keeps no others, and this one in the open."""


def may_hold_foreign(body: bytes, dialect: str, model: str) -> bool:
    """Whether a request for a model may hold what is not its vendor's: the one look that is taken at every body."""
    if dialect == CHAT:
        # `rfind`: half of the time for what is not there (CPython 3.11 to 3.13)
        return body.rfind(_GOOGLES) >= 0 and not keeps_signatures(model)
    return dialect in _CLEANERS and MARK in body


def without_foreign(body: bytes, dialect: str) -> bytes:
    """The request without what other vendors or nobody signed; seals around the vendor's own signatures are opened.

    A body that is no JSON object comes back as it is: its vendor says what is wrong with it.
    """
    try:
        members = _read_members(body)
        _CLEANERS[dialect](members)
        return _encode(members)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body


def _anthropic(body: _Members) -> None:
    before = _seals(body, "messages")
    _each(body, "messages", lambda message: _without(message, "content", _block))
    thinking = body.get("thinking", _NOTHING)
    # A budget insists that the model's last turn begins with what it thought, while its calls are being answered
    # (`platform.claude.com/docs/en/build-with-claude/extended-thinking`, read 2026-11-26).
    if _seals(body, "messages") < before and _kind(thinking) == "enabled" and _lacks_thought(body["messages"]):
        del body["thinking"]


def _block(raw: Raw) -> Raw | None:
    name = _THOUGHTS.get(_kind(raw) or "")
    return _opened(raw, name, ANTHROPIC) if name else raw


def _lacks_thought(messages: Raw) -> bool:
    """Whether the model's last turn begins with no thought, and a result of a call stands behind it."""
    first: object = "thinking"
    answered = False
    for message in map(_read, _read_items(messages)):
        content = message.get("content") if isinstance(message, dict) else None
        kinds = [one.get("type") for one in content if isinstance(one, dict)] if isinstance(content, list) else []
        if isinstance(message, dict) and message.get("role") == "assistant":
            first, answered = kinds[0] if kinds else "text", False
        elif "tool_result" in kinds:
            answered = True
    return answered and first not in tuple(_THOUGHTS)


def _chat(body: _Members) -> None:
    _each(body, "messages", _message, _GOOGLES)


def _message(raw: Raw) -> Raw:
    """A message, or a call in one, without signatures."""
    members = _read_members(raw)
    _unsign(members)
    _each(members, "tool_calls", _message, _GOOGLES)
    return _raw(members)


def _unsign(holder: _Members) -> None:
    """Take out Google's signature; the objects around it stay when something else is in them."""
    extra = _members_of(holder, "extra_content")
    for vendor in ("google", "vertex"):
        signed = _members_of(extra, vendor)
        if signed.pop("thought_signature", None) is not None:
            extra[vendor] = _raw(signed)
            if not signed:
                del extra[vendor]
            holder["extra_content"] = _raw(extra)
            if not extra:
                del holder["extra_content"]


def _members_of(holder: _Members, name: str) -> _Members:
    found = holder.get(name, _NOTHING)
    return _read_members(found) if _is_object(found) else {}


def _responses(body: _Members) -> None:
    _each(body, "input", _item)


def _item(raw: Raw) -> Raw | None:
    return _opened(raw, "encrypted_content", RESPONSES) if _kind(raw) == "reasoning" else raw


def _gemini(body: _Members) -> None:
    _each(body, "contents", lambda content: _with_parts(_read_members(content)))


def _with_parts(content: _Members) -> Raw | None:
    """A content whose seals are gone, None when nothing else was in it.

    A signature stands on the part behind the thoughts that it signs. The first call of a turn must have one
    (`ai.google.dev/gemini-api/docs/thought-signatures`, read 2026-11-23).
    """
    listed = content.get("parts", _NOTHING)
    if not _is_array(listed) or not all(map(_is_object, _read_items(listed))):
        return _raw(content)
    parts = [_read_members(part) for part in _read_items(listed)]
    first = next((part for part in parts if any(name in part for name in _CALLS)), None)
    kept: list[_Members] = []
    foreign = False
    for part in reversed(parts):
        thought = _value(part, "thought") is True
        name = next((name for name in _SIGNATURES if is_sealed(_value(part, name))), None)
        if name is not None:
            found = unseal(_read(part[name]), GEMINI)
            foreign = found is None or found.origin != GEMINI
            if found is not None and not foreign:
                part[name] = _raw(found.value)
            elif part is first:
                part[name] = _raw(UNSIGNED)
            else:
                del part[name]
        elif not thought or any(one in part for one in _SIGNATURES):
            foreign = False
        if not (foreign and (thought or part == _EMPTY_TEXT)):
            kept.append(part)
    content["parts"] = _raw(kept[::-1])
    return _raw(content) if kept else None


def _opened(raw: Raw, name: str, dialect: str) -> Raw | None:
    """An object with its vendor's own signature, None when it is another's or nobody's."""
    members = _read_members(raw)
    value = _value(members, name)
    if not is_sealed(value):
        return raw
    found = unseal(value, dialect)
    if found is None or found.origin != dialect:
        return None
    members[name] = _raw(found.value)
    return _raw(members)


def _without(raw: Raw, name: str, change: Callable[[Raw], Raw | None]) -> Raw | None:
    """An object with the elements of an array changed, None when none of them is left."""
    members = _read_members(raw)
    return _raw(members) if _each(members, name, change) else None


def _each(holder: _Members, name: str, change: Callable[[Raw], Raw | None], mark: bytes = MARK) -> bool:
    """Change the objects of an array that hold a mark; None takes one out. False when that leaves none."""
    listed = holder.get(name, _NOTHING)
    if not _is_array(listed):
        return True
    changed = (change(one) if mark in bytes(one) and _is_object(one) else one for one in _read_items(listed))
    kept = [one for one in changed if one is not None]
    holder[name] = _raw(kept)
    return bool(kept)


def _seals(holder: _Members, name: str) -> int:
    return bytes(holder.get(name, _NOTHING)).count(MARK)


def _kind(raw: Raw) -> str | None:
    """The `type` of an object, None when it has none or is no object."""
    kind = _value(_read_members(raw), "type") if _is_object(raw) else None
    return kind if isinstance(kind, str) else None


def _value(members: Mapping[str, Raw], name: str) -> Any:
    found = members.get(name)
    return None if found is None else _read(found)


def _raw(value: object) -> Raw:
    return Raw(_encode(value))


def _is_object(raw: Raw) -> bool:
    return bytes(raw)[:1] == b"{"


def _is_array(raw: Raw) -> bool:
    return bytes(raw)[:1] == b"["


_NOTHING = Raw(b"null")
_CLEANERS: Mapping[str, Callable[[_Members], None]] = {
    CHAT: _chat,
    ANTHROPIC: _anthropic,
    RESPONSES: _responses,
    GEMINI: _gemini,
}
