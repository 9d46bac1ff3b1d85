"""`turnout run --processes N`: start so many processes behind one address, keep their number, drain them together.

The supervisor binds the addresses once and hands the sockets down. Every process accepts from the same queue, so one
that dies takes its own calls with it and no other client's (SO_REUSEPORT would give each a queue of its own, which is
reset with it, and port 0 would mean another port for each). Processes are started anew, not forked: no Trio run may
be copied into a child.
"""

import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from logging import ERROR, INFO, getLogger
from signal import Signals
from subprocess import DEVNULL
from typing import Any, Final, final

import click
import trio

from turnout._cli_listening import Sockets
from turnout._cli_reload import Hangups
from turnout._cli_stop import LAST_LIMIT, Stop
from turnout._line import Line, Message
from turnout._membership import Handed
from turnout._respawn import FAILED, End, GiveUp, House, next_step

END_LIMIT: Final = LAST_LIMIT + 0.2
"""Seconds that processes get once they are told to end: each ends itself within `LAST_LIMIT`. Then they are killed."""

TICK: Final = 1.0
SILENCE: Final = 30
"""Seconds of ours without a sign of life after which a process that serves is killed: its loop stands still, so it
serves nobody, and holds on to the connections that it has accepted. They are counted one by one, each while we were
awake: who was stopped together with all processes finds nobody silent."""

log = getLogger("turnout.run")

Command = Callable[[Handed], Sequence[str]]


def own_command(arguments: Sequence[str]) -> Command:
    """The command line of one process: this interpreter, `turnout run` with these arguments."""
    return lambda handed: [sys.executable, "-P", "-m", "turnout", "run", "--handed", handed.as_argument(), *arguments]


async def supervise(sockets: Sockets, count: int, command: Command) -> int:
    """Run so many processes until told to stop, and give the exit code."""
    async with trio.open_nursery() as nursery:
        stop, hangups = Stop(END_LIMIT), Hangups()
        stop.scope = nursery.cancel_scope
        await nursery.start(stop.watch)
        await nursery.start(hangups.watch)
        processes = Processes(sockets, count, command, stop)
        nursery.start_soon(processes.drain_when_asked)
        nursery.start_soon(processes.reload_when_asked, hangups)
        for number in range(1, count + 1):
            nursery.start_soon(processes.keep, number)
        await processes.over.wait()
        nursery.cancel_scope.cancel()
    return stop.exit_code or processes.exit_code


@final
class Process:
    """One process while it runs."""

    def __init__(self, process: trio.Process, line: Line) -> None:
        self.child = process
        self.line = line
        self.serves_since: float | None = None

    @property
    def serving(self) -> float | None:
        """Seconds for which it has served, None when it does not yet."""
        return None if self.serves_since is None else trio.current_time() - self.serves_since

    async def hear(self) -> Message | None:
        """The next message; None when it is gone, or was killed because nothing is heard of it any more."""
        silent = 0
        while self.serves_since is None or silent < SILENCE:
            with trio.move_on_after(TICK):
                return await self.line.hear()
            silent += 1
        log.error("the process with the id %d has shown no life for %d s and is killed", self.child.pid, SILENCE)
        self.child.kill()
        return None

    async def end(self, code: int) -> None:
        """End it within `END_LIMIT`, by force if need be, and wait for that."""
        with trio.move_on_after(END_LIMIT, shield=True):
            await self.line.say({"order": "end", "code": code})
            await self.child.wait()
        if self.child.returncode is None:
            log.error("the process with the id %d did not end within %g s and is killed", self.child.pid, END_LIMIT)
            self.child.kill()
            with trio.move_on_after(1, shield=True):
                await self.child.wait()


