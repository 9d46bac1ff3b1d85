"""A process that is stopped for a while and goes on (K2, short form)."""

import http.client
import signal
import sys
import time
from pathlib import Path

from processes import LIMIT, Process, clean_environment, running_gateway

CHILD = '''
import trio
from turnout import Ask, Credential, Metadata
from turnout.testing import ScriptedProvider, scripted_kernel
from turnout.testing._house import wall
TOML = """
[providers.scripted]
models = [{ name = "m" }]
"""
renewals = []
class Renewing(ScriptedProvider):
    def refresh_lead(self, credential):
        return 300.0
    async def refresh(self, credential, transport):
        renewals.append(trio.current_time())
        return Credential(id="o", provider="scripted", metadata=Metadata({"expires_at": wall() + 9000}))
async def main():
    async with scripted_kernel(TOML, {"scripted": Renewing()}) as kernel:
        data = Metadata({"expires_at": wall() + 301})
        await kernel.credentials.register(Credential(id="o", provider="scripted", metadata=data))
        print("up", len(renewals), flush=True)
        await trio.sleep(3.5)
        await kernel.execute(Ask(model="m"))
        print("renewed", len(renewals), "times", flush=True)
trio.run(main)
'''


def test_what_fell_due_while_the_process_was_stopped_is_done_once(tmp_path: Path) -> None:
    """K2: a token is due one second after the start, from which on the process is stopped for two."""
    child = tmp_path / "child.py"
    child.write_text(CHILD)
    with Process([sys.executable, str(child)], env=clean_environment()) as process:
        process.stdout.wait_for("up 0")
        process.send(signal.SIGSTOP)
        time.sleep(2)
        process.send(signal.SIGCONT)
        assert process.stdout.wait_for(r"renewed (\d+) times")[1] == "1"
        assert process.wait_code() == 0


CONFIG = """
[frontends.http]
listen = ["127.0.0.1:0"]
keys = ["${TURNOUT_KEY}"]

[frontends.http.limits]
keep_alive = "1s"
"""


def test_an_idle_connection_that_outlived_its_time_while_the_process_was_stopped_is_closed(tmp_path: Path) -> None:
    """K2: and the gateway serves the next one. H9: nobody is blamed for the pause."""
    with running_gateway(CONFIG, tmp_path, key="key-of-a-client-0123456789") as gateway:
        idle = http.client.HTTPConnection(gateway.url.removeprefix("http://"), timeout=LIMIT)
        idle.request("GET", "/healthz")
        idle.getresponse().read()
        assert idle.sock is not None  # kept

        gateway.process.send(signal.SIGSTOP)
        time.sleep(1.5)
        gateway.process.send(signal.SIGCONT)

        assert idle.sock.recv(1) == b""
        idle.close()
        assert gateway.ask("GET", "/healthz").status == 200
        gateway.process.send(signal.SIGTERM)
        assert gateway.process.wait_code() == 0
        assert "stand still" not in gateway.process.stderr.text
