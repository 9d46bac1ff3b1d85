"""Errors of the kernel become answers in the client's dialect: acceptance 4, C1.4, C6.1, C6.2, C17.4."""

import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import turnout.errors
from turnout import (
    Blame,
    Empty,
    Failed,
    InvalidRequest,
    ModelMissing,
    ModelUnsupported,
    Overloaded,
    PaymentRequired,
    Phase,
    Protocol,
    RateLimited,
    Sent,
    TimedOut,
    Transient,
    Unauthorized,
    Unreachable,
)
from turnout._verdicts import FAILURES
from turnout.errors import (
    ConfigError,
    CoolingDown,
    DeadlineExceeded,
    Draining,
    InvalidAsk,
    NoCredential,
    NotSupported,
    PluginError,
    PoolError,
    StoreConflict,
    StoreError,
    TurnoutError,
    Unavailable,
    UnknownCredential,
    UnknownModel,
    UpstreamFailed,
)
from turnout_wire import (
    CODES,
    SHAPES,
    HttpAnswer,
    answer,
    check_header,
    check_headers,
    client_headers,
    in_band,
    refusal,
    reply_headers,
    request_headers,
    reset_time,
    verdict,
)
from turnout_wire._answers import ERRORS, VERDICTS

NOW = 1_790_000_000.0
CANARY = "sk-canary-0123456789"

ERRORS_MADE: list[TurnoutError] = [
    TurnoutError(CANARY),
    turnout.errors.CallerError("wrong"),
    InvalidAsk("model is missing", argument="model"),
    UnknownCredential("there is no credential 'x'", argument="id"),
    NotSupported("executor does not support http request preparation"),
    UnknownModel("gpt-9", ["gpt-5", "o4"]),
    PoolError(),
    NoCredential("no auth candidates"),
    Unavailable(until=NOW + 2.2),
    CoolingDown(model="m", until=NOW + 61.2, provider="openai"),
    UpstreamFailed(Transient(message=CANARY)),
    DeadlineExceeded("the call took longer than 5 s"),
    Draining("closing"),
    ConfigError([CANARY]),
    PluginError(CANARY, group="turnout.providers", name="x"),
    StoreError(CANARY),
    StoreConflict(CANARY, current=3),
]


def told(made: HttpAnswer) -> dict[str, Any]:
    error: dict[str, Any] = json.loads(made.body)["error"]
    return error


def error_classes(kind: type[TurnoutError] = TurnoutError) -> set[type[TurnoutError]]:
    ours = {child for child in kind.__subclasses__() if child.__module__ == "turnout.errors"}
    return {kind}.union(*map(error_classes, ours))


def test_every_error_of_the_kernel_has_an_answer() -> None:
    assert {type(error) for error in ERRORS_MADE} == error_classes()
    assert all(
        any(kind in ERRORS for kind in made.__mro__ if kind is not TurnoutError)
        for made in error_classes() - {TurnoutError, UpstreamFailed}
    )


def test_every_verdict_has_an_answer() -> None:
    assert set(VERDICTS) == set(FAILURES)
    assert {code for code, _ in VERDICTS.values()} | set(ERRORS.values()) <= set(CODES)


