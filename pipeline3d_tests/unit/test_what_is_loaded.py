"""What each program loads before it does anything: this is most of the time that a start takes."""

import json
import subprocess
import sys

import pytest

LOAD_IN_TURN = """
import importlib, json, sys
wrong = {}
for modules, kept_out in json.loads(sys.argv[1]):
    for module in modules.split():
        importlib.import_module(module)
    if loaded := [name for name in kept_out.split() if name in sys.modules]:
        wrong[modules] = loaded
print(wrong)
"""


# One process loads them one after the other: each has to do without what only the later ones need.
@pytest.mark.parametrize(
    "in_turn",
    [
        pytest.param(
            [
                # what every supervised program is first
                ("pipeline3d.local.program", "http ssl email subprocess psutil"),
                # every command, its --help above all
                ("pipeline3d.cli", "httpx pydantic sqlalchemy rich asyncio"),
                # submit, watch, get, cancel: a client of a service somewhere
                ("pipeline3d.client", "pydantic sqlalchemy numpy psutil dagster"),
                # up and demo, before they have started anything
                ("pipeline3d.running", "sqlalchemy psycopg jsonschema numpy PIL dagster"),
                # seed, which every start waits for
                (
                    "pipeline3d.readiness pipeline3d.installation",
                    "dagster numpy alembic sqlalchemy.orm fastapi",
                ),
                ("pipeline3d.api.app", "dagster alembic numpy torch celery boto3 pipeline3d.geometry"),
            ],
            id="commands and the API",
        ),
        pytest.param(
            [
                # the warden, which starts the process that executes runs
                ("pipeline3d.readiness pipeline3d.launch.worker_command", "dagster numpy alembic fastapi"),
                # every process of Dagster
                ("pipeline3d.launch.compute_logs", "fastapi torch numpy"),
            ],
            id="a worker",
        ),
    ],
)
def test_a_program_loads_nothing_that_it_does_not_need_to_begin(in_turn):
    command = [sys.executable, "-c", LOAD_IN_TURN, json.dumps(in_turn)]
    answer = subprocess.run(command, capture_output=True, text=True)
    assert (answer.stdout.strip(), answer.stderr) == ("{}", "")
