"""The scripted upstream plays what its script says, and sees what its peers do."""

import http.client
import inspect
import json
import re
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
import trustme
from hypothesis import given
from hypothesis import strategies as st

from turnout_upstream import (
    Cut,
    EndedBy,
    Ending,
    How,
    Play,
    Point,
    Request,
    Rule,
    Script,
    ScriptError,
    Upstream,
    entry_from_value,
    open_upstream,
    plays,
    refused_url,
    script_from_json,
    script_to_json,
)
from turnout_upstream._json import entry_to_value
from turnout_upstream._render import Send, Wait, Wants, steps

README = Path(__file__).parents[2] / "plugins" / "upstream" / "README.md"


def request_bytes(*, key: str = "sk-one", stream: bool = False, model: str = "m", pad: int = 0) -> bytes:
    body = json.dumps({"model": model, "stream": stream, "messages": [], "pad": "x" * pad}).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: upstream\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {key}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@asynccontextmanager
async def connected(upstream: Upstream, limit: float = 10) -> AsyncIterator[trio.SocketStream]:
    host, port = upstream.url.removeprefix("http://").split(":")
    stream = await trio.open_tcp_stream(host, int(port))
    with trio.fail_after(limit):
        async with stream:
            yield stream


async def everything(stream: trio.SocketStream) -> bytes:
    """Bytes until the upstream closes."""
    return b"".join([bytes(part) async for part in stream])


async def until(stream: trio.SocketStream, ending: bytes) -> bytes:
    seen = b""
    while ending not in seen:
        part = await stream.receive_some(65536)
        assert part, seen
        seen += part
    return seen


async def answer_to(play: Play, *, stream: bool = False) -> bytes:
    """What a peer reads when the play is for its request; the connection ends by the script or by the peer's FIN."""
    async with open_upstream(Script(default=play)) as upstream, connected(upstream) as peer:
        await peer.send_all(request_bytes(stream=stream))
        await peer.send_eof()
        return await everything(peer)


async def test_a_request_gets_a_sound_completion() -> None:
    async with open_upstream() as upstream, connected(upstream) as peer:
        await peer.send_all(request_bytes(model="gpt-test"))
        seen = await until(peer, b"}}")

    head, _, body = seen.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert json.loads(body)["model"] == "gpt-test"
    assert json.loads(body)["choices"][0]["message"]["content"] == "Hello from the scripted upstream."


async def test_a_stream_opens_with_the_role_and_ends_with_done() -> None:
    async with open_upstream() as upstream, connected(upstream) as peer:
        await peer.send_all(request_bytes(stream=True))
        seen = await until(peer, b"0\r\n\r\n")

    events = [json.loads(line[6:]) for line in seen.split(b"\n") if line.startswith(b"data: {")]
    deltas = [event["choices"][0]["delta"] for event in events]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert "".join(delta.get("content", "") for delta in deltas) == "Hello from the scripted upstream."
    assert events[-1]["choices"][0]["finish_reason"] == "stop"
    assert b"data: [DONE]\n\n" in seen


async def test_requests_are_recorded_with_key_model_and_body() -> None:
    async with open_upstream() as upstream, connected(upstream) as peer:
        await peer.send_all(request_bytes(key="sk-two", model="some-model", stream=True))
        await until(peer, b"0\r\n\r\n")
        (request,) = upstream.log.requests

    assert (request.key, request.model, request.stream) == ("sk-two", "some-model", True)
    assert (request.method, request.path, request.number, request.connection) == ("POST", "/v1/chat/completions", 1, 1)
    assert json.loads(request.body)["model"] == "some-model"
    assert request.header("content-type") == "application/json"


async def test_a_rule_plays_each_of_its_plays_once_and_then_the_next_rule_decides() -> None:
    script = Script(
        rules=(
            Rule(key="sk-one", plays=(plays.rate_limited(7), plays.status(500))),
            Rule(key="sk-one", model="m", always=plays.status(503)),
        )
    )
    statuses = []
    async with open_upstream(script) as upstream, connected(upstream) as peer:
        for key in ("sk-one", "sk-two", "sk-one", "sk-one", "sk-one"):
            await peer.send_all(request_bytes(key=key))
            statuses.append(int((await until(peer, b"}}"))[9:12]))

    assert statuses == [429, 200, 500, 503, 503]


async def test_a_running_upstream_follows_a_new_script() -> None:
    async with open_upstream() as upstream, connected(upstream) as peer:
        upstream.use(Script(default=plays.status(500)))
        await peer.send_all(request_bytes())
        first = await until(peer, b"}}")
        upstream.add(Rule(plays=(plays.rate_limited("soon"),)))
        await peer.send_all(request_bytes())
        second = await until(peer, b"}}")

    assert first.startswith(b"HTTP/1.1 500 ")
    assert b"retry-after: soon\r\n" in second


