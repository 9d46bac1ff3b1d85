"""Whole replies among the dialects: examples of the vendors, usage, stop reasons, signatures, log probabilities."""

import base64
import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletion
from openai.types.responses import Response

from turnout_dialects import DIALECTS, BadReply, ErrorEvent, Usage, translate_reply, translate_request, usage_of

PAIRS = [(a, b) for a in sorted(DIALECTS) for b in sorted(DIALECTS) if a != b]

# After the examples on platform.openai.com/docs/api-reference/chat/object and .../responses/object,
# platform.claude.com/docs/en/api/messages/create and ai.google.dev/api/generate-content (read 2026-11-23): text and a
# call, 100 tokens of prompt of which 40 came from a cache, 30 generated of which 12 were thought.
REPLIES: dict[str, dict[str, Any]] = {
    "openai.chat": {
        "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
        "object": "chat.completion",
        "created": 1741569952,
        "model": "gpt-6-astra",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "Let me look.",
                    "refusal": None,
                    "annotations": [],
                    "tool_calls": [
                        {
                            "id": "call_1",
                            "type": "function",
                            "function": {"name": "get_weather", "arguments": '{"location":"Paris"}'},
                        }
                    ],
                },
                "logprobs": None,
                "finish_reason": "tool_calls",
            }
        ],
        "usage": {
            "prompt_tokens": 100,
            "completion_tokens": 30,
            "total_tokens": 130,
            "prompt_tokens_details": {"cached_tokens": 40, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 12, "audio_tokens": 0},
        },
        "service_tier": "default",
    },
    "openai.responses": {
        "id": "resp_67ccd2bed1ec8190b14f964abc0542670bb6a6b452d3795b",
        "object": "response",
        "created_at": 1741476542,
        "status": "completed",
        "error": None,
        "model": "gpt-6-astra",
        "output": [
            {
                "type": "message",
                "id": "msg_1",
                "status": "completed",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "Let me look.", "annotations": []}],
            },
            {
                "type": "function_call",
                "id": "fc_1",
                "call_id": "call_1",
                "name": "get_weather",
                "arguments": '{"location":"Paris"}',
                "status": "completed",
            },
            {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        ],
        "usage": {
            "input_tokens": 100,
            "input_tokens_details": {"cached_tokens": 40},
            "output_tokens": 30,
            "output_tokens_details": {"reasoning_tokens": 12},
            "total_tokens": 130,
        },
    },
    "anthropic.messages": {
        "id": "msg_013Zva2CMHLNnjNjJJKqJ2EF",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-5-5",
        "content": [
            {"type": "text", "text": "Let me look.", "citations": None},
            {"type": "tool_use", "id": "call_1", "name": "get_weather", "input": {"location": "Paris"}},
            {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 60,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 40,
            "output_tokens": 30,
            "output_tokens_details": {"thinking_tokens": 12},
        },
    },
    "gemini.generate": {
        "candidates": [
            {
                "content": {
                    "role": "model",
                    "parts": [
                        {"text": "Let me look."},
                        {"functionCall": {"id": "call_1", "name": "get_weather", "args": {"location": "Paris"}}},
                    ],
                },
                "finishReason": "STOP",
                "index": 0,
                "safetyRatings": [],
            }
        ],
        "usageMetadata": {
            "promptTokenCount": 100,
            "cachedContentTokenCount": 40,
            "candidatesTokenCount": 18,
            "thoughtsTokenCount": 12,
            "totalTokenCount": 130,
        },
        "modelVersion": "gemini-3.8-flash",
        "responseId": "Il0taoSYJ5Cez7",
    },
}
USAGE = Usage(input=100, cached=40, output=30, reasoning=12)


def translated(body: dict[str, Any], source: str, target: str) -> dict[str, Any]:
    made = translate_reply(json.dumps(body).encode(), source, target, model="fast", id="77", now=1_700_000_000.9)
    found: dict[str, Any] = json.loads(made)
    return found


