"""Names of the keys that the store uses; what an id says never becomes part of one (S24)."""

import hashlib
from typing import final

import attrs


@final
@attrs.frozen
class Keys:
    """The keys of one store."""

    prefix: str

    @property
    def about(self) -> str:
        """A hash: the seal header."""
        return f"{self.prefix}:about"

    @property
    def changes(self) -> str:
        """A sorted set: digests of records by the sequence number of their last change."""
        return f"{self.prefix}:changes"

    @property
    def seq(self) -> str:
        """The last sequence number."""
        return f"{self.prefix}:seq"

    @property
    def news(self) -> str:
        """The channel that wakes those who watch."""
        return f"{self.prefix}:news"

    @property
    def aside(self) -> str:
        """A hash: secrets that could not be unsealed, as they were found."""
        return f"{self.prefix}:aside"

    def record(self, digest: str) -> str:
        """A hash: one record."""
        return f"{self.prefix}:record:{digest}"

    def lease(self, id: str) -> str:
        """A hash: the lease of one credential."""
        return f"{self.prefix}:lease:{digest_of('lease', id)}"

    def allotments(self, name: str) -> str:
        """A hash: who holds how much of one limit."""
        return f"{self.prefix}:allot:{digest_of('allot', name)}"


def digest_of(kind: str, id: str) -> str:
    """What stands for a record in keys."""
    return hashlib.sha256(f"{kind}\0{id}".encode("utf-8", "surrogatepass")).hexdigest()


def raw(id: str) -> bytes:
    """An id as the server keeps it: any text, lone surrogates included."""
    return id.encode("utf-8", "surrogatepass")


def text(id: bytes) -> str:
    """The id that `raw` wrote."""
    return id.decode("utf-8", "surrogatepass")
