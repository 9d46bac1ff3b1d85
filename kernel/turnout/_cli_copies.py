"""`turnout credentials export|import`: copies of the store's credentials, masked or whole."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import click

from turnout import _store_edit
from turnout._audit import default_audit, note
from turnout._cli_common import config_option, echo_json, loaded, on_store, plugins_of, refuse_those_of_the_file
from turnout._entries import placed
from turnout._records import decode_credential, encode_credential
from turnout._values import MASK, Credential, Metadata, Secret
from turnout.abc import Store
from turnout.errors import InvalidAsk, UnknownCredential


@click.command()
@click.argument("ids", nargs=-1)
@click.option("--reveal", is_flag=True, help="Show keys and tokens; the audit file tells of it first.")
@click.option("--audit", type=click.Path(path_type=Path), help="The audit file.  [default: turnout/audit.jsonl]")
@config_option
@click.pass_context
def export(
    context: click.Context, ids: Sequence[str], config: Path | None, audit: Path | None, *, reveal: bool
) -> None:
    """Print credentials of the store as JSON.

    All of them without IDS. Secrets are masked.
    """

    async def work(store: Store, now: float) -> list[dict[str, Any]]:
        found = await _store_edit.stored(store)
        if missing := [id for id in ids if id not in found]:
            raise UnknownCredential(f"there is no credential {missing[0]!r} in the store", argument="id")
        chosen = [found[id] for id in ids or sorted(found)]
        if reveal:
            note(audit or default_audit(os.environ), "export --reveal", [one.id for one in chosen], now)
        return [_fields(one) if reveal else _masked(_fields(one)) for one in chosen]

    echo_json(on_store(loaded(config), plugins_of(context), work))


def _fields(credential: Credential) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(encode_credential(placed(credential, in_file=False)))
    return fields


def _masked(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields without anything secret: of the metadata, whose values may all be tokens, the names stay."""
    hidden = {name: MASK for name in ("api_key", "proxy_url") if name in fields}
    attributes: dict[str, str] = fields.get("attributes", {})
    headers = {name: MASK for name in attributes if name.startswith("header:")}
    shown: dict[str, Any] = fields | hidden
    if headers:
        shown["attributes"] = attributes | headers
    if "metadata" in fields:
        shown["metadata"] = dict.fromkeys(fields["metadata"], MASK)
    return shown


@click.command("import")
@click.argument("file", type=click.File("r", encoding="utf-8"), default="-")
@click.option("--replace", is_flag=True, help="Also those whose ids are taken.")
@config_option
@click.pass_context
def import_(context: click.Context, file: Any, config: Path | None, *, replace: bool) -> None:
    """Keep the credentials of FILE in the store.

    As `export --reveal` prints them; stdin without FILE.
    """
    settled = loaded(config)
    read = _read(file.read())
    for one in read:
        refuse_those_of_the_file(settled, one.id, "change it")

    async def work(store: Store, now: float) -> None:
        known = await _store_edit.stored(store)
        if not replace and (taken := [one.id for one in read if one.id in known]):
            raise InvalidAsk(f"there is a credential {taken[0]!r} already; --replace takes its place", argument="file")
        await _store_edit.add(store, [attrs.evolve(one, updated_at=now) for one in read], replace=replace)

    on_store(settled, plugins_of(context), work)
    click.echo(f"{len(read)} credentials are imported")


def _read(text: str) -> list[Credential]:
    try:
        items = json.loads(text)
    except (ValueError, RecursionError):
        items = None
    if not isinstance(items, list):
        raise click.UsageError("expected a JSON list of credentials, as `export --reveal` prints it")
    found = []
    for number, item in enumerate(items, start=1):
        try:
            one = decode_credential(json.dumps(item).encode())
        except ValueError as error:
            raise click.UsageError(f"credential {number}: {error}") from None
        if Secret(MASK) in {one.api_key, one.proxy_url} or MASK in (one.metadata or {}).values():
            raise click.UsageError(f"credential {number} ({one.id}) is masked: export it with --reveal")
        one = placed(one, in_file=False)
        found.append(attrs.evolve(one, metadata=one.metadata if one.metadata is not None else Metadata({})))
    return found
