"""`turnout run --processes`: several kernels behind one address, as an operator and a client meet them."""

import contextlib
import http.client
import http.server
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from processes import (
    LIMIT,
    TURNOUT,
    Gateway,
    Process,
    RemoteUpstream,
    clean_environment,
    gateway_config,
    running_gateway,
)

from turnout_oauth.testing import OAuthServer
from turnout_upstream import Rule, Script, plays

PROCESSES = ("--processes", "2")


class Kept:
    """A connection that a client keeps, so that one process serves all of its requests."""

    def __init__(self, gateway: Gateway) -> None:
        self._headers = {"authorization": f"Bearer {gateway.key}", "content-type": "application/json"}
        self._connection = http.client.HTTPConnection(gateway.url.removeprefix("http://"), timeout=LIMIT)

    def ask(self, method: str, path: str, body: Mapping[str, object] | None = None) -> http.client.HTTPResponse:
        self._connection.request(method, path, None if body is None else json.dumps(body), self._headers)
        return self._connection.getresponse()

    def status(self, path: str) -> int:
        answer = self.ask("GET", path)
        answer.read()
        return answer.status

    def begin_stream(self) -> http.client.HTTPResponse:
        """A stream that has brought its first event."""
        answer = self.ask("POST", "/v1/chat/completions", {"model": "m", "stream": True, "messages": []})
        assert answer.readline().startswith(b"data: ")
        return answer

    def close(self) -> None:
        self._connection.close()


class Crew:
    """A gateway of two processes, of which each can be spoken to alone."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    def pids(self) -> dict[int, int]:
        """Process id of each number, the latest that serves."""
        found = re.findall(r"process (\d+) serves, with the process id (\d+)", self.gateway.process.stderr.text)
        return {int(number): int(pid) for number, pid in found}

    @contextmanager
    def only(self, number: int) -> Iterator[None]:
        """The others hold still meanwhile, so whatever comes is this one's."""
        others = [pid for other, pid in self.pids().items() if other != number]
        for pid in others:
            os.kill(pid, signal.SIGSTOP)
        try:
            self._wait_stopped(others)
            yield
        finally:
            for pid in others:
                os.kill(pid, signal.SIGCONT)

    @contextmanager
    def kept(self, number: int, count: int = 1) -> Iterator[list[Kept]]:
        """Connections that this process has accepted."""
        connections = [Kept(self.gateway) for _ in range(count)]
        try:
            with self.only(number):
                assert [connection.status("/healthz") for connection in connections] == [200] * count
            yield connections
        finally:
            for connection in connections:
                connection.close()

    def _wait_stopped(self, pids: Sequence[int]) -> None:
        deadline = time.monotonic() + LIMIT
        while any(state(pid) != "T" for pid in pids):
            assert time.monotonic() < deadline, "a process did not stop"
            time.sleep(0.001)

    def wait_gone(self, pids: Sequence[int]) -> None:
        deadline = time.monotonic() + LIMIT
        while any(alive(pid) for pid in pids):
            assert time.monotonic() < deadline, "a process was left behind"
            time.sleep(0.05)


def alive(pid: int) -> bool:
    """Whether it runs; one that has ended and that nobody has waited for yet does not."""
    return state(pid) not in {"", "Z"}


