"""`turnout run`: open the kernel, say where it serves, follow its configuration, wait for a signal, drain."""

import os
import resource
import signal
from functools import partial
from logging import getLogger
from pathlib import Path

import click
import trio

from turnout._cli_common import config_argument, plugins_of
from turnout._cli_garbage import rare_collections
from turnout._cli_listening import listening
from turnout._cli_log import LEVELS, log_to_stderr
from turnout._cli_memory import keep_freed_memory
from turnout._cli_processes import own_command, supervise, tell
from turnout._cli_reload import Hangups, Stamp, follow, read
from turnout._cli_stop import CLOSING_LIMIT, Stop
from turnout._config import Config
from turnout._config_file import find_config
from turnout._kernel import open_kernel
from turnout._membership import Handed, Membership
from turnout._plugins import Plugins
from turnout._stalls import lingering
from turnout.errors import ConfigError

MOST = 64
"""Processes: more than any machine needs for this, and few enough to be no accident."""

log = getLogger("turnout.run")


class _HandedType(click.ParamType[Handed]):
    """What a supervisor hands to a process."""

    name = "handed"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Handed:
        """The value of the argument."""
        try:
            return Handed.from_argument(str(value))
        except (ValueError, KeyError, TypeError):
            self.fail("this is for a supervisor's processes only", param, ctx)


@click.command()
@config_argument
@click.option("--log-level", type=click.Choice(LEVELS), default="info", show_default=True, help="What goes to stderr.")
@click.option(
    "--processes", type=click.IntRange(1, MOST), default=1, show_default=True, help="How many serve the same addresses."
)
@click.option("--handed", type=_HandedType(), hidden=True)
@click.pass_context
def run(context: click.Context, config: Path | None, log_level: str, processes: int, handed: Handed | None) -> int:
    """Serve until SIGTERM or Ctrl-C.

    Then calls under way finish; a second one ends at once. A change of the file, or SIGHUP, puts the new configuration
    in force; one that is wrong is told and changes nothing. CONFIG is searched for when it is not given:
    $TURNOUT_CONFIG, ./turnout.toml, the XDG directories, /etc/turnout. With several processes one that dies is
    replaced; they share their state through the store, sqlite or redis.
    """
    _harden()
    log_to_stderr(log_level, process=None if handed is None else handed.number)
    path = find_config(config, os.environ)
    if processes > 1 and path.exists() and not path.is_file():
        raise ConfigError([f"{path}: each of several processes reads the configuration; write it to a regular file"])
    settled, stamps = read(path, plugins_of(context))
    if processes == 1:
        keep_freed_memory(os.environ)
        return trio.run(serve, settled, stamps, plugins_of(context), handed)
    _warn_root()
    with listening(settled, plugins_of(context)) as sockets:
        return trio.run(supervise, sockets, processes, own_command(["--log-level", log_level, str(path)]))


def _harden() -> None:
    """Nothing we write is for others, and no core dump holds keys (acceptance S70).

    And as many descriptors as the system lets us have: the usual 1,024 are for programs that use `select`. A SIGHUP
    that comes before anybody waits for one asks for what is about to be read anyway; it must not end the start.
    """
    _fill_standard_descriptors()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _fill_standard_descriptors() -> None:
    """Open what we were started without, of 0 to 2, on /dev/null.

    Otherwise the first sockets would get these numbers, and a child's standard streams would be put over them.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:  # POSIX gives the lowest free one
        os.set_inheritable(number, True)
    os.close(number)


async def serve(config: Config, stamps: list[Stamp], plugins: Plugins, handed: Handed | None = None) -> int:
    """Serve until told to stop and give the exit code. Raises what opening the kernel raises.

    `handed` is what a process gets from its supervisor, None when it is the only one.
    """
    async with trio.open_nursery() as nursery:
        stop, hangups = Stop(who=partial(lingering, plugins.owner_of)), Hangups()
        await nursery.start(stop.watch)
        await nursery.start(hangups.watch)
        member = None if handed is None else Membership(handed)
        if member is not None:
            nursery.start_soon(member.heed, stop, hangups)
        with stop.scope:
            sockets = member.sockets if member else {}
            async with open_kernel(config, plugins=plugins, sockets=sockets, watch_stalls=True) as kernel:
                stop.serving = True
                with rare_collections():  # before any client is told: to look through all that was built takes 0.1 s
                    if member is None:
                        tell(kernel.addresses)
                        _warn_root()
                    else:
                        await member.tell(kernel.addresses)
                        nursery.start_soon(member.show_life)
                    async with trio.open_nursery() as until_stopped:
                        until_stopped.start_soon(follow, kernel, config, stamps, hangups, plugins)
                        await stop.asked.wait()
                        until_stopped.cancel_scope.cancel()
                kernel.drain()
                await kernel.wait_drained()
                nursery.start_soon(stop.leave_behind, CLOSING_LIMIT)
        nursery.cancel_scope.cancel()
    return stop.exit_code


def _warn_root() -> None:
    if os.geteuid() == 0:
        log.warning("running as root, which nothing here needs: use an account of its own")
