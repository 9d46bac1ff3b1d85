"""`turnout credentials`: who is in the pool, who waits until when, and renewing one. No secret is ever printed."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import trio

from turnout._cli_common import config_option, echo_json, echo_table, json_option, loaded, plugins_of
from turnout._config import Config
from turnout._custody import outdated
from turnout._entries import OF_FILE
from turnout._inspect import Inspection, Seen, inspect
from turnout._kernel import open_kernel
from turnout._plugins import Plugins
from turnout._readings import expiry, priority
from turnout._values import MASK, Credential, CredentialState, ModelState
from turnout.errors import UnknownCredential


@click.group()
def credentials() -> None:
    """Look at the pool's credentials, and change those of the store."""


@credentials.command("list")
@config_option
@json_option
@click.pass_context
def list_(context: click.Context, config: Path | None, *, as_json: bool) -> None:
    """List every credential with its status and its cooldowns."""
    found = _inspected(context, config)
    if as_json:
        echo_json([_facts(seen, found.now) for seen in found.seen])
        return
    echo_table(
        ("ID", "PROVIDER", "STATUS", "KEY", "COOLS"),
        [_row(_facts(seen, found.now), found.now) for seen in found.seen],
    )


@credentials.command()
@click.argument("id")
@config_option
@json_option
@click.pass_context
def show(context: click.Context, id: str, config: Path | None, *, as_json: bool) -> None:
    """Show one credential."""
    found = _inspected(context, config)
    seen = next((one for one in found.seen if one.credential.id == id), None)
    if seen is None:
        known = ", ".join(one.credential.id for one in found.seen[:20]) or "none"
        raise UnknownCredential(f"there is no credential {id!r}; known: {known}", argument="id")
    facts = _facts(seen, found.now)
    if as_json:
        echo_json(facts)
        return
    shown = {**facts, "cooldowns": "; ".join(_spoken(cooldown, found.now) for cooldown in facts["cooldowns"])}
    for name, value in shown.items():
        click.echo(f"{name + ':':<18}{_text(value)}".rstrip())


@credentials.command()
@click.argument("id")
@config_option
@click.pass_context
def refresh(context: click.Context, id: str, config: Path | None) -> None:
    """Renew a credential's tokens now, and keep them.

    The store `files` must not be open in a gateway meanwhile; others may be.
    """
    renewed, now = trio.run(_renewed, loaded(config), plugins_of(context), id)
    ends = expiry(renewed)
    until = f"; its token ends in {ends - now:.0f} s" if ends is not None else ""
    click.echo(f"{id} is renewed{until}")


async def _renewed(config: Config, plugins: Plugins, id: str) -> tuple[Credential, float]:
    # What else is due is left alone: a gateway may be renewing it at this very moment.
    async with open_kernel(config.without("frontends", "observers"), plugins=plugins, renew=False) as kernel:
        renewed = await kernel.credentials.refresh(id)
        return renewed, renewed.last_refreshed_at or 0.0


def _inspected(context: click.Context, config: Path | None) -> Inspection:
    found = trio.run(inspect, loaded(config), plugins_of(context))
    if found.unread:
        click.echo(f"turnout: states are not known, the store cannot be read: {found.unread}", err=True)
    for id in found.damaged:
        click.echo(f"turnout: a record of {id} in the store is damaged and left out", err=True)
    return found


def _facts(seen: Seen, now: float) -> dict[str, Any]:
    credential = seen.credential
    return {
        "id": credential.id,
        "provider": credential.provider,
        "source": seen.source,
        "status": _status(seen),
        "message": _why(seen),
        "key": MASK if credential.api_key else None,
        "priority": priority(credential),
        "prefix": credential.prefix,
        "label": credential.label,
        "cooldowns": [*_cooldowns(seen, now)],
    }


def _left_out(seen: Seen) -> bool:
    """Whether it is in the store only because a file listed it that does so no more: a gateway leaves it out."""
    return seen.source == "store" and OF_FILE in seen.credential.attributes


def _why(seen: Seen) -> str:
    if _left_out(seen):
        return "the file lists it no more"
    return _needs_login(seen) or (seen.state.status_message if seen.state else "")


def _status(seen: Seen) -> str:
    if _left_out(seen):
        return "left_out"
    if seen.credential.disabled:
        return "disabled"
    if seen.state is None:
        return "unknown"
    return "needs_login" if _needs_login(seen) else seen.state.status.value


def _needs_login(seen: Seen) -> str:
    """Why only a person can renew it; empty when that is not so, or was so of another token than it has now."""
    return "" if seen.state is None or outdated(seen.state, seen.credential) else seen.state.needs_login


def _cooldowns(seen: Seen, now: float) -> Iterator[dict[str, Any]]:
    """Waits that are not over; the empty model is the credential as a whole."""
    if seen.state is None:
        return
    states: dict[str, CredentialState | ModelState] = {"": seen.state, **seen.state.models}
    for model, state in states.items():
        until = state.next_retry_after
        if until is not None and until > now:
            reason = str(state.last_error) if state.last_error else state.quota.reason
            yield {"model": model, "until": until, "reason": reason}


def _row(facts: dict[str, Any], now: float) -> tuple[str, ...]:
    cools = "; ".join(_spoken(cooldown, now) for cooldown in facts["cooldowns"])
    return facts["id"], facts["provider"], facts["status"], _text(facts["key"]), cools or "-"


def _spoken(cooldown: dict[str, Any], now: float) -> str:
    until = datetime.fromtimestamp(cooldown["until"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    what = f"{cooldown['model']} " if cooldown["model"] else ""
    return f"{what}until {until} ({cooldown['until'] - now:.0f} s)"


def _text(value: object) -> str:
    return "-" if value in {None, ""} else str(value)