def state(pid: int) -> str:
    """The system's letter for what a process does: T for stopped, Z for ended; empty when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


@contextmanager
def crew(text: str, folder: Path, turnout: Sequence[str] = (TURNOUT,)) -> Iterator[Crew]:
    """Nothing of it is left when the block ends, whatever happened in it."""
    key = secrets.token_urlsafe(24)
    with running_gateway(text, folder, key=key, arguments=PROCESSES, turnout=turnout) as gateway:
        gateway.process.stderr.wait_for(r"(?s)(process \d serves.*){2}")
        crew = Crew(gateway)
        yield crew
    crew.wait_gone(list(crew.pids().values()))
    assert "Traceback" not in gateway.process.stderr.text


def drained(crew: Crew) -> None:
    crew.gateway.process.send(signal.SIGTERM)
    assert crew.gateway.process.wait_code() == 0


def test_either_process_serves_alone_on_the_same_address(tmp_path: Path, upstream: RemoteUpstream) -> None:
    with crew(gateway_config(tmp_path, upstream.url), tmp_path) as both:
        assert set(both.pids()) == {1, 2}
        for number in (1, 2):
            with both.only(number):
                assert both.gateway.chat("m").status == 200
        drained(both)

    assert (
        len(re.findall(r"^serving http://127\.0\.0\.1:\d+ \(http\)$", both.gateway.process.stdout.text, re.MULTILINE))
        == 1
    )
    assert re.search(r"INFO \[1\] turnout\.", both.gateway.process.stderr.text)
    assert re.search(r"INFO \[2\] turnout\.", both.gateway.process.stderr.text)


def sockets_of(pid: int) -> int:
    found = 0
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found += str(fd.readlink()).startswith("socket:")
    return found


@pytest.mark.parametrize("server", ["llhttp", "hypercorn"])
def test_clients_that_come_at_once_are_shared_out(tmp_path: Path, server: str) -> None:
    """Whoever wakes first leaves some to the others: either has a fifth of forty connections at the least."""
    text = gateway_config(tmp_path, server=server)
    with crew(text, tmp_path) as both, contextlib.ExitStack() as connections:
        before = {pid: sockets_of(pid) for pid in both.pids().values()}
        address = both.gateway.url.removeprefix("http://").split(":")
        for _ in range(40):
            connections.enter_context(socket.create_connection((address[0], int(address[1]))))
        deadline = time.monotonic() + LIMIT
        while sum(shares := [sockets_of(pid) - had for pid, had in before.items()]) < 40:
            assert time.monotonic() < deadline, shares
            time.sleep(0.05)
        drained(both)

    assert min(shares) >= 8, shares


def test_a_killed_process_takes_its_own_calls_with_it_and_is_replaced(tmp_path: Path, upstream: RemoteUpstream) -> None:
    stalls = Rule(plays=(plays.stall_mid_stream(3),) * 2)
    upstream.use(Script(rules=(stalls,), default=plays.events(20, every=0.05)))
    with crew(gateway_config(tmp_path, upstream.url), tmp_path) as both:
        first = both.pids()[1]
        with both.kept(1, 2) as lost, both.kept(2, 2) as saved:
            streams = {kept: kept.begin_stream() for kept in (*lost, *saved)}
            os.kill(first, signal.SIGKILL)
            for kept in saved:
                assert streams[kept].read().endswith(b"data: [DONE]\n\n")
            for kept in lost:
                with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
                    streams[kept].read()
            assert both.gateway.chat("m").status == 200

        both.gateway.process.stderr.wait_for(r"process 1 was killed by SIGKILL; another takes its place at once")
        both.gateway.process.stderr.wait_for(r"(?s)(process 1 serves.*){2}")
        assert both.pids()[1] != first
        with both.only(1):
            assert both.gateway.chat("m").status == 200
        drained(both)


def test_a_process_that_is_told_to_drain_is_replaced_and_nothing_is_called_an_error(tmp_path: Path) -> None:
    """As one rolls them: SIGTERM to each in turn."""
    with crew(gateway_config(tmp_path), tmp_path) as both:
        os.kill(both.pids()[1], signal.SIGTERM)
        said = both.gateway.process.stderr
        said.wait_for(r"INFO turnout.run: process 1 has drained; another takes its place at once")
        said.wait_for(r"(?s)(process 1 serves.*){2}")
        drained(both)

    assert "ERROR" not in said.text


IMPATIENT = """
from turnout import _cli_processes
from turnout._cli import main
_cli_processes.SILENCE = 3
main()
"""
"""`turnout`, whose supervisor waits three seconds for a sign of life, and not thirty."""


def test_a_process_that_stands_still_is_killed_and_replaced(tmp_path: Path, upstream: RemoteUpstream) -> None:
    """While the other one serves on, whose signs of life are heard."""
    impatient = (sys.executable, "-c", IMPATIENT)
    with crew(gateway_config(tmp_path, upstream.url), tmp_path, impatient) as both:
        first, second = both.pids()[1], both.pids()[2]
        os.kill(first, signal.SIGSTOP)
        said = both.gateway.process.stderr
        said.wait_for(rf"the process with the id {first} has shown no life for 3 s and is killed")
        said.wait_for(r"process 1 was killed by SIGKILL; another takes its place at once")
        said.wait_for(r"(?s)(process 1 serves.*){2}")
        assert both.pids()[2] == second
        with both.only(1):
            assert both.gateway.chat("m").status == 200
        drained(both)


def test_sigterm_lets_the_calls_of_every_process_finish(tmp_path: Path, upstream: RemoteUpstream) -> None:
    """H4 with two processes: no new connections, streams end properly, exit code 0."""
    upstream.use(Script(default=plays.events(20, every=0.07)))
    with crew(gateway_config(tmp_path, upstream.url), tmp_path) as both, both.kept(1) as one, both.kept(2) as other:
        streams = [kept.begin_stream() for kept in (*one, *other)]
        both.gateway.process.send(signal.SIGTERM)
        both.gateway.process.stderr.wait_for(r"(?s)(\[\d\] turnout.run: draining with the other.*){2}")
        for stream in streams:
            assert stream.read().endswith(b"data: [DONE]\n\n")
        assert both.gateway.process.wait_code() == 0
        with pytest.raises(ConnectionRefusedError):
            both.gateway.ask("GET", "/readyz")


HANGING = """
import sys
from turnout import _cli_run
from turnout._cli import main
own_command, started = _cli_run.own_command, []

