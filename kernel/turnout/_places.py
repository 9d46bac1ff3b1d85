"""Where in the file a problem is: line, column and an excerpt that shows no secret. Used when something is wrong only.

tomllib reads files fast and says no positions; tomlkit's items carry none either, but it writes back every byte it
read. So the value at a path is replaced by a mark: what stands before the mark in the text written back is what
stands before the value in the source.
"""

import re
from collections.abc import Iterable
from functools import cached_property
from typing import Any, NamedTuple, final

import tomlkit
import tomlkit.items
from tomlkit.exceptions import TOMLKitError

from turnout._problems import Problem, Spot, Step
from turnout._values import MASK

_MARK = "turnout marks this place"

_KEY_BEFORE = re.compile(r"""(?:"(?:[^"\\]|\\.)*"|'[^']*'|[\w-]+)\s*=\s*\Z""")
_HEADER = re.compile(r"^[ \t]*(?=\[)", re.MULTILINE)

_TEXT_OR_COMMENT = re.compile(
    r'''(?P<comment>\#[^\n]*)
      | """(?:[^"\\]++|\\.|"(?!""))*+(?:"{3,5}|\\?\Z) | \'\'\'(?:[^\']++|\'(?!\'\'))*+(?:\'{3,5}|\Z)
      | "(?:[^"\\\n]++|\\[^\n])*+\\?"?              | \'[^\'\n]*+\'?''',
    re.VERBOSE | re.DOTALL,
)
"""Reads a whole file, and a line of it. A text may lack its end, where a syntax error cuts it off; one of several lines
may end in two quotes of its own."""
_ONLY_REFERENCES = re.compile(r"""["'](?:\$\{(?:file:[^}]+|\w+)\})+["']""", re.ASCII)
_SECRET_KEY = re.compile(r"key|token|secret|passw|passphrase|auth|cookie|header|dsn|credentials$", re.IGNORECASE)
_CHARACTER = re.compile(r"[^\n]")
_STARRED = re.compile(r"\A\*+")
_LONG_WORD = re.compile(r"[\w+/.=-]{20,}")


class Place(NamedTuple):
    """Line and column, both counted from 1; columns are characters."""

    line: int
    column: int


