"""Addresses to listen on: parsed strictly, bound by us, so that every server gets a socket with our options."""

import errno
import ipaddress
import socket
import sys
from typing import final

import attrs

from turnout.errors import InvalidAsk

BACKLOG = 2048

LONGEST_STALL = 2**31 - 1
"""Milliseconds, 24 days: what the option holds."""


@final
@attrs.frozen
class Address:
    """An IP address and a port; port 0 takes any free one."""

    ip: ipaddress.IPv4Address | ipaddress.IPv6Address
    port: int

    @property
    def loopback(self) -> bool:
        """Only this machine can reach it."""
        return self.ip.is_loopback

    @property
    def host(self) -> str:
        """The IP address as a `Host` header writes it."""
        return f"[{self.ip}]" if self.ip.version == 6 else str(self.ip)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def parse_address(text: str, argument: str = "listen") -> Address:
    """`127.0.0.1:8080`, `[::1]:0` or `localhost:8080`; raises InvalidAsk that says what is wrong with `argument`."""
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise InvalidAsk("this is no address: write host:port, such as 'localhost:8080'", argument=argument)
    name = "127.0.0.1" if host == "localhost" else host
    if name.startswith("[") and name.endswith("]"):
        name = name[1:-1]
    elif ":" in name:
        raise InvalidAsk("write an IPv6 address in brackets, such as '[::1]:8080'", argument=argument)
    try:
        ip = ipaddress.ip_address(name)
    except ValueError as error:
        raise InvalidAsk("the host must be an IP address or 'localhost'", argument=argument) from error
    return Address(ip, int(port))


def bind(address: Address, *, write_stall: float) -> socket.socket:
    """A listening socket, not blocking; raises OSError that says in words which address cannot be had, and what to do.

    `write_stall` becomes the kernel's limit for unacknowledged bytes, which also ends a peer that vanished.
    """
    try:
        sock = socket.socket(socket.AF_INET6 if address.ip.version == 6 else socket.AF_INET, socket.SOCK_STREAM)
    except OSError as error:
        raise OSError(error.errno, _explain(address, error)) from error
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if sys.platform == "linux":  # accepted sockets inherit both options there
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(min(write_stall * 1000, LONGEST_STALL)))
        sock.bind((str(address.ip), address.port))
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, _explain(address, error)) from error
    return sock


def _explain(address: Address, error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return (
                f"port {address.port} on {address.host} is in use, by another program or another table here; "
                "stop what listens there, or choose another port (0 takes any free one)"
            )
        case errno.EACCES:
            return f"this user may not listen on port {address.port}; choose one above 1023"
        case errno.EADDRNOTAVAIL:
            return f"cannot listen on {address}: this machine has no such address; write one of its own"
        case errno.EAFNOSUPPORT:
            return f"cannot listen on {address}: this machine speaks no IPv{address.ip.version}"
    return f"cannot listen on {address}: {error.strerror}"


def bound_address(sock: socket.socket) -> Address:
    """Where a socket listens, port 0 resolved."""
    host, port = sock.getsockname()[:2]
    return Address(ipaddress.ip_address(host), port)
