"""Requests among the dialects: the vendors' own examples, and what each target cannot say."""

import json
from typing import Any

import pytest
from spoken_requests import MODELS, PAIRS

from turnout.errors import InvalidAsk
from turnout_dialects import DIALECTS, BadRequest, Untranslatable, same, translate_request
from turnout_dialects._form import Signature
from turnout_dialects._seal import seal


def translated(body: dict[str, Any], source: str, target: str, **more: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"model": MODELS[target], "stream": False} | more
    found: dict[str, Any] = json.loads(translate_request(json.dumps(body).encode(), source, target, **given))
    return found


WEATHER = {
    "type": "object",
    "properties": {"location": {"type": "string", "description": "City, e.g. Paris"}},
    "required": ["location"],
}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

# One conversation in four spellings: instructions, an image, a question, two calls at once, both results, an answer.
# From the examples on platform.openai.com/docs/guides/function-calling and .../images-vision,
# platform.claude.com/docs/en/agents-and-tools/tool-use and ai.google.dev/gemini-api/docs/function-calling
# (read 2026-11-23).
SPELLINGS: dict[str, dict[str, Any]] = {
    "openai.chat": {
        "model": "m",
        "messages": [
            {"role": "developer", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Weather here and in Rome?"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
                ],
            },
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "get_weather", "arguments": '{"location":"Paris"}'},
                    },
                    {
                        "id": "call_2",
                        "type": "function",
                        "function": {"name": "get_weather", "arguments": '{"location":"Rome"}'},
                    },
                ],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "14"},
            {"role": "tool", "tool_call_id": "call_2", "content": "21"},
            {"role": "assistant", "content": "14 and 21."},
            {"role": "user", "content": "Thanks"},
        ],
        "tools": [
            {"type": "function", "function": {"name": "get_weather", "description": "Weather", "parameters": WEATHER}}
        ],
        "tool_choice": "auto",
        "max_completion_tokens": 1000,
        "temperature": 0.5,
    },
    "openai.responses": {
        "model": "m",
        "instructions": "Be brief.",
        "input": [
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "Weather here and in Rome?"},
                    {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}"},
                ],
            },
            {
                "type": "function_call",
                "call_id": "call_1",
                "name": "get_weather",
                "arguments": '{"location":"Paris"}',
            },
            {"type": "function_call", "call_id": "call_2", "name": "get_weather", "arguments": '{"location":"Rome"}'},
            {"type": "function_call_output", "call_id": "call_1", "output": "14"},
            {"type": "function_call_output", "call_id": "call_2", "output": "21"},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "14 and 21."}]},
            {"role": "user", "content": "Thanks"},
        ],
        "tools": [{"type": "function", "name": "get_weather", "description": "Weather", "parameters": WEATHER}],
        "tool_choice": "auto",
        "max_output_tokens": 1000,
        "temperature": 0.5,
    },
    "anthropic.messages": {
        "model": "m",
        "system": "Be brief.",
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Weather here and in Rome?"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "tool_use", "id": "call_1", "name": "get_weather", "input": {"location": "Paris"}},
                    {"type": "tool_use", "id": "call_2", "name": "get_weather", "input": {"location": "Rome"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "call_1", "content": "14"},
                    {"type": "tool_result", "tool_use_id": "call_2", "content": "21"},
                ],
            },
            {"role": "assistant", "content": "14 and 21."},
            {"role": "user", "content": "Thanks"},
        ],
        "tools": [{"name": "get_weather", "description": "Weather", "input_schema": WEATHER}],
        "tool_choice": {"type": "auto"},
        "max_tokens": 1000,
        "temperature": 0.5,
    },
    "gemini.generate": {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            {
                "role": "user",
                "parts": [
                    {"text": "Weather here and in Rome?"},
                    {"inlineData": {"mimeType": "image/png", "data": PIXEL}},
                ],
            },
            {
                "role": "model",
                "parts": [
                    {"functionCall": {"id": "call_1", "name": "get_weather", "args": {"location": "Paris"}}},
                    {"functionCall": {"id": "call_2", "name": "get_weather", "args": {"location": "Rome"}}},
                ],
            },
            {
                "role": "user",
                "parts": [
                    {"functionResponse": {"id": "call_1", "name": "get_weather", "response": {"output": "14"}}},
                    {"functionResponse": {"id": "call_2", "name": "get_weather", "response": {"output": "21"}}},
                ],
            },
            {"role": "model", "parts": [{"text": "14 and 21."}]},
            {"role": "user", "parts": [{"text": "Thanks"}]},
        ],
        "tools": [
            {
                "functionDeclarations": [
                    {"name": "get_weather", "description": "Weather", "parametersJsonSchema": WEATHER}
                ]
            }
        ],
        "toolConfig": {"functionCallingConfig": {"mode": "AUTO"}},
        "generationConfig": {"maxOutputTokens": 1000, "temperature": 0.5},
    },
}


