"""`turnout check` and `turnout plugins`: look without starting anything."""

import os
from pathlib import Path

import click

from turnout._assemble import named
from turnout._cli_common import config_argument, config_option, echo_json, echo_table, json_option, loaded, plugins_of
from turnout._cli_errors import CONFIGURATION, FAILED
from turnout._config import Config, credentials_of
from turnout._config_file import find_config
from turnout._examine import examine
from turnout._plugins import PluginInfo, Plugins
from turnout.errors import ConfigError, PluginError


@click.command()
@config_argument
@json_option
@click.pass_context
def check(context: click.Context, config: Path | None, *, as_json: bool) -> int:
    """Tell every problem of a configuration.

    Of the file, the plugins it names and their settings: what would keep `turnout run` from starting with it. Exits
    with 3 when there is one.
    """
    try:
        settled = examine(find_config(config, os.environ), os.environ, plugins_of(context))
    except ConfigError as error:
        if not as_json:
            raise
        echo_json({"ok": False, "problems": list(error.problems)})
        return CONFIGURATION
    if as_json:
        echo_json({"ok": True, "problems": []})
    else:
        click.echo(f"{settled.source}: fine ({_summary(settled)})")
    return 0


def _summary(config: Config) -> str:
    parts = [
        _counted(len(config.providers), "provider"),
        _counted(len(credentials_of(config)), "credential"),
        _counted(len(config.tables("frontends")), "frontend"),
    ]
    return ", ".join(parts)


def _counted(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"


@click.command()
@config_option
@click.option("--check", "check_all", is_flag=True, help="Import and check each installed plugin, used or not.")
@json_option
@click.pass_context
def plugins(context: click.Context, config: Path | None, *, check_all: bool, as_json: bool) -> int:
    """List installed plugins, and which are in use.

    Only plugins that the configuration names are imported; with `turnout --safe plugins` not even those. With --check
    every one of them is, each on its own, no configuration is read, and the exit code is 1 when one is broken.
    """
    found = plugins_of(context)
    rows = _checked(found) if check_all else _used(found, config) + list(found.describe())
    if as_json:
        echo_json([info._asdict() for info in rows])
    else:
        echo_table(("KIND", "NAME", "FROM", "STATE"), [_row(info) for info in rows])
    return FAILED if check_all and any(info.state == "broken" for info in rows) else 0


def _checked(found: Plugins) -> list[PluginInfo]:
    """Load every plugin; one that is sound is `available`, since nothing uses it here."""
    for offered in found.describe():
        _missing(found, offered.group, offered.name)
    return [info._replace(state="available") if info.state == "in use" else info for info in found.describe()]


def _row(info: PluginInfo) -> tuple[str, str, str, str]:
    state = f"{info.state}: {info.reason}" if info.reason else info.state
    return (
        info.group.removeprefix("turnout.").removesuffix("s"),
        info.name,
        f"{info.distribution} {info.version}",
        state,
    )


def _used(found: Plugins, path: Path | None) -> list[PluginInfo]:
    """Load what the configuration names, so that the listing shows what is in use or broken; gives what is missing.

    A configuration that cannot be read is told on stderr and hides nothing.
    """
    missing: list[PluginInfo] = []
    try:
        wanted = list(named(loaded(path)))
    except ConfigError as error:
        if path is not None:
            raise
        click.echo(f"turnout: without the configuration, what is in use is not known: {error.problems[0]}\n", err=True)
        return missing
    for group, _, name in wanted:
        missing += _missing(found, f"turnout.{group}", name)
    return missing


def _missing(found: Plugins, group: str, name: str) -> list[PluginInfo]:
    try:
        found.load(group, name)
    except PluginError as error:
        if name not in found.names(group):
            return [PluginInfo(group, name, "", "", "broken", error.reason)]
    return []
