"""HTTP answers, hints, secrets and exceptions become verdicts: C6.3, C10.4 with O41, O44, O45, O46, O52."""

import json
import math
import time

import httpx
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from turnout import (
    Blame,
    CountUnsupported,
    Credential,
    Failed,
    Failure,
    InvalidRequest,
    Metadata,
    ModelMissing,
    ModelUnsupported,
    Operation,
    Overloaded,
    PaymentRequired,
    Phase,
    Protocol,
    RateLimited,
    Secret,
    Sent,
    TimedOut,
    Transient,
    Unauthorized,
    Unreachable,
)
from turnout_wire import (
    UPSTREAM_EXCEPTIONS,
    UpstreamAnswer,
    duration,
    retry_after,
    scrub,
    secrets_of,
    status_of_error,
    verdict,
    verdict_of_exception,
)
from turnout_wire._failure import NOT_SENT, PERHAPS_SENT, PROGRAMMING_ERRORS
from turnout_wire._verdict import error_alone

NOW = 1_790_000_000.0


def judged(status: int, body: bytes = b"", operation: Operation = Operation.GENERATE, **headers: str) -> Failure:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return verdict(status, body, named, now=NOW, operation=operation)


@pytest.mark.parametrize("operation", Operation)
def test_every_status_has_a_verdict(operation: Operation) -> None:
    """Design 9; O45: all 5xx pass; B18, B19: what is below 400 breaks the protocol."""
    for status in range(100, 600):
        found = judged(status, operation=operation)
        assert isinstance(found, Failure)
        assert str(status) in found.message
        if status < 400:
            assert isinstance(found, Protocol)
        if status >= 500:
            assert isinstance(found, Transient | Overloaded | CountUnsupported)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Failed),
        (401, Unauthorized),
        (402, PaymentRequired),
        (403, PaymentRequired),
        (404, ModelMissing),
        (408, Transient),
        (409, Failed),
        (413, InvalidRequest),
        (422, InvalidRequest),
        (429, RateLimited),
        (500, Transient),
        (501, Transient),
        (520, Transient),
        (529, Overloaded),
        (101, Protocol),
        (204, Protocol),
        (307, Protocol),
        (999, Protocol),
        (0, Protocol),
    ],
)
def test_a_status_without_marks_has_the_verdict_of_the_table(status: int, kind: type[Failure]) -> None:
    """C10.4, O45, B26: also what no table of HTTP knows."""
    assert type(judged(status)) is kind


def test_a_400_is_the_clients_fault_only_with_its_mark_in_exact_case() -> None:
    """C6.3.2, B27: and then it blames the request, so nobody cools (O44)."""
    assert isinstance(judged(400, b'{"error":{"type":"invalid_request_error"}}'), InvalidRequest)
    assert isinstance(judged(400, b'{"error":{"type":"Invalid_Request_Error"}}'), Failed)
    assert judged(422).blame is Blame.REQUEST
    assert judged(400).blame is Blame.NOBODY


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("mark", ["  Model_Not_Supported", "the MODEL is not supported", "not available for your plan"])
def test_an_unsupported_model_outranks_an_invalid_request(status: int, mark: str) -> None:
    """C6.3.1, C6.3.3: trimmed and in any case, anywhere in the text of the answer."""
    body = f'{{"error":{{"type":"invalid_request_error","message":"{mark}"}}}}'.encode()
    assert isinstance(judged(status, body), ModelUnsupported)
    assert not isinstance(judged(404, body), ModelUnsupported)
    assert isinstance(judged(status, b'{"detail":{"code":"model_not_supported"}}'), ModelUnsupported)


UNSUPPORTED = [
    "model_not_supported",
    "requested model is not supported",
    "requested model is unsupported",
    "requested model is unavailable",
    "model is not supported",
    "model not supported",
    "unsupported model",
    "model unavailable",
    "not available for your plan",
    "not available for your account",
]


@pytest.mark.parametrize("mark", UNSUPPORTED)
@pytest.mark.parametrize("status", [400, 422])
def test_each_mark_of_an_unsupported_model_is_known(status: int, mark: str) -> None:
    """C6.3.1: the list, word by word; a word less is another answer."""
    found = judged(status, f'{{"message":"Sorry: {mark.upper()}!"}}'.encode())
    assert isinstance(found, ModelUnsupported)
    assert not isinstance(judged(status, mark.replace("o", "0").encode()), ModelUnsupported)


