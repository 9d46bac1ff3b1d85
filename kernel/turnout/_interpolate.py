"""`${NAME}`, `${NAME:-default}` and `${file:/path}` in the strings of a parsed configuration.

Resolved after parsing and in string values only, so that nothing an environment holds can change the shape of the
file. A problem names the variable or the file, never what is in it.
"""

import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

from turnout._problems import Problem, Step

LARGEST_FILE = 64 * 1024
"""Bytes that `${file:…}` reads at most: a secret is small, a mistaken path may not be."""

_REFERENCE = re.compile(
    r"""\$\$\{                                                  # an escaped ${
      | \$\{ file: (?P<file> [^}]+ ) \}
      | \$\{ (?P<name> [A-Za-z_][A-Za-z0-9_]* ) (?: :- (?P<default> [^}]* ) )? \}
      | (?P<bad> \$\{ )""",
    re.VERBOSE,
)


def interpolate(
    tree: Mapping[str, Any], environ: Mapping[str, str], folder: Path
) -> tuple[dict[str, Any], Sequence[Problem]]:
    """The same tree with every reference replaced; relative files are looked for in `folder`.

    And the references that cannot be resolved, which stay in the tree. Reads files, so it may wait for a disk.
    """
    resolver = _Resolver(environ, folder)
    return resolver.walk(tree, ()), resolver.problems


def referenced_files(text: str, folder: Path) -> tuple[Path, ...]:
    """The files that a configuration's text names with `${file:…}`, those in its comments too."""
    named = (match["file"] for match in _REFERENCE.finditer(text))
    return tuple(dict.fromkeys(folder / name for name in named if name))


@final
class _Resolver:
    def __init__(self, environ: Mapping[str, str], folder: Path) -> None:
        self._environ = environ
        self._folder = folder
        self.problems: list[Problem] = []

    def walk(self, value: Any, path: tuple[Step, ...]) -> Any:
        if isinstance(value, dict):
            return {key: self.walk(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self.walk(item, (*path, index)) for index, item in enumerate(value)]
        if isinstance(value, str) and "${" in value:
            return self._text(value, path)
        return value

    def _text(self, text: str, path: tuple[Step, ...]) -> str:
        parts: list[str] = []
        end = 0
        for match in _REFERENCE.finditer(text):
            parts.append(text[end : match.start()])
            try:
                parts.append(self._resolve(match))
            except ValueError as problem:
                self.problems.append(Problem(path, str(problem)))
                parts.append(match[0])
            end = match.end()
        return "".join([*parts, text[end:]])

    def _resolve(self, match: re.Match[str]) -> str:
        if match["bad"]:
            raise ValueError(
                "a reference is written ${NAME}, ${NAME:-default} or ${file:/path}; write $${ for the characters ${"
            )
        if match["file"]:
            return self._file(match["file"])
        if "${" in (match["default"] or ""):
            raise ValueError("a default holds no reference of its own; write one ${NAME}, or set the variable")
        if match["name"]:
            return self._variable(match["name"], match["default"])
        return "${"

    def _variable(self, name: str, default: str | None) -> str:
        """As a shell does it, an empty variable counts as unset: it is the usual trace of a secret that is missing."""
        value = self._environ.get(name, "")
        if value:
            return value
        if default is not None:
            return default
        state = "empty" if name in self._environ else "not set"
        raise ValueError(f"the environment variable {name} is {state}; set it, or write ${{{name}:-default}}")

    def _file(self, name: str) -> str:
        path = self._folder / name
        try:
            data = _read(path)
        except OSError as error:
            raise ValueError(f"cannot read the file {path}: {error.strerror}") from None
        if len(data) > LARGEST_FILE:
            raise ValueError(f"{path} is larger than {LARGEST_FILE // 1024} KiB")
        try:
            return data.decode().rstrip("\r\n")
        except UnicodeDecodeError:
            raise ValueError(f"{path} is not UTF-8 text") from None


def _read(path: Path) -> bytes:
    """Not more than one byte over the limit. Opening a pipe or a device would wait for ever, so it is refused."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError(f"{path} is not a regular file")
    with path.open("rb") as file:
        return file.read(LARGEST_FILE + 1)
