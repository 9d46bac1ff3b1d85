"""The watchdog of the event loop: whom it blames, and when it keeps quiet."""

import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
import trio

from turnout._stalls import AGAIN, LIMIT, NOBODY_LIMIT, POLL, START_LIMIT, Stalls, stack_of, watching

OWNERS = {"turnout_dozy": "selector 'dozy'", "turnout_door": "frontend 'door'"}


class Desk:
    """A watchdog of this thread, worked by hand: the clock stands still unless a test moves it."""

    def __init__(self, *, started: bool = True) -> None:
        self.now = self.cpu = 0.0
        self.asked: list[Callable[[], None]] = []
        self.looks = 0
        self._thread = threading.get_ident()
        self._rest = POLL
        self.stalls = Stalls(
            lambda module: OWNERS.get(module, ""),
            started=lambda: started,
            look=self._look,
            ask=self.asked.append,
            clock=lambda: self.now,
            cpu=lambda: self.cpu,
        )

    def _look(self) -> list[FrameType]:
        self.looks += 1
        return list(stack_of(self._thread))

    def step(self, passes: float | None = None, cpu: float = 0.0) -> float:
        """The watchdog's next look, after its rest or after so many seconds; gives what it rests then."""
        self.now += self._rest if passes is None else passes
        self.cpu += cpu
        self._rest = self.stalls.step(self._rest)
        return self._rest

    def steps(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self.step()

    def alive(self) -> None:
        """The loop comes by."""
        self.asked[-1]()


def blocked_while(steps: Callable[[], object]) -> None:
    """Block this thread, as the standard library may, until the steps are done in another one."""
    worker = threading.Thread(target=steps)
    worker.start()
    worker.join()


def plugin(module: str) -> Callable[..., None]:
    """A function of a plugin's module that, in its second line, calls what it is given."""
    space: dict[str, Any] = {"__name__": module}
    exec(compile("def answer(call, *given):\n    call(*given)\n", f"/plugins/{module}.py", "exec"), space)  # noqa: S102
    answer: Callable[..., None] = space["answer"]
    return answer


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    def messages() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name == "turnout.stalls"]

    return messages


def test_who_blocks_the_loop_is_named_once_with_the_line_and_the_time_and_so_is_the_end(
    told: Callable[[], list[str]],
) -> None:
    """H9: the plugin's innermost frame; what that calls is somebody else's."""
    desk = Desk()

    plugin("turnout_dozy")(blocked_while, lambda: desk.steps(3 * LIMIT))
    desk.alive()
    desk.step()
    desk.alive()
    desk.steps(LIMIT / 2)

    why = "selector 'dozy' blocks it in answer(), /plugins/turnout_dozy.py:2"
    assert told() == [
        f"the event loop and every call stand still, for 1.1 s by now: {why}",
        f"the event loop goes on after some 3.3 s: {why}",
    ]


def test_who_called_the_plugin_that_blocks_is_not_to_blame(told: Callable[[], list[str]]) -> None:
    """A frontend is on the stack of every call that it began."""
    desk = Desk()

    plugin("turnout_door")(plugin("turnout_dozy"), blocked_while, lambda: desk.steps(2 * LIMIT))

    assert "selector 'dozy' blocks it in" in told()[0]


def test_a_loop_with_much_to_do_for_many_calls_blames_nobody(told: Callable[[], list[str]]) -> None:
    """Both looks see the plugin, but not in the same call of it."""
    desk = Desk()
    while not told():
        plugin("turnout_door")(blocked_while, desk.step)

    assert desk.now > NOBODY_LIMIT, "a machine with too much to do is told of later"
    assert "no call of a plugin holds it up; seen in" in told()[0]


def test_who_blocks_a_loop_that_was_slow_before_is_named_all_the_same(told: Callable[[], list[str]]) -> None:
    desk = Desk()
    desk.steps(2 * LIMIT)
    plugin("turnout_dozy")(blocked_while, lambda: desk.steps(2 * LIMIT))

    assert "selector 'dozy' blocks it" in told()[0]


