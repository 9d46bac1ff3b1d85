"""Times that a group does not show: those of its credentials under the very name that was asked for.

Groups go by base name, and an alias may have a suffix of its own: it stands for further models then, which only those
reach who ask for it with that suffix (C7.5.3, C7.7.2). What keeps from the others is looked at one by one, for the sake
of a call that fails; where no alias has a suffix, groups tell it all.
"""

from collections.abc import Mapping

from turnout._custody import Custody
from turnout._run import Run
from turnout._shard import PROBE
from turnout._standing import IS_COOLING, IS_READY, Standing, blocked


def hidden(run: Run, custody: Custody, now: float) -> Mapping[str, Standing]:
    """Ids of those that wait under the name of this ask, and how they stand; none where their groups tell it all."""
    found: dict[str, Standing] = {}
    for key in run.providers:
        provider = run.generation.providers.get(key)
        if provider is None or not provider.aliases.suffixed:
            continue
        for id, credential in custody.credentials.items():
            if credential.provider != key or run.ask.pin not in {None, id} or not custody.recorded(id, run.name.key):
                continue
            recorded = [one.recorded for one in provider.aliases.upstreams(credential, run.name)]
            standing = blocked(credential, custody.states[id], recorded, now)
            if standing.half and any(custody.schedule.is_probed(id, name) for name in recorded):
                found[id] = Standing(IS_COOLING, now + PROBE, now + PROBE)
            elif standing.kind is not IS_READY:
                found[id] = standing
    return found
