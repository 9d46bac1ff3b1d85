"""What a scenario does behind a kernel's back, because no public call does it alone: pick, record, announce, prefer."""
# ruff: noqa: SLF001  # this is the one place that reaches into the kernel's rooms

from collections.abc import Collection, Sequence

import trio

from turnout._affinity import digest
from turnout._kernel import Kernel
from turnout._names import parse
from turnout._run import Run
from turnout._values import Ask, Credential
from turnout._verdicts import Failure, Verdict


def pick(kernel: Kernel, ask: Ask, tried: Collection[str]) -> str:
    """The id of the credential that a call would be given. Raises TurnoutError."""
    conductor = kernel._conductor
    run = conductor._begin(ask, stream=False)
    run.tries.tried.update(tried)
    entry = conductor._pick(run)
    if entry is None:
        raise conductor._recovery.nobody(run, conductor._clock.now(), tried)
    return entry.id


def record(kernel: Kernel, id: str, verdict: Verdict, model: str) -> None:
    """Record an outcome under `model`, also one of a credential that is not known (C10.2)."""
    conductor = kernel._conductor
    credential = kernel.credentials.get(id) or Credential(id=id, provider="unknown")
    run = Run(Ask(model=model), parse(model), conductor.generation, id="", stream=False, began=trio.current_time())
    run.providers = [credential.provider]
    conductor._judge.record(run, credential, parse(model).key, verdict, 0.0, began=trio.current_time())


def announce(kernel: Kernel, id: str, models: Sequence[str]) -> None:
    """Have a credential serve exactly these models. Raises UnknownCredential."""
    kernel.credentials.state(id)
    kernel._custody.serve(id, {model: (model,) for model in models})


def stick(kernel: Kernel, affinity: str, model: str, id: str) -> None:
    """Have a session prefer a credential."""
    key = digest(affinity)
    if key is not None:
        kernel._custody.affinity.learn(parse(model).key, key, id, kernel._clock.now())


async def refresh(kernel: Kernel, id: str) -> Failure | None:
    """Have a credential refreshed; gives why that failed."""
    await trio.lowlevel.checkpoint()
    kernel._refresh.ask(id)
    return await kernel._refresh.wait_refreshed(id)