async def test_a_peer_that_closes_during_a_stall_is_noticed_at_once() -> None:
    async with open_upstream(Script(default=plays.stall_mid_stream(2))) as upstream:
        async with connected(upstream) as peer:
            await peer.send_all(request_bytes(stream=True))
            await until(peer, b"Hello")
        with trio.fail_after(5):
            await upstream.wait_for(lambda log: log.ended == 1)
        (ending,) = upstream.log.endings

    assert (ending.by, ending.during, ending.requests) == (EndedBy.FIN, 1, 1)
    assert ending.sent > 0


async def test_a_peer_that_leaves_bytes_unread_resets_the_connection() -> None:
    async with open_upstream(Script(default=plays.events(1000))) as upstream:
        async with connected(upstream) as peer:
            await peer.send_all(request_bytes(stream=True))
            await peer.receive_some(10)
        with trio.fail_after(5):
            await upstream.wait_for(lambda log: log.ended == 1)

    assert upstream.log.endings[0].by is EndedBy.RST


@pytest.mark.parametrize(
    "play", [plays.reset_after_request(), plays.reset_mid_head(), plays.reset_mid_stream(2)], ids=["B6", "B7", "B11"]
)
async def test_a_reset_reaches_the_peer_as_a_reset(play: Play) -> None:
    async with open_upstream(Script(default=play)) as upstream, connected(upstream) as peer:
        await peer.send_all(request_bytes(stream=True))
        with pytest.raises(trio.BrokenResourceError):
            await everything(peer)
        with trio.fail_after(5):
            await upstream.wait_for(lambda log: log.ended == 1)

    assert upstream.log.endings[0].by is EndedBy.UPSTREAM


@pytest.mark.parametrize(
    ("play", "ending"),
    [
        (plays.close_after_request(), b""),
        (plays.close_before_done(), b'"finish_reason":"stop"}]}\n\n\r\n'),
        (plays.ends_without_done(), b"word-1"),
        (plays.half_close_after_head(), b"\r\n\r\n"),
        (plays.bad_chunk(), b"zz\r\nnonsense\r\n"),
        (plays.truncated_chunk(), b"data: "),
        (plays.malformed_event(), b"{nonsense\n\n"),
        (plays.error_first(529), b"overloaded_error"),
        (plays.error_after(500), b"server_error"),
        (plays.separators_inside(), "one\u2028two".encode()),
        (plays.cr_only(), b"[DONE]\r\r"),
        (plays.noisy(), b"\xef\xbb\xbf: keep-alive\n\n"),
    ],
)
async def test_a_broken_stream_is_broken_in_the_way_it_says(play: Play, ending: bytes) -> None:
    seen = await answer_to(play, stream=True)

    assert ending in seen
    if play not in {plays.malformed_event(), plays.separators_inside(), plays.cr_only(), plays.noisy()}:
        assert b"[DONE]" not in seen


@pytest.mark.parametrize(
    ("play", "part"),
    [
        (plays.rate_limited(3), b"retry-after: 3\r\n"),
        (plays.status(529), b"HTTP/1.1 529 Scripted\r\n"),
        (plays.invalid_request(), b"invalid_request_error"),
        (plays.error_in_200(), b"HTTP/1.1 200 OK\r\n"),
        (plays.garbage("binary"), bytes(range(256))),
        (plays.gzipped(), b"content-encoding: gzip\r\n"),
        (plays.mislabelled(), b"content-encoding: gzip\r\n"),
        (plays.redirect("http://127.0.0.1:1/"), b"location: http://127.0.0.1:1/\r\n"),
        (plays.informational(103, 9), b"HTTP/1.1 103 Early Hints\r\n\r\n" * 9 + b"HTTP/1.1 200"),
        (plays.many_headers(1500), b"x-filler-1499: vvvvvvvv\r\n"),
        (plays.rude_headers(), b"set-cookie: session=scripted\r\n"),
        (plays.coalesced(), b"Hello"),
    ],
)
async def test_a_play_sends_what_its_name_says(play: Play, part: bytes) -> None:
    assert part in await answer_to(play)


@pytest.mark.parametrize("off_by", [-5, 5])
async def test_a_content_length_can_be_wrong_in_both_directions(off_by: int) -> None:
    seen = await answer_to(plays.wrong_length(off_by))

    head, _, body = seen.partition(b"\r\n\r\n")
    assert f"content-length: {len(body) + off_by}\r\n".encode() in head + b"\r\n"


