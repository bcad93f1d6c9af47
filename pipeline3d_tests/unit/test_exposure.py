"""What an installation shows to other machines is found, and nothing else."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from pipeline3d.exposure import find_open_ports, find_public_servers
from pipeline3d.local.supervision import STACK_VARIABLE
from pipeline3d.settings import Settings

LISTEN = """
import socket, sys
made = []
for host in sys.argv[1:]:
    made.append(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET))
    if ":" in host:
        made[-1].setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    made[-1].bind((host, 0))
    made[-1].listen()
print(*(listening.getsockname()[1] for listening in made), flush=True)
sys.stdin.read()
"""


def test_a_process_that_listens_for_everybody_is_found_and_one_on_loopback_is_not(tmp_path):
    hosts = ["0.0.0.0", "0.0.0.0", "127.0.0.1", "::ffff:127.0.0.1"]
    process = subprocess.Popen(
        [sys.executable, "-c", LISTEN, *hosts],
        env={**os.environ, STACK_VARIABLE: str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        api, forgotten, *_ = (int(port) for port in process.stdout.readline().split())
        found = list(find_open_ports(tmp_path, meant_for_others={api}))
        process.communicate("")
    assert found == [("0.0.0.0", forgotten)]


@pytest.mark.parametrize(
    ("addresses", "found"),
    [
        (["10.0.0.5"], []),
        (["93.184.216.34"], ["93.184.216.34"]),
        (["10.0.0.5", "2606:2800:220:1:248:1893:25c8:1946"], ["2606:2800:220:1:248:1893:25c8:1946"]),
    ],
)
def test_a_server_at_a_public_address_is_found(monkeypatch, addresses, found):
    answers = [(2, 1, 6, "", (address, 0)) for address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers)
    settings = Settings(_env_file=None, redis_url="redis://:secret@cache.example.com:6379/0")
    assert list(find_public_servers(settings)) == [("REDIS_URL", address) for address in found]
