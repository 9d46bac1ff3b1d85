"""Every provider, one suite: the laws of a provider, and rows B12 to B16, B22, B24, B25 and B28 of the acceptance."""

import json
from typing import Any

import attrs
import httpx
import pytest
import trio
from provider_kinds import KINDS, NOW, SPENT, Kind
from stream_reading import read_stream

from turnout import Call, Chunk, Failure, Metadata, PaymentRequired, Protocol, RateLimited, Reply, Secret, Sent
from turnout.errors import UpstreamFailed
from turnout.testing import CANARY, check_provider
from turnout_wire import REQUEST_HEADERS, UpstreamAnswer
from turnout_wire._headers import REPLY_HEADERS
from turnout_wire.testing import HttpDouble, Script, ScriptedTransport, Step

JSON = {"content-type": "application/json"}
SSE = {"content-type": "text/event-stream"}

every_provider = pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])


def call(kind: Kind, transport: ScriptedTransport) -> Call:
    return Call(ask=kind.ask, credential=kind.credential, model="m", transport=transport)


async def executed(kind: Kind, script: Script) -> Reply:
    transport = ScriptedTransport(script)
    try:
        return await kind.make().execute(call(kind, transport))
    finally:
        assert transport.open == 0
        assert len(transport.requests) == 1, "a provider never retries"


async def failed(kind: Kind, script: Script) -> Failure:
    with pytest.raises(UpstreamFailed) as caught:
        await executed(kind, script)
    return caught.value.verdict


async def read(kind: Kind, *steps: Step, headers: Any = SSE) -> tuple[list[Chunk], Failure | None]:
    """All chunks of a stream, and how it failed."""
    transport = ScriptedTransport(Script(headers=headers, body=steps))
    return await read_stream(kind.make().stream(call(kind, transport)), transport)


def passed(chunks: list[Chunk]) -> bytes:
    return b"".join(chunk.data for chunk in chunks)


@every_provider
async def test_it_keeps_the_laws_of_a_provider(kind: Kind, autojump_clock: trio.testing.MockClock) -> None:
    """Design 7: cancellation, back-pressure, verdicts, redaction, no retry, no leak (S40, S45, O37, D8)."""
    double = HttpDouble(reply=kind.reply, events=kind.sound)
    double.refusals = kind.refusals
    await check_provider(kind.make(), double, kind.ask, metadata={"access_token": CANARY} if kind.tokens else None)


@every_provider
async def test_a_sound_stream_passes_byte_for_byte_in_whatever_pieces_it_comes(kind: Kind) -> None:
    """J4: the opening is no payload, content is, and the end is seen."""
    whole = b"".join(kind.sound)
    for steps in (kind.sound, [whole], [whole[i : i + 7] for i in range(0, len(whole), 7)]):
        chunks, failure = await read(kind, *steps)
        assert failure is None
        assert passed(chunks) == whole
        assert not chunks[0].payload
        assert any(chunk.payload for chunk in chunks)


@every_provider
async def test_an_error_shows_no_secret_of_any_credential_that_the_upstream_was_sent(kind: Kind) -> None:
    """S45: an upstream that mixes its clients up."""
    secret = "another-clients-key-0123"
    field = {"metadata": Metadata({"access_token": secret})} if kind.tokens else {"api_key": Secret(secret)}
    other = attrs.evolve(kind.credential, id="other", **field)
    said = f'{{"error":{{"message":"key={secret}, is used up","code":429}}}}'.encode()
    scripts = [
        Script(headers=JSON, body=[kind.reply]),
        Script(status=429, headers=JSON, body=[said]),
        Script(headers=SSE, body=[b"event: error\ndata: " + said + b"\n\n"]),
    ]
    transport = ScriptedTransport(*scripts)
    provider = kind.make()
    await provider.execute(attrs.evolve(call(kind, transport), credential=other))
    with pytest.raises(UpstreamFailed) as refused:
        await provider.execute(call(kind, transport))
    with pytest.raises(UpstreamFailed) as broken:
        async with provider.stream(call(kind, transport)) as stream:
            await anext(stream)
    for failure in (refused.value.verdict, broken.value.verdict):
        assert isinstance(failure.detail, UpstreamAnswer)
        assert b"is used up" in failure.detail.body
        assert secret not in failure.detail.body.decode() + failure.message


