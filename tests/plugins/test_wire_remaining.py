"""What is left of a credential's limits, read from headers, and what comes of it in a pool."""

from collections.abc import Mapping
from typing import cast

import httpx
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from turnout import Ask, Call, Credential, Remaining, Secret
from turnout.abc import HasRemaining, Provider
from turnout.testing import scripted_kernel
from turnout_anthropic import Anthropic, AnthropicSettings
from turnout_openai import OpenAI, OpenAISettings
from turnout_selectors import LeastBusy
from turnout_wire._remaining import LIMITS, Gauge
from turnout_wire.testing import Script, ScriptedTransport, events

NOW = 1_790_000_000.0
JSON = {"content-type": "application/json"}
SSE = {"content-type": "text/event-stream"}
CREDENTIAL = Credential(id="a", provider="p", api_key=Secret("k-0123456789"))


def openai(requests: str, tokens: str = "", *, limit: str = "100", resets: str = "6s") -> dict[str, str]:
    said = {"limit-requests": limit, "remaining-requests": requests, "reset-requests": resets}
    more = {"limit-tokens": "1000", "remaining-tokens": tokens, "reset-tokens": "1m0s"} if tokens else {}
    return {f"x-ratelimit-{name}": value for name, value in (said | more).items()}


def anthropic(tokens: str) -> dict[str, str]:
    said = {"limit": "1000", "remaining": tokens, "reset": "2026-09-21T14:14:20Z"}
    return {f"anthropic-ratelimit-output-tokens-{name}": value for name, value in said.items()}


def read(headers: Mapping[str, str], dialect: str = "openai.chat") -> Remaining | None:
    return Gauge().read(headers, dialect, "a", "m", now=NOW)


@pytest.mark.parametrize(
    ("headers", "dialect", "share", "wait"),
    [
        (openai("25"), "openai.chat", 0.25, 6.0),
        (openai("25", "900"), "openai.responses", 0.25, 6.0),
        (openai("99", "100"), "openai.embeddings", 0.1, 60.0),
        (openai("0"), "openai.chat", 0.0, 6.0),
        (openai("150"), "openai.chat", 1.0, 6.0),
        (openai("25", resets="nonsense"), "openai.chat", 0.25, 60.0),
        (openai("25", resets="99999999s"), "openai.chat", 0.25, 86_400.0),
        (openai("25", resets="2099-01-01T00:00:00Z"), "openai.chat", 0.25, 86_400.0),
        (anthropic("500"), "anthropic.messages", 0.5, 60.0),
    ],
)
def test_the_limit_that_is_used_up_most_counts(
    headers: dict[str, str], dialect: str, share: float, wait: float
) -> None:
    assert read(headers, dialect) == Remaining(share=share, until=NOW + wait)


@pytest.mark.parametrize(
    "headers",
    [{}, {"openai-processing-ms": "5"}, openai("x"), openai("-1"), openai("5", limit="0"), openai("5", limit=""),
     openai("5", limit="1" + "0" * 40), openai("²")],
)  # fmt: skip
def test_numbers_that_are_none_say_nothing(headers: dict[str, str]) -> None:
    assert read(headers) is None


def test_google_says_nothing() -> None:
    assert read(openai("25"), "gemini.generate") is None


@given(st.lists(st.tuples(st.sampled_from([name for limit in LIMITS["openai.chat"] for name in limit]), st.text())))
def test_whatever_an_upstream_writes_it_is_a_share_or_nothing(pairs: list[tuple[str, str]]) -> None:
    found = read(dict(pairs))
    assert found is None or (0.0 <= found.share <= 1.0 and found.until >= NOW)


def test_the_same_word_is_the_same_value_until_its_limit_begins_anew() -> None:
    """Nothing is made for an answer that says what the last one said."""
    gauge = Gauge()
    first = gauge.read(openai("25"), "openai.chat", "a", "m", now=NOW)
    assert gauge.read(openai("25"), "openai.chat", "a", "m", now=NOW + 5) is first
    assert gauge.read(openai("25"), "openai.chat", "a", "n", now=NOW + 5) is not first
    later = gauge.read(openai("25"), "openai.chat", "a", "m", now=NOW + 6)
    assert later == Remaining(share=0.25, until=NOW + 12)
    assert gauge.read(openai("24"), "openai.chat", "a", "m", now=NOW + 6) != later


@pytest.mark.parametrize(
    ("provider", "dialect", "headers", "reply"),
    [
        (OpenAI(OpenAISettings(), now=lambda: NOW), "openai.chat", openai("25"), b'{"choices":[]}'),
        (Anthropic(AnthropicSettings(), now=lambda: NOW), "anthropic.messages", anthropic("250"), b'{"content":[]}'),
    ],
    ids=["openai", "anthropic"],
)
async def test_a_reply_says_what_is_left(
    provider: Provider, dialect: str, headers: dict[str, str], reply: bytes
) -> None:
    transport = ScriptedTransport(Script(headers=JSON | headers, body=[reply]), Script(headers=JSON, body=[reply]))
    ask = Ask(model="m", dialect=dialect, payload=b"{}")
    call = Call(ask=ask, credential=CREDENTIAL, model="m", transport=transport)
    found = (await provider.execute(call)).remaining
    assert found is not None
    assert found.share == 0.25
    assert (await provider.execute(call)).remaining is None


async def test_a_stream_says_it_as_well() -> None:
    transport = ScriptedTransport(Script(headers=SSE | openai("25"), body=events("a")))
    ask = Ask(model="m", dialect="openai.chat", payload=b"{}")
    provider = OpenAI(OpenAISettings(), now=lambda: NOW)
    async with provider.stream(Call(ask=ask, credential=CREDENTIAL, model="m", transport=transport)) as stream:
        assert cast(HasRemaining, stream).remaining == Remaining(share=0.25, until=NOW + 6)


TOML = """
[providers.openai]
models = [{ name = "m" }]
[[providers.openai.credentials]]
name = "a"
api_key = "key-of-a-0123"
[[providers.openai.credentials]]
name = "b"
api_key = "key-of-b-0123"
"""


class Upstream(httpx.AsyncBaseTransport):
    """Answers with what is left of each key; keeps the order of the keys that came."""

    api = 1

    def __init__(self, left: dict[str, str]) -> None:
        self.left, self.came = left, ""

    def for_credential(self, credential: Credential) -> httpx.AsyncBaseTransport:
        return self

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        who = request.headers["authorization"].removeprefix("Bearer key-of-")[0]
        self.came += who
        headers = JSON | openai(self.left[who], resets="30s")
        script = ScriptedTransport(Script(headers=headers, body=[b'{"choices":[]}']))
        return await script.handle_async_request(request)


async def test_least_busy_spares_whoever_is_about_to_be_refused(autojump_clock: trio.testing.MockClock) -> None:
    """Until the limit begins anew, or while nobody else is there."""
    upstream = Upstream({"a": "3", "b": "90"})
    provider = OpenAI(OpenAISettings(), now=lambda: 1_800_000_000 + trio.current_time())
    ask = Ask(model="m", dialect="openai.chat", payload=b'{"model":"m"}')
    made = scripted_kernel(TOML, {"openai": provider}, selector=LeastBusy(), transports={"none": upstream})  # type: ignore[dict-item]  # any provider will do
    async with made as kernel:
        for _ in range(6):
            await kernel.execute(ask)
        assert upstream.came == "abbbbb"
        await trio.sleep(31)
        upstream.left, upstream.came = {"a": "1", "b": "1"}, ""
        for _ in range(6):
            await kernel.execute(ask)
        assert upstream.came == "ababab"
