"""Generated streams through the providers, in whatever pieces they come: clients hear what was said (J5)."""

import json
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spoken_streams import SPEAKERS, STOPS, USAGES, Heard, Said, counted, replies

from turnout import Ask, Call, Credential, Secret
from turnout.abc import Provider
from turnout_anthropic import Anthropic, AnthropicSettings
from turnout_dialects import Usage
from turnout_gemini import Gemini, GeminiSettings
from turnout_openai import OpenAI, OpenAISettings
from turnout_wire.testing import Script, ScriptedTransport

SSE = {"content-type": "text/event-stream"}
CREDENTIAL = Credential(id="a", provider="p", api_key=Secret("sk-0123456789"))
SAY = [{"role": "user", "content": "hi"}]

ASKS: Mapping[str, dict[str, Any]] = {
    "openai.chat": {"model": "m", "messages": SAY},
    "openai.responses": {"model": "m", "input": "hi"},
    "anthropic.messages": {"model": "m", "max_tokens": 99, "messages": SAY},
    "gemini.generate": {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]},
}
PROVIDERS: Mapping[str, Callable[[], Provider]] = {
    "openai.chat": lambda: OpenAI(OpenAISettings(responses=False), now=lambda: 0.0),
    "openai.responses": lambda: OpenAI(OpenAISettings(chat=False), now=lambda: 0.0),
    "anthropic.messages": lambda: Anthropic(AnthropicSettings(), now=lambda: 0.0),
    "gemini.generate": lambda: Gemini(GeminiSettings(), now=lambda: 0.0),
}
PAIRS = [(client, upstream) for client in sorted(ASKS) for upstream in sorted(PROVIDERS)]


@settings(max_examples=15)
@pytest.mark.parametrize(("client", "upstream"), PAIRS)
@given(
    said=replies(),
    usage=USAGES,
    cuts=st.lists(st.integers(1, 4000), max_size=12),
    turns=st.randoms(use_true_random=False),
)
async def test_any_stream_reaches_any_client_whole(
    client: str, upstream: str, said: Said, usage: Usage, cuts: list[int], turns: Any
) -> None:
    """J5, J4: text, thoughts, calls and usage preserved, the finish exactly once; in its own dialect byte for byte."""
    sent = b"".join(SPEAKERS[upstream](said, usage, lambda calls: turns.sample(calls, len(calls))))
    edges = sorted({0, len(sent), *(cut % len(sent) for cut in cuts)})
    pieces = [sent[a:b] for a, b in pairwise(edges)]
    transport = ScriptedTransport(Script(headers=SSE, body=pieces))
    ask = Ask(model="m", dialect=client, payload=json.dumps(ASKS[client]).encode())
    call = Call(ask=ask, credential=CREDENTIAL, model="up", transport=transport)
    async with PROVIDERS[upstream]().stream(call) as stream:
        chunks = [chunk async for chunk in stream]

    made = b"".join(chunk.data for chunk in chunks)
    assert transport.open == 0
    assert any(chunk.payload for chunk in chunks)
    if client == upstream:
        assert made == sent
        return
    heard, calls = Heard(made, client), [arguments for kind, _, arguments in said if kind == "call"]
    assert heard.text == "".join(piece for kind, pieces, _ in said if kind == "text" for piece in pieces)
    assert heard.thought == "".join(piece for kind, pieces, _ in said if kind == "thought" for piece in pieces)
    assert sorted(json.dumps(arguments) for *_, arguments in heard.called) == sorted(map(json.dumps, calls))
    assert (heard.stops, heard.ends) == ([STOPS[client][0 if calls else 1]], 1)
    assert counted(heard.usage, client) == (usage.input, usage.cached, usage.output, usage.reasoning)
