"""The example packages as a stranger uses them: wheels, a new environment, one TOML file."""

import importlib
import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from trio.testing import MockClock

from turnout import Ask
from turnout.testing import check_observer, check_provider, check_selector, open_plugin
from turnout_wire.testing import HttpDouble, events

ROOT = Path(__file__).parents[2]
TREE = [ROOT / "kernel", *(ROOT / "plugins" / name for name in ("transport", "sockets", "wire", "seal", "files"))]
EXAMPLES = [path.parent for path in sorted((ROOT / "examples").glob("*/pyproject.toml"))]

CONFIG = """\
[turnout]
selector = "cost-aware"
store = "files"
[stores.files]
path = "store"
[observers.jsonl]
path = "calls.jsonl"
[providers.parrot]
models = [{{ name = "m" }}]
[[providers.parrot.credentials]]
name = "dear"
api_key = "key-dear-0123456789"
base_url = "{url}"
attributes = {{ price = "9" }}
[[providers.parrot.credentials]]
name = "cheap"
api_key = "key-cheap-0123456789"
base_url = "{url}"
attributes = {{ price = "0.1" }}
"""

PROGRAM = """\
import os, sys
from functools import partial
from pathlib import Path
import trio
import turnout

async def parrot(stream):
    seen = b""
    while not seen.endswith(b"Polly"):
        seen += await stream.receive_some(1000)
    kind, body = b"application/json", b'{"choices":["Polly"]}'
    if seen.startswith(b"POST /sing "):
        kind, body = b"text/event-stream", b'data: {"content":"Polly"}\\n\\ndata: [DONE]\\n\\n'
    head = b"HTTP/1.1 200 OK\\r\\nContent-Type: %s\\r\\nContent-Length: %d\\r\\n\\r\\n" % (kind, len(body))
    await stream.send_all(head + body)

async def main():
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, parrot, 0, host="127.0.0.1"))
        url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        text = Path("turnout.toml").read_text().replace("URL", url)
        Path("turnout.toml").write_text(text)
        async with turnout.open_kernel(turnout.load_config(Path("turnout.toml"), os.environ)) as kernel:
            ask = turnout.Ask(model="m", dialect="openai.chat", payload=b"Polly")
            answer = await kernel.execute(ask)
            print(answer.reply.body.decode(), answer.decision.served_by)
            async with kernel.stream(ask) as stream:
                print(b"".join([chunk.data async for chunk in stream]).split()[1].decode(), stream.decision.served_by)
            await trio.sleep(0.2)
        nursery.cancel_scope.cancel()

trio.run(main)
"""


def test_the_example_packages_work_as_wheels_in_an_environment_of_their_own(tmp_path: Path) -> None:
    python = str(tmp_path / "venv" / "bin" / "python")

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(sys.executable, "-m", "venv", "venv")  # first: the environment that runs the tests may have no pip (uv's)
    run(python, "-m", "pip", "wheel", "-q", "--no-deps", "-w", "wheels", *map(str, [*TREE, *EXAMPLES]))
    run(python, "-m", "pip", "install", "-q", *map(str, sorted((tmp_path / "wheels").iterdir())))
    (tmp_path / "turnout.toml").write_text(CONFIG.format(url="URL"))

    assert run(python, "-c", PROGRAM) == '{"choices":["Polly"]} cheap\n{"content":"Polly"} cheap\n'
    lines = [json.loads(line) for line in (tmp_path / "calls.jsonl").read_text().splitlines()]
    assert [line["by"] for line in lines] == ["cheap", "cheap"]
    listed = json.loads(
        run(str(tmp_path / "venv" / "bin" / "turnout"), "plugins", "--config", "turnout.toml", "--json")
    )
    used = {one["name"] for one in listed if one["state"] == "in use"}
    assert {"cost-aware", "jsonl", "parrot"} <= used


def example(name: str, cls: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A class of an example package, from its folder."""
    (source,) = (ROOT / "examples" / name).glob("example_*.py")
    monkeypatch.syspath_prepend(str(source.parent))
    return getattr(importlib.import_module(source.stem), cls)


def test_the_selector_of_the_examples_keeps_the_laws(monkeypatch: pytest.MonkeyPatch) -> None:
    selector = example("cost-aware-selector", "CostAware", monkeypatch)

    check_selector(lambda: selector(selector.Settings()))


async def test_the_provider_of_the_examples_keeps_the_laws(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    ask = Ask(model="m", dialect="openai.chat", payload=b'{"model":"m"}')
    double = HttpDouble(reply=b'{"choices":[]}', events=events("a", "b", "c"))
    async with open_plugin("providers", example("tiny-provider", "Parrot", monkeypatch)) as parrot:
        await check_provider(parrot, double, ask)


async def test_the_observer_of_the_examples_keeps_the_laws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It writes from a thread, and a clock that jumps over waits does not wait for those."""
    observer = example("jsonl-observer", "JsonLines", monkeypatch)

    await check_observer(partial(open_plugin, "observers", observer, f'path = "{tmp_path}/calls.jsonl"'))


def test_the_provider_of_the_examples_is_as_small_as_we_say() -> None:
    lines = (ROOT / "examples" / "tiny-provider" / "example_parrot.py").read_text().splitlines()

    assert len(lines) < 60
