"""What a person reads when a command fails: one paragraph on stderr, an exit code, never a traceback.

| exit code | meaning |
|---|---|
| 0 | done; for `run`: drained after SIGTERM or Ctrl-C |
| 1 | failed at run time: a port in use, a store that cannot be read, a plugin that broke, no such credential |
| 2 | wrong usage of the command line |
| 3 | the configuration is wrong, cannot be read or found, or names a plugin that cannot be used |
| 130, 143 | ended at once by a second Ctrl-C or SIGTERM, or interrupted before `run` served |
"""

import os
import sys
import traceback
from collections.abc import Callable, Iterator

import click

from turnout.errors import ConfigError, TurnoutError

FAILED, CONFIGURATION, INTERRUPTED = 1, 3, 130

TRACEBACK = "TURNOUT_TRACEBACK"
"""Environment variable that asks for the traceback of an unexpected error; it may hold secrets."""


def exit_code_of(command: Callable[[], object]) -> int:
    """Run a command to its end and give its exit code; tells every failure on stderr."""
    try:
        result = command()
        if sys.stdout is not None:  # it was closed when we started
            sys.stdout.flush()
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.Abort:
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (Exception, KeyboardInterrupt, BaseExceptionGroup) as error:  # noqa: BLE001 # the last border of a process
        return _told(error)
    return result if isinstance(result, int) else 0


def _told(error: BaseException) -> int:
    leaves = list(_leaves(error))
    if any(isinstance(leaf, KeyboardInterrupt) for leaf in leaves):
        return INTERRUPTED
    if any(isinstance(leaf, BrokenPipeError) for leaf in leaves):
        _point_stdout_nowhere()
        return FAILED  # click says the same, quietly
    for kind in (ConfigError, TurnoutError, OSError):
        found = next((leaf for leaf in leaves if isinstance(leaf, kind)), None)
        if found is not None:
            click.echo(f"turnout: {_paragraph(found)}", err=True)
            return CONFIGURATION if kind is ConfigError else FAILED
    click.echo(f"turnout: {_unexpected(leaves[0])}", err=True)
    if os.environ.get(TRACEBACK):
        traceback.print_exception(error)
    return FAILED


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _paragraph(error: BaseException) -> str:
    if isinstance(error, ConfigError):
        count = len(error.problems)
        head = f"{count} problems in the configuration" if count > 1 else "a problem in the configuration"
        return "\n\n".join([head, *error.problems])
    system = _system_error(error)
    if system is None or system is error:
        return str(error) or type(error).__name__
    return f"{error} ({system})"


def _system_error(error: BaseException) -> OSError | None:
    """What the operating system said, anywhere behind an error: an address in use, a file that may not be read."""
    cause: BaseException | None = error
    while cause is not None:
        found = next((leaf for leaf in _leaves(cause) if isinstance(leaf, OSError)), None)
        if found is not None:
            return found
        cause = cause.__cause__
    return None


def _unexpected(error: BaseException) -> str:
    """A bug of ours or of a plugin. Its text is not told: nobody has removed secrets from it."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return f"unexpected {type(error).__name__}{where}; this is a bug, {TRACEBACK}=1 shows the traceback"


def _point_stdout_nowhere() -> None:
    """Or the interpreter would complain about the same pipe when it flushes at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
