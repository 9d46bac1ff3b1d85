"""The table `[frontends.http]`: checked when it is built, so that a wrong one refuses the start."""

import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, final

import attrs

from turnout import ByteCount, Seconds, Secret
from turnout.errors import InvalidAsk
from turnout_http._addresses import Address, parse_address
from turnout_http._key_rules import why_refused
from turnout_http._tls import tls_context


def _positive(_limits: object, attribute: "attrs.Attribute[Any]", value: float) -> None:
    if value <= 0:
        raise InvalidAsk(f"{attribute.name} must be more than 0, not {value}", argument=f"limits.{attribute.name}")


def _not_negative(_limits: object, attribute: "attrs.Attribute[Any]", value: float) -> None:
    if value < 0:
        raise InvalidAsk(f"{attribute.name} must not be less than 0, not {value}", argument=f"limits.{attribute.name}")


@final
@attrs.frozen(kw_only=True)
class ClientLimits:
    """The table `[frontends.http.limits]`: what one client may take (acceptance section 4, client side and admission).

    Attributes:
        header_timeout: from the first byte of a request to the end of its headers.
        body_idle: between two pieces of a body.
        body_rate: bytes a second that a body must average once `body_idle` has passed.
        body_total: for a whole body.
        write_stall: how long a client may take nothing of what we send; a little is enough, where the system counts it.
        keep_alive: how long an idle connection is kept.
        half_close: how long an answer is still wanted after the client closed its sending side.
        header_bytes: request line and headers together.
        header_fields: number of header lines.
        body_bytes: size of a request body.
        per_key: requests of one client key in flight, over all processes that share the store.
        requests: requests in flight in all.
        queue: requests that may wait for one of those places.
        queue_wait: how long they may wait.
        connections: open connections in all.
        per_address: open connections of one address; loopback has no limit.
        sockets_per_key: open websockets of one client key, over all processes that share the store.
        socket_life: how long a websocket may stay open, whatever it does.
        socket_ping: between two pings, which keep a quiet websocket alive on its way and show one that is dead.
    """

    header_timeout: Seconds = attrs.field(default=Seconds(10.0), validator=_positive)
    body_idle: Seconds = attrs.field(default=Seconds(10.0), validator=_positive)
    body_rate: ByteCount = attrs.field(default=ByteCount(1024), validator=_positive)
    body_total: Seconds = attrs.field(default=Seconds(120.0), validator=_positive)
    write_stall: Seconds = attrs.field(default=Seconds(30.0), validator=_positive)
    keep_alive: Seconds = attrs.field(default=Seconds(15.0), validator=_positive)
    half_close: Seconds = attrs.field(default=Seconds(5.0), validator=_not_negative)
    header_bytes: ByteCount = attrs.field(default=ByteCount(16 * 1024), validator=_positive)
    header_fields: int = attrs.field(default=100, validator=_positive)
    body_bytes: ByteCount = attrs.field(default=ByteCount(32 * 1024 * 1024), validator=_positive)
    per_key: int = attrs.field(default=64, validator=_positive)
    requests: int = attrs.field(default=512, validator=_positive)
    queue: int = attrs.field(default=128, validator=_not_negative)
    queue_wait: Seconds = attrs.field(default=Seconds(5.0), validator=_not_negative)
    connections: int = attrs.field(default=1024, validator=_positive)
    per_address: int = attrs.field(default=64, validator=_positive)
    sockets_per_key: int = attrs.field(default=64, validator=_positive)
    socket_life: Seconds = attrs.field(default=Seconds(3600.0), validator=_positive)
    socket_ping: Seconds = attrs.field(default=Seconds(20.0), validator=_positive)


def _some(_settings: object, attribute: "attrs.Attribute[tuple[str, ...]]", value: tuple[str, ...]) -> None:
    if not value:
        raise InvalidAsk("listen names no address; write listen = ['127.0.0.1:8080']", argument=attribute.name)
    seen: set[Address] = set()
    wrong: list[InvalidAsk] = []
    for number, text in enumerate(value):
        argument = f"{attribute.name}[{number}]"
        try:
            address = parse_address(text, argument)
        except InvalidAsk as error:
            wrong.append(error)
            continue
        if address in seen:
            wrong.append(InvalidAsk("this address is listed twice", argument=argument))
        if address.port:  # 0 is another port each time
            seen.add(address)
    _refuse(wrong)


def _sound_keys(_settings: object, attribute: "attrs.Attribute[tuple[Secret, ...]]", value: tuple[Secret, ...]) -> None:
    if not value:
        raise InvalidAsk(
            "keys is empty, so nobody could be let in; write keys = ['${TURNOUT_KEY}'] and set that variable "
            "to a random text of at least 16 characters",
            argument=attribute.name,
        )
    reasons = {number: why_refused(key) for number, key in enumerate(value)}
    _refuse([InvalidAsk(f"this key {why}", argument=f"keys[{number}]") for number, why in reasons.items() if why])
    if len(set(value)) != len(value):
        raise InvalidAsk("keys holds one key twice", argument=attribute.name)


