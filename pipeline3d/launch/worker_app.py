"""The Celery process of a worker: `python -m pipeline3d.launch.worker_app --queues cpu --concurrency 2`.

Started by the warden, never by hand. The definitions are imported once, here; the
processes that execute runs are forked from this one and so have them at once. Connections are made after the
fork, by each process for itself.
"""

from __future__ import annotations

import gc
import importlib
import logging
import os
from pathlib import Path

import click
from celery import signals

from pipeline3d.launch import compute_logs
from pipeline3d.launch.celery_app import EXECUTE_RUN, LOG_FORMAT, build_app, plan_result_backend
from pipeline3d.launch.execution import RunExecutor
from pipeline3d.launch.process_tree import end_with_parent
from pipeline3d.local.parentage import die_with_parent, parent_pid_of
from pipeline3d.log_masking import mask_logs

DEFINITIONS = "pipeline3d.definitions"
LAST_UPLOADS_S = 5.0
"""A process that ends waits so long until the outputs of its runs are stored; the next stores the rest."""


@click.command()
@click.option("--queues", required=True, help="Comma list of the queues that are served.")
@click.option("--concurrency", type=int, required=True, help="Runs at a time, one process each.")
@click.option("--worker-id", required=True, help="The id under which the warden registers.")
@click.option("--ready-file", type=Path, required=True, help="Touched when runs are taken from now on.")
def main(queues: str, concurrency: int, worker_id: str, ready_file: Path) -> None:
    """Take runs from the broker and execute them, until the warden says stop."""
    # A process that outlives its warden would have nobody to end or settle its runs.
    import signal

    die_with_parent(signal.SIGKILL, parent_pid_of(os.environ))
    mask_logs()
    logging.basicConfig(format=LOG_FORMAT, level=os.environ.get("LOG_LEVEL", "INFO"))
    for name in ("alembic", "celery", "kombu", "botocore", "boto3", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)
    database_url, broker_url = os.environ["DATABASE_URL"], os.environ["BROKER_URL"]
    app = build_app(broker_url, plan_result_backend(broker_url, database_url))
    executor = RunExecutor(database_url, worker_id)
    app.task(executor.execute, name=EXECUTE_RUN)
    signals.worker_process_init.connect(lambda **_: end_with_parent(), weak=False)
    signals.worker_ready.connect(lambda **_: ready_file.touch(mode=0o600), weak=False)
    signals.worker_process_shutdown.connect(
        lambda **_: compute_logs.finish_uploads(LAST_UPLOADS_S), weak=False
    )
    # What is loaded now stays: the collector need not look at it meanwhile, and touching it in every process
    # later would copy it.
    gc.disable()
    importlib.import_module(DEFINITIONS)
    compute_logs.make_client_ahead()
    gc.collect()
    gc.freeze()
    gc.enable()
    serving = ["--queues", queues, "--concurrency", str(concurrency), "--hostname", f"{worker_id}@%h"]
    app.worker_main(
        ["--quiet", "worker", *serving, "--loglevel", "WARNING"]
        + ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    )


if __name__ == "__main__":
    main()
