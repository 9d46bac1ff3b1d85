"""A raw HTTP request for `kernel.credentials.prepare` and `send`, which put a credential on it (C13)."""

from collections.abc import Mapping

import httpx


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
