"""`turnout new`: the files of a plugin that is complete, small and passes its test.

Their texts lie in `_new`, with blanks such as `$name`; a dollar sign of their own is written twice.
"""

import keyword
import re
from collections.abc import Mapping
from importlib import metadata, resources
from pathlib import Path
from string import Template

import click

KINDS = ("selector", "provider", "store", "observer")
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
    """Write the package of a plugin called NAME.

    That is pyproject.toml, one module, a test and a README. It is complete: it installs with pip, passes its test and
    works in a configuration. Change it from there.
    """
    _check_name(name)
    _check_free(name)
    folder = into / f"turnout-{name}"
    if folder.exists():
        raise click.ClickException(f"{folder} exists already, and nothing of it was touched; choose another name")
    files = files_of(kind, name, metadata.version("turnout"))
    folder.mkdir()
    for path, text in files.items():
        (folder / path).write_text(text, encoding="utf-8")
    click.echo(f"{folder} is written. Install and test it:\n")
    where = folder if folder.is_absolute() else f"./{folder}"  # for pip, a path has a slash
    click.echo(f"    pip install '{where}[test]' && pytest '{where}'\n")
    click.echo("then name it in the configuration as its README says.")


def files_of(kind: str, name: str, version: str) -> Mapping[str, str]:
    """The texts of a package by file name; `version` is the oldest Turnout that it works with."""
    module = name.replace("-", "_")
    blanks = {
        "kind": kind,
        "name": name,
        "module": module,
        "cls": "".join(part.capitalize() for part in name.split("-")),
        "variable": f"{module.upper()}_KEY",
        "article": "An" if kind == "observer" else "A",
        "needs": f'"turnout>={version},<1"' + (f', "turnout-wire>={version},<1"' if kind == "provider" else ""),
    }
    return {
        "pyproject.toml": _filled("pyproject", blanks),
        "README.md": _filled("readme", blanks | {"toml": _filled(f"{kind}_toml", blanks).rstrip()}),
        f"turnout_{module}.py": _filled(kind, blanks),
        f"test_{module}.py": _filled(f"{kind}_test", blanks),
    }


def _filled(text: str, blanks: Mapping[str, str]) -> str:
    return Template((resources.files("turnout") / "_new" / f"{text}.txt").read_text("utf-8")).substitute(blanks)


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name) or keyword.iskeyword(name.replace("-", "_")):
        raise click.BadParameter(
            f"{name!r} is no name of a plugin: small letters and digits, parts joined by -, such as cheapest-first",
            param_hint="NAME",
        )


def _check_free(name: str) -> None:
    """Refuse the name of an installed distribution: pip would put the new one in its place."""
    try:
        installed = metadata.version(f"turnout-{name}")
    except metadata.PackageNotFoundError:
        return
    raise click.ClickException(
        f"turnout-{name} {installed} is installed already, and the new one would take its place; choose another name"
    )
