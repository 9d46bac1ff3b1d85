"""The HTTP frontend's application, driven in memory."""

import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import attrs
import pytest
import trio
import trio.testing
from http_context import http_context

from turnout import Ask, ByteCount, Chunk, Phase, Protocol, RateLimited, Readiness, Reply, Seconds, Secret, TimedOut
from turnout.abc import Reconfigurable
from turnout.errors import ConfigError, CoolingDown, UnknownModel, UpstreamFailed
from turnout.testing._scripted_switch import ScriptedSwitch
from turnout_http import ClientLimits, Http, Settings
from turnout_http._addresses import parse_address
from turnout_http._app import App
from turnout_http._frontend import application, pages
from turnout_http._origins import Hosts
from turnout_http._pages import Audience

KEY = "k7-Qd2mX9vLw4TzR8"
OTHER_KEY = "p3-Bn6kYw1sVh5CgJ0"
CHAT = b'{"model":"fast","messages":[]}'
STREAM = b'{"model":"fast","stream":true,"messages":[]}'
BEARER = (b"authorization", f"Bearer {KEY}".encode())


def make_app(switch: ScriptedSwitch, *, log: logging.Logger | None = None, **limits: Any) -> App:
    settings = Settings(keys=(Secret(KEY), Secret(OTHER_KEY)), limits=ClientLimits(**limits))
    return application(switch, settings, [parse_address("127.0.0.1:8080")], http_context(log=log))


