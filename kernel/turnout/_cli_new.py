"""`turnout new`: the files of a plugin that is complete, small and passes its test."""

import keyword
import re
from importlib import metadata
from pathlib import Path

import click

from turnout._new_files import KINDS, files_of

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@click.command()
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("name")
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=Path(),
    help="The folder that gets the package's folder; this one when left out.",
)
def new(kind: str, name: str, into: Path) -> None:
    """Write a package with a plugin called NAME: pyproject.toml, one module, a test, a README.

    It is complete: it installs with pip, passes its test and works in a configuration. Change it from there.
    """
    _check_name(name)
    folder = into / f"turnout-{name}"
    if folder.exists():
        raise click.ClickException(f"{folder} exists already, and nothing of it was touched; choose another name")
    files = files_of(kind, name, metadata.version("turnout"))
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    click.echo(f"{folder} is written. Install and test it:\n")
    where = folder if folder.is_absolute() else f"./{folder}"  # for pip, a path has a slash
    click.echo(f"    pip install '{where}[test]' && pytest '{where}'\n")
    click.echo("then name it in the configuration as its README says.")


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name) or keyword.iskeyword(name.replace("-", "_")):
        raise click.BadParameter(
            f"{name!r} is no name of a plugin: small letters and digits, parts joined by -, such as cheapest-first",
            param_hint="NAME",
        )
