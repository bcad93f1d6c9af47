"""Cleans up after a stack that was killed: `python -m pipeline3d.local.guardian DATA_DIRECTORY`.

Sleeps until its standard input, a pipe that only the stack holds, closes. A goodbye before that means
an orderly stop. Otherwise the supervisor is stopping its programs already, because its parent died; it
gets the time to do that in order, and whatever is left then is killed. It holds the stack's lock
meanwhile, so that no new stack starts into the middle of it.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

GOODBYE = b"."
PATIENCE_S = 9.0


def main() -> None:
    """Wait for the end of the stack."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # meant for the stack; we end when it has ended
    if sys.stdin.buffer.read() == GOODBYE:
        return
    from pipeline3d.local import leftovers  # psutil only when there is work

    data_directory = Path(sys.argv[1])
    leftovers.wait_for_supervisor_of(data_directory, patience_s=PATIENCE_S)
    leftovers.end_processes_of(data_directory, patience_s=0.2)


if __name__ == "__main__":
    main()
