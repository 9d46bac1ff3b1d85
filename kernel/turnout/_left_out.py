"""Who was left out of a call, and why, for the decision record of one that failed or failed over."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain, islice

from turnout._custody import Custody
from turnout._entry import Entry
from turnout._hidden import hidden
from turnout._run import Run
from turnout._shard import Shard
from turnout._standing import Kind

SHOWN = 20
"""A decision record names no more of them."""

RATIONED = "not tried after a failure: the retry budget of its origin is used up"

LOOKED_AT = 1000
"""Credentials looked at to find those: a call that fails in a large pool must not walk all of it."""


def left_out(run: Run, custody: Custody, skipped_origins: Collection[str], now: float) -> tuple[tuple[str, str], ...]:
    """(credential id, why) of credentials for this call that it has not tried: they could not be picked."""
    called = {attempt.credential for attempt in run.attempts}
    shards = custody.schedule.groups(run.providers, run.name.key, now)
    unseen = hidden(run, custody, now)
    shown = islice(_reasons(run, custody, shards, skipped_origins), LOOKED_AT)
    found = chain(
        ((id, _why(one.kind, one.until)) for id, one in unseen.items()),
        ((id, why) for id, why in shown if why and id not in unseen),
    )
    told = ((id, why) for id, why in found if id not in called and run.ask.pin in {None, id})
    rationed = ((id, RATIONED) for id in dict.fromkeys(run.tries.rationed))
    return tuple(islice(chain(rationed, told), SHOWN))


def _reasons(
    run: Run, custody: Custody, shards: Sequence[Shard], skipped_origins: Collection[str]
) -> Iterator[tuple[str, str]]:
    for shard in shards:
        yield from ((entry.id, _why(entry.kind, entry.until)) for entry in chain(shard.cooling, shard.blocked))
        yield from ((entry.id, _why(entry.kind, None)) for entry in shard.off.values())
        yield from ((entry.id, "being probed") for entry in shard.held.values())
        if skipped_origins:
            yield from ((entry.id, _origin(entry, skipped_origins)) for entry in _ready(shard))
    for credential in custody.credentials.values():
        yield credential.id, "disabled" if credential.disabled and credential.provider in run.providers else ""


def _ready(shard: Shard) -> Iterable[Entry]:
    return (entry for tier in shard.tiers for entry in tier.alone)


def _origin(entry: Entry, skipped: Collection[str]) -> str:
    """Without the origin's name: clients may read the record, and hear of no upstream's address (acceptance 4)."""
    return "its origin is skipped after failures" if entry.site in skipped else ""


def _why(kind: Kind, until: float | None) -> str:
    if until is None:
        return "switched off"
    return f"{'rate limited' if kind is Kind.COOLING else 'blocked'} until {_at(until)}"


def _at(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
