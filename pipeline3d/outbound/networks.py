"""Which addresses of the internet protocol are public: everybody's, and nobody's private network.

The lists are those of IANA's special-purpose registries. They stand here as well as in `ipaddress`, whose
answers changed between patch releases of Python.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

_NOT_PUBLIC_4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # behind a provider's translator; 100.100.100.200 has a cloud's metadata
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local; 169.254.169.254 has most clouds' metadata
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments; 192.0.0.192 has a cloud's metadata
        "192.0.2.0/24",
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
        "168.63.129.16/32",  # the host of a cloud's machines, at a public number
    )
)
_PUBLIC_6 = IPv6Network("2000::/3")
_NOT_PUBLIC_6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",
        "3fff::/20",  # documentation
        "5f00::/16",
    )
)
_TRANSLATED = IPv6Network("64:ff9b::/96")
"""Addresses of IPv4 as a translator of networks writes them (RFC 6052)."""
_MAPPED = IPv6Network("::ffff:0:0/96")
_SIX_TO_FOUR = IPv6Network("2002::/16")
_ISATAP = (0x00005EFE, 0x02005EFE)
"""The upper half of an interface identifier that holds an address of IPv4 (RFC 5214)."""


def is_public(address: str) -> bool:
    """Whether an address is one of the public internet, also where it is one of IPv4 inside IPv6.

    An address with a zone (`fe80::1%eth0`) names a place on this machine's own links: it never is.
    """
    if "%" in address:
        return False
    parsed = ip_address(address)
    if isinstance(parsed, IPv4Address):
        return _is_public_4(parsed)
    if parsed in _TRANSLATED or parsed in _MAPPED:
        return _is_public_4(IPv4Address(int(parsed) & 0xFFFFFFFF))
    return (
        parsed in _PUBLIC_6
        and not any(parsed in network for network in _NOT_PUBLIC_6)
        and parsed.is_global
        and all(_is_public_4(inner) for inner in _embedded(parsed))
    )


def _is_public_4(address: IPv4Address) -> bool:
    return address.is_global and not any(address in network for network in _NOT_PUBLIC_4)


def _embedded(address: IPv6Address) -> Iterator[IPv4Address]:
    """The addresses of IPv4 to which routers may take a packet out of its tunnel."""
    number = int(address)
    if address in _SIX_TO_FOUR:
        yield IPv4Address((number >> 80) & 0xFFFFFFFF)
    if (number >> 32) & 0xFFFFFFFF in _ISATAP:
        yield IPv4Address(number & 0xFFFFFFFF)
