"""The configurations of a simulation, made by chance that can be replayed."""

import json
from functools import cache
from random import Random
from typing import Any

from turnout._config import Config
from turnout.testing._house import scripted_config

VARIANTS = 48
"""Different configurations; each is read once per process."""

TOTAL = 90.0
"""Seconds that a call may take, in every configuration."""


HEDGED = 0.3
"""Share of the configurations that hedge."""

PROVIDERS = """
[providers.p]
models = [{ name = "m" }, { name = "m1", alias = "pool" }, { name = "m2", alias = "pool" }]
credentials = [
  { name = "a", api_key = "key-of-a-0123456789" },
  { name = "b", api_key = "key-of-b-0123456789", priority = PRIORITY },
  { name = "c", api_key = "key-of-c-0123456789", prefix = "x" },
]
[providers.q]
models = [{ name = "m" }]
credentials = [{ name = "d", api_key = "key-of-d-0123456789" }]
[observers.ear]
"""
"""What every configuration of a simulation has."""


@cache
def variant(number: int) -> Config:
    """One of the configurations of a simulation."""
    chance = Random(number)  # noqa: S311 # chance that can be replayed
    passes = chance.choice((1, 2, 4))
    blame_routes = chance.choice((True, True, False))
    keys: dict[str, dict[str, Any]] = {
        "turnout": {"selector": chance.choice(("in-turn", "in-order"))},
        "retry": {
            "passes": passes,
            **({"max_wait": chance.choice(("0s", "5s", "30s"))} if passes > 1 else {}),
            "max_credentials": chance.choice((0, 0, 2)),
            "upstream_failures": chance.choice((0, 0, 1, 3, 3)),
            "origin_failures": chance.choice((0, 2, 2)),
            "retry_unsafe": chance.choice((0, 1, 2)),
            **({"route_429": chance.choice((True, False))} if blame_routes else {}),
        },
        "health": {
            "keep_last": chance.choice((True, True, False)),
            "half_open": chance.choice((True, True, False)),
            "blame_routes": blame_routes,
            "cooling": chance.choice((True, True, False)),
        },
        "deadlines": {"headers": "20s", "first_payload": "10s", "idle": "8s", "total": f"{TOTAL:g}s"},
        "hedge": {"after": "400ms", "share": 0.5} if chance.random() < HEDGED else {},
        "affinity": {"enabled": chance.choice((True, True, True, False))},
    }
    sections = [
        f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in section.items())
        for name, section in keys.items()
    ]
    return scripted_config("\n".join(sections) + PROVIDERS.replace("PRIORITY", str(chance.choice((0, 0, 3)))))
