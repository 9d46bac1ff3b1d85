"""Faults of upstreams through the whole house: what the client sees, what the pool learns, what the upstream sees."""

import json
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme
from inside import data_of, error_code, open_house, verdicts, words_of

from turnout_upstream import EndedBy, How, Play, Rule, Script, plays, refused_url

pytestmark = pytest.mark.usefixtures("each_transport")  # rows of table B hold for both

TEXT = "Hello from the scripted upstream."


def bad_first(play: Play) -> Script:
    """The fault for one key, sound answers for the other."""
    return Script(rules=(Rule(key="sk-bad", always=play),))


def all_bad(play: Play) -> Script:
    return Script(default=play)


# --- Connections that do not come about ------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refused_connection_fails_over(tmp_path: Path, stream: bool) -> None:
    """B1."""
    with refused_url() as nowhere:
        async with open_house(tmp_path, urls={"bad": nowhere}) as house:
            reply = await house.chat(stream=stream)

    assert reply.status_code == 200
    assert verdicts(reply) == [("bad", "Unreachable"), ("good", "Done")]


@pytest.mark.parametrize("stream", [False, True])
async def test_refused_everywhere_is_502(tmp_path: Path, stream: bool) -> None:
    """B1."""
    with refused_url() as nowhere:
        async with open_house(tmp_path, urls={"bad": nowhere, "good": nowhere}) as house:
            reply = await house.chat(stream=stream)

    assert (reply.status_code, error_code(reply)) == (502, "upstream_unreachable")
    assert nowhere not in reply.text


@contextmanager
def black_hole() -> Iterator[str]:
    """The URL of a host that does not answer: its queue of connections is full, so the system drops what comes."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_host_that_does_not_answer_fails_over_at_the_connect_limit(tmp_path: Path, stream: bool) -> None:
    """B2."""
    with black_hole() as nowhere:
        async with open_house(tmp_path, urls={"bad": nowhere}, deadlines={"connect": "300ms"}) as house:
            reply = await house.chat(stream=stream)

    assert reply.status_code == 200
    assert verdicts(reply) == [("bad", "TimedOut"), ("good", "Done")]


@pytest.mark.parametrize("stream", [False, True])
async def test_no_answer_from_any_host_is_504(tmp_path: Path, stream: bool) -> None:
    """B2."""
    with black_hole() as nowhere:
        urls = {"bad": nowhere, "good": nowhere}
        async with open_house(tmp_path, urls=urls, deadlines={"connect": "300ms"}) as house:
            reply = await house.chat(stream=stream)

    assert (reply.status_code, error_code(reply)) == (504, "upstream_timeout")
    assert nowhere not in reply.text


class Resolver(trio.abc.HostnameResolver):
    """Knows no name, and never answers for some."""

    async def getaddrinfo(self, host: bytes | None, *_: object, **_more: object) -> Any:
        if host is not None and host.startswith(b"hangs."):
            await trio.sleep_forever()
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    async def getnameinfo(self, *_: object) -> Any:
        raise AssertionError("nobody asks for a name")


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [("gone.example", 502, "upstream_unreachable"), ("hangs.example", 504, "upstream_timeout")],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_name_that_leads_nowhere_fails_over_and_everywhere_is_told(
    tmp_path: Path, name: str, status: int, code: str, stream: bool
) -> None:
    """B3: gone, and a resolver that hangs."""
    trio.socket.set_custom_hostname_resolver(Resolver())
    nowhere, limits = f"http://{name}", {"connect": "300ms"}
    async with open_house(tmp_path / "one", urls={"bad": nowhere}, deadlines=limits) as house:
        moved = await house.chat(stream=stream)
    async with open_house(tmp_path / "all", urls={"bad": nowhere, "good": nowhere}, deadlines=limits) as house:
        told = await house.chat(stream=stream)

    assert moved.status_code == 200
    assert [credential for credential, _ in verdicts(moved)] == ["bad", "good"]
    assert (told.status_code, error_code(told)) == (status, code)
    assert name not in told.text


@pytest.fixture
def unknown() -> ssl.SSLContext:
    """Of a server whose certificate nobody here vouches for; made before the loop runs (A8)."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return context


