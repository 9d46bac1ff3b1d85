"""A plugin that blocks the event loop of `turnout run`: nobody can interrupt it, but the log says whose fault it is."""

from pathlib import Path

from processes import RemoteUpstream, running_gateway

DOZY = """\
import time


class Dozy:
    api = 1

    def select(self, ready, ask, draw):
        if ask.model == "drowsy":
            time.sleep(2)
        return ready.best.first()
"""

CONFIG = """\
[turnout]
selector = "dozy"

[frontends.http]
listen = ["127.0.0.1:0"]
keys = ["${{TURNOUT_KEY}}"]

[stores.sqlite]
path = "store"

[providers.openai]
base_url = "{url}/v1"
models = [{{ name = "awake" }}, {{ name = "drowsy" }}]
credentials = [{{ name = "one", api_key = "sk-one" }}]
"""


def installed(site: Path) -> None:
    """A distribution of somebody else's, as pip leaves it."""
    info = site / "acme_dozy-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "acme_dozy.py").write_text(DOZY)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-dozy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[turnout.selectors]\ndozy = acme_dozy:Dozy\n")


def test_a_selector_that_blocks_for_two_seconds_is_named_in_the_log_with_its_line(
    tmp_path: Path, upstream: RemoteUpstream
) -> None:
    """H9."""
    installed(tmp_path / "site")
    env = {"PYTHONPATH": str(tmp_path / "site")}
    text = CONFIG.format(url=upstream.url)
    with running_gateway(text, tmp_path, key="key-of-a-client-0123456789", env=env) as gateway:
        assert gateway.chat("awake").status == 200
        assert "stand still" not in gateway.process.stderr.text
        assert gateway.chat("drowsy").status == 200
        said = gateway.process.stderr
        who = rf"selector 'dozy' \(from acme-dozy 1\.0\) blocks it in select\(\), {tmp_path}/site/acme_dozy\.py:9"
        said.wait_for(rf"every call stand still, for \d\.\d s by now: {who}")
        said.wait_for(rf"the event loop goes on after some \d\.\d s: {who}")
        assert gateway.chat("awake").status == 200
