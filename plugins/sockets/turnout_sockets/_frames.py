"""GOAWAY, taken out of what a peer sends over HTTP/2 before h2 sees it, and said without h2. No I/O.

At a GOAWAY h2 takes the whole connection for closed, and whatever comes behind it for an error. What it means (RFC
9113, 6.8) is that no new request is served: those under way are, up to the last one that it names. Servers say so each
time that they are restarted, or when a connection has served enough; clients when they will ask for nothing more.
"""

import struct
from typing import NamedTuple, final

HEADER = 9
"""Bytes in front of each frame: length, type, flags, stream (RFC 9113, 4.1)."""

GOAWAY = 7

LAST_AND_CODE = 8
"""Bytes of a GOAWAY at the least."""

LONGEST = 1 << 14
"""Bytes of one at the most: what every receiver takes unless it has said otherwise, and we do not."""


class Farewell(NamedTuple):
    """What a GOAWAY says.

    Attributes:
        last: the highest number of a stream that is served.
        code: why, 0 where nothing is wrong.
    """

    last: int
    code: int

    def frame(self) -> bytes:
        """The frame that says it. It may stand between any two others, but not within the pieces of one head."""
        return LAST_AND_CODE.to_bytes(3, "big") + bytes([GOAWAY]) + struct.pack(">xIII", 0, self.last, self.code)


@final
class Frames:
    """Reads where frames begin and end, in pieces as they come."""

    __slots__ = ("_held", "_left")

    def __init__(self, *, preface: int = 0) -> None:
        """`preface`: bytes that come before the first frame."""
        self._held = bytearray()
        self._left = preface

    def take(self, data: bytes) -> tuple[bytes, list[Farewell]]:
        """What h2 is to see of these bytes, and the farewells among them."""
        held, passed, said = self._held, bytearray(), list[Farewell]()
        held += data
        while held:
            if not self._left:
                if len(held) < HEADER:
                    break
                size = HEADER + int.from_bytes(held[:3], "big")
                if not _is_farewell(held):
                    self._left = size
                elif len(held) < size:
                    break
                else:
                    said.append(Farewell(_number(held[9:13]), int.from_bytes(held[13:17], "big")))
                    del held[:size]
                    continue
            count = min(self._left, len(held))
            passed += held[:count]
            del held[:count]
            self._left -= count
        return bytes(passed), said


def _is_farewell(head: bytearray) -> bool:
    """Whether a sound GOAWAY begins so; one that is none is for h2 to refuse."""
    size = int.from_bytes(head[:3], "big")
    return head[3] == GOAWAY and not _number(head[5:9]) and LAST_AND_CODE <= size <= LONGEST


def _number(octets: bytearray) -> int:
    """The number of a stream, without the bit in front of it that means nothing."""
    return int.from_bytes(octets, "big") & 0x7FFFFFFF
