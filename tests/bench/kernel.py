"""What the kernel itself costs: `execute` and `stream` on a provider that answers at once, in microseconds of CPU.

    python tests/bench/kernel.py

The pool has 100 credentials; the decision record, the ledger and the schedule are on, as always. Each figure is the
best of many short rounds, some of which no neighbour on the machine disturbs.
"""

import time
from collections.abc import Awaitable, Callable

import trio

from turnout import Ask, Chunk, Kernel
from turnout.testing import Script, ScriptedProvider, scripted_kernel

ROUNDS, CALLS = 300, 15
ASK = Ask(model="m", payload=b"{}", id="bench")


async def best(call: Callable[[], Awaitable[object]]) -> float:
    """Microseconds of CPU per call in the best round."""
    figures = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(CALLS):
            await call()
        figures.append((time.process_time() - began) / CALLS * 1e6)
    return min(figures)


async def consume(kernel: Kernel) -> None:
    async with kernel.stream(ASK) as stream:
        async for _ in stream:
            pass


async def main() -> None:
    names = "".join(
        f'[[providers.scripted.credentials]]\nname = "c{n}"\napi_key = "key-{n}-12345678"\n' for n in range(100)
    )
    toml = f'[[providers.scripted.models]]\nname = "m"\n{names}'
    provider = ScriptedProvider()
    async with scripted_kernel(toml, {"scripted": provider}) as kernel:

        async def execute() -> None:
            provider.calls.clear()
            await kernel.execute(ASK)

        async def bare() -> None:
            provider.calls.clear()
            await provider.execute(call)

        async def bare_stream() -> None:
            provider.calls.clear()
            async with provider.stream(call) as chunks:
                async for _ in chunks:
                    pass

        async def stream() -> None:
            provider.calls.clear()
            await consume(kernel)

        await kernel.execute(ASK)
        call = provider.calls[0]
        nothing = await best(bare)
        print(f"the scripted provider alone   {nothing:7.1f} µs")
        print(f"kernel.execute                {await best(execute) - nothing:7.1f} µs more   (aim: 60)")
        one, bare_one = await best(stream), await best(bare_stream)
        provider.default = Script(chunks=[Chunk(b"data: x\n\n")] * 101)
        many, bare_many = await best(stream), await best(bare_stream)
        print(f"kernel.stream, one chunk      {one - bare_one:7.1f} µs more   (aim: 90)")
        print(f"each further chunk            {(many - one - bare_many + bare_one) / 100:7.1f} µs more   (aim: 5)")


if __name__ == "__main__":
    trio.run(main)
