"""An ordered set of which some members are ready, made to find the next ready one behind a key at once.

Keys stand in sorted blocks of a few hundred; each block has one integer whose bits say who is ready, and one more
integer says which blocks have any. Finding, admitting and benching cost two short bisections and a few operations on
integers of some sixty bytes, at a hundred members and at a hundred thousand; a rebuild never happens.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Final, Generic, TypeVar

T = TypeVar("T")

FULL: Final = 512
"""Members of a block before it is cut in two: measured flat between 256 and 1,024."""


class Ring(Generic[T]):
    """Members by key, in code-point order (C5.5). `ready` counts those that are admitted."""

    __slots__ = ("_bits", "_firsts", "_found", "_full", "_items", "_keys", "_summary", "ready")

    def __init__(self, *, full: int = FULL) -> None:
        self._full = full
        self._firsts: list[str] = []
        self._keys: list[list[str]] = []
        self._items: list[list[T]] = []
        self._bits: list[int] = []
        self._summary = 0
        self._found = (0, 0)  # block and place of the latest answer of `after`
        self.ready = 0

    def __len__(self) -> int:
        return sum(map(len, self._keys))

    def __bool__(self) -> bool:
        return bool(self._keys)

    def add(self, key: str, item: T) -> None:
        """Let a new member in, benched. The key must be new."""
        if not self._keys:
            self._insert_block(0, [key], [item], 0)
            return
        block = self._block(key)
        keys = self._keys[block]
        at = bisect_left(keys, key)
        keys.insert(at, key)
        self._items[block].insert(at, item)
        bits = self._bits[block]
        if bits >> at:
            below = bits & ((1 << at) - 1)
            self._bits[block] = below | (bits ^ below) << 1
        if not at:
            self._firsts[block] = key
        if len(keys) > self._full:
            self._cut(block)

    def discard(self, key: str) -> None:
        """Let a member go. The key must be there."""
        self.bench(key)
        block = self._block(key)
        keys = self._keys[block]
        at = bisect_left(keys, key)
        del keys[at], self._items[block][at]
        bits = self._bits[block]
        below = bits & ((1 << at) - 1)
        self._bits[block] = below | (bits ^ below) >> 1
        if not keys:
            self._delete_block(block)
        elif not at:
            self._firsts[block] = keys[0]

    def admit(self, key: str) -> None:
        """Count this member among the ready ones."""
        block = (bisect_right(self._firsts, key) or 1) - 1
        bit = 1 << bisect_left(self._keys[block], key)
        bits = self._bits[block]
        if not bits & bit:
            self._bits[block] = bits | bit
            self._summary |= 1 << block
            self.ready += 1

    def bench(self, key: str) -> None:
        """Count this member among those that are not ready."""
        block = (bisect_right(self._firsts, key) or 1) - 1
        bit = 1 << bisect_left(self._keys[block], key)
        bits = self._bits[block]
        if bits & bit:
            self._bits[block] = bits = bits ^ bit
            self.ready -= 1
            if not bits:
                self._summary ^= 1 << block

    def after(self, key: str) -> T | None:
        """The first ready member behind `key`, round the end if need be; `key` itself comes last and may be gone.

        None when nobody is ready. The empty key asks for the first ready member of all.
        """
        summary = self._summary
        if not summary:
            return None
        # A rotation asks for what is behind the last answer. Looking there first spares two bisections over keys that
        # have long left the processor's cache: at 100,000 members half the price of a pick.
        block, at = self._found
        if block < len(self._keys) and at < len(self._keys[block]) and self._keys[block][at] == key:
            at += 1
        else:
            block = (bisect_right(self._firsts, key) or 1) - 1
            at = bisect_right(self._keys[block], key)
        bits = self._bits[block] >> at
        if not bits:
            at = 0
            later = summary >> block + 1
            block = block + (later & -later).bit_length() if later else (summary & -summary).bit_length() - 1
            bits = self._bits[block]
        at += (bits & -bits).bit_length() - 1
        self._found = (block, at)
        return self._items[block][at]

    def behind(self, key: str) -> Iterator[T]:
        """Every ready member in the order that `after` begins."""
        if not self._summary:
            return
        block = self._block(key)
        at = bisect_right(self._keys[block], key)
        bits = self._bits
        yield from self._ready(block, bits[block] >> at << at)
        for other in range(block + 1, len(bits)):
            yield from self._ready(other, bits[other])
        for other in range(block):
            yield from self._ready(other, bits[other])
        yield from self._ready(block, bits[block] & ((1 << at) - 1))

    def __iter__(self) -> Iterator[T]:
        """Every ready member in the order of the keys."""
        return self.behind("")

    def _ready(self, block: int, bits: int) -> Iterator[T]:
        items = self._items[block]
        while bits:
            low = bits & -bits
            yield items[low.bit_length() - 1]
            bits ^= low

    def _block(self, key: str) -> int:
        """Where `key` stands or would stand."""
        return (bisect_right(self._firsts, key) or 1) - 1

    def _cut(self, block: int) -> None:
        half = len(self._keys[block]) // 2
        keys, items, bits = self._keys[block][half:], self._items[block][half:], self._bits[block] >> half
        del self._keys[block][half:], self._items[block][half:]
        self._bits[block] &= (1 << half) - 1
        self._insert_block(block + 1, keys, items, bits)

    def _insert_block(self, block: int, keys: list[str], items: list[T], bits: int) -> None:
        self._firsts.insert(block, keys[0])
        self._keys.insert(block, keys)
        self._items.insert(block, items)
        self._bits.insert(block, bits)
        self._summarise()

    def _delete_block(self, block: int) -> None:
        del self._firsts[block], self._keys[block], self._items[block], self._bits[block]
        self._summarise()

    def _summarise(self) -> None:
        self._summary = sum(1 << block for block, bits in enumerate(self._bits) if bits)