def without(body: Any, *names: str) -> Any:
    """The same reply without members that a target cannot know."""
    if isinstance(body, dict):
        return {name: without(value, *names) for name, value in body.items() if name not in names}
    if isinstance(body, list):
        kept = [one for one in body if not isinstance(one, dict) or "_tool" not in one.get("type", "")]
        return [
            without(one, *names) for one in kept if not isinstance(one, dict) or one.get("type") != "web_search_call"
        ]
    return body


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_one_reply_is_the_same_in_every_dialect(source: str, target: str) -> None:
    made = translated(REPLIES[source], source, target)
    unknown = (
        "id",
        "created",
        "created_at",
        "service_tier",
        "annotations",
        "audio_tokens",
        "cache_write_tokens",
        "logprobs",
    )
    more = ("model", "modelVersion", "responseId", "safetyRatings", "citations", "incomplete_details", "instructions")
    rest = ("metadata", "parallel_tool_calls", "temperature", "tool_choice", "tools", "top_p")
    expected = json.loads(json.dumps(REPLIES[target]))
    if target == "gemini.generate":  # Gemini takes back no first call without a signature
        call = expected["candidates"][0]["content"]["parts"][1]
        call["thoughtSignature"] = "skip_thought_signature_validator"
    assert without(made, *unknown, *more, *rest) == without(expected, *unknown, *more, *rest)
    assert usage_of(json.dumps(made).encode(), target) == USAGE
    assert "77" in json.dumps(made)
    assert made.get("model", made.get("modelVersion")) == "fast"


@pytest.mark.parametrize("source", sorted(DIALECTS - {"openai.chat"}))
def test_openais_own_types_take_what_is_made(source: str) -> None:
    ChatCompletion.model_validate(translated(REPLIES[source], source, "openai.chat"), strict=True)
    if source != "openai.responses":
        found = Response.model_validate(translated(REPLIES[source], source, "openai.responses"))
        assert found.output_text == "Let me look."


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_usage_is_read_from_a_whole_reply(dialect: str) -> None:
    """Cached tokens are part of the prompt's for OpenAI and Gemini, and beside them for Anthropic."""
    assert usage_of(json.dumps(REPLIES[dialect]).encode(), dialect) == USAGE
    assert USAGE.total == 130
    assert usage_of(b"{}", dialect) is None
    assert usage_of(b"<html>", dialect) is None


STOPS = [
    ("length", "incomplete", "max_tokens", "MAX_TOKENS"),
    ("content_filter", "incomplete", "refusal", "SAFETY"),
    ("stop", "completed", "end_turn", "STOP"),
]


def plain(dialect: str, stop: str) -> dict[str, Any]:
    """A reply that says `x` and stopped so."""
    if dialect == "openai.chat":
        return {"choices": [{"index": 0, "message": {"content": "x"}, "finish_reason": stop}]}
    if dialect == "anthropic.messages":
        return {"type": "message", "content": [{"type": "text", "text": "x"}], "stop_reason": stop}
    if dialect == "gemini.generate":
        return {"candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": stop}]}
    item = {"type": "message", "content": [{"type": "output_text", "text": "x"}]}
    return {"status": stop, "output": [item], "incomplete_details": None}


@pytest.mark.parametrize(("source", "target"), PAIRS)
@pytest.mark.parametrize("stops", STOPS, ids=lambda stops: stops[0])
def test_why_it_stopped_is_told(source: str, target: str, stops: tuple[str, str, str, str]) -> None:
    order = ["openai.chat", "openai.responses", "anthropic.messages", "gemini.generate"]
    body = plain(source, stops[order.index(source)])
    if body.get("status") == "incomplete":
        reason = "content_filter" if stops[0] == "content_filter" else "max_output_tokens"
        body["incomplete_details"] = {"reason": reason}
    made = json.dumps(translated(body, source, target))
    assert f'"{stops[order.index(target)]}"' in made


@pytest.mark.parametrize(
    ("source", "stop", "told"),
    [
        ("anthropic.messages", "model_context_window_exceeded", "length"),
        ("anthropic.messages", "pause_turn", "stop"),
        ("anthropic.messages", "stop_sequence", "stop"),
        ("anthropic.messages", "refusal", "content_filter"),
        ("anthropic.messages", "something_new", "stop"),
        ("gemini.generate", "RECITATION", "content_filter"),
        ("gemini.generate", "PROHIBITED_CONTENT", "content_filter"),
        ("gemini.generate", "MALFORMED_FUNCTION_CALL", "stop"),
        ("gemini.generate", "SOMETHING_NEW", "stop"),
    ],
)
def test_reasons_without_a_match_are_told_as_the_nearest(source: str, stop: str, told: str) -> None:
    assert translated(plain(source, stop), source, "openai.chat")["choices"][0]["finish_reason"] == told


