"""The thinking suffix (C7.1) on requests that stay in their own vendor's dialect."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout import Ask, Call, Credential, InvalidRequest, Secret
from turnout.errors import UpstreamFailed
from turnout_anthropic import Anthropic, AnthropicSettings
from turnout_dialects import DIALECTS, BadRequest, split_suffix, with_thinking
from turnout_gemini import Gemini, GeminiSettings
from turnout_wire.testing import Script, ScriptedTransport

CHAT, RESPONSES, MESSAGES, GENERATE = "openai.chat", "openai.responses", "anthropic.messages", "gemini.generate"
CREDENTIAL = Credential(id="a", provider="p", api_key=Secret("sk-canary-0123456789"))
JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("model", "split"),
    [
        ("gpt-5.2(high)", ("gpt-5.2", "high")),
        ("gpt-5.2(XHigh)", ("gpt-5.2", "XHigh")),
        ("m(a)(8192)", ("m(a)", "8192")),
        ("m(none)", ("m", "none")),
        ("m(-1)", ("m", "-1")),
        ("m(+07)", ("m", "+07")),
        ("m", ("m", None)),
        ("m(high", ("m(high", None)),
        ("m(high) ", ("m(high) ", None)),
        ("m()", ("m()", None)),
        ("(high)", ("(high)", None)),
        ("llama(q4)", ("llama(q4)", None)),
        ("m(99999999999999999999)", ("m(99999999999999999999)", None)),
    ],
)
def test_a_suffix_that_no_reader_takes_is_part_of_the_name(model: str, split: tuple[str, str | None]) -> None:
    """C7.1."""
    assert split_suffix(model) == split


def written(dialect: str, model: str, suffix: str, **body: Any) -> dict[str, Any]:
    data = json.dumps({"model": f"{model}({suffix})", **body}).encode()
    found: dict[str, Any] = json.loads(with_thinking(data, dialect, model=model, suffix=suffix))
    assert found.pop("model") == model
    return found


def test_openais_chat_gets_an_effort() -> None:
    """C7.1."""
    assert written(CHAT, "gpt-5.2", "high", x=1) == {"x": 1, "reasoning_effort": "high"}
    assert written(CHAT, "gpt-5.2", "8192") == {"reasoning_effort": "medium"}
    assert written(CHAT, "gpt-5.2", "none", reasoning_effort="low") == {"reasoning_effort": "none"}
    assert written(CHAT, "gpt-5.2", "auto", reasoning_effort="low") == {}


def test_openais_responses_get_an_effort_beside_what_they_say_of_reasoning() -> None:
    """C7.1."""
    assert written(RESPONSES, "gpt-5.2", "low", reasoning={"summary": "auto"}) == {
        "reasoning": {"summary": "auto", "effort": "low"}
    }
    assert written(RESPONSES, "gpt-5.2", "auto", reasoning={"effort": "low"}) == {}


def test_anthropic_gets_a_budget_or_an_effort_as_the_model_takes_it() -> None:
    """C7.1."""
    old = written(MESSAGES, "claude-sonnet-4-5", "2048", max_tokens=4096, temperature=0.5)
    assert old == {"max_tokens": 4096, "thinking": {"type": "enabled", "budget_tokens": 2048}}
    new = written(MESSAGES, "claude-opus-5", "high", max_tokens=99, output_config={"format": {"type": "json_schema"}})
    assert new["thinking"] == {"type": "adaptive"}
    assert new["output_config"] == {"format": {"type": "json_schema"}, "effort": "high"}
    assert written(MESSAGES, "claude-sonnet-4-5", "none", max_tokens=9) == {
        "max_tokens": 9,
        "thinking": {"type": "disabled"},
    }


def test_a_forced_tool_of_anthropics_leaves_no_thinking() -> None:
    """C7.1: the two exclude each other, and the tool was asked for by name."""
    body = {"max_tokens": 4096, "tool_choice": {"type": "any"}}

    assert written(MESSAGES, "claude-sonnet-4-5", "2048", **body) == body


def test_gemini_gets_a_budget_or_a_level_as_the_model_takes_it() -> None:
    """C7.1."""
    config = {"temperature": 1, "thinkingConfig": {"includeThoughts": True, "thinkingBudget": 7}}
    assert written(GENERATE, "gemini-2.5-flash", "512", generationConfig=config)["generationConfig"] == {
        "temperature": 1,
        "thinkingConfig": {"includeThoughts": True, "thinkingBudget": 512},
    }
    assert written(GENERATE, "gemini-3.8-pro", "high") == {
        "generationConfig": {"thinkingConfig": {"thinkingLevel": "high"}}
    }
    assert written(GENERATE, "gemini-3.8-pro", "high", generation_config={"topK": 1}) == {
        "generation_config": {"topK": 1, "thinkingConfig": {"thinkingLevel": "high"}}
    }


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        (CHAT, b"[]"),
        (RESPONSES, b'{"reasoning": 3}'),
        (MESSAGES, b'{"thinking": "much"}'),
        (GENERATE, b'{"generationConfig": []}'),
    ],
)
def test_a_body_that_cannot_hold_the_parameter_is_a_mistake_of_the_client(dialect: str, body: bytes) -> None:
    with pytest.raises(BadRequest):
        with_thinking(body, dialect, model="m", suffix="high")


@given(dialect=st.sampled_from(sorted(DIALECTS)), suffix=st.sampled_from(["low", "max", "none", "auto", "5", "99999"]))
def test_nothing_else_in_the_body_changes(dialect: str, suffix: str) -> None:
    own = {"odd": [1.5, {"é": None}], "messages": [{"role": "user", "content": "\u2028"}]}
    found = written(dialect, "gemini-2.5-pro", suffix, **own)

    assert {name: found[name] for name in own} == own


async def sent_for(provider: Any, dialect: str, model: str, body: bytes, reply: bytes) -> tuple[str, bytes]:
    transport = ScriptedTransport(Script(headers=JSON, body=[reply]))
    ask = Ask(model=model, dialect=dialect, payload=body)
    await provider.execute(Call(ask=ask, credential=CREDENTIAL, model=model, transport=transport))
    (request,) = transport.requests
    return request.url.path, request.read()


async def test_a_suffix_reaches_anthropic_as_its_own_parameter() -> None:
    """C7.1: the name goes without it."""
    provider = Anthropic(AnthropicSettings(), now=lambda: 0.0)
    body = b'{"model":"claude-sonnet-4-5(2048)","max_tokens":4096,"messages":[]}'
    _, sent = await sent_for(provider, MESSAGES, "claude-sonnet-4-5(2048)", body, b'{"content":[]}')

    assert json.loads(sent) == {
        "model": "claude-sonnet-4-5",
        "max_tokens": 4096,
        "messages": [],
        "thinking": {"type": "enabled", "budget_tokens": 2048},
    }


async def test_a_suffix_reaches_gemini_as_its_own_parameter_and_its_path_without_it() -> None:
    """C7.1."""
    provider = Gemini(GeminiSettings(), now=lambda: 0.0)
    path, sent = await sent_for(provider, GENERATE, "gemini-3.8-pro(low)", b'{"contents":[]}', b'{"candidates":[]}')

    assert path == "/v1beta/models/gemini-3.8-pro:generateContent"
    assert json.loads(sent)["generationConfig"] == {"thinkingConfig": {"thinkingLevel": "low"}}


async def test_a_name_in_brackets_that_is_no_suffix_goes_out_with_the_body_untouched() -> None:
    """C7.1, J4."""
    provider = Anthropic(AnthropicSettings(), now=lambda: 0.0)
    body = b'{"model": "llama(q4)",  "max_tokens": 9, "messages": []}'

    assert (await sent_for(provider, MESSAGES, "llama(q4)", body, b'{"content":[]}'))[1] == body


async def test_a_suffix_on_a_body_that_cannot_take_it_blames_the_request() -> None:
    """B27."""
    provider = Gemini(GeminiSettings(), now=lambda: 0.0)
    with pytest.raises(UpstreamFailed) as caught:
        await sent_for(provider, GENERATE, "gemini-3.8-pro(low)", b'{"generationConfig":7}', b"{}")

    assert isinstance(caught.value.verdict, InvalidRequest)


async def test_a_suffix_of_a_translated_call_is_the_upstreams_parameter() -> None:
    """C7.1."""
    provider = Anthropic(AnthropicSettings(), now=lambda: 0.0)
    body = b'{"model":"x","messages":[{"role":"user","content":"hi"}]}'
    reply = json.dumps(
        {
            "content": [],
            "stop_reason": "end_turn",
            "role": "assistant",
            "type": "message",
            "id": "msg_1",
            "model": "m",
            "usage": {"input_tokens": 1, "output_tokens": 1},
        }
    ).encode()
    _, sent = await sent_for(provider, CHAT, "claude-opus-5(high)", body, reply)

    found = json.loads(sent)
    assert found["model"] == "claude-opus-5"
    assert found["output_config"] == {"effort": "high"}
