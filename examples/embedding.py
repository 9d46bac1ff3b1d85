"""Turnout inside a program of one's own: no server, no client key, only the pool.

    python examples/embedding.py turnout.toml fast "Why is the sky blue?"

The configuration is the one that `turnout run` reads; without a `[frontends]` table nothing listens anywhere.
"""

import json
import os
import sys
from pathlib import Path

import trio

import turnout


async def main(config: Path, model: str, question: str) -> None:
    """Stream one answer to the screen, then say who gave it."""
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": question}]}
    ask = turnout.Ask(model=model, dialect="openai.chat", payload=json.dumps(body).encode())
    async with turnout.open_kernel(turnout.load_config(config, os.environ)) as kernel, kernel.stream(ask) as stream:
        async for chunk in stream:
            sys.stdout.write(chunk.data.decode())
        print(f"served by {stream.decision.served_by} after {len(stream.decision.attempts)} attempt(s)")


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), sys.argv[2], sys.argv[3])
