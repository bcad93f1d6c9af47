"""Migrations on a real Postgres: from blank, twice at once, back again, and equal to the tables."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import func, inspect, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import IntegrityError

from pipeline3d.database import access_tables, file_tables, webhook_tables  # noqa: F401  (so that they are known)
from pipeline3d.database.engines import create_sync_engine
from pipeline3d.database.migration import build_alembic_config, downgrade, migrate
from pipeline3d.database.revisions import newest_revision, read_revision
from pipeline3d.database.tables import jobs, metadata, models
from pipeline3d.requests import leases, listing, reading
from pipeline3d.values import JobState


def read_tables(url):
    engine = create_sync_engine(url)
    with engine.connect() as connection:
        names = set(inspect(connection).get_table_names())
        difference = compare_metadata(MigrationContext.configure(connection), metadata)
    engine.dispose()
    return names, difference


def test_a_blank_database_becomes_what_the_tables_say(fresh_database):
    url = fresh_database()
    assert migrate(url) == newest_revision()
    names, difference = read_tables(url)
    assert names == {*metadata.tables, "alembic_version"}
    assert difference == []


def test_migrating_again_changes_nothing(fresh_database):
    url = fresh_database()
    assert migrate(url) == migrate(url)


def test_the_newest_revision_is_the_one_that_alembic_finds(fresh_database):
    assert newest_revision() == ScriptDirectory.from_config(build_alembic_config()).get_current_head()
    engine = create_sync_engine(fresh_database())
    with engine.connect() as connection:
        assert read_revision(connection) is None
    engine.dispose()


def test_two_migrations_at_once_are_safe(fresh_database):
    url = fresh_database()
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(migrate, [url] * 4)) == {newest_revision()}
    assert read_tables(url)[1] == []


def test_the_way_back_leaves_nothing_and_the_way_forth_works_again(fresh_database):
    url = fresh_database()
    migrate(url)
    assert downgrade(url, "base") is None
    assert read_tables(url)[0] == {"alembic_version"}
    assert migrate(url) == newest_revision()


def test_every_revision_says_when_it_runs():
    for script in ScriptDirectory.from_config(build_alembic_config()).walk_revisions():
        assert "_before_" in script.path or "_after_" in script.path
        assert (
            f"Runs {'before' if '_before_' in script.path else 'after'} deployment" in script.module.__doc__
        )


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ({"state": "DONE"}, "known_state"),  # a state that nobody knows
        ({"state": JobState.RUNNING}, "running_has_run"),  # running without a run
        ({"state": JobState.SUCCEEDED}, "finished_has_end"),  # finished without its end
        ({"completed_at": text("now()")}, "finished_has_end"),  # an end without being finished
        ({"state": JobState.SUCCEEDED, "completed_at": text("now()")}, "succeeded_is_complete"),
        ({"state": JobState.FAILED, "completed_at": text("now()")}, "failed_has_code"),
        ({"error_code": "x", "error_message": "x", "error_retryable": True}, "failed_has_code"),
        ({"error_message": "x"}, "error_is_whole"),
        ({"progress_percent": 101}, "progress_range"),
        ({"attempt": 4}, "attempt_range"),  # more attempts than allowed
        ({"attempt": 0}, "attempt_range"),
        ({"priority": 101}, "priority_range"),
        ({"idempotency_key": "k"}, "idempotency_is_whole"),
        ({"lease_until": text("now()")}, "lease_is_whole"),
    ],
)
def test_postgres_refuses_a_row_that_must_never_exist(rows, change, constraint):
    job_id = rows.make()
    with pytest.raises(IntegrityError, match=f"ck_jobs_{constraint}"):
        rows.run(jobs.update().where(jobs.c.id == job_id).values(**change))


def test_a_model_that_jobs_used_cannot_be_removed(rows):
    rows.make()
    with pytest.raises(IntegrityError, match="fk_jobs_model_id"):
        rows.run(models.delete().where(models.c.id == "inflate-v1"))


def test_what_runs_all_the_time_uses_its_index(rows):
    """With a long history and a long queue, neither a claim nor a list nor a look-out may read all of it."""
    rows.run(
        text(
            "INSERT INTO jobs (id, user_id, model_id, kind, family, state, progress_percent, completed_at) "
            "SELECT gen_random_uuid(), (SELECT id FROM users WHERE username = 'ada'), 'inflate-v1', "
            "'image_to_3d', 'model_requests', 'SUCCEEDED', 100, now() FROM generate_series(1, 5000)"
        )
    )
    rows.run(
        text(
            "INSERT INTO jobs (id, user_id, model_id, kind, family) "
            "SELECT gen_random_uuid(), (SELECT id FROM users WHERE username = 'ada'), 'inflate-v1', "
            "'image_to_3d', 'model_requests' FROM generate_series(1, 5000)"
        )
    )
    rows.run(text("ANALYZE jobs"))
    statements = {
        "ix_jobs_turns": select(jobs.c.id)
        .where(leases.claimable(), jobs.c.model_id == "inflate-v1", jobs.c.user_id == rows.user_id)
        .order_by(jobs.c.priority.desc(), jobs.c.created_at, jobs.c.id)
        .limit(10),
        "ix_jobs_dispatched": leases.list_undispatched(60),
        "ix_jobs_deadlines": select(jobs.c.id).where(leases.IS_QUEUED, jobs.c.deadline <= func.now()),
        "ix_jobs_running_by_heartbeat": reading.list_running(60),
        "ix_jobs_own_newest_first": listing.list_page(listing.JobFilter(user_id=rows.user_id), limit=50),
    }
    for index, statement in statements.items():
        query = statement.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True})
        plan = "\n".join(row[0] for row in rows.run(text(f"EXPLAIN {query}".replace(":", "\\:"))))
        assert index in plan, plan
