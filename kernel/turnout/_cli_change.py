"""`turnout credentials add|remove|enable|disable|reset|export|import|rotate-key`: changes to the store's credentials.

They work on the store itself, and a gateway that runs on the same store follows it. A store that is one process's alone
lets them in as a guest, for as long as the command runs, or refuses them (`PluginContext.briefly`). Keys come from
stdin or the environment, never from the command line, which others can read (acceptance S70).
"""

import json
import os
import secrets
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import attrs
import click
import trio

from turnout import _store_edit
from turnout._audit import default_audit, note
from turnout._cli_common import config_option, echo_json, loaded, plugins_of
from turnout._clock import Clock
from turnout._config import Config, credentials_of
from turnout._entries import CredentialEntry, credential_of
from turnout._open_store import open_store
from turnout._plugin_calls import offers
from turnout._plugins import Plugins
from turnout._records import decode_credential, encode_credential
from turnout._values import MASK, Credential, Metadata, Secret
from turnout.abc import KeyRotator, Store
from turnout.errors import InvalidAsk, NotSupported, UnknownCredential

T = TypeVar("T")
Work = Callable[[Store, float], Awaitable[T]]


def _on_store(config: Config, plugins: Plugins, work: Work[T]) -> T:
    async def main() -> T:
        clock = Clock()
        async with open_store(config, plugins, clock) as store:
            return await work(store, clock.now())

    return trio.run(main)


def _refuse_those_of_the_file(config: Config, id: str, what: str) -> None:
    if any(one.id == id for one in credentials_of(config)):
        raise click.UsageError(f"the credential {id!r} is named in {config.source}: {what} there")


@click.command()
@click.argument("provider")
@click.option("--id", default="", help="Its id; made up when it is left out.")
@click.option("--label", default="", help="A text for people.")
@click.option("--base-url", default="", help="Beats the provider's.")
@click.option("--prefix", default="", help="Of its model names.")
@click.option("--priority", type=int, help="Higher is better.")
@click.option("--key-env", metavar="NAME", help="Environment variable with the key; else it is read from stdin.")
@config_option
@click.pass_context
def add(
    context: click.Context, /, provider: str, id: str, key_env: str | None, config: Path | None, **fields: Any
) -> None:
    """Keep a new credential of PROVIDER in the store. Its key is read from stdin."""
    settled = loaded(config)
    table = next((table for table in settled.providers if table.key == provider.strip().lower()), None)
    if table is None:
        known = ", ".join(table.key for table in settled.providers) or "none"
        raise click.UsageError(f"no provider {provider!r} is configured; known: {known}")
    id = id or f"{table.key}-{secrets.token_hex(4)}"
    _refuse_those_of_the_file(settled, id, "change it")
    try:
        entry = CredentialEntry(name=id, api_key=_key(key_env), metadata=Metadata({}), **fields)
    except (ValueError, InvalidAsk) as error:
        raise click.UsageError(str(error)) from None
    made = credential_of(table, entry)

    async def work(store: Store, now: float) -> None:
        await _store_edit.add(store, [attrs.evolve(made, created_at=now, updated_at=now)])

    _on_store(settled, plugins_of(context), work)
    click.echo(f"{id} is added")


def _key(variable: str | None) -> Secret:
    if variable is not None:
        text = os.environ.get(variable, "")
    elif sys.stdin.isatty():
        text = click.prompt("Key", hide_input=True)
    else:
        text = sys.stdin.readline()
    if not text.strip():
        raise click.UsageError("no key was given: write it to stdin, or name its variable with --key-env")
    return Secret(text.strip())


@click.command()
@click.argument("id")
@config_option
@click.pass_context
def remove(context: click.Context, id: str, config: Path | None) -> None:
    """Remove a credential from the store, with its cooldowns."""
    settled = loaded(config)
    _refuse_those_of_the_file(settled, id, "remove it")
    _on_store(settled, plugins_of(context), lambda store, _: _store_edit.remove(store, id))
    click.echo(f"{id} is removed")


