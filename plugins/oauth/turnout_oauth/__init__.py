"""Library for provider authors: OAuth 2 token grants as generators that yield requests, and who sends those."""

from turnout_oauth._drive import drive
from turnout_oauth._grants import Flow, client_credentials, jwt_bearer, refresh_token, renewal
from turnout_oauth._renewing import Renewing
from turnout_oauth._service_account import ServiceAccount, service_account_of
from turnout_oauth._settings import OAuthSettings
from turnout_oauth._tokens import Tokens, access_token_of, lifetime, merged

__all__ = [
    "Flow",
    "OAuthSettings",
    "Renewing",
    "ServiceAccount",
    "Tokens",
    "access_token_of",
    "client_credentials",
    "drive",
    "jwt_bearer",
    "lifetime",
    "merged",
    "refresh_token",
    "renewal",
    "service_account_of",
]
