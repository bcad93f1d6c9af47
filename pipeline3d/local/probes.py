"""Ways to ask whether a server is ready: cheap, true, and with the standard library alone.

"The process lives" and "the port is open" are not enough: each probe waits for an answer that only
the right server in the right condition gives. A probe can be written as JSON for another process.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_LOOPBACK = "127.0.0.1"
_TIMEOUT_S = 2.0
_LONGEST_PAGE = 1 << 20
_POSTGRES_PROTOCOL_3 = 3 << 16
_HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HTTP2_EMPTY_SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
_HTTP2_SETTINGS_TYPE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresProbe:
    """PostgreSQL takes connections: it asks for the password (while starting it answers an error)."""

    port: int
    host: str = _LOOPBACK

    def holds(self) -> bool:
        """Ask once."""
        body = struct.pack("!I", _POSTGRES_PROTOCOL_3) + b"user\0pipeline3d\0database\0postgres\0\0"
        try:
            with socket.create_connection((self.host, self.port), timeout=_TIMEOUT_S) as connection:
                connection.sendall(struct.pack("!I", len(body) + 4) + body)
                # All of the answer: closing with a rest unread makes the server log a reset connection.
                return connection.recv(1024).startswith(b"R")
        except OSError:
            return False


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpProbe:
    """A GET of this address is answered with 200."""

    url: str

    def holds(self) -> bool:
        """Ask once."""
        parts = urlsplit(self.url)
        # By hand: a program that waits for another would else import http.client, ssl and email for this.
        question = f"GET {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n"
        address = (parts.hostname or _LOOPBACK, parts.port or 80)
        try:
            with socket.create_connection(address, timeout=_TIMEOUT_S) as connection:
                connection.sendall(question.encode("ascii"))
                answer = b""
                # All of it, up to what no page for probes has.
                while len(answer) < _LONGEST_PAGE and (piece := connection.recv(4096)):
                    answer += piece
        except OSError:
            return False
        return answer.startswith((b"HTTP/1.1 200 ", b"HTTP/1.0 200 "))


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcProbe:
    """A gRPC server answers: it greets with HTTP/2 settings (an open port alone may be bound, not served)."""

    port: int
    host: str = _LOOPBACK

    def holds(self) -> bool:
        """Ask once."""
        try:
            with socket.create_connection((self.host, self.port), timeout=_TIMEOUT_S) as connection:
                connection.sendall(_HTTP2_PREFACE + _HTTP2_EMPTY_SETTINGS)
                header = connection.recv(9)
                return len(header) == len(_HTTP2_EMPTY_SETTINGS) and header[3] == _HTTP2_SETTINGS_TYPE
        except OSError:
            return False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyFileProbe:
    """The program wrote its pid into this file, and that process lives."""

    path: str

    def holds(self) -> bool:
        """Look once."""
        try:
            pid = int(Path(self.path).read_text(encoding="ascii"))
            os.kill(pid, 0)
        except (OSError, ValueError):
            return False
        return True


Probe = PostgresProbe | HttpProbe | GrpcProbe | ReadyFileProbe
_PROBES: Mapping[str, type[Probe]] = {
    probe.__name__: probe for probe in (PostgresProbe, HttpProbe, GrpcProbe, ReadyFileProbe)
}


def build_probe_document(probe: Probe) -> dict[str, Any]:
    """The probe as plain JSON values."""
    return {"probe": type(probe).__name__, **asdict(probe)}


def parse_probe(document: Mapping[str, Any]) -> Probe:
    """The probe that `build_probe_document` described."""
    values = dict(document)
    return _PROBES[values.pop("probe")](**values)
