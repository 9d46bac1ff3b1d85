"""Secrets that must show up nowhere: not in what processes print at their most talkative, not in any answer."""

import json
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs
import pytest
from canaries import Canaries, canary
from processes import TURNOUT, Answer, Gateway, Process, RemoteUpstream, http_ask, running_gateway

from turnout_upstream import Play, Rule, Script, plays

CONFIG = """\
[stores.sqlite]
path = "{folder}/store"

[frontends.http]
listen = ["127.0.0.1:0"]
keys = ["${{TURNOUT_KEY}}", "{canaries.second_client}"]

[observers.prometheus]

[retry]
passes = 1

[health]
blame_routes = false

[deadlines]
first_payload = "500ms"
headers = "500ms"
idle = "500ms"

[providers.openai]
base_url = "{url}/v1"

[[providers.openai.credentials]]
name = "from-environment"
api_key = "${{FIRST_KEY}}"
priority = 20

[[providers.openai.credentials]]
name = "from-file"
api_key = "${{file:{folder}/key}}"
priority = 10

[[providers.openai.credentials]]
name = "literal"
api_key = "{canaries.literal}"
headers = {{ x-tenant-secret = "{canaries.header}" }}
metadata = {{ refresh_token = "{canaries.refresh}" }}

{models}
"""


@attrs.frozen
class Secrets(Canaries):
    """One of each kind that this house knows; prompts and answers count as well (S44)."""

    client: str = attrs.field(factory=canary)
    second_client: str = attrs.field(factory=canary)
    wrong_client: str = attrs.field(factory=canary)
    environment: str = attrs.field(factory=canary)
    file: str = attrs.field(factory=canary)
    literal: str = attrs.field(factory=canary)
    header: str = attrs.field(factory=canary)
    refresh: str = attrs.field(factory=canary)
    prompt: str = attrs.field(factory=canary)


FAULTS = {
    "sound": plays.chat(),
    "limited": plays.rate_limited(30),
    "refused": plays.status(401),
    "failing": plays.status(500),
    "garbage": plays.garbage("html"),
    "reset": plays.reset_after_request(),
    "cut": plays.reset_mid_stream(3),
    "silent": plays.stall_before_head(),
    "stalling": plays.stall_mid_stream(3),
    "redirecting": plays.redirect("http://127.0.0.1:1/"),
    "odd-headers": plays.rude_headers(),
    "wrong-length": plays.wrong_length(9),
}


ECHOED = (400, 401, 403, 404, 422, 429, 500)


def echoing(canaries: Secrets, status: int) -> Play:
    """S45: an upstream that repeats in its error the key that it was sent."""
    text = f"Incorrect API key provided: {canaries.environment}."
    return plays.status(status, text, headers={"x-your-key": canaries.environment})


@pytest.fixture
def canaries() -> Secrets:
    return Secrets()


@pytest.fixture
def gateway(upstream: RemoteUpstream, tmp_path: Path, canaries: Secrets) -> Iterator[Gateway]:
    echoes = {f"echo-{status}": echoing(canaries, status) for status in ECHOED}
    scripted = FAULTS | echoes
    upstream.use(Script(rules=tuple(Rule(model=model, always=play) for model, play in scripted.items())))
    (tmp_path / "key").write_text(canaries.file + "\n")
    models = "\n".join(f'[[providers.openai.models]]\nname = "{name}"\n' for name in scripted)
    config = CONFIG.format(folder=tmp_path, url=upstream.url, canaries=canaries, models=models)
    env = {"FIRST_KEY": canaries.environment}
    arguments = ("--log-level", "debug")
    with running_gateway(config, tmp_path, key=canaries.client, env=env, arguments=arguments) as running:
        yield running


def shown(answer: Answer) -> str:
    return json.dumps([answer.body, *answer.headers.items()])


def every_flow(gateway: Gateway, canaries: Secrets) -> dict[str, Answer]:
    """Everything a client can make happen here, by name."""
    messages = [{"role": "user", "content": canaries.prompt}]

    def chat(model: str, *, stream: bool) -> Answer:
        body = json.dumps({"model": model, "stream": stream, "messages": messages}).encode()
        return gateway.ask("POST", "/v1/chat/completions", body, headers={"x-turnout-explain": "1"})

    models = (*FAULTS, *(f"echo-{status}" for status in ECHOED), "no-such-model")
    return {
        **{model: chat(model, stream=False) for model in models},
        **{f"{model}, streaming": chat(model, stream=True) for model in models},
        "broken": gateway.ask("POST", "/v1/chat/completions", f'{{"model": "{canaries.prompt}"'.encode()),
        "nowhere": gateway.ask("POST", "/v1/nowhere"),
        "wrong key": gateway.ask("GET", "/v1/models", key=canaries.wrong_client),
        "key in query": gateway.ask("GET", f"/v1/models?key={canaries.wrong_client}", key=canaries.second_client),
        "two keys": gateway.ask("GET", "/v1/models", headers={"x-api-key": canaries.wrong_client}),
        "basic": http_ask(gateway.url, "GET", "/v1/models", headers={"authorization": f"Basic {canaries.client}"}),
        "ready": http_ask(gateway.url, "GET", "/readyz"),
        "metrics": gateway.ask("GET", "/metrics"),
    }