@pytest.mark.parametrize("status", [404, 405, 501])
def test_counting_that_an_upstream_lacks_benches_nobody(status: int) -> None:
    """O41."""
    found = judged(status, operation=Operation.COUNT)
    assert isinstance(found, CountUnsupported)
    assert found.blame is Blame.NOBODY
    assert not isinstance(judged(status), CountUnsupported)


def test_a_rate_limit_on_spending_counts_as_a_payment_problem() -> None:
    """B24: waiting a second does not help an empty account; with a hint it is an ordinary rate limit."""
    spent = b'{"error":{"type":"insufficient_quota","code":"insufficient_quota"}}'
    assert isinstance(judged(429, spent), PaymentRequired)
    assert isinstance(judged(429, spent, retry_after="3"), RateLimited)


def test_a_503_that_says_overloaded_is_an_overload() -> None:
    assert isinstance(judged(503, b'{"error":{"type":"overloaded_error"}}'), Overloaded)
    assert isinstance(judged(503), Transient)


@pytest.mark.parametrize("status", [402, 403, 408, 429, 500, 503, 529])
def test_hints_are_kept_for_every_failure_that_passes(status: int) -> None:
    """O46, O52."""
    assert judged(status, retry_after="7").retry_after == 7.0
    assert judged(404, retry_after="7").retry_after is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3", 3.0),
        (" 86400 ", 86_400.0),
        ("1.5", 1.5),
        ("0", 0.0),
        ("1" + "0" * 30, 1e30),
        ("Tue, 22 Sep 2026 11:33:30 GMT", 1_790_076_810.0 - NOW),
        ("Tue, 22 Sep 2026 11:33:30", 1_790_076_810.0 - NOW),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0.0),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("inf", None),
        ("nan", None),
        ("1e5", None),
        ("0x10", None),
        ("3, 5", None),
        ("9" * 400, None),
        ("٣", None),
        ("Fri, 99 Foo 99999 99:99:99 GMT", None),
        ("Mon, 01 Jan 0001 00:00:00 +2359", 0.0),
    ],
)
def test_retry_after_is_read_or_left(text: str, seconds: float | None) -> None:
    """B25."""
    assert retry_after({"retry-after": text}, now=NOW) == seconds


@given(st.text(max_size=60), st.sampled_from(["retry-after", "retry-after-ms", "x-ratelimit-reset-tokens"]))
def test_no_hint_ever_raises_or_asks_for_the_past(text: str, name: str) -> None:
    """B25."""
    found = retry_after({name: text}, now=NOW)
    assert found is None or (found >= 0 and math.isfinite(found))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "9", "x-ratelimit-reset-tokens": "6m0s"}, 9.0),
        ({"x-ratelimit-reset-requests": "20ms", "x-ratelimit-reset-tokens": "6m0s"}, None),
        ({"x-ratelimit-reset-tokens": "6m0s"}, 360.0),
        (
            {
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-remaining-tokens": "100",
                "x-ratelimit-reset-requests": "2s",
                "x-ratelimit-reset-tokens": "6m0s",
            },
            2.0,
        ),
        ({"x-ratelimit-remaining-requests": "9", "x-ratelimit-reset-requests": "2s"}, None),
        ({"x-ratelimit-remaining-requests": "0.0", "x-ratelimit-reset-requests": "2s"}, 2.0),
        ({"x-ratelimit-remaining-requests": "-3", "x-ratelimit-reset-requests": "2s"}, 2.0),
        ({"x-ratelimit-remaining-requests": "few", "x-ratelimit-reset-requests": "2s"}, None),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-tokens": "2s"}, None),
        ({"x-ratelimit-reset": "1790000005"}, 5.0),
        ({"x-ratelimit-reset": "1790000005000"}, 5.0),
        ({"x-ratelimit-reset": "12"}, 12.0),
        ({"x-ratelimit-reset-tokens": "2026-09-21T14:13:30Z"}, 10.0),
        ({"x-ratelimit-reset-tokens": "whenever"}, None),
        ({}, None),
    ],
)
def test_the_reset_of_the_limit_that_is_used_up_is_a_hint(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, now=NOW) == seconds


