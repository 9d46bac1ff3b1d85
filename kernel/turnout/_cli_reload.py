"""Another configuration for a gateway that runs: on SIGHUP, and when a file that it comes from changes (design 11)."""

import os
import signal
from collections.abc import Sequence
from logging import getLogger
from pathlib import Path
from typing import Final, NoReturn

import trio

from turnout._config import Config, load_config
from turnout._kernel import Kernel
from turnout.errors import ConfigError, TurnoutError

LOOK: Final = 2.0
"""Seconds between two looks at the files. Polling sees what editors and mounts do by renaming, without a library."""

SETTLED: Final = 0.25
"""Seconds for which nothing may change before the files are read: half a file may be a sound one with less in it."""

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
                self._asked.set()

    async def wait(self) -> None:
        """Wait for the next one; several that came meanwhile count as one."""
        await self._asked.wait()
        self._asked = trio.Event()


async def follow(kernel: Kernel, config: Config, hangups: Hangups) -> NoReturn:
    """Keep the kernel on what the files of `config` say, until cancelled; what cannot be used is logged."""
    seen = await _stamps(config.files)
    while True:
        with trio.move_on_after(LOOK) as pause:
            await hangups.wait()
        now = await _stamps(config.files)
        if pause.cancelled_caught and now == seen:
            continue
        seen = await _settled(config.files)
        before, config = config, await _reloaded(kernel, config)
        if config.files != before.files:
            seen = await _stamps(config.files)


async def _reloaded(kernel: Kernel, config: Config) -> Config:
    """The configuration in force after another look at the file."""
    try:
        new = await trio.to_thread.run_sync(load_config, Path(config.source), os.environ)
        if new == config:
            log.info("%s says the same as before", config.source)
            return config
        await kernel.reload(new)
    except TurnoutError as error:
        problems = error.problems if isinstance(error, ConfigError) else (str(error),)
        log.error(  # noqa: TRY400 # the problems are the message; where they were raised says nothing
            "the new configuration is not used, the one in force stays: %s", "\n\n".join(problems)
        )
        return config
    return new


async def _settled(files: Sequence[Path]) -> list[Stamp]:
    """The stamps once nobody is writing any more."""
    before = await _stamps(files)
    while True:
        await trio.sleep(SETTLED)
        now = await _stamps(files)
        if now == before:
            return now
        before = now


async def _stamps(files: Sequence[Path]) -> list[Stamp]:
    return await trio.to_thread.run_sync(lambda: [_stamp(file) for file in files])


def _stamp(file: Path) -> Stamp:
    """What tells that a file has changed; None when it cannot be looked at."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
