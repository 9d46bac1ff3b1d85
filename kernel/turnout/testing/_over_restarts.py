"""What a restart of the kernel must leave as it was: who exists, tokens, and every cooldown (O18, G2, K1, K3)."""
# ruff: noqa: SLF001  # a judge looks behind the counter

from collections.abc import Mapping

import attrs

from turnout._kernel import Kernel
from turnout._values import Credential, CredentialState
from turnout.testing._faulty_store import FaultyStore
from turnout.testing._referee import Referee, generation_of

LONGEST_BLOCK = 86_400.0
"""Seconds (`hint_cap`): what lies further ahead after a restart comes from a wrong clock and is cut to that (K3)."""


@attrs.frozen
class Left:
    """What a kernel knew when it was closed."""

    credentials: Mapping[str, Credential]
    states: Mapping[str, CredentialState]

    @classmethod
    def of(cls, kernel: Kernel) -> "Left":
        """What this kernel knew at its very end: it must be closed."""
        return cls(dict(kernel._custody.credentials), dict(kernel._custody.states))

    def must_be_back(self, kernel: Kernel, referee: Referee, store: FaultyStore) -> None:
        """Compare with a kernel that was opened on the same store; what the store refused to write is not asked for."""
        now = kernel._clock.now()
        for id, before in self.credentials.items():
            after = kernel.credentials.get(id)
            if before.metadata is not None and ("secret", id) not in store.refused:
                kept = after is not None and generation_of(after) >= generation_of(before)  # or is renewed already
                referee.law(kept, f"{id} or its token is lost by a restart")
            if after is None or after.provider != before.provider or ("state", id) in store.refused:
                continue
            for name, entry in self.states[id].models.items():
                at = entry.next_retry_after
                if at is not None and at > now:
                    known = kernel.credentials.state(id).models.get(name)
                    back = None if known is None else known.next_retry_after
                    kept = back is not None and abs(back - min(at, now + LONGEST_BLOCK)) < 1
                    referee.law(kept, f"{id} cools for {name} until {at}, and after a restart until {back}")
