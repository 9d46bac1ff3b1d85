"""`turnout explain`: how a running gateway conducted a recent call."""

import json
from collections.abc import Iterator, Mapping
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

import click

LIMIT = 10.0
"""Seconds that a gateway may take to answer: it looks into its memory."""

LARGEST = 1 << 20
"""Bytes of an answer that are read; a decision record has a few thousand."""

NO_GATEWAY = "what answers there is no Turnout gateway"


@click.command()
@click.argument("id")
@click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="Where the gateway serves.")
@click.option("--key", envvar="TURNOUT_KEY", required=True, help="The call's client key; better as $TURNOUT_KEY.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
def explain(id: str, url: str, key: str, *, as_json: bool) -> None:
    """Tell how a running gateway conducted the call with this request ID: who was asked, and how that went.

    The ID is the answer's x-request-id, the key the one that the call was made with. A gateway remembers its last
    thousand calls.
    """
    record = _fetch(f"{_checked(url)}/v1/turnout/decisions/{quote(id, safe='')}", key)
    if not isinstance(record, dict) or record.get("id") != id:
        raise click.ClickException(NO_GATEWAY)
    if as_json:
        click.echo(json.dumps(record, indent=2, ensure_ascii=False))
        return
    for line in _lines(record):
        click.echo(line)


def _checked(url: str) -> str:
    if urlsplit(url).scheme not in {"http", "https"}:
        raise click.BadParameter("write http://HOST:PORT or https://HOST:PORT", param_hint="--url")
    return url.rstrip("/")


def _fetch(url: str, key: str) -> object:
    if not key.isascii() or not key.isprintable():
        raise click.BadParameter("a key has printable ASCII characters only", param_hint="--key")
    request = Request(url, headers={"authorization": f"Bearer {key}"})  # noqa: S310 # `_checked` allows two schemes
    try:
        with _opener().open(request, timeout=LIMIT) as answer:
            record: object = json.loads(answer.read(LARGEST))
    except HTTPError as error:
        raise click.ClickException(_refused(error.code)) from None
    except (URLError, OSError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        raise click.ClickException(f"no gateway answers there: {reason}") from None
    except (HTTPException, ValueError):
        raise click.ClickException(NO_GATEWAY) from None
    return record


class _Stay(HTTPRedirectHandler):
    """Follows nobody: urllib would show the key to whomever an answer names."""

    def redirect_request(self, *_: Any) -> None:
        """No request: the redirection is the answer."""


def _opener() -> OpenerDirector:
    """Without the environment's proxies too: the key is for the gateway and for nobody on the way."""
    return build_opener(ProxyHandler({}), _Stay())


def _refused(status: int) -> str:
    known = {
        401: "the gateway does not take this key",
        404: "the gateway knows no recent call with this request id and key",
    }
    return known.get(status, f"the gateway answered with status {status}")


def _lines(record: Mapping[str, Any]) -> Iterator[str]:
    served = f"served by {record['served_by']}" if record["served_by"] else f"failed: {record['error']}"
    what = f"{record['operation']}{', streaming' if record['stream'] else ''}"
    yield f"{record['id']}: {record['model']} ({what}), {served}"
    passes = f", in {record['passes']} passes" if record["passes"] > 1 else ""
    yield f"took {record['took']:.3f} s, of which {record['waited']:.3f} s waiting{passes}"
    for one in record["attempts"]:
        times = f"{one['began']:8.3f} to {one['ended']:.3f} s"
        yield f"{times}  {one['credential']} ({one['provider']}, {one['model']}): {one['verdict']}"
    for credential, why in record["skipped"]:
        yield f"left out  {credential}: {why}"
