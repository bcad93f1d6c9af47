"""What a connection says of its caller: the key or cookie, the address, and whether the request is its own.

Pure functions of what was sent. A header is believed about somebody else only where it comes from a reverse
proxy that the installation trusts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from pipeline3d.settings import Settings

API_KEY_HEADER = "x-api-key"
CSRF_HEADER = "x-csrf-token"
SESSION_COOKIE = "p3d_session"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""They change nothing, so that a forged one is of no use."""

DEFAULT_PORTS = {"http": 80, "https": 443}
IPV6_SITE_BITS = 64
"""Whoever has one IPv6 address usually has all of its /64."""


class CredentialKind(StrEnum):
    """What opens the door."""

    KEY = "key"
    SESSION = "session"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """What was sent; a secret, so it is never shown."""

    kind: CredentialKind
    secret: str = field(repr=False)


def find_credential(connection: HTTPConnection) -> Credential | None:
    """The one that counts: the header `x-api-key`, else `Authorization: Bearer`, else the session cookie."""
    if key := connection.headers.get(API_KEY_HEADER):
        return Credential(kind=CredentialKind.KEY, secret=key)
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return Credential(kind=CredentialKind.KEY, secret=token.strip())
    if "cookie" in connection.headers and (cookie := connection.cookies.get(SESSION_COOKIE)):
        return Credential(kind=CredentialKind.SESSION, secret=cookie)
    return None


def is_same_origin(connection: HTTPConnection, settings: Settings) -> bool | None:
    """Whether a page of this service made the request; None where nothing that was sent says so.

    A browser sends at least one of the two headers with everything but a GET, and no page can change them.
    """
    site = connection.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = connection.headers.get("origin")
    if origin is None:
        return None
    return _authority(origin) in {
        _authority(f"{'https' if is_secure(connection, settings) else 'http'}://{_host(connection)}"),
        _authority(settings.api_url or ""),
    } - {None}


def is_secure(connection: HTTPConnection, settings: Settings) -> bool:
    """Whether the caller came by HTTPS, as the socket, a trusted proxy or the installation's address says."""
    if connection.url.scheme == "https" or (settings.api_url or "").startswith("https:"):
        return True
    forwarded = connection.headers.get("x-forwarded-proto", "")
    return forwarded.split(",")[0].strip().lower() == "https" and _is_trusted(_peer(connection), settings)


def client_address(connection: HTTPConnection, settings: Settings) -> str:
    """Where the caller is: the peer, or what the nearest trusted proxies say of it. "" where nobody knows."""
    address = _peer(connection)
    hops = [hop.strip() for hop in connection.headers.get("x-forwarded-for", "").split(",")]
    # From the nearest hop on: what lies beyond the first that is not trusted may be made up.
    while hops and hops[-1] and _is_trusted(address, settings) and _is_address(hops[-1]):
        address = hops.pop()
    return address


def throttled_address(address: str) -> str:
    """The address under which attempts are counted: that of the site, for IPv6."""
    if not _is_address(address):
        return address
    parsed = ip_address(address)
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ip_network((parsed, IPV6_SITE_BITS), strict=False))
    return str(parsed)


def _peer(connection: HTTPConnection) -> str:
    return connection.client.host if connection.client else ""


def _host(connection: HTTPConnection) -> str:
    return connection.headers.get("host", "")


def _authority(origin: str) -> tuple[str, int] | None:
    """Host and port of an origin. Whether it came by TLS is not compared: proxies take it off."""
    try:
        parts = urlsplit(origin)
        port = parts.port or DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None
    return (parts.hostname, port) if parts.hostname and port else None


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_trusted(address: str, settings: Settings) -> bool:
    if not settings.trusted_proxies or not _is_address(address):
        return False
    parsed = ip_address(address)
    return any(parsed in network for network in _networks(tuple(settings.trusted_proxies)))


@lru_cache(maxsize=8)
def _networks(names: Sequence[str]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(name) for name in names)
