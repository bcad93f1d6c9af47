"""Fetches pictures from addresses that callers name, without becoming their way into the private network.

A host is resolved once and every one of its addresses must be public; the connection goes to the address
that was checked, so that a second answer of the name server changes nothing (DNS rebinding). Redirects are
followed by the same rule. Sizes and times are limited while the bytes come, not after.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Collection
from dataclasses import dataclass
from time import monotonic
from urllib.parse import SplitResult, urljoin, urlsplit

import dagster as dg
import urllib3

from pipeline3d.errors import TransientFailure, UnusableInput

CONNECT_S = 5.0
READ_S = 10.0
WHOLE_S = 30.0
MOST_REDIRECTS = 3
CHUNK_BYTES = 64 * 1024
REDIRECTS = frozenset({301, 302, 303, 307, 308})
GONE_FOR_NOW = frozenset({408, 425, 429, 500, 502, 503, 504})
TRANSLATED = ipaddress.ip_network("64:ff9b::/96")
"""Addresses of IPv4 as a translator of networks writes them (RFC 6052)."""
USER_AGENT = "Pipeline3D (photo fetcher)"
ACCEPTED = "image/jpeg, image/png, image/webp, image/*;q=0.5"


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedPhoto:
    """What an address gave: the bytes as they came. Whether they are a picture is for the decoder to say."""

    url: str
    data: bytes
    content_type: str


class PhotoFetching(dg.ConfigurableResource["PhotoFetching"]):
    """Fetches within limits; `allowed_hosts` may lie in the private network (a shop's own image server)."""

    max_bytes: int = 50 * 1024 * 1024
    allowed_hosts: list[str] = []

    def fetch(self, url: str) -> FetchedPhoto:
        """One picture. Raises UnusableInput for what will not change, TransientFailure for what may."""
        give_up_at = monotonic() + WHOLE_S
        target = url
        for _ in range(MOST_REDIRECTS + 1):
            answer = self._ask(target, give_up_at)
            if isinstance(answer, FetchedPhoto):
                return answer
            target = urljoin(target, answer)
        raise _unusable(url, "redirected too often", "too_many_redirects")

    def _ask(self, url: str, give_up_at: float) -> FetchedPhoto | str:
        """The picture, or the address to which this one redirects."""
        parts = check_address(url)
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        address = resolve_public(host, port, self.allowed_hosts, url)
        pool = _connect(parts.scheme, host, address, port)
        try:
            response = pool.urlopen(
                "GET",
                (parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
                headers={
                    "Host": parts.netloc.rpartition("@")[2],
                    "User-Agent": USER_AGENT,
                    "Accept": ACCEPTED,
                },
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
            )
            try:
                return self._read(url, response, give_up_at)
            finally:
                response.close()
        except urllib3.exceptions.SSLError as error:
            raise _unusable(url, "its certificate is not valid", "photo_unreachable") from error
        except urllib3.exceptions.HTTPError as error:
            raise _away(url, f"it does not answer ({type(error).__name__})") from error
        finally:
            pool.close()

    def _read(
        self, url: str, response: urllib3.response.BaseHTTPResponse, give_up_at: float
    ) -> FetchedPhoto | str:
        if response.status in REDIRECTS and response.headers.get("location"):
            return str(response.headers["location"])
        if response.status in GONE_FOR_NOW:
            raise _away(url, f"it answers {response.status}")
        if response.status != 200:
            raise _unusable(url, f"it answers {response.status}", "photo_unreachable")
        data = bytearray()
        for chunk in response.stream(CHUNK_BYTES):
            data += chunk
            if len(data) > self.max_bytes:
                raise _unusable(url, f"it has more than {self.max_bytes:,} bytes", "photo_too_large")
            if monotonic() > give_up_at:
                raise _away(url, f"it took more than {WHOLE_S:.0f} s")
        return FetchedPhoto(
            url=url, data=bytes(data), content_type=str(response.headers.get("content-type", ""))
        )


def check_address(url: str) -> SplitResult:
    """The parts of an http or https address. Raises UnusableInput."""
    try:
        parts = urlsplit(url)
        port_is_valid = parts.port is None or parts.port > 0
    except ValueError as error:
        raise _unusable(url, "it is not an address", "photo_address_invalid") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_valid:
        raise _unusable(url, "only http and https addresses are fetched", "photo_address_invalid")
    if parts.username or parts.password:
        raise _unusable(url, "it has a user name in it", "photo_address_invalid")
    return parts


def resolve_public(host: str, port: int, allowed_hosts: Collection[str], url: str) -> str:
    """One address of a host, all of whose addresses are public, unless the host is allowed by name."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise _away(url, "its host is not known") from error
    addresses = [str(entry[4][0]) for entry in found]
    if host not in allowed_hosts and not all(is_public(address) for address in addresses):
        raise UnusableInput(
            f"The photo {_shown(url)} lies in a private network and is not fetched.",
            code="photo_address_forbidden",
            hint="Use a public address, or upload the picture.",
        )
    return addresses[0]


def is_public(address: str) -> bool:
    """Whether an address is one of the public internet, also where it is one of IPv4 inside IPv6."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    embedded = getattr(parsed, "ipv4_mapped", None) or getattr(parsed, "sixtofour", None)
    if parsed in TRANSLATED:
        embedded = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
    if embedded is not None:
        parsed = embedded
    return parsed.is_global and not parsed.is_multicast


def _connect(scheme: str, host: str, address: str, port: int) -> urllib3.HTTPConnectionPool:
    timeout = urllib3.Timeout(connect=CONNECT_S, read=READ_S)
    if scheme == "http":
        return urllib3.HTTPConnectionPool(address, port, timeout=timeout, maxsize=1)
    # The connection goes to the checked address; the certificate must be of the name.
    return urllib3.HTTPSConnectionPool(
        address,
        port,
        timeout=timeout,
        maxsize=1,
        server_hostname=host,
        assert_hostname=host,
        ssl_context=ssl.create_default_context(),
    )


def _shown(url: str) -> str:
    return url if len(url) <= 200 else url[:200] + "…"


def _unusable(url: str, reason: str, code: str) -> UnusableInput:
    return UnusableInput(f"The photo {_shown(url)} cannot be used: {reason}.", code=code)


def _away(url: str, reason: str) -> TransientFailure:
    return TransientFailure(f"The photo {_shown(url)} cannot be fetched: {reason}.", code="photo_unreachable")
