"""What the prune forgets of logins, sessions, the audit log and batches, and what it keeps."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from sqlalchemy import Date, cast, func, literal, select
from sqlalchemy.dialects.postgresql import INTERVAL

from pipeline3d.database.access_tables import audit_log, login_attempts, sessions, usage
from pipeline3d.database.tables import api_keys, batches, jobs
from pipeline3d.requests import accounts, audit, keys, logins, quotas
from pipeline3d.requests import batches as batch_statements
from pipeline3d.requests import sessions as session_statements
from pipeline3d.requests.creation import new_job_id
from pipeline3d.requests.housekeeping import PAGE_ROWS, Housekeeper
from pipeline3d.requests.leases import seconds_from_now

DAY_S = 86400


@pytest.fixture
def sweep(engine):
    """Sweep what ended ten days ago; a dry run first, which must count the same."""
    housekeeper = Housekeeper(engine)
    before = housekeeper.read_clock() - timedelta(days=10)

    def run(of):
        planned = housekeeper.sweep(of(before), dry_run=True)
        assert housekeeper.sweep(of(before), dry_run=False) == planned
        return planned

    return run


@pytest.mark.parametrize(
    ("table", "of", "row"),
    [
        (audit_log, audit.old_lines, {"action": "key.created"}),
        (login_attempts, logins.old_attempts, {"username": "ada", "address": "", "succeeded": False}),
    ],
)
def test_old_lines_go_and_new_ones_stay(rows, sweep, table, of, row):
    for age in (12, 11, 9, 0):
        rows.run(table.insert().values(**row, created_at=seconds_from_now(-age * DAY_S)))
    assert sweep(of) == 2
    assert len(rows.run(table.select())) == 2


def test_sessions_that_ended_long_ago_go(rows, sweep):
    ends = [
        ({"expires_at": seconds_from_now(DAY_S)}, True),
        ({"expires_at": seconds_from_now(-11 * DAY_S)}, False),
        ({"expires_at": seconds_from_now(DAY_S), "revoked_at": seconds_from_now(-11 * DAY_S)}, False),
        ({"expires_at": seconds_from_now(-9 * DAY_S)}, True),
    ]
    kept = set()
    for values, stays in ends:
        made = session_statements.generate_session()
        statement = session_statements.create_session(rows.user_id, made, user_agent="", lifetime_s=1)
        session_id = rows.run(statement)[0].id
        changed = sessions.update().where(sessions.c.id == session_id)
        rows.run(changed.values(created_at=seconds_from_now(-20 * DAY_S), **values))
        kept |= {session_id} if stays else set()
    assert sweep(session_statements.ended_sessions) == 2
    assert {row.id for row in rows.run(sessions.select())} == kept


def test_only_keys_of_logins_are_forgotten(rows, sweep):
    for name in ("login", "made by hand"):
        for ended_s in (-11 * DAY_S, -DAY_S):
            key = accounts.generate_api_key()
            rows.run(accounts.create_api_key(rows.user_id, key, name=name, expires_s=ended_s))
    assert sweep(keys.ended_login_keys) == 1
    left = rows.run(api_keys.select().where(api_keys.c.expires_at.is_not(None)))
    assert sorted(row.name for row in left) == ["login", "made by hand", "made by hand"]


def test_batches_are_forgotten_once_they_have_no_jobs_and_are_old(rows, sweep):
    made = {}
    for name, age in {"old": 11, "old with a job": 12, "young": 9}.items():
        made[name] = new_job_id()
        values = {"id": made[name], "user_id": rows.user_id, "name": name, "source": "json", "size": 1}
        rows.run(batches.insert().values(**values, created_at=seconds_from_now(-age * DAY_S)))
    job = rows.make()
    rows.run(jobs.update().where(jobs.c.id == job).values(batch_id=made["old with a job"]))
    assert sweep(batch_statements.empty_batches) == 1
    assert {row.name for row in rows.run(batches.select())} == {"old with a job", "young"}


def test_what_was_counted_goes_once_its_month_ended_long_ago(rows, sweep):
    begins = quotas.begin_of(quotas.this_month())
    months = {
        # how many months ago it was; ten days after it ended it goes
        0: True,
        1: rows.run(select(begins > seconds_from_now(-10 * DAY_S)))[0][0],
        2: False,
        14: False,
    }
    for ago in months:
        month = cast(quotas.this_month() - func.make_interval(0, ago, type_=INTERVAL), Date)
        for owner in (rows.user_id, new_job_id()):
            rows.run(usage.insert().values(owner_id=owner, month=month, jobs=1, cost_units=1))
    left = sum(months.values())
    assert sweep(quotas.old_months) == 2 * (len(months) - left)
    assert len(rows.run(usage.select())) == 2 * left


def test_more_months_than_a_page_holds_are_counted_and_go(rows, sweep):
    old = select(func.gen_random_uuid(), literal(date(2024, 2, 1)), 1, 1).select_from(
        func.generate_series(1, PAGE_ROWS + 1)
    )
    rows.run(usage.insert().from_select(["owner_id", "month", "jobs", "cost_units"], old))
    assert sweep(quotas.old_months) == PAGE_ROWS + 1
    assert rows.run(usage.select()) == []
