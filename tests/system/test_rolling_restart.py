"""Three gateways on one store, restarted one after the other under load."""

import contextlib
import itertools
import secrets
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from processes import LIMIT, Answer, Gateway, RemoteUpstream, gateway_config, running_gateway

from turnout_upstream import Rule, Script, plays

KEY = secrets.token_urlsafe(24)


class Balancer:
    """Sends each request to the next node, and to another one when that one refuses or is not there."""

    def __init__(self) -> None:
        self.nodes: list[Gateway] = []
        self._turn = itertools.count()

    def ask(self, model: str, *, stream: bool) -> Answer:
        last: object = None
        for _ in range(2 * len(self.nodes)):
            node = self.nodes[next(self._turn) % len(self.nodes)]
            try:
                answer = node.chat(model, stream=stream)
            except OSError as error:
                last = error
                continue
            if answer.status != 503:
                return answer
            last = answer
        raise AssertionError(f"no node took it: {last!r}")


class Load:
    """Clients that ask one after the other until told to stop."""

    def __init__(self, balancer: Balancer) -> None:
        self.over = threading.Event()
        self.done: dict[str, int] = {"m": 0, "slow": 0}
        self.failures: list[str] = []
        clients = [("m", False)] * 4 + [("slow", True)] * 6
        self._threads = [threading.Thread(target=self._ask, args=(balancer, *client)) for client in clients]

    def _ask(self, balancer: Balancer, model: str, stream: bool) -> None:
        while not self.over.is_set():
            try:
                answer = balancer.ask(model, stream=stream)
            except Exception as error:  # noqa: BLE001 - told to the test
                self.failures.append(repr(error))
                return
            if answer.status != 200 or (stream and "[DONE]" not in answer.body):
                self.failures.append(f"{answer.status} {answer.body[-300:]}")
            self.done[model] += 1
            self.over.wait(0.05)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self.over.set()
            for thread in self._threads:
                thread.join(LIMIT)


@pytest.fixture
def nodes(tmp_path: Path, upstream: RemoteUpstream) -> Iterator[tuple[Balancer, ExitStack, str]]:
    slow = plays.events(10, every=0.2)
    upstream.use(Script(rules=(Rule(model="slow", always=slow),)))
    config = gateway_config(
        tmp_path, upstream.url, credentials=("one",), models=("m", "slow"), drain="15s", retry="passes = 4"
    )
    balancer = Balancer()
    with ExitStack() as stack:
        for number in range(3):
            (tmp_path / str(number)).mkdir()
            balancer.nodes.append(stack.enter_context(running_gateway(config, tmp_path / str(number), key=KEY)))
        yield balancer, stack, config


def test_a_rolling_restart_fails_no_request_and_cuts_no_stream(
    nodes: tuple[Balancer, ExitStack, str], tmp_path: Path
) -> None:
    """G9, in a short form: whoever finds a node gone, or draining, asks the next; what runs on a node ends there."""
    balancer, stack, config = nodes
    load = Load(balancer)
    with load.running():
        for number in range(3):
            before = dict(load.done)
            old = balancer.nodes[number]
            old.process.send(signal.SIGTERM)
            assert old.process.wait_code() == 0
            new = stack.enter_context(running_gateway(config, tmp_path / str(number), key=KEY))
            balancer.nodes[number] = new
            assert load.done["m"] > before["m"], "the others served meanwhile"

    assert load.failures == []
    assert load.done["slow"] > 6
    assert load.done["m"] > 30
