"""Real processes for the system tests: each is ended by its own handle, and every wait has a limit."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import attrs

from turnout_upstream import Ending, Request, Script, entry_from_value, script_to_json

LIMIT = 60.0
"""Seconds that anything here may take: far more than it needs, so that a failure is a failure."""

TURNOUT = str(Path(sys.executable).with_name("turnout"))


class Output:
    """What a process writes to one pipe, read by a thread so that the pipe never fills."""

    def __init__(self, pipe: IO[str]) -> None:
        self._pipe = pipe
        self._news = threading.Condition()
        self._text = ""
        self._over = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def text(self) -> str:
        with self._news:
            return self._text

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first match of the pattern; fails when the process ends or the limit passes without one."""

        def found() -> re.Match[str] | None:
            return re.search(pattern, self._text)

        with self._news:
            self._news.wait_for(lambda: found() is not None or self._over, timeout=LIMIT)
            match = found()
        assert match is not None, f"no {pattern!r} in {self.text!r}"
        return match

    def wait_end(self) -> str:
        self._thread.join(LIMIT)
        return self.text

    def _read(self) -> None:
        for line in self._pipe:
            with self._news:
                self._text += line
                self._news.notify_all()
        with self._news:
            self._over = True
            self._news.notify_all()
        self._pipe.close()


class Process:
    """A child process and what it says."""

    def __init__(self, command: Sequence[str], *, env: Mapping[str, str], cwd: Path | None = None) -> None:
        self._process = subprocess.Popen(
            list(command),
            env=clean_environment() | dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self.stdout = Output(self._process.stdout)
        self.stderr = Output(self._process.stderr)

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait_code(self, limit: float = LIMIT) -> int:
        """The exit code; fails when the process runs longer than the limit."""
        code = self._process.wait(limit)
        self.stdout.wait_end()
        self.stderr.wait_end()
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(5)
        self.stdout.wait_end()
        self.stderr.wait_end()


def resident(pid: int | str = "self") -> int:
    """Bytes of memory that a process holds; this one, unless said otherwise."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError


def half_closed(pid: int) -> int:
    """How many connections of a process are in CLOSE_WAIT: the other side is gone, and it has not noticed."""
    held = {str(file.readlink()) for file in Path(f"/proc/{pid}/fd").iterdir()}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[3] == "08" and f"socket:[{row[9]}]" in held for row in rows)


def clean_environment() -> dict[str, str]:
    """Our environment without what could change a gateway's behaviour."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TURNOUT", "OPENAI", "XDG_")) and not name.lower().endswith("_proxy")
    }


@attrs.frozen
class Answer:
    """A plain HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: str


def http_ask(url: str, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
    """One request on a connection of its own, by the standard library."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=LIMIT)
    try:
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read().decode())
    finally:
        connection.close()


class RemoteUpstream:
    """A scripted upstream in a process of its own."""

    def __init__(self, process: Process) -> None:
        self.process = process
        found = process.stdout.wait_for(r"(http://\S+)\n(http://\S+)\n")
        self.url, self._door = found[1], found[2]
        self._seen = self._ended = 0

    def use(self, script: Script) -> None:
        """Follow a script, and forget what was seen before."""
        answer = http_ask(self._door, "PUT", "/_control/script", script_to_json(script).encode())
        assert answer.status == 200, answer.body
        log = self._log(0, 0)
        self._seen, self._ended = int(str(log["seen"])), int(str(log["ended"]))

    def requests(self, at_least: int = 0) -> list[Request]:
        """Requests since `use`, as soon as there are so many."""
        entries = self._entries(at_least, 0)
        return [entry for entry in entries if isinstance(entry, Request)][self._seen :]

    def endings(self, at_least: int = 0) -> list[Ending]:
        """Connections that ended since `use`, as soon as there are so many."""
        entries = self._entries(0, at_least)
        return [entry for entry in entries if isinstance(entry, Ending)][self._ended :]

    def _entries(self, seen: int, ended: int) -> list[Request | Ending]:
        entries = self._log(self._seen + seen, self._ended + ended)["entries"]
        assert isinstance(entries, list)
        return [entry_from_value(entry) for entry in entries]

    def _log(self, seen: int, ended: int) -> dict[str, object]:
        path = f"/_control/log?seen={seen}&ended={ended}&wait={LIMIT / 2}"
        value = json.loads(http_ask(self._door, "GET", path).body)
        assert isinstance(value, dict)
        return value


@contextmanager
def running_upstream() -> Iterator[RemoteUpstream]:
    with Process([sys.executable, "-m", "turnout_upstream"], env={}) as process:
        yield RemoteUpstream(process)


NOWHERE = "http://127.0.0.1:9"
"""An upstream for gateways that call none: nobody listens there."""

_CONFIG = """\
[turnout]
drain = "{drain}"

[stores.sqlite]
path = "{folder}/store"

[frontends.http]
listen = ["127.0.0.1:{port}"]
keys = ["${{TURNOUT_KEY}}"]
server = "{server}"

[retry]
{retry}

[providers.openai]
base_url = "{url}/v1"
"""


def gateway_config(
    folder: Path,
    url: str = NOWHERE,
    *,
    credentials: Sequence[str] = ("first",),
    models: Sequence[str] = ("m",),
    port: int = 0,
    drain: str = "10s",
    server: str = "auto",
    retry: str = "passes = 1",
) -> str:
    """A plain configuration: one upstream, credentials of which each comes before the next, a store in this folder.

    It ends in the table of the last model.
    """
    text = _CONFIG.format(folder=folder, url=url, port=port, drain=drain, server=server, retry=retry)
    for left, name in zip(range(len(credentials), 0, -1), credentials, strict=True):
        entry = f'name = "{name}"\napi_key = "sk-{name}"\npriority = {left}'
        text += f"\n[[providers.openai.credentials]]\n{entry}\n"
    return text + "".join(f'\n[[providers.openai.models]]\nname = "{name}"\n' for name in models)


class Gateway:
    """`turnout run` in a process of its own, ready to serve."""

    def __init__(self, process: Process, key: str) -> None:
        self.process = process
        self.key = key
        self.url = (process.stdout.wait_for(r"http://127\.0\.0\.1:\d+"))[0]

    def ask(
        self, method: str, path: str, body: bytes = b"", *, key: str | None = None, headers: Mapping[str, str] = {}
    ) -> Answer:
        shown = {"authorization": f"Bearer {self.key if key is None else key}", "content-type": "application/json"}
        return http_ask(self.url, method, path, body, shown | dict(headers))

    def chat(self, model: str, *, stream: bool = False, headers: Mapping[str, str] = {}) -> Answer:
        body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "hi"}]}
        return self.ask("POST", "/v1/chat/completions", json.dumps(body).encode(), headers=headers)


@contextmanager
def running_gateway(
    config: str,
    folder: Path,
    *,
    key: str,
    env: Mapping[str, str] | None = None,
    arguments: Sequence[str] = (),
    turnout: Sequence[str] = (TURNOUT,),
) -> Iterator[Gateway]:
    """A gateway with this configuration, which reads its client key from `TURNOUT_KEY`."""
    file = folder / "turnout.toml"
    file.write_text(config)
    command = [*turnout, "run", *arguments, str(file)]
    with Process(command, env={"TURNOUT_KEY": key} | dict(env or {}), cwd=folder) as process:
        yield Gateway(process, key)
