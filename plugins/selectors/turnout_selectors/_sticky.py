"""The same session, the same credential, wherever it is asked."""

from collections.abc import Callable
from hashlib import blake2b
from typing import ClassVar, final

from turnout import Ask
from turnout.abc import Candidate, Ready


@final
class Sticky:
    """A session keeps to one credential by arithmetic: rendezvous hashing, with nothing to remember or to share.

    Each pair of session and credential has a number, and the ready credential with the highest serves the session
    (Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998). So every node chooses alike; when
    a credential rests only its own sessions move, each to its second best, and they come back afterwards. The number
    depends on ids and not on providers, models or processes. Asks without a session are served in turn. Takes time in
    proportion to the ready credentials of a tier.
    """

    api: ClassVar[int] = 1

    def select(self, ready: Ready, ask: Ask, draw: Callable[[], float]) -> Candidate:  # noqa: ARG002 - the protocol's
        """The session's own one of the highest ready tier."""
        if not ask.affinity:
            return ready.best.following()
        # A key has 64 bytes at most, and a session's name any length
        session = blake2b(ask.affinity.encode("utf-8", "surrogatepass"), digest_size=32).digest()
        return max(ready.best, key=lambda candidate: (_score(session, candidate.id), candidate.id))


def _score(session: bytes, id: str) -> bytes:
    return blake2b(id.encode("utf-8", "surrogatepass"), key=session, digest_size=8).digest()
