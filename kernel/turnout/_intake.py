"""Credentials on their way into custody: those of the file, those of the store, and what each of them serves."""

from collections.abc import Callable, Mapping
from functools import partial
from logging import getLogger
from typing import TypeVar

import attrs

from turnout._config import Config, credentials_of
from turnout._custody import Custody, is_kept
from turnout._entries import OF_FILE, SEED
from turnout._generation import Generation, ProviderInstance
from turnout._listing import serves_of
from turnout._proxy_flaws import proxy_flaw
from turnout._records import decode_credential, decode_state
from turnout._renewal import TOKEN_KEYS
from turnout._values import EMPTY, Credential, Metadata, Record
from turnout.errors import ConfigError, TurnoutError

T = TypeVar("T")
Records = Mapping[tuple[str, str], Record]

log = getLogger("turnout.intake")


class Intake:
    """Brings credentials into one custody.

    Attributes:
        from_file: ids of those that the configuration names; a reload may remove them.
        waiting: ids of those that are in the store and not in custody: another configuration may use them.
    """

    def __init__(self, custody: Custody) -> None:
        self._custody = custody
        self.from_file: frozenset[str] = frozenset()
        self.waiting: set[str] = set()

    def bound(self, credential: Credential, generation: Generation) -> Credential:
        """The credential with its provider's origin. Raises ConfigError when that or its proxy is unusable."""
        provider = generation.providers[credential.provider]
        try:
            with provider.border:
                origin = _origin(provider, credential)
        except TurnoutError as error:
            raise ConfigError([f"credential {credential.id}: {error}"]) from error
        if flaw := proxy_flaw(generation.transport, credential.proxy_url, generation.transport_border):
            raise ConfigError([f"credential {credential.id}: its proxy_url is unusable: {flaw}"])
        return attrs.evolve(credential, origin=origin)

    def load(self, config: Config, generation: Generation, records: Records, now: float) -> list[Credential]:
        """Take in the credentials of the file, then those of the store; states come from the store (C3.4, O18).

        Gives what was taken in. Raises ConfigError before anything changes.
        """
        listed = {one.id: self.bound(one, generation) for one in credentials_of(config)}
        self.from_file = frozenset(listed)
        stored = {one.id: one for one in _stored(records)}
        for credential in stored.values():
            if (entered := listed.get(credential.id)) is not None:
                listed[credential.id] = _as_renewed(credential, entered)
            elif self.leaves_out(credential):
                log.warning(
                    "credential %s is left out: the file lists it no more; what the store has of it goes with "
                    "`turnout credentials remove %s`",
                    credential.id,
                    credential.id,
                )
            elif known := self.of_known_provider(credential, generation):
                listed[credential.id] = known
        read_state = partial(decode_state, now=now, cap=config.health.hint_cap)
        for credential in listed.values():
            record = records.get(("state", credential.id))
            state = None if record is None else read_record(record, read_state)
            serves = serves_of(config, generation.providers[credential.provider], credential)
            self._custody.put(credential, state=state, serves=serves, kept=("secret", credential.id) in records)
            self._mark_record(stored.get(credential.id), credential)
        return list(listed.values())

    def _mark_record(self, stored: Credential | None, credential: Credential) -> None:
        """Have a record say that the file lists its credential: an earlier version, or a command, did not say so."""
        unmarked = stored is not None and OF_FILE in credential.attributes and OF_FILE not in stored.attributes
        if unmarked and is_kept(credential, "secret"):
            self._custody.dirty.mark("secret", credential.id)

    def leaves_out(self, stored: Credential) -> bool:
        """Whether the store has a credential only because a file listed it, and the file here does not: it waits."""
        if OF_FILE not in stored.attributes or stored.id in self.from_file:
            return False
        self.waiting.add(stored.id)
        return True

    def of_known_provider(self, credential: Credential, generation: Generation) -> Credential | None:
        """The credential with its origin; None, and logged, when this configuration cannot use it."""
        if credential.provider not in generation.providers:
            self.waiting.add(credential.id)
            log.warning("credential %s waits: no provider %r is configured", credential.id, credential.provider)
            return None
        try:
            return self.bound(credential, generation)
        except ConfigError as error:
            log.warning("%s; it is left out", error)
            return None

    def plan(self, config: Config, generation: Generation) -> Callable[[], tuple[list[Credential], list[Credential]]]:
        """Work out what a reload does to the credentials; the plan, when called, does it and gives (put, removed).

        Raises ConfigError now, so that the plan itself cannot fail.
        """
        listed = {one.id: self.bound(one, generation) for one in credentials_of(config)}
        known = self._custody.credentials
        kept = {
            id: self.bound(one, generation)
            for id, one in known.items()
            if id not in self.from_file and id not in listed and one.provider in generation.providers
        }

        def carry_out() -> tuple[list[Credential], list[Credential]]:
            gone = [one for id, one in list(known.items()) if id not in listed and id not in kept]
            for one in gone:
                self._take_out(one)
            self.from_file = frozenset(listed)
            changed = []
            for one in (*listed.values(), *kept.values()):
                provider = generation.providers[one.provider]
                before = known.get(one.id)
                serves = serves_of(config, provider, one, self._custody.listed.get(one.id))
                self._custody.put(_carried_over(before, one), serves=serves, kept=one.id in kept)
                if before != one:
                    changed.append(one)
            return changed, gone

        return carry_out

    def _take_out(self, gone: Credential) -> None:
        """Let go of a credential that the new configuration cannot use or does not list.

        In the store stays what nothing else has: credentials whose provider is gone, and tokens that a listed one was
        renewed to, since those in the file may be spent when it is listed again.
        """
        listed, renewed = gone.id in self.from_file, gone.last_refreshed_at is not None
        if listed and renewed:
            log.warning(
                "credential %s is taken out; what it was renewed to stays in the store until "
                "`turnout credentials remove %s`",
                gone.id,
                gone.id,
            )
        self._custody.remove(gone.id, forget=listed and not renewed)
        if not listed or renewed:
            self.waiting.add(gone.id)