@click.command()
@click.argument("id")
@config_option
@click.pass_context
def enable(context: click.Context, id: str, config: Path | None) -> None:
    """Let a credential of the store serve again."""
    _switch(context, id, config, disabled=False)


@click.command()
@click.argument("id")
@config_option
@click.pass_context
def disable(context: click.Context, id: str, config: Path | None) -> None:
    """Keep a credential of the store from serving, until it is enabled."""
    _switch(context, id, config, disabled=True)


def _switch(context: click.Context, id: str, config: Path | None, *, disabled: bool) -> None:
    settled = loaded(config)
    _refuse_those_of_the_file(settled, id, f"set disabled = {str(disabled).lower()}")

    async def work(store: Store, now: float) -> None:
        await _store_edit.change(store, id, lambda one: attrs.evolve(one, disabled=disabled, updated_at=now))

    _on_store(settled, plugins_of(context), work)
    click.echo(f"{id} is {'disabled' if disabled else 'enabled'}")


@click.command()
@click.argument("id")
@config_option
@click.pass_context
def reset(context: click.Context, id: str, config: Path | None) -> None:
    """Forget every cooldown, error and backoff level of a credential, also of one that the file names."""
    settled = loaded(config)

    async def work(store: Store, _: float) -> None:
        known = {one.id for one in credentials_of(settled)} | {
            one.id for one in await store.list() if one.kind in {"secret", "state"}
        }
        if id not in known:
            raise UnknownCredential(f"there is no credential {id!r}", argument="id")
        await store.delete("state", id)

    _on_store(settled, plugins_of(context), work)
    click.echo(f"{id} is reset")


@click.command()
@click.argument("ids", nargs=-1)
@click.option("--reveal", is_flag=True, help="Show keys and tokens; the audit file tells of it first.")
@click.option("--audit", type=click.Path(path_type=Path), help="The audit file.  [default: turnout/audit.jsonl]")
@config_option
@click.pass_context
def export(
    context: click.Context, ids: Sequence[str], config: Path | None, audit: Path | None, *, reveal: bool
) -> None:
    """Print credentials of the store as JSON, all of them without IDS. Secrets are masked."""

    async def work(store: Store, now: float) -> list[dict[str, Any]]:
        found = await _store_edit.stored(store)
        if missing := [id for id in ids if id not in found]:
            raise UnknownCredential(f"there is no credential {missing[0]!r} in the store", argument="id")
        chosen = [found[id] for id in ids or sorted(found)]
        if reveal:
            note(audit or default_audit(os.environ), "export --reveal", [one.id for one in chosen], now)
        return [_fields(one) if reveal else _masked(_fields(one)) for one in chosen]

    echo_json(_on_store(loaded(config), plugins_of(context), work))


def _fields(credential: Credential) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(encode_credential(credential))
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
    """Keep the credentials of FILE, as `export --reveal` prints them, in the store; stdin without FILE."""
    settled = loaded(config)
    read = _read(file.read())
    for one in read:
        _refuse_those_of_the_file(settled, one.id, "change it")

    async def work(store: Store, now: float) -> None:
        known = await _store_edit.stored(store)
        if not replace and (taken := [one.id for one in read if one.id in known]):
            raise InvalidAsk(f"there is a credential {taken[0]!r} already; --replace takes its place", argument="file")
        await _store_edit.add(store, [attrs.evolve(one, updated_at=now) for one in read], replace=replace)

    _on_store(settled, plugins_of(context), work)
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
        found.append(attrs.evolve(one, metadata=one.metadata if one.metadata is not None else Metadata({})))
    return found


@click.command("rotate-key")
@config_option
@click.pass_context
def rotate_key(context: click.Context, config: Path | None) -> None:
    """Seal the store with a new master key, and wrap what is there anew."""
    settled = loaded(config)

    async def work(store: Store, _: float) -> int:
        if not offers(store, KeyRotator):
            raise NotSupported(f"the store {settled.store!r} does not seal what it keeps")
        return await store.rotate_key()

    click.echo(f"{_on_store(settled, plugins_of(context), work)} secrets are under the new key")


CHANGES = (add, remove, enable, disable, reset, export, import_, rotate_key)
