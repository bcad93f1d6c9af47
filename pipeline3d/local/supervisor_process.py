"""supervisord as a child of the stack: `python -m pipeline3d.local.supervisor_process CONFIGURATION`.

Adds two things to the library: it ends, stopping its programs in order, when the process that
started it is gone, and it wakes up at once for signals. Its own loop looks for them only once a
second, which adds seconds to each start and stop.
"""

from __future__ import annotations

import os
import signal
import sys

from supervisor.medusa import asyncore_25 as asyncore
from supervisor.options import ServerOptions
from supervisor.supervisord import Supervisor

from pipeline3d.local.parentage import PARENT_PID_VARIABLE, die_with_parent, parent_pid_of


class _SignalWaker:
    """A pipe into which Python writes a byte for each signal; supervisord's loop watches its other end."""

    def __init__(self) -> None:
        self._read_end, write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        os.set_blocking(write_end, False)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        asyncore.socket_map[self._read_end] = self
        os.write(write_end, b"\0")  # do not wait a second before the first start either

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def handle_read_event(self) -> None:
        try:
            os.read(self._read_end, 4096)
        except BlockingIOError:
            return

    def handle_error(self) -> None:
        raise  # supervisord calls this inside its except block


class WakefulSupervisor(Supervisor):  # type: ignore[misc]
    """The library's supervisor with a loop that reacts at once."""

    def runforever(self) -> None:
        """Serve until stopped."""
        _SignalWaker()
        super().runforever()


def main() -> None:
    """Run supervisord in the foreground."""
    die_with_parent(signal.SIGTERM, parent_pid_of(os.environ))
    os.environ[PARENT_PID_VARIABLE] = str(os.getpid())
    os.umask(0o077)  # the library's own setting counts for its daemon mode only
    options = ServerOptions()
    options.realize(["-n", "-c", sys.argv[1]], doc=__doc__)
    options.first, options.test = True, False  # as the library's own `main` does
    try:
        WakefulSupervisor(options).main()
    except asyncore.ExitNow:
        return


if __name__ == "__main__":
    main()