def expected(target: str) -> dict[str, Any]:
    """The spelling of a target, with what its writer adds."""
    body: dict[str, Any] = json.loads(json.dumps(SPELLINGS[target])) | {"model": MODELS[target]}
    if target == "openai.chat":
        body["messages"][0]["role"] = "system"
    elif target == "openai.responses":
        body |= {"include": ["reasoning.encrypted_content"], "store": False}
        body["input"][0]["type"] = body["input"][-1]["type"] = "message"
        body["input"][0]["content"][1]["detail"] = "auto"
        body["input"][-1]["content"] = [{"type": "input_text", "text": "Thanks"}]
        body["tools"][0]["strict"] = False
    elif target == "anthropic.messages":
        del body["temperature"]  # Sonnet 5.5 refuses it
    else:
        del body["model"]
        body["contents"][1]["parts"][0]["thoughtSignature"] = "skip_thought_signature_validator"
    return body


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_one_conversation_is_the_same_in_every_spelling(source: str, target: str) -> None:
    assert translated(SPELLINGS[source], source, target) == expected(target)


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_stream_is_asked_for_as_the_target_does_it(source: str, target: str) -> None:
    body = translated(SPELLINGS[source], source, target, stream=True)
    if target == "gemini.generate":
        assert "stream" not in body
    else:
        assert body["stream"] is True
    assert body.get("stream_options") == ({"include_usage": True} if target == "openai.chat" else None)


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_within_one_dialect_nothing_is_parsed(dialect: str) -> None:
    assert same(dialect, dialect)
    with pytest.raises(ValueError, match="pass the bytes through"):
        translate_request(b"{}", dialect, dialect, model="m", stream=False)


def test_an_unknown_dialect_is_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown dialect 'x'; there are anthropic\.messages"):
        same("openai.chat", "x")


SAY = [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    ("model", "suffix", "thinking", "output"),
    [
        ("claude-sonnet-5-5", "high", {"type": "adaptive"}, {"effort": "high"}),
        ("claude-sonnet-5-5", "none", {"type": "between_tools"}, None),
        ("claude-opus-5-5", "none", None, {"effort": "low"}),
        ("claude-fable-5-1", "none", None, {"effort": "low"}),
        ("claude-mythos-preview", "none", None, {"effort": "low"}),
        ("claude-haiku-5-5", "none", {"type": "disabled"}, None),
        ("claude-haiku-5-5", "minimal", {"type": "adaptive"}, {"effort": "low"}),
        ("claude-opus-4-6", "xhigh", {"type": "adaptive"}, {"effort": "high"}),
        ("claude-opus-4-7", "xhigh", {"type": "adaptive"}, {"effort": "xhigh"}),
        ("us.anthropic.claude-opus-4-6-v1", "max", {"type": "adaptive"}, {"effort": "max"}),
        ("claude-opus-5", "8192", {"type": "adaptive"}, {"effort": "medium"}),
        ("claude-opus-5", "auto", {"type": "adaptive"}, None),
        ("claude-sonnet-4-5-20250929", "high", {"type": "enabled", "budget_tokens": 24576}, None),
        ("claude-sonnet-4-20250514", "2000", {"type": "enabled", "budget_tokens": 2000}, None),
        ("claude-sonnet-4-5", "16", {"type": "enabled", "budget_tokens": 1024}, None),
        ("claude-sonnet-4-5", "9000000000000000000", {"type": "enabled", "budget_tokens": 31999}, None),
        ("claude-haiku-4-5", "0", {"type": "disabled"}, None),
        ("claude-3-7-sonnet-latest", "low", {"type": "enabled", "budget_tokens": 1024}, None),
        ("claude-3-5-haiku-latest", "high", None, None),
        ("claude-next", "high", {"type": "adaptive"}, {"effort": "high"}),
        ("claude-opus-5", "strange", None, None),
        ("claude-opus-5", "", None, None),
        ("claude-opus-5", "\uff19", None, None),
    ],
)
def test_the_suffix_becomes_what_each_claude_understands(
    model: str, suffix: str, thinking: object, output: object
) -> None:
    """C7.1, issue: adaptive since 4.6, budgets before."""
    body = translated(
        {"model": "m", "messages": SAY}, "openai.chat", "anthropic.messages", model=model, thinking=suffix
    )
    assert (body.get("thinking"), body.get("output_config")) == (thinking, output)


