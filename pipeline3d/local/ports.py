"""Free loopback ports: chosen once, remembered, and chosen anew when somebody else took one.

Knows sockets only; who remembers the numbers is `state`.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable, Mapping

LOOPBACK = "127.0.0.1"
# Below the ports that the kernel gives to outgoing connections: one of those could sit on the port of
# a server that is being started again.
_CANDIDATES = range(20_000, 32_000)


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as candidate:
        # As servers do: a port in TIME_WAIT after our own last run is ours to take again.
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def choose_free_ports(names: Iterable[str], *, taken: Iterable[int] = ()) -> dict[str, int]:
    """One free port for each name, all different and none of `taken`."""
    avoided = set(taken)
    chosen: dict[str, int] = {}
    # In random order, so that two installations that start at the same moment do not meet.
    candidates = iter(random.sample(_CANDIDATES, len(_CANDIDATES)))
    for name in names:
        chosen[name] = next(port for port in candidates if port not in avoided and is_free(port))
    return chosen


def replace_occupied_ports(remembered: Mapping[str, int], names: Iterable[str]) -> dict[str, int]:
    """The remembered port of each name where it is still free, a new one where it is not or is missing."""
    kept = {name: remembered[name] for name in names if name in remembered and is_free(remembered[name])}
    missing = [name for name in names if name not in kept]
    return {**kept, **choose_free_ports(missing, taken=[*remembered.values()])}
