"""What each program loads before it does anything: this is most of the time that a start takes."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("loaded", "kept_out"),
    [
        # every command, its --help above all
        ("pipeline3d.cli", "httpx pydantic sqlalchemy rich asyncio"),
        # submit, watch, get, cancel: a client of a service somewhere
        ("pipeline3d.cli, pipeline3d.client", "pydantic sqlalchemy numpy psutil dagster"),
        # up and demo, before they have started anything
        ("pipeline3d.running", "sqlalchemy psycopg jsonschema numpy PIL dagster"),
        # what every supervised program is first
        ("pipeline3d.local.program", "http ssl email subprocess psutil"),
        # seed, which every start waits for
        ("pipeline3d.readiness, pipeline3d.installation", "dagster numpy alembic sqlalchemy.orm fastapi"),
        # the warden, which starts the process that executes runs
        ("pipeline3d.readiness, pipeline3d.launch.worker_command", "dagster numpy alembic fastapi"),
        ("pipeline3d.api.app", "dagster alembic numpy torch celery boto3 pipeline3d.geometry"),
        ("pipeline3d.launch.compute_logs", "fastapi celery torch numpy"),
    ],
)
def test_a_program_loads_nothing_that_it_does_not_need_to_begin(loaded, kept_out):
    question = f"import sys, {loaded}; print([name for name in {kept_out.split()!r} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", question], capture_output=True, text=True)
    assert (answer.stdout.strip(), answer.stderr) == ("[]", "")
