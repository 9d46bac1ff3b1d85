"""The authors' guide is true: its code runs, its configuration is read, every member of a protocol is in it."""

import inspect
import re
import tomllib
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
from trio.testing import MockClock

import turnout
from turnout import abc, errors, parse_config, testing
from turnout._cli_new import files_of
from turnout._verdicts import FAILURES
from turnout.testing import ScriptedProvider, check_observer, open_plugin, scripted_kernel

GUIDE = (Path(__file__).parents[2] / "kernel" / "docs" / "plugins.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def code() -> dict[str, Any]:
    """What all blocks of Python define, run one after the other."""
    namespace: dict[str, Any] = {}
    for block in blocks("python"):
        exec(compile(block, "plugins.md", "exec"), namespace)  # noqa: S102 # ours
    return namespace


def test_the_selector_of_the_first_hour_keeps_the_laws(code: dict[str, Any]) -> None:
    code["test_it_keeps_the_laws_of_a_selector"]()


async def test_the_selector_of_the_first_hour_takes_its_settings_and_chooses(
    code: dict[str, Any], autojump_clock: MockClock
) -> None:
    toml = blocks("toml")[1].replace("[turnout]\n", '[turnout]\nstore = "x"\ntransport = "x"\n')
    settings = parse_config(toml).settings("selectors", "cheapest", code["CheapestSettings"])
    pool = '[providers.p]\nmodels = [{name = "m"}]\ncredentials = [{name = "dear", api_key = "key-dear-0123456"}, '
    pool += '{name = "spare", api_key = "key-spare-012345"}]\n'
    provider = ScriptedProvider()
    async with scripted_kernel(pool, {"p": provider}, selector=code["Cheapest"](settings)) as kernel:
        for _ in range(3):
            await kernel.execute(turnout.Ask(model="m"))

    assert provider.called() == ["spare"] * 3


def test_the_project_file_of_the_first_hour_names_the_class() -> None:
    project = tomllib.loads(blocks("toml")[0])["project"]

    assert project["entry-points"]["turnout.selectors"] == {"cheapest": "turnout_cheapest:Cheapest"}


async def test_the_observer_of_the_guide_keeps_the_laws(code: dict[str, Any], autojump_clock: MockClock) -> None:
    await check_observer(partial(open_plugin, "observers", code["Ticker"]))


async def test_the_provider_of_the_guide_answers_streams_and_fails(
    code: dict[str, Any], autojump_clock: MockClock
) -> None:
    toml = '[retry]\nmax_wait = "0s"\n[providers.p]\nmodels = [{name = "m"}]\n'
    toml += 'credentials = [{name = "a", api_key = "key-a-0123456789"}]\n'
    async with scripted_kernel(toml, {"p": code["Echo"]()}) as kernel:
        ask = turnout.Ask(model="m", dialect="openai.chat", payload=b"hello")
        assert (await kernel.execute(ask)).reply.body == b"hello"
        async with kernel.stream(ask) as stream:
            assert [chunk.data async for chunk in stream] == [b"hello"]
        with pytest.raises(errors.UpstreamFailed):
            await kernel.execute(turnout.Ask(model="m", dialect="openai.chat"))


async def test_the_store_of_the_guide_keeps_the_laws(code: dict[str, Any], tmp_path: Path) -> None:
    await code["test_it_keeps_the_laws_of_a_store"](tmp_path)


async def test_the_whole_provider_of_the_guide_keeps_the_laws(code: dict[str, Any], autojump_clock: MockClock) -> None:
    await code["test_it_keeps_the_laws_of_a_provider"]()


def test_the_whole_provider_of_the_guide_is_what_a_new_one_looks_like() -> None:
    """One text in two places: what an author reads is what `turnout new` writes."""
    files = files_of("provider", "parrot", "0.1.0")
    module = files["turnout_parrot.py"].partition('"""\n\n')[2]
    test = files["test_parrot.py"].replace("from turnout_parrot import Parrot\n\n", "")

    assert module in blocks("python")
    assert test in blocks("python")


def test_every_verdict_is_in_the_guide_and_so_is_how_far_a_request_may_get() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", GUIDE, re.MULTILINE)

    assert {failure.__name__ for failure in FAILURES} <= set(listed)
    assert all(f"`Sent.{sent.name}`" in GUIDE for sent in turnout.Sent)


def protocols() -> list[type]:
    return [member for name in abc.__all__ if inspect.isclass(member := getattr(abc, name))]


def members(protocol: type) -> set[str]:
    if attrs.has(protocol):
        return {field.name for field in attrs.fields(protocol)}
    declared = {*getattr(protocol, "__annotations__", {}), *vars(protocol)}
    iteration = declared & {"__aiter__", "__anext__"}
    return {name for name in declared if not name.startswith("_")} | iteration


@pytest.mark.parametrize("protocol", protocols(), ids=lambda protocol: protocol.__name__)
def test_every_protocol_and_every_member_of_it_is_in_the_guide(protocol: type) -> None:
    words = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`\n]+)`", GUIDE))))

    assert protocol.__name__ in words
    assert members(protocol) - words == set()


def test_every_check_of_the_kit_is_in_the_guide() -> None:
    assert [name for name in testing.__all__ if name.startswith("check_") and f"`{name}(" not in GUIDE] == []


def test_every_public_name_that_the_guide_gives_exists() -> None:
    for module, name in re.findall(r"`(turnout(?:\.abc|\.errors|\.testing)?)\.([A-Z]\w+)`", GUIDE):
        assert hasattr({"turnout": turnout, "turnout.abc": abc, "turnout.errors": errors}.get(module, testing), name)


def test_it_says_that_python_is_no_sandbox() -> None:
    """S65."""
    assert "In-process Python is no sandbox" in GUIDE
