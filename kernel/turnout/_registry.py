"""What an operator or a service may do with credentials while the kernel runs (C3, C13, O18, O22 to O24, O26).

Everything handed out is a frozen snapshot. A change is in force when the method returns, and, where it is awaited,
durable; a store that fails is told as StoreError, with the change still in force and tried again in the background.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import trio

from turnout._aggregate import forgotten
from turnout._checks import checked_credential, checked_text
from turnout._custody import Custody
from turnout._entries import placed
from turnout._events import CredentialRegistered, CredentialRemoved, CredentialUpdated, Event
from turnout._generation import Generation, ProviderInstance
from turnout._intake import Intake
from turnout._names import raw_provider
from turnout._readings import stable_index
from turnout._refresh import RefreshRoom
from turnout._supervise import CLOSE_LIMIT
from turnout._values import CLEAN, Credential, CredentialState, refuse
from turnout._write_behind import WriteBehind
from turnout.errors import InvalidAsk, NotSupported, PluginError, UnknownCredential, UpstreamFailed

if TYPE_CHECKING:
    import httpx


class Registry:
    """The credentials of one kernel, for those who manage them.

    Those of the file may be changed as well, but a reload puts in force again what the file says of them.
    """

    def __init__(
        self,
        *,
        custody: Custody,
        intake: Intake,
        generation: Callable[[], Generation],
        now: Callable[[], float],
        new_id: Callable[[], str],
        tell: Callable[[Event], Any],
        writer: Callable[[], WriteBehind],
        serves: Callable[[Credential], Any],
        refresh: RefreshRoom,
    ) -> None:
        self._custody = custody
        self._intake = intake
        self._generation = generation
        self._now = now
        self._new_id = new_id
        self._tell = tell
        self._writer = writer
        self._serves = serves
        self._refresh = refresh

    def list(self) -> tuple[Credential, ...]:
        """Every credential, in no particular order (C3.5.1)."""
        return tuple(self._custody.credentials.values())

    def get(self, id: str) -> Credential | None:
        """A credential, None when there is none of this id (C3.5.1)."""
        return self._custody.credentials.get(checked_text(id, "id"))

    def state(self, id: str) -> CredentialState:
        """What is known about a credential. Raises UnknownCredential."""
        return self._custody.states[self._known(id).id]

    async def register(self, credential: Credential) -> Credential:
        """Take a credential in, in place of one of the same id, with nothing carried over (C3.2).

        One without an id gets a new one. Gives it as it is in force. Waits for the store; raises InvalidAsk,
        StoreError, and UnknownCredential when another process has just removed the one of the same id.
        """
        credential = self._sound(credential)
        if not credential.id:
            credential = attrs.evolve(credential, id=self._new_id())
        self._put(credential, None, CLEAN)
        self._tell(CredentialRegistered(at=self._now(), credential=credential.id, provider=credential.provider))
        await self._writer().save_now("secret", credential.id)
        return self._known(credential.id)

    async def update(self, credential: Credential) -> Credential:
        """Replace a credential's configuration and secrets; its state stays (C3.3, O22). An unknown id is taken in.

        Gives it as it is in force. Waits for the store; raises InvalidAsk, StoreError, and UnknownCredential when
        another process has just removed it: then it stays removed.
        """
        credential = self._sound(credential)
        if not credential.id:
            refuse("a credential without an id cannot be updated", "credential.id")
        self._put(credential, self._custody.credentials.get(credential.id), None)
        self._tell(CredentialUpdated(at=self._now(), credential=credential.id, provider=credential.provider))
        await self._writer().save_now("secret", credential.id)
        return self._known(credential.id)

    async def remove(self, id: str) -> None:
        """Let go of a credential for good, in the store as well (O18). Calls that use it end as they would have.

        Waits for the store; raises UnknownCredential, StoreError.
        """
        gone = self._known(id)
        self._custody.remove(gone.id)
        if provider := self._generation().providers.get(gone.provider):
            provider.aliases.forget(gone.id)
        self._tell(CredentialRemoved(at=self._now(), credential=gone.id, provider=gone.provider))
        await self._writer().save_now("secret", gone.id)

    async def load(self) -> None:
        """Read the store again and take in what it has: added, changed and removed records (C3.4, O21).

        The store is listed first, while everything goes on; what it says is put in force in one step. Waits; raises
        StoreError with nothing changed.
        """
        await self._writer().read()

    async def disable(self, id: str) -> Credential:
        """Switch a credential off: no outcome and no refresh switches it on again (O23).

        Waits for the store; raises StoreError, UnknownCredential.
        """
        return await self.update(attrs.evolve(self._known(id), disabled=True))

    async def enable(self, id: str) -> Credential:
        """Switch a credential on. Waits for the store; raises StoreError, UnknownCredential."""
        return await self.update(attrs.evolve(self._known(id), disabled=False))

    def reset(self, id: str) -> None:
        """Forget every cooldown, error and backoff level of a credential (O22). Raises UnknownCredential."""
        self._custody.settle(self._known(id).id, forgotten(self._now()), None)

    async def refresh(self, id: str) -> Credential:
        """Renew a credential now, due or not, and give it as it is in force; joins a refresh that is under way.

        Waits; raises UnknownCredential, NotSupported, UpstreamFailed when it could not be renewed, StoreError when what
        came is in force but not kept.
        """
        credential = self._known(id)
        if credential.disabled:
            raise NotSupported(f"{id} is disabled, so it is not renewed (E10)")
        if not self._refresh.ask(id):
            raise NotSupported(f"provider {credential.provider!r} cannot renew credentials")
        failure = await self._refresh.wait_refreshed(id)
        if failure is not None:
            raise UpstreamFailed(failure)
        await self._writer().save_now("secret", id)
        return self._known(id)

    def _put(self, credential: Credential, before: Credential | None, state: CredentialState | None) -> None:
        """Put in force what was given. Of `before`, the index is carried over, and since when we have it (C3.3)."""
        now = self._now()
        index = credential.index or (before.index if before is not None else "") or stable_index(credential)
        bound = self._intake.bound(credential, self._generation())
        bound = placed(bound, in_file=bound.id in self._intake.from_file)
        known = self._custody.credentials.get(bound.id)
        if known is not None and known.provider != bound.provider:
            self._custody.listed.pop(bound.id, None)
        created = bound.created_at or (before.created_at if before is not None else None) or now
        bound = attrs.evolve(bound, index=index, created_at=created, updated_at=now)
        self._custody.put(bound, state=state, serves=self._serves(bound))

    def _sound(self, credential: object) -> Credential:
        credential = checked_credential(credential)
        if credential.provider not in self._generation().providers:
            refuse(f"no provider {credential.provider!r} is configured", "credential.provider")
        if credential.id != credential.id.strip():
            refuse("credential.id has spaces around it", "credential.id")
        return credential

    def _known(self, id: str) -> Credential:
        credential = self.get(id)
        if credential is None:
            raise UnknownCredential(f"there is no credential {id!r}", argument="id")
        return credential

    # --- raw requests (C13) ------------------------------------------------------------------------------------------

    def _provider_of(self, credential: Credential) -> ProviderInstance:
        key = raw_provider(credential)
        provider = self._generation().providers.get(key)
        if provider is None:
            raise NoSuchProvider(f"executor not registered for provider: {key}")
        return provider

    def prepare(self, request: "httpx.Request", id: str) -> None:
        """Put a credential on an HTTP request that its provider knows how to sign (C13.2). Records no outcome.

        Raises UnknownCredential, InvalidAsk, NotSupported, PluginError, and ValueError for a request to another origin.
        """
        credential = self._known(id)
        _there_is(request)
        provider = self._provider_of(credential)
        if provider.preparer is None:
            raise NotSupported("executor does not support http request preparation")
        try:
            with provider.border:
                provider.preparer.prepare(request, credential)
        except PluginError as error:
            if isinstance(error.__cause__, ValueError):  # the provider's word for a request to another origin
                raise error.__cause__ from None
            raise

    async def send(self, request: "httpx.Request", id: str) -> "httpx.Response":
        """Put a credential on an HTTP request and send it over the credential's own transport (C13.4, C13.6).

        Waits; raises UnknownCredential, InvalidAsk, NotSupported, UpstreamFailed, PluginError.
        """
        credential = self._known(id)
        _there_is(request)
        provider = self._provider_of(credential)
        if provider.sender is None:
            raise NotSupported("executor does not send raw requests")
        generation = self._generation()
        with provider.border:
            transport = generation.transport.for_credential(credential) if generation.transport else None
            return await provider.sender.send(request, credential, transport)

    def inject(self, request: "httpx.Request", id: str) -> bool:
        """Put a credential on a request if that can be done; gives whether it was (C13.5)."""
        try:
            self.prepare(request, id)
        except (InvalidAsk, NotSupported):
            return False
        return True

    async def close_session(self, session: str) -> None:
        """Tell every provider that can that an execution session is over (C3.6.4); a blank one is none.

        Raises PluginError once all were told, if one of them failed.
        """
        if not checked_text(session, "session").strip():
            return
        failed: PluginError | None = None
        for provider in self._generation().providers.values():
            if provider.closer is not None:
                try:
                    with trio.fail_after(CLOSE_LIMIT), provider.border:
                        await provider.closer.close_session(session.strip())
                except PluginError as error:
                    failed = error
                except trio.TooSlowError:
                    failed = provider.border.wrong(f"did not close a session within {CLOSE_LIMIT:g} s")
        if failed is not None:
            raise failed


class NoSuchProvider(NotSupported):
    """The credential names a provider that is not there, by an attribute (C13.1)."""

    code: ClassVar[str] = "provider_not_found"


def _there_is(request: object) -> None:
    if request is None:
        refuse("http request is nil", "request")
