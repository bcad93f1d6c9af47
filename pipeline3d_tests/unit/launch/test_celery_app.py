"""What the message about a run may and may not do, as Celery is told."""

import pytest

from pipeline3d.launch.celery_app import LONGEST_RUN_S, build_app, plan_result_backend
from pipeline3d.launch.postgres_broker import Transport

DATABASE = "postgresql://user:word@db:5432/pipeline3d"


@pytest.mark.parametrize(
    ("broker", "database", "backend"),
    [
        # with Redis, errors of tasks are kept there
        ("redis://cache:6379/1", DATABASE, "redis://cache:6379/1"),
        ("rediss://cache:6379/1", DATABASE, "rediss://cache:6379/1"),
        # with any other broker in Postgres, in whatever spelling its URL came
        (
            "sqla+postgresql+psycopg://u@db/p",
            DATABASE,
            "db+postgresql+psycopg://user:word@db:5432/pipeline3d",
        ),
        ("amqp://rabbit//", "postgres://u@db/p", "db+postgresql+psycopg://u@db/p"),
        ("amqp://rabbit//", "postgresql+asyncpg://u@db/p", "db+postgresql+psycopg://u@db/p"),
    ],
)
def test_errors_of_tasks_are_kept_where_a_server_is_already(broker, database, backend):
    assert plan_result_backend(broker, database) == backend


@pytest.fixture
def app():
    return build_app("memory://", "cache+memory://")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("task_acks_late", True),  # the message is done when the run is
        ("worker_prefetch_multiplier", 1),  # a run does not wait behind another in a process that is busy
        ("task_reject_on_worker_lost", False),  # whoever settles the run decides whether there is another
        ("worker_lost_wait", 1.0),  # a process that was killed does not keep its place for long
        ("task_ignore_result", True),  # the outcome is in Postgres already
        ("task_store_errors_even_if_ignored", True),
        ("worker_redirect_stdouts", False),  # or Dagster could not capture what a run writes
        ("worker_enable_remote_control", False),  # cancel must not depend on the kind of broker
        ("broker_connection_max_retries", None),  # a broker may be away for as long as it likes
    ],
)
def test_celery_is_told(app, setting, value):
    assert app.conf[setting] == value


def test_redis_does_not_give_a_message_out_again_while_its_run_may_still_be_at_work(app):
    assert app.conf.broker_transport_options == {"visibility_timeout": LONGEST_RUN_S}
    assert LONGEST_RUN_S >= 24 * 3600


def test_a_postgres_broker_url_is_served_by_our_transport():
    app = build_app("sqla+postgresql+psycopg://u:w@127.0.0.1:1/d", "cache+memory://")
    with app.connection_for_write() as connection:
        assert isinstance(connection.get_transport_cls()(connection), Transport)
