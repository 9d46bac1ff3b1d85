"""An upstream in a process of its own, steered over HTTP: for tests of real processes, in any language.

PUT /_control/script             follow another script: its JSON in the body
GET /_control/log?seen=2&ended=1&wait=5
                                 what was seen, as soon as two requests came and one connection ended, or after
                                 five seconds
"""

import contextlib
import json
import ssl
from functools import partial
from pathlib import Path
from typing import TextIO
from urllib.parse import parse_qs

import trio

from turnout_upstream._json import ScriptError, entry_to_value, script_from_json
from turnout_upstream._log import Ending, Log, Request
from turnout_upstream._render import Step, Wants, steps
from turnout_upstream._script import Play, Script
from turnout_upstream._upstream import Upstream, open_upstream, serve_on
from turnout_upstream._wire import listen

RECORDS_KEPT = 100_000


class Control(Upstream):
    """The upstream's other door: serves `/_control`."""

    def __init__(self, url: str, steered: Upstream) -> None:
        super().__init__(url, Script(), Log(keep=1))
        self._steered = steered

    async def choose(self, request: Request) -> tuple[Step, ...]:
        """Answer a control request; waits as long as a log request says."""
        if (request.method, request.path) == ("PUT", "/_control/script"):
            return self._answer(*self._use(request.body))
        if (request.method, request.path) == ("GET", "/_control/log"):
            return self._answer(200, await self._read_log(request.query))
        return self._answer(404, {"error": "PUT /_control/script or GET /_control/log"})

    def _use(self, body: bytes) -> tuple[int, object]:
        try:
            self._steered.use(script_from_json(body))
        except ScriptError as error:
            return 400, {"error": str(error)}
        return 200, {}

    async def _read_log(self, query: str) -> object:
        wanted = {name: float(values[0]) for name, values in parse_qs(query).items()}
        log = self._steered.log
        with trio.move_on_after(wanted.get("wait", 0.0)):
            await log.wait_for(lambda log: log.seen >= wanted.get("seen", 0) and log.ended >= wanted.get("ended", 0))
        entries: list[Request | Ending] = [*log.requests, *log.endings]
        return {
            "opened": log.opened,
            "seen": log.seen,
            "ended": log.ended,
            "entries": [entry_to_value(entry) for entry in entries],
        }

    def _answer(self, status: int, value: object) -> tuple[Step, ...]:
        play = Play(status=status, body=json.dumps(value).encode())
        return steps(play, Wants(), models=())


async def run_process(
    script: Script,
    *,
    host: str,
    port: int,
    tls: tuple[Path, Path] | None,
    record: TextIO | None,
    say: TextIO,
) -> None:
    """Serve until cancelled. Say the address, then that of the control door, one a line; record JSON lines."""
    context = None
    if tls is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*tls)
    async with open_upstream(script, host=host, port=port, tls_context=context, keep=RECORDS_KEPT) as upstream:
        if record is not None:
            upstream.log.listener = partial(_record, record)
        with contextlib.closing(listen("127.0.0.1", 0)) as door:
            control = Control(f"http://127.0.0.1:{door.getsockname()[1]}", upstream)
            print(upstream.url, control.url, sep="\n", file=say, flush=True)
            await serve_on(door, control)


def _record(file: TextIO, entry: Request | Ending) -> None:
    print(json.dumps(entry_to_value(entry)), file=file, flush=True)
