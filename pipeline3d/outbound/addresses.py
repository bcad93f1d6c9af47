"""Which addresses of the web a caller may make this service visit.

`check_address` judges what the text alone says and touches no network: it is for the moment when somebody
names an address. `resolve_public` asks the name server, right before a connection: every address of the
host must be public, and the connection must go to one of those that it gave (`asking` does).
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Collection
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import SplitResult, urlsplit

import idna

from pipeline3d.errors import ForbiddenAddress, InvalidAddress, TransientFailure
from pipeline3d.outbound.networks import is_public

__all__ = ["check_address", "is_public", "port_of", "resolve_public", "show_address"]

LONGEST_ADDRESS = 2048
"""Characters; what browsers and caches take as well."""
DEFAULT_PORTS = {"http": 80, "https": 443}
OTHER_SERVICES_PORTS = frozenset(
    [1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103]
    + [104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 445, 465, 512]
    + [513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 873, 989, 990, 993, 995]
    + [1433, 1521, 1719, 1720, 1723, 2049, 2375, 2376, 2379, 2380, 3306, 3389, 3659, 4045, 4190, 5060, 5061]
    + [5432, 5672, 5900, 6000, 6379, 6443, 6566, *range(6665, 6670), 6697, 9042, 9200, 9300, 10080, 10250]
    + [11211, 27017]
)
"""Ports of mail, databases, brokers and the like (the list of browsers, and more): no web servers."""
PRIVATE_NAMES = frozenset({"localhost", "metadata", "instance-data", "metadata.google.internal"})
PRIVATE_ENDINGS = (
    ".localhost",
    ".localdomain",
    ".local",
    ".internal",
    ".intranet",
    ".private",
    ".corp",
    ".home",
    ".lan",
    ".home.arpa",
    ".in-addr.arpa",
    ".ip6.arpa",
)
"""Names that no public name server answers, but the one of a private network may."""

_BLANK_OR_CONTROL = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\\]")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")


def check_address(
    url: str,
    *,
    allowed_hosts: Collection[str] = (),
    schemes: Collection[str] = ("https", "http"),
    forbidden_ports: Collection[int] = OTHER_SERVICES_PORTS,
) -> SplitResult:
    """The parts of an address that may be visited, its host in its one plain spelling. No network is used.

    `allowed_hosts` are the operator's: they may be private and have any port. Raises InvalidAddress
    (`address_invalid`) for what is no address, ForbiddenAddress (`address_forbidden`) for what lies in a
    private network or is another service's port.
    """
    parts = _split(url, schemes)
    host = _read_host(url, parts)
    port = parts.port
    if host not in allowed_hosts:
        _refuse_private(url, host)
        if port in forbidden_ports:
            raise ForbiddenAddress(
                f"The address {show_address(url)} has port {port}, which belongs to another service.",
                hint="Use a web server's port.",
            )
    shown_host = f"[{host}]" if ":" in host else host
    netloc = shown_host if port in (None, DEFAULT_PORTS[parts.scheme]) else f"{shown_host}:{port}"
    return parts._replace(netloc=netloc)


def port_of(parts: SplitResult) -> int:
    """The port that is asked."""
    return parts.port or DEFAULT_PORTS[parts.scheme]


def resolve_public(
    host: str, port: int, allowed_hosts: Collection[str] = (), *, timeout_s: float = 10.0
) -> list[str]:
    """The addresses of a host, all of which are public unless the operator allows the host.

    Raises ForbiddenAddress where any of them is not, TransientFailure (`address_unreachable`) where the name
    server knows none or does not answer in `timeout_s` seconds.
    """
    addresses = _ask_name_server(host, port, timeout_s)
    if host not in allowed_hosts and not all(is_public(address) for address in addresses):
        raise _private(host)
    return addresses


def show_address(url: str) -> str:
    """An address for a message: without a user's name and password, and without what may be a signature."""
    before, _, _ = url.partition("?")
    before, _, _ = before.partition("#")
    scheme, separator, rest = before.partition("//")
    authority, slash, path = rest.partition("/")
    shown = f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}" if separator else before
    if "@" in shown.partition("/")[0]:
        shown = shown.rpartition("@")[2]
    shown = "".join(letter if letter.isprintable() else "�" for letter in shown)
    return shown if len(shown) <= 200 else shown[:200] + "…"