@asynccontextmanager
async def untrusted(tls: ssl.SSLContext | None) -> AsyncIterator[tuple[str, list[bytes]]]:
    """An `https://` URL behind which is that certificate, or plain HTTP; and what it hears."""
    heard: list[bytes] = []

    async def listen(stream: trio.abc.Stream) -> None:
        with suppress(trio.BrokenResourceError):
            while data := await stream.receive_some():
                heard.append(bytes(data))
                await stream.send_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")

    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_ssl_over_tcp, ssl_context=tls) if tls else trio.serve_tcp
        (listener,) = await nursery.start(partial(serve, listen, 0, host="127.0.0.1"))
        bottom = listener.transport_listener if tls else listener
        yield f"https://127.0.0.1:{bottom.socket.getsockname()[1]}", heard
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("stream", [False, True])
async def test_an_upstream_that_cannot_prove_itself_is_unreachable_and_gets_no_key(
    tmp_path: Path, unknown: ssl.SSLContext, plain: bool, stream: bool
) -> None:
    """B4."""
    async with untrusted(None if plain else unknown) as (nowhere, heard):
        async with open_house(tmp_path / "one", urls={"bad": nowhere}) as house:
            moved = await house.chat(stream=stream)
        async with open_house(tmp_path / "all", urls={"bad": nowhere, "good": nowhere}) as house:
            told = await house.chat(stream=stream)

    assert moved.status_code == 200
    assert verdicts(moved) == [("bad", "Unreachable"), ("good", "Done")]
    assert (told.status_code, error_code(told)) == (502, "upstream_unreachable")
    assert b"sk-" not in b"".join(heard)
    assert bool(heard) == plain


@pytest.mark.parametrize("stream", [False, True])
async def test_a_connection_closed_at_accept_is_survived(tmp_path: Path, stream: bool) -> None:
    """B5."""
    async with open_house(tmp_path, Script(connections=(How.CLOSE,))) as house:
        reply = await house.chat(stream=stream)

    assert reply.status_code == 200


@pytest.mark.parametrize("stream", [False, True])
async def test_every_connection_closed_at_accept_is_502(tmp_path: Path, stream: bool) -> None:
    """B5."""
    async with open_house(tmp_path, Script(connection=How.CLOSE)) as house:
        reply = await house.chat(stream=stream)

    assert reply.status_code == 502
    assert error_code(reply) in {"upstream_unreachable", "upstream_protocol"}


# --- Silence ---------------------------------------------------------------------------------------------------------


async def test_headers_and_then_silence_fail_over_at_the_first_payload_limit(tmp_path: Path) -> None:
    """B9."""
    limits = {"first_payload": "800ms"}
    async with open_house(tmp_path, bad_first(plays.stall_after_head()), deadlines=limits) as house:
        reply = await house.chat(stream=True)
        with trio.fail_after(1):
            await house.upstream.wait_for(lambda log: any(e.during == 1 for e in log.endings))

    assert reply.status_code == 200
    assert words_of(data_of(reply)) == TEXT
    assert verdicts(reply) == [("bad", "TimedOut"), ("good", "Done")]


@pytest.mark.parametrize("play", [plays.stall_after_head(), plays.role_only(), plays.drip(every=0.1)])
async def test_silence_everywhere_is_504_with_a_status_of_its_own(tmp_path: Path, play: Play) -> None:
    """B9, and B17: bytes and role-only openings are no progress."""
    async with open_house(tmp_path, all_bad(play), deadlines={"first_payload": "300ms"}) as house:
        reply = await house.chat(stream=True)

    assert (reply.status_code, error_code(reply)) == (504, "upstream_timeout")


