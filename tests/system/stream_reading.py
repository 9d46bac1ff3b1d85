"""A provider's stream, read as a test wants it: what came, and how it failed."""

from contextlib import AbstractAsyncContextManager

from turnout import Chunk, Failure
from turnout.abc import ReplyStream
from turnout.errors import UpstreamFailed
from turnout_wire.testing import ScriptedTransport


async def read_stream(
    opening: AbstractAsyncContextManager[ReplyStream], transport: ScriptedTransport
) -> tuple[list[Chunk], Failure | None]:
    """All chunks, also those before a failure; nothing stays open, and nothing is asked twice (O37)."""
    chunks: list[Chunk] = []
    try:
        async with opening as stream:
            async for chunk in stream:
                chunks.append(chunk)  # noqa: PERF401 # what came before a failure counts
    except UpstreamFailed as exc:
        return chunks, exc.verdict
    finally:
        assert transport.open == 0
        assert len(transport.requests) == 1, "a provider never retries"
    return chunks, None
