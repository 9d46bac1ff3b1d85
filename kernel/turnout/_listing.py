"""Which models each credential serves: what the configuration lists, else what its upstream says."""

from collections.abc import Callable, Mapping, Sequence
from logging import getLogger

import attrs
import trio

from turnout._alias_tables import ModelEntry, ModelList
from turnout._catalogue import announced
from turnout._config import Config
from turnout._custody import Custody, Serves
from turnout._generation import Generation, ProviderInstance
from turnout._names import Aliases
from turnout._readings import ident
from turnout._values import EMPTY, Credential, Secret
from turnout._verdicts import ON_ORIGIN, RateLimited
from turnout.abc import ModelLister
from turnout.errors import PluginError, UpstreamFailed

PATIENCE = 5.0
"""Seconds that the start waits for upstreams that list their models; they go on in the background."""

LIST_LIMIT = 30.0
"""Seconds that one listing may take."""

RETRY_FLOOR, RETRY_CAP = 5.0, 300.0
"""Seconds until a listing that failed is asked for again: doubled each time."""

OPEN_LIMIT = 600.0
"""Seconds after which a provider that was never reached counts as serving nothing: its base_url may be wrong.

Until then a name that nobody else serves may be one of its own; for ever, and every mistyped name would be tried again.
"""

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
        ModelList(credential=credential.id, models=entry.models)
        for of, entry, credential in config.entries
        if of is table and entry.models
    ]
    return Aliases(
        [*own, ModelList(name=key, models=table.models)],
        pools=table.pools,
        channel=getattr(plugin, "channel", None),
        oauth=config.oauth_aliases,
    )


Asker = tuple[str, str, Secret | None] | None
"""What an upstream's answer depends on: provider, origin and key; not a login's tokens, which change by the hour."""


def _asker(credential: Credential | None) -> Asker:
    """None where nobody asks: it is gone, or switched off."""
    if credential is None or credential.disabled:
        return None
    return credential.provider, credential.origin, credential.api_key


@attrs.define(eq=False)
class Question:
    """What an upstream is being asked, again and again until it answers.

    Attributes:
        asker: for whom.
        began: when it was asked first, on Trio's clock.
        again: when it is asked next, on Trio's clock; None while an answer is awaited.
        refused: the last try failed in a way that the next one will hardly mend, as with a wrong key.
        scope: to cancel it.
    """

    asker: Asker
    began: float = attrs.field(factory=trio.current_time)
    again: float | None = None
    refused: bool = False
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)


