"""Cleans up after a stack that was killed: `python -m pipeline3d.local.guardian DATA_DIRECTORY`.

Sleeps until its standard input, a pipe that only the stack holds, closes. A goodbye before that means
an orderly stop. Otherwise the supervisor is already stopping its programs, because its parent died; whoever
does not end in time is killed. It holds the stack's lock meanwhile, so that no new stack
starts into the middle of it.
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
    from pipeline3d.local.leftovers import end_processes_of  # psutil only when there is work

    end_processes_of(Path(sys.argv[1]), patience_s=PATIENCE_S)


if __name__ == "__main__":
    main()
