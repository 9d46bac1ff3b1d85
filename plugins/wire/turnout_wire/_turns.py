"""The Responses API over a websocket: a client's message to the body of a request, and an answer's events to messages.

From "WebSocket Mode" (developers.openai.com/api/docs/guides/websocket-mode) and the client and server events of the
API reference (developers.openai.com/api/reference, resources/responses/methods/connect), both read 2026-11-26: a turn
is a text message `response.create` whose other members are those of the request's body; `stream` is implied,
`background` is not supported, `stream_id` names a lane and comes back in each event of its turn.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from turnout.errors import InvalidAsk
from turnout_wire._answers import HttpAnswer
from turnout_wire._json import check_json
from turnout_wire._shapes import JSON
from turnout_wire._sse import read_event

_CREATE = "response.create"

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

_OURS = ("type", "stream", "stream_id", "background", "generate")
"""Members of a message that the body of a request does not have, or that are set here."""

_LONGEST_LANE = 128


class Turn(NamedTuple):
    """What a client wants next on its socket.

    Attributes:
        body: the body of the same request over HTTP, streaming.
        members: the client's message, decoded.
        lane: the client's name for its lane, empty for none.
    """

    body: bytes
    members: Mapping[str, Any]
    lane: str = ""


def read_turn(message: bytes) -> Turn:
    """A client's message as a turn. Every other member keeps its bytes.

    Raises BadJSON, or InvalidAsk for what no request can be made of: another type of message, `background`, and
    `generate: false`, which asks an upstream for a state that none keeps for requests over HTTP.
    """
    found = check_json(message)
    if found.get("type") != _CREATE:
        raise InvalidAsk(f"type must be {_CREATE!r}: no other message is understood here", argument="type")
    if found.get("background"):
        raise InvalidAsk("background is not supported over a websocket", argument="background")
    if found.get("generate", True) not in (None, True):
        raise InvalidAsk("generate must be true: warming up is not supported here", argument="generate")
    lane = found.get("stream_id") or ""
    if not isinstance(lane, str) or len(lane) > _LONGEST_LANE:
        raise InvalidAsk(f"stream_id must be a text of at most {_LONGEST_LANE} characters", argument="stream_id")
    members = _members(message)
    for name in _OURS:
        members.pop(name, None)
    body = msgspec.json.encode({**members, "stream": True})
    return Turn(body, found, lane)


def socket_event(block: bytes, lane: str = "") -> bytes:
    """The message that a server-sent event becomes: its data, with its lane; empty for a comment or a bare mark."""
    event = read_event(block)
    return _in_lane(event.data, lane) if event is not None and event.data[:1] == b"{" else b""


def socket_error(answer: HttpAnswer, lane: str = "") -> bytes:
    """The error event that says over a websocket what `answer` says over HTTP."""
    told = msgspec.json.decode(answer.body)
    headers = {name: value for name, value in answer.headers.items() if value != JSON}
    error = told["error"] | ({"headers": headers} if headers else {})
    return _in_lane(msgspec.json.encode({"type": "error", "status": answer.status} | told | {"error": error}), lane)


def _in_lane(event: bytes, lane: str) -> bytes:
    if not lane or event[1:64].lstrip()[:1] == b"}":
        return event
    return b'{"stream_id":' + msgspec.json.encode(lane) + b"," + event[1:]