class Listing:
    """Asks upstreams which models they serve, for credentials to which the configuration lists none.

    Each is asked in a task of its own until it has answered once, always by the configuration in force.
    """

    def __init__(self, *, custody: Custody, config: Callable[[], Config], generation: Callable[[], Generation]) -> None:
        self._custody = custody
        self._config = config
        self._generation = generation
        self._nursery: trio.Nursery | None = None
        self._asking: dict[str, Question] = {}
        self._answered: dict[str, Asker] = {}

    async def start(self, nursery: trio.Nursery) -> None:
        """Ask everybody, from now on in tasks of `nursery`; waits for the first answers, but not for long."""
        self._nursery = nursery
        for question in self._asking.values():
            question.scope.cancel()
        self._asking.clear()
        for key in sorted(self._unlisted()):
            log.warning("provider %s lists no models itself: without [[providers.%s.models]] it serves none", key, key)
        first_round = [self._begin(id) for id in self._custody.credentials]
        with trio.move_on_after(PATIENCE):
            for told in first_round:
                if told is not None:
                    await told.wait()

    def consider(self, id: str) -> None:
        """A credential has come, changed or gone: ask its upstream, if that has not said what it serves (O12).

        With another key, or at another place, it is asked anew and at once: the pause after what the old one was told
        may last for minutes. Until it answers, what it said before holds.
        """
        credential = self._custody.credentials.get(id)
        asker, question = _asker(credential), self._asking.get(id)
        if question is not None and question.asker != asker:
            question.scope.cancel()
            del self._asking[id]
        if credential is None:
            self._answered.pop(id, None)
        elif id not in self._asking and self._answered.get(id) != asker:
            self._begin(id)

    def pending(self) -> Mapping[str, float]:
        """Providers of which nobody knows yet what they serve, and when to ask for their models again: POSIX seconds.

        None of their credentials has had an answer, and one is to come: a first one, or after failures that pass, for
        `OPEN_LIMIT` seconds. What is refused, or wrong, is an answer in this respect: it takes somebody to mend it.
        """
        if not self._asking:
            return EMPTY
        now, wall = trio.current_time(), self._custody.now()
        known = {asker[0] for asker in self._answered.values() if asker is not None}
        found: dict[str, float] = {}
        for question in self._asking.values():
            if question.asker is None or question.refused or now >= question.began + OPEN_LIMIT:
                continue
            key, again = question.asker[0], question.again
            if key not in known:
                at = wall + (RETRY_FLOOR if again is None else max(0.0, again - now))
                found[key] = min(at, found.get(key, at))
        return found

    def _begin(self, id: str) -> trio.Event | None:
        """Start asking about a credential; gives what is set once that was tried, None where nobody is to be asked."""
        nursery = self._nursery
        if nursery is None or nursery.cancel_scope.cancel_called or (asked := self._asked(id)) is None:
            return None
        told = trio.Event()
        question = self._asking[id] = Question(_asker(asked[0]))
        nursery.start_soon(self._ask, id, question, told, name=f"models of {id}")
        return told

    def _asked(self, id: str) -> tuple[Credential, ProviderInstance, ModelLister] | None:
        """Whom to ask about a credential, None when it is gone or switched off, or when that is known otherwise."""
        credential = self._custody.credentials.get(id)
        provider = None if credential is None else self._generation().providers.get(credential.provider)
        if credential is None or credential.disabled or provider is None or provider.lister is None:
            return None
        return None if provider.aliases.of(credential).models else (credential, provider, provider.lister)

    def _unlisted(self) -> set[str]:
        """Providers with a credential of which neither they nor the configuration say what it serves."""
        providers = self._generation().providers
        return {
            credential.provider
            for credential in self._custody.credentials.values()
            if not credential.disabled
            and (provider := providers.get(credential.provider)) is not None
            and provider.lister is None
            and not provider.aliases.of(credential).models
        }

    async def _ask(self, id: str, question: Question, told: trio.Event) -> None:
        pause = RETRY_FLOOR
        try:
            with question.scope:
                while (asked := self._asked(id)) is not None:
                    answered = await self._ask_once(question, *asked)
                    told.set()
                    if answered and self._answered.get(id) == _asker(self._custody.credentials.get(id)):
                        return
                    question.again = trio.current_time() + pause
                    await trio.sleep_until(question.again)
                    question.again = None
                    pause = min(2 * pause, RETRY_CAP)
        finally:
            told.set()
            if self._asking.get(id) is question:
                del self._asking[id]

    async def _ask_once(
        self, question: Question, credential: Credential, provider: ProviderInstance, lister: ModelLister
    ) -> bool:
        generation = self._generation()
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
            question.refused = not _passes(error)
            return False
        self._answered[credential.id] = _asker(credential)
        current = self._custody.credentials.get(credential.id)
        if current is not None and current.provider == credential.provider:
            serves = serves_of(self._config(), provider, current, names)
            self._custody.serve(current.id, serves, tuple(names))
            log.debug("%s serves what its upstream lists, models: %d", ident(current), len(serves))
        return True


def _passes(error: Exception) -> bool:
    """Whether a listing that failed may well succeed when it is asked for again."""
    if isinstance(error, UpstreamFailed):
        return error.verdict.blame is ON_ORIGIN or isinstance(error.verdict, RateLimited)
    return isinstance(error, trio.TooSlowError)
