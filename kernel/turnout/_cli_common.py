"""What several commands share: the configuration they are given, the plugins that are installed, how they print."""

import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from turnout._config import Config, load_config
from turnout._config_file import find_config
from turnout._plugins import Plugins

F = TypeVar("F", bound=Callable[..., Any])

_PATH: Any = click.Path(path_type=Path)

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


def echo_json(value: object) -> None:
    """Print a value as JSON, one that people can read too."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def echo_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows in columns as wide as their widest cell."""
    cells = [head, *rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    for row in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
