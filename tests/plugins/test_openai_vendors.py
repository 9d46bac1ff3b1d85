"""The vendors of the provider `openai`: each row's address, key and refusals, and Azure's paths (B22, B24)."""

import json
from typing import Any

import attrs
import httpx
import pytest

from turnout import (
    Ask,
    Call,
    Credential,
    Failed,
    Failure,
    InvalidRequest,
    ModelMissing,
    Overloaded,
    PaymentRequired,
    RateLimited,
    Secret,
    Sent,
    Transient,
    Unauthorized,
)
from turnout.abc import ModelLister
from turnout.errors import UpstreamFailed
from turnout_oauth import OAuthSettings
from turnout_openai import VENDORS, AzureOpenAI, AzureSettings, OpenAI, OpenAISettings
from turnout_openai._azure import RenewingAzure
from turnout_openai._chat_events import CONTENT
from turnout_wire.testing import Script, ScriptedTransport

JSON = {"content-type": "application/json"}
REPLIES = {"openai.chat": b'{"choices":[]}', "openai.responses": b'{"output":[]}', "openai.embeddings": b'{"data":[]}'}
PATHS = {"openai.chat": "/chat/completions", "openai.responses": "/responses", "openai.embeddings": "/embeddings"}
KEYED = Credential(id="a", provider="p", api_key=Secret("k-0123456789"))
KEYLESS = Credential(id="a", provider="p")
AZURE = "https://house.openai.azure.com"

Provider = OpenAI | AzureOpenAI


def vendor(name: str) -> OpenAI:
    return OpenAI(OpenAISettings(vendor=name), now=lambda: 0.0)


def azure(version: str = "") -> AzureOpenAI:
    return AzureOpenAI(AzureSettings(base_url=AZURE, api_version=version), now=lambda: 0.0)


async def sent(provider: Provider, dialect: str, credential: Credential = KEYED) -> httpx.Request:
    transport = ScriptedTransport(Script(headers=JSON, body=[REPLIES[dialect]]))
    ask = Ask(model="m", dialect=dialect, payload=b'{"model":"m"}')
    call = Call(ask=ask, credential=credential, model="team/m", transport=transport)
    await (provider.embed if dialect == "openai.embeddings" else provider.execute)(call)
    (request,) = transport.requests
    return request


async def refused(provider: Provider, status: int, body: str, headers: dict[str, str]) -> Failure:
    transport = ScriptedTransport(Script(status=status, headers=JSON | headers, body=[body.encode()]))
    ask = Ask(model="m", dialect="openai.chat", payload=b'{"model":"m"}')
    with pytest.raises(UpstreamFailed) as caught:
        await provider.execute(Call(ask=ask, credential=KEYED, model="m", transport=transport))
    return caught.value.verdict


@pytest.mark.parametrize("name", VENDORS)
async def test_a_vendor_is_called_at_its_address_in_the_dialects_it_speaks(name: str) -> None:
    row = VENDORS[name]
    assert vendor(name).dialects == row.dialects
    for dialect in row.dialects:
        request = await sent(vendor(name), dialect)
        assert str(request.url) == row.base_url + PATHS[dialect]
        assert request.headers["authorization"] == "Bearer k-0123456789"


@pytest.mark.parametrize("name", VENDORS)
async def test_only_those_that_serve_without_a_key_are_called_without_one(name: str) -> None:
    """Nothing is sent that is bound to be refused; another address may well want none."""
    elsewhere = attrs.evolve(KEYLESS, attributes={"base_url": "http://127.0.0.1:9/v1"})
    assert "authorization" not in (await sent(vendor(name), "openai.chat", elsewhere)).headers
    if VENDORS[name].keyless:
        assert "authorization" not in (await sent(vendor(name), "openai.chat", KEYLESS)).headers
        return
    with pytest.raises(UpstreamFailed, match="no api_key") as caught:
        await sent(vendor(name), "openai.chat", KEYLESS)
    assert caught.value.verdict.sent is Sent.NO
    assert isinstance(caught.value.verdict, Unauthorized)


