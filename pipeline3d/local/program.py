"""Starts one supervised program: `python -m pipeline3d.local.program DOCUMENT.json`.

Ties its life to the supervisor's, pauses when it failed just before, waits until what it depends on is
ready, and becomes the program. Imports the standard library and the probes only: every restart pays
for it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline3d.local.parentage import die_with_parent, environment_for_child, parent_pid_of
from pipeline3d.local.probes import parse_probe

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 15.0
# A program that lived this long was healthy: its next failure begins a new series.
HEALTHY_AFTER_S = 20.0
_ASK_EVERY_S = 0.05


def plan_pause(failures: int) -> float:
    """Seconds before the next start after so many failures in a row; a server never gives up."""
    if failures == 0:
        return 0.0
    return min(FIRST_PAUSE_S * 2.0 ** min(failures - 1, 10), LONGEST_PAUSE_S)


def count_failures(previous: Mapping[str, Any] | None, *, now: float) -> int:
    """How many starts in a row, up to the one before this, ended too soon."""
    if previous is None:
        return 0
    lived_s = now - float(previous["begun_at"])
    return int(previous["failures"]) + 1 if 0 <= lived_s < HEALTHY_AFTER_S else 1


def load_begun(path: Path) -> dict[str, Any] | None:
    """The record of the last start, None before the first."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content


def save_begun(path: Path, record: Mapping[str, Any]) -> None:
    """Replace the record, as a whole or not at all."""
    written = path.with_suffix(".new")
    written.write_text(json.dumps(record), encoding="utf-8")
    written.replace(path)


def wait_until_ready(dependencies: list[dict[str, Any]]) -> None:
    """Return when each dependency has been ready once; the supervisor may end us meanwhile."""
    for dependency in dependencies:
        if "file" in dependency:
            while not Path(dependency["file"]).exists():
                time.sleep(_ASK_EVERY_S)
            continue
        probe = parse_probe(dependency)
        while not probe.holds():
            time.sleep(_ASK_EVERY_S)


def run_once(document: Mapping[str, Any], environment: dict[str, str]) -> int:
    """Run the program to its end; a success is recorded for those who wait for it."""
    import subprocess  # only here: most programs are not run but become this process

    code = subprocess.run(document["command"], env=environment_for_child(environment), check=False).returncode
    if code == 0:
        Path(document["done_file"]).touch(mode=0o600)
    return code if code >= 0 else 1


def main() -> None:
    """Read the document, wait, and become the program."""
    # A stop while we wait must end us silently; Python would print a KeyboardInterrupt.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    document = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    die_with_parent(signal.Signals[document["death_signal"]], parent_pid_of(os.environ))
    begun = Path(document["begun_file"])
    previous = load_begun(begun)
    failures = count_failures(previous, now=time.time())
    if previous is not None:
        # Before the pause: whoever waits for us to start may want to give up.
        save_begun(begun, {**previous, "failures": failures})
    time.sleep(plan_pause(failures))
    wait_until_ready(document["waits_for"])
    os.chdir(document["directory"])
    save_begun(begun, {"failures": failures, "begun_at": time.time(), "pid": os.getpid()})
    environment = {**os.environ, **document["environment"]}
    if document["once"]:
        sys.exit(run_once(document, environment))
    command = document["command"]
    try:
        os.execvpe(command[0], command, environment)
    except OSError as failure:
        sys.exit(f"{command[0]} cannot be started: {failure.strerror}")


if __name__ == "__main__":
    main()
