"""Turns as vendors want them that insist on alternation."""

from collections.abc import Iterable

from turnout_dialects._form import Part, Turn


def joined(turns: Iterable[Turn]) -> list[Turn]:
    """Turns of one side that follow each other become one: results of parallel calls belong into one turn."""
    made: list[tuple[str, list[Part]]] = []
    for turn in turns:
        if made and made[-1][0] == turn.role:
            made[-1][1].extend(turn.parts)
        else:
            made.append((turn.role, list(turn.parts)))
    return [Turn(role, tuple(parts)) for role, parts in made]