async def test_a_huge_body_costs_no_memory_and_stops_when_the_peer_leaves() -> None:
    async with open_upstream(Script(default=plays.huge_error())) as upstream:
        async with connected(upstream) as peer:
            await peer.send_all(request_bytes())
            await peer.receive_some(1000)
        with trio.fail_after(5):
            await upstream.wait_for(lambda log: log.ended == 1)

    assert upstream.log.endings[0].sent < 50 * 1024 * 1024


async def test_a_reply_can_come_before_the_request_body() -> None:
    async with open_upstream(Script(default=plays.reply_before_body())) as upstream, connected(upstream) as peer:
        whole = request_bytes(pad=1000)
        await peer.send_all(whole[:200])
        seen = await until(peer, b"}}")

    assert seen.startswith(b"HTTP/1.1 413 ")
    assert not upstream.log.requests[0].whole


async def test_a_connection_can_end_as_soon_as_it_is_accepted() -> None:
    async with open_upstream(Script(connections=(How.CLOSE, How.RESET))) as upstream:
        async with connected(upstream) as peer:
            assert await everything(peer) == b""
        async with connected(upstream) as peer:
            with pytest.raises(trio.BrokenResourceError):
                await everything(peer)
        async with connected(upstream) as peer:
            await peer.send_all(request_bytes())
            assert (await until(peer, b"}}")).startswith(b"HTTP/1.1 200 OK")


async def test_an_announced_end_after_each_reply_is_not_announced() -> None:
    seen = await answer_to(plays.close_after_reply())

    assert b"connection:" not in seen.lower()
    assert seen.endswith(b"}}")


async def test_waits_follow_trios_clock(autojump_clock: trio.testing.MockClock) -> None:
    script = Script(default=plays.events(100, every=10.0))
    async with open_upstream(script) as upstream, connected(upstream, limit=7200) as peer:
        await peer.send_all(request_bytes(stream=True))
        await until(peer, b"word-99")

    assert trio.current_time() >= 1000


async def test_drips_are_single_bytes() -> None:
    taken = steps(plays.drip(every=2.0), Wants("/v1/chat/completions", "m", stream=True), ())

    assert isinstance(taken[0], Send)
    assert taken[1] == Wait(2.0)
    assert taken[2] == Send(b"1\r\nd\r\n")


async def test_an_address_can_refuse_connections() -> None:
    with refused_url() as url, pytest.raises(OSError, match=r"fail|refused"):
        await trio.open_tcp_stream("127.0.0.1", int(url.rsplit(":", 1)[1]))


async def test_garbage_from_a_peer_gets_400_and_ends_that_connection_only() -> None:
    async with open_upstream() as upstream:
        async with connected(upstream) as peer:
            await peer.send_all(b"\x16\x03\x01 this is not HTTP\r\n\r\n")
            assert (await everything(peer)).startswith(b"HTTP/1.1 400 ")
        async with connected(upstream) as peer:
            await peer.send_all(request_bytes())
            assert (await until(peer, b"}}")).startswith(b"HTTP/1.1 200 OK")


async def test_an_unknown_path_is_404() -> None:
    async with open_upstream() as upstream, connected(upstream) as peer:
        await peer.send_all(b"GET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await until(peer, b"}}")).startswith(b"HTTP/1.1 404 ")


async def test_it_speaks_tls() -> None:
    ca = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    ca.configure_trust(client)
    async with open_upstream(tls_context=server) as upstream:
        port = int(upstream.url.rsplit(":", 1)[1])
        with trio.fail_after(10):
            plain = await trio.open_tcp_stream("127.0.0.1", port)
            async with trio.SSLStream(plain, client, server_hostname="localhost", https_compatible=True) as peer:
                await peer.send_all(request_bytes())
                assert (await peer.receive_some(65536)).startswith(b"HTTP/1.1 200 OK")
            await upstream.wait_for(lambda log: log.ended == 1)


PLAYS = st.builds(
    Play,
    text=st.text(max_size=20),
    status=st.integers(200, 599),
    headers=st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), max_size=2),
    body=st.none() | st.binary(max_size=20),
    events=st.none() | st.lists(st.binary(max_size=5), max_size=3).map(tuple),
    every=st.floats(0, 10),
    early=st.booleans(),
    cut=st.none() | st.builds(Cut, st.sampled_from(Point), st.sampled_from(How), st.integers(0, 5)),
    then=st.none() | st.sampled_from(How),
)


