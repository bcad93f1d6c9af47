"""Hosts for a proof on one machine: namespaces with a cable, an own disk and own processes each. Linux, root.

A host sees the code, and nothing else of this machine: its network is one cable (a veth pair), its process
table its own, and the folder of the installation is hidden under an empty disk of its own. What the host may
reach at the other end of the cable is forwarded from there, connection by connection.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pipeline3d_tests.installation import CHECKOUT

NETWORK = "10.213"
STOP_DEADLINE_S = 20.0
CHUNK_BYTES = 1 << 16


def why_not_possible() -> str | None:
    """What is missing for hosts of this kind; None where nothing is."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    name = f"p3d-try-{os.getpid()}"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    if tried.returncode != 0:
        return f"network namespaces are not permitted here: {tried.stderr.strip()}"
    _run("ip", "netns", "del", name)
    return None


@dataclass
class Host:
    """One host: `number` tells its network and cable from the others'. Use it in a `with` block."""

    name: str
    number: int
    log: Path
    hidden: Path
    """A folder of this machine that the host must not see; it finds an empty disk there."""
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def gateway(self) -> str:
        """This machine, as the host sees it."""
        return f"{NETWORK}.{self.number}.1"

    @property
    def _cable(self) -> str:
        return f"p3d{os.getpid() % 100_000}-{self.number}"

    @property
    def _space(self) -> str:
        return f"{self.name}-{os.getpid()}"

    def __enter__(self) -> Host:
        _run("ip", "netns", "add", self._space)
        _run("ip", "link", "add", self._cable, "type", "veth", "peer", "name", "eth0", "netns", self._space)
        _run("ip", "addr", "add", f"{self.gateway}/24", "dev", self._cable)
        _run("ip", "link", "set", self._cable, "up")
        for words in (
            f"ip addr add {NETWORK}.{self.number}.2/24 dev eth0",
            "ip link set eth0 up",
            "ip link set lo up",
        ):
            _run("ip", "netns", "exec", self._space, *words.split())
        return self

    def __exit__(self, *_error: object) -> None:
        self._kill()
        _run("ip", "netns", "del", self._space, may_fail=True)
        _run("ip", "link", "del", self._cable, may_fail=True)

    def start(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Switch the host on: it runs the command, and knows these variables only."""
        inside = (
            f"hostname {self.name}"
            f" && mount -t tmpfs disk {shlex.quote(str(self.hidden))}"
            f" && exec {shlex.join(command)}"
        )
        apart = ["unshare", "--uts", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", self._space, *apart, "sh", "-c", inside],
                cwd=CHECKOUT,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def cut(self) -> None:
        """Pull the cable: nothing goes through, and nobody is told."""
        _run("ip", "link", "set", self._cable, "down")

    def mend(self) -> None:
        """Put the cable back."""
        _run("ip", "link", "set", self._cable, "up")

    def power_off(self) -> None:
        """The power fails: the cable first, so that not even the end of a connection is heard of."""
        self.cut()
        self._kill()

    def _kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            # With its first process, the kernel ends all of a process namespace.
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(STOP_DEADLINE_S)
        self.process = None

    def stop(self) -> int | None:
        """Shut it down in order, as a service manager does; its exit code."""
        if self.process is None:
            return None
        first = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, text=True
        ).stdout.split()
        for pid in first:
            os.kill(int(pid), signal.SIGTERM)
        return self.process.wait(STOP_DEADLINE_S)


class Forwarder(threading.Thread):
    """Forwards connections from an address of this machine to the same ports on loopback."""

    def __init__(self, address: str, ports: Sequence[int]) -> None:
        super().__init__(name=f"forwarder-{address}", daemon=True)
        self._address = address
        self._ports = ports
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()

    def __enter__(self) -> Forwarder:
        self.start()
        if not self._ready.wait(10):
            raise RuntimeError(f"nothing can listen on {self._address}, ports {self._ports}")
        return self

    def __exit__(self, *_error: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self.join(timeout=5)

    def run(self) -> None:
        """Serve until the end of the block."""
        self._loop.run_until_complete(self._listen())
        self._ready.set()
        self._loop.run_forever()
        under_way = asyncio.all_tasks(self._loop)
        for task in under_way:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*under_way, return_exceptions=True))
        self._loop.close()

    async def _listen(self) -> None:
        for port in self._ports:

            async def forward(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int = port
            ) -> None:
                with suppress(OSError):
                    to_server = await asyncio.open_connection("127.0.0.1", port)
                    await asyncio.gather(_pump(reader, to_server[1]), _pump(to_server[0], writer))

            await asyncio.start_server(forward, self._address, port)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
    with suppress(OSError, RuntimeError):
        writer.close()


def _run(*command: str, may_fail: bool = False) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0 and not may_fail:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")


def worker_command(concurrency: int) -> list[str]:
    """What a host of workers runs."""
    return [
        *(sys.executable, "-m", "pipeline3d.cli", "worker"),
        *("--queues", "cpu", "--concurrency", str(concurrency), "--grace", "5"),
    ]