@final
class Source:
    """The text of a configuration file, and how to point into it.

    Attributes:
        name: what errors call it: its path.
        text: with line ends as TOML reads them; it may hold secrets.
    """

    def __init__(self, text: str, name: str) -> None:
        self.text = text.replace("\r\n", "\n")
        self.name = name

    def __repr__(self) -> str:
        return f"<Source {self.name}>"

    @cached_property
    def _document(self) -> tomlkit.TOMLDocument:
        return tomlkit.parse(self.text)

    def report(self, problems: Iterable[Problem]) -> tuple[str, ...]:
        """A paragraph for each problem, in the order of the file."""
        placed = [(self.find(problem), problem) for problem in problems]
        placed.sort(key=lambda pair: (pair[0] is None, pair[0] or Place(0, 0)))
        return tuple(self._paragraph(problem, place) for place, problem in placed)

    def syntax(self, message: str, place: Place) -> str:
        """The paragraph for a text that is not TOML. The excerpt ends there: what follows may be a bare secret."""
        before = self._line(place)[: place.column - 1]
        shown = _LONG_WORD.sub(MASK, _masked(before))
        return f"{self.name}:{place.line}:{place.column}: {message}\n{_pointed(shown, len(shown))}"

    def find(self, problem: Problem) -> Place | None:
        """Where a problem is; None when the text cannot be searched."""
        try:
            offset = self._offset(problem.path, problem.spot)
        except (TOMLKitError, LookupError, ValueError, TypeError, AttributeError, RecursionError):
            return None  # the problem is reported all the same, by its path
        before = self.text[:offset]
        return Place(before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1)

    def end(self) -> Place:
        """The place after the last character."""
        lines = self.text.rstrip("\n").split("\n")
        return Place(len(lines), len(lines[-1]) + 1)

    def _line(self, place: Place) -> str:
        return self._shown.split("\n")[place.line - 1]

    @cached_property
    def _shown(self) -> str:
        """The file with texts of several lines starred out from their second line on: no line tells that it is one."""

        def starred(match: re.Match[str]) -> str:
            first, newline, rest = match[0].partition("\n")
            return first + newline + _CHARACTER.sub("*", rest)

        return _TEXT_OR_COMMENT.sub(starred, self.text)

    def _is_header(self, line: str, place: Place) -> bool:
        """Whether a table's header is at this place, and not an array that begins a line of another one."""
        if not line.lstrip().startswith("[") or line[: place.column - 1].strip():
            return False
        before = "\n".join(self.text.split("\n")[: place.line - 1])
        bare = _TEXT_OR_COMMENT.sub("", before)
        return bare.count("[") == bare.count("]")

    def _paragraph(self, problem: Problem, place: Place | None) -> str:
        subject = f"{problem.name}: " if problem.name else ""
        if place is None:
            return f"{self.name}: {subject}{problem.message}"
        header = f"{self.name}:{place.line}:{place.column}: {subject}{problem.message}"
        line, at = self._line(place), place.column - 1
        if self._is_header(line, place):
            return f"{header}\n{_pointed(line.partition('#')[0].rstrip(), at)}"
        left = _masked(line[:at])
        return f"{header}\n{_pointed(left + _masked(line[at:], reveal_first=_shows_value(problem)), len(left))}"

    def _offset(self, path: tuple[Step, ...], spot: Spot) -> int:
        if spot is Spot.TABLE:
            path = path[:-1]
        if not path:
            return 0
        parent: Any = self._document
        for step in path[:-1]:
            parent = parent[step]
        if _has_header(parent[path[-1]]):
            return self._header(parent[path[-1]])
        offset = len(self._before(parent, path[-1]))
        key = _KEY_BEFORE.search(self.text, self.text.rfind("\n", 0, offset) + 1, offset)
        return key.start() if key and spot is Spot.KEY else offset

    def _header(self, table: Any) -> int:
        """Offset of the header line of a table: the last one before its first value."""
        while True:
            if isinstance(table, tomlkit.items.AoT):
                table = table[0]
            first = next(iter(table), None)
            if first is None or not _has_header(table[first]):
                break
            table = table[first]
        before = self._before(table, first)
        headers = list(_HEADER.finditer(before))
        return headers[-1].end() if headers else before.rfind("\n") + 1

    def _before(self, parent: Any, step: Step | None) -> str:
        """The text before a value, as it is written back; with None before the end of a table that is empty."""
        mark = self._mark()
        kept = None if step is None else parent[step]
        parent[mark if step is None else step] = mark
        try:
            return self._document.as_string().partition(f'"{mark}"')[0]
        finally:
            if step is None:
                del parent[mark]
            else:
                parent[step] = kept

    def _mark(self) -> str:
        mark = _MARK
        while mark in self.text:
            mark += "."
        return mark


def _has_header(item: Any) -> bool:
    """Whether it is a table that is written under a header of its own, and not in one line."""
    return isinstance(item, tomlkit.items.AoT | tomlkit.items.Table) or (
        not isinstance(item, tomlkit.items.Item) and hasattr(item, "keys")  # a table written in several places
    )


def _shows_value(problem: Problem) -> bool:
    """Whether the text at the place can be shown: it is the point, and nothing hints that it is a secret."""
    nearest = " ".join([step for step in problem.path if isinstance(step, str)][-2:])
    if nearest == "deadlines headers":  # a duration, whatever its name
        nearest = ""
    return problem.spot is Spot.VALUE and not problem.secret and not _SECRET_KEY.search(nearest)


def _masked(line: str, *, reveal_first: bool = False) -> str:
    """The line with every quoted text masked, save plain references; comments are left out.

    `reveal_first` keeps a text that begins the line.
    """
    line = _STARRED.sub(MASK, line)  # the length of a secret is nobody's business either

    def mask(match: re.Match[str]) -> str:
        text = match[0]
        if match["comment"]:
            return ""
        if _ONLY_REFERENCES.fullmatch(text) or (reveal_first and match.start() == 0 and ":-" not in text):
            return text
        follows = line[match.end() :].lstrip()[:1]
        return text if follows in {"=", "."} and text[0] == text[-1] else f"{text[0]}{MASK}{text[0]}"

    return _TEXT_OR_COMMENT.sub(mask, line)


def _pointed(line: str, at: int) -> str:
    """The line, and a caret under the character at this index."""
    padding = "".join("\t" if character == "\t" else " " for character in line[:at])
    return f"    {line.rstrip()}\n    {padding.ljust(at)}^"
