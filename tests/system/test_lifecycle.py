"""`turnout run` as an operator meets it: what refuses the start, what a start survives, and how it ends."""

import http.client
import json
import os
import re
import secrets
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from processes import LIMIT, TURNOUT, Answer, Gateway, Process, RemoteUpstream, gateway_config, running_gateway

from turnout_upstream import Rule, Script, plays


def accounts(pid: int) -> list[str]:
    """What the system keeps of a process, from its state on (proc(5): the third field of `stat`, and the next ones)."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()


def cpu_seconds(pid: int) -> float:
    """What a process has used so far (proc(5): utime and stime)."""
    fields = accounts(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


config = partial(gateway_config, credentials=("first", "second"))


def some_key() -> str:
    return secrets.token_urlsafe(24)


def refused_start(text: str, folder: Path, *, key: str | None = None, command: str = "run") -> Process:
    """A start that is refused: the process is over, with its exit code 1, and has said why in plain words."""
    file = folder / "turnout.toml"
    file.write_text(text)
    with Process([TURNOUT, command, str(file)], env={} if key is None else {"TURNOUT_KEY": key}) as process:
        code = process.wait_code()
    said = process.stderr.text
    assert code not in {0, -signal.SIGKILL, -signal.SIGTERM}, said
    assert said
    assert "Traceback" not in said
    assert "ExceptionGroup" not in said
    return process


# --- What refuses the start ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_broken_file_is_refused_with_the_place_of_each_problem(tmp_path: Path, command: str) -> None:
    """H2: file, line, column, the line itself and a caret, all problems at once."""
    text = config(tmp_path).replace('drain = "10s"\n\n[stores', 'drian = "10s"\n\n[stores') + "priority = true\n"
    said = refused_start(text, tmp_path, key=some_key(), command=command).stderr.text

    first, second = (text.splitlines().index(line) + 1 for line in ('drian = "10s"', "priority = true"))
    assert re.search(rf"turnout\.toml:{first}:1\b.*drian", said)
    assert f"turnout.toml:{second}:" in said
    assert "drian = " in said
    assert re.search(r"^\W*\^", said, re.MULTILINE)


def test_a_file_that_is_no_toml_is_refused_with_its_place(tmp_path: Path) -> None:
    said = refused_start("[turnout]\nselector = round-robin\n", tmp_path, key=some_key()).stderr.text

    assert "turnout.toml:2:" in said


def test_a_missing_environment_variable_is_named(tmp_path: Path) -> None:
    text = config(tmp_path)
    line = text.splitlines().index('keys = ["${TURNOUT_KEY}"]') + 1
    said = refused_start(text, tmp_path).stderr.text

    assert "TURNOUT_KEY" in said
    assert f"turnout.toml:{line}:" in said


def test_a_port_in_use_is_named_by_its_number(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        text = config(tmp_path, port=port).replace("[frontends.http]", '[frontends.edge]\nplugin = "http"')
        process = refused_start(text, tmp_path, key=some_key())

    assert process.wait_code() == 1  # nothing is wrong with the configuration
    assert f"frontend 'edge': port {port} on 127.0.0.1 is in use" in process.stderr.text


@pytest.mark.parametrize("key", ["", "your-api-key-1", "short-but-odd"])
def test_a_client_key_that_guards_nothing_refuses_the_start(tmp_path: Path, key: str) -> None:
    """S9."""
    said = refused_start(config(tmp_path), tmp_path, key=key).stderr.text

    assert "keys" in said


# --- What a start survives -------------------------------------------------------------------------------------------


@pytest.fixture
def limited(upstream: RemoteUpstream) -> RemoteUpstream:
    """Both keys are rate-limited for an hour."""
    upstream.use(Script(default=plays.rate_limited(3600)))
    return upstream


def test_cooldowns_survive_a_restart_and_a_truncated_file_is_set_aside(tmp_path: Path, limited: RemoteUpstream) -> None:
    """H7; F-6 for one file: the others load, nothing is lost, nothing is overwritten blindly."""
    text = config(tmp_path, limited.url).replace("[turnout]", '[turnout]\nstore = "files"')
    text = text.replace("[stores.sqlite]", "[stores.files]")
    with running_gateway(text, tmp_path, key=some_key()) as gateway:
        assert gateway.chat("m").status == 429
        gateway.process.send(signal.SIGTERM)
        assert gateway.process.wait_code() == 0
    asked = len(limited.requests(2))
    states = sorted(path for path in (tmp_path / "store").rglob("*") if path.is_file() and path.stat().st_size)
    (first,) = [path for path in states if "first" in path.name]
    first.write_bytes(first.read_bytes()[:20])

    with running_gateway(text, tmp_path, key=some_key()) as gateway:
        answer = gateway.chat("m", headers={"x-turnout-explain": "1"})
        gateway.process.send(signal.SIGTERM)
        assert gateway.process.wait_code() == 0

    assert answer.status == 429
    assert [request.key for request in limited.requests(asked + 1)][asked:] == ["sk-first"]
    aside = [path for path in first.parent.iterdir() if path.name.startswith(f"{first.name}.corrupt-")]
    assert len(aside) == 1
    assert "first" in gateway.process.stderr.text


def start_again_and_again(folder: Path, server: str, times: int) -> list[float]:
    """CPU seconds until each start was ready. A kept connection leaves the port in TIME_WAIT at every end."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    text = config(folder, port=port, server=server)
    seconds = []
    for _ in range(times):
        with running_gateway(text, folder, key=some_key()) as gateway:
            seconds.append(cpu_seconds(gateway.process.pid))
            kept = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT)
            kept.request("GET", "/readyz")
            assert kept.getresponse().read()
            gateway.process.send(signal.SIGTERM)
            assert gateway.process.wait_code() == 0
            kept.close()
        assert "in use" not in gateway.process.stderr.text
        assert "Traceback" not in gateway.process.stderr.text
    return seconds