@every_provider
async def test_a_stream_that_ends_without_its_end_is_broken(kind: Kind) -> None:
    """B12: a clean FIN."""
    chunks, failure = await read(kind, kind.opening, kind.content, kind.content)
    assert isinstance(failure, Protocol)
    assert passed(chunks) == kind.opening + kind.content + kind.content


@every_provider
@pytest.mark.parametrize(
    ("headers", "tail"),
    [({}, httpx.RemoteProtocolError("")), ({"content-length": "9999"}, b""), ({"content-length": "3"}, b"")],
    ids=["bad chunk", "longer", "shorter"],
)
async def test_a_body_that_is_not_as_long_as_it_says_is_broken(
    kind: Kind, headers: dict[str, str], tail: bytes | Exception
) -> None:
    """B13."""
    found = await failed(kind, Script(headers=JSON | headers, body=[kind.reply, tail]))
    assert isinstance(found, Protocol)
    assert found.sent is Sent.ANSWERED


@every_provider
async def test_garbage_in_place_of_an_answer_is_broken(kind: Kind) -> None:
    """B14: HTML, other JSON, binary."""
    for headers, body in (({"content-type": "text/html"}, b"<html>"), (JSON, b'{"a":1}'), (JSON, b"\x00\xff" * 50)):
        assert isinstance(await failed(kind, Script(headers=headers, body=[body])), Protocol)
        chunks, found = await read(kind, body, headers=headers)
        assert (chunks, type(found)) == ([], Protocol)
    _, found = await read(kind, b"\x00\xff\n\n" * 50)
    assert isinstance(found, Protocol)


ODD = [
    b"data: {nonsense\n\n",
    b'event: unheard_of\ndata: {"type":"unheard_of"}\n\n',
    b": a comment\n\n",
    b"data:\n\n",
    b'data: {"a":\ndata: 1}\n\n',
    'data: {"a":"\u2028\u0085"}\n\n'.encode(),
    b"\xef\xbb\xbf: late\n\n",
    b"data: \xff\xfe\n\n",
]


@every_provider
async def test_an_odd_event_passes_byte_exact_and_ends_nothing(kind: Kind) -> None:
    """B15: malformed JSON, unknown events, comments, two lines, U+2028, U+0085; before and after the first payload."""
    for odd in ODD:
        for steps in ([odd, *kind.sound], [kind.opening, kind.content, odd, kind.content, kind.end]):
            chunks, failure = await read(kind, *steps)
            assert failure is None
            assert passed(chunks) == b"".join(steps)


@every_provider
@pytest.mark.parametrize("newline", [b"\r", b"\r\n"])
async def test_other_line_ends_and_a_byte_order_mark_are_understood(kind: Kind, newline: bytes) -> None:
    """B15."""
    steps = [piece.replace(b"\n", newline) for piece in [b"\xef\xbb\xbf" + kind.opening, *kind.sound[1:]]]
    chunks, failure = await read(kind, *steps)
    assert failure is None
    assert passed(chunks) == b"".join(steps)
    assert [chunk.payload for chunk in chunks[:2]] == [False, True]


@every_provider
async def test_an_endless_line_or_event_is_cut_off(kind: Kind) -> None:
    """B16: 1 MiB of a line, 4 MiB of an event, before and after the first payload."""
    lines = [b"data: " + b"y" * 1_000_000 + b"\n"] * 5
    for before in ([], [kind.opening, kind.content]):
        for endless in ([b"data: " + b"x" * (1 << 20) + b"x"], lines):
            _, failure = await read(kind, *before, *endless)
            assert isinstance(failure, Protocol)
            assert "longer than" in failure.message


IMAGES: dict[str, dict[str, Any]] = {
    "openai.chat": {"choices": [{"delta": {"role": "assistant", "content": "", "images": [{"image_url": {}}]}}]},
    "openai.responses": {"type": "response.image_generation_call.partial_image", "partial_image_b64": "iVBOR"},
    "gemini.generate": {"candidates": [{"content": {"parts": [{"inlineData": {"mimeType": "image/png"}}]}}]},
}
"""Events as their vendors send them, but for the size of the picture; Anthropic's models send none."""

with_images = [kind for kind in KINDS if kind.dialect in IMAGES]


@pytest.mark.parametrize("kind", with_images, ids=[kind.name for kind in with_images])
async def test_an_image_passes_in_one_line_of_several_mebibytes(kind: Kind) -> None:
    """Before any other payload and after it, in pieces as they come from a socket."""
    event = b"data: " + json.dumps(IMAGES[kind.dialect] | {"picture": "x" * (5 << 20)}).encode() + b"\r\n\r\n"
    for before in (kind.opening, kind.opening + kind.content):
        whole = before + event + kind.content + kind.end
        chunks, failure = await read(kind, *(whole[i : i + 262_144] for i in range(0, len(whole), 262_144)))
        assert failure is None
        assert passed(chunks) == whole


