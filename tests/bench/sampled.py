"""`turnout run`, with its stack sampled: whose code is it that the CPU time goes to?

    python tests/bench/sampled.py RESULT CONFIG

The kernel's timer of CPU time interrupts the process; each sample counts for the package of ours that is innermost on
the stack, so a library's time is charged to the part of the house that called it. Trio's loop is what no task does.
Sampling keeps the relations between the parts; a profiler makes each Python call several times as dear. It begins at
SIGUSR1, so that the start is no part of it. The result is written at SIGTERM, as JSON, and the dearest functions to
the standard error.
"""

import json
import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

from turnout._cli import main

INTERVAL = 0.001
PARTS = {
    "turnout": "kernel",
    "turnout_http": "http",
    "turnout_openai": "provider openai",
    "turnout_wire": "wire",
    "turnout_transport": "transport",
    "turnout_selectors": "selector",
    "turnout_sqlite": "store",
}
SERVER = ("_llhttp", "_hypercorn", "_server")

shares: Counter[str] = Counter()
lines: Counter[str] = Counter()


def part_of(frame: FrameType | None) -> str:
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        package, _, module = name.partition(".")
        if package in PARTS:
            if package == "turnout_http":
                return "http: server" if module.startswith(SERVER) else "http: app"
            return PARTS[package]
        if frame.f_code.co_name == "unrolled_run":
            return "trio's loop"
        frame = frame.f_back
    return "nobody's"


def sample(_number: int, frame: FrameType | None) -> None:
    shares[part_of(frame)] += 1
    if frame is not None:
        lines[f"{frame.f_globals.get('__name__')}:{frame.f_code.co_qualname}"] += 1


def begin(_number: int, _frame: FrameType | None) -> None:
    signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)


def run(result: Path, config: str) -> None:
    signal.signal(signal.SIGPROF, sample)
    signal.signal(signal.SIGUSR1, begin)
    try:
        main(["run", config])
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        result.write_text(json.dumps(dict(shares)), encoding="ascii")
        for line, count in lines.most_common(40):
            print(f"{100 * count / lines.total():5.1f} %  {line}", file=sys.stderr)


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2])
