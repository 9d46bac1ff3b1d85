"""Cooldowns that a group does not show: it is ready, but not under the very name that was asked for.

Groups go by base name, and an alias may have a suffix of its own: it stands for further models then, which only those
reach who ask for it with that suffix (C7.5.3, C7.7.2).
"""

from collections.abc import Mapping

from turnout._custody import Custody
from turnout._run import Run
from turnout._standing import IS_READY, Standing, blocked


def hidden(run: Run, custody: Custody, now: float) -> Mapping[str, Standing]:
    """Ids of those that this pass has tried and that wait under the name of its ask only, and how they stand."""
    found: dict[str, Standing] = {}
    for id in run.tries.tried & custody.credentials.keys():
        credential = custody.credentials[id]
        provider = run.generation.providers.get(credential.provider)
        if provider is None or len(custody.recorded(id, run.name.key)) == 1:
            continue
        recorded = [one.recorded for one in provider.aliases.upstreams(credential, run.name)]
        standing = blocked(credential, custody.states[id], recorded, now)
        if standing.kind is not IS_READY:
            found[id] = standing
    return found