@attrs.define
class Exchange:
    """One request against the application, and what came back."""

    app: App
    path: str = "/v1/chat/completions"
    method: str = "POST"
    body: bytes = CHAT
    headers: tuple[tuple[bytes, bytes], ...] = (BEARER,)
    host: bytes | None = b"127.0.0.1:8080"
    http_version: str = "1.1"
    pieces: list[bytes] | None = None
    pace: float = 0
    status: int = 0
    answer_headers: dict[str, str] = attrs.field(factory=dict)
    chunks: list[bytes] = attrs.field(factory=list)
    ended: bool = False
    read: int = 0
    hung_up: trio.Event = attrs.field(factory=trio.Event)

    async def run(self) -> "Exchange":
        raw_path, _, query = self.path.partition("?")
        hosts = () if self.host is None else ((b"host", self.host),)
        scope = {
            "type": "http",
            "http_version": self.http_version,
            "method": self.method,
            "path": raw_path,
            "raw_path": raw_path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "scheme": "http",
            "headers": [*hosts, *self.headers],
            "client": ("127.0.0.1", 50000),
            "server": ("127.0.0.1", 8080),
            "extensions": {},
        }
        await self.app(scope, self._receive, self._send)
        return self

    async def _receive(self) -> dict[str, Any]:
        pieces = [self.body] if self.pieces is None else self.pieces
        await trio.sleep(self.pace)
        if self.read < len(pieces):
            self.read += 1
            more = self.read < len(pieces)
            return {"type": "http.request", "body": pieces[self.read - 1], "more_body": more}
        await self.hung_up.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Mapping[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.answer_headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.chunks.append(message.get("body", b""))
            self.ended = not message.get("more_body", False)

    @property
    def text(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def code(self) -> str:
        return str(json.loads(self.text)["error"]["code"])


async def test_a_call_goes_to_the_switch_as_it_came_and_its_reply_comes_back() -> None:
    switch = ScriptedSwitch()

    exchange = await Exchange(make_app(switch)).run()

    assert (exchange.status, exchange.text) == (200, b'{"object":"chat.completion"}')
    assert exchange.answer_headers["content-type"] == "application/json"
    assert (switch.asks[0].payload, switch.asks[0].model, switch.asks[0].dialect) == (CHAT, "fast", "openai.chat")


async def test_a_stream_is_forwarded_untouched_and_begins_with_its_first_payload() -> None:
    switch = ScriptedSwitch()

    exchange = await Exchange(make_app(switch), body=STREAM).run()

    assert exchange.text == b'data: {"n":1}\n\ndata: [DONE]\n\n'
    assert exchange.answer_headers["content-type"].startswith("text/event-stream")
    assert exchange.ended
    assert switch.open == 0


@pytest.mark.parametrize(
    ("headers", "opens"),
    [
        ((BEARER,), True),
        (((b"authorization", f"bearer {KEY}".encode()),), True),
        (((b"x-api-key", KEY.encode()),), True),
        (((b"x-goog-api-key", KEY.encode()),), True),
        ((BEARER, (b"x-api-key", KEY.encode())), True),
        ((BEARER, (b"x-api-key", OTHER_KEY.encode())), False),
        ((BEARER, BEARER), True),
        ((BEARER, (b"authorization", f"Bearer {OTHER_KEY}".encode())), False),
        (((b"authorization", b"Basic " + KEY.encode()),), False),
        (((b"authorization", KEY.encode()),), False),
        (((b"sec-websocket-protocol", KEY.encode()),), False),
        (((b"cookie", KEY.encode()),), False),
        ((), False),
    ],
)
async def test_one_judge_decides_about_every_carrier_of_a_key(
    headers: tuple[tuple[bytes, bytes], ...], opens: bool
) -> None:
    """S3."""
    switch = ScriptedSwitch()

    exchange = await Exchange(make_app(switch), headers=headers).run()

    assert exchange.status == (200 if opens else 401)
    assert len(switch.asks) == int(opens)


async def test_a_key_in_the_query_opens_nothing() -> None:
    """S3."""
    exchange = await Exchange(make_app(ScriptedSwitch()), path=f"/v1/models?key={KEY}", method="GET", headers=()).run()

    assert exchange.status == 401


@pytest.mark.parametrize(
    "key",
    [
        b"",
        b"k",
        KEY[:-1].encode(),
        KEY.encode() + b"x",
        "ключ".encode(),
        b"a\x00b",
        b"k" * 1_000_000,
        b"' OR 1=1",
        b"\xff",
    ],
)
async def test_a_wrong_key_of_any_shape_gets_401_and_nothing_is_read(key: bytes) -> None:
    """S1, S2."""
    switch = ScriptedSwitch()

    exchange = await Exchange(make_app(switch), headers=((b"authorization", b"Bearer " + key),)).run()

    assert (exchange.status, exchange.code) == (401, "unauthorized")
    assert exchange.read == 0
    assert not switch.asks


@pytest.mark.parametrize(
    "path",
    ["/", "/v1/models", "/metrics", "/nowhere", "//healthz", "/healthz/", "/./healthz", "/%68ealthz", "/HEALTHZ"],
)
async def test_without_a_key_every_path_that_is_not_public_looks_the_same(path: str) -> None:
    """S1, S4, S5."""
    exchange = await Exchange(make_app(ScriptedSwitch()), path=path, method="GET", headers=()).run()

    assert exchange.status == 401


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_health_and_readiness_need_no_key_and_name_nothing(path: str) -> None:
    """A9."""
    exchange = await Exchange(make_app(ScriptedSwitch()), path=path, method="GET", headers=()).run()

    assert exchange.status == 200
    assert set(json.loads(exchange.text)) == {"status"}


async def test_every_page_says_for_whom_it_is_and_is_served_to_nobody_else() -> None:
    """S4."""
    switch = ScriptedSwitch()
    app = make_app(switch)  # one for all: it shows a client the records of calls that came through it
    for page in pages(switch, Settings(keys=(Secret(KEY),))):
        path = page.path.replace("{name:path}", "fast").replace("{id}", "chat-1")
        unknown = await Exchange(app, path=path, method=page.methods[0], headers=()).run()
        known = await Exchange(
            app, path=path, method=page.methods[0], headers=(BEARER, (b"x-request-id", b"chat-1"))
        ).run()

        assert (unknown.status == 200) == (page.audience is Audience.PUBLIC)
        assert known.status == 200


@pytest.mark.parametrize("path", ["/nowhere", "/v1/chat/completions/", "/v1//models", "/v1/Models", "/V1/models"])
async def test_an_unknown_path_is_404_without_a_hint(path: str) -> None:
    """S4, S5."""
    exchange = await Exchange(make_app(ScriptedSwitch()), path=path, method="GET").run()

    assert (exchange.status, exchange.code) == (404, "not_found")


async def test_a_page_says_which_methods_it_answers() -> None:
    for path, method in (("/v1/chat/completions", "GET"), ("/v1/models/fast", "DELETE"), ("/healthz", "POST")):
        exchange = await Exchange(make_app(ScriptedSwitch()), path=path, method=method).run()

        assert (exchange.status, exchange.code) == (405, "method_not_allowed")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/chat/completions", "POST"),
        ("POST", "/v1/models/fast", "GET, HEAD"),
        ("DELETE", "/v1beta/models/fast", "GET, HEAD, POST"),
        ("TRACE", "/", "GET, HEAD, POST"),
    ],
)
async def test_a_refused_method_is_told_which_ones_are_not(method: str, path: str, allowed: str) -> None:
    """RFC 9110, 15.5.6."""
    exchange = await Exchange(make_app(ScriptedSwitch()), path=path, method=method).run()

    assert (exchange.status, exchange.answer_headers["allow"]) == (405, allowed)


