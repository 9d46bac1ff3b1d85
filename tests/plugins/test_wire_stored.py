"""Which ids of things that a vendor keeps are named by a request and told by an answer (S8): by value."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout_wire import BadJSON, check_json, stored_and_named, stored_by_events, stored_by_reply

RESPONSE = {"id": "resp_1", "object": "response", "output": [{"type": "message", "id": "msg_1"}, {"type": "odd"}]}


def block(**event: Any) -> bytes:
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


@pytest.mark.parametrize(
    ("members", "named"),
    [
        ({}, []),
        ({"previous_response_id": None, "conversation": None, "input": "resp_1"}, []),
        ({"previous_response_id": "resp_1"}, [("previous_response_id", "resp_1")]),
        ({"conversation": "conv_1"}, [("conversation", "conv_1")]),
        ({"conversation": {"id": "conv_1"}}, [("conversation", "conv_1")]),
        ({"input": [{"role": "user"}, {"type": "item_reference", "id": "msg_1"}]}, [("input[1].id", "msg_1")]),
        ({"previous_response_id": 7, "conversation": [], "input": [7, {"type": "item_reference"}]}, []),
    ],
)
def test_what_a_request_names_is_found_with_its_path(members: dict[str, Any], named: list[tuple[str, str]]) -> None:
    assert list(stored_and_named(members)) == named


def test_a_whole_answer_tells_its_id_and_those_of_its_items() -> None:
    assert stored_by_reply(json.dumps(RESPONSE).encode()) == ("resp_1", "msg_1")
    assert stored_by_reply(b'{"object":"response.input_tokens","input_tokens":1}') == ()


@pytest.mark.parametrize("space", ["", " "])
def test_events_tell_them_wherever_they_hold_the_response(space: str) -> None:
    created = block(type="response.created", response={"id": "resp_1", "output": []})
    told = block(type="response.output_text.delta", delta='{"response": {"id": "no"}}')
    done = block(type="response.completed", response=RESPONSE).replace(b": {", b":" + space.encode() + b"{")
    assert stored_by_events(created) == ("resp_1",)
    assert stored_by_events(told) == ()
    assert stored_by_events(created + told + done) == ("resp_1", "resp_1", "msg_1")


def test_a_response_with_an_image_of_several_mebibytes_tells_them_too() -> None:
    image = {"type": "image_generation_call", "id": "ig_1", "result": "x" * (5 << 20)}
    done = block(type="response.completed", response=RESPONSE | {"output": [image]})
    assert stored_by_events(done) == ("resp_1", "ig_1")


@given(st.binary(max_size=80) | st.binary(max_size=60).map(lambda data: b'data: {"response":' + data + b"}\n\n"))
def test_nonsense_tells_nothing_and_raises_nothing(data: bytes) -> None:
    assert all(isinstance(id, str) for id in (*stored_by_events(data), *stored_by_reply(data)))


@pytest.mark.parametrize("name", ["previous_response_id", "conversation", "input", "previous_response\\u005fid"])
def test_a_second_one_is_refused_for_two_readers_may_take_different_ones(name: str) -> None:
    """F11."""
    plain = name.replace("\\u005f", "_")
    with pytest.raises(BadJSON, match="twice"):
        check_json(f'{{"{plain}":"a","{name}":"b"}}'.encode())