def hanging(arguments):
    def command(handed):
        started.append(handed)
        hangs = "import sys, time; print('hangs', file=sys.stderr, flush=True); time.sleep(600)"
        return own_command(arguments)(handed) if len(started) <= 2 else [sys.executable, "-c", hangs]
    return command

_cli_run.own_command = hanging
main()
"""
"""`turnout` of two processes, of which no other ever comes to serve in their place."""


def test_a_process_that_does_not_serve_yet_holds_up_no_drain(tmp_path: Path, upstream: RemoteUpstream) -> None:
    """H4: it would keep the port open, and clients would wait there for nobody."""
    upstream.use(Script(default=plays.events(20, every=0.07)))
    with (
        crew(gateway_config(tmp_path, upstream.url), tmp_path, (sys.executable, "-c", HANGING)) as both,
        both.kept(2) as (kept,),
    ):
        stream = kept.begin_stream()
        os.kill(both.pids()[1], signal.SIGKILL)
        both.gateway.process.stderr.wait_for("hangs")
        both.gateway.process.send(signal.SIGTERM)
        assert stream.read().endswith(b"data: [DONE]\n\n")
        assert both.gateway.process.wait_code() == 0
        with pytest.raises(ConnectionRefusedError):
            both.gateway.ask("GET", "/readyz")


def test_a_second_signal_ends_all_at_once(tmp_path: Path, upstream: RemoteUpstream) -> None:
    """H5 with two processes."""
    upstream.use(Script(default=plays.stall_mid_stream(3)))
    with (
        crew(gateway_config(tmp_path, upstream.url, drain="60s"), tmp_path) as both,
        both.kept(1) as one,
        both.kept(2) as two,
    ):
        for kept in (*one, *two):
            kept.begin_stream()
        both.gateway.process.send(signal.SIGTERM)
        both.gateway.process.stderr.wait_for(r"(?s)(\[\d\] turnout.run: draining with the other.*){2}")
        both.gateway.process.send(signal.SIGTERM)
        assert both.gateway.process.wait_code(limit=5) == 128 + signal.SIGTERM


def test_processes_whose_supervisor_was_killed_finish_their_calls_and_go(
    tmp_path: Path, upstream: RemoteUpstream
) -> None:
    upstream.use(Script(default=plays.events(20, every=0.07)))
    with crew(gateway_config(tmp_path, upstream.url), tmp_path) as both, both.kept(1) as one, both.kept(2) as other:
        streams = [kept.begin_stream() for kept in (*one, *other)]
        both.gateway.process.send(signal.SIGKILL)
        for stream in streams:
            assert stream.read().endswith(b"data: [DONE]\n\n")
        both.wait_gone(list(both.pids().values()))
        both.gateway.process.wait_code()
        assert both.gateway.process.stderr.text.count("the supervisor is gone: draining") == 2
        with pytest.raises(ConnectionRefusedError):
            both.gateway.ask("GET", "/readyz")


def test_sighup_and_a_changed_file_reach_every_process(tmp_path: Path, upstream: RemoteUpstream) -> None:
    text = gateway_config(tmp_path, upstream.url)
    with crew(text, tmp_path) as both:
        for generation, name in ((2, "second"), (3, "third")):
            fresh = tmp_path / "fresh.toml"
            fresh.write_text(text.replace('"first"', f'"{name}"').replace("sk-first", f"sk-{name}"))
            fresh.rename(tmp_path / "turnout.toml")
            if generation == 2:
                both.gateway.process.send(signal.SIGHUP)
            for number in (1, 2):
                both.gateway.process.stderr.wait_for(rf"\[{number}\] .*generation {generation} of the configuration is")
            for number in (1, 2):
                with both.only(number):
                    assert both.gateway.chat("m").status == 200
        drained(both)

    assert [request.key for request in upstream.requests(4)] == ["sk-second"] * 2 + ["sk-third"] * 2


def test_a_rest_that_one_process_learnt_is_respected_by_the_other(tmp_path: Path, upstream: RemoteUpstream) -> None:
    """Design 14: within about a second; the other one answers without asking the upstream."""
    upstream.use(Script(default=plays.rate_limited(3600)))
    with crew(gateway_config(tmp_path, upstream.url), tmp_path) as both, both.kept(1) as (one,), both.kept(2) as (two,):
        assert one.ask("POST", "/v1/chat/completions", {"model": "m", "messages": []}).read()
        deadline = time.monotonic() + LIMIT
        while two.status("/readyz") == 200:
            assert time.monotonic() < deadline, "it has not heard of it"
            time.sleep(0.05)
        answer = two.ask("POST", "/v1/chat/completions", {"model": "m", "messages": []})
        answer.read()
        assert answer.status == 429
        assert 3000 < int(answer.headers["retry-after"]) <= 3600
        drained(both)

    assert len(upstream.requests(1)) == 1


LOGINS = """
[providers.logins]
plugin = "openai"
base_url = "{url}/v1"