def test_no_secret_shows_in_any_answer_or_anywhere_in_the_log(gateway: Gateway, canaries: Secrets) -> None:
    """S40 and S45 over the flows of the main line, at debug level; S44: no prompt either."""
    answers = every_flow(gateway, canaries)
    gateway.process.send(signal.SIGTERM)
    code = gateway.process.wait_code()

    leaks = {name: canaries.found_in(shown(answer)) for name, answer in answers.items()}
    leaks["stdout"] = canaries.found_in(gateway.process.stdout.text)
    leaks["stderr"] = canaries.found_in(gateway.process.stderr.text)
    assert {place: names for place, names in leaks.items() if names} == {}
    assert code == 0
    assert_they_did_happen(answers)


def assert_they_did_happen(answers: Mapping[str, Answer]) -> None:
    """A flow that ended early would have had nothing to leak."""
    statuses = {name: answer.status for name, answer in answers.items()}
    expected = {
        "sound": 200,
        "limited": 429,
        "failing": 502,
        "silent": 504,
        "reset": 502,
        "echo-400": 400,
        "echo-422": 422,
        "no-such-model": 404,
        "broken": 400,
        "nowhere": 404,
        "wrong key": 401,
        "key in query": 200,
        "two keys": 401,
        "metrics": 200,
    }
    assert {name: statuses[name] for name in expected} == expected
    assert [name for name, answer in answers.items() if '"internal"' in answer.body] == []
    assert 'turnout_calls_total{model="sound"' in answers["metrics"].body
    for echo in ("echo-400", "echo-422", "echo-400, streaming"):
        assert "Incorrect API key provided" in answers[echo].body


def test_the_upstream_gets_the_pools_keys_and_no_other_secret(
    gateway: Gateway, upstream: RemoteUpstream, canaries: Secrets
) -> None:
    """S11, S52: each key goes to its own origin, the client's never leaves the house."""
    every_flow(gateway, canaries)

    heard = [json.dumps([request.path, request.query, request.headers]) for request in upstream.requests(10)]
    assert set(canaries.found_in(*heard)) <= {"environment", "file", "literal", "header"}


@pytest.mark.parametrize("arguments", [("check",), ("credentials", "list"), ("credentials", "list", "--json")])
def test_no_command_shows_a_secret(tmp_path: Path, canaries: Secrets, arguments: tuple[str, ...]) -> None:
    """S40: looking at a configuration shows where secrets are, never what they are."""
    (tmp_path / "key").write_text(canaries.file)
    models = '[[providers.openai.models]]\nname = "m"\n'
    file = tmp_path / "turnout.toml"
    file.write_text(CONFIG.format(folder=tmp_path, url="http://127.0.0.1:9", canaries=canaries, models=models))
    env = {"TURNOUT_KEY": canaries.client, "FIRST_KEY": canaries.environment}
    with Process([TURNOUT, *arguments, *(["--config"] if "list" in arguments else []), str(file)], env=env) as process:
        code = process.wait_code()

    assert canaries.found_in(process.stdout.text, process.stderr.text) == []
    assert code == 0, process.stderr.text


@pytest.mark.parametrize(
    "harm", ["[nonsense", 'api_key = ["', "api_key = 3", "passes = true", 'headers = "no"', "unknown = 1"]
)
def test_a_broken_file_is_shown_without_its_secrets(tmp_path: Path, canaries: Secrets, harm: str) -> None:
    """S40: the excerpt with the caret masks what could be a secret."""
    (tmp_path / "key").write_text(canaries.file)
    text = CONFIG.format(folder=tmp_path, url="http://127.0.0.1:9", canaries=canaries, models="")
    file = tmp_path / "turnout.toml"
    file.write_text(text.replace("headers = {", f"{harm}\nheaders = {{"))
    env = {"TURNOUT_KEY": canaries.client, "FIRST_KEY": canaries.environment}
    with Process([TURNOUT, "check", str(file)], env=env) as process:
        code = process.wait_code()

    assert code != 0
    assert canaries.found_in(process.stdout.text, process.stderr.text) == []
