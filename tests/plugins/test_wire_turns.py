"""Messages over a websocket to request bodies, and events to messages: by value."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.errors import InvalidAsk
from turnout_wire import (
    CODES,
    BadJSON,
    peek,
    read_turn,
    refusal,
    socket_error,
    socket_event,
)

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), values, max_size=5), st.text(max_size=40), st.booleans())
def test_a_turn_is_the_message_less_what_belongs_to_the_socket(
    members: dict[str, Any], lane: str, ascii_: bool
) -> None:
    own = {"type": "response.create", "model": "m"} | ({"stream_id": lane} if lane else {})
    for name in ("stream", "background", "generate", "previous_response_id", "stream_id"):
        members.pop(name, None)
    message = json.dumps(members | own, ensure_ascii=ascii_).encode("utf-8", "surrogatepass")

    turn = read_turn(message)

    members.pop("type", None)
    assert json.loads(turn.body) == members | {"model": "m", "stream": True}
    assert turn.lane == lane
    assert turn.members == json.loads(message)
    assert peek(turn.body).stream


def test_members_keep_their_bytes() -> None:
    body = read_turn(b'{"type":"response.create","model":"m","seed":1.50e2 ,"text": "\\u00fc\\/"}').body

    assert body == b'{"model":"m","seed":1.50e2,"text":"\\u00fc\\/","stream":true}'


@pytest.mark.parametrize(
    ("message", "body"),
    [
        (b'{"type":"response.create","stream":false,"generate":true}', b'{"stream":true}'),
        (b'{"type":"response.create","background":null,"stream_id":null}', b'{"stream":true}'),
        (
            b'{"type":"response.create","previous_response_id":"r","stream_id":"l"}',
            b'{"previous_response_id":"r","stream":true}',
        ),
    ],
)
def test_what_is_implied_may_be_said(message: bytes, body: bytes) -> None:
    assert read_turn(message).body == body


@given(st.binary(max_size=60) | values.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass")))
def test_no_message_does_worse_than_being_refused(message: bytes) -> None:
    """J1: nothing but a turn or an error about the client comes of it."""
    with pytest.raises(InvalidAsk):
        read_turn(message)


@pytest.mark.parametrize("message", [b'{"type":"response.create","model":1,"model":2}', b"\xff", b"", b"{}x"])
def test_what_is_no_sound_json_is_refused(message: bytes) -> None:
    with pytest.raises(BadJSON):
        read_turn(message)


@pytest.mark.parametrize("lane", ["", "a", 'quo"te', "\u2028"])
@pytest.mark.parametrize("data", [b'{"type":"x","n":1}', b"{}", b"{ }", b'{\n"type":"x"}'])
def test_an_event_becomes_its_data_with_its_lane(data: bytes, lane: str) -> None:
    block = b"event: x\n" + b"".join(b"data: " + line + b"\n" for line in data.split(b"\n")) + b"\n"

    event = socket_event(block, lane)

    found = json.loads(event)
    assert found == json.loads(data) | ({"stream_id": lane} if lane and json.loads(data) else {})
    assert lane or event == data


@pytest.mark.parametrize("block", [b": ping\n\n", b"\n\n", b"data: [DONE]\n\n", b"event: x\n\n", b"data\n\n"])
def test_what_is_no_event_becomes_no_message(block: bytes) -> None:
    assert socket_event(block, "lane") == b""


@pytest.mark.parametrize("code", CODES)
def test_an_error_event_says_what_the_answer_says(code: str) -> None:
    answer = refusal(code, "why", "openai.responses", request_id="q", retry_after=3.0 if CODES[code] == 429 else None)

    told = json.loads(socket_error(answer, "lane"))

    assert (told["type"], told["status"], told["stream_id"], told["request_id"]) == ("error", CODES[code], "lane", "q")
    assert (told["error"]["code"], told["error"]["message"]) == (code, "why")
    assert told["error"].get("headers", {}).get("retry-after") == answer.headers.get("retry-after")
