"""The README's own words, tried: its configuration, its request and its program, against real processes."""

import re
import secrets
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from processes import TURNOUT, Gateway, Process, RemoteUpstream, http_ask, running_gateway

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
MINIMAL = (ROOT / "examples" / "minimal.toml").read_text()
TEXT = "Hello from the scripted upstream."


def blocks(language: str) -> list[str]:
    """The fenced blocks in a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def test_the_first_screen_says_what_it_is_and_how_to_see_it_and_how_to_test_it() -> None:
    screen = "\n".join(README.splitlines()[:30])

    assert "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/turnout demo" in screen
    assert "python3 -m venv .venv && .venv/bin/pip install '.[test]' && .venv/bin/pytest" in screen


def test_the_configuration_in_the_readme_is_the_minimal_example() -> None:
    assert blocks("toml")[0] == MINIMAL


@pytest.mark.parametrize("text", [MINIMAL, MINIMAL + "\n" + blocks("toml")[1]], ids=["minimal", "with-openrouter"])
def test_the_example_is_sound(tmp_path: Path, text: str) -> None:
    file = tmp_path / "turnout.toml"
    file.write_text(text)
    env = {"TURNOUT_KEY": secrets.token_urlsafe(24), "OPENAI_API_KEY": "sk-one", "OPENAI_API_KEY_SPARE": "sk-two"}
    with Process([TURNOUT, "check", str(file)], env=env) as process:
        assert process.wait_code() == 0, process.stderr.text


@pytest.fixture
def gateway(tmp_path: Path, upstream: RemoteUpstream) -> Iterator[Gateway]:
    """The minimal example, pointed at a scripted upstream and at a free port."""
    text = MINIMAL.replace("127.0.0.1:8080", "127.0.0.1:0")
    text += f'\n[stores.sqlite]\npath = "{tmp_path}/store"\n\n[providers.openai]\nbase_url = "{upstream.url}/v1"\n'
    # The table goes ahead of its arrays: TOML wants it so
    head, arrays = text.split("[[providers.openai.credentials]]", 1)
    arrays, more = arrays.split("\n[stores.sqlite]", 1)
    text = head + "[stores.sqlite]" + more + "\n[[providers.openai.credentials]]" + arrays
    env = {"OPENAI_API_KEY": "sk-work", "OPENAI_API_KEY_SPARE": "sk-spare"}
    with running_gateway(text, tmp_path, key=secrets.token_urlsafe(24), env=env) as running:
        yield running


def test_the_request_of_the_readme_streams(gateway: Gateway, upstream: RemoteUpstream) -> None:
    command = re.search(r"^    curl -N .*?'$", README, re.DOTALL | re.MULTILINE)
    assert command is not None
    _, _, url, *rest = shlex.split(command[0].replace("\\\n", " "))
    headers = dict(text.split(": ", 1) for flag, text in zip(rest[::2], rest[1::2], strict=True) if flag == "-H")
    headers["authorization"] = headers["authorization"].replace("$TURNOUT_KEY", gateway.key)

    answer = http_ask(gateway.url, "POST", url.removeprefix("http://127.0.0.1:8080"), rest[-1].encode(), headers)

    assert answer.status == 200
    assert answer.body.endswith("data: [DONE]\n\n")
    (request,) = upstream.requests(1)
    assert (request.key, request.model) == ("sk-work", "gpt-5.2-mini")


def test_the_program_of_the_readme_prints_the_answer(gateway: Gateway) -> None:
    (program,) = blocks("python")
    program = program.replace("http://127.0.0.1:8080", gateway.url)

    with Process([sys.executable, "-c", program], env={"TURNOUT_KEY": gateway.key}) as process:
        assert process.wait_code() == 0, process.stderr.text

    assert process.stdout.text == TEXT + "\n"


def test_the_readme_says_truly_how_to_see_a_decision(gateway: Gateway) -> None:
    assert "`X-Turnout-Explain: 1`" in README
    assert "`X-Turnout-Decision`" in README

    answer = gateway.chat("fast", headers={"X-Turnout-Explain": "1"})

    assert '"served_by":"work"' in answer.headers["x-turnout-decision"]


def test_every_distribution_of_the_tree_is_in_the_plugin_table() -> None:
    folders = {f"plugins/{path.parent.name}" for path in ROOT.glob("plugins/*/pyproject.toml")} | {"kernel"}

    assert set(re.findall(r"^\| \[`turnout[\w-]*`\]\(([\w/]+)\)", README, re.MULTILINE)) == folders


def test_every_place_that_the_readme_points_to_exists() -> None:
    for target in re.findall(r"\]\(([\w./-]+)\)", README):
        assert (ROOT / target).exists(), target


@attrs.frozen
class Busy:
    """A candidate, as far as the example looks."""

    in_flight: int


@attrs.frozen
class OneTier:
    best: list[Busy]


def test_the_selector_of_the_selectors_readme_chooses() -> None:
    text = (ROOT / "plugins" / "selectors" / "README.md").read_text()
    namespace: dict[str, Any] = {}
    exec(re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)[0], namespace)  # noqa: S102  # ours

    assert namespace["Quietest"]().select(OneTier([Busy(3), Busy(1), Busy(2)]), None, None) == Busy(1)