@pytest.mark.parametrize("name", VENDORS)
def test_a_row_says_where_it_comes_from_and_what_reasoning_is_called(name: str) -> None:
    row = VENDORS[name]
    assert "." in row.source
    assert row.reasoning in {"", *CONTENT}, "otherwise a reasoning chunk would be no payload"


@pytest.mark.parametrize("settings", [{"responses": False}, {"vendor": "deepseek"}])
def test_a_service_that_has_neither_chats_nor_responses_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="leaves nothing to call"):
        OpenAISettings(chat=False, **settings)


def test_an_unknown_vendor_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(ValueError, match=r"did you mean groq\?"):
        OpenAISettings(vendor="grok")
    with pytest.raises(ValueError, match="give its base_url"):
        OpenAISettings(vendor="acme")


SAID = "message that explains it"


def error(**members: object) -> str:
    return json.dumps({"error": {"message": SAID} | members})


CASES: list[tuple[str, int, str, dict[str, str], type[Failure], float | None]] = [
    ("openai", 429, error(type="requests", code="rate_limit_exceeded"),
     {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s", "x-ratelimit-reset-tokens": "1s",
      "x-ratelimit-remaining-tokens": "9"}, RateLimited, 360.0),
    ("openai", 429, error(type="insufficient_quota", code="credit_balance_exhausted"), {}, PaymentRequired, None),
    ("openai", 429, error(type="insufficient_quota", code="project_spend_limit_exceeded"), {}, PaymentRequired, None),
    ("openai", 429, error(code="organization_usage_limit_exceeded"), {}, PaymentRequired, None),
    ("openai", 503, error(code="server_is_overloaded"), {"retry-after": "2"}, Overloaded, 2.0),
    ("openrouter", 402, error(code=402, metadata={"limit_source": "openrouter_credits"}), {}, PaymentRequired, None),
    ("openrouter", 403, error(code=403, metadata={"reasons": ["violence"]}), {}, InvalidRequest, None),
    ("openrouter", 429, error(code=429), {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1790000060000"},
     RateLimited, 1790000060.0),
    ("openrouter", 200, error(code=502, metadata={"provider_name": "x"}), {}, Transient, None),
    ("deepseek", 402, error(type="unknown_error"), {}, PaymentRequired, None),
    ("deepseek", 503, "Service is too busy", {}, Overloaded, None),
    ("groq", 498, error(type="capacity_exceeded"), {"retry-after": "7"}, Overloaded, 7.0),
    ("groq", 413, error(type="tokens", code="rate_limit_exceeded"), {}, Failed, None),
    ("groq", 413, error(type="invalid_request_error"), {}, InvalidRequest, None),
    ("groq", 429, error(type="tokens", code="rate_limit_exceeded"), {"retry-after": "579"}, RateLimited, 579.0),
    ("mistral", 429, '{"object":"error","message":"' + SAID + '","type":"rate_limit_error"}', {}, RateLimited, None),
    ("mistral", 422, '{"detail":[{"loc":["body","x"],"msg":"no"}]}', {}, InvalidRequest, None),
    ("xai", 400, '{"code":"invalid-argument","error":"Incorrect API key provided: k-***."}', {}, Unauthorized, None),
    ("xai", 429, '{"code":"x","error":"You have used all available credits or"}', {}, PaymentRequired, None),
    ("xai", 429, '{"code":"x","error":"Too many tokens for team"}', {}, RateLimited, None),
    ("together", 403, error(type="invalid_request_error"), {}, InvalidRequest, None),
    ("together", 503, error(), {}, Overloaded, None),
    ("fireworks", 403, error(), {}, Unauthorized, None),
    ("fireworks", 412, error(), {}, PaymentRequired, None),
    ("vllm", 400, error(type="BadRequestError", code=400), {}, InvalidRequest, None),
    ("vllm", 404, error(type="NotFoundError", code=404), {}, ModelMissing, None),
    ("ollama", 404, '{"error":"model not found"}', {}, ModelMissing, None),
    ("llama.cpp", 400, error(type="exceed_context_size_error", code=400), {}, InvalidRequest, None),
    ("llama.cpp", 503, error(type="unavailable_error", code=503), {}, Transient, None),
    ("azure", 400, error(code="content_filter", innererror={"code": "ResponsibleAIPolicyViolation"}), {},
     InvalidRequest, None),
    ("azure", 404, error(code="DeploymentNotFound"), {}, ModelMissing, None),
    ("azure", 429, error(code="429"), {"retry-after-ms": "1500", "retry-after": "2"}, RateLimited, 1.5),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "status", "body", "headers", "kind", "wait"),
    CASES,
    ids=[f"{place}-{case[0]}-{case[1]}" for place, case in enumerate(CASES)],
)
async def test_a_vendors_refusal_is_the_verdict_that_it_means(
    name: str, status: int, body: str, headers: dict[str, str], kind: type[Failure], wait: float | None
) -> None:
    """B22, B24, B25."""
    found = await refused(azure() if name == "azure" else vendor(name), status, body, headers)
    assert type(found) is kind
    assert found.retry_after == wait


