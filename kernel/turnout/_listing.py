"""Which models each credential serves: what the configuration lists, else what its upstream says."""

from collections.abc import Sequence
from logging import getLogger

import trio

from turnout._alias_tables import ModelEntry, ModelList
from turnout._catalogue import announced
from turnout._config import Config
from turnout._custody import Custody, Serves
from turnout._entries import credential_of
from turnout._generation import Generation, ProviderInstance
from turnout._names import Aliases
from turnout._values import Credential
from turnout.abc import ModelLister
from turnout.errors import PluginError, UpstreamFailed

PATIENCE = 5.0
"""Seconds that the start waits for upstreams that list their models; they go on in the background."""

LIST_LIMIT = 30.0
"""Seconds that one listing may take."""

RETRY_FLOOR, RETRY_CAP = 5.0, 300.0
"""Seconds until a listing that failed is asked for again: doubled each time."""

log = getLogger("turnout.listing")


def serves_of(
    config: Config, provider: ProviderInstance, credential: Credential, names: Sequence[str] | None = None
) -> Serves:
    """What a credential serves: the models of the configuration, or else `names`, which its upstream listed (C16.8)."""
    naming = provider.aliases.of(credential)
    models: Sequence[ModelEntry | str] = naming.models or names or ()
    patterns = credential.attributes.get("excluded_models", "").split(",")
    return announced(models, naming, excluded=patterns, force_prefix=config.force_model_prefix)


def aliases_of(config: Config, key: str, plugin: object) -> Aliases:
    """The alias rules of one configured provider, whose class may declare an OAuth `channel` (C7.5.1)."""
    table = next(table for table in config.providers if table.key == key)
    own = [
        ModelList(credential=credential_of(table, entry).id, models=entry.models)
        for entry in table.credentials
        if entry.models
    ]
    return Aliases(
        [*own, ModelList(name=key, models=table.models)],
        pools=table.pools,
        channel=getattr(plugin, "channel", None),
        oauth=config.oauth_aliases,
    )


class Listing:
    """Asks upstreams which models they serve, for credentials to which the configuration lists none."""

    def __init__(self, config: Config, custody: Custody, generation: Generation) -> None:
        self._config = config
        self._custody = custody
        self._generation = generation
        self._unanswered: set[str] = set()
        self._first_round = trio.Event()

    async def start(self, nursery: trio.Nursery) -> None:
        """Ask each in a task of `nursery`, until it has answered once; waits for the first round, but not for long."""
        for credential in self._custody.credentials.values():
            provider = self._generation.providers[credential.provider]
            if provider.lister and not credential.disabled and not provider.aliases.of(credential).models:
                self._unanswered.add(credential.id)
                nursery.start_soon(self._ask, credential, provider, provider.lister, name=f"models of {credential.id}")
        if self._unanswered:
            with trio.move_on_after(PATIENCE):
                await self._first_round.wait()

    async def _ask(self, credential: Credential, provider: ProviderInstance, lister: ModelLister) -> None:
        pause = RETRY_FLOOR
        while credential.id in self._custody.credentials:
            answered = await self._ask_once(credential, provider, lister)
            self._unanswered.discard(credential.id)
            if not self._unanswered:
                self._first_round.set()
            if answered:
                return
            await trio.sleep(pause)
            pause = min(2 * pause, RETRY_CAP)

    async def _ask_once(self, credential: Credential, provider: ProviderInstance, lister: ModelLister) -> bool:
        generation = self._generation
        try:
            with generation.transport_border:
                transport = generation.transport.for_credential(credential) if generation.transport else None
            with trio.fail_after(LIST_LIMIT), provider.border:
                names = list(await lister.models(credential, transport))
            if not all(isinstance(name, str) for name in names):
                raise provider.border.wrong("`models` gave something else than texts")
            names.sort()
        except (UpstreamFailed, PluginError, trio.TooSlowError) as error:
            log.warning("%s does not say which models it serves: %s", credential.id, str(error) or type(error).__name__)
            return False
        if credential.id in self._custody.credentials:
            self._custody.serve(credential.id, serves_of(self._config, provider, credential, names), tuple(names))
        return True
