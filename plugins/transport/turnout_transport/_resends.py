"""How far the kept connections of an origin are trusted: what is resent for free is rationed too (B32).

A kept connection that dies unanswered is mostly one that the peer has closed in the same moment. An upstream that
resets half of what it is asked looks just the same, and would be asked twice for everything.
"""

from typing import final

PURSE, PRICE, REWARD = 10.0, 1.0, 0.1
"""Tokens: how many there are, what a resend takes, what a reply gives back; at half it is over (as the kernel's, gRPC
proposal A6)."""


@final
class Resends:
    """The purse of one origin.

    Attributes:
        allowed: a request may go out on a kept connection, and again on a new one when that dies.
    """

    __slots__ = ("_tokens", "allowed")

    def __init__(self) -> None:
        self._tokens = PURSE
        self.allowed = True

    def resent(self) -> None:
        """A request was sent again."""
        self._hold(max(0.0, self._tokens - PRICE))

    def served(self) -> None:
        """A reply came whole."""
        if self._tokens < PURSE:
            self._hold(min(PURSE, self._tokens + REWARD))

    def _hold(self, tokens: float) -> None:
        self._tokens = tokens
        self.allowed = tokens > PURSE / 2
