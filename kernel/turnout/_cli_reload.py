"""Another configuration for a gateway that runs: on SIGHUP, and when a file that it comes from changes (design 11)."""

import os
import signal
import stat
import time
from collections.abc import Sequence
from logging import getLogger
from pathlib import Path
from typing import Final, NoReturn

import trio

from turnout._config import Config
from turnout._examine import examine
from turnout._kernel import Kernel
from turnout._plugins import Plugins
from turnout.errors import ConfigError, TurnoutError

LOOK: Final = 2.0
"""Seconds between two looks at the files. Polling sees what editors and mounts do by renaming, without a library."""

SETTLED, PATIENCE = 0.25, 20
"""Seconds for which nothing may change before the files are read: half a file may be a sound one with less in it.

After so many looks they are read all the same: something that is written without end must not keep an operator out.
"""

GRAIN: Final = 50_000_000
"""Nanoseconds by which a file's time may lag behind the clock: kernels stamp files at their tick, 1 to 10 ms."""

Stamp = tuple[int, int, int] | None

log = getLogger("turnout.run")


class Hangups:
    """SIGHUP as something to wait for. It is caught from start to end, so that none of them ends the process."""

    def __init__(self) -> None:
        self._asked = trio.Event()

    async def watch(self, *, task_status: "trio.TaskStatus[None]") -> None:
        """Hear signals until cancelled."""
        with trio.open_signal_receiver(signal.SIGHUP) as signals:
            task_status.started()
            async for _ in signals:
                self.ask()

    def ask(self) -> None:
        """As if one had come: a supervisor passes them on."""
        self._asked.set()

    async def wait(self) -> None:
        """Wait for the next one; several that came meanwhile count as one."""
        await self._asked.wait()
        self._asked = trio.Event()


def read(path: Path, plugins: Plugins) -> tuple[Config, list[Stamp]]:
    """The configuration in a file, and the stamps of its files as they were read. Waits for the disk; ConfigError.

    A file that changed while it was read, or just before, gets no stamp: it will be looked at again.
    """
    began = time.time_ns() - GRAIN
    config = examine(path, os.environ, plugins)
    found = (_stamp(file) for file in config.files)
    return config, [None if stamp is None or stamp[0] >= began else stamp for stamp in found]


async def follow(kernel: Kernel, config: Config, seen: list[Stamp], hangups: Hangups, plugins: Plugins) -> NoReturn:
    """Keep the kernel on what the files of `config` say, until cancelled; what cannot be used is logged."""
    while True:
        with trio.move_on_after(LOOK) as pause:
            await hangups.wait()
        now = await _stamps(config.files)
        if pause.cancelled_caught and now == seen:
            continue
        seen = await _settled(config.files)
        try:
            new, stamps = await trio.to_thread.run_sync(read, Path(config.source), plugins)
            if new == config:
                log.info("%s says the same as before", config.source)
            else:
                await kernel.reload(new)
            config, seen = new, stamps
        except TurnoutError as error:
            _tell(error)


def _tell(error: TurnoutError) -> None:
    problems = error.problems if isinstance(error, ConfigError) else (str(error),)
    log.error("the new configuration is not used, the one in force stays: %s", "\n\n".join(problems))


async def _settled(files: Sequence[Path]) -> list[Stamp]:
    """The stamps once nobody is writing any more."""
    now = await _stamps(files)
    for _ in range(PATIENCE):
        before = now
        await trio.sleep(SETTLED)
        now = await _stamps(files)
        if now == before:
            break
    return now


async def _stamps(files: Sequence[Path]) -> list[Stamp]:
    return await trio.to_thread.run_sync(lambda: [_stamp(file) for file in files])


def _stamp(file: Path) -> Stamp:
    """What tells that a file has changed; None when it cannot be looked at, and for a pipe, which is read but once."""
    try:
        found = file.stat()
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