def _split(url: str, schemes: Collection[str]) -> SplitResult:
    if not url or len(url) > LONGEST_ADDRESS:
        raise _invalid(url, f"an address has 1 to {LONGEST_ADDRESS} characters")
    if _BLANK_OR_CONTROL.search(url):
        raise _invalid(url, "it holds a blank, a backslash or a control character")
    try:
        url.encode()
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _invalid(url, "it is not of the form scheme://host/path") from error
    if parts.scheme not in schemes:
        raise _invalid(url, f"only {' and '.join(sorted(schemes))} are visited")
    if port == 0:
        raise _invalid(url, "its port is 0")
    if "@" in parts.netloc:
        raise _invalid(url, "it has a user name or a password in it")
    return parts


def _read_host(url: str, parts: SplitResult) -> str:
    """The host in its one plain spelling: an address in figures, or a name in ASCII."""
    written = parts.hostname or ""
    if parts.netloc.startswith("["):
        if "%" in written:
            raise ForbiddenAddress(f"The address {show_address(url)} has a zone: it is a private link.")
        try:
            return IPv6Address(written).compressed
        except AddressValueError as error:
            raise _invalid(url, "its host is no address of IPv6") from error
    try:
        plain = idna.uts46_remap(written, std3_rules=False)
        host = plain if plain.isascii() else idna.encode(plain).decode()
    except (idna.IDNAError, UnicodeError) as error:
        raise _invalid(url, "its host is not a name") from error
    host = host.removesuffix(".")
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise _invalid(url, "its host is not a name")
    if _NUMBER.fullmatch(labels[-1]):
        return _read_figures(url, labels)
    return host


def _read_figures(url: str, labels: list[str]) -> str:
    """An address of IPv4 in any spelling that programs take: short, decimal, octal, hexadecimal.

    A part with zeros before it is octal for some programs and decimal for others: both must be public.
    """
    try:
        address = _join_figures([_figure(label) for label in labels])
    except ValueError as error:
        raise _invalid(url, "its host is no address of IPv4") from error
    if all(label.isdigit() for label in labels):
        try:
            as_decimal = _join_figures([int(label) for label in labels])
        except ValueError:
            as_decimal = address
        if not is_public(as_decimal):
            return as_decimal
    return address


def _figure(label: str) -> int:
    if not _NUMBER.fullmatch(label):
        raise ValueError(label)
    if label.startswith("0x"):
        return int(label[2:] or "0", 16)
    return int(label, 8 if len(label) > 1 and label.startswith("0") else 10)


def _join_figures(figures: list[int]) -> str:
    """One to four numbers as the address that they mean: the last one fills all that is left."""
    *first, last = figures
    if len(figures) > 4 or any(figure > 255 for figure in first) or last >= 256 ** (4 - len(first)):
        raise ValueError(figures)
    number = last + sum(figure << (24 - 8 * place) for place, figure in enumerate(first))
    return str(IPv4Address(number))


def _refuse_private(url: str, host: str) -> None:
    try:
        if not is_public(host):
            raise _private(show_address(url))
    except ValueError:  # a name
        if host in PRIVATE_NAMES or host.endswith(PRIVATE_ENDINGS) or "." not in host:
            raise _private(show_address(url)) from None


def _ask_name_server(host: str, port: int, timeout_s: float) -> list[str]:
    """What the name server says. It knows no time limit, so it is asked in a thread that may be left."""
    found: list[str] = []

    def ask() -> None:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return
        found.extend(dict.fromkeys(str(answer[4][0]) for answer in answers))

    asking = threading.Thread(target=ask, name="name-server", daemon=True)
    asking.start()
    asking.join(timeout_s)
    if not found:
        raise TransientFailure(
            f"The host {host} is not known to the name server.", code="address_unreachable"
        )
    return found


def _invalid(url: str, reason: str) -> InvalidAddress:
    return InvalidAddress(f"The address {show_address(url)} cannot be used: {reason}.")


def _private(shown: str) -> ForbiddenAddress:
    return ForbiddenAddress(
        f"The address {shown} lies in a private network and is not visited.",
        hint="Use an address of the public internet.",
    )
