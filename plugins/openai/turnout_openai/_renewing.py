"""For services behind OAuth: the bearer token is in a credential's metadata, and is renewed there."""

from collections.abc import Callable

import attrs
import httpx

from turnout import Credential, Sent, Unauthorized
from turnout.errors import UpstreamFailed
from turnout_oauth import OAuthSettings, access_token_of, drive, merged, renewal


class Renewing:
    """What a provider needs so that its credentials may have tokens instead of keys."""

    _oauth: OAuthSettings
    _now: Callable[[], float]

    def token_origin(self, credential: Credential) -> str:  # noqa: ARG002  # the protocol's argument
        """`scheme://host:port` of the token endpoint."""
        return self._oauth.origin

    def refresh_lead(self, credential: Credential) -> float:  # noqa: ARG002  # the protocol's argument
        """Seconds before its end at which a token is renewed."""
        return self._oauth.lead

    async def refresh(self, credential: Credential, transport: httpx.AsyncBaseTransport | None) -> Credential:
        """The credential with new tokens; raises UpstreamFailed, with Unauthorized when only a person can help."""
        tokens = await drive(renewal(self._oauth, credential, now=self._now()), transport)
        return attrs.evolve(credential, metadata=merged(credential.metadata, tokens))

    def token(self, credential: Credential) -> str:
        """The token, empty for a credential that has a key instead; raises UpstreamFailed when it has neither."""
        token = access_token_of(credential)
        if not token and credential.api_key is None:
            raise UpstreamFailed(Unauthorized(message="it has no token yet", sent=Sent.NO))
        return token
