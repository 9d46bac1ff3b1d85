"""What the benchmarks said before: a line of ratios for each commit that was measured, and a table of them (I7).

    python tests/bench/gateway.py --trend              measure, and add a line
    python tests/bench/trend.py                        show the lines that there are, oldest first

Only ratios are kept, and KiB of an idle stream: microseconds of two machines, or of two days, cannot be compared.
"""

import json
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

FILE = Path(__file__).with_suffix(".jsonl")

Result = Mapping[str, Sequence[Mapping[str, object]]]
"""What `gateway.py --json` writes."""


def figures(result: Result) -> Iterator[tuple[str, float]]:
    """Turnout's figures out of a result, each with its name."""
    for row in result.get("cpu", ()):
        if row["side"] == "turnout" and "ratio" in row:
            yield f"CPU, {row['case']}, {row['clients']} clients", float(str(row["ratio"]))
    for row in result.get("latency", ()):
        if row["side"] == "turnout":
            rate = "half the core" if float(str(row["calls_per_s"])) > 50 else "50 calls/s"
            for part in ("p50", "p99"):
                yield f"{part}, {row['case']}, {rate}", float(str(row[f"{part}_ratio"]))
    for row in result.get("memory", ()):
        if row["side"] == "turnout":
            yield "KiB, idle stream", float(str(row["idle_stream_kib"]))


def add(result: Result, file: Path = FILE) -> None:
    """Add a line for the commit that is checked out."""
    asked = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    commit = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    line = {"date": time.strftime("%Y-%m-%d", time.gmtime()), "commit": commit}
    kept = {name: round(value, 2) for name, value in figures(result)}
    with file.open("a", encoding="utf-8") as out:
        out.write(json.dumps(line | kept) + "\n")


def show(lines: Sequence[Mapping[str, object]]) -> Iterator[str]:
    """A row for each figure, a column for each line."""
    names = list(dict.fromkeys(name for line in lines for name in line if name not in {"date", "commit"}))
    for name in ("date", "commit", *names):
        yield f"{name:44}" + "".join(f"{line.get(name, '-')!s:>16}" for line in lines)


def main() -> None:
    lines = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()] if FILE.exists() else []
    print("\n".join(show(lines)) if lines else f"nothing has been measured yet: {FILE.name} is not there")


if __name__ == "__main__":
    main()