def _as_renewed(before: Credential, after: Credential) -> Credential:
    """A credential of the file with the tokens that it was renewed to: those in the file may be spent (E9).

    Only where both stem from the same login in the file, or from none. Whatever is no token is as the file says now.
    """
    if before.last_refreshed_at is None or before.attributes.get(SEED) != after.attributes.get(SEED):
        return after
    renewed, entered = before.metadata or EMPTY, after.metadata or EMPTY
    tokens = {key: value for key, value in renewed.items() if key in TOKEN_KEYS or key not in entered}
    return attrs.evolve(
        after,
        metadata=Metadata({**entered, **tokens}),
        last_refreshed_at=before.last_refreshed_at,
        next_refresh_after=before.next_refresh_after,
    )


def _carried_over(before: Credential | None, after: Credential) -> Credential:
    """A credential of the file after a reload: the times that are the kernel's stay (C3.3), and renewed tokens."""
    if before is None:
        return after
    after = _as_renewed(before, after)
    return attrs.evolve(
        after,
        created_at=before.created_at,
        updated_at=before.updated_at,
        last_refreshed_at=before.last_refreshed_at,
        next_refresh_after=before.next_refresh_after,
    )


def _origin(provider: ProviderInstance, credential: Credential) -> str:
    try:
        return provider.border.origin(provider.plugin.origin(credential), "origin")
    except ValueError:
        raise ConfigError(["its provider finds no origin to send it to: check its base_url"]) from None


def _stored(records: Records) -> list[Credential]:
    read = (read_record(record, decode_credential) for (kind, _), record in records.items() if kind == "secret")
    return [credential for credential in read if credential is not None]


def read_record(record: Record, decode: Callable[[bytes], T]) -> T | None:
    """What a record says; None when it is damaged: it is left where it is, and everything else goes on."""
    try:
        return decode(record.data)
    except ValueError as error:
        log.warning("the %s of %s in the store cannot be read and is left out: %s", record.kind, record.id, error)
        return None