async def test_silence_in_a_stream_ends_it_in_band_and_closes_the_upstream(tmp_path: Path) -> None:
    """B10."""
    play = plays.stall_mid_stream(3)
    async with open_house(tmp_path, bad_first(play), deadlines={"idle": "400ms"}) as house:
        reply = await house.chat(stream=True)
        with trio.fail_after(1):
            await house.upstream.wait_for(lambda log: log.ended == 1)
        seen, (ending,) = house.upstream.log.seen, house.upstream.log.endings

    *content, last = data_of(reply)
    assert reply.status_code == 200
    assert words_of(content) == "Hello from"
    assert json.loads(last)["error"]["code"] == "upstream_timeout"
    assert (seen, ending.during) == (1, 1)


# --- Streams that break ----------------------------------------------------------------------------------------------

BROKEN = [
    pytest.param(plays.reset_mid_stream(3), id="B11"),
    pytest.param(plays.close_before_done(), id="B12-close"),
    pytest.param(plays.ends_without_done(), id="B12-end"),
    pytest.param(plays.truncated_chunk(3), id="B13-truncated"),
    pytest.param(plays.bad_chunk(every=0.1), id="B13-size"),
]


@pytest.mark.parametrize("server", ["llhttp", "hypercorn"])
@pytest.mark.parametrize("play", BROKEN)
async def test_a_stream_that_breaks_after_its_first_payload_ends_in_band(
    tmp_path: Path, play: Play, server: str
) -> None:
    """B11, B12, B13 after commit: no fail over, an error in the dialect, no false end."""
    async with open_house(tmp_path, bad_first(play), server=server) as house:
        reply = await house.chat(stream=True)
        keys = house.upstream.log.keys()

    *content, last = data_of(reply)
    assert reply.status_code == 200
    assert words_of(content)
    assert json.loads(last)["error"]["code"] == "upstream_protocol"
    assert "[DONE]" not in reply.text
    assert keys == ["sk-bad"]


@pytest.mark.parametrize("play", [plays.reset_mid_stream(1), plays.truncated_chunk(1), plays.half_close_after_head()])
async def test_a_stream_that_breaks_before_its_first_payload_fails_over(tmp_path: Path, play: Play) -> None:
    """B11, B13, B29 before commit; the pieces of the broken stream are gone."""
    async with open_house(tmp_path, bad_first(play)) as house:
        reply = await house.chat(stream=True)
        keys = house.upstream.log.keys()

    assert words_of(data_of(reply)) == TEXT
    assert reply.text.count('"role":"assistant"') == 1
    assert keys == ["sk-bad", "sk-good"]


@pytest.mark.parametrize(
    "play",
    [plays.reset_mid_stream(), plays.close_before_done(), plays.wrong_length(5), plays.reset_mid_head()],
    ids=["B11", "B12", "B13", "B7"],
)
async def test_a_reply_that_is_cut_off_is_never_a_200(tmp_path: Path, play: Play) -> None:
    """B11, B12, B13 for clients that do not stream."""
    async with open_house(tmp_path, all_bad(play)) as house:
        reply = await house.chat()

    assert (reply.status_code, error_code(reply)) == (502, "upstream_protocol")


# --- Errors that look like success ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stream", "play"), [(False, plays.error_in_200(429)), (True, plays.error_first(429))])
async def test_an_error_inside_a_200_counts_as_the_error(tmp_path: Path, stream: bool, play: Play) -> None:
    """B22."""
    async with open_house(tmp_path, bad_first(play)) as house:
        first = await house.chat(stream=stream)
        second = await house.chat(stream=stream)

    assert (first.status_code, second.status_code) == (200, 200)
    assert verdicts(first) == [("bad", "RateLimited"), ("good", "Done")]
    assert verdicts(second) == [("good", "Done")]


