"""Which servers of an installation can be reached from where they should not be.

Dagster's webservers and code server have no sign-in, and whoever reaches the code server, the broker or
Postgres can have anything done. Only the API, and the object store with its signed links, are for others.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from pipeline3d.local.leftovers import find_processes_of
from pipeline3d.outbound.networks import is_public
from pipeline3d.settings import Settings


def find_public_servers(settings: Settings) -> Iterator[tuple[str, str]]:
    """The variable and the address of every server that this installation reaches in the public internet."""
    for name in (
        "database_url",
        "dagster_pg_url",
        "redis_url",
        "broker_url",
        "dagster_webserver_url",
        "lineage_webserver_url",
    ):
        host = urlsplit(getattr(settings, name) or "").hostname
        if host is None:
            continue
        with suppress(OSError, UnicodeError):
            found = {str(answer[4][0]) for answer in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
            for address in sorted(found):
                if is_public(address):
                    yield name.upper(), address


def find_open_ports(data_dir: Path, *, meant_for_others: set[int]) -> Iterator[tuple[str, int]]:
    """Address and port of what processes of this installation listen on beyond this machine, but for what is
    meant for others."""
    seen = set()
    for process in find_processes_of(data_dir):
        with suppress(psutil.Error):
            for connection in process.net_connections(kind="tcp"):
                if connection.status != psutil.CONN_LISTEN:
                    continue
                place = (str(connection.laddr.ip), int(connection.laddr.port))
                if place[1] not in meant_for_others and not _is_this_machine(place[0]):
                    seen.add(place)
    yield from sorted(seen)


def _is_this_machine(address: str) -> bool:
    parsed = ip_address(address)
    return (getattr(parsed, "ipv4_mapped", None) or parsed).is_loopback