SIGNED: dict[str, dict[str, Any]] = {
    "anthropic.messages": {
        "type": "message",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "SIG="},
            {"type": "redacted_thinking", "data": "RED="},
            {"type": "tool_use", "id": "c", "name": "f", "input": {}},
        ],
        "stop_reason": "tool_use",
    },
    "openai.responses": {
        "status": "completed",
        "output": [
            {
                "type": "reasoning",
                "id": "rs_1",
                "summary": [{"type": "summary_text", "text": "hm"}],
                "encrypted_content": "SIG=",
            },
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        ],
    },
    "gemini.generate": {
        "candidates": [
            {
                "content": {
                    "parts": [
                        {"text": "hm", "thought": True},
                        {"functionCall": {"id": "c", "name": "f", "args": {}}, "thoughtSignature": "SIG="},
                    ]
                },
                "finishReason": "STOP",
            }
        ]
    },
}


def history(reply: dict[str, Any], dialect: str) -> dict[str, Any]:
    """What a client sends next that keeps the model's turn as it came."""
    if dialect == "openai.chat":
        message = {key: one for key, one in reply["choices"][0]["message"].items() if one is not None}
        return {"messages": [message, {"role": "tool", "tool_call_id": "c", "content": "x"}]}
    if dialect == "anthropic.messages":
        result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "x"}]}
        return {"max_tokens": 9, "messages": [{"role": "assistant", "content": reply["content"]}, result]}
    if dialect == "gemini.generate":
        result = {"parts": [{"functionResponse": {"id": "c", "name": "f", "response": {"output": "x"}}}]}
        return {"contents": [reply["candidates"][0]["content"], result]}
    return {"input": [*reply["output"], {"type": "function_call_output", "call_id": "c", "output": "x"}]}


@pytest.mark.parametrize("client", sorted(DIALECTS))
@pytest.mark.parametrize("upstream", sorted(SIGNED))
def test_a_signature_comes_back_to_its_vendor_and_to_no_other(upstream: str, client: str) -> None:
    """Issue item 3: thinking with signatures, over a client of another dialect."""
    if client == upstream:
        return
    body = json.dumps(history(translated(SIGNED[upstream], upstream, client), client) | {"model": "m"}).encode()
    kept = client != "openai.chat" or upstream == "gemini.generate"
    for target in DIALECTS - {client}:
        made = translate_request(body, client, target, model="claude-sonnet-5-5", stream=False).decode()
        assert ('"SIG="' in made) is (target == upstream and kept), target
        assert ('"RED="' in made) is (target == upstream == "anthropic.messages" and kept), target
    if kept:
        back = json.loads(translate_request(body, client, upstream, model="claude-sonnet-5-5", stream=False))
        original = history(SIGNED[upstream], upstream)
        name = {"anthropic.messages": "messages", "openai.responses": "input", "gemini.generate": "contents"}[upstream]
        if upstream == "gemini.generate":
            assert back[name][0]["parts"][-1] == original[name][0]["parts"][1]
        else:
            assert back[name][0] == original[name][0]


def test_log_probabilities_are_carried_where_both_sides_have_them() -> None:
    """Issue item 3."""
    token = {
        "token": "x",
        "logprob": -0.5,
        "bytes": [120],
        "top_logprobs": [{"token": "y", "logprob": -1.5, "bytes": [121]}],
    }
    body = plain("openai.chat", "stop")
    body["choices"][0]["logprobs"] = {"content": [token], "refusal": None}
    responses = translated(body, "openai.chat", "openai.responses")
    assert responses["output"][0]["content"][0]["logprobs"] == [token]
    gemini = translated(body, "openai.chat", "gemini.generate")
    assert translated(gemini, "gemini.generate", "openai.chat")["choices"][0]["logprobs"]["content"] == [token]
    assert translated(responses, "openai.responses", "gemini.generate")["candidates"][0]["logprobsResult"] == {
        "chosenCandidates": [{"token": "x", "logProbability": -0.5}],
        "topCandidates": [{"candidates": [{"token": "y", "logProbability": -1.5}]}],
    }
    request = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "logprobs": True, "top_logprobs": 2}
    there = translate_request(json.dumps(request).encode(), "openai.chat", "gemini.generate", model="g", stream=False)
    assert json.loads(there)["generationConfig"] == {"responseLogprobs": True, "logprobs": 2}


def test_a_refusal_keeps_its_words() -> None:
    body = {"choices": [{"message": {"content": None, "refusal": "No."}, "finish_reason": "stop"}]}
    anthropic = translated(body, "openai.chat", "anthropic.messages")
    assert (anthropic["content"], anthropic["stop_reason"]) == ([{"type": "text", "text": "No."}], "refusal")
    responses = translated(body, "openai.chat", "openai.responses")
    assert responses["output"][0]["content"] == [{"type": "refusal", "refusal": "No."}]
    assert responses["status"] == "completed"
    assert translated(responses, "openai.responses", "openai.chat")["choices"][0]["message"]["refusal"] == "No."