@pytest.mark.parametrize("dialect", SHAPES)
@pytest.mark.parametrize("error", ERRORS_MADE + [UpstreamFailed(kind(message=CANARY)) for kind in FAILURES])
def test_an_answer_shows_a_code_of_the_list_and_no_secret(error: TurnoutError, dialect: str) -> None:
    made = answer(error, dialect, now=NOW, request_id="req-1")
    assert CANARY.encode() not in made.body
    assert b"req-1" in made.body
    assert made.headers["content-type"] == "application/json"
    assert made.status in CODES.values()
    assert made.status not in {401, 403}, "B23: never about the client's own key"
    assert ("retry-after" in made.headers) == (made.status in {429, 503})


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (InvalidAsk("x"), 400, "bad_request"),
        (UnknownModel("m"), 404, "model_not_found"),
        (UnknownCredential("x"), 404, "not_found"),
        (NotSupported("x"), 501, "not_supported"),
        (NoCredential(), 503, "auth_not_found"),
        (Unavailable(), 503, "auth_unavailable"),
        (CoolingDown(model="", until=NOW), 429, "model_cooldown"),
        (DeadlineExceeded("x"), 504, "upstream_timeout"),
        (Draining("x"), 503, "draining"),
        (PluginError("x", group="g", name="n"), 500, "internal"),
        (ValueError(CANARY), 500, "internal"),
        (UpstreamFailed(RateLimited()), 429, "rate_limited"),
        (UpstreamFailed(Unauthorized()), 502, "upstream_error"),
        (UpstreamFailed(PaymentRequired()), 503, "no_capacity"),
        (UpstreamFailed(ModelMissing()), 404, "model_not_found"),
        (UpstreamFailed(ModelUnsupported()), 400, "model_not_supported"),
        (UpstreamFailed(Transient()), 502, "upstream_error"),
        (UpstreamFailed(Overloaded()), 503, "overloaded"),
        (UpstreamFailed(Unreachable()), 502, "upstream_unreachable"),
        (UpstreamFailed(TimedOut(phase=Phase.HEADERS)), 504, "upstream_timeout"),
        (UpstreamFailed(Protocol()), 502, "upstream_protocol"),
        (UpstreamFailed(Empty()), 502, "empty_stream"),
        (UpstreamFailed(Failed()), 502, "upstream_error"),
        (UpstreamFailed(InvalidRequest()), 400, "bad_request"),
    ],
)
def test_each_error_has_its_status_and_code(error: Exception, status: int, code: str) -> None:
    """C1.4, C17.4, B21, B23, B24, B26."""
    made = answer(error, "openai.chat", now=NOW)
    assert (made.status, told(made)["code"]) == (status, code)
    assert CANARY not in made.body.decode()


def test_an_unknown_model_is_answered_with_what_is_served() -> None:
    assert "gpt-5, o4" in told(answer(UnknownModel("gpt-9", ["gpt-5", "o4"]), "openai.chat", now=NOW))["message"]


@pytest.mark.parametrize(
    ("model", "provider", "message"),
    [
        ("m(high)", "openai", "All credentials for model m(high) are cooling down via provider openai"),
        ("", None, "All credentials for requested model are cooling down"),
    ],
)
def test_a_cooldown_is_told_with_its_time(model: str, provider: str | None, message: str) -> None:
    """C6.2, O51: 61.2 s are 62 everywhere."""
    made = answer(CoolingDown(model=model, until=NOW + 61.2, provider=provider), "openai.chat", now=NOW)
    error = told(made)
    assert made.status == 429
    assert made.headers["retry-after"] == "62"
    assert (error["code"], error["message"], error["model"]) == ("model_cooldown", message, model)
    assert (error["reset_time"], error["reset_seconds"]) == ("1m2s", 62)
    assert error.get("provider") == provider
    assert ("provider" in error) is (provider is not None)  # C6.2.2: only when named


def test_a_cooldown_that_is_over_asks_for_no_wait() -> None:
    """C6.2.1: never negative."""
    made = answer(CoolingDown(model="m", until=NOW - 9), "openai.chat", now=NOW)
    assert (made.headers["retry-after"], told(made)["reset_time"]) == ("0", "0s")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0s"),
        (0, "0s"),
        (0.2, "1s"),
        (42, "42s"),
        (60, "1m0s"),
        (1023.5, "17m4s"),
        (43_200, "12h0m0s"),
        (90_061, "25h1m1s"),
    ],
)
def test_a_reset_time_is_written_without_leading_zero_units(seconds: float, text: str) -> None:
    """C6.2.4, O51."""
    assert reset_time(seconds) == text


@pytest.mark.parametrize(
    ("error", "wait"),
    [
        (UpstreamFailed(RateLimited(retry_after=2.1)), "3"),
        (UpstreamFailed(RateLimited(retry_after=1e30)), "86400"),
        (UpstreamFailed(RateLimited(retry_after=-4)), "0"),
        (UpstreamFailed(RateLimited()), "5"),
        (UpstreamFailed(RateLimited(retry_after=99), until=NOW + 6.5), "7"),
        (Unavailable(until=NOW + 100_000), "100000"),
        (NoCredential(), "5"),
    ],
)
def test_a_429_or_503_always_says_when_to_come_back(error: TurnoutError, wait: str) -> None:
    """B25: the pool's soonest recovery when the kernel knows it, else the upstream's hint."""
    assert answer(error, "openai.chat", now=NOW).headers["retry-after"] == wait


