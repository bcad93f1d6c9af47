"""One stack at a time on a data directory, and a clear answer for the second.

The lock is the kernel's, so it cannot be left behind; the file's text says who holds it and where its
pages are.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from pipeline3d.errors import ServerFailure
from pipeline3d.local.leftovers import end_processes_of
from pipeline3d.local.state import create_private_directory

LOCK_FILE = "stack.lock"
# A killed stack's guardian holds the lock until everything of it has ended.
_CLEAN_UP_PATIENCE_S = 16.0
# A process that was just killed looks alive for a moment.
_DYING_PATIENCE_S = 0.5


class DataLock:
    """Holds a data directory between `with` and its end: `with DataLock(path) as lock:`."""

    def __init__(self, data_directory: Path) -> None:
        self.data_directory = create_private_directory(data_directory.absolute())
        self._descriptor = -1

    @property
    def descriptor(self) -> int:
        """For the guardian, which holds the lock on after a kill."""
        return self._descriptor

    def __enter__(self) -> DataLock:
        self._descriptor = os.open(self.data_directory / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        began = time.monotonic()
        while not self._try():
            holder = read_holder(self.data_directory)
            patience_s = _DYING_PATIENCE_S if _is_alive(holder) else _CLEAN_UP_PATIENCE_S
            if time.monotonic() > began + patience_s:
                os.close(self._descriptor)
                raise _already_running(self.data_directory, holder)
            time.sleep(0.05)
        # Of a stack whose guardian was killed as well: its servers would keep our ports and files.
        end_processes_of(self.data_directory, patience_s=0.0)
        self.announce({})
        return self

    def _try(self) -> bool:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def announce(self, addresses: Mapping[str, str]) -> None:
        """Tell others where this stack is to be found: `{"API": "http://…"}`."""
        me = psutil.Process()
        record = {"pid": me.pid, "created": me.create_time(), "addresses": dict(addresses)}
        text = json.dumps(record).encode()
        os.pwrite(self._descriptor, text, 0)
        os.truncate(self._descriptor, len(text))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.truncate(self._descriptor, 0)
        os.close(self._descriptor)


def read_holder(data_directory: Path) -> dict[str, Any]:
    """Who holds the directory (`pid`, `addresses`); empty when nobody does or it is not known yet."""
    try:
        content: dict[str, Any] = json.loads((data_directory / LOCK_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content


def is_held(data_directory: Path) -> bool:
    """Whether a stack runs on the directory, or its guardian still cleans up after one."""
    try:
        descriptor = os.open(data_directory / LOCK_FILE, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _is_alive(holder: Mapping[str, Any]) -> bool:
    try:
        process = psutil.Process(holder["pid"])
        same = process.create_time() == holder["created"]
        return bool(same and process.status() != psutil.STATUS_ZOMBIE)
    except (KeyError, psutil.Error):
        return False


def _already_running(data_directory: Path, holder: Mapping[str, Any]) -> ServerFailure:
    addresses: Mapping[str, str] = holder.get("addresses", {})
    places = ", ".join(f"{name} {address}" for name, address in addresses.items()) or "it is still starting"
    return ServerFailure(
        f"Process {holder.get('pid', '?')} is running on {data_directory} already: {places}.",
        code="already_running",
        hint="Use it, stop it with Ctrl-C in its terminal, or set PIPELINE3D_DATA_DIR to another folder.",
        details={"addresses": dict(addresses), "pid": holder.get("pid")},
    )
