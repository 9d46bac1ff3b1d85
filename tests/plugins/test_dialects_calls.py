"""Calls of tools among the dialects: ids that each vendor takes back, and that a reply with calls says so."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from turnout_dialects import DIALECTS, StreamTranslator, translate_reply, translate_request

CHAT, RESPONSES, MESSAGES, GENERATE = "openai.chat", "openai.responses", "anthropic.messages", "gemini.generate"
META: dict[str, Any] = {"model": "m", "id": "77", "now": 0}
LONG = "call_" + "x" * 80
TAKEN = {MESSAGES: r"[a-zA-Z0-9_-]+", RESPONSES: r".{1,64}", CHAT: r".{1,40}"}
IDS = ["functions.f:0", LONG, LONG + "y", "", "\u00e9", "call_1", "a" * 40, "a" * 64]


def chat(ids: list[str], finish: str = "tool_calls") -> dict[str, Any]:
    calls = [{"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}} for id in ids]
    said = {"role": "assistant", "content": None, "tool_calls": calls}
    return {"choices": [{"index": 0, "message": said, "finish_reason": finish}]}


def ids_in(value: Any) -> list[str]:
    """The ids of calls, as any dialect tells them, in order and once each."""
    found: list[str] = []
    if isinstance(value, dict):
        if "call_id" in value:
            found.append(value["call_id"])
        elif "tool_call_id" in value or "tool_use_id" in value:
            found.append(value.get("tool_call_id") or value["tool_use_id"])
        elif value.get("type") in {"tool_use", "function"} and "id" in value:
            found.append(value["id"])
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return list(dict.fromkeys([*found, *(id for one in below for id in ids_in(one))]))


@pytest.mark.parametrize("target", sorted(TAKEN))
@pytest.mark.parametrize("source", [CHAT, MESSAGES])
def test_ids_go_out_as_the_upstream_takes_them_alike_for_call_and_result(source: str, target: str) -> None:
    if source == target:
        return
    ids = [id for id in IDS if id]
    if source == CHAT:
        results = [{"role": "tool", "tool_call_id": id, "content": "x"} for id in ids]
        body: dict[str, Any] = {"messages": [chat(ids)["choices"][0]["message"], *results]}
    else:
        calls = [{"type": "tool_use", "id": id, "name": "f", "input": {}} for id in ids]
        told = [{"type": "tool_result", "tool_use_id": id, "content": "x"} for id in ids]
        turns = [{"role": "assistant", "content": calls}, {"role": "user", "content": told}]
        body = {"max_tokens": 9, "messages": turns}
    made = json.loads(translate_request(json.dumps(body).encode(), source, target, model="m", stream=False))
    found = ids_in(made)
    assert len(found) == len(ids), "a call and its result have one id, and each call its own"
    assert all(re.fullmatch(TAKEN[target], id) for id in found)
    assert [(old, new) for old, new in zip(ids, found, strict=True) if re.fullmatch(TAKEN[target], old)] == [
        (id, id) for id in ids if re.fullmatch(TAKEN[target], id)
    ]


@pytest.mark.parametrize("target", [MESSAGES, RESPONSES])
def test_ids_come_back_as_the_clients_own_vendor_takes_them_in_replies_and_streams(target: str) -> None:
    reply = chat(IDS)
    whole = ids_in(json.loads(translate_reply(json.dumps(reply).encode(), CHAT, target, **META)))
    assert len(whole) == len(IDS)
    assert all(re.fullmatch(TAKEN[target], id) or not id for id in whole)
    machine = StreamTranslator(CHAT, target, **META)
    made = b""
    for place, call in enumerate(one for one in reply["choices"][0]["message"]["tool_calls"] if one["id"]):
        delta = {"tool_calls": [call | {"index": place}]}
        made += machine.feed(b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta}]}).encode() + b"\n\n")
    made += machine.feed(b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}\n\n') + machine.end()
    events = [json.loads(line[6:]) for line in made.splitlines() if line.startswith(b"data: ")]
    assert ids_in(events) == [new for old, new in zip(IDS, whole, strict=True) if old]


STOPS: dict[str, Callable[[Any], bool]] = {
    MESSAGES: lambda body: body["stop_reason"] == "tool_use",
    RESPONSES: lambda body: any(item["type"] == "function_call" for item in body["output"]),
    GENERATE: lambda body: "functionCall" in body["candidates"][0]["content"]["parts"][-1],
}


@pytest.mark.parametrize("target", sorted(DIALECTS - {CHAT}))
@pytest.mark.parametrize("finish", ["stop", "tool_calls", "function_call", "odd"])
def test_a_chat_with_calls_stopped_for_them_whatever_it_says(finish: str, target: str) -> None:
    """OpenAI says `stop` when a function was chosen by name; look-alikes with any call."""
    made = json.loads(translate_reply(json.dumps(chat(["c"], finish)).encode(), CHAT, target, **META))
    assert STOPS[target](made)


def anthropics_end(delta: dict[str, Any], finish: str) -> bytes:
    machine = StreamTranslator(CHAT, MESSAGES, **META)
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return machine.feed(b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n") + machine.end()


def test_a_stream_with_calls_stopped_for_them_whatever_it_says() -> None:
    calls = [call | {"index": 0} for call in chat(["c"])["choices"][0]["message"]["tool_calls"]]
    assert b'"stop_reason":"tool_use"' in anthropics_end({"tool_calls": calls}, "stop")
    assert b'"stop_reason":"max_tokens"' in anthropics_end({"tool_calls": calls}, "length")


@pytest.mark.parametrize("finish", ["tool_calls", "function_call"])
def test_a_reply_whose_calls_no_other_dialect_has_waits_for_none(finish: str) -> None:
    """Calls of custom tools, and those of the time before tools."""
    body = chat([], finish)
    said = body["choices"][0]["message"]
    said["tool_calls"] = [{"id": "c", "type": "custom", "custom": {"name": "f", "input": "x"}}]
    said["function_call"] = {"name": "f", "arguments": "{}"}
    made = json.loads(translate_reply(json.dumps(body).encode(), CHAT, MESSAGES, **META))
    assert (made["content"], made["stop_reason"]) == ([], "end_turn")
    assert b'"stop_reason":"end_turn"' in anthropics_end({"function_call": said["function_call"]}, finish)