@given(st.lists(PLAYS, max_size=3), PLAYS, st.lists(st.none() | st.sampled_from(How), max_size=2))
def test_a_script_survives_json(queue: list[Play], default: Play, fates: list[How | None]) -> None:
    rules = (Rule(key="k", plays=tuple(queue)), Rule(model="m", always=default))
    script = Script(rules=rules, default=default, connections=tuple(fates))

    assert script_from_json(script_to_json(script)) == script


@given(PLAYS, st.booleans())
def test_no_play_breaks_the_renderer(play: Play, stream: bool) -> None:
    if all(char < "\u0100" for header in play.headers for text in header for char in text):
        assert steps(play, Wants("/v1/chat/completions", "m", stream), ())


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "not JSON"),
        ('{"defualt": {}}', "extra fields found (defualt) @ script"),
        ('{"rules": [{"always": {"cut": {"at": "nowhere", "how": "reset"}}}]}', "script.rules[0].always.cut.at"),
        ('{"default": {"body": 3}}', "script.default.body"),
    ],
)
def test_a_wrong_script_is_refused_with_its_place(text: str, complaint: str) -> None:
    with pytest.raises(ScriptError) as caught:
        script_from_json(text)

    assert complaint in str(caught.value)


async def test_log_entries_survive_json() -> None:
    async with open_upstream() as upstream:
        async with connected(upstream) as peer:
            await peer.send_all(request_bytes())
            await until(peer, b"}}")
        with trio.fail_after(5):
            await upstream.wait_for(lambda log: log.ended == 1)
        entries: list[Request | Ending] = [*upstream.log.requests, *upstream.log.endings]

    assert len(entries) == 2
    for entry in entries:
        assert entry_from_value(json.loads(json.dumps(entry_to_value(entry)))) == entry


def ask(url: str, method: str, path: str, body: bytes = b"", key: str = "sk-one") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
    try:
        connection.request(method, path, body, {"authorization": f"Bearer {key}"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_a_process_serves_a_script_records_and_is_steered_through_its_control_door(tmp_path: Path) -> None:
    script, record = tmp_path / "script.json", tmp_path / "record.jsonl"
    script.write_text(script_to_json(Script(default=plays.rate_limited(9))))
    command = [sys.executable, "-m", "turnout_upstream", "--script", str(script), "--record", str(record)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url, door = process.stdout.readline().strip(), process.stdout.readline().strip()

            assert ask(url, "POST", "/v1/chat/completions", request_bytes().partition(b"\r\n\r\n")[2])[0] == 429
            assert ask(door, "PUT", "/_control/script", script_to_json(Script()).encode())[0] == 200
            assert ask(url, "GET", "/v1/models")[0] == 200
            assert ask(door, "PUT", "/_control/script", b"[]")[0] == 400
            status, log = ask(door, "GET", "/_control/log?seen=2&ended=2&wait=5")
            process.send_signal(signal.SIGTERM)

            assert process.wait(timeout=10) == 0
        finally:
            process.kill()

    kinds = [entry["kind"] for entry in json.loads(log)["entries"]]
    assert (status, kinds) == (200, ["request", "request", "ending", "ending"])
    recorded = [entry_from_value(json.loads(line)) for line in record.read_text().splitlines()]
    assert [entry.key for entry in recorded if isinstance(entry, Request)] == ["sk-one", "sk-one"]
    assert [entry.by for entry in recorded if isinstance(entry, Ending)] == [EndedBy.FIN, EndedBy.FIN]


def test_a_process_says_in_one_line_what_is_wrong_with_its_script(tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_text('{"rules": 3}')
    command = [sys.executable, "-m", "turnout_upstream", "--script", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)

    assert done.returncode == 1
    assert "script.rules" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_play_is_in_the_readme_and_the_readme_names_no_other() -> None:
    readme = README.read_text()
    table = readme.partition("## Plays")[2].partition("`Script(")[0]
    public = {name for name, value in vars(plays).items() if inspect.isfunction(value) and not name.startswith("_")}

    assert set(re.findall(r"`(\w+)`", table)) == public


@pytest.mark.slow_steps("an HTTP client reads the certificates of this machine when it is made")
async def test_the_example_of_the_readme_runs() -> None:
    readme = README.read_text()
    code = readme.partition("```python\n")[2].partition("```")[0]
    namespace: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), namespace)  # noqa: S102  # our own file

    with trio.fail_after(10):
        await namespace["test_a_rate_limited_key_gets_429"]()


def test_the_script_of_the_readme_is_a_script() -> None:
    readme = README.read_text()
    script = script_from_json(readme.partition("```json\n")[2].partition("```")[0])

    assert script.rules[0].always == Play(status=429, headers=(("retry-after", "30"),))
    assert script.rules[1].plays == (Play(cut=Cut(Point.PIECES, How.RESET, 3)),)
