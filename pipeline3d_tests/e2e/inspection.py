"""A running installation whose inside can be looked at: its databases, its processes, what it left behind.

For the end-to-end tests and for the benchmarks that damage an installation. The databases are asked directly,
so that a question has an answer while the API or the Dagster UI is away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import psutil
import psycopg
from psycopg.rows import dict_row

from pipeline3d.installation import configured_variables
from pipeline3d.local.environment import build_environment
from pipeline3d.local.leftovers import find_processes_of
from pipeline3d.local.state import load_state
from pipeline3d.settings import load_settings
from pipeline3d_tests.installation import Installation
from pipeline3d_tests.servers import wait_until

QUICK_TO_NOTICE = {"SILENT_AFTER_S": "8", "LEASE_S": "8"}
"""A lost worker is missed after 8 s instead of a minute."""
AWAY_DEADLINE_S = 60.0
"""So long a server that was killed may take to answer again."""
CELERY_MODULE = "pipeline3d.launch.worker_app"

Row = dict[str, Any]


class InspectedInstallation(Installation):
    """A running `pipeline3d up`, and questions to it."""

    def service_environment(self) -> dict[str, str]:
        """The environment of its own processes: addresses and secrets."""
        state = load_state(self.data)
        assert state is not None
        chosen = {"PIPELINE3D_DATA_DIR": str(self.data), **self.variables}
        configured = configured_variables(load_settings(chosen, env_file=None))
        return build_environment(state, data_directory=self.data, configured=configured)

    def ask_jobs(self, question: str, *values: object) -> list[Row]:
        """Rows of the jobs database; waits for it where it is away."""
        return ask(self.service_environment()["DATABASE_URL"], question, values)

    def ask_dagster(self, question: str, *values: object) -> list[Row]:
        """Rows of Dagster's database."""
        scheme, _, rest = self.service_environment()["DAGSTER_PG_URL"].partition("://")
        return ask(f"{scheme.partition('+')[0]}://{rest}", question, values)

    def all_processes(self) -> list[psutil.Process]:
        """All its living processes, Postgres among them."""
        return find_processes_of(self.data)

    def celery_parent(self) -> psutil.Process | None:
        """The process below the warden from which the executing ones are forked."""
        with suppress(psutil.Error, OSError):
            for child in psutil.Process(self.pid_of("worker")).children():
                if CELERY_MODULE in child.cmdline():
                    return child
        return None

    def executing(self, job_id: object) -> psutil.Process | None:
        """The process that executes a request's run, once it has taken it."""
        for row in self.ask_jobs(
            "SELECT worker_pid FROM launched_runs WHERE job_id = %s AND worker_pid IS NOT NULL", str(job_id)
        ):
            with suppress(psutil.NoSuchProcess):
                return psutil.Process(row["worker_pid"])
        return None


def ask(url: str, question: str, values: Sequence[object] = ()) -> list[Row]:
    """Rows of a database that may be on its way back. A statement that returns none is fine."""
    answers: list[list[Row]] = []

    def it_answers() -> bool:
        with (
            suppress(psycopg.OperationalError),
            psycopg.connect(url, autocommit=True, row_factory=dict_row, connect_timeout=5) as connection,
        ):
            cursor = connection.execute(question, values)  # type: ignore[call-overload]
            answers.append(cursor.fetchall() if cursor.description else [])
        return bool(answers)

    wait_until(it_answers, what="an answer of Postgres", deadline_s=AWAY_DEADLINE_S, interval_s=0.1)
    return answers[0]


def gather(look: Callable[[], Any], *, what: str, deadline_s: float = 30.0) -> Any:
    """What `look` brings back, as soon as it is something."""
    found: list[Any] = []

    def it_is_there() -> bool:
        seen = look()
        found.extend([seen] if seen else [])
        return bool(found)

    wait_until(it_is_there, what=what, deadline_s=deadline_s, interval_s=0.1)
    return found[0]