def subscription(of_all: str, of_five_hours: str, of_seven_days: str) -> dict[str, str]:
    """Headers of Anthropic's limits of a subscription, which tell no remainders."""
    windows = {"": (of_all, 3600), "-5h": (of_five_hours, 3600), "-7d": (of_seven_days, 500_000)}
    said = {f"unified{of}-status": status for of, (status, _) in windows.items() if status}
    resets = {f"unified{of}-reset": str(int(NOW) + wait) for of, (_, wait) in windows.items()}
    more = {"unified-representative-claim": "five_hour", "unified-5h-utilization": "1.02"}
    return {f"anthropic-ratelimit-{name}": value for name, value in (said | resets | more).items()}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        (subscription("rejected", "rejected", "allowed"), 3600.0),
        (subscription("rejected", "", ""), 3600.0),
        (subscription("rejected", "allowed_warning", "rejected"), 500_000.0),
        (subscription("allowed", "allowed", "allowed_warning"), None),
        (subscription("", "", ""), None),
    ],
)
def test_only_a_window_that_is_closed_says_when_it_opens(headers: dict[str, str], seconds: float | None) -> None:
    """The week's reset stands in every answer; it is not what a minute's limit waits for."""
    assert verdict(429, b"", headers, now=NOW).retry_after == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (f"{NOW + 30:.0f}", 30.0),
        (f"{NOW - 30:.0f}", 0.0),
        (f"{(NOW + 30) * 1000:.0f}", 30.0),
        (f"{NOW + 364 * 86_400:.0f}", 364 * 86_400.0),
        (f"{NOW + 366 * 86_400:.0f}", NOW + 366 * 86_400),
        ("31536000", 31_536_000.0),
        ("400000000", 400_000_000.0),
    ],
)
def test_a_moment_in_place_of_a_wait_is_understood(text: str, seconds: float) -> None:
    """B25: within a year of now. What is merely long stays as it is, for the kernel to cap."""
    assert retry_after({"retry-after": text}, now=NOW) == seconds
    assert retry_after({"retry-after-ms": f"{float(text) * 1000:.0f}"}, now=NOW) == seconds


def test_durations_are_read_whole_or_not_at_all() -> None:
    assert duration("1h2m3.5s") == 3723.5
    assert duration("20ms") == 0.02
    assert duration("1s later") is None
    assert duration("") is None


CANARY = "hunter2-canary-value"


@pytest.mark.parametrize(
    "leak",
    [
        CANARY,
        "sk-proj-abcDEF123456_-xyz",
        "sk-ab12***********wxyz",
        "org-AbCdEf123456",
        "AIzaSyA-1234567890abcdefghij",
        "Bearer abcdef123456",
        "eyJhbGciOiJI.eyJzdWIiOiIx.c2ln",
        "https://user:password@proxy.test/x",
        "https://x.test/v1?key=abc123",
    ],
)
def test_secrets_are_taken_out_of_what_an_upstream_says(leak: str) -> None:
    """S45: exact values that we know, and patterns."""
    body = f'{{"error":{{"message":"Incorrect key {leak} given"}}}}'.encode()
    found = verdict(400, body, {}, now=NOW, secrets=(CANARY,))
    assert isinstance(found.detail, UpstreamAnswer)
    for shown in (found.message, found.detail.body.decode(), repr(found)):
        assert leak not in shown
        assert leak.rsplit("//", maxsplit=1)[-1] not in shown
    assert "Incorrect key" in found.message


def test_every_secret_of_a_credential_is_known_to_the_scrubber() -> None:
    """S45."""
    credential = Credential(
        id="a",
        provider="p",
        api_key=Secret("key-of-a"),
        proxy_url=Secret("http://u:p@proxy"),
        attributes={"header:x-extra": "second-key", "note": "harmless"},
        metadata=Metadata({"tokens": [{"refresh": "refresh-tok"}], "short": "abc", "n": 3, "s": Secret("sealed-one")}),
    )
    assert set(secrets_of(credential)) == {"key-of-a", "http://u:p@proxy", "second-key", "refresh-tok", "sealed-one"}
    assert secrets_of(Credential(id="a", provider="p")) == ()


@pytest.mark.parametrize(
    "written",
    [
        r"Kq9\/Zx+Wm7Lp2Tn4Vb6c",
        r"Kq9/Zx\u002BWm7Lp2Tn4Vb6c",
        r"\u004bq9\u002fZx\u002bWm7Lp2Tn4Vb6c",
        r"\\Kq9\/Zx+Wm7Lp2Tn4Vb6c",
        r"sk\u002dproj\u002dabcdef123456",
        r"Bearer\u0020abc\/def\u002B0123456789",
    ],
)
def test_a_secret_is_found_behind_the_escapes_of_json(written: str) -> None:
    """S45: PHP escapes the slash and .NET the plus of a key; the client's JSON reader would give it back whole."""
    body = f'{{"error":{{"message":"no such key: {written}"}}}}'
    found = verdict(401, body.encode(), {}, now=NOW, secrets=("Kq9/Zx+Wm7Lp2Tn4Vb6c",))
    assert isinstance(found.detail, UpstreamAnswer)
    said = json.loads(found.detail.body)["error"]["message"]
    for text in (said, found.message):
        assert "[removed]" in text
        assert not any(part in text for part in ("Wm7Lp2Tn4Vb6c", "abcdef123456", "0123456789"))


