"""A stack of three small programs: `first`, then `second` after it, then `third` after that.

Run as a script it stays up as `pipeline3d up` does: `python -m ... DATA JOURNAL PORT PORT PORT [--stubborn]`.
"""

import sys
from pathlib import Path

from pipeline3d.local.data_lock import DataLock
from pipeline3d.local.probes import HttpProbe
from pipeline3d.local.stack import Stack
from pipeline3d.local.supervision import Program

FAKE_SERVER = Path(__file__).with_name("fake_server.py")
NAMES = ("first", "second", "third")


def build_program(name, *, port, journal, after=(), options=()):
    command = [sys.executable, str(FAKE_SERVER), "--name", name, "--port", str(port)]
    return Program(
        name=name,
        command=[*command, "--journal", str(journal), *options],
        directory=Path("/"),
        ready=HttpProbe(url=f"http://127.0.0.1:{port}/health"),
        after=tuple(after),
        stop_timeout_s=1,
    )


def build_programs(ports, journal, options=(), *, first_options=()):
    first, second, third = ports
    return [
        build_program("first", port=first, journal=journal, options=[*first_options, *options]),
        build_program("second", port=second, journal=journal, after=["first"], options=options),
        build_program(
            "third", port=third, journal=journal, after=["second"], options=["--grandchild", *options]
        ),
    ]


def main():
    data, journal, *rest = sys.argv[1:]
    ports, options = [int(port) for port in rest[:3]], rest[3:]
    with DataLock(Path(data)) as lock, Stack(lock, show=lambda line: print(line, flush=True)) as stack:
        stack.start(build_programs(ports, journal, options))
        lock.announce({"API": f"http://127.0.0.1:{ports[0]}"})
        print("all ready", flush=True)
        stack.wait()


if __name__ == "__main__":
    main()