def _refuse(wrong: list[InvalidAsk]) -> None:
    """Raise what is wrong, several things as a group: each is told at its place."""
    if len(wrong) > 1:
        raise ExceptionGroup(f"{len(wrong)} values are refused", wrong)
    for error in wrong:
        raise error


_READABLE = (
    "others can reach this address and would read keys and prompts off the wire; set tls_certificate and tls_key, "
    "or insecure_lan = true if that is meant"
)


@final
@attrs.frozen(kw_only=True)
class Settings:
    """What an operator may set.

    Attributes:
        listen: addresses as `host:port`; port 0 takes any free one.
        keys: what clients must show, each at least 16 characters long.
        hosts: further names that a `Host` header may hold; loopback names and the listening addresses always may.
        insecure_lan: allow an address that others can reach without TLS.
        tls_certificate: path of a PEM chain; with `tls_key` all addresses speak TLS.
        tls_key: path of its private key.
        http2: offer HTTP/2 as well; takes TLS, where client and server agree on it.
        server: `llhttp` is our own for plain HTTP/1.1, `hypercorn` speaks TLS too; `auto` chooses.
        drain_grace: how long clients get to take the last bytes once the kernel's time to drain is over.
    """

    listen: tuple[str, ...] = attrs.field(default=("127.0.0.1:8080",), validator=_some)
    keys: tuple[Secret, ...] = attrs.field(validator=_sound_keys)
    hosts: tuple[str, ...] = ()
    insecure_lan: bool = False
    tls_certificate: str = ""
    tls_key: str = ""
    http2: bool = False
    server: Literal["auto", "hypercorn", "llhttp"] = "auto"
    drain_grace: Seconds = Seconds(10.0)
    limits: ClientLimits = attrs.field(factory=ClientLimits)

    def __attrs_post_init__(self) -> None:
        if bool(self.tls_certificate) != bool(self.tls_key):
            missing = "tls_key" if self.tls_certificate else "tls_certificate"
            raise InvalidAsk(f"TLS needs both tls_certificate and tls_key; {missing} is missing", argument=missing)
        if self.tls_certificate:
            self._check_tls()
        if self.http2 and not self.tls_certificate:
            raise InvalidAsk("HTTP/2 is spoken over TLS alone; set tls_certificate and tls_key", argument="http2")
        if self.tls_certificate and self.server == "llhttp":
            raise InvalidAsk("server 'llhttp' speaks no TLS; write 'hypercorn' or 'auto'", argument="server")
        if not (self.tls_certificate or self.insecure_lan):
            open_ones = [number for number, address in enumerate(self.addresses) if not address.loopback]
            _refuse([InvalidAsk(_READABLE, argument=f"listen[{number}]") for number in open_ones])

    def _check_tls(self) -> None:
        """Read the files, so that `turnout check` tells what would end the start."""
        for name in ("tls_certificate", "tls_key"):
            try:
                Path(getattr(self, name)).open("rb").close()
            except OSError as error:
                raise InvalidAsk(f"this file cannot be read: {error.strerror}", argument=name) from error
        try:
            tls_context(self.tls_certificate, self.tls_key, http2=self.http2)
        except (OSError, ValueError) as error:
            reason = (isinstance(error, ssl.SSLError) and error.reason) or error
            text = f"a PEM chain and its key are needed, and these two cannot be used: {reason}"
            raise InvalidAsk(text, argument="tls_certificate") from error

    @property
    def addresses(self) -> tuple[Address, ...]:
        """`listen`, parsed."""
        return tuple(parse_address(text) for text in self.listen)

    @property
    def server_in_use(self) -> Literal["hypercorn", "llhttp"]:
        """`server` with `auto` decided."""
        if self.server != "auto":
            return self.server
        return "hypercorn" if self.tls_certificate else "llhttp"

    def fixed_changes(self, other: "Settings") -> tuple[str, ...]:
        """Keys in which `other` differs and that take a restart: they belong to open sockets and their server."""
        changed = (*_differing(self, other, _FIXED), *_differing(self.limits, other.limits, _FIXED_LIMITS, "limits."))
        return tuple(changed)


_FIXED = ("listen", "insecure_lan", "tls_certificate", "tls_key", "http2", "server")

_FIXED_LIMITS = (
    "header_timeout",
    "write_stall",
    "keep_alive",
    "half_close",
    "header_bytes",
    "header_fields",
    "connections",
    "per_address",
)


def _differing(one: object, other: object, names: Iterable[str], prefix: str = "") -> list[str]:
    return [f"{prefix}{name}" for name in names if getattr(one, name) != getattr(other, name)]
