"""A whole installation for a benchmark, whose CPU time can be told apart by program."""

from __future__ import annotations

from contextlib import suppress

import psutil

from pipeline3d_tests.installation import Installation as RunningInstallation

SERVERS = ("postgres", "objects")


class Installation(RunningInstallation):
    """A running `pipeline3d up`, and the clocks of its processes."""

    def processes_without_servers(self) -> list[psutil.Process]:
        """Everything but Postgres and the object store, which serve others as well."""
        servers = {self.pid_of(name) for name in SERVERS}
        found = []
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                if not servers & {process.pid, *(parent.pid for parent in process.parents())}:
                    found.append(process)
        return found

    def cpu_seconds_of_postgres(self) -> float:
        """CPU time of the server, of its connections, and of those that were closed."""
        root = psutil.Process(self.pid_of("postgres"))
        total = 0.0
        for process in (root, *root.children(recursive=True)):
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system + times.children_user + times.children_system
        return total
