"""The provider for OpenAI and those who speak its API: whose API it is, and how a credential is shown to it."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import httpx

from turnout import Credential, Sent, Unauthorized
from turnout.abc import PluginContext
from turnout.errors import UpstreamFailed
from turnout_dialects.provider import CHAT_WAYS, OPENAI_WAYS
from turnout_oauth import Renewing
from turnout_openai._operations import Operations
from turnout_openai._settings import OpenAISettings
from turnout_openai._vendors import CHAT, RESPONSES, VENDORS

_OPENAI = VENDORS["openai"]


class OpenAI(Operations):
    """Provider for OpenAI and every service that speaks its chat completions (C2.1).

    Attributes:
        vendor: whose API it is.
    """

    Settings = OpenAISettings

    def __init__(self, settings: OpenAISettings, *, now: Callable[[], float]) -> None:
        """`now` reads POSIX seconds; dates in headers are measured by it."""
        self.vendor = vendor = VENDORS[settings.vendor]
        at = settings.base_url or vendor.base_url
        own = settings.responses or not settings.chat or (settings.responses is None and at == _OPENAI.base_url)
        lacks = {dialect for dialect, has in ((CHAT, settings.chat), (RESPONSES, settings.responses)) if has is False}
        super().__init__(at, now=now, dialects=vendor.dialects - lacks, ways=OPENAI_WAYS if own else CHAT_WAYS)
        self.marks = self.vendor.marks
        self._settings = settings

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: OpenAISettings, context: PluginContext) -> AsyncIterator["OpenAI"]:
        """A provider on the kernel's clock; one that renews tokens when the settings say where."""
        yield (cls if settings.oauth is None else RenewingOpenAI)(settings, now=context.now)

    async def models(self, credential: Credential, transport: httpx.AsyncBaseTransport | None) -> Iterable[str]:
        """Names of the models that the upstream lists for this credential."""
        entries = await self.listed(credential, transport, "/models", "data")
        return [name for entry in entries if isinstance(name := entry.get("id"), str)]

    def shown(self, credential: Credential) -> dict[str, str]:
        """The token or key as a bearer, and what the settings say of the account."""
        shown: dict[str, str] = {}
        if token := self.token(credential):
            shown["authorization"] = f"Bearer {token}"
        elif credential.api_key:
            shown["authorization"] = f"Bearer {credential.api_key.reveal()}"
        elif self._wants_key(credential):
            raise UpstreamFailed(Unauthorized(message="it has no api_key, and this vendor wants one", sent=Sent.NO))
        if self._settings.organization:
            shown["openai-organization"] = self._settings.organization
        if self._settings.project:
            shown["openai-project"] = self._settings.project
        return shown

    def _wants_key(self, credential: Credential) -> bool:
        """Whether a request without a key is bound to be refused: not elsewhere, and not with headers of its own."""
        return not (
            self.vendor.keyless
            or self.base_url(credential) != self.vendor.base_url
            or any(name.startswith("header:") for name in credential.attributes)
        )


class RenewingOpenAI(Renewing, OpenAI):
    """Credentials may have tokens instead of keys. A class of its own, for keys alone cannot be renewed."""

    def __init__(self, settings: OpenAISettings, *, now: Callable[[], float]) -> None:
        """`settings.oauth` must be given."""
        if settings.oauth is None:
            raise ValueError("the oauth table is missing")
        super().__init__(settings, now=now)
        self._oauth = settings.oauth