@given(st.text(), st.text())
def test_an_error_without_secrets_reads_as_it_was_written(message: str, code: str) -> None:
    """Whatever escapes it is written with: a quote, a backslash and a control character keep theirs."""
    for plain in (True, False):
        body = json.dumps({"message": message, "code": code}, ensure_ascii=plain).replace("/", "\\/")
        if scrub(message + '", "' + code) == message + '", "' + code and "://" not in message + code:
            assert json.loads(scrub(body)) == {"message": message, "code": code}


@pytest.mark.parametrize(
    "leak",
    [
        "sk-proj-abcdef123456",
        "org-abcdef123456",
        "AIzaSyABCDEFGHIJ123456",
        "ya29.abcdef123456",
        "AKIAABCDEFGH123456",
        "eyJhbGciOiJI.abcdef123456",
        "Bearer abcdef123456",
        "https://me:123456@upstream",
    ],
)
@pytest.mark.parametrize("space", ["\n", "\t", "\r\n"])
def test_a_secret_is_found_at_the_beginning_of_a_line(leak: str, space: str) -> None:
    """S45: in JSON the line before it ends with a letter, which is no part of it."""
    found = verdict(401, json.dumps({"error": {"message": f"no key:{space}{leak}"}}).encode(), {}, now=NOW)
    assert isinstance(found.detail, UpstreamAnswer)
    assert "123456" not in found.message
    assert b"123456" not in found.detail.body


def test_a_secret_with_a_backslash_is_found_where_nothing_is_escaped() -> None:
    assert scrub(r"no: pass\/word-1", (r"pass\/word-1",)) == "no: [removed]"


def test_a_short_value_does_not_tear_words_apart() -> None:
    assert scrub("a model", ("a", "", "mod")) == "a model"
    for words in ("user_location is missing", "key_not_found", "org-wide limit", "a task-oriented model", "max_tokens"):
        assert scrub(words) == words


@pytest.mark.parametrize("piece", ["user-", "sk-", "x://", "eyJ", "key_a", "?key=", "bearer ", "a.", "é"])
def test_no_text_makes_scrubbing_slow(piece: str) -> None:
    """S55: a text of 64 KiB made of nothing but beginnings; quadratic work would take minutes."""
    began = time.process_time()
    scrub(piece * (65_536 // len(piece)))
    assert time.process_time() - began < 2


def test_at_most_four_kibibytes_of_an_error_travel_on() -> None:
    """B21: cut between characters."""
    found = judged(500, "é".encode() * 50_000, content_type="Text/Plain; charset=utf-8")
    assert isinstance(found.detail, UpstreamAnswer)
    assert len(found.detail.body) <= 4096
    assert found.detail.body.decode() == "é" * 2048
    assert found.detail.media_type == "text/plain"
    assert len(found.message) < 400


@pytest.mark.parametrize(
    "body", [b"\xff\xfe", b"[" * 100_000, b'{"error":' * 50_000, b"9" * 5000, b"", b"null", b'{"error":{"message":7}}']
)
def test_a_body_of_nonsense_is_still_a_verdict(body: bytes) -> None:
    assert judged(500, body).message == "upstream answered 500"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"code": 429, "message": "x"}, 429),
        ({"code": "429"}, 429),
        ({"code": "999"}, 599),
        ({"type": "overloaded_error"}, 529),
        ({"code": None, "type": "Rate_Limit_Error"}, 429),
        ({"type": "authentication_error"}, 401),
        ({"status": "RESOURCE_EXHAUSTED"}, 429),
        ({"code": "insufficient_quota"}, 402),
        ({"code": "context_length_exceeded"}, 422),
        ({"code": "context_length_exceeded", "type": "invalid_request_error"}, 400),
        ({"code": "invalid_prompt", "type": None}, 422),
        ({"code": ["invalid_prompt"]}, 500),
        ({"code": 200}, 500),
        ({"code": True}, 500),
        ({}, 500),
        ("boom", 500),
        (["boom"], 500),
    ],
)
def test_an_error_inside_a_200_stands_for_a_status(error: object, status: int) -> None:
    """B22."""
    assert status_of_error(error) == status