def test_a_moment_is_no_stall(told: Callable[[], list[str]]) -> None:
    desk = Desk()
    for _ in range(20):
        desk.steps(LIMIT - POLL)
        desk.alive()
        desk.step()

    assert told() == []
    assert desk.looks == 0


def test_a_loop_that_goes_on_between_the_two_looks_is_left_alone(told: Callable[[], list[str]]) -> None:
    desk = Desk()
    while desk.step() != AGAIN:
        pass
    desk.alive()

    assert desk.step() == POLL
    assert told() == []


def test_before_anything_is_served_there_is_more_patience(told: Callable[[], list[str]]) -> None:
    """Importing plugins takes its time, and holds up nobody."""
    desk = Desk(started=False)
    desk.steps(START_LIMIT - POLL)
    assert told() == []
    desk.steps(2 * POLL)
    assert [text.partition(" stand still")[0] for text in told()] == [
        "the event loop and the start, with nothing served yet,"
    ]


def test_a_process_that_was_stopped_has_not_stalled(told: Callable[[], list[str]]) -> None:
    """SIGSTOP, or a laptop that slept: no CPU time was used, and the watchdog saw nothing of it either."""
    desk = Desk()
    desk.step()
    desk.step(3600.0)
    desk.alive()
    desk.step()
    for _ in range(3):
        desk.step(3600.0, cpu=0.001)

    assert told() == []


@pytest.mark.parametrize("began", ["before the sign of life", "after it"])
def test_code_that_lets_no_thread_run_is_found_all_the_same(told: Callable[[], list[str]], began: str) -> None:
    """Such as a search for a regular expression: the watchdog gets its turn in the frame that did it."""
    desk = Desk()
    desk.step()
    if began == "after it":
        desk.alive()
    plugin("turnout_dozy")(desk.step, 3.0, 2.9)
    desk.alive()
    desk.step()

    assert "s by now: selector 'dozy' blocks it in answer()" in told()[0]
    assert "goes on" in told()[1]
    assert desk.looks == 1


def test_a_moment_in_which_no_thread_can_run_is_no_stall(told: Callable[[], list[str]]) -> None:
    desk = Desk()
    for _ in range(9):
        desk.alive()
        desk.step(0.8, cpu=0.8)
        desk.alive()
        desk.step()

    assert told() == []


def test_the_next_stall_is_told_again(told: Callable[[], list[str]]) -> None:
    desk = Desk()
    for _ in range(2):
        plugin("turnout_dozy")(blocked_while, lambda: desk.steps(2 * LIMIT))
        desk.alive()
        desk.step()

    assert [message.partition(" stand")[0].partition(" goes")[0] for message in told()] == [
        "the event loop and every call",
        "the event loop",
    ] * 2


async def test_watching_ends_with_its_block() -> None:
    """A real loop and a real thread; the block may even be left before the thread has begun."""
    for rest in (0.0, 0.01):
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                with watching(nursery, str, lambda: True):
                    await trio.sleep(rest)


async def test_watching_ends_when_it_is_cancelled() -> None:
    with trio.fail_after(20), trio.move_on_after(0.01) as scope:
        async with trio.open_nursery() as nursery:
            with watching(nursery, str, lambda: True):
                await trio.sleep_forever()
    assert scope.cancelled_caught


@pytest.mark.slow_steps("it blocks on purpose")
async def test_a_real_loop_that_is_blocked_is_seen(told: Callable[[], list[str]]) -> None:
    """H9: the thread, the sign of life and the look together; the plugin blocks until it is caught."""
    caught = threading.Event()

    def whose(module: str) -> str:
        caught.set()
        return "observer 'deaf'" if module == __name__ else ""

    async with trio.open_nursery() as nursery:
        with watching(nursery, whose, lambda: True):
            await trio.sleep(0.01)
            assert caught.wait(20)
            while len(told()) < 2:  # noqa: ASYNC110  # the log has no event to wait for
                await trio.sleep(0.01)

    began, ended = told()
    assert "observer 'deaf' blocks it in test_a_real_loop_that_is_blocked_is_seen()" in began
    assert ended.endswith(began.partition("by now: ")[2])