def refused(status: int, body: bytes, media_type: str = "application/json") -> UpstreamFailed:
    return UpstreamFailed(verdict(status, body, {"content-type": media_type}, now=NOW, secrets=("hunter2-secret",)))


@pytest.mark.parametrize("status", [400, 413, 422])
def test_the_clients_own_mistake_is_passed_on_in_the_upstreams_words_scrubbed(status: int) -> None:
    """B27, S45."""
    own = {
        "message": f"bad temperature for {CANARY} hunter2-secret",
        "type": "invalid_request_error",
        "param": "temperature",
        "code": "out_of_range",
        "metadata": {"raw": "upstream-host.internal"},
    }
    made = answer(refused(status, json.dumps({"error": own}).encode()), "openai.chat", now=NOW, request_id="r")
    assert made.status == status
    assert told(made) == {
        "message": "bad temperature for [removed] [removed]",
        "type": "invalid_request_error",
        "param": "temperature",
        "code": "out_of_range",
    }


@pytest.mark.parametrize(
    ("body", "media_type", "message"),
    [
        (b"too long", "text/plain", "too long"),
        (b"<html>nginx at host x</html>", "text/html", "the upstream refused the request as invalid"),
        (b'{"error":"flat text"}', "application/json", "flat text"),
        (b'{"message":"no envelope"}', "application/json", "no envelope"),
        (b'{"error":{"message":{"deep":1}}}', "application/json", "the upstream refused the request as invalid"),
        (b'["x"]', "application/json", "the upstream refused the request as invalid"),
        (b"[" * 100_000, "application/json", "the upstream refused the request as invalid"),
        (b"\xff\xff", "application/json", "the upstream refused the request as invalid"),
    ],
)
def test_whatever_an_upstream_wrote_the_answer_keeps_its_shape(body: bytes, media_type: str, message: str) -> None:
    """B27."""
    made = answer(refused(422, body, media_type), "openai.chat", now=NOW)
    assert told(made)["message"] == message
    assert set(told(made)) == {"message", "type", "param", "code"}


def test_an_unmarked_400_reaches_the_client_as_a_400() -> None:
    """C6.3: it walks on, and when all refuse it, the client is told why."""
    made = answer(refused(400, b'{"error":{"message":"no such voice"}}'), "openai.chat", now=NOW)
    assert (made.status, told(made)["message"]) == (400, "no such voice")
    assert answer(refused(409, b'{"error":{"message":"x"}}'), "openai.chat", now=NOW).status == 502


def test_what_was_never_sent_was_refused_by_nobody() -> None:
    """D8: a lack of descriptors, or of places for connections."""
    made = answer(UpstreamFailed(Failed(sent=Sent.NO)), "openai.chat", now=NOW)
    assert (made.status, told(made)["code"]) == (502, "upstream_error")
    assert told(made)["message"] == "the gateway could not send the request"


def test_after_commit_an_error_is_one_event_and_never_a_done() -> None:
    """B10, B11, B12, A3."""
    event = in_band(UpstreamFailed(TimedOut(phase=Phase.IDLE)), "openai.chat", now=NOW, request_id="r-1")
    assert event.startswith(b"data: {")
    assert event.endswith(b"\n\n")
    assert event.count(b"\n") == 2
    assert b"[DONE]" not in event
    assert json.loads(event[6:])["error"]["code"] == "upstream_timeout"


def test_an_upstreams_own_error_event_is_passed_on_in_band_unless_it_is_about_our_account() -> None:
    """B22, B23."""
    overloaded = refused(529, b'{"error":{"type":"overloaded_error","message":"try later"}}')
    assert json.loads(in_band(overloaded, "openai.chat", now=NOW)[6:])["error"]["message"] == "try later"
    account = refused(401, b'{"error":{"type":"authentication_error","message":"key of Bob is wrong"}}')
    assert b"Bob" not in in_band(account, "openai.chat", now=NOW)


