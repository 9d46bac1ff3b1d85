"""SOCKS 5 (RFC 1928), with or without a user and password (RFC 1929): the exchange that opens a tunnel. No I/O."""

import ipaddress
from collections.abc import Generator
from typing import TypeAlias

Dance: TypeAlias = Generator[tuple[bytes, int], bytes, None]
"""Yields what to send and how many bytes of answer to come back with."""

REFUSALS = {
    1: "something failed there",
    2: "its rules do not allow it",
    3: "the network is unreachable",
    4: "the host is unreachable",
    5: "the connection was refused",
    6: "it took too long",
    7: "it connects nothing",
    8: "it does not know this kind of address",
}
"""RFC 1928, 6."""

LENGTHS = {1: 4, 4: 16}
"""Bytes of an address, IPv4 and IPv6."""


class SocksRefused(Exception):
    """The proxy does not open the tunnel, or does not speak SOCKS 5; says why, without user or password."""


def open_socks(host: str, port: int, user: tuple[bytes, bytes] | None) -> Dance:
    """Have the proxy connect to this host, whose name it resolves itself; raises SocksRefused."""
    methods = b"\x00\x02" if user else b"\x00"
    version, method = yield bytes([5, len(methods)]) + methods, 2
    if version != 5:
        raise SocksRefused("it does not speak SOCKS 5")
    if method not in methods:
        raise SocksRefused("it wants a user" if user is None else "it knows no way to show it a user")
    if method == 2 and user is not None:
        name, password = user
        _, status = yield b"\x01" + bytes([len(name)]) + name + bytes([len(password)]) + password, 2
        if status:
            raise SocksRefused("it does not take this user and password")
    version, status, _, kind = yield b"\x05\x01\x00" + _address(host) + port.to_bytes(2, "big"), 4
    if version != 5 or status:
        raise SocksRefused(REFUSALS.get(status, "it does not say why"))
    if kind == 3:
        (length,) = yield b"", 1
    elif (length := LENGTHS.get(kind, 0)) == 0:
        raise SocksRefused("it answers with an address of no known kind")
    yield b"", length + 2


def _address(host: str) -> bytes:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.encode("ascii")
        if len(name) > 255:
            raise SocksRefused("it could not be told so long a name") from None
        return b"\x03" + bytes([len(name)]) + name
    return (b"\x01" if address.version == 4 else b"\x04") + address.packed