@pytest.mark.parametrize("server", ["llhttp", "hypercorn"])
def test_a_gateway_starts_again_at_once_on_the_same_port(tmp_path: Path, server: str) -> None:
    """A10, short form."""
    assert len(start_again_and_again(tmp_path, server, 3)) == 3


@pytest.mark.long
@pytest.mark.parametrize("server", ["llhttp", "hypercorn"])
def test_a_hundred_starts_on_the_same_port_are_ready_within_two_seconds_of_work(tmp_path: Path, server: str) -> None:
    """A10. The first start fills the cache of bytecode, as an installation would."""
    _, *seconds = start_again_and_again(tmp_path, server, 101)

    assert max(seconds) < 2


# --- How it serves ---------------------------------------------------------------------------------------------------


def page_faults(pid: int) -> int:
    """How often the system had to give it memory so far (proc(5): minflt)."""
    return int(accounts(pid)[7])


def faults_per_call(folder: Path, upstream: RemoteUpstream, env: Mapping[str, str]) -> float:
    """Of calls with a body of 300 KB, one after the other, when whatever is made once is there."""
    text = "a line\n" * (300 * 1024 // 8)
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]}).encode()
    folder.mkdir()
    with running_gateway(config(folder, upstream.url), folder, key=some_key(), env=env) as gateway:
        for _ in range(10):
            assert gateway.ask("POST", "/v1/chat/completions", body).status == 200
        before = page_faults(gateway.process.pid)
        for _ in range(20):
            assert gateway.ask("POST", "/v1/chat/completions", body).status == 200
        return (page_faults(gateway.process.pid) - before) / 20


