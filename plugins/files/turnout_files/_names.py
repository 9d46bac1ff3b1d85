"""File names: made from record ids so that no id can leave the directory, hide in it, or take another's place (S25)."""

import hashlib
import re
from typing import Final

PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""Ids that are their own file names (S25)."""

KIND: Final = re.compile(r"[a-z]{1,16}")

SEAL: Final = "seal.json"
"""The seal header of the directory; no record's name."""

TURNS: Final = "turns"
"""The file whose lock keeps two processes from writing at once; no record's name."""

RECORD: Final = re.compile(r"[A-Za-z0-9%][^/]*\.[a-z]{1,16}\.jsonl")
"""Names of our own files; everything else in the directory is left alone."""

DROPPED: Final = re.compile(rf"(?!{re.escape(SEAL)})({PLAIN.pattern})\.json")
"""Names of files that people put there to be sealed: the credential's id comes first."""

LONGEST: Final = 200
"""Bytes of an escaped id: with kind and ending it stays below the 255 of every file system we know."""

_SAFE: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


def is_ours(name: str) -> bool:
    """Whether such a file was written by us, sound or set aside."""
    return name in {SEAL, TURNS} or RECORD.match(name) is not None


def is_followed(name: str) -> bool:
    """Whether it matters to us when somebody else writes such a file."""
    return RECORD.fullmatch(name) is not None or DROPPED.fullmatch(name) is not None


def file_name(kind: str, id: str) -> str:
    """The name of the file that keeps this record; distinct for distinct records. Raises ValueError.

    Plain ids stay readable. In others every byte but letters, digits, `_` and `-` is written `%xx`, which no plain id
    holds; ids that would become too long give `%%` and their SHA-256. The id itself is inside the file as well.
    """
    if not KIND.fullmatch(kind):
        raise ValueError(f"kind {kind!r} of a record must be 1 to 16 lower-case letters")
    if not id:
        raise ValueError("a record needs an id")
    return f"{_escaped(id)}.{kind}.jsonl"


def _escaped(id: str) -> str:
    if PLAIN.fullmatch(id):
        return id
    raw = id.encode("utf-8", "surrogatepass")
    text = "%" + "".join(chr(byte) if byte in _SAFE else f"%{byte:02x}" for byte in raw)
    return text if len(text) <= LONGEST else "%%" + hashlib.sha256(raw).hexdigest()
