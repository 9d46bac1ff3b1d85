"""Whether a server may be trusted with credentials: it must neither forget nor evict (acceptance G7). Pure."""

from collections.abc import Mapping
from typing import Any


def why_unsound(info: Mapping[str, Any]) -> str:
    """Why credentials are refused on a server with this INFO, and what to do; empty when it is sound.

    INFO, and not CONFIG, which managed servers often forbid. Without an append-only file a kill of the server lost all
    of 2,000 acknowledged writes.
    """
    problems = []
    if str(info.get("aof_enabled", "")) != "1":
        problems.append("it keeps no append-only file (set `appendonly yes`)")
    policy = str(info.get("maxmemory_policy", "unknown"))
    if policy != "noeviction":
        problems.append(f"it may evict records (maxmemory-policy is {policy}: set `noeviction`)")
    if str(info.get("role", "master")) != "master":
        problems.append("it is a replica (name the primary)")
    return " and ".join(problems)


def why_late(appendfsync: object) -> str:
    """What this setting of the append-only file may cost; empty when nothing, or when it is not known (None).

    Unless each write is synced, the server answers first, and under load even writes the file up to 2 s later
    (`aof_flush_postponed_start` in aof.c of Valkey 8, 2024): kills of the server lost acknowledged writes.
    """
    if appendfsync is None or appendfsync in {"always", b"always"}:
        return ""
    return (
        "a crash of the server may cost the last two seconds, and tokens that were renewed in them need a new login: "
        "set `appendfsync always`"
    )
