"""Streams among the dialects: any valid stream of one is a valid stream of another that says the same (J5)."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spoken_streams import (
    SPEAKERS,
    STOPS,
    USAGES,
    Heard,
    Said,
    anthropic_stream,
    chunk,
    counted,
    gemini_stream,
    replies,
    sse,
)

from turnout_dialects import DIALECTS, BadReply, ErrorEvent, StreamTranslator, Usage, UsageReader, is_payload
from turnout_wire import BlockReader

PAIRS = [(a, b) for a in sorted(DIALECTS) for b in sorted(DIALECTS) if a != b]


def translator(source: str, target: str) -> StreamTranslator:
    return StreamTranslator(source, target, model="m", id="1", now=1_700_000_000.5)


def translated(events: list[bytes], source: str, target: str) -> bytes:
    machine = translator(source, target)
    made = b"".join(map(machine.feed, events))
    made += machine.end()
    assert machine.finished
    assert machine.end() == b""
    assert machine.feed(events[-1]) == b""
    return made


@settings(max_examples=40)
@pytest.mark.parametrize(("source", "target"), PAIRS)
@given(said=replies(), usage=USAGES, draw=st.randoms(use_true_random=False))
def test_any_stream_says_the_same_in_another_dialect(
    source: str, target: str, said: Said, usage: Usage, draw: Any
) -> None:
    """J5: never raises; text, calls and usage preserved; finish exactly once."""
    events = list(SPEAKERS[source](said, usage, lambda turns: draw.sample(turns, len(turns))))
    heard = Heard(translated(events, source, target), target)

    calls = [arguments for kind, _, arguments in said if kind == "call"]
    assert heard.text == "".join(piece for kind, pieces, _ in said if kind == "text" for piece in pieces)
    assert heard.thought == "".join(piece for kind, pieces, _ in said if kind == "thought" for piece in pieces)
    assert sorted(heard.called, key=str) == sorted(
        ((f"id_{place}", f"tool_{place}", arguments) for place, arguments in enumerate(calls)), key=str
    )
    assert heard.stops == [STOPS[target][0 if calls else 1]]
    assert heard.ends == 1
    assert counted(heard.usage, target) == (usage.input, usage.cached, usage.output, usage.reasoning)


@settings(max_examples=25)
@pytest.mark.parametrize(("source", "target"), PAIRS)
@given(said=replies(), usage=USAGES)
def test_there_and_back_again_says_the_same(source: str, target: str, said: Said, usage: Usage) -> None:
    """J5: A to B to A keeps the meaning."""
    events = list(SPEAKERS[source](said, usage, list))
    there = BlockReader().feed(translated(events, source, target))
    back = Heard(translated(there, target, source), source)
    once = Heard(b"".join(events), source) if source in {"anthropic.messages", "gemini.generate"} else None

    assert back.text == "".join(piece for kind, pieces, _ in said if kind == "text" for piece in pieces)
    assert [arguments for *_, arguments in back.called] == [one for kind, _, one in said if kind == "call"]
    assert counted(back.usage, source) == (usage.input, usage.cached, usage.output, usage.reasoning)
    assert back.ends == 1
    if once:
        assert (back.text, back.thought, back.called, back.stops) == (once.text, once.thought, once.called, once.stops)


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_stream_that_is_cut_has_no_end(source: str, target: str) -> None:
    """Design 13: never a fake end."""
    machine = translator(source, target)
    events = list(SPEAKERS[source]([("text", ["a", "b"], {})], Usage(), list))
    for event in events[:2]:
        machine.feed(event)
    with pytest.raises(BadReply, match="ended before"):
        machine.end()


@pytest.mark.parametrize(("source", "target"), PAIRS)
@pytest.mark.parametrize("data", [b"{", b"[1]", b"\xff", b'{"choices":1,"type":1,"candidates":1}', b"<html>"])
def test_a_malformed_event_is_a_bad_reply(source: str, target: str, data: bytes) -> None:
    """B15: malformed is an error, and a named one."""
    with pytest.raises(BadReply):
        translator(source, target).feed(b"data: " + data + b"\n\n")


@settings(max_examples=40)
@pytest.mark.parametrize("source", sorted(DIALECTS))
@given(data=st.data())
def test_mutated_events_never_escape_as_another_error(source: str, data: st.DataObject) -> None:
    """J5, B15, F11: whatever an upstream sends."""
    odd = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=4,
    )
    said: Said = [("thought", ["t"], {}), ("text", ["a", "b"], {}), ("call", ['{"x":', "1}"], {"x": 1})]
    target = data.draw(st.sampled_from(sorted(DIALECTS - {source})))
    machine = translator(source, target)
    try:
        for event in SPEAKERS[source](said, Usage(), list):
            text = event.split(b"data: ", 1)[1].strip()
            if text != b"[DONE]" and data.draw(st.booleans()):
                text = json.dumps(mutated(json.loads(text), data.draw, odd)).encode()
            assert isinstance(is_payload(text, source), bool)
            machine.feed(b"data: " + text + b"\n\n")
        machine.end()
    except BadReply:
        return


def mutated(value: Any, draw: Callable[..., Any], odd: st.SearchStrategy[Any]) -> Any:
    """The same value with one member somewhere replaced."""
    while isinstance(value, dict) and value:
        name = draw(st.sampled_from(sorted(value)))
        if not isinstance(value[name], dict) or draw(st.booleans()):
            return value | {name: draw(odd)}
        return value | {name: mutated(value[name], draw, odd)}
    return draw(odd)


UNKNOWN = {
    "openai.chat": {"object": "chat.completion.chunk", "choices": [{"index": 1, "delta": {"content": "other"}}]},
    "openai.responses": {"type": "response.something.new", "delta": "x"},
    "anthropic.messages": {"type": "something_new", "delta": "x"},
    "gemini.generate": {"somethingNew": 1},
}


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_an_unknown_event_is_dropped(source: str, target: str) -> None:
    """B15: by rule, as vendors add kinds without notice; so are comments and what only names an event."""
    events = list(SPEAKERS[source]([("text", ["a", "b"], {})], Usage(input=1, output=2), list))
    odd = [b": comment\n\n", b"event: ping\n\n", b"data: \n\n", sse(UNKNOWN[source])]
    assert translated([*events[:2], *odd, *events[2:]], source, target) == translated(events, source, target)


@pytest.mark.parametrize("ends", [b"\n", b"\r\n", b"\r"])
def test_events_may_be_framed_as_the_standard_allows(ends: bytes) -> None:
    """B15: a byte order mark, CR alone, no space behind the colon, data on several lines, U+2028 inside."""
    machine = translator("openai.chat", "anthropic.messages")
    text = json.dumps({"choices": [{"index": 0, "delta": {"content": "a\u2028\x85b"}}]}, ensure_ascii=False)
    text = text.replace('"choices"', '\n"choices"')
    block = b"\xef\xbb\xbf" + b"".join(b"data:" + line.encode() + ends for line in text.split("\n")) + ends
    assert "a\u2028\x85b" in machine.feed(block).decode()


@pytest.mark.parametrize("target", sorted(DIALECTS - {"gemini.generate"}))
def test_elements_of_geminis_array_form_are_events_too(target: str) -> None:
    events = [event[6:].strip() for event in gemini_stream([("text", ["a", "b"], {})], Usage(output=3), None)]
    machine = translator("gemini.generate", target)
    framed = [b"[" + events[0], *(b",\r\n" + event for event in events[1:])]
    made = b"".join(map(machine.feed, framed)) + machine.feed(b"]") + machine.end()
    assert Heard(made, target).text == "ab"


ERRORS = {
    "openai.chat": {"error": {"message": "no", "code": 500}},
    "openai.responses": {"type": "response.failed", "response": {"error": {"message": "no", "code": "server_error"}}},
    "anthropic.messages": {"type": "error", "error": {"message": "no", "type": "overloaded_error"}},
    "gemini.generate": {"error": {"message": "no", "code": 503}},
}


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_an_upstreams_error_is_told_as_one(source: str, target: str) -> None:
    machine = translator(source, target)
    machine.feed(next(SPEAKERS[source]([("text", ["a"], {})], Usage(), list)))
    with pytest.raises(ErrorEvent) as caught:
        machine.feed(sse(ERRORS[source]))
    assert caught.value.error["message"] == "no"
    assert "no" not in str(caught.value).split()


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_payload_is_told_by_meaning(source: str, target: str) -> None:
    """Design 2: content, a call, reasoning or the finish; openings, pings and usage are none."""
    events = list(SPEAKERS[source]([("text", ["a"], {})], Usage(), list))
    machine = translator(source, target)
    told = []
    for event in events:
        machine.feed(event)
        told.append(machine.payload)
        assert machine.payload == is_payload(event, source)
    opening = {"openai.chat": 1, "openai.responses": 2, "anthropic.messages": 3, "gemini.generate": 0}[source]
    assert told[:opening] == [False] * opening
    assert told[opening]
    assert not machine.feed(b": ping\n\n")
    assert not machine.payload
    assert not is_payload(b"data: {\n\n", source)


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_usage_is_read_from_a_stream_that_passes_through(dialect: str) -> None:
    usage = Usage(input=10, cached=4, output=7, reasoning=2)
    reader = UsageReader(dialect)
    assert reader.usage is None
    for event in SPEAKERS[dialect]([("text", ["a"], {})], usage, list):
        reader.feed(event)
    reader.feed(b'data: {"usage": broken}\n\n')
    assert reader.usage == usage


def test_calls_one_after_another_do_not_wait() -> None:
    """The usual case: the arguments of each call go on as they come, and a call ends as the next begins."""
    machine = translator("openai.chat", "anthropic.messages")
    made = []
    for index in (0, 1):
        call = {"index": index, "id": f"c{index}", "type": "function", "function": {"name": "f", "arguments": ""}}
        made.append(machine.feed(chunk({"tool_calls": [call]})))
        made.extend(
            machine.feed(chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}))
            for piece in ('{"a":', "1}")
        )
    assert all(made)
    assert b"content_block_stop" in made[3]


def test_look_alikes_may_leave_out_the_index_or_repeat_it() -> None:
    whole = [
        {
            "id": f"c{place}",
            "index": 0,
            "type": "function",
            "function": {"name": "f", "arguments": json.dumps({"a": place})},
        }
        for place in range(2)
    ]
    events = [chunk({"tool_calls": [one]}) for one in whole] + [chunk({}, "tool_calls"), b"data: [DONE]\n\n"]
    heard = Heard(translated(events, "openai.chat", "gemini.generate"), "gemini.generate")
    assert heard.called == [("c0", "f", {"a": 0}), ("c1", "f", {"a": 1})]


def test_a_call_cut_at_the_limit_is_left_out_where_arguments_are_objects() -> None:
    call = {"id": "c", "index": 0, "type": "function", "function": {"name": "f", "arguments": '{"a":'}}
    events = [chunk({"content": "x"}), chunk({"tool_calls": [call]}), chunk({}, "length"), b"data: [DONE]\n\n"]
    heard = Heard(translated(events, "openai.chat", "gemini.generate"), "gemini.generate")
    assert (heard.text, heard.called, heard.stops) == ("x", [], ["MAX_TOKENS"])
    anthropic = translated(events, "openai.chat", "anthropic.messages")
    assert b'"partial_json":"{\\"a\\":"' in anthropic
    assert b'"stop_reason":"max_tokens"' in anthropic


def test_usage_is_an_event_of_its_own_when_asked_for() -> None:
    events = list(gemini_stream([("text", ["a"], {})], Usage(input=1, output=2), None))
    machine = StreamTranslator("gemini.generate", "openai.chat", model="m", id="1", now=0, include_usage=True)
    blocks = BlockReader().feed(b"".join(map(machine.feed, events)) + machine.end())
    last = [json.loads(block[6:]) for block in blocks[-3:-1]]
    assert (last[0]["choices"][0]["finish_reason"], last[0]["usage"]) == ("stop", None)
    assert (last[1]["choices"], last[1]["usage"]["total_tokens"]) == ([], 3)


def test_a_refusal_is_told_as_each_vendor_does() -> None:
    events = [chunk({"refusal": "I "}), chunk({"refusal": "won't"}), chunk({}, "stop"), b"data: [DONE]\n\n"]
    anthropic = translated(events, "openai.chat", "anthropic.messages")
    responses = translated(events, "openai.chat", "openai.responses")
    assert b'"stop_reason":"refusal"' in anthropic
    assert Heard(anthropic, "anthropic.messages").text == "I won't"
    assert b'"refusal":"I won\'t"' in responses
    assert Heard(responses, "openai.responses").stops == ["completed"]
    back = translated(BlockReader().feed(responses), "openai.responses", "openai.chat")
    assert b'"refusal":"I "' in back
    assert b'"finish_reason":"stop"' in back


def test_a_blocked_prompt_is_a_filtered_reply() -> None:
    event = sse({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 3}})
    assert b'"finish_reason":"content_filter"' in translated([event], "gemini.generate", "openai.chat")
    assert b'"stop_reason":"refusal"' in translated([event], "gemini.generate", "anthropic.messages")
    assert b'"reason":"content_filter"' in translated([event], "gemini.generate", "openai.responses")


def test_signatures_travel_with_the_stream() -> None:
    said: Said = [("thought", ["hm"], {}), ("call", ["{}"], {})]
    events = list(anthropic_stream(said, Usage(), None))
    responses = translated(events, "anthropic.messages", "openai.responses")
    assert b"c2ln" in translated(BlockReader().feed(responses), "openai.responses", "anthropic.messages")
    assert b'"c2ln"' not in responses
    gemini = translated(events, "anthropic.messages", "gemini.generate")
    assert b'"c2ln"' not in gemini
    assert b'"signature":"c2ln"' in translated(BlockReader().feed(gemini), "gemini.generate", "anthropic.messages")


def test_log_probabilities_are_carried_in_a_stream() -> None:
    token = {"token": "x", "logprob": -0.5, "bytes": [120], "top_logprobs": []}
    choice = {"index": 0, "delta": {"content": "x"}, "logprobs": {"content": [token]}, "finish_reason": None}
    events = [sse({"choices": [choice]}), chunk({}, "stop"), b"data: [DONE]\n\n"]
    gemini = translated(events, "openai.chat", "gemini.generate")
    assert b'"chosenCandidates":[{"token":"x","logProbability":-0.5}]' in gemini
    assert b'"logprobs":[{"token":"x","logprob":-0.5,' in translated(events, "openai.chat", "openai.responses")
    back = translated(BlockReader().feed(gemini), "gemini.generate", "openai.chat")
    assert b'"logprobs":{"content":[{"token":"x","logprob":-0.5,' in back


def test_text_inside_an_unfinished_call_waits_for_it() -> None:
    """However much waits, each event is cheap; all of it comes, in order."""
    call = {"id": "c", "index": 0, "type": "function", "function": {"name": "f", "arguments": '{"a":'}}
    rest = {"index": 0, "function": {"arguments": "1}"}}
    texts = [chunk({"content": f"{place} "}) for place in range(3000)]
    events = [chunk({"tool_calls": [call]}), *texts, chunk({"tool_calls": [rest]}), chunk({}, "tool_calls")]
    heard = Heard(translated([*events, b"data: [DONE]\n\n"], "openai.chat", "anthropic.messages"), "anthropic.messages")
    assert heard.called == [("c", "f", {"a": 1})]
    assert heard.text == "".join(f"{place} " for place in range(3000))
