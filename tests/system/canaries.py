"""Secrets made up for a test, and whether they show somewhere."""

import base64
import secrets
from collections.abc import Iterator

import attrs


def canary() -> str:
    return "canary-" + secrets.token_hex(16)


@attrs.frozen
class Canaries:
    """To be inherited by a class with a field for each secret."""

    def found_in(self, *contents: str | bytes) -> list[str]:
        """Names of those that show, whole or but for a few characters, also in the encodings of HTTP."""
        texts = [content.encode() if isinstance(content, str) else content for content in contents]
        return [
            name
            for name, secret in attrs.asdict(self).items()
            if any(form in text for form in forms(secret) for text in texts)
        ]


def forms(secret: str) -> Iterator[bytes]:
    middle = secret[7:23].encode()  # a key's first and last four characters may be shown
    yield middle
    yield from (base64.b64encode(b"x" * shift + middle)[4:-4] for shift in range(3))
