"""Mutations of bytes that a client may send (J1)."""

import random
from collections.abc import Sequence


def mutated(seed: bytes, others: Sequence[bytes], draw: random.Random) -> bytes:
    """One of five mutations: cut, flip, insert, repeat, splice."""
    at, width = draw.randrange(len(seed)), draw.randrange(1, 9)
    match draw.randrange(5):
        case 0:
            return seed[:at]
        case 1:
            return seed[:at] + bytes([draw.randrange(256)]) + seed[at + 1 :]
        case 2:
            return seed[:at] + draw.randbytes(width) + seed[at:]
        case 3:
            return seed[:at] + seed[at : at + width] * 5 + seed[at:]
        case _:
            other = draw.choice(others)
            return seed[:at] + other[draw.randrange(len(other)) :]