@pytest.mark.parametrize(
    ("model", "suffix", "config"),
    [
        ("gemini-2.5-flash", "high", {"thinkingBudget": 24576}),
        ("gemini-2.5-flash", "max", {"thinkingBudget": 24576}),
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0}),
        ("gemini-2.5-pro", "none", {"thinkingBudget": 128}),
        ("gemini-2.5-flash", "-1", {"thinkingBudget": -1}),
        ("gemini-2.5-flash", "+0512", {"thinkingBudget": 512}),
        ("gemini-3-flash-preview", "none", {"thinkingLevel": "minimal"}),
        ("gemini-3.8-flash", "minimal", {"thinkingLevel": "low"}),
        ("gemini-3.1-pro-preview", "MINIMAL", {"thinkingLevel": "low"}),
        ("gemini-3.8-flash", "8192", {"thinkingLevel": "medium"}),
        ("gemini-4-argon", "xhigh", {"thinkingLevel": "high"}),
        ("gemini-3.8-flash", "auto", None),
    ],
)
def test_the_suffix_becomes_what_each_gemini_understands(model: str, suffix: str, config: object) -> None:
    """C7.1: 2.5 takes budgets, 3 and later levels, never both."""
    body = translated({"model": "m", "messages": SAY}, "openai.chat", "gemini.generate", model=model, thinking=suffix)
    assert body.get("generationConfig", {}).get("thinkingConfig") == config


@pytest.mark.parametrize(
    ("suffix", "effort"),
    [("High", "high"), ("max", "max"), ("none", "none"), ("0", "none"), ("500", "low"), ("99999", "max"), ("-1", None)],
)
def test_the_suffix_becomes_openais_effort(suffix: str, effort: str | None) -> None:
    """C7.1."""
    body = {"model": "m", "max_tokens": 100, "messages": SAY}
    chat = translated(body, "anthropic.messages", "openai.chat", thinking=suffix)
    responses = translated(body, "anthropic.messages", "openai.responses", thinking=suffix)
    assert chat.get("reasoning_effort") == effort
    assert responses.get("reasoning") == ({"effort": effort} if effort else None)


def test_the_suffix_wins_over_the_body() -> None:
    body = {"model": "m", "messages": SAY, "reasoning_effort": "high"}
    assert translated(body, "openai.chat", "openai.responses", thinking="low")["reasoning"] == {"effort": "low"}
    assert translated(body, "openai.chat", "openai.responses", thinking="what")["reasoning"] == {"effort": "high"}


def test_sampling_is_kept_for_the_models_that_take_it() -> None:
    body = {"model": "m", "messages": SAY, "temperature": 1.5, "top_p": 0.9}
    old = translated(body, "openai.chat", "anthropic.messages", model="claude-sonnet-4-5")
    new = translated(body, "openai.chat", "anthropic.messages", model="claude-opus-4-7")
    thinking = translated(body, "openai.chat", "anthropic.messages", model="claude-sonnet-4-5", thinking="low")
    assert (old["temperature"], old["top_p"]) == (1.0, 0.9)
    assert new.keys().isdisjoint({"temperature", "top_p"})
    assert thinking.keys().isdisjoint({"temperature", "top_p"})


def test_a_forced_tool_turns_thinking_off_for_anthropic() -> None:
    body = SPELLINGS["openai.chat"] | {"tool_choice": "required", "reasoning_effort": "high"}
    found = translated(body, "openai.chat", "anthropic.messages", model="claude-sonnet-4-5")
    assert found["tool_choice"] == {"type": "any"}
    assert "thinking" not in found


