"""Limits of open jobs and of cost units: counted against the real database, also by many at once."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest

from pipeline3d.api.limits import charge, give_back
from pipeline3d.api.services import Services
from pipeline3d.database.access_tables import usage
from pipeline3d.database.engines import create_asyncio_engine
from pipeline3d.database.tables import api_keys, jobs, users
from pipeline3d.errors import LimitReached
from pipeline3d.requests import accounts, changes
from pipeline3d.requests.quotas import forget_used
from pipeline3d.settings import Settings
from pipeline3d.values import FailureReport
from pipeline3d_tests.integration.api.api_fixtures import JOBS
from pipeline3d_tests.integration.requests.database_fixtures import API_KEY

NO_SETTINGS = {"max_open_jobs_per_user": 0, "monthly_cost_units_per_user": 0}


class Caller:
    """The first user's account and services, without HTTP."""

    def __init__(self, url, rows, **settings):
        self._url, self._rows = url, rows
        self._settings = Settings(_env_file=None, **NO_SETTINGS | settings)

    def create(self, *, jobs=1, cost=1.0, at_once=1):
        """Ask `at_once` times; the codes of the refusals."""
        return asyncio.run(self._ask(charge, at_once, jobs=jobs, cost_units=cost))

    def give_back(self, *, jobs=1, cost=1.0):
        asyncio.run(self._ask(give_back, 1, jobs=jobs, cost_units=cost))

    async def _ask(self, question, at_once, **asked):
        services = Services(settings=self._settings, engine=create_asyncio_engine(self._url), store=None)
        try:
            row = await services.first(accounts.find_user_of_key(), the_hash=accounts.hash_api_key(API_KEY))
            account = accounts.account_of_row(row)
            asked_all = [question(services, account, **asked) for _ in range(at_once)]
            answers = await asyncio.gather(*asked_all, return_exceptions=True)
        finally:
            await services.close()
        unexpected = [x for x in answers if x is not None and not isinstance(x, LimitReached)]
        assert not unexpected, unexpected
        return [x for x in answers if x is not None]


@pytest.fixture
def limit(rows):
    """Set limits of the user or of the key."""
    row = rows.run(accounts.find_user_of_key(), the_hash=accounts.hash_api_key(API_KEY))[0]

    def set_limits(*, of_key=False, **limits):
        table, owner = (api_keys, row.key_id) if of_key else (users, row.id)
        rows.run(table.update().where(table.c.id == owner).values(**limits))
        return owner

    return set_limits


@pytest.fixture
def caller(database_url, rows):
    return lambda **settings: Caller(database_url, rows, **settings)


def used(rows, owner) -> float:
    found = rows.run(usage.select().where(usage.c.owner_id == owner))
    return float(found[0].cost_units) if found else 0.0


@pytest.mark.parametrize("of_key", [False, True])
def test_of_many_that_ask_at_once_no_more_than_the_quota_are_let_through(caller, limit, rows, of_key):
    owner = limit(of_key=of_key, monthly_cost_units=5)
    refused = caller().create(at_once=20)
    assert [error.code for error in refused] == ["quota_exceeded"] * 15
    assert used(rows, owner) == 5
    assert 0 < refused[0].details["retry_after_s"] <= 31 * 86400


def test_a_request_is_counted_whole_or_not_at_all(caller, limit, rows):
    owner = limit(monthly_cost_units=5)
    assert [error.code for error in caller().create(cost=5.001)] == ["quota_exceeded"]
    assert caller().create(jobs=3, cost=5) == []
    assert used(rows, owner) == 5


def test_what_the_key_refuses_is_not_counted_for_the_user(caller, limit, rows):
    user = limit(monthly_cost_units=100)
    limit(of_key=True, monthly_cost_units=2)
    assert [error.code for error in caller().create(cost=3)] == ["quota_exceeded"]
    assert used(rows, user) == 0


def test_what_was_used_before_a_limit_was_set_counts(caller, limit, rows):
    job = rows.make()
    rows.run(jobs.update().where(jobs.c.id == job).values(cost_units=4))
    limit(monthly_cost_units=5)
    assert caller().create(cost=1) == []
    assert len(caller().create(cost=1)) == 1


def test_a_limit_of_one_user_is_not_one_of_another(caller, limit, rows):
    rows.run(users.update().where(users.c.username == "grace").values(monthly_cost_units=0))
    assert caller().create(cost=1000) == []


def test_where_nobody_has_a_limit_nothing_is_counted(caller, rows):
    assert caller().create(cost=1000) == []
    assert rows.run(usage.select()) == []


def test_the_installations_limit_counts_where_the_user_has_none(caller, limit):
    assert len(caller(monthly_cost_units_per_user=2).create(cost=3)) == 1
    limit(monthly_cost_units=3)
    assert caller(monthly_cost_units_per_user=2).create(cost=3) == []


def test_jobs_that_were_not_stored_are_given_back(caller, limit, rows):
    owner = limit(monthly_cost_units=5)
    asking = caller()
    asking.create(cost=4)
    asking.give_back(cost=4)
    assert used(rows, owner) == 0
    assert asking.create(cost=5) == []


ENDS = [
    # how a job of 2 units ends, what of them stays counted
    ("failed", 0),  # the service did not deliver
    ("expired", 0),  # it never began
    ("cancelled while it waited", 0),
    ("cancelled while it ran", 2),  # the work was done
    ("succeeded", 2),
    ("failed and tried again", 2),
]


