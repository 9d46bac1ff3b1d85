"""TLS records, one at a time, so that nothing which follows a reply can hide where a pool does not see it.

`trio.SSLStream` hands OpenSSL whatever one read of the socket gave. Bytes that came in the same flight as the end of a
reply would wait inside OpenSSL, and be taken for the answer to the next request on that connection. Fed with single
records, OpenSSL holds none that has not been read, and what is left over lies here, in sight.
"""

import trio

from turnout_transport._sockets import READ_SIZE

HEADER = 5
"""Bytes in front of each record: type, version, length (RFC 8446, 5.1)."""

TYPES = range(20, 25)


class RecordStream(trio.abc.Stream):
    """A stream of ciphertext that never gives bytes of two records at once. What is no TLS passes as it comes."""

    def __init__(self, below: trio.abc.Stream) -> None:
        self._below = below
        self._held = bytearray()
        self._left = 0

    @property
    def holds_more(self) -> bool:
        """Whether bytes have arrived that OpenSSL has not been given."""
        return bool(self._held)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait for bytes of one record; empty at the end."""
        while not self._left:
            if len(self._held) >= HEADER:
                self._left = _size(self._held)
            elif not await self._fill():
                self._left = len(self._held)
                break
        if self._left and not self._held:
            await self._fill()
        count = min(self._left, len(self._held), max_bytes or READ_SIZE)
        data = bytes(self._held[:count])
        del self._held[:count]
        self._left -= count
        return data

    async def _fill(self) -> bool:
        data = await self._below.receive_some(READ_SIZE)
        self._held += data
        return bool(data)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send as the stream below does."""
        await self._below.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait as the stream below does."""
        await self._below.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close the stream below."""
        await self._below.aclose()


def _size(held: bytearray) -> int:
    """Bytes of the record that begins here, its header included; everything when this is no TLS record."""
    if held[0] not in TYPES or held[1] != 3:
        return len(held)
    return HEADER + int.from_bytes(held[3:5], "big")