def test_memory_that_a_call_has_freed_serves_the_next_call(tmp_path: Path, upstream: RemoteUpstream) -> None:
    """With glibc's own settings, which an operator may ask for, each call has the system give and clear it anew."""
    kept = faults_per_call(tmp_path / "kept", upstream, {})
    given_back = faults_per_call(tmp_path / "given back", upstream, {"MALLOC_TRIM_THRESHOLD_": "131072"})

    assert kept < given_back / 20


# --- How it ends -----------------------------------------------------------------------------------------------------


class Stream:
    """A stream that a client reads at its leisure."""

    def __init__(self, gateway: Gateway) -> None:
        self._connection = http.client.HTTPConnection(gateway.url.removeprefix("http://"), timeout=20)
        body = {"model": "m", "stream": True, "messages": []}
        headers = {"authorization": f"Bearer {gateway.key}", "content-type": "application/json"}
        self._connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        self._response = self._connection.getresponse()

    def until_content(self) -> str:
        seen = ""
        while '"content":"' not in seen.replace('"content":""', ""):
            line = self._response.readline().decode()
            assert line, seen
            seen += line
        return seen

    def rest(self) -> str:
        return self._response.read().decode()

    def close(self) -> None:
        self._connection.close()


@contextmanager
def open_streams(gateway: Gateway, count: int) -> Iterator[list[Stream]]:
    """Streams of which each has brought some content."""
    streams = [Stream(gateway) for _ in range(count)]
    try:
        for stream in streams:
            stream.until_content()
        yield streams
    finally:
        for stream in streams:
            stream.close()


def ready(gateway: Gateway) -> Answer | None:
    """What `/readyz` says, None when the connection is refused."""
    try:
        return gateway.ask("GET", "/readyz")
    except ConnectionRefusedError:
        return None


def test_sigterm_lets_streams_finish_and_exits_with_0(tmp_path: Path, upstream: RemoteUpstream) -> None:
    """H4, short form: accepting stops, what can finish in time does, what cannot ends in its own dialect."""
    quick = Rule(plays=(plays.chat(every=0.2),) * 3)
    upstream.use(Script(rules=(quick,), default=plays.stall_mid_stream(3)))
    with (
        running_gateway(config(tmp_path, upstream.url, drain="5s"), tmp_path, key=some_key()) as gateway,
        open_streams(gateway, 3) as finishing,
        open_streams(gateway, 2) as stalling,
    ):
        gateway.process.send(signal.SIGTERM)
        began = time.monotonic()
        finished = [stream.rest() for stream in finishing]
        refused = ready(gateway)
        ended = [stream.rest() for stream in stalling]
        code = gateway.process.wait_code()
        took = time.monotonic() - began

    assert refused is None or refused.status == 503
    for text in finished:
        assert text.endswith("data: [DONE]\n\n")
    for text in ended:
        assert "[DONE]" not in text
        assert json.loads(text.strip().rpartition("data: ")[2])["error"]["code"] == "draining"
    assert code == 0
    assert took < 15


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_gateway_exits_with_0_at_once(tmp_path: Path, upstream: RemoteUpstream, number: signal.Signals) -> None:
    with running_gateway(config(tmp_path, upstream.url), tmp_path, key=some_key()) as gateway:
        assert gateway.ask("GET", "/v1/models").status == 200
        gateway.process.send(number)

        assert gateway.process.wait_code(limit=5) == 0

    assert "Traceback" not in gateway.process.stderr.text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_exits_at_once(tmp_path: Path, upstream: RemoteUpstream, number: signal.Signals) -> None:
    """H5."""
    upstream.use(Script(default=plays.stall_mid_stream(3)))
    with (
        running_gateway(config(tmp_path, upstream.url, drain="60s"), tmp_path, key=some_key()) as gateway,
        open_streams(gateway, 1),
    ):
        gateway.process.send(number)
        gateway.process.stderr.wait_for("drain|stop|clos")
        gateway.process.send(number)
        gateway.process.wait_code(limit=4)

    assert "Traceback" not in gateway.process.stderr.text
