"""Marks of tests that have the store `redis` in their own process."""

import pytest

COREDIS = [
    pytest.mark.slow_steps("coredis makes its classes when it is first used"),
    pytest.mark.usefixtures("collected"),
]
