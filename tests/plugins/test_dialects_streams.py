"""Streams among the dialects: any valid stream of one is a valid stream of another that says the same (J5)."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from turnout_dialects import DIALECTS, BadReply, ErrorEvent, StreamTranslator, Usage, UsageReader, is_payload
from turnout_wire import BlockReader

PAIRS = [(a, b) for a in sorted(DIALECTS) for b in sorted(DIALECTS) if a != b]
RESPONSE_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
PIECE = st.tuples(st.sampled_from(["thought", "text", "call"]), st.lists(st.text(min_size=1, max_size=5), max_size=4))
ARGUMENTS = st.dictionaries(st.text(max_size=3), st.integers(-5, 5) | st.text(max_size=3) | st.none(), max_size=3)

# A reply: what was thought, said and called, in order; each with the pieces in which it is told.
Said = list[tuple[str, list[str], dict[str, Any]]]


@st.composite
def replies(draw: st.DrawFn) -> Said:
    said = []
    for kind, drawn in draw(st.lists(PIECE, max_size=5)):
        pieces, arguments = drawn, draw(ARGUMENTS) if kind == "call" else {}
        if kind == "call":
            text = json.dumps(arguments)
            cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=3)))
            pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        said.append((kind, pieces, arguments))
    return said


USAGES = st.builds(
    lambda cached, fresh, reasoning, visible: Usage(
        input=cached + fresh, cached=cached, output=reasoning + visible, reasoning=reasoning
    ),
    *[st.integers(0, 1000)] * 4,
)


def sse(data: Any, name: str = "") -> bytes:
    return (f"event: {name}\n" if name else "").encode() + b"data: " + json.dumps(data).encode() + b"\n\n"


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return sse({"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [choice], **more})


def chat_stream(said: Said, usage: Usage, shuffle: Callable[[list[Any]], list[Any]]) -> Iterator[bytes]:
    """A chat tells thoughts, then text, then calls, whose deltas may come in any mixture."""
    yield chunk({"role": "assistant", "content": ""})
    for kind, member in (("thought", "reasoning_content"), ("text", "content")):
        for piece in (piece for one, pieces, _ in said if one == kind for piece in pieces):
            yield chunk({member: piece})
    calls = [pieces for kind, pieces, _ in said if kind == "call"]
    turns = shuffle([place for place, pieces in enumerate(calls) for _ in pieces])
    begun: dict[int, int] = {}
    for place in turns:
        call: dict[str, Any] = {"index": place, "function": {"arguments": calls[place][begun.get(place, 0)]}}
        if place not in begun:
            call |= {"id": f"id_{place}", "type": "function"}
            call["function"]["name"] = f"tool_{place}"
        begun[place] = begun.get(place, 0) + 1
        yield chunk({"tool_calls": [call]})
    yield chunk({}, "tool_calls" if calls else "stop")
    told = {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.total,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }
    yield sse({"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [], "usage": told})
    yield b"data: [DONE]\n\n"


def anthropic_stream(said: Said, usage: Usage, _: object) -> Iterator[bytes]:
    start = {"input_tokens": usage.input - usage.cached, "cache_read_input_tokens": usage.cached, "output_tokens": 1}
    yield sse({"type": "message_start", "message": {"id": "msg_1", "content": [], "usage": start}}, "message_start")
    yield sse({"type": "ping"}, "ping")
    calls = 0
    for index, (kind, pieces, _arguments) in enumerate(said):
        block: dict[str, Any] = {"type": "text", "text": ""}
        if kind == "thought":
            block = {"type": "thinking", "thinking": "", "signature": ""}
        elif kind == "call":
            block = {"type": "tool_use", "id": f"id_{calls}", "name": f"tool_{calls}", "input": {}}
            calls += 1
        yield sse({"type": "content_block_start", "index": index, "content_block": block}, "content_block_start")
        for piece in pieces:
            more = {"type": "text_delta", "text": piece}
            if kind == "thought":
                more = {"type": "thinking_delta", "thinking": piece}
            elif kind == "call":
                more = {"type": "input_json_delta", "partial_json": piece}
            yield sse({"type": "content_block_delta", "index": index, "delta": more}, "content_block_delta")
        if kind == "thought":
            signed = {"type": "signature_delta", "signature": "c2ln"}
            yield sse({"type": "content_block_delta", "index": index, "delta": signed}, "content_block_delta")
        yield sse({"type": "content_block_stop", "index": index}, "content_block_stop")
    told = {"output_tokens": usage.output, "output_tokens_details": {"thinking_tokens": usage.reasoning}}
    delta: dict[str, Any] = {"stop_reason": "tool_use" if calls else "end_turn", "stop_sequence": None}
    yield sse({"type": "message_delta", "delta": delta, "usage": told}, "message_delta")
    yield sse({"type": "message_stop"}, "message_stop")


def responses_stream(said: Said, usage: Usage, _: object) -> Iterator[bytes]:
    def event(kind: str, **members: Any) -> bytes:
        return sse({"type": kind, "sequence_number": 0} | members, kind)

    yield event("response.created", response={"id": "resp_1", "status": "in_progress", "output": []})
    calls = 0
    for index, (kind, pieces, _arguments) in enumerate(said):
        text = "".join(pieces)
        place = {"output_index": index, "item_id": f"item_{index}"}
        if kind == "call":
            call = {"type": "function_call", "call_id": f"id_{calls}", "name": f"tool_{calls}"}
            calls += 1
            yield event("response.output_item.added", output_index=index, item=call | {"arguments": ""})
            for piece in pieces:
                yield event("response.function_call_arguments.delta", **place, delta=piece)
            yield event("response.function_call_arguments.done", **place, arguments=text)
            yield event("response.output_item.done", output_index=index, item=call | {"arguments": text})
        elif kind == "thought":
            item: dict[str, Any] = {"type": "reasoning", "id": f"rs_{index}", "summary": []}
            yield event("response.output_item.added", output_index=index, item=item)
            for piece in pieces:
                yield event("response.reasoning_summary_text.delta", **place, summary_index=0, delta=piece)
            done = item | {"encrypted_content": "sealed", "summary": [{"type": "summary_text", "text": text}]}
            yield event("response.output_item.done", output_index=index, item=done)
        else:
            item = {"type": "message", "id": f"msg_{index}", "role": "assistant", "content": []}
            yield event("response.output_item.added", output_index=index, item=item)
            for piece in pieces:
                yield event("response.output_text.delta", **place, content_index=0, delta=piece, logprobs=[])
            yield event("response.output_item.done", output_index=index, item=item)
    told = {
        "input_tokens": usage.input,
        "output_tokens": usage.output,
        "total_tokens": usage.total,
        "input_tokens_details": {"cached_tokens": usage.cached},
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
    }
    yield event("response.completed", response={"id": "resp_1", "status": "completed", "output": [], "usage": told})


def gemini_stream(said: Said, usage: Usage, _: object) -> Iterator[bytes]:
    def event(*parts: dict[str, Any], **more: Any) -> bytes:
        return sse({"candidates": [{"content": {"role": "model", "parts": list(parts)}, "index": 0} | more]})

    calls = 0
    for kind, pieces, arguments in said:
        if kind == "call":
            call = {"id": f"id_{calls}", "name": f"tool_{calls}", "args": arguments}
            calls += 1
            yield event({"functionCall": call, "thoughtSignature": "c2ln"})
            continue
        for piece in pieces:
            yield event({"text": piece} | ({"thought": True} if kind == "thought" else {}))
    told = {
        "promptTokenCount": usage.input,
        "cachedContentTokenCount": usage.cached,
        "candidatesTokenCount": usage.output - usage.reasoning,
        "thoughtsTokenCount": usage.reasoning,
        "totalTokenCount": usage.total,
    }
    last = {"candidates": [{"content": {"parts": [{"text": ""}]}, "finishReason": "STOP"}], "usageMetadata": told}
    yield sse(last)


SPEAKERS: dict[str, Callable[..., Iterator[bytes]]] = {
    "openai.chat": chat_stream,
    "openai.responses": responses_stream,
    "anthropic.messages": anthropic_stream,
    "gemini.generate": gemini_stream,
}


class Heard:
    """What a client understands of a stream: written apart from the library, as a client would be."""

    def __init__(self, stream: bytes, dialect: str) -> None:
        self.thought = self.text = ""
        self.calls: dict[Any, list[str]] = {}
        self.stops: list[str] = []
        self.ends = 0
        self.usage: dict[str, Any] = {}
        self.open: set[int] = set()
        blocks = BlockReader().feed(stream)
        assert b"".join(blocks) == stream, "events are complete"
        hear = {
            "openai.chat": self.chat,
            "openai.responses": self.responses,
            "anthropic.messages": self.anthropic,
            "gemini.generate": self.gemini,
        }[dialect]
        for block in blocks:
            data = block.split(b"data: ", 1)[1].strip()
            assert not self.ends or dialect == "gemini.generate", "nothing follows the end"
            if data == b"[DONE]":
                self.ends += 1
            else:
                hear(json.loads(data))
        assert not self.open

    @property
    def called(self) -> list[tuple[str, str, Any]]:
        return [(id, name, json.loads(arguments)) for id, name, arguments in self.calls.values()]

    def chat(self, event: dict[str, Any]) -> None:
        ChatCompletionChunk.model_validate(event, strict=True)
        self.usage |= event.get("usage") or {}
        for choice in event["choices"]:
            delta = choice["delta"]
            self.thought += delta.get("reasoning_content") or ""
            self.text += delta.get("content") or ""
            for call in delta.get("tool_calls", ()):
                known = self.calls.setdefault(call["index"], [call.get("id", ""), call["function"].get("name", ""), ""])
                known[2] += call["function"].get("arguments", "")
            self.stops += [choice["finish_reason"]] if choice["finish_reason"] else []

    def responses(self, event: dict[str, Any]) -> None:
        RESPONSE_EVENT.validate_python(event)
        kind = event["type"]
        if kind == "response.output_item.added":
            assert not self.open
            self.open = {event["output_index"]}
            if event["item"]["type"] == "function_call":
                self.calls[event["output_index"]] = [event["item"]["call_id"], event["item"]["name"], ""]
        elif kind == "response.output_item.done":
            self.open.remove(event["output_index"])
        elif kind == "response.output_text.delta":
            self.text += event["delta"]
        elif kind == "response.reasoning_summary_text.delta":
            self.thought += event["delta"]
        elif kind == "response.function_call_arguments.delta":
            self.calls[event["output_index"]][2] += event["delta"]
        elif kind == "response.function_call_arguments.done":
            assert self.calls[event["output_index"]][2] == event["arguments"]
        elif kind == "response.completed":
            self.ends += 1
            self.usage = event["response"]["usage"]
            self.stops.append(event["response"]["status"])

    def anthropic(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind == "content_block_start":
            assert not self.open
            self.open = {event["index"]}
            if event["content_block"]["type"] == "tool_use":
                self.calls[event["index"]] = [event["content_block"]["id"], event["content_block"]["name"], ""]
        elif kind == "content_block_delta":
            assert event["index"] in self.open
            delta = event["delta"]
            self.text += delta.get("text", "")
            self.thought += delta.get("thinking", "")
            if delta["type"] == "input_json_delta":
                self.calls[event["index"]][2] += delta["partial_json"]
        elif kind == "content_block_stop":
            self.open.remove(event["index"])
        elif kind == "message_delta":
            self.stops.append(event["delta"]["stop_reason"])
            self.usage = event["usage"]
        elif kind == "message_stop":
            self.ends += 1

    def gemini(self, event: dict[str, Any]) -> None:
        assert not self.ends
        candidate = event["candidates"][0]
        for part in candidate["content"]["parts"]:
            if "functionCall" in part:
                call = part["functionCall"]
                self.calls[len(self.calls)] = [call["id"], call["name"], json.dumps(call["args"])]
            elif part.get("thought"):
                self.thought += part["text"]
            else:
                self.text += part["text"]
        if "finishReason" in candidate:
            self.stops.append(candidate["finishReason"])
            self.usage = event.get("usageMetadata", {})
            self.ends += 1


def counted(usage: dict[str, Any], dialect: str) -> tuple[int, int, int, int]:
    """Prompt, cached, output and reasoning tokens, as each vendor tells them."""
    if dialect == "anthropic.messages":
        cached = usage["cache_read_input_tokens"]
        reasoning = usage.get("output_tokens_details", {}).get("thinking_tokens", 0)
        return usage["input_tokens"] + cached, cached, usage["output_tokens"], reasoning
    if dialect == "gemini.generate":
        reasoning = usage.get("thoughtsTokenCount", 0)
        output = usage["candidatesTokenCount"] + reasoning
        return usage["promptTokenCount"], usage.get("cachedContentTokenCount", 0), output, reasoning
    before, after = ("prompt", "completion") if dialect == "openai.chat" else ("input", "output")
    return (
        usage[f"{before}_tokens"],
        usage[f"{before}_tokens_details"]["cached_tokens"],
        usage[f"{after}_tokens"],
        usage[f"{after}_tokens_details"]["reasoning_tokens"],
    )


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


STOPS = {
    "openai.chat": ("tool_calls", "stop"),
    "openai.responses": ("completed", "completed"),
    "anthropic.messages": ("tool_use", "end_turn"),
    "gemini.generate": ("STOP", "STOP"),
}


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