@final
class Processes:
    """All of them, by number.

    Attributes:
        over: set when none is left, or when none shall be.
        exit_code: of the whole; 0 when every process drained well.
    """

    def __init__(self, sockets: Sockets, count: int, command: Command, stop: Stop) -> None:
        self.over = trio.Event()
        self.exit_code = 0
        self._sockets = sockets
        self._left = count
        self._command = command
        self._stop = stop
        self._starting = trio.Lock()
        """Held while a process inherits the sockets, and while they are closed."""
        self._running: dict[int, Process] = {}
        self._reported: dict[int, Mapping[str, Sequence[str]]] = {}
        self._count = count

    async def drain_when_asked(self) -> None:
        """Once told to stop: take no more connections, and have every process drain.

        One that does not serve yet cannot hear of it, and holds the sockets open: clients would wait there for nobody.
        """
        await self._stop.asked.wait()
        async with self._starting:
            for sockets in self._sockets.values():
                for sock in sockets:
                    sock.close()
        for process in self._running.values():
            if process.serves_since is None:
                process.child.terminate()
        await self._order({"order": "drain"})

    async def reload_when_asked(self, hangups: Hangups) -> None:
        """Pass on each SIGHUP, until cancelled."""
        while True:
            await hangups.wait()
            await self._order({"order": "reload"})

    async def keep(self, number: int) -> None:
        """See to it that a process of this number runs, until all shall end."""
        early = 0
        while not self._stop.asked.is_set():
            end = await self._run(number)
            if end is None:
                break
            step = next_step(end, early, self._house(number))
            if step is None:
                if end.failed:
                    self._fail(f"process {number} {_told(end.code)} while it drained", FAILED)
                break
            if isinstance(step, GiveUp):
                self._fail(f"process {number} {_told(end.code)}: everything ends", step.code)
                self.over.set()
                break
            early = step.early
            soon = f"in {step.pause:g} s" if step.pause else "at once"
            level = ERROR if end.code else INFO  # one that was told to drain, by whoever rolls them one by one
            log.log(level, "process %d %s; another takes its place %s", number, _told(end.code), soon)
            with trio.move_on_after(step.pause):
                await self._stop.asked.wait()
        self._left -= 1
        if not self._left:
            self.over.set()

    async def _run(self, number: int) -> End | None:
        """One process from its start to its end, which comes at once when this is cancelled; None when it is late."""
        async with self._starting:
            if self._stop.asked.is_set():
                return None
            process = await self._start(number)
        self._running[number] = process
        try:
            if self._stop.asked.is_set():
                await process.line.say({"order": "drain"})
            while (message := await process.hear()) is not None:
                if "serving" in message:
                    self._serves(number, process, message["serving"])
            served = process.serving
            return End(code=await process.child.wait(), served=served)
        finally:
            if process.child.returncode is None:
                await process.end(self._stop.exit_code)
            del self._running[number]
            process.line.close()

    async def _start(self, number: int) -> Process:
        ours, theirs = socket.socketpair()
        with theirs:
            fds = {key: tuple(sock.fileno() for sock in sockets) for key, sockets in self._sockets.items()}
            handed = Handed(number=number, line=theirs.fileno(), sockets=fds)
            try:
                process: Any = await trio.lowlevel.open_process(
                    self._command(handed), pass_fds=handed.descriptors, stdin=DEVNULL
                )
            except BaseException:
                ours.close()
                raise
        return Process(process, Line(ours))

    def _serves(self, number: int, process: Process, addresses: Mapping[str, Sequence[str]]) -> None:
        process.serves_since = trio.current_time()
        log.info("process %d serves, with the process id %d", number, process.child.pid)
        self._reported[number] = addresses
        if len(self._reported) == self._count and not self._stop.serving:
            self._stop.serving = True
            tell(addresses)

    def _house(self, without: int) -> House:
        return House(
            draining=self._stop.asked.is_set(),
            started=self._stop.serving,
            serving=any(one.serving is not None for number, one in self._running.items() if number != without),
        )

    def _fail(self, why: str, code: int) -> None:
        log.error("%s", why)
        self.exit_code = self.exit_code or code

    async def _order(self, message: Mapping[str, Any]) -> None:
        for process in list(self._running.values()):
            await process.line.say(message)


def tell(addresses: Mapping[str, Sequence[str]]) -> None:
    """Print where we serve."""
    for key, served in addresses.items():
        for address in served:
            click.echo(f"serving {address} ({key})")


def _told(code: int) -> str:
    if code == 0:
        return "has drained"
    if code > 0:
        return f"ended with exit code {code}"
    with suppress(ValueError):
        return f"was killed by {Signals(-code).name}"
    return f"was killed by signal {-code}"
