"""Which addresses may be connected to: judged on the address itself, never on how a host is spelled (S12).

`127.1`, `0x7f000001` or a public name whose DNS says 10.0.0.7 all end as an address, and that is what is asked here.
"""

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "169.254.169.254",  # AWS, Azure, Google Cloud, Oracle, DigitalOcean
        "169.254.170.2",  # AWS ECS task credentials
        "169.254.170.23",  # AWS EKS pod identity
        "fd00:ec2::254",  # AWS over IPv6
        "fd00:ec2::23",  # AWS EKS pod identity over IPv6
        "fd20:ce::254",  # Google Cloud over IPv6
        "100.100.100.200",  # Alibaba Cloud
        "168.63.129.16",  # Azure platform
        "192.0.0.192",  # Oracle Cloud classic
    )
)
"""Where clouds hand out a machine's own secrets: no setting opens these. From the vendors' pages, 2026-11."""

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
"""Well-known prefix of addresses that hold an IPv4 one in their last 32 bits (RFC 6052)."""


def may_connect(address: str, *, private: bool) -> bool:
    """Whether this IP address may be connected to; `private` allows what is not on the public internet."""
    return all(
        _is_allowed(each, private=private)
        for each in _meanings(ipaddress.ip_address(address.split("%", maxsplit=1)[0]))
    )


def is_written_out(host: str) -> bool:
    """Whether an operator who wrote this host meant it: an IP literal in its usual form, or `localhost`.

    Other spellings of addresses (`127.1`, `2130706433`) count as names, whose private addresses are refused.
    """
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761: always this machine
        return True
    try:
        return str(ipaddress.ip_address(host)) == host
    except ValueError:
        return False


def _is_allowed(address: Address, *, private: bool) -> bool:
    if address in METADATA or address.is_multicast or address == ipaddress.IPv4Address("255.255.255.255"):
        return False
    return private or address.is_global


def _meanings(address: Address) -> list[Address]:
    """The address, and any IPv4 address that it carries inside and that a gateway would connect to."""
    found: list[Address] = [address]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:  # what is mapped counts instead: the kernel connects to it
            return [address.ipv4_mapped]
        if address.sixtofour:
            found.append(address.sixtofour)
        if address in _NAT64:
            return [ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)]
    return found


def names_metadata(host: str) -> bool:
    """Whether this host is such an address, written out."""
    try:
        return not may_connect(host, private=True)
    except ValueError:
        return False
