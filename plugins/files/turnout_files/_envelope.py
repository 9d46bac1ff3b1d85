"""A record as the content of a file: one line of JSON that describes it, then its bytes as they are."""

import hashlib
import json
from typing import Final

from turnout import Record
from turnout_seal import is_sealed

PLAIN, SEALED = 1, 2
"""Versions of this layout: the data as it is, or sealed, which the first version of this plugin leaves alone (F-11)."""

FORMAT: Final = SEALED
"""The latest version. A file with a later one is neither read nor overwritten."""


class Damaged(Exception):
    """The content is not a whole record of ours; the text says why and quotes nothing of it."""


class Newer(Exception):
    """The file was written by a later version."""


def pack(record: Record) -> bytes:
    """The content of the file that keeps `record`."""
    head = {
        "format": SEALED if is_sealed(record.data) else PLAIN,
        "kind": record.kind,
        "id": record.id,
        "version": record.version,
        "size": len(record.data),
        "sha256": hashlib.sha256(record.data).hexdigest(),
    }
    return json.dumps(head).encode() + b"\n" + record.data


def unpack(content: bytes) -> Record:
    """The record in the content of a file. Raises Damaged or Newer."""
    line, newline, data = content.partition(b"\n")
    if not newline:
        raise Damaged("it is empty" if not content else "its first line is cut off")
    try:
        head = json.loads(line)
    except (ValueError, RecursionError):
        raise Damaged("its first line is not JSON") from None
    if not isinstance(head, dict) or type(head.get("format")) is not int:
        raise Damaged("its first line names no format")
    if head["format"] > FORMAT:
        raise Newer(f"it has format {head['format']}, this version knows {FORMAT}")
    kind, id, version = head.get("kind"), head.get("id"), head.get("version")
    if not isinstance(kind, str) or not isinstance(id, str) or type(version) is not int or version < 1:
        raise Damaged("its first line lacks kind, id or version")
    if head.get("size") != len(data):
        raise Damaged(f"it should hold {head.get('size')} bytes and holds {len(data)}")
    if head.get("sha256") != hashlib.sha256(data).hexdigest():
        raise Damaged("its checksum does not match")
    return Record(kind=kind, id=id, data=data, version=version)