def test_calls_without_ids_get_different_ones_in_each_reply() -> None:
    call = {"functionCall": {"name": "f", "args": {}}}
    body = {"candidates": [{"content": {"parts": [call, call]}, "finishReason": "STOP"}]}
    calls = translated(body, "gemini.generate", "openai.chat")["choices"][0]["message"]["tool_calls"]
    assert [call["id"] for call in calls] == ["call_77_0", "call_77_1"]


@pytest.mark.parametrize(("source", "target"), PAIRS)
@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"\xff", b"<html>", b'{"a":' * 100_000, b'{"choices":[{}]}'])
def test_what_is_no_reply_is_a_bad_reply(source: str, target: str, body: bytes) -> None:
    """B14, F11: an upstream that sends nonsense."""
    if (body, source) == (b"{}", "openai.responses") or (body, source) == (b'{"choices":[{}]}', "openai.responses"):
        return  # a response without output is an empty one
    with pytest.raises(BadReply):
        translate_reply(body, source, target, model="m", id="1", now=0)


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_an_error_inside_a_200_is_told_as_one(source: str, target: str) -> None:
    body = {"type": "error", "error": {"message": "no"}}
    with pytest.raises(ErrorEvent) as caught:
        translated(body, source, target)
    assert caught.value.error == {"message": "no"}


def test_arguments_that_are_no_json_are_a_bad_reply_where_they_must_be_an_object() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{oops"}}
    body = {"choices": [{"message": {"content": "x", "tool_calls": [call]}, "finish_reason": "tool_calls"}]}
    assert translated(body, "openai.chat", "openai.responses")["output"][1]["arguments"] == "{oops"
    with pytest.raises(BadReply, match="arguments"):
        translated(body, "openai.chat", "anthropic.messages")
    body["choices"][0]["finish_reason"] = "length"  # cut, and said to be so
    assert translated(body, "openai.chat", "anthropic.messages")["content"] == [{"type": "text", "text": "x"}]


def test_googles_own_openai_surface_gets_its_signatures_back() -> None:
    made = translated(SIGNED["gemini.generate"], "gemini.generate", "anthropic.messages")
    body = json.dumps(history(made, "anthropic.messages") | {"model": "m"}).encode()
    there = json.loads(
        translate_request(body, "anthropic.messages", "openai.chat", model="gemini-3.8-flash", stream=False)
    )
    assert there["messages"][0]["tool_calls"][0]["extra_content"] == {"google": {"thought_signature": "SIG="}}


@pytest.mark.parametrize("signature", ["???>>>~~~", "\u00ff\u00fe\u00fb", "x" * 50])
def test_a_signature_survives_googles_sdk(signature: str) -> None:
    """google-genai 3.4 decodes base64 of either alphabet and encodes with that for URLs (tried 2026-11-23)."""
    thought = {"type": "thinking", "thinking": "hm", "signature": signature}
    body = {"type": "message", "content": [thought, {"type": "text", "text": "x"}], "stop_reason": "end_turn"}
    made = translated(body, "anthropic.messages", "gemini.generate")["candidates"][0]["content"]
    for alphabet in (b"-_", b"+/"):
        raw = base64.urlsafe_b64decode(made["parts"][1]["thoughtSignature"])
        made["parts"][1]["thoughtSignature"] = base64.b64encode(raw, altchars=alphabet).decode()
        request = json.dumps({"contents": [made, {"parts": [{"text": "go on"}]}]}).encode()
        there = translate_request(request, "gemini.generate", "anthropic.messages", model="claude-opus-5", stream=False)
        assert json.loads(there)["messages"][0]["content"][0] == thought
        made["parts"][1]["thoughtSignature"] = base64.urlsafe_b64encode(raw).decode()


@pytest.mark.parametrize("damage", ["dHVybm91dDE6", "dHVybm91dDE6e30=", "dHVybm91dDE6!!!", "dHVybm91dDE6/w=="])
def test_a_damaged_seal_is_no_signature(damage: str) -> None:
    message = {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": damage}]}
    body = {"max_tokens": 9, "messages": [message, {"role": "user", "content": "x"}]}
    for target in sorted(DIALECTS - {"anthropic.messages"}):
        made = translate_request(json.dumps(body).encode(), "anthropic.messages", target, model="m", stream=False)
        assert damage.encode() not in made
