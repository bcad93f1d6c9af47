"""Sees every connection and every question to a name server that this process begins.

An audit hook of the interpreter cannot be taken away again, so there is one, which looks on while a test
has asked it to, at the thread of that test and those that `pipeline3d.outbound` starts.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Watched:
    """What was begun: places that were connected to, and hosts that were asked for."""

    connections: list[tuple[str, int]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    reachable: Collection[str] = ()


_watching: dict[int, Watched] = {}


def _look(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watching or event not in ("socket.connect", "socket.getaddrinfo"):
        return
    own = threading.current_thread()
    watched = _watching.get(own.ident or 0)
    if watched is None and own.name == "name-server":
        watched = next(iter(_watching.values()), None)
    if watched is None:
        return
    if event == "socket.getaddrinfo":
        watched.names.append(str(arguments[0]))
        return
    place = arguments[1]
    if not isinstance(place, tuple):
        return
    watched.connections.append((place[0], place[1]))
    if place[0] not in watched.reachable:
        raise ConnectionRefusedError("a test goes to no place outside")


sys.addaudithook(_look)


@contextmanager
def watching(*, reachable: Collection[str] = ()) -> Iterator[Watched]:
    """Look on. Connections to places other than these fail before a packet leaves."""
    watched = Watched(reachable=reachable)
    own = threading.get_ident()
    _watching[own] = watched
    try:
        yield watched
    finally:
        del _watching[own]