[providers.logins.oauth]
token_url = "{tokens}/token"
client_id = "client"
client_secret = "s3cret-of-the-client"

[[providers.logins.models]]
name = "t"
"""


@contextmanager
def token_endpoint(server: OAuthServer, gate: threading.Event) -> Iterator[str]:
    """It answers nobody before the gate is open, so that two who ask for the same would meet there."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = self.rfile.read(int(self.headers["content-length"]))
            answer = server.answer(form, {name.lower(): value for name, value in self.headers.items()})
            gate.wait(LIMIT)
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as door:
        thread = threading.Thread(target=door.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{door.server_address[1]}"
        finally:
            door.shutdown()
            thread.join()


def add_login(file: Path) -> None:
    """A login whose access token has ended, as an operator brings it to the store."""
    login = {"refresh_token": "refresh-1", "access_token": "ended", "expires_at": 1}
    text = json.dumps([{"id": "login", "provider": "logins", "metadata": login}])
    command = [TURNOUT, "credentials", "import", "--config", str(file), "-"]
    env = clean_environment() | {"TURNOUT_KEY": secrets.token_urlsafe(24)}
    subprocess.run(command, input=text, text=True, env=env, check=True, capture_output=True, timeout=LIMIT)


def test_a_login_that_is_due_in_every_process_is_renewed_by_one(tmp_path: Path, upstream: RemoteUpstream) -> None:
    """E2 with `--processes`: one request for all; each of them serves with the token that it brought."""
    tokens, gate = OAuthServer(), threading.Event()
    tokens.issue("refresh-1")
    with token_endpoint(tokens, gate) as url:
        text = gateway_config(tmp_path, upstream.url) + LOGINS.format(url=upstream.url, tokens=url)
        file = tmp_path / "turnout.toml"
        file.write_text(text)
        add_login(file)
        with crew(text, tmp_path) as both:
            with both.kept(1) as (one,), both.kept(2) as (two,):
                gate.set()
                for kept in (one, two):
                    answer = kept.ask("POST", "/v1/chat/completions", {"model": "t", "messages": []})
                    assert answer.read()
                    assert answer.status == 200
            drained(both)

    assert [form["refresh_token"] for form in tokens.forms] == ["refresh-1"]
    keys = [request.key for request in upstream.requests(2)]
    assert len(keys) == 2
    assert set(keys).isdisjoint({"ended", ""})
    assert len(set(keys)) == 1


def test_a_process_gets_the_operators_environment_and_no_secret_in_its_arguments(
    tmp_path: Path, upstream: RemoteUpstream
) -> None:
    """S70."""
    with crew(gateway_config(tmp_path, upstream.url), tmp_path) as both:
        operators = Path(f"/proc/{both.gateway.process.pid}/environ").read_bytes().split(b"\0")
        for pid in both.pids().values():
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
            assert both.gateway.key.encode() not in line
            assert b"sk-first" not in line
            assert set(Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")) == set(operators)
        drained(both)


# --- What refuses the start ------------------------------------------------------------------------------------------


def refused(text: str, folder: Path, code: int) -> str:
    """What a start says that is refused."""
    file = folder / "turnout.toml"
    file.write_text(text)
    key = secrets.token_urlsafe(24)
    with Process([TURNOUT, "run", *PROCESSES, str(file)], env={"TURNOUT_KEY": key}) as process:
        assert process.wait_code() == code
    said = process.stderr.text
    assert "Traceback" not in said
    assert "serving" not in process.stdout.text
    return said


def test_a_store_that_processes_cannot_share_is_refused_with_what_to_use(tmp_path: Path) -> None:
    text = (
        gateway_config(tmp_path)
        .replace("[turnout]", '[turnout]\nstore = "files"')
        .replace("[stores.sqlite]", "[stores.files]")
    )
    said = refused(text, tmp_path, 3)

    assert "turnout.toml:2:" in said
    assert "cannot share the store 'files'" in said
    assert 'use "sqlite"' in said
    assert '"redis"' in said


def test_a_port_in_use_refuses_the_start_before_a_process_begins(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        text = gateway_config(tmp_path, port=port).replace("[frontends.http]", '[frontends.edge]\nplugin = "http"')
        said = refused(text, tmp_path, 1)

    assert f"\nturnout: frontend 'edge': port {port} on 127.0.0.1 is in use" in f"\n{said}"
    assert "process 1" not in said


def test_what_no_process_can_start_with_refuses_the_start_with_its_own_words(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("no directory")
    said = refused(gateway_config(tmp_path), tmp_path, 1)

    assert "cannot use" in said
    assert re.search(r"process \d ended with exit code 1: everything ends", said)


def test_a_process_that_keeps_failing_is_replaced_later_each_time_while_the_other_serves(
    tmp_path: Path, upstream: RemoteUpstream
) -> None:
    """A file that is broken when a process dies keeps its successor out until it is mended, and nobody else."""
    text = gateway_config(tmp_path, upstream.url)
    with crew(text, tmp_path) as both:
        (tmp_path / "turnout.toml").write_text("[turnout\n")
        os.kill(both.pids()[1], signal.SIGKILL)
        both.gateway.process.stderr.wait_for("process 1 ended with exit code 3; another takes its place in 1 s")
        assert both.gateway.chat("m").status == 200
        (tmp_path / "turnout.toml").write_text(text)
        both.gateway.process.stderr.wait_for(r"(?s)(process 1 serves.*){2}")
        drained(both)
