"""`turnout credentials add|remove|enable|disable|reset|rotate-key`: changes to the store's credentials.

They work on the store itself, and a gateway that runs on the same store follows it. A store that is one process's alone
lets them in as a guest, for as long as the command runs, or refuses them (`PluginContext.briefly`). Keys come from
stdin or the environment, never from the command line, which others can read (acceptance S70).
"""

import os
import secrets
import sys
from pathlib import Path
from typing import Any

import attrs
import click

from turnout import _store_edit
from turnout._cli_common import config_option, loaded, on_store, plugins_of, refuse_those_of_the_file
from turnout._config import credentials_of
from turnout._entries import CredentialEntry, credential_of
from turnout._plugin_calls import offers
from turnout._values import Metadata, Secret
from turnout.abc import KeyRotator, Store
from turnout.errors import InvalidAsk, NotSupported, UnknownCredential


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
    """Keep a new credential in the store.

    PROVIDER is the name of a table under [providers]. The key is read from stdin.
    """
    settled = loaded(config)
    table = next((table for table in settled.providers if table.key == provider.strip().lower()), None)
    if table is None:
        known = ", ".join(table.key for table in settled.providers) or "none"
        raise click.UsageError(f"no provider {provider!r} is configured; known: {known}")
    id = id or f"{table.key}-{secrets.token_hex(4)}"
    refuse_those_of_the_file(settled, id, "change it")
    try:
        entry = CredentialEntry(name=id, api_key=_key(key_env), metadata=Metadata({}), **fields)
    except (ValueError, InvalidAsk) as error:
        raise click.UsageError(str(error)) from None
    made = credential_of(table, entry)

    async def work(store: Store, now: float) -> None:
        await _store_edit.add(store, [attrs.evolve(made, created_at=now, updated_at=now)])

    on_store(settled, plugins_of(context), work)
    click.echo(f"{id} is added")


def _key(variable: str | None) -> Secret:
    if variable is not None:
        text = os.environ.get(variable, "")
    elif sys.stdin is None:  # it was closed when we started
        text = ""
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
    """Remove a credential from the store."""
    settled = loaded(config)
    refuse_those_of_the_file(settled, id, "remove it")
    on_store(settled, plugins_of(context), lambda store, _: _store_edit.remove(store, id))
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
    """Keep a credential of the store from serving."""
    _switch(context, id, config, disabled=True)


def _switch(context: click.Context, id: str, config: Path | None, *, disabled: bool) -> None:
    settled = loaded(config)
    refuse_those_of_the_file(settled, id, f"set disabled = {str(disabled).lower()}")

    async def work(store: Store, now: float) -> None:
        await _store_edit.change(store, id, lambda one: attrs.evolve(one, disabled=disabled, updated_at=now))

    on_store(settled, plugins_of(context), work)
    click.echo(f"{id} is {'disabled' if disabled else 'enabled'}")


@click.command()
@click.argument("id")
@config_option
@click.pass_context
def reset(context: click.Context, id: str, config: Path | None) -> None:
    """Forget a credential's cooldowns and errors.

    Its backoff levels go, too; the credential may also be one that the file names.
    """
    settled = loaded(config)

    async def work(store: Store, now: float) -> None:
        known = {one.id for one in credentials_of(settled)} | {
            one.id for one in await store.list() if one.kind in {"secret", "state"}
        }
        if id not in known:
            raise UnknownCredential(f"there is no credential {id!r}", argument="id")
        await _store_edit.reset(store, id, now)

    on_store(settled, plugins_of(context), work)
    click.echo(f"{id} is reset")


@click.command("rotate-key")
@config_option
@click.pass_context
def rotate_key(context: click.Context, config: Path | None) -> None:
    """Seal the store with a new master key."""
    settled = loaded(config)

    async def work(store: Store, _: float) -> int:
        if not offers(store, KeyRotator):
            raise NotSupported(f"the store {settled.store!r} does not seal what it keeps")
        return await store.rotate_key()

    click.echo(f"{on_store(settled, plugins_of(context), work)} secrets are under the new key")


CHANGES = (add, remove, enable, disable, reset, rotate_key)
