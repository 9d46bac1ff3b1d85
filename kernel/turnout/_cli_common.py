"""What several commands share: the configuration they are given, the plugins that are installed, how they print."""

import json
import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
import trio

from turnout._clock import Clock
from turnout._config import Config, credentials_of, load_config
from turnout._config_file import find_config
from turnout._open_store import open_store
from turnout._plugins import Plugins
from turnout.abc import Store

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

_PATH: Any = click.Path(readable=False, path_type=Path)
"""Whether it can be read is said by who reads it: a file that cannot is a wrong configuration, however it was named."""

config_argument: Callable[[F], F] = click.argument("config", required=False, type=_PATH)
config_option: Callable[[F], F] = click.option("--config", type=_PATH, help="The configuration file.")
json_option: Callable[[F], F] = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")


def loaded(path: Path | None) -> Config:
    """The configuration of this path, or of the place where it is found. Raises ConfigError."""
    return load_config(find_config(path, os.environ), os.environ)


def plugins_of(context: click.Context) -> Plugins:
    """The installed plugins, discovered once per command line."""
    root = context.find_root()
    if root.obj is None:
        root.obj = Plugins.discover(os.environ, safe=bool(root.params.get("safe")))
    plugins: Plugins = root.obj
    return plugins


def on_store(config: Config, plugins: Plugins, work: Callable[[Store, float], Awaitable[T]]) -> T:
    """Do some work on the open store, at a time in POSIX seconds. Raises StoreError, PluginError."""

    async def main() -> T:
        clock = Clock()
        async with open_store(config, plugins, clock) as store:
            return await work(store, clock.now())

    return trio.run(main)


def refuse_those_of_the_file(config: Config, id: str, what: str) -> None:
    """Raise UsageError for a credential that is not the store's to change; `what` says what to do in the file."""
    if any(one.id == id for one in credentials_of(config)):
        raise click.UsageError(f"the credential {id!r} is named in {config.source}: {what} there")


def echo_json(value: object) -> None:
    """Print a value as JSON, one that people can read too."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def echo_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows in columns as wide as their widest cell."""
    cells = [head, *rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    for row in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