@pytest.mark.parametrize(
    ("model", "turns", "thinks"),
    [
        ("claude-sonnet-4-5", 4, False),
        ("claude-sonnet-4-5", 6, True),
        ("claude-sonnet-4-6", 4, True),
    ],
)
def test_a_budget_is_left_out_while_calls_are_answered_that_were_made_without_a_signed_thought(
    model: str, turns: int, thinks: bool
) -> None:
    """Anthropic refuses it then, and a chat keeps no signatures. The model's next turn may think again."""
    chat = SPELLINGS["openai.chat"]
    body = chat | {"messages": chat["messages"][: turns + 1], "reasoning_effort": "high", "max_completion_tokens": 9000}
    assert [message["role"] for message in body["messages"]][-1] == ("tool" if turns == 4 else "user")
    assert ("thinking" in translated(body, "openai.chat", "anthropic.messages", model=model)) is thinks


def test_a_budget_is_kept_for_calls_that_were_made_with_a_signed_thought() -> None:
    thought = {"type": "reasoning", "id": "", "summary": [{"type": "summary_text", "text": "hm"}]}
    sealed = seal(Signature(origin="anthropic.messages", value="c2ln"), "openai.responses")
    body = {
        "model": "m",
        "input": [
            {"role": "user", "content": "x"},
            thought | {"encrypted_content": sealed},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "1"},
        ],
        "reasoning": {"effort": "low"},
    }
    found = translated(body, "openai.responses", "anthropic.messages", model="claude-sonnet-4-5")
    assert found["thinking"] == {"type": "enabled", "budget_tokens": 1024}
    assert found["messages"][1]["content"][0] == {"type": "thinking", "thinking": "hm", "signature": "c2ln"}


def test_max_tokens_is_given_where_anthropic_insists() -> None:
    body = {"model": "m", "messages": SAY}
    found = {
        model: translated(body, "openai.chat", "anthropic.messages", model=model)["max_tokens"]
        for model in ("claude-3-opus", "claude-3-5-haiku-latest", "claude-haiku-4-5", "claude-next")
    }
    assert list(found.values()) == [4096, 8192, 32000, 32000]