def test_an_error_that_is_nested_too_deeply_to_be_written_is_left_where_it_stands() -> None:
    deep: dict[str, object] = {}
    for _ in range(10_000):
        deep = {"error": deep}
    assert error_alone(deep, b"as it came") == b"as it came"
    assert error_alone({"code": 2**70}, b"as it came") == b'{"error":{"code":%d}}' % 2**70


def subclasses(kind: type[Exception]) -> set[type[Exception]]:
    return {kind}.union(*(subclasses(child) for child in kind.__subclasses__()))


def test_every_exception_of_httpx_is_mapped_or_known_as_a_bug() -> None:
    known = {thing for thing in vars(httpx).values() if isinstance(thing, type) and issubclass(thing, Exception)}
    programming = set().union(*map(subclasses, PROGRAMMING_ERRORS))
    assert known, "httpx exports its exceptions"
    assert known - set(NOT_SENT) - set(PERHAPS_SENT) == programming
    assert not NOT_SENT.keys() & PERHAPS_SENT.keys()


@pytest.mark.parametrize("kind", [*NOT_SENT, *PERHAPS_SENT])
@pytest.mark.parametrize("answered", [False, True])
def test_an_exceptions_text_is_never_shown(kind: type[Exception], answered: bool) -> None:
    """X4, S41: only the name of its class."""
    exc = kind.__new__(kind)
    exc.args = (f"https://{CANARY}@x.test",)
    found = verdict_of_exception(exc, answered=answered)
    assert CANARY not in repr(found)
    assert kind.__name__ in found.message
    assert isinstance(exc, UPSTREAM_EXCEPTIONS)
    if answered:
        assert found.sent is Sent.ANSWERED
    elif kind in NOT_SENT:
        assert found.sent is Sent.NO
    else:
        assert found.sent is Sent.MAYBE


@pytest.mark.parametrize(
    ("exc", "kind"),
    [
        (httpx.ConnectError(""), Unreachable),  # B1, B3, B4
        (httpx.ProxyError(""), Unreachable),
        (httpx.ReadError(""), Protocol),  # B6
        (httpx.RemoteProtocolError(""), Protocol),  # B5, B7, B13
        (httpx.LocalProtocolError(""), Failed),  # D8: our own bug cools nobody
        (ConnectionRefusedError(), Unreachable),
        (ConnectionResetError(), Unreachable),
        (trio.BrokenResourceError(), Protocol),
    ],
)
def test_a_failure_of_the_way_is_blamed_by_its_class(exc: Exception, kind: type[Failure]) -> None:
    """B1, B3, B5, B6, B7, B13."""
    assert type(verdict_of_exception(exc)) is kind


@pytest.mark.parametrize(("marked", "sent"), [(True, Sent.MAYBE), (False, Sent.NO)])
@pytest.mark.parametrize("kind", [httpx.ReadError, httpx.ConnectError])
def test_a_transport_that_knows_how_far_the_request_got_is_believed(
    kind: type[httpx.TransportError], marked: bool, sent: Sent
) -> None:
    exc = kind("")
    exc.request_sent = marked  # type: ignore[attr-defined]
    assert verdict_of_exception(exc).sent is sent
    assert verdict_of_exception(exc, answered=True).sent is Sent.ANSWERED


def test_a_limit_of_our_own_connections_speaks_against_nobody() -> None:
    """D8: the upstream never heard of the request, and no other call may suffer for how many we make."""
    verdict = verdict_of_exception(httpx.PoolTimeout("no connection became free"))
    assert (type(verdict), verdict.blame, verdict.sent) == (Failed, Blame.NOBODY, Sent.NO)


def test_a_timeout_says_which_limit_ran_out() -> None:
    connecting = verdict_of_exception(httpx.ConnectTimeout(""), phase=Phase.IDLE)
    assert isinstance(connecting, TimedOut)
    assert connecting.phase is Phase.CONNECT
    idle = verdict_of_exception(httpx.ReadTimeout(""), answered=True, phase=Phase.IDLE)
    assert isinstance(idle, TimedOut)
    assert (idle.phase, idle.sent) == (Phase.IDLE, Sent.ANSWERED)


@pytest.mark.parametrize("bug", [ValueError("x"), httpx.StreamConsumed(), KeyError("x")])
def test_a_bug_is_not_taken_for_an_upstreams_failure(bug: Exception) -> None:
    with pytest.raises(TypeError, match="not an upstream's failure"):
        verdict_of_exception(bug)
