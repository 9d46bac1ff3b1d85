"""Several commands in one process, one after the other: what a shell would run, without the starts in between.

It reads a JSON list of `[arguments, stdin]`, and writes one of `[exit code, stdout, stderr]`.
"""

import contextlib
import io
import json
import sys
from collections.abc import Sequence

from turnout._cli import main


def run(arguments: Sequence[str], given: str) -> tuple[object, str, str]:
    """One command in this process: its exit code, and what it prints."""
    out, err, stdin = io.StringIO(), io.StringIO(), sys.stdin
    sys.stdin = io.StringIO(given)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main(arguments)
    except SystemExit as ended:
        return ended.code, out.getvalue(), err.getvalue()
    finally:
        sys.stdin = stdin


if __name__ == "__main__":
    print(json.dumps([run(arguments, given) for arguments, given in json.load(sys.stdin)]))