@every_provider
async def test_an_error_inside_a_200_is_what_its_status_would_be(kind: Kind) -> None:
    """B22: as a reply, in place of a stream, as the first event, and after content."""
    found = await failed(kind, Script(headers=JSON, body=[kind.failed]))
    assert isinstance(found, RateLimited)
    assert found.sent is Sent.ANSWERED
    assert isinstance((await read(kind, kind.failed, headers=JSON))[1], RateLimited)
    for before in ([], [kind.opening], [kind.opening, kind.content]):
        chunks, failure = await read(kind, *before, kind.error, kind.content)
        assert isinstance(failure, RateLimited)
        assert passed(chunks) == b"".join(before), "its event is told by the frontend, and nothing follows it"


@every_provider
async def test_a_spent_account_is_not_a_rate_limit(kind: Kind) -> None:
    """B24: no short wait, and no blame on the request."""
    for status, body in SPENT[kind.dialect]:
        found = await failed(kind, Script(status=status, headers=JSON, body=[body.encode()]))
        assert type(found) is kind.marks.get(str(status), PaymentRequired)
        assert found.retry_after is None


HINTS = [
    ("3", 3.0),
    ("86400", 86_400.0),
    ("Mon, 21 Sep 2026 14:13:30 GMT", 10.0),
    ("Mon, 21 Sep 2020 14:13:30 GMT", 0.0),
    ("-5", None),
    ("soon", None),
    ("", None),
    ("1" + "0" * 30, 1e30),
]


@every_provider
@pytest.mark.parametrize(
    ("value", "wait"), HINTS, ids=["seconds", "a day", "date", "past", "negative", "garbage", "empty", "huge"]
)
async def test_a_hint_of_any_form_is_a_wait_or_nothing(kind: Kind, value: str, wait: float | None) -> None:
    """B25: the kernel clamps it."""
    found = await failed(kind, Script(status=429, headers=JSON | {"retry-after": value}, body=[b"{}"]))
    assert found == RateLimited(message="upstream answered 429", retry_after=wait, detail=found.detail)


HOSTILE = [
    *((f"x-filler-{number}", "v") for number in range(1500)),
    ("x-long", "v" * 100_000),
    ("set-cookie", "a=b"),
    ("connection", "keep-alive, x-secret"),
    ("x-secret", "internal"),
    ("server", "nginx"),
    ("x-ratelimit-limit-requests", "7\r\nset-cookie: evil=1"),
    ("anthropic-ratelimit-requests-limit", "7\x00"),
    ("openai-version", "one"),
    ("openai-version", "two"),
    ("openai-processing-ms", "5"),
    ("anthropic-ratelimit-tokens-limit", "9"),
]


@every_provider
async def test_only_listed_and_sound_headers_reach_a_client(kind: Kind) -> None:
    """B28: 1,500 of them, 100 KB, CR, LF and NUL, repeated ones, cookies and hop-by-hop."""
    sound = {"openai-processing-ms": "5", "anthropic-ratelimit-tokens-limit": "9"}
    expected = {name: value for name, value in sound.items() if name in REPLY_HEADERS[kind.dialect]}
    reply = await executed(kind, Script(headers=[*JSON.items(), *HOSTILE], body=[kind.reply]))
    assert reply.headers == expected
    transport = ScriptedTransport(Script(headers=[*SSE.items(), *HOSTILE], body=kind.sound))
    async with kind.make().stream(call(kind, transport)) as stream:
        assert stream.headers == expected


@every_provider
async def test_two_lengths_are_none(kind: Kind) -> None:
    """B28: which of them is true cannot be known; a body that comes whole is good."""
    headers = [*JSON.items(), ("content-length", "5"), ("content-length", str(len(kind.reply)))]
    assert (await executed(kind, Script(headers=headers, body=[kind.reply]))).body == kind.reply


def test_the_kinds_cover_every_dialect_that_has_headers_of_its_own() -> None:
    assert {kind.dialect for kind in KINDS} == REQUEST_HEADERS.keys() - {"openai.embeddings"}
    assert NOW == 1_790_000_000.0, "the dates above are measured by it"
