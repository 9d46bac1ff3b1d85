"""The audit file: one line of JSON for each time that secrets were shown, written before they are (acceptance S26)."""

import getpass
import json
import os
import stat
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from turnout.errors import StoreError


def default_audit(environ: os._Environ[str]) -> Path:
    """`turnout/audit.jsonl` in the user's state directory (XDG base directories 0.8)."""
    state = Path(environ.get("XDG_STATE_HOME", ""))
    home = state if state.is_absolute() else Path.home() / ".local" / "state"
    return home / "turnout" / "audit.jsonl"


def note(path: Path, what: str, ids: Sequence[str], now: float) -> None:
    """Append a row, on disk when this returns; the file is made private. Raises StoreError when that cannot be done."""
    row = {
        "at": datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "uid": os.getuid(),
        "user": _user(),
        "what": what,
        "credentials": list(ids),
    }
    try:
        for missing in reversed([one for one in path.parents if not os.path.lexists(one)]):
            missing.mkdir(mode=0o700, exist_ok=True)  # `parents=True` would leave those in between to the umask
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(path, flags | os.O_NONBLOCK, 0o600)  # a pipe without a reader must not hang us
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise StoreError(f"the audit file {path} is no plain file, so nothing is shown")
            os.fchmod(fd, 0o600)
            os.write(fd, json.dumps(row).encode() + b"\n")
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as error:
        raise StoreError(f"the audit file {path} cannot be written, so nothing is shown: {error.strerror}") from error


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in a container
        return ""
