"""Google service accounts: the key file of one, and the assertion that it signs (RFC 7523, 2.1 and 3)."""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, final

import attrs
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from turnout import Metadata, Secret

ASSERTION_SECONDS: Final = 3600
"""How long an assertion holds: the longest that Google takes (developers.google.com/identity, 2026-11)."""


@final
@attrs.frozen(kw_only=True)
class ServiceAccount:
    """What we need of a service account's key file. Its `token_uri` is not: the operator's configuration says where.

    Attributes:
        email: `client_email`.
        private_key: PEM.
        key_id: `private_key_id`, empty when it is missing.
        subject: the user to act for (domain-wide delegation), empty for the account itself.
    """

    email: str
    private_key: Secret
    key_id: str = ""
    subject: str = ""

    def assertion(self, audience: str, scopes: Sequence[str], now: float) -> Secret:
        """A signed JWT that asks for a token at `audience`. Takes milliseconds; raises ValueError for a bad key."""
        head = {"alg": "RS256", "typ": "JWT", **({"kid": self.key_id} if self.key_id else {})}
        claims = {
            "iss": self.email,
            "aud": audience,
            "iat": int(now),
            "exp": int(now) + ASSERTION_SECONDS,
            **({"scope": " ".join(scopes)} if scopes else {}),
            **({"sub": self.subject} if self.subject else {}),
        }
        signed = f"{_part(head)}.{_part(claims)}"
        return Secret(f"{signed}.{_base64url(self._signature(signed.encode()))}")

    def _signature(self, data: bytes) -> bytes:
        try:
            key = load_pem_private_key(self.private_key.reveal().encode(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise ValueError("the private key of the service account cannot be read") from None  # it may quote the key
        if not isinstance(key, rsa.RSAPrivateKey):
            raise ValueError("the private key of the service account is no RSA key")  # noqa: TRY004  # a bad value
        return key.sign(data, PKCS1v15(), SHA256())


def service_account_of(metadata: Metadata | None) -> ServiceAccount | None:
    """The service account in a credential's metadata; None when it holds none.

    Its key file is the metadata itself, or stands under `service_account`, as an object or as the file's text.
    """
    file = _key_file(metadata)
    email, key = file.get("client_email"), file.get("private_key")
    if not isinstance(email, str) or not isinstance(key, str) or not email or not key:
        return None
    key_id, subject = file.get("private_key_id"), file.get("subject")
    return ServiceAccount(
        email=email,
        private_key=Secret(key),
        key_id=key_id if isinstance(key_id, str) else "",
        subject=subject if isinstance(subject, str) else "",
    )


def _key_file(metadata: Metadata | None) -> Mapping[str, Any]:
    if metadata is None:
        return {}
    inner = metadata.get("service_account", metadata)
    if isinstance(inner, str):
        try:
            inner = json.loads(inner)
        except (ValueError, RecursionError):
            return {}
    return inner if isinstance(inner, Mapping) else {}


def _part(fields: Mapping[str, object]) -> str:
    return _base64url(json.dumps(fields, separators=(",", ":")).encode())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
