"""The file itself: which one is read, its text, its TOML."""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from turnout._places import Place, Source
from turnout.errors import ConfigError

_AT = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)")


def find_config(argument: Path | None, environ: Mapping[str, str]) -> Path:
    """The file to read: the argument, `TURNOUT_CONFIG`, `./turnout.toml`, the XDG directories, `/etc`.

    The first two are taken as they are, even if there is no such file: reading it says so. Raises ConfigError that
    lists the places when nothing is found.
    """
    if argument is not None:
        return argument
    if named := environ.get("TURNOUT_CONFIG"):
        return Path(named)
    places = _usual_places(environ)
    for place in places:
        if place.is_file():
            return place
    looked = "\n".join(f"    {place}" for place in places)
    raise ConfigError([f"no configuration found; name one, set TURNOUT_CONFIG, or write one of\n{looked}"])


def _usual_places(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """By the XDG base directory specification 0.8; it says to ignore relative paths."""
    home = environ.get("XDG_CONFIG_HOME") or os.path.join(environ.get("HOME") or "/", ".config")  # noqa: PTH118 # texts
    system = environ.get("XDG_CONFIG_DIRS") or "/etc/xdg"
    folders = [folder for folder in (home, *system.split(":")) if folder.startswith("/")]
    return (
        Path("turnout.toml"),
        *(Path(folder) / "turnout" / "turnout.toml" for folder in folders),
        Path("/etc/turnout/turnout.toml"),
    )


def read_text(path: Path) -> str:
    """The file's text. Waits for the disk; raises ConfigError."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError([f"{path}: cannot read the configuration: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        before = error.object[: error.start]
        line = before.count(b"\n") + 1
        raise ConfigError([f"{path}:{line}: the file is not UTF-8 text; save it as UTF-8"]) from None


def toml(source: Source) -> dict[str, Any]:
    """The tree that a text holds, as plain values.

    Raises ConfigError with the place of a syntax error, RecursionError for a tree that is too deep.
    """
    try:
        return tomllib.loads(source.text)
    except ValueError as error:  # TOMLDecodeError, or int() of a number with thousands of digits
        at = _AT.search(str(error))
        if at is None:
            raise ConfigError([f"{source.name}: this is not TOML: a number has too many digits"]) from None
        place = Place(int(at[1]), int(at[2])) if at[1] else source.end()
        message = _AT.sub("", str(error))
        message += "; texts stand in quotes" if message == "Invalid value" else ""
        raise ConfigError([source.syntax(f"this is not TOML: {message}", place)]) from None