REFUSED: list[tuple[str, str, dict[str, Any], str]] = [
    ("openai.chat", "openai.responses", {"stop": ["x"]}, "stop"),
    ("openai.chat", "anthropic.messages", {"logprobs": True}, "logprobs"),
    ("openai.chat", "anthropic.messages", {"response_format": {"type": "json_object"}}, "response_format"),
    ("openai.chat", "gemini.generate", {"n": 2}, "n"),
    ("openai.chat", "gemini.generate", {"logit_bias": {"1": 1}}, "logit_bias"),
    ("openai.chat", "gemini.generate", {"modalities": ["text", "audio"]}, "modalities"),
    ("openai.chat", "gemini.generate", {"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type"),
    ("openai.chat", "gemini.generate", {"never_heard_of": 1}, "never_heard_of"),
    (
        "openai.chat",
        "anthropic.messages",
        {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}]},
        "messages[0].content[0].file.file_id",
    ),
    (
        "openai.chat",
        "anthropic.messages",
        {
            "messages": [
                {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}]}
            ]
        },
        "messages[0].content[0]",
    ),
    ("openai.chat", "anthropic.messages", {"messages": [{"role": "system", "content": "x"}]}, "messages"),
    ("openai.chat", "openai.responses", {"messages": [{"role": "user", "content": ""}]}, "messages"),
    ("openai.chat", "anthropic.messages", {"messages": [{"role": "user", "content": []}]}, "messages"),
    (
        "openai.chat",
        "gemini.generate",
        {"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]},
        "messages",
    ),
    ("openai.responses", "anthropic.messages", {"input": ""}, "input"),
    ("openai.responses", "gemini.generate", {"input": [{"type": "reasoning", "summary": []}]}, "input"),
    ("anthropic.messages", "openai.responses", {"messages": [{"role": "user", "content": []}]}, "messages"),
    ("gemini.generate", "anthropic.messages", {"contents": [{"parts": [{"text": ""}]}]}, "contents"),
    ("gemini.generate", "openai.responses", {"contents": [{"role": "user"}]}, "contents"),
    ("openai.responses", "openai.chat", {"previous_response_id": "resp_1"}, "previous_response_id"),
    ("openai.responses", "openai.chat", {"background": True}, "background"),
    ("openai.responses", "openai.chat", {"tools": [{"type": "web_search"}]}, "tools[0].type"),
    ("openai.responses", "anthropic.messages", {"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
    (
        "openai.responses",
        "openai.chat",
        {"input": [{"role": "user", "content": [{"type": "input_file", "file_url": "https://x/y.pdf"}]}]},
        "input[0].content[0].file_url",
    ),
    ("anthropic.messages", "openai.chat", {"tools": [{"type": "bash_20250124", "name": "bash"}]}, "tools[0].type"),
    ("anthropic.messages", "openai.chat", {"container": "c"}, "container"),
    ("anthropic.messages", "openai.responses", {"stop_sequences": ["x"]}, "stop_sequences"),
    (
        "anthropic.messages",
        "gemini.generate",
        {
            "messages": [
                {"role": "user", "content": [{"type": "document", "source": {"type": "file", "file_id": "f"}}]},
            ]
        },
        "messages[0].content[0].source.type",
    ),
    ("gemini.generate", "openai.chat", {"tools": [{"googleSearch": {}}]}, "tools[0].googleSearch"),
    ("gemini.generate", "openai.chat", {"cachedContent": "c"}, "cachedContent"),
    ("gemini.generate", "openai.chat", {"generationConfig": {"candidateCount": 2}}, "generationConfig.candidateCount"),
    (
        "gemini.generate",
        "openai.chat",
        {"generationConfig": {"responseMimeType": "text/x.enum"}},
        "generationConfig.responseMimeType",
    ),
]


@pytest.mark.parametrize("target", ["anthropic.messages", "gemini.generate"])
def test_a_turn_in_which_nothing_is_left_is_left_out(target: str) -> None:
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "c2ln"}
    body = {"model": "m", "input": [{"role": "user", "content": "x"}, thought, {"role": "user", "content": "y"}]}
    made = translated(body, "openai.responses", target)
    turns = made["messages" if target == "anthropic.messages" else "contents"]
    assert [turn["role"] for turn in turns] == ["user", "user"]


@pytest.mark.parametrize(
    ("source", "target", "more", "path"), REFUSED, ids=[f"{place}-{one[3]}" for place, one in enumerate(REFUSED)]
)
def test_what_a_target_cannot_say_is_refused_with_its_path(
    source: str, target: str, more: dict[str, Any], path: str
) -> None:
    """Issue item 3: an error or a documented drop, never silent."""
    with pytest.raises(Untranslatable) as caught:
        translated(SPELLINGS[source] | more, source, target)
    assert caught.value.path == path
    assert caught.value.argument == path
    assert path in str(caught.value)


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("openai.chat", {"messages": "hi"}, "messages"),
    ("openai.chat", {"messages": []}, "messages"),
    ("openai.chat", {"messages": [1]}, "messages[0]"),
    ("openai.chat", {"messages": [{"content": "x"}]}, "messages[0].role"),
    ("openai.chat", {"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role"),
    ("openai.chat", {"messages": [{"role": "user", "content": 1}]}, "messages[0].content"),
    ("openai.chat", {"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
    ("openai.chat", {"temperature": "hot"}, "temperature"),
    ("openai.chat", {"seed": 1.5}, "seed"),
    ("openai.chat", {"stop": [1]}, "stop"),
    ("openai.chat", {"tool_choice": "perhaps"}, "tool_choice"),
    ("openai.chat", {"reasoning_effort": "much"}, "reasoning_effort"),
    ("openai.chat", {"response_format": {"type": "xml"}}, "response_format.type"),
    (
        "openai.chat",
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x"}}]}]},
        "messages[0].content[0].image_url.url",
    ),
    ("openai.responses", {"input": None}, "input"),
    ("openai.responses", {"reasoning": "high"}, "reasoning"),
    ("openai.responses", {"input": [{"role": "x", "content": "y"}]}, "input[0].role"),
    ("anthropic.messages", {"messages": [{"role": "user"}]}, "messages[0].content"),
    ("anthropic.messages", {"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
    ("anthropic.messages", {"thinking": {"type": "odd"}}, "thinking.type"),
    ("anthropic.messages", {"tool_choice": {"type": "odd"}}, "tool_choice.type"),
    ("anthropic.messages", {"output_config": {"effort": "odd"}}, "output_config.effort"),
    ("gemini.generate", {"contents": []}, "contents"),
    ("gemini.generate", {"contents": [{"role": "x", "parts": []}]}, "contents[0].role"),
    ("gemini.generate", {"contents": [{"parts": [{}]}]}, "contents[0].parts[0]"),
]


@pytest.mark.parametrize(
    ("source", "more", "path"), WRONG, ids=[f"{place}-{one[2]}" for place, one in enumerate(WRONG)]
)
def test_what_its_own_dialect_forbids_is_a_bad_request_with_its_path(
    source: str, more: dict[str, Any], path: str
) -> None:
    target = "openai.chat" if source == "gemini.generate" else "gemini.generate"
    with pytest.raises(BadRequest) as caught:
        translated(SPELLINGS[source] | more, source, target)
    assert caught.value.path == path
    assert isinstance(caught.value, InvalidAsk)


THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "s"}
CALLED = {"type": "tool_use", "id": "c", "name": "f", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "c", "content": "x"}


@pytest.mark.parametrize("target", sorted(DIALECTS - {"anthropic.messages"}))
@pytest.mark.parametrize(
    ("role", "block", "path"),
    [
        ("user", THOUGHT, "messages"),
        ("user", CALLED, "messages[0].content[0].input"),
        ("assistant", RESULT, "messages[0].content[0].tool_use_id"),
    ],
    ids=["thought", "call", "result"],
)
def test_what_the_other_side_says_is_a_bad_request(target: str, role: str, block: dict[str, Any], path: str) -> None:
    body = {"max_tokens": 9, "messages": [{"role": role, "content": [block]}]}
    with pytest.raises(BadRequest, match="cannot be said by") as caught:
        translated(body, "anthropic.messages", target)
    assert caught.value.path == path


def test_arguments_that_are_no_object_are_a_bad_request_where_the_target_needs_one() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "not json"}}
    body = {"model": "m", "messages": [*SAY, {"role": "assistant", "tool_calls": [call]}]}
    assert translated(body, "openai.chat", "openai.responses")["input"][1]["arguments"] == "not json"
    with pytest.raises(BadRequest) as caught:
        translated(body, "openai.chat", "anthropic.messages")
    assert caught.value.path == "messages[1].tool_calls[0].function.arguments"


@pytest.mark.parametrize("source", sorted(DIALECTS))
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b'{"a"',
        b"\xff",
        b'{"messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"messages":[{"role":"user","content":"\\ud800"}]}',
        b'{"seed":' + b"9" * 5000 + b"}",
        b'{"temperature":NaN}',
    ],
    ids=lambda body: repr(body)[:30],
)
def test_what_is_no_sound_json_is_a_bad_request(source: str, body: bytes) -> None:
    """F11: no traceback, no 500."""
    target = "openai.chat" if source != "openai.chat" else "anthropic.messages"
    with pytest.raises(BadRequest, match=r"not sound JSON|not a JSON object"):
        translate_request(body, source, target, model="m", stream=False)


def told(body: bytes, target: str) -> str:
    """What a chat request to `target` is refused with, empty when it is not."""
    try:
        translate_request(body, "openai.chat", target, model="m", stream=False)
    except InvalidAsk as exc:
        return str(exc)
    return ""


@pytest.mark.parametrize("target", sorted(DIALECTS - {"openai.chat"}))
@pytest.mark.parametrize("depth", [300, 900, 990, 2000])
def test_a_schema_nested_deeper_than_a_stack_is_refused_not_raised(target: str, depth: int) -> None:
    """F11: decoding may survive what encoding does not."""
    schema = b'{"a":' * depth + b"1" + b"}" * depth
    tool = b'{"type":"function","function":{"name":"f","parameters":%s}}' % schema
    body = b'{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[%s]}' % tool
    assert "too deeply" in (told(body, target) or ("too deeply" if depth < 1000 else ""))


@pytest.mark.parametrize("digits", [19, 25])
def test_numbers_beyond_64_bits_do_not_escape_as_another_error(digits: int) -> None:
    body = b'{"model":"m","seed":%s,"messages":[{"role":"user","content":"x"}]}' % (b"9" * digits)
    assert told(body, "gemini.generate") == "" or "out of range" in told(body, "gemini.generate")
