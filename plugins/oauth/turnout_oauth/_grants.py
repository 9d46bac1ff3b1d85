"""Token grants, each a generator that yields requests, is sent the whole responses, and returns tokens. No I/O.

    flow = refresh_token(settings, token, now=now)
    tokens = await drive(flow, transport)

A flow raises UpstreamFailed in place of returning. Only `Unauthorized` means that nobody but a person can help; every
other verdict passes, and the kernel tries again later.
"""

import base64
from collections.abc import Generator, Mapping
from typing import TypeAlias, TypeVar
from urllib.parse import quote_plus, urlencode

import httpx

from turnout import Credential, Failed, Secret, Sent, Unauthorized
from turnout.errors import UpstreamFailed
from turnout_oauth._answers import tokens_of
from turnout_oauth._service_account import ServiceAccount, service_account_of
from turnout_oauth._settings import OAuthSettings
from turnout_oauth._tokens import Tokens, text

T = TypeVar("T")

Flow: TypeAlias = Generator[httpx.Request, httpx.Response, T]
"""Yields requests, receives each one's response with its body read, returns a result."""

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


def refresh_token(settings: OAuthSettings, token: Secret, *, now: float) -> Flow[Tokens]:
    """Renew by a refresh token (RFC 6749, 6). `now` is POSIX seconds.

    The scopes are not named again: the server would have to refuse more than it granted, and takes none for all.
    """
    fields = {"grant_type": "refresh_token", "refresh_token": token.reveal()}
    response = yield _authenticated(settings, fields)
    return tokens_of(response, now=now, secrets=(token, settings.client_secret))


def client_credentials(settings: OAuthSettings, *, now: float) -> Flow[Tokens]:
    """Ask as the client itself (RFC 6749, 4.4)."""
    fields = {"grant_type": "client_credentials", **_scope(settings)}
    response = yield _authenticated(settings, fields)
    return tokens_of(response, now=now, secrets=(settings.client_secret,))


def jwt_bearer(settings: OAuthSettings, account: ServiceAccount, *, now: float) -> Flow[Tokens]:
    """Ask as a service account (RFC 7523, 2.1); the assertion is for `token_url` and nobody else."""
    try:
        assertion = account.assertion(settings.token_url, settings.scopes, now)
    except ValueError as error:
        raise UpstreamFailed(Unauthorized(message=str(error), sent=Sent.NO)) from None
    response = yield _request(settings, {"grant_type": JWT_BEARER, "assertion": assertion.reveal()})
    return tokens_of(response, now=now, secrets=(assertion, account.private_key))


def renewal(settings: OAuthSettings, credential: Credential, *, now: float) -> Flow[Tokens]:
    """The grant that a credential has the means for: service account, refresh token, or the client's own secret.

    Raises UpstreamFailed at once for one that has none of them.
    """
    if (account := service_account_of(credential.metadata)) is not None:
        return jwt_bearer(settings, account, now=now)
    if token := text(credential.metadata, "refresh_token"):
        return refresh_token(settings, Secret(token), now=now)
    if credential.api_key is not None:
        raise UpstreamFailed(Failed(message="it is a key, which cannot be renewed", sent=Sent.NO))
    if settings.client_secret is not None:
        return client_credentials(settings, now=now)
    raise UpstreamFailed(Unauthorized(message="it has no refresh token: log in", sent=Sent.NO))


def _scope(settings: OAuthSettings) -> dict[str, str]:
    return {"scope": " ".join(settings.scopes)} if settings.scopes else {}


def _authenticated(settings: OAuthSettings, fields: Mapping[str, str]) -> httpx.Request:
    """A request that says who we are (RFC 6749, 2.3.1): by the header, in the body, or, as a public client, by name."""
    if settings.client_secret is None:
        return _request(settings, {**fields, "client_id": settings.client_id} if settings.client_id else fields)
    secret = settings.client_secret.reveal()
    if settings.client_auth == "post":
        return _request(settings, {**fields, "client_id": settings.client_id, "client_secret": secret})
    pair = f"{quote_plus(settings.client_id)}:{quote_plus(secret)}"
    return _request(settings, fields, authorization=f"Basic {base64.b64encode(pair.encode()).decode()}")


def _request(settings: OAuthSettings, fields: Mapping[str, str], **headers: str) -> httpx.Request:
    plain = {
        "accept": "application/json",
        "accept-encoding": "identity",
        "content-type": "application/x-www-form-urlencoded",
        "user-agent": "turnout",
    }
    return httpx.Request("POST", settings.token_url, headers=plain | headers, content=urlencode(fields).encode())
