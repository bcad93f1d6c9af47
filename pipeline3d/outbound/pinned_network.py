"""A network that goes to addresses which were checked, and nowhere else, until a time is over.

httpcore speaks HTTP over it. The name in the request is used for the TLS certificate alone: the name server
is not asked again, so that a second answer of it changes nothing (DNS rebinding).
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Sequence
from contextlib import suppress
from socket import AF_INET, AF_INET6, IPPROTO_TCP, SOCK_STREAM, TCP_NODELAY, socket
from time import monotonic
from typing import Any

import httpcore


class OutOfTime(Exception):
    """The whole time of the request is over."""


class PinnedNetwork(httpcore.NetworkBackend):
    """Connects to the first of `addresses` that answers. `ends_at` is a time of the monotonic clock."""

    def __init__(self, addresses: Sequence[str], ends_at: float) -> None:
        self._addresses = addresses
        self._ends_at = ends_at

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """A connection to a checked address; the name of the host is not looked at."""
        failure: OSError | None = None
        for address in self._addresses:
            made = socket(AF_INET6 if ":" in address else AF_INET, SOCK_STREAM)
            try:
                made.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
                made.settimeout(time_left(self._ends_at, timeout))
                made.connect((address, port))
            except TimeoutError as error:
                made.close()
                failure = error
            except OSError as error:
                made.close()
                failure = failure or error
            else:
                return _LimitedStream(made, self._ends_at)
        if isinstance(failure, TimeoutError):
            raise httpcore.ConnectTimeout(str(failure)) from failure
        raise httpcore.ConnectError(str(failure)) from failure


class _LimitedStream(httpcore.NetworkStream):
    """One connection, each wait of which ends with the whole time: a drip of bytes does not prolong it."""

    def __init__(self, connected: socket, ends_at: float) -> None:
        self._socket = connected
        self._ends_at = ends_at

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """The bytes that are there, at most so many."""
        self._socket.settimeout(time_left(self._ends_at, timeout))
        try:
            return self._socket.recv(max_bytes)
        except TimeoutError as error:
            raise httpcore.ReadTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ReadError(str(error)) from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all of it."""
        self._socket.settimeout(time_left(self._ends_at, timeout))
        try:
            self._socket.sendall(buffer)
        except TimeoutError as error:
            raise httpcore.WriteTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error

    def close(self) -> None:
        """End the connection."""
        with suppress(OSError):
            self._socket.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """The same connection behind TLS, with a certificate that is valid for the name."""
        self._socket.settimeout(time_left(self._ends_at, timeout))
        try:
            return _LimitedStream(
                ssl_context.wrap_socket(self._socket, server_hostname=server_hostname), self._ends_at
            )
        except ssl.SSLCertVerificationError:
            self.close()
            raise
        except TimeoutError as error:
            self.close()
            raise httpcore.ConnectTimeout(str(error)) from error
        except OSError as error:
            self.close()
            raise httpcore.ConnectError(str(error)) from error

    def get_extra_info(self, info: str) -> Any:
        """Nothing is known of the connection to those above; it is used once."""
        return None


def time_left(ends_at: float, at_most: float | None) -> float:
    """Seconds that a single wait may take. Raises OutOfTime."""
    left = ends_at - monotonic()
    if left <= 0:
        raise OutOfTime
    return left if at_most is None else min(left, at_most)
