"""The one judge of client keys: every door of this frontend asks it, before anything else is read (S1 to S3, C-10)."""

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import final

import attrs

from turnout import Secret

Headers = Iterable[tuple[bytes, bytes]]


@final
@attrs.frozen
class Client:
    """Somebody with a key, named by its place in the configuration: never by anything derived from the key.

    Attributes:
        tag: ends the ids of its requests, and names it in the kernel's records; drawn, so that no other client can
            guess an id, and nobody learns anything about the key (S8).
    """

    id: str
    key: bytes = attrs.field(repr=False)
    tag: str = attrs.field(eq=False)

    def request_id(self, number: str) -> str:
        """The id of its request of this number, where it gave none itself."""
        return f"{number}-{self.tag}"


_SUBPROTOCOL = b"openai-insecure-api-key."


def subprotocol(offered: bytes) -> bytes:
    """The first of the offered subprotocols that is no key: browsers insist on an answer. Empty when there is none."""
    return next((token for token in _tokens(offered) if token and not token.startswith(_SUBPROTOCOL)), b"")


def _tokens(value: bytes) -> list[bytes]:
    return [token.strip() for token in value.split(b",")]


def presented(headers: Headers) -> bytes | None:
    """The key that a request shows; None when it shows none, or things that contradict each other.

    The carriers are those of the vendors' SDKs: `Authorization: Bearer`, `x-api-key`, `x-goog-api-key`; and, for who
    opens a websocket without being able to set headers, a subprotocol with the prefix that OpenAI documents for that
    (platform.openai.com/docs/guides/realtime-websocket, read November 2026).
    """
    found: bytes | None = None
    for name, value in headers:
        if name == b"authorization":
            if value[:7].lower() != b"bearer ":
                return None
            shown = value[7:].strip()
        elif name in {b"x-api-key", b"x-goog-api-key"}:
            shown = value
        elif name == b"sec-websocket-protocol":
            keys = {token[len(_SUBPROTOCOL) :] for token in _tokens(value) if token.startswith(_SUBPROTOCOL)}
            if not keys:
                continue
            if len(keys) > 1:
                return None
            shown = keys.pop()
        else:
            continue
        if found is not None and found != shown:
            return None
        found = shown
    return found


@final
class KeyRing:
    """The keys that open this frontend."""

    def __init__(self, keys: Sequence[Secret], before: "KeyRing | None" = None) -> None:
        """`before` are the keys until now: those that stay keep their tags, and with them their records."""
        tags = {client.key: client.tag for client in before._by_digest.values()} if before else {}  # noqa: SLF001
        clients = [
            Client(f"key-{number}", key, tags.get(key) or secrets.token_hex(8))
            for number, key in enumerate((secret.reveal().encode() for secret in keys), 1)
        ]
        self._by_digest: dict[bytes, Client] = {hashlib.sha256(client.key).digest(): client for client in clients}

    def judge(self, headers: Headers) -> Client | None:
        """Whose key the request shows, None for nobody's.

        Looking up a digest tells nothing about how near a wrong key came, and keys are compared as bytes in
        constant time, so that no key of any length or alphabet raises (F11).
        """
        key = presented(headers)
        if not key:
            return None
        client = self._by_digest.get(hashlib.sha256(key).digest())
        return client if client is not None and hmac.compare_digest(client.key, key) else None


@final
class Strikes:
    """Counts wrong keys per address, bounded, so that guessing gets 429 instead of 401.

    A right key is served even from such an address: many clients may share it.
    """

    ALLOWED = 30
    WINDOW = 60.0
    ADDRESSES = 1024

    def __init__(self) -> None:
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def strike(self, address: str, now: float) -> bool:
        """Note a wrong key; whether this address has used up what it may show in a minute."""
        began, count = self._counts.get(address, (now, 0))
        if now - began >= self.WINDOW:
            began, count = now, 0
        self._counts[address] = (began, count + 1)
        self._counts.move_to_end(address)
        if len(self._counts) > self.ADDRESSES:
            self._counts.popitem(last=False)
        return count >= self.ALLOWED
