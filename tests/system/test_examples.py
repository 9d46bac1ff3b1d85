"""The examples run."""

import sys
from pathlib import Path

from processes import Process, RemoteUpstream

from turnout_upstream import Rule, Script, plays

EXAMPLES = Path(__file__).parent.parent.parent / "examples"

CONFIG = """\
[stores.sqlite]
path = "{folder}/store"

[providers.openai]
base_url = "{url}/v1"

[[providers.openai.credentials]]
name = "spent"
api_key = "sk-spent"
priority = 10

[[providers.openai.credentials]]
name = "fresh"
api_key = "${{FRESH_KEY}}"

[[providers.openai.models]]
name = "m"
alias = "fast"
"""


def test_a_program_can_embed_the_kernel(tmp_path: Path, upstream: RemoteUpstream) -> None:
    upstream.use(Script(rules=(Rule(key="sk-spent", always=plays.rate_limited(60)),)))
    config = tmp_path / "turnout.toml"
    config.write_text(CONFIG.format(folder=tmp_path, url=upstream.url))
    command = [sys.executable, str(EXAMPLES / "embedding.py"), str(config), "fast", "Why?"]

    with Process(command, env={"FRESH_KEY": "sk-fresh"}) as process:
        assert process.wait_code() == 0, process.stderr.text

    assert "data: [DONE]\n\nserved by fresh after 2 attempt(s)\n" in process.stdout.text


def test_two_nodes_share_cooldowns_and_renew_a_token_once() -> None:
    """G2, E2 in its smallest form: real processes, a real Valkey, a token endpoint that spends a token once."""
    command = [sys.executable, str(EXAMPLES / "two-nodes" / "run.py"), "--once"]
    with Process(command, env={}) as process:
        assert process.wait_code(160) == 0, process.stderr.text

    lines = process.stdout.text.splitlines()
    assert [line.rpartition(": ")[2] for line in lines if line.startswith("node ")] == ["200"] * 4
    assert [line.strip() for line in lines if line.startswith("  ")] == [
        "the upstream was asked with: sk-spent, sk-fresh",
        "the upstream was asked with: sk-fresh",
        "the token endpoint was asked 1 time(s), with a spent token 0 time(s)",
    ]
