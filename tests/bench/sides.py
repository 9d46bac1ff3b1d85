"""What a benchmark compares: each side a process of its own, pinned to one core."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import final

KEY = "bench-0123456789abcdef"
HERE = Path(__file__).parent
CREDENTIALS = 100

CONFIG = """\
[frontends.http]
listen = ["127.0.0.1:0"]
keys = ["{key}"]
[frontends.http.limits]
per_key = 5000
requests = 5000
queue = 5000
connections = 5000
header_timeout = "60s"
body_idle = "60s"
keep_alive = "300s"
[deadlines]
connect = "60s"
[stores.sqlite]
path = "{state}"
[transports.pool]
max_connections = 5000
[observers.prometheus]
[providers.openai]
base_url = "http://{upstream}/v1"
[[providers.openai.models]]
name = "m"
{credentials}
"""

CREDENTIAL = '[[providers.openai.credentials]]\nname = "c{number}"\napi_key = "sk-bench-{number:04d}-0123456789"\n'

NGINX = """\
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 20000; }}
http {{
  access_log off; client_max_body_size 64m; keepalive_requests 1000000000; client_body_buffer_size 1m;
  upstream bench {{ server {upstream}; keepalive 2000; }}
  server {{ listen 127.0.0.1:{port} backlog=4096; location / {{
    proxy_pass http://bench; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
    proxy_read_timeout 300s;
  }} }}
}}
"""

Command = Callable[[str, Path], Sequence[str]]
"""From the upstream's address and a folder of its own."""


def floor(upstream: str, _folder: Path) -> Sequence[str]:
    return [sys.executable, str(HERE / "floor.py"), "--upstream", upstream]


def stock(upstream: str, _folder: Path) -> Sequence[str]:
    return [sys.executable, str(HERE / "stock.py"), "--upstream", upstream]


def nginx(upstream: str, folder: Path) -> Sequence[str]:
    port = 20000 + os.getpid() % 10000
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, upstream=upstream, port=port))
    say = f"echo http://127.0.0.1:{port}; exec nginx -p {folder} -c {folder}/nginx.conf"
    return ["sh", "-c", say]


def turnout(upstream: str, folder: Path, environment: Path = Path(sys.prefix)) -> Sequence[str]:
    return [str(environment / "bin" / "turnout"), "run", str(turnout_file(upstream, folder))]


def turnout_file(upstream: str, folder: Path) -> Path:
    """Client keys, routing, the whole attempt loop, outcomes, decision records, metrics; admission limits raised."""
    credentials = "".join(CREDENTIAL.format(number=number) for number in range(CREDENTIALS))
    file = folder / "turnout.toml"
    text = CONFIG.format(key=KEY, state=folder / "state", upstream=upstream, credentials=credentials)
    file.write_text(text, encoding="utf-8")
    file.chmod(0o600)
    return file


def has_nginx() -> bool:
    return shutil.which("nginx") is not None


@final
class Side:
    """A running process and what it has used."""

    def __init__(self, name: str, url: str, pid: int) -> None:
        self.name, self.url, self.pid = name, url, pid
        self.urls = (url,)
        # The clock of a process's CPU time, in Linux's encoding (include/linux/posix-timers.h: CPUCLOCK_SCHED = 2)
        self._clock = ~pid << 3 | 2

    def cpu(self) -> float:
        """Seconds of CPU, user and system, of all its threads since it began."""
        return time.clock_gettime(self._clock)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def memory(self, field: str = "VmRSS") -> float:
        """KiB resident now; at its peak with `VmHWM`."""
        text = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        found = re.search(rf"{field}:\s+(\d+) kB", text)
        return float(found[1]) if found else 0.0


@contextmanager
def running(name: str, command: Command, upstream: str, folder: Path, core: int) -> Iterator[Side]:
    """Start a side, wait until it says where it is, and end it."""
    own = folder / name
    own.mkdir()
    with (own / "errors").open("w") as errors:
        process = subprocess.Popen(
            list(command(upstream, own)), stdout=subprocess.PIPE, stderr=errors, stdin=subprocess.DEVNULL, text=True
        )
    os.sched_setaffinity(process.pid, {core})
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if (found := re.search(r"http://[\d.]+:\d+", line)) is not None:
                break
        else:
            raise RuntimeError(f"{name} did not start: {(own / 'errors').read_text()}")
        time.sleep(0.2)  # nginx says where it will be before it is there
        yield Side(name, found[0], process.pid)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)
