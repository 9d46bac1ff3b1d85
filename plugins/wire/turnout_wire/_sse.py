"""Server-sent events as bytes: split a stream into blocks, and read what one block says.

The grammar is that of the HTML standard, section 9.2.5 (read 2026-11-23): lines end with LF, CRLF or CR and with
nothing else, whatever Unicode thinks (pitfall X3); a blank line ends an event. Blocks keep their exact bytes, so
joining them gives the stream back: pass-through is byte-exact (J4).
"""

import re
from typing import NamedTuple

LINE_LIMIT = 1 << 20
"""Bytes in one line (acceptance 4)."""

EVENT_LIMIT = 4 << 20
"""Bytes in one event (acceptance 4)."""

IMAGE_LIMIT = 32 << 20
"""Bytes in one event that holds an image, mostly in one line: 24 MiB as base64, more than a PNG of 4096 x 4096 has."""

_BOM = b"\xef\xbb\xbf"
_LINE_END = re.compile(rb"\r\n|\n|\r")
_BLANK = re.compile(rb"\n(?:\r\n?|\n)|\r(?:\n(?:\r\n?|\n)|\r\n?)")
"""Two line ends, not the halves of one CRLF. An atomic `\\r\\n|\\n|\\r` twice takes three times as long."""

_LONGEST_BLANK = 4


class EventTooLarge(ValueError):
    """A line or an event of the stream is beyond its limit; the stream cannot be read on."""


class Event(NamedTuple):
    """One server-sent event.

    Attributes:
        data: its `data` lines, joined by LF.
        name: its `event` field, empty when it has none.
    """

    data: bytes
    name: bytes = b""


class BlockReader:
    """Splits a stream into blocks: one event, comment or run of blank lines each, with the line ends that close it.

    Bytes that do not end a block yet are held, up to the limits. A CR ends a line at once, so the LF of a CRLF may come
    after its event: it is a block of its own then, and no one waits for it.

    Attributes:
        half: the last block ended with a CR behind an LF, most likely half of a CRLF, and nothing has come since.
    """

    __slots__ = ("_event_limit", "_held", "_image", "_line_limit", "half")

    def __init__(self, *, line_limit: int = LINE_LIMIT, event_limit: int = EVENT_LIMIT, image: bytes = b"") -> None:
        """Keep the limits.

        Args:
            line_limit: bytes in one line.
            event_limit: bytes in one event.
            image: what stands in every event that holds an image, which has `IMAGE_LIMIT` instead; empty for none.
        """
        self._held = bytearray()
        self._line_limit = line_limit
        self._event_limit = event_limit
        self._image = image
        self.half = False

    @classmethod
    def measured(cls) -> "BlockReader":
        """One for chunks of a provider, which has kept the limits already."""
        return cls(line_limit=IMAGE_LIMIT, event_limit=IMAGE_LIMIT)

    @property
    def held(self) -> bytes:
        """What came after the last complete block."""
        return bytes(self._held)

    @property
    def holds(self) -> bool:
        """Whether a block has begun and not ended."""
        return bool(self._held)

    def feed(self, data: bytes) -> list[bytes]:
        """The blocks that these bytes complete, in order. Raises EventTooLarge."""
        if not self._held:
            if b"\r" not in data and data.endswith(b"\n\n") and len(data) <= self._line_limit:
                self.half = False
                return _split(data)
            whole: bytes | bytearray = data
            known = 0
        else:
            known = max(0, len(self._held) - _LONGEST_BLANK + 1)
            self._held += data
            whole = self._held
        return self._cut(whole, known)

    def _cut(self, whole: bytes | bytearray, known: int) -> list[bytes]:
        """Cut off the complete blocks; no blank line begins before `known`."""
        blocks: list[bytes] = []
        start = 0
        if self.half and whole[:1] == b"\n":
            blocks.append(b"\n")
            start = known = 1
        if len(whole) > LINE_LIMIT:  # of a long line the pattern takes a hundred times as long as `find`
            ends = [end for end in (whole.find(b"\n", known), whole.find(b"\r", known)) if end >= 0]
            known = min(ends, default=len(whole))
        for blank in _BLANK.finditer(whole, known):
            blocks.append(bytes(whole[start : blank.end()]))
            start = blank.end()
        self._held = bytearray(whole[start:]) if start or whole is not self._held else self._held
        if whole:
            self.half = not self._held and blocks[-1].endswith(b"\n\r")
        for block in blocks:
            if len(block) > self._line_limit:
                self._check(block)
        if len(self._held) > self._line_limit:
            self._check(self._held)
        return blocks

    def _check(self, block: bytes | bytearray) -> None:
        if self._image and self._image in block:
            if len(block) > IMAGE_LIMIT:
                raise EventTooLarge(f"an event with an image is longer than {IMAGE_LIMIT} bytes")
            return
        if len(block) > self._event_limit:
            raise EventTooLarge(f"an event is longer than {self._event_limit} bytes")
        if block is self._held:
            longest = len(block) - 1 - max(block.rfind(b"\n"), block.rfind(b"\r"))
        else:
            longest = max(map(len, _LINE_END.split(block)))
        if longest > self._line_limit:
            raise EventTooLarge(f"a line is longer than {self._line_limit} bytes")


def _split(data: bytes) -> list[bytes]:
    """Blocks of bytes that hold no CR and end with a blank line."""
    if data.find(b"\n\n") == len(data) - 2:
        return [data]
    return [block + b"\n\n" for block in data[:-2].split(b"\n\n")]


def read_event(block: bytes, *, first: bool = False) -> Event | None:
    """The event that a block holds; None when it has no data: comments, blank lines, lone fields.

    `first`: the block begins the stream, where a byte order mark is allowed.
    """
    if block.startswith(b"data: ") and block.find(b"\n") == len(block) - 2 and b"\r" not in block:
        return Event(block[6:-2])
    if block.startswith(b"data: ") and block.endswith(b"\r\n\r\n"):  # as Gemini's come
        if block.find(b"\r") == len(block) - 4 and block.find(b"\n") == len(block) - 3:
            return Event(block[6:-4])
    elif block.startswith(b"event: ") and block.endswith(b"\n\n") and b"\r" not in block:
        # As OpenAI's responses and Anthropic's messages come: a third of what splitting into lines takes
        name, _, data = block[7:-2].partition(b"\ndata: ")
        if data and b"\n" not in name and b"\n" not in data:
            return Event(data, name)
    return _read_lines(block.removeprefix(_BOM) if first else block)


def _read_lines(block: bytes) -> Event | None:
    name = b""
    data: list[bytes] = []
    for line in _LINE_END.split(block):
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ")
    return Event(b"\n".join(data), name) if data else None
