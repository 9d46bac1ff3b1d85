"""Azure OpenAI: the same API at other addresses, with another header for the key.

From learn.microsoft.com/azure/foundry/openai/reference and /api-version-lifecycle (stored copies, excerpts, read
2026-11-26): the v1 API is `/openai/v1/…` with the deployment's name as `model`; an API with a dated version has the
deployment in its path and `?api-version=`. A key is shown as `api-key`, a token of Entra ID as a bearer.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import quote

from turnout import Call, Credential, InvalidRequest
from turnout.abc import PluginContext
from turnout_oauth import Renewing
from turnout_openai._operations import Operations
from turnout_openai._settings import AzureSettings
from turnout_wire import Mark

_MARKS = (
    Mark(400, "content_filter", InvalidRequest),
    Mark(400, "ResponsibleAIPolicyViolation", InvalidRequest),
)
"""A prompt that the content filter stops: no other credential helps.

developersdigest.tech/errors/api/azure-openai, which quotes learn.microsoft.com (read 2026-11-26).
"""

_DEPLOYED = frozenset({"/chat/completions", "/embeddings"})
"""Operations that have a path for each deployment; the others name the deployment in the body."""


class AzureOpenAI(Operations):
    """Provider for Azure OpenAI; what a client calls `model` is the name of a deployment.

    It is no `ModelLister`: `/openai/models` gives base and fine-tuned models, whatever their deployments are called,
    and deployments are listed by Azure's management alone, which takes no key of the resource
    (learn.microsoft.com/rest/api/azureopenai/models/list, /answers/questions/1371786; stored copies, read 2026-11-28).
    """

    Settings = AzureSettings
    marks = _MARKS

    def __init__(self, settings: AzureSettings, *, now: Callable[[], float]) -> None:
        """`now` reads POSIX seconds; dates in headers are measured by it."""
        super().__init__(settings.base_url, now=now)
        self._version = settings.api_version

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: AzureSettings, context: PluginContext) -> AsyncIterator["AzureOpenAI"]:
        """A provider on the kernel's clock; one that renews tokens when the settings say where."""
        yield (cls if settings.oauth is None else RenewingAzure)(settings, now=context.now)

    def shown(self, credential: Credential) -> dict[str, str]:
        """The token as a bearer, or the key as `api-key`."""
        if token := self.token(credential):
            return {"authorization": f"Bearer {token}"}
        return {"api-key": credential.api_key.reveal()} if credential.api_key else {}

    def path(self, operation: str, call: Call) -> str:
        """`/openai/v1/…`, or the older form."""
        if not self._version:
            return f"/openai/v1{operation}"
        deployed = f"/deployments/{quote(call.model, safe='')}" if operation in _DEPLOYED else ""
        return f"/openai{deployed}{operation}?api-version={self._version}"


class RenewingAzure(Renewing, AzureOpenAI):
    """Credentials may have tokens of Entra ID instead of keys."""

    def __init__(self, settings: AzureSettings, *, now: Callable[[], float]) -> None:
        """`settings.oauth` must be given."""
        if settings.oauth is None:
            raise ValueError("the oauth table is missing")
        super().__init__(settings, now=now)
        self._oauth = settings.oauth
