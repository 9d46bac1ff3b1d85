"""`turnout explain` against a running gateway."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from processes import TURNOUT, Gateway, Process, RemoteUpstream, running_gateway

from turnout_upstream import Rule, Script, plays

KEY = "k7-Qd2mX9vLw4TzR8"
CONFIG = """\
[stores.sqlite]
path = "{folder}/store"
[frontends.http]
listen = ["127.0.0.1:0"]
keys = ["${{TURNOUT_KEY}}"]
[providers.openai]
base_url = "{url}/v1"
models = [{{ name = "m" }}]
credentials = [
    {{ name = "first", api_key = "sk-first", priority = 1 }},
    {{ name = "second", api_key = "sk-second" }},
    {{ name = "third", api_key = "sk-third", disabled = true }},
]
"""


@pytest.fixture
def gateway(tmp_path: Path, upstream: RemoteUpstream) -> Iterator[Gateway]:
    upstream.use(Script(rules=(Rule(key="sk-first", plays=(plays.rate_limited(60),)),)))
    with running_gateway(CONFIG.format(folder=tmp_path, url=upstream.url), tmp_path, key=KEY) as gateway:
        yield gateway


def explain(url: str, *arguments: str, key: str = KEY) -> tuple[int, str, str]:
    with Process([TURNOUT, "explain", "--url", url, *arguments], env={"TURNOUT_KEY": key}) as process:
        code = process.wait_code()
    return code, process.stdout.text, process.stderr.text


def test_a_call_that_failed_over_is_explained(gateway: Gateway) -> None:
    """Design 8: candidates, who was left out and why, attempts with timings and verdicts."""
    assert gateway.chat("m", headers={"x-request-id": "call-7"}).status == 200

    code, said, _ = explain(gateway.url, "call-7")

    assert code == 0
    head, took, first, second, *rest = said.splitlines()
    assert head == "call-7: m (generate), served by second"
    assert took.endswith(" s waiting")
    assert first.endswith("first (openai, m): RateLimited")
    assert second.endswith("second (openai, m): Done")
    assert rest == ["left out  third: disabled"]
    assert json.loads(explain(gateway.url, "call-7", "--json")[1])["served_by"] == "second"


def test_what_cannot_be_explained_is_told_in_one_line(gateway: Gateway) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    for said, url, key in (
        ("no recent call", gateway.url, KEY),
        ("does not take this key", gateway.url, "p3-Bn6kYw1sVh5CgJ0"),
        ("no gateway answers", f"http://127.0.0.1:{port}", KEY),
    ):
        code, out, err = explain(url, "other", key=key)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert said in err
        assert key not in err
    assert explain("file:///etc/passwd", "x")[0] == 2


def test_passes_are_told_when_there_was_more_than_one(tmp_path: Path, upstream: RemoteUpstream) -> None:
    upstream.use(Script(rules=(Rule(key="sk-only", plays=(plays.rate_limited(1), plays.chat())),)))
    config = CONFIG.replace('"sk-first"', '"sk-only"').replace('"sk-second" }', '"sk-second", disabled = true }')
    with running_gateway(config.format(folder=tmp_path, url=upstream.url), tmp_path, key=KEY) as gateway:
        assert gateway.chat("m", headers={"x-request-id": "call-8"}).status == 200

        said = explain(gateway.url, "call-8")[1]

    assert said.splitlines()[1].endswith(" s waiting, in 2 passes")


def test_what_is_no_gateway_is_told_as_such() -> None:
    for answer in (b"SSH-2.0-OpenSSH_9.6\r\n", found(b"[]"), found(b"{}"), found(b"<html>")):
        with answering(answer) as (url, _):
            code, out, err = explain(url, "x")
        assert (code, out, err) == (1, "", "Error: what answers there is no Turnout gateway\n"), answer


def test_the_key_is_shown_to_nobody_else() -> None:
    """An answer that redirects is not followed."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        elsewhere = f"http://127.0.0.1:{other.getsockname()[1]}/"
        redirection = f"HTTP/1.1 302 Found\r\nlocation: {elsewhere}\r\ncontent-length: 0\r\n\r\n".encode()
        with answering(redirection) as (url, seen):
            code, _, err = explain(url, "x")
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.accept()
    assert KEY.encode() in seen[0]
    assert (code, "302" in err) == (1, True)


def found(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


@contextmanager
def answering(answer: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """A server that reads one request and answers with these bytes: its address, and what it has read."""
    seen: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                seen.append(connection.recv(4096))
                connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", seen
        thread.join(10)
