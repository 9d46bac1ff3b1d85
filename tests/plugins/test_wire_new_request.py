"""Raw HTTP requests, before a credential is on them: C13.3."""

import pytest

from turnout_wire import new_request


@pytest.mark.parametrize(("method", "used"), [("", "GET"), ("  ", "GET"), (" post ", "POST")])
def test_a_blank_method_is_get(method: str, used: str) -> None:
    """C13.3."""
    assert new_request(method, "https://x.test/").method == used


def test_given_headers_replace_the_defaults_as_a_copy() -> None:
    """C13.3."""
    headers = {"X-One": "1"}
    request = new_request("POST", "https://x.test/", headers=headers, body=b"x")
    headers["X-Two"] = "2"
    assert dict(request.headers) == {"x-one": "1"}
    assert "host" in new_request("POST", "https://x.test/").headers


def test_no_body_is_not_an_empty_body() -> None:
    """C13.3."""
    assert "content-length" not in new_request("GET", "https://x.test/").headers
    assert new_request("GET", "https://x.test/", body=b"").headers["content-length"] == "0"
    assert new_request("PUT", "https://x.test/", body=b"abc").content == b"abc"
