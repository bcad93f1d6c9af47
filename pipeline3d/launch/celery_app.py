"""The Celery application that carries a run from the launcher to a worker.

Its message says only which run waits. What the run is, whose it is and how it ended is in Postgres, so a
message that is lost, doubled or late costs seconds and never a request.
"""

from __future__ import annotations

from celery import Celery

from pipeline3d.launch.postgres_broker import serve_sql_brokers

EXECUTE_RUN = "pipeline3d.execute_run"
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
"""How a worker's processes write their log."""
LONGEST_RUN_S = 24 * 3600
"""Redis gives a message out again after this time: longer than any run may take (`max_runtime_seconds`)."""
RUNS_PER_PROCESS = 500
"""A worker's process is renewed after so many runs, against leaks in libraries that we did not write."""


def plan_result_backend(broker_url: str, database_url: str) -> str:
    """Where the errors of tasks are kept: with Redis there, otherwise in Postgres."""
    if broker_url.startswith(("redis://", "rediss://")):
        return broker_url
    _, _, rest = database_url.partition("://")
    return f"db+postgresql+psycopg://{rest}"


def build_app(broker_url: str, result_backend: str) -> Celery:
    """The application as launchers and workers use it. Connects on first use."""
    serve_sql_brokers()
    app = Celery("pipeline3d", broker=broker_url, backend=result_backend)
    app.conf.update(
        # A process takes one run at a time and its message is done when the run is.
        task_acks_late=True,
        worker_prefetch_multiplier=1,
        # A run that lost its process is settled by the warden; the message must not start it again.
        task_reject_on_worker_lost=False,
        # The place of a process that was killed is free again after a second, not after ten.
        worker_lost_wait=1.0,
        broker_transport_options={"visibility_timeout": LONGEST_RUN_S},
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        # The outcome of a run is in Dagster and in the jobs table; of a task only what went wrong is kept.
        task_ignore_result=True,
        task_store_errors_even_if_ignored=True,
        result_expires=7 * 24 * 3600,
        worker_max_tasks_per_child=RUNS_PER_PROCESS,
        worker_proc_alive_timeout=60,
        # Cancel, drain and health go through Postgres, the same on every broker.
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        # Dagster captures what a run writes; a proxy object in the place of stdout cannot be captured.
        worker_redirect_stdouts=False,
        worker_hijack_root_logger=False,
        task_default_queue="cpu",
    )
    return app


def publish(app: Celery, run_id: str, queue: str) -> None:
    """Tell the broker that a run waits. Raises what the broker's client raises."""
    # Nobody waits for the result; without saying so here too, a Redis backend would listen for each one, and
    # try for twenty seconds to reach a Redis that is away.
    app.send_task(EXECUTE_RUN, args=[run_id], task_id=run_id, queue=queue, retry=False, ignore_result=True)
