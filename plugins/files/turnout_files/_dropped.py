"""A credential in a plain file that a person or a program has put into the directory, to be sealed. Pure."""

import json
from collections.abc import Mapping
from typing import Any, Final

_KINDS: Final[Mapping[str, type | tuple[type, ...]]] = {
    **dict.fromkeys(("id", "provider", "prefix", "label", "file_name", "api_key", "proxy_url"), str),
    **dict.fromkeys(("attributes", "metadata"), dict),
    **dict.fromkeys(("created_at", "updated_at", "last_refreshed_at", "next_refresh_after"), (int, float)),
    "disabled": bool,
}
"""The fields of a credential, as `turnout credentials export --reveal` prints them."""


def secret_record(id: str, content: bytes) -> bytes:
    """The secret record of the credential in such a file. Raises ValueError, which quotes no value."""
    try:
        fields: Any = json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON, or not whole") from None
    if not isinstance(fields, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004  # what is wrong is a file, not a type of ours
    for name, value in fields.items():
        if name not in _KINDS:
            raise ValueError(f"a credential has no field {name!r}")
        if not isinstance(value, _KINDS[name]) or (isinstance(value, bool) and name != "disabled"):
            raise ValueError(f"its field {name!r} is a {type(value).__name__}")
    if not fields.get("provider"):
        raise ValueError("it names no provider")
    if fields.get("id", id) != id:
        raise ValueError("its id is not the name of the file")
    return json.dumps({"metadata": {}, **fields, "id": id}).encode()
