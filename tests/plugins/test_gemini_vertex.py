"""The provider `vertex`: where its models are, and the tokens of its service accounts."""

import json
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from turnout import Ask, Call, Credential, Metadata, Operation, Secret, Sent, Unauthorized
from turnout.abc import Counter, Embedder, HasTokenOrigin, ModelLister, Provider, Refresher, RequestPreparer, Sender
from turnout.errors import UpstreamFailed
from turnout_gemini import Vertex, VertexSettings
from turnout_wire.testing import Script, ScriptedTransport, Step

NOW = 1_790_000_000.0
TOKEN = "ya29.canary-0123456789"
JSON = {"content-type": "application/json"}
BODY = b'{"contents": [{"role":"user","parts":[{"text":"hi"}]}]}'
MODELS = "/publishers/google/models"


def vertex(**settings: Any) -> Vertex:
    return Vertex(VertexSettings(**({"project": "house"} | settings)), now=lambda: NOW)


def credential(**attributes: str) -> Credential:
    return Credential(id="a", provider="vertex", metadata=Metadata({"access_token": TOKEN}), attributes=attributes)


def call(transport: httpx.AsyncBaseTransport, known: Credential | None = None) -> Call:
    ask = Ask(model="m", dialect="gemini.generate", payload=BODY)
    return Call(ask=ask, credential=known or credential(), model="gemini-3-pro", transport=transport)


def test_it_offers_what_the_kernel_looks_for() -> None:
    """C2.1, C2.2."""
    made: Provider = vertex()
    for kind in (Counter, Embedder, HasTokenOrigin, ModelLister, Refresher, RequestPreparer, Sender):
        assert isinstance(made, kind)


@pytest.mark.parametrize(
    ("settings", "attributes", "origin", "place"),
    [
        ({}, {}, "https://aiplatform.googleapis.com", "house global"),
        ({"location": "asia-east1"}, {}, "https://asia-east1-aiplatform.googleapis.com", "house asia-east1"),
        ({"location": "eu"}, {}, "https://aiplatform.eu.rep.googleapis.com", "house eu"),
        (
            {},
            {"project": "yard", "location": "us-east5"},
            "https://us-east5-aiplatform.googleapis.com",
            "yard us-east5",
        ),
        ({"base_url": "https://vertex.internal"}, {}, "https://vertex.internal", "house global"),
        ({}, {"base_url": "http://127.0.0.1:9"}, "http://127.0.0.1:9", "house global"),
    ],
)
@pytest.mark.parametrize(
    ("method", "verb", "reply"),
    [
        ("execute", "generateContent", b'{"candidates":[]}'),
        ("count", "countTokens", b'{"totalTokens":3}'),
        ("embed", "embedContent", b'{"embedding":{"values":[1.0]}}'),
    ],
)
async def test_a_model_is_in_its_project_and_location(
    settings: dict[str, str], attributes: dict[str, str], origin: str, place: str, method: str, verb: str, reply: bytes
) -> None:
    """S11: the origin that the credential may be sent to follows its location."""
    transport = ScriptedTransport(Script(headers=JSON, body=[reply]))
    provider, known = vertex(**settings), credential(**attributes)
    assert (await getattr(provider, method)(call(transport, known))).body == reply
    (sent,) = transport.requests
    assert str(sent.url) == f"{origin}/v1/projects/{place.replace(' ', '/locations/')}{MODELS}/gemini-3-pro:{verb}"
    assert provider.origin(known).startswith(origin)
    assert sent.headers["authorization"] == f"Bearer {TOKEN}"
    assert sent.read() == BODY


def asked(operation: Operation, body: bytes, transport: httpx.AsyncBaseTransport, dialect: str) -> Call:
    ask = Ask(model="m", dialect=dialect, operation=operation, payload=body)
    return Call(ask=ask, credential=credential(), model="gemini-3-pro", transport=transport)


async def test_a_whole_request_is_counted_by_its_members() -> None:
    """The Gemini API wraps it; Vertex does not."""
    inner = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}], "tools": []}
    body = json.dumps({"generateContentRequest": inner | {"model": "models/m"}}).encode()
    transport = ScriptedTransport(Script(headers=JSON, body=[b'{"totalTokens":3}']))
    await vertex().count(asked(Operation.COUNT, body, transport, "gemini.generate"))

    (sent,) = transport.requests
    assert json.loads(sent.read()) == inner


ONE = {"content": {"parts": [{"text": "a"}]}}


