"""Several commands in one process, one after the other: what a shell would run, without the starts in between.

It reads a JSON list of `[arguments, stdin]`, and writes one of `[exit code, stdout, stderr]`.
"""

import contextlib
import io
import json
import sys

from turnout._cli import main


def run(arguments: list[str], given: str) -> tuple[object, str, str]:
    out, err = io.StringIO(), io.StringIO()
    sys.stdin = io.StringIO(given)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(arguments)
        except SystemExit as ended:
            return ended.code, out.getvalue(), err.getvalue()


if __name__ == "__main__":
    print(json.dumps([run(arguments, given) for arguments, given in json.load(sys.stdin)]))
