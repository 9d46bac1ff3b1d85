"""What `turnout check` says of a file and what a start with it comes to are the same, whatever is wrong with it."""

import copy
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomlkit
import trio

from turnout import Config, open_kernel, parse_config
from turnout._examine import examine
from turnout._plugins import Plugins
from turnout.errors import ConfigError

TEXT = """
[turnout]
selector = "weighted"
store = "files"
transport = "pool"
drain = "1s"
bootstrap_bytes = "64KiB"
[retry]
passes = 4
max_wait = "30s"
[health]
keep_last = true
hint_cap = "1d"
[deadlines]
connect = "5s"
[affinity]
entries = 10000
[hedge]
after = "off"
providers = {openai = "2s"}
models = {m = "learned"}
share = 0.05
[selectors.weighted]
weights = {a = 1.0}
[stores.files]
path = "store"
[transports.pool]
max_connections = 1024
[frontends.http]
listen = ["127.0.0.1:0"]
keys = ["k7-Qd2mX9vLw4TzR8"]
server = "auto"
[frontends.http.limits]
write_stall = "30s"
per_key = 64
queue = 128
[observers.prometheus]
buckets = [1.0, 2.0]
[providers.openai]
plugin = "openai"
priority = 0
prefix = ""
excluded_models = ["x*"]
base_url = "http://127.0.0.1:9/v1"
[[providers.openai.credentials]]
name = "a"
api_key = "sk-aaaaaaaaaaaaaaaaaaaaaaaa"
proxy_url = "http://127.0.0.1:9"
priority = 1
prefix = "p"
websockets = true
headers = {x = "y"}
attributes = {k = "v"}
metadata = {k = 1}
[[providers.openai.models]]
name = "m"
alias = "n"
"""

Place = tuple[str | int, ...]
"""Keys and indexes from the root of the file."""

WRONG: tuple[Any, ...] = (1, -1, 0, True, 10**30, "", "x", "99999999999d", "${NOPE}", [], {"x": 1})
"""Of a wrong type, empty, negative, absurdly large, not to be resolved; each is right somewhere."""


def places(tree: Any, path: Place = ()) -> Iterator[Place]:
    if path:
        yield path
    steps = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for step, value in steps:
        yield from places(value, (*path, step))


def at(tree: Any, path: Place) -> Any:
    for step in path:
        tree = tree[step]
    return tree


def spoiled(tree: dict[str, Any], path: Place) -> Iterator[dict[str, Any]]:
    """The tree with each wrong value at this path; a table there also with a key that nobody knows."""
    for wrong in WRONG:
        changed = copy.deepcopy(tree)
        at(changed, path[:-1])[path[-1]] = wrong
        yield changed
    if isinstance(at(tree, path), dict):
        changed = copy.deepcopy(tree)
        at(changed, path)["nobodys"] = 1
        yield changed


async def start(config: Config, plugins: Plugins) -> None:
    with trio.fail_after(60):
        async with open_kernel(config, plugins=plugins):
            pass


def told(text: str, file: Path, plugins: Plugins) -> tuple[str, ...]:
    """What `turnout check` tells of this text."""
    file.write_text(text, encoding="utf-8")
    try:
        examine(file, os.environ, plugins)
    except ConfigError as error:
        return error.problems
    return ()


def ended(text: str, file: Path, plugins: Plugins) -> tuple[str, ...]:
    """Why a kernel cannot be opened with this text. Raises whatever else goes wrong."""
    try:
        config = parse_config(text, source=str(file), environ=os.environ)
        trio.run(start, config, plugins)
    except ConfigError as error:
        return error.problems
    return ()


@pytest.mark.parametrize("section", tomllib.loads(TEXT))
def test_check_and_a_start_agree_about_every_wrong_value(
    section: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """H2, H12: what is fine starts, what is not does not; each problem once and in the order of the file."""
    monkeypatch.chdir(tmp_path)
    plugins, file = Plugins.discover(os.environ), tmp_path / "t.toml"
    tree = tomllib.loads(TEXT)
    assert told(TEXT, file, plugins) == ()
    for path in places(tree[section], (section,)):
        for changed in spoiled(tree, path):
            text = tomlkit.dumps(changed)
            problems = told(text, file, plugins)
            served = [problem for problem in problems if "no frontend is named" not in problem]
            refused = ended(text, file, plugins)
            assert bool(refused) == bool(served), (path, text)
            assert {*refused} <= {*problems}, (path, text)
            assert len({*problems}) == len(problems), (path, text)
