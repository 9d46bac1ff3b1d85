"""Marks of tests that have the store `redis` in their own process."""

import pytest

COREDIS = [
    pytest.mark.slow_steps("coredis makes its classes when it is first used"),
    pytest.mark.filterwarnings("ignore:Unclosed <MemoryObject:ResourceWarning"),  # coredis leaves its own queues
    pytest.mark.usefixtures("collected"),
]
