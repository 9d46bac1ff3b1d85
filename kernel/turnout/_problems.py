"""What is wrong with a configuration, as values: a path into the tree, a sentence, and what the place should show."""

import enum
from collections.abc import Iterable
from typing import final

import attrs

Step = str | int
"""A key of a table or an index of an array."""


class Spot(enum.Enum):
    """Which characters of the file a problem points at."""

    VALUE = "value"
    """The value at the path."""
    KEY = "key"
    """The key at the end of the path; the value beside it is not the point, so it is masked."""
    TABLE = "table"
    """The table that lacks the key at the end of the path."""


@final
@attrs.frozen
class Problem:
    """One thing that is wrong.

    Attributes:
        path: keys and indexes from the root of the tree.
        message: what is wrong and what to do. Never holds a value of the file or of the environment.
        secret: the value at the path may be a secret, so no excerpt shows it.
    """

    path: tuple[Step, ...]
    message: str
    spot: Spot = Spot.VALUE
    secret: bool = False

    def under(self, *steps: Step) -> "Problem":
        """The same problem, seen from further up the tree."""
        return attrs.evolve(self, path=(*steps, *self.path))

    def follows_from(self, others: Iterable["Problem"]) -> bool:
        """Whether it may be due to one of these alone, at the same place or inside the value that it is about."""
        inside = None if self.spot is not Spot.VALUE else len(self.path)
        return any(self.path == other.path[:inside] for other in others)

    @property
    def name(self) -> str:
        """The path as people write it: `providers.openai.credentials[0].api_key`."""
        parts = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path)
        return "".join(parts).removeprefix(".")


@final
class Misfit(Exception):
    """A tree does not fit: every problem found in it. Who reads a configuration gives it on as ConfigError only."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{problem.name}: {problem.message}" for problem in self.problems))
