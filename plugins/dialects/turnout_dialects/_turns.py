"""Turns and parts brought into the order that the form has."""

from collections.abc import Iterable

from turnout_dialects._form import Part, Reasoning, Turn


def joined(turns: Iterable[Turn]) -> list[Turn]:
    """Turns of one side that follow each other become one: results of parallel calls belong into one turn."""
    made: list[tuple[str, list[Part]]] = []
    for turn in turns:
        if made and made[-1][0] == turn.role:
            made[-1][1].extend(turn.parts)
        else:
            made.append((turn.role, list(turn.parts)))
    return [Turn(role, tuple(parts)) for role, parts in made]


def with_signatures(parts: Iterable[Part]) -> tuple[Part, ...]:
    """A signature that follows a thought without one belongs to it."""
    made: list[Part] = []
    for part in parts:
        before = made[-1] if made else None
        if isinstance(part, Reasoning) and isinstance(before, Reasoning) and before.signature is None:
            made[-1] = Reasoning(before.text + part.text, part.signature)
        else:
            made.append(part)
    return tuple(made)
