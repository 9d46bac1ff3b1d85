"""The files store with many credentials (F-9): milliseconds of a save, seconds of a start, memory of what is listed.

python tests/bench/files.py [CREDENTIALS]
"""

import logging
import resource
import sys
import tempfile
import time
from pathlib import Path

from turnout_files._archive import Archive

LOG = logging.getLogger("bench")
RECORD = b"x" * 700


def main(credentials: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "credentials"
        archive = Archive(place, LOG)
        took = []
        for number in range(credentials):
            for kind in ("secret", "state"):
                began = time.perf_counter()
                archive.save(kind, f"c{number}", RECORD, None, 0.0)
                took.append(time.perf_counter() - began)
        archive.close()
        took.sort()
        print(f"save: p50 {took[len(took) // 2] * 1e3:.2f} ms, p99 {took[len(took) * 99 // 100] * 1e3:.2f} ms (20)")

        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began = time.perf_counter()
        archive = Archive(place, LOG)
        records = archive.list(0.0)
        seconds = time.perf_counter() - began
        archive.close()
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / credentials
        print(f"start: {len(records)} records in {seconds:.2f} s (5), {grown:.1f} KiB a credential (10)")


main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