async def test_what_one_vendor_means_by_a_status_is_not_what_another_does() -> None:
    """A row's marks are its own."""
    assert isinstance(await refused(vendor("openai"), 403, error(), {}), PaymentRequired)
    assert isinstance(await refused(vendor("openai"), 413, error(code="rate_limit_exceeded"), {}), InvalidRequest)


@pytest.mark.parametrize(
    ("version", "dialect", "url"),
    [
        ("", "openai.chat", "/openai/v1/chat/completions"),
        ("", "openai.responses", "/openai/v1/responses"),
        ("", "openai.embeddings", "/openai/v1/embeddings"),
        ("2024-10-21", "openai.chat", "/openai/deployments/team%2Fm/chat/completions?api-version=2024-10-21"),
        ("2024-10-21", "openai.embeddings", "/openai/deployments/team%2Fm/embeddings?api-version=2024-10-21"),
        ("2025-04-01-preview", "openai.responses", "/openai/responses?api-version=2025-04-01-preview"),
    ],
)
async def test_azure_is_called_with_its_own_paths_and_header(version: str, dialect: str, url: str) -> None:
    request = await sent(azure(version), dialect)
    assert str(request.url) == AZURE + url
    assert request.headers["api-key"] == "k-0123456789"
    assert "authorization" not in request.headers
    assert json.loads(request.read()) == {"model": "team/m"}


def test_azure_is_not_asked_for_its_models() -> None:
    """Its list has base models, where clients name deployments."""
    for version in ("", "2024-10-21"):
        assert not isinstance(azure(version), ModelLister)
    assert isinstance(vendor("openai"), ModelLister)


async def test_azure_takes_a_token_of_entra_id_as_a_bearer() -> None:
    oauth = OAuthSettings(token_url="https://login.example.com/t", client_id="turnout")
    renewing = RenewingAzure(AzureSettings(base_url=AZURE, oauth=oauth), now=lambda: 0.0)
    token = Credential(id="a", provider="p", metadata={"access_token": "token-0123456789"})  # type: ignore[arg-type]
    headers = (await sent(renewing, "openai.chat", token)).headers
    assert headers["authorization"] == "Bearer token-0123456789"
    assert "api-key" not in headers


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"base_url": AZURE + "/openai/v1"}, "ends before /openai"),
        ({"base_url": "house"}, "base_url must be"),
        ({"base_url": AZURE, "api_version": "v1"}, "a date"),
        ({"base_url": AZURE, "api_version": "2024-10-21&x=1"}, "a date"),
    ],
)
def test_settings_of_azure_that_cannot_work_are_refused(settings: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        AzureSettings(**settings)


async def test_a_listing_that_is_a_bare_array_is_read_as_well() -> None:
    """As Together gives it."""
    transport = ScriptedTransport(Script(headers=JSON, body=[b'[{"id":"a"},7,{"id":"b"}]']))
    assert list(await vendor("together").models(KEYED, transport)) == ["a", "b"]
    with pytest.raises(UpstreamFailed, match="no 'data'"):
        await vendor("openai").models(KEYED, ScriptedTransport(Script(headers=JSON, body=[b"{}"])))
