"""Where the command line's log goes: lines on stderr, ours at the level asked for, foreign ones only when they warn."""

import logging
import sys
import time
from typing import Final

LEVELS: Final = ("debug", "info", "warning", "error")

_TALKATIVE: Final = ("httpx", "httpcore", "h2", "hpack", "hypercorn", "hypercorn.access", "hypercorn.error")
"""Below WARNING these print URLs and headers, keys included (pitfall X4), whatever the root logger is set to."""


def log_to_stderr(level: str, *, process: int | None = None) -> None:
    """Set up logging of this process; called once. `process` is its number among several."""
    place = "" if process is None else f"[{process}] "
    line = f"%(asctime)sZ %(levelname)s {place}%(name)s: %(message)s"
    formatter = logging.Formatter(line, datefmt="%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("turnout").setLevel(level.upper())
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