@pytest.mark.parametrize(
    ("body", "verb", "sent"),
    [
        (
            ONE | {"model": "models/m", "taskType": "RETRIEVAL_QUERY", "outputDimensionality": 2},
            "embedContent",
            ONE | {"embedContentConfig": {"taskType": "RETRIEVAL_QUERY", "outputDimensionality": 2}},
        ),
        (
            {"requests": [ONE | {"model": "models/m", "title": "t"}, ONE]},
            "batchEmbedContents",
            {"requests": [ONE | {"embedContentConfig": {"title": "t"}}, ONE]},
        ),
        (
            ONE | {"embedContentConfig": {"taskType": "CLUSTERING"}, "taskType": "OTHER"},
            "embedContent",
            ONE | {"embedContentConfig": {"taskType": "CLUSTERING"}},
        ),
    ],
)
async def test_embeddings_of_the_gemini_api_are_said_as_vertex_has_them(
    body: dict[str, Any], verb: str, sent: dict[str, Any]
) -> None:
    transport = ScriptedTransport(Script(headers=JSON, body=[b'{"embeddings":[]}']))
    await vertex().embed(asked(Operation.EMBED, json.dumps(body).encode(), transport, "gemini.generate"))

    (request,) = transport.requests
    assert str(request.url).endswith(f"gemini-3-pro:{verb}")
    assert json.loads(request.read()) == sent


async def test_openais_client_gets_embeddings_of_vertex() -> None:
    vectors = {"embeddings": [{"values": [0.5]}, {"values": [1.0]}]}
    transport = ScriptedTransport(Script(headers=JSON, body=[json.dumps(vectors).encode()]))
    body = b'{"model":"m","input":["a","b"],"dimensions":1}'
    reply = await vertex().embed(asked(Operation.EMBED, body, transport, "openai.embeddings"))

    (request,) = transport.requests
    assert str(request.url).endswith("gemini-3-pro:batchEmbedContents")
    sized = {"embedContentConfig": {"outputDimensionality": 1}}
    assert json.loads(request.read()) == {
        "requests": [sized | {"content": {"parts": [{"text": text}]}} for text in "ab"]
    }
    assert [one["embedding"] for one in json.loads(reply.body)["data"]] == [[0.5], [1.0]]


async def test_a_stream_is_asked_for_as_events() -> None:
    steps: list[Step] = [b'data: {"candidates":[{"content":{"parts":[{"text":"hi"}]},"finishReason":"STOP"}]}\r\n\r\n']
    transport = ScriptedTransport(Script(headers={"content-type": "text/event-stream"}, body=steps))
    async with vertex().stream(call(transport)) as stream:
        assert [chunk.data async for chunk in stream] == steps
    assert transport.requests[0].url.raw_path.endswith(b":streamGenerateContent?alt=sse")


async def test_googles_models_are_listed_without_their_prefix() -> None:
    body = b'{"publisherModels":[{"name":"publishers/google/models/gemini-3-pro"},{}]}'
    transport = ScriptedTransport(Script(headers=JSON, body=[body]))
    assert list(await vertex().models(credential(), transport)) == ["gemini-3-pro"]
    assert str(transport.requests[0].url) == "https://aiplatform.googleapis.com/v1beta1/publishers/google/models"


@pytest.mark.parametrize(
    "known",
    [Credential(id="a", provider="p", api_key=Secret("AIza-0123456789")), Credential(id="a", provider="p")],
    ids=["a key", "nothing"],
)
async def test_without_a_token_nothing_is_sent(known: Credential) -> None:
    transport = ScriptedTransport(Script())
    with pytest.raises(UpstreamFailed) as caught:
        await vertex().execute(call(transport, known))
    assert isinstance(caught.value.verdict, Unauthorized)
    assert caught.value.verdict.sent is Sent.NO
    assert transport.requests == []


@pytest.fixture
def pem() -> str:
    """A new private key, made before the loop runs: looking for its primes takes up to a second."""
    key = rsa.generate_private_key(65537, 2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


async def test_a_service_account_signs_for_its_token_at_google(pem: str) -> None:
    """The key itself is in no request; the new token is what the next call carries."""
    file = json.dumps({"client_email": "robot@house.test", "private_key": pem})
    robot = Credential(id="a", provider="vertex", metadata=Metadata({"service_account": file}))
    answer = json.dumps({"access_token": TOKEN, "expires_in": 3599, "token_type": "Bearer"}).encode()
    transport = ScriptedTransport(Script(headers=JSON, body=[answer]))

    provider = vertex()
    assert provider.token_origin(robot) == "https://oauth2.googleapis.com:443"
    renewed = await provider.refresh(robot, transport)

    form = parse_qs(transport.requests[0].read().decode())
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    assert pem[40:80] not in transport.requests[0].read().decode()
    assert str(transport.requests[0].url) == "https://oauth2.googleapis.com/token"
    upstream = ScriptedTransport(Script(headers=JSON, body=[b'{"candidates":[]}']))
    await provider.execute(call(upstream, renewed))
    assert upstream.requests[0].headers["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    ("settings", "match"),
    [({"project": ""}, "id of a project"), ({"project": "a/b"}, "id of a project"), ({"location": "Europe"}, "global"),
     ({"location": "x.evil.test/"}, "global"), ({"base_url": "vertex"}, "base_url")],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused(settings: dict[str, str], match: str) -> None:
    """S11: a location cannot name another host."""
    with pytest.raises(ValueError, match=match):
        vertex(**settings)
