"""See whether a function opens files or connections or starts processes (PEP 578)."""

import sys
import threading
from collections.abc import Callable
from typing import Any, Final

WATCHED: Final = frozenset(
    {"open", "os.system", "socket.__new__", "socket.getaddrinfo", "sqlite3.connect", "subprocess.Popen"}
)

_seen: dict[int, set[str]] = {}
_installed: list[bool] = []


def io_of(function: Callable[[], Any]) -> set[str]:
    """Run a function and give the audit events of its I/O. The hook that hears them stays in this process for good."""
    if not _installed:
        sys.addaudithook(_hear)
        _installed.append(True)
    thread = threading.get_ident()
    _seen[thread] = set()
    try:
        function()
        return _seen[thread]
    finally:
        del _seen[thread]


def _hear(event: str, _arguments: Any) -> None:
    if _seen and event in WATCHED and (seen := _seen.get(threading.get_ident())) is not None:
        seen.add(event)
