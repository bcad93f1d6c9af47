"""An installation without its daemon: both databases and Dagster's instance; tests launch runs themselves.

The instance is configured by the checkout's `dagster.yaml`, so other processes with the same environment see
the same runs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import UUID

import dagster as dg
import pytest
import sqlalchemy as sa
import yaml
from dagster._core.code_pointer import CodePointer
from dagster._core.launcher import LaunchRunContext
from dagster._core.origin import (
    DEFAULT_DAGSTER_ENTRY_POINT,
    JobPythonOrigin,
    RepositoryPythonOrigin,
)
from dagster._core.remote_origin import (
    GrpcServerCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)

from pipeline3d.database.engines import create_sync_engine
from pipeline3d.launch.launcher import WarmRunLauncher
from pipeline3d.local.environment import complete_environment
from pipeline3d.requests.fleet import Fleet
from pipeline3d.requests.ledger import JobLedger
from pipeline3d.settings import Settings, load_settings
from pipeline3d.values import Family, Kind
from pipeline3d_tests.integration.requests.database_fixtures import CATALOGUE, JobRows

CHECKOUT = CATALOGUE.parents[1]
PROBE_PARAMS = {"work_s": 0, "in_subprocess": False, "transient_failures": 0, "fails": False}
IN_PROCESS_DEFINITIONS = """
from pathlib import Path
from pipeline3d.definitions import build_definitions
from pipeline3d.settings import load_settings
defs = build_definitions(load_settings({{"PIPELINE3D_DATA_DIR": {data!r}}}, env_file=None))
"""


@dataclass
class LaunchSite:
    """Requests, runs and what became of them. `code` is where the runs' code is found."""

    environment: Mapping[str, str]
    engine: sa.Engine
    instance: dg.DagsterInstance
    code: CodePointer
    data: Path
    rows: JobRows = field(init=False)

    def __post_init__(self) -> None:
        self.rows = JobRows(self.engine)

    @cached_property
    def ledger(self) -> JobLedger:
        return JobLedger(self.engine)

    @cached_property
    def fleet(self) -> Fleet:
        return Fleet(self.engine)

    @property
    def launcher(self) -> WarmRunLauncher:
        launcher = self.instance.run_launcher
        assert isinstance(launcher, WarmRunLauncher)
        return launcher

    @cached_property
    def job(self) -> dg.JobDefinition:
        from pipeline3d.definitions import (
            build_definitions,
        )  # takes a second, which most tests here do not need

        settings = load_settings({"PIPELINE3D_DATA_DIR": str(self.data)}, env_file=None)
        return build_definitions(settings).resolve_job_def("probe")

    def probe(self, *, max_attempts: int = 3, **params: Any) -> UUID:
        """A queued request."""
        return self.rows.make(
            model_id="probe-v1",
            kind=Kind.PROBE,
            family=Family.PROBE_REQUESTS,
            params={**PROBE_PARAMS, **params},
            max_attempts=max_attempts,
        )

    def run(
        self,
        job_id: UUID | None,
        attempt: int | None = 1,
        *,
        remote: bool = True,
        status: dg.DagsterRunStatus = dg.DagsterRunStatus.STARTING,
        tags: Mapping[str, str] | None = None,
    ) -> dg.DagsterRun:
        """A run of the probe as the dequeuer launches it; without `remote` one of Dagster's CLI."""
        own = {"dagster/partition": str(job_id)} if job_id else {}
        if attempt is not None:
            own["pipeline3d/attempt"] = str(attempt)
        if job_id:
            self.instance.add_dynamic_partitions(Family.PROBE_REQUESTS, [str(job_id)])
        repository = RepositoryPythonOrigin(
            executable_path=sys.executable, code_pointer=self.code, entry_point=DEFAULT_DAGSTER_ENTRY_POINT
        )
        location = GrpcServerCodeLocationOrigin(host="127.0.0.1", port=1, location_name="pipeline3d")
        return self.instance.create_run_for_job(
            self.job,
            status=status,
            tags={**own, **(tags or {})},
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            job_code_origin=JobPythonOrigin(job_name="probe", repository_origin=repository),
            remote_job_origin=RemoteJobOrigin(
                repository_origin=RemoteRepositoryOrigin(
                    code_location_origin=location, repository_name="__repository__"
                ),
                job_name="probe",
            )
            if remote
            else None,
        )

    def launch(self, job_id: UUID | None, attempt: int | None = 1, **options: Any) -> str:
        """Create a run and launch it; its id."""
        run = self.run(job_id, attempt, **options)
        self.launcher.launch_run(LaunchRunContext(dagster_run=run, workspace=None))
        return run.run_id

    def status(self, run_id: str) -> str:
        """What Dagster says of a run."""
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        return run.status.value

    def state(self, job_id: UUID) -> tuple[str, int]:
        """State and attempt of a request."""
        row = self.rows.row(job_id)
        return row.state, row.attempt

    def codes(self, job_id: UUID) -> list[str]:
        """Why attempts of a request failed, in order."""
        return [event["code"] for event in self.rows.events(job_id) if event.get("code")]

    def messages(self, run_id: str) -> str:
        """All that the run's log says."""
        return "\n".join(record.message for record in self.instance.all_logs(run_id))


def write_home(home: Path, *, captures_output: bool) -> None:
    """A DAGSTER_HOME with the checkout's `dagster.yaml`."""
    home.mkdir(parents=True, exist_ok=True)
    configuration = yaml.safe_load((CHECKOUT / "dagster.yaml").read_text())
    if not captures_output:
        # In this process pytest has the output.
        configuration["compute_logs"] = {
            "module": "dagster._core.storage.noop_compute_log_manager",
            "class": "NoOpComputeLogManager",
        }
    (home / "dagster.yaml").write_text(yaml.safe_dump(configuration))


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Without what somebody configured for an installation of their own."""
    ours = {name.upper() for name in Settings.model_fields}
    return {name: value for name, value in environment.items() if name not in ours}


@contextmanager
def open_site(
    data: Path, *, jobs_url: str, dagster_url: str, in_process: bool, **variables: str
) -> Iterator[LaunchSite]:
    """A site in the folder `data`; `in_process` is for runs that are executed by the test itself."""
    home = data / "dagster"
    write_home(home, captures_output=not in_process)
    environment = complete_environment(
        {
            "DATABASE_URL": jobs_url,
            "DAGSTER_PG_URL": dagster_url,
            "DAGSTER_HOME": str(home),
            "PIPELINE3D_DATA_DIR": str(data),
            "PIPELINE3D_COMPUTE_LOGS_DIR": str(data / "compute_logs"),
            "MINIO_ENDPOINT": "127.0.0.1:1",
            "MINIO_ACCESS_KEY": "none",
            "MINIO_SECRET_KEY": "none",
            "LINK_SIGNING_KEY": "signing-key",
            **variables,
        }
    )
    if in_process:
        definitions = data / "definitions.py"
        definitions.write_text(IN_PROCESS_DEFINITIONS.format(data=str(data)))
        code = CodePointer.from_python_file(str(definitions), "defs", str(CHECKOUT))
    else:
        code = CodePointer.from_module("pipeline3d.definitions", "defs", str(CHECKOUT))
    engine = create_sync_engine(jobs_url, pool_size=8)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        with dg.DagsterInstance.get() as instance:
            yield LaunchSite(environment=environment, engine=engine, instance=instance, code=code, data=data)
    engine.dispose()