@pytest.mark.parametrize(("stream", "play"), [(False, plays.error_in_200(429)), (True, plays.error_first(429))])
async def test_an_error_inside_every_200_is_answered_with_its_status(tmp_path: Path, stream: bool, play: Play) -> None:
    """B22."""
    async with open_house(tmp_path, all_bad(play), more="[retry]\npasses = 1\n") as house:
        reply = await house.chat(stream=stream)

    assert reply.status_code == 429
    assert "error" in json.loads(reply.text)


async def test_an_error_event_after_content_is_passed_on_in_band(tmp_path: Path) -> None:
    """B22 after commit."""
    async with open_house(tmp_path, bad_first(plays.error_after(429))) as house:
        reply = await house.chat(stream=True)
        again = await house.chat()

    assert "error" in json.loads(data_of(reply)[-1])
    assert "[DONE]" not in reply.text
    assert verdicts(again) == [("good", "Done")]


# --- Statuses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [500, 502, 503, 504, 529])
async def test_a_failing_upstream_is_walked_around(tmp_path: Path, status: int, stream: bool) -> None:
    """B26."""
    async with open_house(tmp_path, bad_first(plays.status(status))) as house:
        reply = await house.chat(stream=stream)
        keys = house.upstream.log.keys()

    assert reply.status_code == 200
    assert keys == ["sk-bad", "sk-good"]


@pytest.mark.parametrize("status", [500, 502, 503, 504, 529])
async def test_an_upstream_that_only_fails_is_asked_no_more_often_than_the_rules_allow(
    tmp_path: Path, status: int
) -> None:
    """B26: after two failures of one origin the others are left alone."""
    names = ("one", "two", "three", "four")
    more = "[retry]\npasses = 1\n"
    async with open_house(tmp_path, all_bad(plays.status(status)), names=names, more=more) as house:
        reply = await house.chat()
        keys = house.upstream.log.keys()

    assert 500 <= reply.status_code <= 529
    assert "error" in json.loads(reply.text)
    assert keys == ["sk-one", "sk-two"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [400, 413, 422])
async def test_the_clients_own_mistake_is_told_at_once_and_benches_nobody(
    tmp_path: Path, status: int, stream: bool
) -> None:
    """B27."""
    message = "messages[0] must be an object"
    script = Script(rules=(Rule(plays=(plays.status(status, message),)),))
    async with open_house(tmp_path, script) as house:
        reply = await house.chat(stream=stream)
        again = await house.chat(stream=stream)
        keys = house.upstream.log.keys()

    assert reply.status_code == status
    assert message in json.loads(reply.text)["error"]["message"]
    assert again.status_code == 200
    assert keys == ["sk-bad", "sk-bad"]


async def test_a_call_waits_for_a_key_that_comes_back_soon(tmp_path: Path) -> None:
    """The rest that an upstream asked for is over by itself, and nobody had to try again."""
    script = Script(rules=(Rule(plays=(plays.rate_limited(1),)),))
    async with open_house(tmp_path, script, names=("only",)) as house:
        began = trio.current_time()
        reply = await house.chat()
        took = trio.current_time() - began

    assert reply.status_code == 200
    assert verdicts(reply) == [("only", "RateLimited"), ("only", "Done")]
    assert 1 <= took < 5


# --- Connections that are used again ----------------------------------------------------------------------------------


@pytest.mark.parametrize("requests", [200, pytest.param(1000, marks=pytest.mark.long)])
async def test_an_upstream_that_closes_after_each_reply_costs_no_request(tmp_path: Path, requests: int) -> None:
    """B30, with ten of its requests one after the other, and the rest of them side by side."""
    statuses: list[int] = []

    async with open_house(tmp_path, all_bad(plays.close_after_reply()), limit=300) as house:

        async def ask(count: int) -> None:
            statuses.extend([(await house.chat()).status_code for _ in range(count)])

        await ask(10)
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(ask, (requests - 10) // 10)
        seen, endings = house.upstream.log.seen, list(house.upstream.log.endings)

    assert statuses == [200] * requests
    assert seen == requests
    assert {ending.by for ending in endings} == {EndedBy.UPSTREAM}
