"""Raw HTTP requests with a credential on them (C13): who puts it there, and in which order a refusal is decided.

Nothing here sends, and none of it is an outcome (C13.6). The request is bound to its caller's cancellation by being
sent in the caller's own scope.
"""

from collections.abc import Callable, Mapping

import httpx

from turnout import Credential
from turnout.abc import RequestPreparer, Sender
from turnout.errors import CallerError, NotSupported


class CannotPrepare(CallerError):
    """A request cannot get its credential; nothing of it was changed. Each subclass is a code of C13.2."""


class NoCredentialGiven(CannotPrepare):
    """There is no credential."""

    code = "auth_not_found"


class NoRequestGiven(CannotPrepare):
    """There is no request."""

    code = "invalid_request"


class NoSuchProvider(CannotPrepare):
    """The credential names no provider, or one that is not there."""

    code = "provider_not_found"


def provider_key(credential: Credential) -> str:
    """Key of the provider that serves a credential's raw requests (C13.1); may be empty."""
    name = credential.attributes.get("compat_name", "").strip()
    key = (credential.attributes.get("provider_key", "").strip() or name) if name else credential.provider
    return key.strip().lower()


def new_request(
    method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None
) -> httpx.Request:
    """A request to be prepared (C13.3).

    A blank method is GET. Given headers replace httpx's own as a copy; the transport adds what frames the message.
    `None` sends no body, `b""` an empty one. Raises httpx.InvalidURL.
    """
    request = httpx.Request(method.strip() or "GET", url, content=body)
    if headers is not None:
        request.headers = httpx.Headers(dict(headers))
    if body == b"":
        request.headers.setdefault("content-length", "0")
    return request


def prepare(request: httpx.Request | None, credential: Credential | None, providers: Mapping[str, object]) -> None:
    """Put a credential on a request (C13.2). Raises CannotPrepare, NotSupported, or what the provider raises."""
    given, credential, provider = _checked(request, credential, providers)
    if not isinstance(provider, RequestPreparer):
        raise NotSupported("executor does not support http request preparation")
    provider.prepare(given, credential)


def sender(request: httpx.Request | None, credential: Credential | None, providers: Mapping[str, object]) -> Sender:
    """The provider whose `send` puts the credential on the request and sends it (C13.4).

    Raises CannotPrepare, NotSupported.
    """
    provider = _checked(request, credential, providers)[2]
    if not isinstance(provider, Sender):
        raise NotSupported("executor does not send http requests")
    return provider


def inject(
    request: httpx.Request | None,
    id: str,
    find: Callable[[str], Credential | None],
    providers: Mapping[str, object],
) -> None:
    """`prepare` with a stored credential; nothing happens when anything needed is missing (C13.5).

    What the provider raises is raised.
    """
    credential = find(id) if id.strip() else None
    if request is None or credential is None:
        return
    provider = providers.get(provider_key(credential))
    if isinstance(provider, RequestPreparer):
        provider.prepare(request, credential)


def _checked(
    request: httpx.Request | None, credential: Credential | None, providers: Mapping[str, object]
) -> tuple[httpx.Request, Credential, object]:
    if credential is None:
        raise NoCredentialGiven("auth is nil")
    if request is None:
        raise NoRequestGiven("http request is nil")
    key = provider_key(credential)
    if not key:
        raise NoSuchProvider("auth provider is empty")
    provider = providers.get(key)
    if provider is None:
        raise NoSuchProvider(f"executor not registered for provider: {key}")
    return request, credential, provider