@pytest.mark.parametrize("code", CODES)
def test_a_frontend_refuses_with_any_code_of_the_list(code: str) -> None:
    made = refusal(code, "why", "openai.chat", request_id="r", retry_after=None)
    assert (made.status, told(made)["code"], told(made)["message"]) == (CODES[code], code, "why")
    assert ("retry-after" in made.headers) == (made.status in {429, 503})


def test_the_type_of_an_error_follows_its_status() -> None:
    """C17.4."""
    types = {code: told(refusal(code, "", "openai.chat"))["type"] for code in CODES}
    assert types["unauthorized"] == "authentication_error"
    assert types["forbidden"] == "permission_error"
    assert types["rate_limited"] == "rate_limit_error"
    assert types["not_found"] == types["too_large"] == "invalid_request_error"
    assert types["internal"] == types["draining"] == "server_error"


def test_blame_on_the_request_is_the_only_blame_answered_with_a_4xx_of_the_upstream() -> None:
    """D8."""
    for kind in FAILURES:
        status = answer(UpstreamFailed(kind()), "openai.chat", now=NOW).status
        if kind.blame is Blame.ORIGIN:
            assert status >= 500
        if kind.blame is Blame.REQUEST:
            assert status == 400


CLIENT = {
    "Authorization": "Bearer client",
    "Cookie": "a=b",
    "Host": "evil",
    "X-Forwarded-For": "1.2.3.4",
    "Proxy-Authorization": "x",
    "Connection": "idempotency-key",
    "Transfer-Encoding": "chunked",
    "Metadata-Flavor": "Google",
    "X-Api-Key": "k",
    "Accept-Encoding": "gzip",
    "Content-Type": "text/html",
    "Idempotency-Key": "once",
}


def test_only_listed_headers_of_a_client_go_upstream() -> None:
    """S52."""
    assert request_headers(CLIENT, "openai.chat") == {"idempotency-key": "once"}


def test_only_listed_headers_of_an_upstream_come_back() -> None:
    """B28, S53."""
    upstream = httpx.Headers(
        [
            (b"Set-Cookie", b"a=b"),
            (b"Server", b"nginx"),
            (b"Content-Type", b"text/html"),
            (b"Content-Length", b"5"),
            (b"Content-Length", b"6"),
            (b"Connection", b"openai-version"),
            (b"Location", b"http://internal"),
            (b"X-Request-Id", b"theirs"),
            (b"OpenAI-Processing-Ms", b"12"),
            (b"openai-version", b"a\r\nset-cookie: x"),
            (b"x-ratelimit-limit-tokens", b"1"),
            (b"x-ratelimit-limit-tokens", b"2"),
            (b"x-ratelimit-limit-requests", "é".encode()),
            *((f"x-{i}".encode(), b"x" * 100) for i in range(1500)),
            (b"x-ratelimit-remaining-tokens", b"x" * 100_000),
        ]
    )
    assert reply_headers(upstream, "openai.chat") == {"openai-processing-ms": "12"}
    assert client_headers(stream=False)["content-type"] == "application/json"
    assert client_headers(stream=True)["content-type"].startswith("text/event-stream")
    assert client_headers(stream=True)["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("value", ["a\rb", "a\nb", "a\0b", "é", "\x7f", "a\x0bb", "x" * 4097])
def test_a_value_that_would_split_a_message_is_refused_without_being_shown(value: str) -> None:
    """S51, F10."""
    with pytest.raises(InvalidAsk, match="idempotency-key") as caught:
        request_headers({"idempotency-key": value}, "openai.chat")
    assert value not in str(caught.value)


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\r\nb", "é", "x" * 101])
def test_a_name_that_is_no_token_is_refused(name: str) -> None:
    """S51."""
    with pytest.raises(InvalidAsk, match="not a token"):
        check_headers([(name, "x")])


@given(st.text(max_size=20), st.text(max_size=20))
def test_what_passes_can_be_sent(name: str, value: str) -> None:
    """S51."""
    try:
        check_header(name, value)
    except InvalidAsk:
        return
    line = f"{name}: {value}"
    assert line.isascii()
    assert not {"\r", "\n", "\0"} & set(line)
