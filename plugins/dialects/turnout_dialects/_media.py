"""Data URLs and media types."""

import base64
import binascii
import re

_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w-]+=[^;,]*)*(;base64)?,", re.ASCII)

_BY_ENDING = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "heic": "image/heic",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "md": "text/markdown",
    "csv": "text/csv",
    "html": "text/html",
    "json": "application/json",
    "mp3": "audio/mp3",
    "wav": "audio/wav",
}


def split_data_url(url: str) -> tuple[str | None, str] | None:
    """Media type and base64 data of a data URL; None for another URL. Raises ValueError for a broken one."""
    if url[:5].lower() != "data:":
        return None
    found = _DATA_URL.match(url[:200])
    if not found or not found[2]:
        raise ValueError("a data URL must be `data:TYPE;base64,DATA`")
    return found[1], url[found.end() :]


def data_url(media_type: str | None, data: str) -> str:
    """A data URL of base64 data."""
    return f"data:{media_type or 'application/octet-stream'};base64,{data}"


def type_by_ending(url: str | None) -> str | None:
    """The media type that the ending of a URL or file name suggests, None when unknown."""
    ending = (url or "").partition("?")[0].partition("#")[0].rpartition(".")[2].lower()
    return _BY_ENDING.get(ending)


def text_of(data: str) -> str:
    """The text in base64 data. Raises ValueError when it is no base64 or no UTF-8."""
    try:
        return base64.b64decode(data, validate=True).decode()
    except binascii.Error as exc:
        raise ValueError(str(exc)) from None


def data_of(text: str) -> str:
    """Base64 of a text."""
    return base64.b64encode(text.encode()).decode()


def kind_of(media_type: str | None) -> str:
    """`image`, `audio` or `file`."""
    family = (media_type or "").partition("/")[0]
    return family if family in {"image", "audio"} else "file"
