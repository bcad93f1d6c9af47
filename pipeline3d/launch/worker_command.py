"""`pipeline3d worker`: puts a warden together for this host.

A host needs the code and the addresses of the installation (database, Dagster's database, object store and,
where there is one, the broker); everything else it learns from the database.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from uuid import UUID, uuid4

from pipeline3d.database.engines import create_sync_engine
from pipeline3d.errors import Pipeline3dError
from pipeline3d.launch.celery_app import LOG_FORMAT, build_app, plan_result_backend, publish
from pipeline3d.launch.runs_table import RunsTable
from pipeline3d.launch.warden import Warden
from pipeline3d.local.parentage import environment_for_child
from pipeline3d.log_masking import mask_logs
from pipeline3d.requests.fleet import Fleet, WorkerFacts
from pipeline3d.requests.ledger import JobLedger
from pipeline3d.store.s3 import S3Store


def serve(
    environment: Mapping[str, str],
    *,
    queues: Sequence[str],
    concurrency: int,
    gpu: str | None,
    data_directory: Path,
    shutdown_grace_s: float,
) -> None:
    """Serve the queues in this process until it is told to stop. `environment` is complete."""
    os.environ.update(environment)
    mask_logs()
    logging.basicConfig(format=LOG_FORMAT, level=environment.get("LOG_LEVEL", "INFO"))
    for name in ("alembic", "kombu"):
        logging.getLogger(name).setLevel(logging.WARNING)
    database_url, broker_url = environment["DATABASE_URL"], environment["BROKER_URL"]
    host = socket.gethostname()
    facts = WorkerFacts(
        id=f"{host}-{uuid4().hex[:8]}",
        host=host,
        pid=os.getpid(),
        queues=tuple(queues),
        concurrency=concurrency,
        gpu=gpu,
    )
    app = build_app(broker_url, plan_result_backend(broker_url, database_url))
    engine = create_sync_engine(database_url)
    run_folder = data_directory / "workers"
    run_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    ready_file = run_folder / f"{facts.id}.ready"
    warden = Warden(
        facts,
        fleet=Fleet(engine),
        ledger=JobLedger(engine),
        runs=RunsTable(environment["DAGSTER_PG_URL"]),
        start_worker=lambda ready: start_celery(facts, environment, ready),
        publish=lambda run_id, queue: publish(app, run_id, queue),
        clean_up=lambda run_id: clean_up(run_id, data_directory / "scratch", environment),
        ready_file=ready_file,
        shutdown_grace_s=shutdown_grace_s,
    )
    try:
        warden.run()
    finally:
        ready_file.unlink(missing_ok=True)


def clean_up(run_id: str, scratch: Path, environment: Mapping[str, str]) -> None:
    """Remove the scratch folder of a run that was killed, and the object that it was writing.

    The store is asked in a thread: one that hangs must not keep the warden from its signs of life.
    """
    for folder in scratch.glob(f"run-{run_id}-*"):
        shutil.rmtree(folder, ignore_errors=True)
    threading.Thread(target=remove_unfinished, args=(run_id, environment), daemon=True).start()


def remove_unfinished(run_id: str, environment: Mapping[str, str]) -> None:
    """Remove the object that a killed run was writing; where the store is away, the nightly prune does it."""
    store = S3Store(
        endpoint=environment["MINIO_ENDPOINT"],
        access_key=environment["MINIO_ACCESS_KEY"],
        secret_key=environment["MINIO_SECRET_KEY"],
        bucket=environment["MINIO_BUCKET"],
        secure=environment["MINIO_SECURE"] == "true",
    )
    try:
        store.remove_unfinished(UUID(run_id))
    except (Pipeline3dError, ValueError) as error:
        logging.getLogger("pipeline3d.warden").warning("an object of run %s may be left: %s", run_id, error)


def start_celery(
    facts: WorkerFacts, environment: Mapping[str, str], ready_file: Path
) -> subprocess.Popen[bytes]:
    """Begin the Celery process of a worker. It sees the one GPU that the worker was given, or all."""
    command = [sys.executable, "-m", "pipeline3d.launch.worker_app", "--worker-id", facts.id]
    command += ["--queues", ",".join(facts.queues), "--concurrency", str(facts.concurrency)]
    command += ["--ready-file", str(ready_file)]
    child = environment_for_child({**os.environ, **environment, "PIPELINE3D_WORKER_ID": facts.id})
    if facts.gpu is not None:
        child["CUDA_VISIBLE_DEVICES"] = facts.gpu
    # A session of its own: Ctrl-C in a terminal is the warden's, who ends the runs in order.
    return subprocess.Popen(command, env=child, stdin=subprocess.DEVNULL, start_new_session=True)
