"""`turnout run`: open the kernel, say where it serves, follow its configuration, wait for a signal, drain."""

import os
import resource
import signal
from collections.abc import Mapping
from logging import getLogger
from pathlib import Path
from typing import Final

import click
import trio

from turnout._cli_common import config_argument, plugins_of
from turnout._cli_log import LEVELS, log_to_stderr
from turnout._cli_reload import Hangups, Stamp, follow, read
from turnout._config import Config
from turnout._config_file import find_config
from turnout._kernel import open_kernel
from turnout._plugins import Plugins
from turnout.errors import ConfigError

LAST_LIMIT: Final = 1.5
"""Seconds that a second signal leaves for saving what is dirty (acceptance H5 allows two in all)."""

log = getLogger("turnout.run")


@click.command()
@config_argument
@click.option("--log-level", type=click.Choice(LEVELS), default="info", show_default=True, help="What goes to stderr.")
@click.pass_context
def run(context: click.Context, config: Path | None, log_level: str) -> int:
    """Serve until SIGTERM or Ctrl-C: then calls under way finish; a second one ends at once.

    A change of the file, or SIGHUP, puts the new configuration in force; one that is wrong is told and changes nothing.
    CONFIG is searched for when it is not given: $TURNOUT_CONFIG, ./turnout.toml, the XDG directories, /etc/turnout.
    """
    _harden()
    log_to_stderr(log_level)
    settled, stamps = read(find_config(config, os.environ))
    if not settled.tables("frontends"):
        raise ConfigError([f"{settled.source}: no frontend is named, so nobody could be served; add [frontends.http]"])
    return trio.run(serve, settled, stamps, plugins_of(context))


def _harden() -> None:
    """Nothing we write is for others, and no core dump holds keys (acceptance S70)."""
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


async def serve(config: Config, stamps: list[Stamp], plugins: Plugins) -> int:
    """Serve until told to stop and give the exit code. Raises what opening the kernel raises."""
    async with trio.open_nursery() as nursery:
        stop, hangups = Stop(), Hangups()
        await nursery.start(stop.watch)
        await nursery.start(hangups.watch)
        with stop.scope:
            async with open_kernel(config, plugins=plugins) as kernel:
                stop.serving = True
                _tell(kernel.addresses)
                async with trio.open_nursery() as until_stopped:
                    until_stopped.start_soon(follow, kernel, config, stamps, hangups)
                    await stop.asked.wait()
                    until_stopped.cancel_scope.cancel()
                kernel.drain()
                await kernel.wait_drained()
        nursery.cancel_scope.cancel()
    return stop.exit_code


def _tell(addresses: Mapping[str, tuple[str, ...]]) -> None:
    for key, served in addresses.items():
        for address in served:
            click.echo(f"serving {address} ({key})")
    if os.geteuid() == 0:
        log.warning("running as root, which nothing here needs: use an account of its own")


class Stop:
    """What signals mean: the first asks to drain, the second ends everything at once.

    Attributes:
        scope: everything that a second signal ends, and a first one that comes before anything is served.
    """

    def __init__(self) -> None:
        self.asked = trio.Event()
        self.scope = trio.CancelScope()
        self.serving = False
        self.exit_code = 0

    async def watch(self, *, task_status: "trio.TaskStatus[None]") -> None:
        """Wait for signals until cancelled."""
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            task_status.started()
            async for number in signals:
                name = signal.Signals(number).name
                if self.asked.is_set():
                    log.warning("a second signal, %s: stopping at once, calls under way are cut off", name)
                    self.exit_code = 128 + number
                    await self._end_soon()
                self.asked.set()
                if not self.serving:
                    self.scope.cancel()
                    continue
                log.info("%s: draining, calls under way may finish; a second signal stops at once", name)

    async def _end_soon(self) -> None:
        """End the scope; should something not let go of it, end the process."""
        self.scope.cancel()
        await trio.sleep(LAST_LIMIT)
        log.error("something did not stop within %g s; leaving it behind", LAST_LIMIT)
        os._exit(self.exit_code)
