"""What a provider needs so that its credentials may have tokens: they are in a credential's metadata, renewed there."""

from collections.abc import Callable

import attrs
import httpx

from turnout import Credential, Sent, Unauthorized
from turnout.errors import UpstreamFailed
from turnout_oauth._drive import drive
from turnout_oauth._grants import renewal
from turnout_oauth._settings import OAuthSettings
from turnout_oauth._tokens import access_token_of, merged


class Renewing:
    """To be inherited before the provider's own class, which sets the two attributes.

    Attributes:
        _oauth: where tokens are renewed, and as whom.
        _now: reads POSIX seconds.
    """

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
        """The bearer token, empty for a credential that has a key instead; raises UpstreamFailed for neither."""
        token = access_token_of(credential)
        if not token and credential.api_key is None:
            raise UpstreamFailed(Unauthorized(message="it has no token yet", sent=Sent.NO))
        return token