async def test_who_shows_no_valid_key_is_told_how_to_show_one() -> None:
    """RFC 9110, 15.5.2."""
    exchange = await Exchange(make_app(ScriptedSwitch()), headers=()).run()

    assert (exchange.status, exchange.answer_headers["www-authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize("path", ["http://127.0.0.1/v1/models", "*", "v1/models", "/v1/%zz", "/v1/%"])
async def test_a_path_with_more_than_one_reading_is_refused(path: str) -> None:
    """S5, S50."""
    exchange = await Exchange(make_app(ScriptedSwitch()), path=path, method="GET").run()

    assert exchange.status == 400
    assert exchange.answer_headers["connection"] == "close"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (b"127.0.0.1:8080", 200),
        (b"127.0.0.1", 200),
        (b"localhost:1", 200),
        (b"LOCALHOST", 200),
        (b"[::1]:8080", 200),
        (b"evil.test", 421),
        (b"127.0.0.1.evil.test", 421),
        (b"user@127.0.0.1", 421),
        (b"127.0.0.1:80:80", 421),
        (b"127.0.0.1:99999", 421),
        (b"127.0.0.1:port", 421),
        (b"a/../healthz", 421),
        (b"", 421),
        (None, 400),
    ],
)
@pytest.mark.parametrize("path", ["/healthz", "/v1/models"])
async def test_a_host_that_is_not_ours_is_refused_on_every_page(path: str, host: bytes | None, status: int) -> None:
    """S35."""
    exchange = await Exchange(make_app(ScriptedSwitch()), path=path, method="GET", host=host).run()

    assert exchange.status == status


async def test_two_host_headers_are_refused() -> None:
    """S35, S50."""
    exchange = await Exchange(make_app(ScriptedSwitch()), headers=(BEARER, (b"host", b"127.0.0.1"))).run()

    assert exchange.status == 400


@pytest.mark.parametrize(
    ("origin", "status"),
    [(b"https://evil.test", 403), (b"null", 403), (b"file://", 403), (b"http://127.0.0.1:8080", 200)],
)
async def test_a_page_of_another_origin_may_not_call_and_gets_no_permission(origin: bytes, status: int) -> None:
    """S36."""
    exchange = await Exchange(make_app(ScriptedSwitch()), headers=(BEARER, (b"origin", origin))).run()

    assert exchange.status == status
    assert not [name for name in exchange.answer_headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no json",
        b'{"model":"fast"',
        b"[" * 100_000 + b"]" * 100_000,
        b'{"model":"fast","a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"model":"fast","n":NaN}',
        b'{"model":"fast","n":1e999}',
        b'{"model":"fast","model":"slow"}',
        b'{"model":"fast","stream":true,"stream":false}',
        b'{"model":"fast","t":"\\ud800"}',
        b'{"model":"fast","t":"\xff"}',
        b'["model"]',
        b'{"model":7}',
        b"{}",
    ],
)
async def test_a_body_that_is_no_sound_json_is_refused_in_the_clients_dialect(body: bytes) -> None:
    """C-9."""
    switch = ScriptedSwitch()

    exchange = await Exchange(make_app(switch), body=body).run()

    assert exchange.status == 400
    assert set(json.loads(exchange.text)["error"]) >= {"message", "type", "code"}
    assert not switch.asks


async def test_a_body_over_the_limit_is_refused_before_it_is_read() -> None:
    """C-7."""
    headers = (BEARER, (b"content-length", b"33554433"))

    exchange = await Exchange(make_app(ScriptedSwitch()), headers=headers).run()

    assert (exchange.status, exchange.code, exchange.read) == (413, "too_large", 0)


async def test_a_body_that_grows_over_the_limit_is_refused() -> None:
    """C-7."""
    exchange = await Exchange(make_app(ScriptedSwitch(), body_bytes=100), pieces=[b"x" * 60] * 9).run()

    assert (exchange.status, exchange.read) == (413, 2)


async def test_a_compressed_body_is_refused() -> None:
    """C-8."""
    exchange = await Exchange(make_app(ScriptedSwitch()), headers=(BEARER, (b"content-encoding", b"gzip"))).run()

    assert exchange.status == 415


async def test_a_body_that_never_comes_ends_after_its_limit(autojump_clock: trio.testing.MockClock) -> None:
    """C-7."""
    exchange = await Exchange(make_app(ScriptedSwitch()), pieces=[]).run()

    assert (exchange.status, exchange.code, trio.current_time()) == (408, "timeout", 10)


