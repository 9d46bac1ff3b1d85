"""The command line: `turnout`. What is in a command lies in `_cli_NAME.py`; exit codes are in `_cli_errors`."""

import sys
from collections.abc import Sequence
from importlib import metadata
from typing import NoReturn

import click

from turnout._cli_change import CHANGES
from turnout._cli_common import plugins_of
from turnout._cli_copies import export, import_
from turnout._cli_credentials import credentials
from turnout._cli_errors import exit_code_of
from turnout._cli_look import check, plugins
from turnout._cli_new import new
from turnout._cli_run import run
from turnout._plugins import COMMANDS
from turnout.errors import PluginError


class Commands(click.Group):
    """Our commands, and those of plugins: listed by name from their metadata, imported only when called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Ours first, then those of plugins."""
        return [*self.commands, *(name for name in plugins_of(ctx).names(COMMANDS) if name not in self.commands)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One of ours, or a stand-in for a plugin's that says where it comes from."""
        if cmd_name in self.commands or cmd_name not in plugins_of(ctx).names(COMMANDS):
            return self.commands.get(cmd_name)
        origins = [
            one.distribution for one in plugins_of(ctx).describe() if (one.group, one.name) == (COMMANDS, cmd_name)
        ]
        return click.Command(cmd_name, short_help=f"From {' and '.join(origins)}.")

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is called; a plugin's is imported now. Raises PluginError when that fails."""
        name, command, rest = super().resolve_command(ctx, args)
        if name is None or name in self.commands or command is None:
            return name, command, rest
        found = plugins_of(ctx).load(COMMANDS, name)
        if not isinstance(found, click.Command):
            raise PluginError("its entry point must name a click command", group=COMMANDS, name=name)
        return name, found, rest


EXIT_CODES = (
    "Exit codes: 0 done, 1 failed at run time, 2 wrong usage, 3 wrong configuration, 130 and 143 ended at once by "
    "Ctrl-C or SIGTERM."
)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXIT_CODES)
@click.version_option(metadata.version("turnout"), message="%(version)s")
@click.option("--safe", is_flag=True, help="Import no plugin at all: to look around when one of them is broken.")
def turnout(*, safe: bool) -> None:
    """Conduct calls to LLM APIs over a pool of credentials."""


for command in (run, check, plugins, new, credentials):
    turnout.add_command(command)


for command in (*CHANGES, export, import_):
    credentials.add_command(command)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command line, `sys.argv` when None, and exit."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(exit_code_of(lambda: turnout.main(given, prog_name="turnout", standalone_mode=False)))