@pytest.mark.parametrize(("end", "stays"), ENDS)
def test_what_a_job_costs_is_given_back_where_it_brought_nothing(caller, limit, rows, ledger, end, stays):
    owner = limit(monthly_cost_units=5)
    caller().create(cost=2)
    job = rows.make()
    rows.run(jobs.update().where(jobs.c.id == job).values(cost_units=2))
    if end == "expired":
        rows.run(jobs.update().where(jobs.c.id == job).values(deadline=jobs.c.created_at))
        rows.run(changes.expire_overdue())
    elif end == "cancelled while it waited":
        rows.run(changes.request_cancel(job))
    else:
        ledger.begin(job, attempt=1, run_id="run", delivers=True)
        if end == "cancelled while it ran":
            rows.run(changes.request_cancel(job))
            rows.run(changes.mark_canceled(job, "run"))
        elif end == "succeeded":
            ledger.succeed(job, "run")
        else:
            rows.run(changes.fail(job, "run", FailureReport(code="x", message="x", retryable=False)))
            assert used(rows, owner) == 0
            if end == "failed and tried again":
                rows.run(changes.retry_by_hand(job))
    assert used(rows, owner) == stays


@pytest.mark.parametrize("of_key", [False, True])
def test_open_jobs_are_limited_and_ended_ones_do_not_count(api, limit, rows, of_key):
    limit(of_key=of_key, max_open_jobs=2)
    key = rows.run(accounts.find_user_of_key(), the_hash=accounts.hash_api_key(API_KEY))[0].key_id
    first, _second = rows.make(), rows.make()
    rows.run(jobs.update().values(key_id=key))
    refused = api.create()
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_open_jobs")
    assert "2 of the 2 jobs" in refused.json()["detail"]
    rows.run(changes.request_cancel(first))
    two = {"jobs": [{"model_id": "sculpt-v1", "prompt": "a red mug"}] * 2}
    assert api.http.post(f"{JOBS}/batch", json=two).json()["code"] == "too_many_open_jobs"
    assert len(rows.run(jobs.select())) == 2
    assert api.create().status_code == 201


def test_jobs_of_another_key_are_not_open_jobs_of_this_one(api, limit, rows):
    limit(of_key=True, max_open_jobs=1)
    rows.make()
    assert api.create().status_code == 201


def test_a_limit_of_nothing_refuses_everything(api, limit):
    limit(max_open_jobs=0)
    assert api.create().json()["code"] == "too_many_open_jobs"


def test_of_many_jobs_at_once_no_more_than_the_limit_are_opened(api, limit, rows):
    limit(max_open_jobs=3)
    path = api.upload()

    def create(_):
        return api.create(input_params={"input_path": path}).status_code

    with ThreadPoolExecutor(10) as pool:
        statuses = sorted(pool.map(create, range(10)))
    assert statuses == [201] * 3 + [429] * 7
    assert len(rows.run(jobs.select())) == 3


def test_a_job_is_tried_again_only_within_the_limit_of_open_jobs(api, limit, rows, in_state):
    failed, _other = in_state("FAILED"), rows.make()
    limit(max_open_jobs=1)
    refused = api.http.post(f"{JOBS}/{failed}/retry")
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_open_jobs")
    assert rows.row(failed).state == "FAILED"
    limit(max_open_jobs=2)
    assert api.http.post(f"{JOBS}/{failed}/retry").json()["status"] == "QUEUED"
    # it is open by now, and asking again opens nothing
    assert api.http.post(f"{JOBS}/{failed}/retry").status_code == 200


@pytest.mark.parametrize("of_key", [False, True])
def test_a_job_is_tried_again_only_within_the_quota(api, caller, limit, rows, in_state, of_key):
    failed = in_state("FAILED")
    owner = limit(of_key=of_key, monthly_cost_units=5)
    key = rows.run(accounts.find_user_of_key(), the_hash=accounts.hash_api_key(API_KEY))[0].key_id
    rows.run(jobs.update().values(cost_units=2, key_id=key))
    assert caller().create(cost=4) == []
    refused = api.http.post(f"{JOBS}/{failed}/retry")
    assert (refused.status_code, refused.json()["code"]) == (429, "quota_exceeded")
    assert "has used 4 of 5" in refused.json()["detail"]
    assert (rows.row(failed).state, used(rows, owner)) == ("FAILED", 4)
    caller().give_back(cost=1)
    assert api.http.post(f"{JOBS}/{failed}/retry").status_code == 200
    assert used(rows, owner) == 5


def test_a_new_limit_has_the_month_added_up_anew(caller, limit, rows):
    owner = limit(monthly_cost_units=5)
    caller().create(cost=4)  # and its job was never stored
    rows.run(forget_used([UUID(str(owner))]))
    assert caller().create(cost=5) == []


def test_over_http_a_limit_is_429_with_its_code_and_the_time_to_wait(api, limit, rows):
    owner = limit(monthly_cost_units=0)
    refused = api.create()
    assert (refused.status_code, refused.json()["code"]) == (429, "quota_exceeded")
    assert 0 < int(refused.headers["retry-after"]) <= 31 * 86400
    limit(monthly_cost_units=1000, max_open_jobs=1)
    assert api.create().status_code == 201
    assert used(rows, owner) == float(rows.run(jobs.select())[0].cost_units)
    refused = api.create()
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_open_jobs")
    assert len(rows.run(jobs.select())) == 1


def test_a_job_says_which_key_asked_for_it(api, limit, rows):
    key_id = limit(of_key=True, max_open_jobs=1)
    assert api.create().status_code == 201
    assert [row.key_id for row in rows.run(jobs.select())] == [key_id]
    assert api.create().json()["code"] == "too_many_open_jobs"
