"""What the Responses API keeps at the vendor: which ids a request names, and which ones an answer tells.

From the reference of the Responses API and its guide on conversation state (developers.openai.com/api/docs, read
2026-11-26): a request goes on from `previous_response_id` or in a `conversation`, and an `item_reference` of its
`input` stands for an item of an earlier response. Responses are kept unless `store` is false.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from turnout_wire._sse import BlockReader, read_event


class _Item(msgspec.Struct):
    id: str | None = None


class _Response(msgspec.Struct):
    id: str | None = None
    output: list[_Item] = []


class _Event(msgspec.Struct):
    response: _Response


_decode_response = msgspec.json.Decoder(_Response).decode
_decode_event = msgspec.json.Decoder(_Event).decode

_HOLDS_A_RESPONSE = b'"response"'
"""In every event that tells a whole response. Inside a text its second quote would follow a backslash."""


def stored_and_named(members: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Path and id of everything that the vendor keeps and a request is about."""
    if isinstance(previous := members.get("previous_response_id"), str):
        yield "previous_response_id", previous
    conversation = members.get("conversation")
    if isinstance(conversation, dict):
        conversation = conversation.get("id")
    if isinstance(conversation, str):
        yield "conversation", conversation
    items = members.get("input")
    for place, item in enumerate(items if isinstance(items, list) else ()):
        if isinstance(item, dict) and item.get("type") == "item_reference" and isinstance(item.get("id"), str):
            yield f"input[{place}].id", item["id"]


def stored_by_reply(body: bytes) -> tuple[str, ...]:
    """Ids of a whole response and of its items; none for what is no response."""
    try:
        return _ids(_decode_response(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ()


def stored_by_events(data: bytes) -> tuple[str, ...]:
    """The same of whole events of a stream; nearly always none, and then nothing is parsed."""
    if _HOLDS_A_RESPONSE not in data:
        return ()
    events = map(read_event, BlockReader.measured().feed(data))
    return tuple(id for event in events if event is not None for id in _told(event.data))


def _told(data: bytes) -> tuple[str, ...]:
    try:
        return _ids(_decode_event(data).response)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ()


def _ids(response: _Response) -> tuple[str, ...]:
    return tuple(id for id in (response.id, *(item.id for item in response.output)) if id)
