"""What is known about the credentials without starting a kernel: the file's, the store's, and their states."""

from typing import Literal, final

import attrs

from turnout._clock import Clock
from turnout._config import Config, credentials_of
from turnout._open_store import open_store
from turnout._plugins import Plugins
from turnout._records import decode_credential, decode_state
from turnout._values import CLEAN, Credential, CredentialState, Record
from turnout.errors import StoreError


@final
@attrs.frozen(kw_only=True)
class Seen:
    """A credential as it lies there.

    Attributes:
        state: None when the store could not be read.
        source: where it comes from.
    """

    credential: Credential
    state: CredentialState | None
    source: Literal["file", "store"]


@final
@attrs.frozen(kw_only=True)
class Inspection:
    """Every credential, sorted by id.

    Attributes:
        now: POSIX seconds.
        unread: why the store could not be read, such as a kernel that holds its lock; empty when it could.
        damaged: ids of records that cannot be read.
    """

    seen: tuple[Seen, ...]
    now: float
    unread: str = ""
    damaged: tuple[str, ...] = ()


async def inspect(config: Config, plugins: Plugins) -> Inspection:
    """Read the configuration's store and give what is there; opens and closes the store, nothing else.

    A store that cannot be read hides nothing of the file. Raises ConfigError and PluginError for a store that cannot
    be used at all.
    """
    clock = Clock()
    try:
        records = await _records(config, plugins, clock)
    except StoreError as error:
        seen = tuple(Seen(credential=one, state=None, source="file") for one in credentials_of(config))
        return Inspection(seen=_sorted(seen), now=clock.now(), unread=str(error))
    return _judged(config, records, clock.now())


async def _records(config: Config, plugins: Plugins, clock: Clock) -> list[Record]:
    async with open_store(config, plugins, clock) as store:
        return list(await store.list())


def _judged(config: Config, records: list[Record], now: float) -> Inspection:
    states: dict[str, CredentialState] = {}
    stored: dict[str, Credential] = {}
    damaged: list[str] = []
    for record in records:
        try:
            if record.kind == "state":
                states[record.id] = decode_state(record.data, now)
            elif record.kind == "secret":
                stored[record.id] = decode_credential(record.data)
        except ValueError:
            damaged.append(record.id)
    configured = {one.id: one for one in credentials_of(config)}
    seen = [Seen(credential=one, state=states.get(id, CLEAN), source="file") for id, one in configured.items()]
    seen += [
        Seen(credential=one, state=states.get(id, CLEAN), source="store")
        for id, one in stored.items()
        if id not in configured
    ]
    return Inspection(seen=_sorted(seen), now=now, damaged=tuple(sorted(damaged)))


def _sorted(seen: "list[Seen] | tuple[Seen, ...]") -> tuple[Seen, ...]:
    return tuple(sorted(seen, key=lambda one: one.credential.id))
