"""One HTTP request to an address that somebody else named, within limits.

Every address is checked, the first one and each to which it redirects; the connection goes to an address
that was checked; bytes, time and redirects are limited while they come. Proxies and `.netrc` files of the
environment are ignored. Answers come as they are: nothing is decompressed here.
"""

from __future__ import annotations

import ssl
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from urllib.parse import SplitResult, quote, urljoin

import httpcore

from pipeline3d.errors import TransientFailure, UnusableInput
from pipeline3d.outbound.addresses import check_address, port_of, resolve_public, show_address
from pipeline3d.outbound.pinned_network import OutOfTime, PinnedNetwork, time_left

USER_AGENT = "Pipeline3D"
REDIRECTS = frozenset({301, 302, 303, 307, 308})
_BECOMES_GET = frozenset({301, 302, 303})
_SECRET_HEADERS = frozenset({"authorization", "cookie", "x-api-key"})
_PATH_SAFE = "/%:@!$&'()*+,;=~-._"
_QUERY_SAFE = _PATH_SAFE + "?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a request may take. Seconds, bytes of the answer's body, and redirects that are followed.

    With no redirects an answer that redirects is handed back as it is. `cut` hands back the first
    `max_bytes` of a longer body, where otherwise it is refused.
    """

    connect_s: float = 5.0
    read_s: float = 10.0
    whole_s: float = 30.0
    max_bytes: int = 1 << 20
    redirects: int = 0
    cut: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the last address answered. Names of headers are in lower case; of doubles the last one counts."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    url: str


def ask(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    allowed_hosts: Collection[str] = (),
    schemes: Collection[str] = ("https", "http"),
    limits: Limits = Limits(),
    ssl_context: ssl.SSLContext | None = None,
) -> Answer:
    """The answer to one request; every status is an answer. `ssl_context` decides whom TLS trusts.

    Raises InvalidAddress and ForbiddenAddress (RequestError) for addresses that are not visited,
    UnusableInput (`too_many_redirects`, `answer_too_large`, `certificate_invalid`, `answer_malformed`) for
    what another try will not change, and TransientFailure (`address_unreachable`, `answer_too_slow`) else.
    """
    ends_at = monotonic() + limits.whole_s
    sent = {"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity", **(headers or {})}
    target = url
    for _ in range(limits.redirects + 1):
        parts = check_address(target, allowed_hosts=allowed_hosts, schemes=schemes)
        with _explained(parts, limits):
            answer = _ask_once(method, parts, sent, body, allowed_hosts, limits, ends_at, ssl_context)
        onwards = answer.headers.get("location") if answer.status in REDIRECTS else None
        if onwards is None or limits.redirects == 0:
            return answer
        target = urljoin(answer.url, onwards)
        if answer.status in _BECOMES_GET and method != "HEAD":
            method, body = "GET", None
        if check_address(target, allowed_hosts=allowed_hosts, schemes=schemes).netloc != parts.netloc:
            sent = {name: value for name, value in sent.items() if name.lower() not in _SECRET_HEADERS}
    raise UnusableInput(
        f"The address {show_address(url)} redirects more than {limits.redirects} times.",
        code="too_many_redirects",
    )


def _ask_once(
    method: str,
    parts: SplitResult,
    headers: Mapping[str, str],
    body: bytes | None,
    allowed_hosts: Collection[str],
    limits: Limits,
    ends_at: float,
    ssl_context: ssl.SSLContext | None,
) -> Answer:
    host, port = parts.hostname or "", port_of(parts)
    addresses = resolve_public(host, port, allowed_hosts, timeout_s=time_left(ends_at, limits.read_s))
    pool = httpcore.ConnectionPool(
        ssl_context=(ssl_context or ssl.create_default_context()) if parts.scheme == "https" else None,
        network_backend=PinnedNetwork(addresses, ends_at),
    )
    # The parts are handed over one by one: a second reading of the text could come to another host.
    place = httpcore.URL(scheme=parts.scheme, host=host, port=port, target=_target(parts))
    waits = {"connect": limits.connect_s, "read": limits.read_s, "write": limits.read_s}
    sent = {"Host": parts.netloc, **headers}
    if body is not None:
        sent["Content-Length"] = str(len(body))
    with (
        pool,
        pool.stream(
            method, place, headers=list(sent.items()), content=body, extensions={"timeout": waits}
        ) as response,
    ):
        received = {name.decode().lower(): value.decode("latin-1") for name, value in response.headers}
        redirected = response.status in REDIRECTS and limits.redirects > 0
        return Answer(
            status=response.status,
            headers=received,
            body=b"" if redirected else _read(response, parts, limits),
            url=parts.geturl(),
        )


def _read(response: httpcore.Response, parts: SplitResult, limits: Limits) -> bytes:
    """The body, given up as soon as it is too large."""
    data = bytearray()
    for chunk in response.iter_stream():
        data += chunk
        if len(data) > limits.max_bytes:
            if limits.cut:
                break
            raise UnusableInput(
                f"The answer of {_shown(parts)} has more than {limits.max_bytes:,} bytes.",
                code="answer_too_large",
            )
    return bytes(data[: limits.max_bytes])


def _target(parts: SplitResult) -> bytes:
    path = quote(parts.path or "/", safe=_PATH_SAFE)
    return (path + (f"?{quote(parts.query, safe=_QUERY_SAFE)}" if parts.query else "")).encode()


@contextmanager
def _explained(parts: SplitResult, limits: Limits) -> Iterator[None]:
    """Failures of the network as errors of ours, which say nothing of what the other side answered."""
    try:
        yield
    except OutOfTime:
        raise TransientFailure(
            f"The address {_shown(parts)} took more than {limits.whole_s:g} s.", code="answer_too_slow"
        ) from None
    except ssl.SSLCertVerificationError:
        raise UnusableInput(
            f"The certificate of {_shown(parts)} is not valid.", code="certificate_invalid"
        ) from None
    except (httpcore.TimeoutException, httpcore.NetworkError) as error:
        raise TransientFailure(
            f"The address {_shown(parts)} does not answer ({type(error).__name__}).",
            code="address_unreachable",
        ) from None
    except (httpcore.ProtocolError, UnicodeDecodeError):
        raise UnusableInput(f"The answer of {_shown(parts)} is not HTTP.", code="answer_malformed") from None


def _shown(parts: SplitResult) -> str:
    return show_address(parts.geturl())
