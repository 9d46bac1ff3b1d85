"""Where the command line's log goes: lines on stderr, ours at the level asked for, foreign ones only when they warn."""

import logging
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple, final

LEVELS: Final = ("debug", "info", "warning", "error")

_TALKATIVE: Final = ("httpx", "httpcore", "h2", "hpack", "hypercorn", "hypercorn.access", "hypercorn.error")
"""Below WARNING these print URLs and headers, keys included (pitfall X4), whatever the root logger is set to."""

BURST: Final = 60
PER_SECOND: Final = 2.0
"""Lines of one kind that come through at once, and how many a second after that: some 30 KiB a minute (I9)."""

KINDS: Final = 256
"""Kinds that are told apart. They are texts of code, so there are no more, unless a plugin formats its own."""


class _Kind(NamedTuple):
    allowed: float
    at: float
    left_out: int


@final
class Flood(logging.Filter):
    """Keeps a line that every call writes, while an upstream is down, from filling the disk (I9).

    Lines of one kind have their logger and their text in common, but for what is filled in. The first after some were
    left out says how many. What is shown for debugging is shown in full.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now = now
        self._kinds: OrderedDict[tuple[str, str], _Kind] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this line comes through; gives the record its `left_out` and `call`."""
        request = getattr(record, "request_id", "")
        record.call = f" (call {request})" if request else ""
        record.left_out = ""
        if record.levelno <= logging.DEBUG:
            return True
        kind = record.name, str(record.msg)
        now = self._now()
        known = self._kinds.pop(kind, _Kind(BURST, now, 0))
        allowed = min(float(BURST), known.allowed + (now - known.at) * PER_SECOND)
        shown = allowed >= 1
        if shown and known.left_out:
            record.left_out = f" ({known.left_out} more like it were left out)"
        self._kinds[kind] = _Kind(allowed - 1, now, 0) if shown else _Kind(allowed, now, known.left_out + 1)
        if len(self._kinds) > KINDS:
            self._kinds.popitem(last=False)
        return shown


@final
class Lines(logging.Formatter):
    """Writes a record so that no text in it can pass for another record (S51).

    A record begins at the margin with its time, and nothing else does: the lines that follow its first one are set in.
    Model names come from clients and reasons from upstreams; what does not print in them is written as an escape.
    """

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        """The lines of one record, its traceback included."""
        return "\n    ".join(map(_visible, super().format(record).split("\n")))


def _visible(line: str) -> str:
    if line.isprintable():
        return line
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in line)


def log_to_stderr(level: str, *, process: int | None = None) -> None:
    """Set up logging of this process; called once. `process` is its number among several."""
    place = "" if process is None else f"[{process}] "
    line = f"%(asctime)sZ %(levelname)s {place}%(name)s: %(message)s%(call)s%(left_out)s"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines(line, datefmt="%Y-%m-%dT%H:%M:%S"))
    handler.addFilter(Flood())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("turnout").setLevel(level.upper())
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
