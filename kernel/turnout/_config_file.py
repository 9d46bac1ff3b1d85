"""The file itself: which one is read, its text, its TOML."""

import os
import re
import select
import stat
import time
import tomllib
from collections.abc import Mapping
from errno import ENODATA, ETIMEDOUT
from pathlib import Path
from typing import Any, Final

from turnout._places import Place, Source
from turnout.errors import ConfigError

LARGEST: Final = 16 * 1024 * 1024
"""Bytes of a configuration at most: room for tens of thousands of credentials. A device may never end."""

PATIENCE: Final = 30.0
"""Seconds for which a pipe is read, such as the shell makes of `<(sops -d turnout.toml)`: there may be no writer."""

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
        if _is_there(place):
            return place
    looked = "\n".join(f"    {place}" for place in places)
    raise ConfigError([f"no configuration found; name one, set TURNOUT_CONFIG, or write one of\n{looked}"])


def _is_there(place: Path) -> bool:
    try:
        return place.is_file()
    except OSError:  # a home that this account may not look into, as under `sudo -u`: nothing there is meant for it
        return False


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


def read_text(path: Path, *, patience: float = PATIENCE) -> str:
    """The file's text. Waits for the disk, or so many seconds for who writes to a pipe; raises ConfigError."""
    try:
        data = _read_pipe(path, patience) if stat.S_ISFIFO(path.stat().st_mode) else _read(path)
    except OSError as error:
        raise ConfigError([f"{path}: cannot read the configuration: {error.strerror}"]) from None
    if len(data) > LARGEST:
        raise ConfigError([f"{path}: this is no configuration: it is larger than {LARGEST >> 20} MiB"])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = error.object[: error.start]
        line = before.count(b"\n") + 1
        raise ConfigError([f"{path}:{line}: the file is not UTF-8 text; save it as UTF-8"]) from None


def _read(path: Path) -> bytes:
    """Not more than one byte over the limit."""
    with path.open("rb") as file:
        return file.read(LARGEST + 1)


def _read_pipe(path: Path, patience: float) -> bytes:
    """What is written to a pipe until every writer has closed it, not much more than the limit."""
    until = time.monotonic() + patience
    data = bytearray()
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # without that, opening waits for a first writer
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        while len(data) <= LARGEST:
            if not poll.poll(max(until - time.monotonic(), 0) * 1000):
                raise OSError(ETIMEDOUT, f"it is a pipe, and not all of it was written within {patience:g} s")
            if not (piece := os.read(descriptor, 1 << 16)):
                break
            data += piece
    finally:
        os.close(descriptor)
    if not data:
        raise OSError(ENODATA, "it is a pipe with nothing in it; what was in one can be read only once")
    return bytes(data)


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