async def test_a_body_that_drips_buys_no_time(autojump_clock: trio.testing.MockClock) -> None:
    """C-7: single bytes come often enough, but below the least rate."""
    exchange = await Exchange(make_app(ScriptedSwitch()), pieces=[b"x"] * 99, pace=1).run()

    assert exchange.status == 408
    assert 10 <= trio.current_time() < 11


async def test_a_client_that_leaves_before_the_answer_cancels_the_call(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """C-1."""

    async def never(_ask: Ask) -> Reply:
        await trio.sleep_forever()
        raise AssertionError

    switch = ScriptedSwitch(on_execute=never)
    exchange = Exchange(make_app(switch))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(exchange.run)
        await trio.testing.wait_all_tasks_blocked()
        exchange.hung_up.set()

    assert (switch.cancelled, switch.open, exchange.status) == (1, 0, 0)


async def test_a_client_that_leaves_in_mid_stream_cancels_the_call(autojump_clock: trio.testing.MockClock) -> None:
    """C-2."""

    async def endless(_ask: Ask) -> AsyncGenerator[Chunk, None]:
        while True:
            yield Chunk(b"data: 1\n\n")
            await trio.sleep(1)

    switch = ScriptedSwitch(on_stream=endless)
    exchange = Exchange(make_app(switch), body=STREAM)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(exchange.run)
        await trio.sleep(3.5)
        exchange.hung_up.set()

    assert (switch.open, exchange.status, exchange.ended) == (0, 200, False)
    assert trio.current_time() == 3.5


BUGS: Mapping[str, Callable[[], Exception]] = {
    "ValueError": lambda: ValueError("canary-text"),
    "KeyError": lambda: KeyError("canary-text"),
    "ExceptionGroup": lambda: ExceptionGroup("canary-text", [ValueError("canary-text")]),
    "RecursionError": lambda: RecursionError("canary-text"),
    "MemoryError": lambda: MemoryError("canary-text"),
}


@pytest.mark.parametrize("bug", BUGS)
async def test_a_bug_becomes_a_500_without_its_text_and_is_logged_by_place(
    bug: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A2, S41."""

    async def fail(_ask: Ask) -> Reply:
        error = BUGS[bug]()
        raise error

    exchange = await Exchange(make_app(ScriptedSwitch(on_execute=fail))).run()

    assert (exchange.status, exchange.code) == (500, "internal")
    assert json.loads(exchange.text)["request_id"] == exchange.answer_headers["x-request-id"]
    assert b"canary" not in exchange.text
    assert bug in caplog.text
    assert "canary" not in caplog.text
    assert exchange.answer_headers["x-request-id"] in caplog.text


@pytest.mark.parametrize("bug", BUGS)
async def test_a_bug_after_the_first_payload_ends_the_stream_in_its_dialect_without_done(bug: str) -> None:
    """A3."""

    async def break_off(_ask: Ask) -> AsyncGenerator[Chunk, None]:
        yield Chunk(b"data: 1\n\n")
        error = BUGS[bug]()
        raise error

    exchange = await Exchange(make_app(ScriptedSwitch(on_stream=break_off)), body=STREAM).run()

    first, error, rest = exchange.text.split(b"\n\n")
    assert (exchange.status, first, rest, exchange.ended) == (200, b"data: 1", b"", True)
    assert json.loads(error.removeprefix(b"data: "))["error"]["code"] == "internal"
    assert b"canary" not in error


async def test_an_upstream_that_falls_silent_after_the_first_payload_is_told_in_band() -> None:
    """B10, A3: the frontend's part."""

    async def stall(_ask: Ask) -> AsyncGenerator[Chunk, None]:
        yield Chunk(b"data: 1\n\n")
        raise UpstreamFailed(TimedOut(phase=Phase.IDLE))

    exchange = await Exchange(make_app(ScriptedSwitch(on_stream=stall)), body=STREAM).run()

    assert b'"upstream_timeout"' in exchange.chunks[-1]
    assert b"[DONE]" not in exchange.text


@attrs.define(eq=False)
class AtOnce:
    """A switch whose streams come in one go, the last piece together with the end; `leave` is called on leaving."""

    leave: Callable[[], None]
    within: ScriptedSwitch = attrs.field(factory=ScriptedSwitch)
    headers: Mapping[str, str] = attrs.field(factory=dict)
    coming: list[bytes] = attrs.field(factory=lambda: [b"data: one\n\n"])

    async def hand_on(self, take: Callable[[bytes], bool]) -> bytes | None:
        await trio.lowlevel.checkpoint()
        if self.coming and not take(self.coming.pop()):
            return None
        return b"data: [DONE]\n\n"

    @asynccontextmanager
    async def stream(self, _ask: Ask, _under: object = None) -> AsyncIterator["AtOnce"]:
        yield self
        self.leave()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.within, name)


def at_once(leave: Callable[[], None]) -> App:
    return make_app(cast(ScriptedSwitch, AtOnce(leave)))


async def test_what_comes_with_the_end_of_a_stream_goes_out_with_it_once_the_stream_is_left() -> None:
    sent: list[bytes] = []
    exchange = Exchange(at_once(lambda: sent.extend(exchange.chunks)), body=STREAM)

    await exchange.run()

    assert sent == [b"data: one\n\n"]
    assert exchange.chunks == [b"data: one\n\n", b"data: [DONE]\n\n"]
    assert exchange.ended


async def test_a_failure_behind_the_end_of_a_stream_loses_nothing_of_it() -> None:
    def leave() -> None:
        raise UpstreamFailed(Protocol(message="it broke"))

    exchange = await Exchange(at_once(leave), body=STREAM).run()

    *pieces, error = exchange.chunks
    assert pieces == [b"data: one\n\n", b"data: [DONE]\n\n"]
    assert b"error" in error
    assert exchange.ended


async def test_a_stream_that_fails_before_its_first_payload_has_a_status_of_its_own() -> None:
    """C17.4: status, type and code belong together."""

    async def refuse(_ask: Ask) -> AsyncGenerator[Chunk, None]:
        raise UpstreamFailed(RateLimited(retry_after=7))
        yield Chunk(b"")

    exchange = await Exchange(make_app(ScriptedSwitch(on_stream=refuse)), body=STREAM).run()

    assert (exchange.status, exchange.code) == (429, "rate_limited")
    assert exchange.answer_headers["retry-after"] == "7"


async def test_a_pool_that_cools_tells_when_to_come_back(autojump_clock: trio.testing.MockClock) -> None:
    async def cool(ask: Ask) -> Reply:
        raise CoolingDown(model=ask.model, until=trio.current_time() + 42)

    exchange = await Exchange(make_app(ScriptedSwitch(on_execute=cool))).run()

    assert (exchange.status, exchange.code, exchange.answer_headers["retry-after"]) == (429, "model_cooldown", "42")


async def test_an_unknown_model_is_told_with_what_is_served() -> None:
    async def unknown(ask: Ask) -> Reply:
        raise UnknownModel(ask.model, ["fast", "slow"])

    exchange = await Exchange(make_app(ScriptedSwitch(on_execute=unknown))).run()

    assert exchange.status == 404
    assert b"fast, slow" in exchange.text


@pytest.mark.parametrize(
    ("sent", "echoed"), [(b"abc-1.2_3", True), (b"a" * 65, False), (b"a b", False), (b"\xff", False)]
)
async def test_a_sane_request_id_is_echoed_and_another_is_made_otherwise(sent: bytes, echoed: bool) -> None:
    switch = ScriptedSwitch()

    exchange = await Exchange(make_app(switch), headers=(BEARER, (b"x-request-id", sent))).run()

    assert (exchange.answer_headers["x-request-id"] == sent.decode("latin-1")) == echoed
    assert switch.asks[0].id == exchange.answer_headers["x-request-id"]


async def test_the_decision_is_shown_when_asked_for() -> None:
    asked = (BEARER, (b"x-turnout-explain", b"1"))

    for body in (CHAT, STREAM):
        exchange = await Exchange(make_app(ScriptedSwitch()), headers=asked, body=body).run()

        assert json.loads(exchange.answer_headers["x-turnout-decision"])["model"] == "fast"


async def test_the_decision_of_a_failed_call_is_shown_too() -> None:
    async def fail(_ask: Ask) -> Reply:
        raise UpstreamFailed(RateLimited())

    asked = (BEARER, (b"x-turnout-explain", b"1"))
    exchange = await Exchange(make_app(ScriptedSwitch(on_execute=fail)), headers=asked).run()

    assert json.loads(exchange.answer_headers["x-turnout-decision"])["model"] == "fast"


@pytest.mark.parametrize(
    ("headers", "body", "affinity"),
    [
        ((), CHAT, None),
        ((), b'{"model":"fast","user":"u1"}', "u1"),
        ((), b'{"model":"fast","user":"u1","prompt_cache_key":"c1"}', "c1"),
        ((), b'{"model":"fast","user":"u1","safety_identifier":"i1"}', "i1"),
        ((), b'{"model":"fast","metadata":{"user_id":"session-7"}}', "session-7"),
        ((), b'{"model":"fast","metadata":{"user_id":7}}', None),
        ((), b'{"model":"fast","metadata":"m"}', None),
        (((b"x-session-id", b"s1"),), CHAT, "s1"),
        (((b"session_id", b"s2"),), b'{"model":"fast","user":7}', "s2"),
    ],
)
async def test_a_session_is_found_in_what_clients_send_and_never_in_their_key(
    headers: tuple[tuple[bytes, bytes], ...], body: bytes, affinity: str | None
) -> None:
    """C17.2 with O5: the seed keyed affinity by the client's key."""
    switch = ScriptedSwitch()

    await Exchange(make_app(switch), headers=(BEARER, *headers), body=body).run()

    assert switch.asks[0].affinity == affinity


async def test_only_allowed_headers_reach_the_upstream_side() -> None:
    """S52."""
    sent = (b"cookie", b"x-forwarded-for", b"proxy-authorization", b"te", b"metadata-flavor", b"openai-organization")
    switch = ScriptedSwitch()

    await Exchange(
        make_app(switch), headers=(BEARER, *((name, b"canary") for name in sent), (b"idempotency-key", b"k1"))
    ).run()

    assert dict(switch.asks[0].headers) == {"idempotency-key": "k1"}


async def test_an_upstreams_headers_cannot_split_or_relabel_the_answer() -> None:
    """S51, S53, B28."""

    async def bad(_ask: Ask) -> Reply:
        return Reply(
            body=b"{}",
            headers={
                "content-type": "text/html",
                "set-cookie": "a=b",
                "transfer-encoding": "chunked",
                "x-bad": "a\r\nb: c",
                "x-good": "1",
            },
        )

    exchange = await Exchange(make_app(ScriptedSwitch(on_execute=bad))).run()

    assert exchange.answer_headers["content-type"] == "application/json"
    assert exchange.answer_headers["x-content-type-options"] == "nosniff"
    assert not exchange.answer_headers.keys() & {"set-cookie", "transfer-encoding", "x-bad"}
    assert exchange.answer_headers["x-good"] == "1"


async def test_models_are_listed_and_told_one_by_one() -> None:
    listing = await Exchange(make_app(ScriptedSwitch()), path="/v1/models", method="GET").run()
    one = await Exchange(make_app(ScriptedSwitch()), path="/v1/models/fast", method="GET").run()
    none = await Exchange(make_app(ScriptedSwitch()), path="/v1/models/a/b", method="GET").run()

    assert json.loads(listing.text)["data"] == [json.loads(one.text)]
    assert json.loads(one.text) == {"id": "fast", "object": "model", "created": 0, "owned_by": "openai"}
    assert none.status == 404


async def test_metrics_are_shown_to_clients() -> None:
    switch = ScriptedSwitch(exposed={"text/plain; version=0.0.4": "calls 1\n"})

    exchange = await Exchange(make_app(switch), path="/metrics", method="GET").run()

    assert (exchange.text, exchange.answer_headers["content-type"]) == (b"calls 1\n", "text/plain; version=0.0.4")


@attrs.define
class Held:
    """Calls that stay open until they are let go."""

    gate: trio.Event = attrs.field(factory=trio.Event)

    async def __call__(self, _ask: Ask) -> Reply:
        await self.gate.wait()
        return Reply(body=b"{}")


async def test_one_key_cannot_take_more_than_its_share(autojump_clock: trio.testing.MockClock) -> None:
    """C-12 and section 4."""
    held = Held()
    app = make_app(ScriptedSwitch(on_execute=held), per_key=2)
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(Exchange(app).run)
        await trio.testing.wait_all_tasks_blocked()
        third = await Exchange(app).run()
        other = Exchange(app, headers=((b"x-api-key", OTHER_KEY.encode()),))
        nursery.start_soon(other.run)
        await trio.testing.wait_all_tasks_blocked()
        held.gate.set()

    assert (third.status, third.code, third.answer_headers["retry-after"]) == (429, "rate_limited", "1")
    assert other.status == 200


async def test_who_finds_no_place_waits_a_while_and_is_told_to_come_back(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Section 4: queue, then 503 with Retry-After; A9: health pages are outside of it."""
    held = Held()
    app = make_app(ScriptedSwitch(on_execute=held), requests=1, queue=1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Exchange(app).run)
        await trio.testing.wait_all_tasks_blocked()
        queued = Exchange(app)
        nursery.start_soon(queued.run)
        await trio.testing.wait_all_tasks_blocked()
        beyond = await Exchange(app).run()
        health = await Exchange(app, path="/healthz", method="GET").run()
        assert trio.current_time() == 0
        await trio.sleep(6)
        held.gate.set()

    assert (beyond.status, beyond.code, beyond.answer_headers["retry-after"]) == (503, "no_capacity", "5")
    assert queued.status == 503
    assert health.status == 200


async def test_a_place_goes_to_the_first_in_the_queue(autojump_clock: trio.testing.MockClock) -> None:
    held = Held()
    app = make_app(ScriptedSwitch(on_execute=held), requests=1)
    exchanges = [Exchange(app) for _ in range(5)]
    async with trio.open_nursery() as nursery:
        for exchange in exchanges:
            nursery.start_soon(exchange.run)
        await trio.sleep(1)
        held.gate.set()

    assert [exchange.status for exchange in exchanges] == [200] * 5
    assert (await Exchange(app).run()).status == 200


async def test_guessing_keys_from_one_address_is_slowed_down_but_a_right_key_still_opens(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """C-10."""
    app = make_app(ScriptedSwitch())
    wrong = (b"x-api-key", b"guess")
    answers = [(await Exchange(app, headers=(wrong,)).run()).status for _ in range(40)]
    right = await Exchange(app).run()
    await trio.sleep(61)
    later = await Exchange(app, headers=(wrong,)).run()

    assert answers == [401] * 30 + [429] * 10
    assert (right.status, later.status) == (200, 401)


async def test_what_runs_when_the_time_to_drain_is_over_is_told_so(autojump_clock: trio.testing.MockClock) -> None:
    """H4: the application's part."""

    async def endless(_ask: Ask) -> AsyncGenerator[Chunk, None]:
        yield Chunk(b"data: 1\n\n")
        await trio.sleep_forever()

    switch = ScriptedSwitch(on_execute=Held(), on_stream=endless)
    app = make_app(switch)
    whole, stream = Exchange(app), Exchange(app, body=STREAM)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(whole.run)
        nursery.start_soon(stream.run)
        await trio.testing.wait_all_tasks_blocked()
        switch.drain()

    assert (whole.status, whole.code) == (503, "draining")
    assert b'"draining"' in stream.chunks[-1]
    assert stream.ended


async def test_readiness_tells_of_the_drain() -> None:
    switch = ScriptedSwitch()
    switch.drain()

    exchange = await Exchange(make_app(switch), path="/readyz", method="GET", headers=()).run()
    refused = await Exchange(make_app(switch)).run()

    assert (exchange.status, exchange.text) == (503, b'{"status":"draining"}')
    assert (refused.status, refused.code) == (503, "draining")


async def test_readiness_under_a_problem_that_calls_survive_is_degraded(monkeypatch: pytest.MonkeyPatch) -> None:
    """F-5, A5: not named, for anybody may ask."""
    found = Readiness(ready=True, problems=("the store does not take what changes",))
    monkeypatch.setattr(ScriptedSwitch, "readiness", lambda _: found)

    exchange = await Exchange(make_app(ScriptedSwitch()), path="/readyz", method="GET", headers=()).run()

    assert (exchange.status, exchange.text) == (200, b'{"status":"degraded"}')


@pytest.mark.parametrize(
    ("method", "version", "headers", "status"),
    [
        ("CONNECT", "1.1", (), 405),
        ("TRACE", "1.1", (), 405),
        ("GET", "9.9", (), 400),
        ("GET", "2.0", (), 400),
        ("POST", "1.1", ((b"content-length", b"5"), (b"transfer-encoding", b"chunked")), 400),
        ("POST", "1.0", ((b"transfer-encoding", b"chunked"),), 400),
        ("GET", "1.1", ((b"upgrade", b"h2c"), (b"http2-settings", b"A")), 400),
        ("POST", "1.1", ((b"content-length", b"5"), (b"content-length", b"6")), 400),
    ],
)
async def test_framing_that_others_could_read_differently_is_refused(
    method: str, version: str, headers: tuple[tuple[bytes, bytes], ...], status: int
) -> None:
    """S50: what a server may let through."""
    exchange = await Exchange(
        make_app(ScriptedSwitch()), method=method, http_version=version, headers=(BEARER, *headers)
    ).run()

    assert exchange.status == status
    assert exchange.answer_headers["connection"] == "close"


# --- another configuration while it serves, decision records ----------------------------------------------------------


def settings_with(*keys: str, **others: Any) -> Settings:
    return Settings(keys=tuple(Secret(key) for key in keys), **others)


async def test_keys_hosts_and_admission_change_while_it_serves() -> None:
    """Design 11: `Reconfigurable`."""
    switch = ScriptedSwitch()
    app = make_app(switch)
    assert (await Exchange(app).run()).status == 200

    changed = settings_with(OTHER_KEY, hosts=("gateway.test",), limits=ClientLimits(body_bytes=ByteCount(5)))
    app.follow(pages(switch, changed), changed, Hosts(changed.hosts, [parse_address("127.0.0.1:8080")]))

    assert (await Exchange(app).run()).status == 401
    other = (b"authorization", f"Bearer {OTHER_KEY}".encode())
    assert (await Exchange(app, headers=(other,)).run()).status == 413
    listing = Exchange(app, "/v1/models", "GET", b"", (other,), b"gateway.test")
    assert (await listing.run()).status == 200


def test_what_belongs_to_open_sockets_takes_a_restart() -> None:
    frontend = Http(settings_with(KEY), http_context())
    frontend.check(settings_with(OTHER_KEY, limits=ClientLimits(per_key=1, queue=0)))
    with pytest.raises(ConfigError, match=r"listen, limits\.keep_alive cannot change.*restart"):
        frontend.check(settings_with(KEY, listen=("127.0.0.1:9",), limits=ClientLimits(keep_alive=Seconds(9))))
    assert isinstance(frontend, Reconfigurable)


async def test_the_decision_record_of_a_call_can_be_asked_for() -> None:
    switch = ScriptedSwitch()
    app = make_app(switch)
    await Exchange(app, headers=(BEARER, (b"x-request-id", b"call-7"))).run()

    found = await Exchange(app, "/v1/turnout/decisions/call-7", "GET", b"").run()
    unknown = await Exchange(app, "/v1/turnout/decisions/other", "GET", b"").run()

    assert (found.status, unknown.status) == (200, 404)
    assert json.loads(b"".join(found.chunks))["id"] == "call-7"


async def test_no_client_reads_the_record_of_another_ones_call_whatever_it_knows() -> None:
    """S8: ids that clients choose may be guessed, or be the same."""
    other = (b"authorization", f"Bearer {OTHER_KEY}".encode())
    chosen, explained = (b"x-request-id", b"call-7"), (b"x-turnout-explain", b"1")
    app = make_app(ScriptedSwitch())
    made = await Exchange(app, headers=(BEARER,)).run()
    await Exchange(app, headers=(BEARER, chosen)).run()

    for id in ("call-7", made.answer_headers["x-request-id"]):
        page = f"/v1/turnout/decisions/{id}"
        assert (await Exchange(app, page, "GET", b"", (BEARER,)).run()).status == 200
        refused = await Exchange(app, page, "GET", b"", (other,)).run()
        never = await Exchange(app, "/v1/turnout/decisions/never", "GET", b"", (other,)).run()
        assert (refused.status, refused.code) == (never.status, never.code) == (404, "not_found")
    failed = await Exchange(app, body=b"{", headers=(other, chosen, explained)).run()
    assert failed.status == 400
    assert "x-turnout-decision" not in failed.answer_headers

    await Exchange(app, headers=(other, chosen)).run()
    assert (await Exchange(app, "/v1/turnout/decisions/call-7", "GET", b"", (BEARER,)).run()).status == 404


async def test_a_key_that_stays_in_the_configuration_keeps_its_records() -> None:
    """S8: by the key and not by its place, so that whoever gets its place gets none of them."""
    other = (b"authorization", f"Bearer {OTHER_KEY}".encode())
    switch = ScriptedSwitch()
    app = make_app(switch)
    await Exchange(app, headers=(BEARER, (b"x-request-id", b"call-7"))).run()

    changed = settings_with(OTHER_KEY, KEY)
    app.follow(pages(switch, changed), changed, Hosts((), [parse_address("127.0.0.1:8080")]))

    page = "/v1/turnout/decisions/call-7"
    assert (await Exchange(app, page, "GET", b"", (BEARER,)).run()).status == 200
    assert (await Exchange(app, page, "GET", b"", (other,)).run()).status == 404


async def test_no_client_can_guess_the_id_of_another_ones_request_from_its_own() -> None:
    """S8: who has the id of a call can read how it was conducted."""
    app = make_app(ScriptedSwitch())
    own, again, other = [
        (await Exchange(app, headers=((b"authorization", b"Bearer " + key.encode()),)).run())
        .answer_headers["x-request-id"]
        .rpartition("-")
        for key in (KEY, KEY, OTHER_KEY)
    ]

    assert own[2] == again[2] != other[2]
    assert len(other[2]) == 16
    assert len({own[0], again[0], other[0]}) == 3


async def test_a_list_of_betas_may_come_in_several_lines() -> None:
    """RFC 9110, 5.3."""
    switch = ScriptedSwitch()
    lines = ((b"anthropic-beta", b"one"), (b"x-other", b"x"), (b"anthropic-beta", b"two"))

    await Exchange(make_app(switch), "/v1/messages", headers=(BEARER, *lines)).run()

    assert switch.asks[0].headers["anthropic-beta"].replace(" ", "") == "one,two"
