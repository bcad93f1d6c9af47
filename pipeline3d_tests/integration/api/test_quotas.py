"""Limits of open jobs and of cost units: counted against the real database, also by many at once."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from pydantic import ValidationError
from sqlalchemy import Date, func, literal, select, text

from pipeline3d.api.limits import store_within_limits
from pipeline3d.api.services import Services
from pipeline3d.database.access_tables import usage
from pipeline3d.database.engines import create_asyncio_engine
from pipeline3d.database.tables import api_keys, batches, jobs, users
from pipeline3d.errors import DatabaseUnavailable, LimitReached
from pipeline3d.requests import accounts, changes, quotas
from pipeline3d.requests import users as users_of_month
from pipeline3d.requests.creation import NewJob, create_jobs, new_job_id, values_of
from pipeline3d.settings import Settings
from pipeline3d.values import FailureReport, Family, Kind
from pipeline3d_tests.integration.api.api_fixtures import JOBS
from pipeline3d_tests.integration.requests.database_fixtures import API_KEY
from pipeline3d_tests.servers import wait_until

NO_SETTINGS = {"max_open_jobs_per_user": 0, "monthly_cost_units_per_user": 0}


class Caller:
    """The first user's account and services, without HTTP."""

    def __init__(self, url, **settings):
        self._url = url
        self._settings = Settings(_env_file=None, **NO_SETTINGS | settings)

    def create(self, *, costs=("1",), at_once=1):
        """Ask `at_once` times for jobs of these costs; the refusals."""
        return asyncio.run(self._ask(costs, at_once))

    async def _ask(self, costs, at_once):
        async with self.services() as (services, account):
            asked = [self.store(services, account, costs) for _ in range(at_once)]
            answers = await asyncio.gather(*asked, return_exceptions=True)
        unexpected = [answer for answer in answers if not isinstance(answer, LimitReached | list)]
        assert not unexpected, unexpected
        return [answer for answer in answers if isinstance(answer, LimitReached)]

    @asynccontextmanager
    async def services(self):
        """A process of the API, with the account of the first user."""
        services = Services(settings=self._settings, engine=create_asyncio_engine(self._url), store=None)
        try:
            row = await services.first(accounts.find_user_of_key(), the_hash=accounts.hash_api_key(API_KEY))
            yield services, accounts.account_of_row(row)
        finally:
            await services.close()

    async def store(self, services, account, costs):
        made = [
            NewJob(
                id=new_job_id(),
                user_id=account.id,
                key_id=account.key_id,
                model_id="inflate-v1",
                kind=Kind.IMAGE_TO_3D,
                family=Family.MODEL_REQUESTS,
                prompt=None,
                input_params={},
                params={},
                cost_units=Decimal(cost),
            )
            for cost in costs
        ]
        units = sum(Decimal(cost) for cost in costs)
        statement = create_jobs(uploads=False)
        return await store_within_limits(services, account, statement, values_of(made), units)


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
def caller(database_url):
    return lambda **settings: Caller(database_url, **settings)


def used(rows, owner) -> float:
    """What is counted for a user or key, of whichever month."""
    found = rows.run(usage.select().where(usage.c.owner_id == owner))
    return float(found[0].cost_units) if found else 0.0


def by_month(rows) -> list[float]:
    """What is counted in each month."""
    return [float(row.cost_units) for row in rows.run(usage.select().order_by(usage.c.month))]


def key_of(rows) -> UUID:
    """The key that the tests send, unless they say another."""
    found = rows.run(accounts.find_user_of_key(), the_hash=accounts.hash_api_key(API_KEY))
    return UUID(str(found[0].key_id))


def stored(rows) -> float:
    """What the stored jobs cost."""
    return float(rows.run(select(func.coalesce(func.sum(jobs.c.cost_units), 0)))[0][0])


@pytest.mark.parametrize("of_key", [False, True])
def test_of_many_that_ask_at_once_no_more_than_the_quota_are_stored(caller, limit, rows, of_key):
    owner = limit(of_key=of_key, monthly_cost_units=5)
    refused = caller().create(at_once=20)
    assert [error.code for error in refused] == ["quota_exceeded"] * 15
    assert used(rows, owner) == stored(rows) == 5
    assert 0 < refused[0].details["retry_after_s"] <= 31 * 86400


def test_jobs_that_come_together_are_counted_whole_or_not_at_all(caller, limit, rows):
    owner = limit(monthly_cost_units=5)
    assert [error.code for error in caller().create(costs=("2", "3.001"))] == ["quota_exceeded"]
    assert (used(rows, owner), stored(rows)) == (0, 0)
    assert caller().create(costs=("2", "1.5", "1.5")) == []
    assert used(rows, owner) == stored(rows) == 5
    assert rows.run(usage.select())[0].jobs == 3


def test_what_the_key_refuses_is_not_counted_for_the_user(caller, limit, rows):
    user = limit(monthly_cost_units=100)
    limit(of_key=True, monthly_cost_units=2)
    assert [error.code for error in caller().create(costs=("3",))] == ["quota_exceeded"]
    assert (used(rows, user), stored(rows)) == (0, 0)


def test_what_was_used_before_a_limit_was_set_counts(caller, limit, rows):
    rows.make(cost_units=Decimal(4))
    limit(monthly_cost_units=5)
    assert caller().create() == []
    [refused] = caller().create()
    assert refused.message == "Your account has used 5 of 5 cost units of this month; 1 more came."


def test_a_limit_of_one_user_is_not_one_of_another(caller, rows):
    rows.run(users.update().where(users.c.username == "grace").values(monthly_cost_units=0))
    assert caller().create(costs=("1000",)) == []


def test_where_nobody_has_a_limit_nothing_is_counted(caller, rows):
    assert caller().create(costs=("1000",)) == []
    assert rows.run(usage.select()) == []


def test_the_installations_limit_counts_where_the_user_has_none(caller, limit):
    assert len(caller(monthly_cost_units_per_user=2).create(costs=("3",))) == 1
    limit(monthly_cost_units=3)
    assert caller(monthly_cost_units_per_user=2).create(costs=("3",)) == []


CUTS = {
    # what the test holds, so that the service waits there until its connection ends
    "before the job is stored": text("LOCK TABLE idempotency_keys"),
    "between the job and its charge": usage.select().with_for_update(),
}


def end_whoever_waits(holding, rows):
    """End the connection that waits for what this one holds, as a crash of the service does."""
    [mine] = holding.execute(text("SELECT pg_backend_pid()")).one()
    end = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE :mine = ANY (pg_blocking_pids(pid))"
    )
    wait_until(lambda: rows.run(end, mine=mine), what="the service waits")


@pytest.mark.parametrize("moment", CUTS)
def test_a_crash_leaves_a_job_with_its_charge_or_neither(api, engine, limit, rows, moment):
    owner = limit(monthly_cost_units=100)
    asked = {"json": {"model_id": "sculpt-v1", "prompt": "a red mug"}}
    assert api.http.post(f"{JOBS}/", **asked).status_code == 201
    before = stored(rows)
    assert used(rows, owner) == before > 0
    asked["headers"] = {"Idempotency-Key": "once"}
    with ThreadPoolExecutor(1) as pool, engine.begin() as holding:
        holding.execute(CUTS[moment])
        answer = pool.submit(api.http.post, f"{JOBS}/", **asked)
        end_whoever_waits(holding, rows)
        assert answer.result().status_code == 503
    assert used(rows, owner) == stored(rows) == before
    # whoever did not hear that it was stored asks again: it is stored, and counted, once
    assert [api.http.post(f"{JOBS}/", **asked).status_code for _ in range(3)] == [201] * 3
    assert used(rows, owner) == stored(rows) == 2 * before


def test_of_equal_requests_at_once_one_is_stored_and_counted(api, limit, rows):
    owner = limit(monthly_cost_units=100)
    asked = {"json": {"model_id": "sculpt-v1", "prompt": "a red mug"}, "headers": {"Idempotency-Key": "once"}}
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(api.http.post, f"{JOBS}/", **asked) for _ in range(8)]
    assert len({answer.result().json()["id"] for answer in answers}) == 1
    assert len(rows.run(jobs.select())) == 1
    assert used(rows, owner) == stored(rows) > 0
    # where there is room for this one only, its answer is given all the same
    limit(monthly_cost_units=Decimal(str(stored(rows))))
    assert api.http.post(f"{JOBS}/", **asked).status_code == 201


def test_a_batch_that_is_cut_off_leaves_nothing(api, engine, limit, rows):
    owner = limit(monthly_cost_units=100)
    asked = {"json": {"jobs": [{"model_id": "sculpt-v1", "prompt": "a red mug"}] * 3}}
    assert api.http.post(f"{JOBS}/batch", **asked).status_code == 201
    before = stored(rows)
    with ThreadPoolExecutor(1) as pool, engine.begin() as holding:
        holding.execute(usage.select().with_for_update())
        answer = pool.submit(api.http.post, f"{JOBS}/batch", **asked)
        end_whoever_waits(holding, rows)
        assert answer.result().status_code == 503
    assert used(rows, owner) == stored(rows) == before
    assert len(rows.run(batches.select())) == 1


def test_one_busy_user_leaves_the_connections_to_others(caller, engine, limit, rows):
    owner = limit(monthly_cost_units=100)
    asking = caller()
    asking.create()

    async def ask_while_it_waits():
        async with asking.services() as (services, account):
            with engine.begin() as holding:
                holding.execute(usage.select().with_for_update())
                many = [asyncio.create_task(asking.store(services, account, ["1"])) for _ in range(50)]
                async with asyncio.timeout(60):
                    for _ in range(3):
                        await services.first(select(1))
                assert not any(task.done() for task in many)
            await asyncio.gather(*many)

    asyncio.run(ask_while_it_waits())
    assert used(rows, owner) == stored(rows) == 51


def test_a_process_that_stands_still_in_its_turn_holds_nobody_up_for_long(engine, monkeypatch):
    monkeypatch.setattr(quotas, "LONGEST_PAUSE_MS", 100)
    wait = quotas.wait_for_turn.__wrapped__()
    with engine.connect() as still, engine.begin() as other:
        still.execute(wait, {"the_user": "ada"})
        other.execute(text("SET LOCAL lock_timeout = '20s'"))
        other.execute(wait, {"the_user": "ada"})
        with pytest.raises(DatabaseUnavailable):
            still.execute(select(1))


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
    caller().create(costs=("2",))
    [(job,)] = rows.run(select(jobs.c.id))
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
    first, _second = rows.make(), rows.make()
    rows.run(jobs.update().values(key_id=key_of(rows)))
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
    rows.run(jobs.update().values(cost_units=2, key_id=key_of(rows)))
    assert caller().create(costs=("4",)) == []
    refused = api.http.post(f"{JOBS}/{failed}/retry")
    assert (refused.status_code, refused.json()["code"]) == (429, "quota_exceeded")
    assert "has used 4 of 5" in refused.json()["detail"]
    assert 0 < int(refused.headers["retry-after"]) <= 31 * 86400
    assert (rows.row(failed).state, used(rows, owner)) == ("FAILED", 4)
    limit(of_key=of_key, monthly_cost_units=6)
    assert api.http.post(f"{JOBS}/{failed}/retry").status_code == 200
    assert used(rows, owner) == 6


def test_of_many_that_try_again_at_once_no_more_than_the_quota_are_let_through(api, limit, rows, in_state):
    failed = [in_state("FAILED") for _ in range(6)]
    rows.run(jobs.update().values(cost_units=2))
    owner = limit(monthly_cost_units=5)

    def ask(job_id):
        other = {"json": {"model_id": "sculpt-v1", "prompt": "a red mug"}} if job_id is None else {}
        path = f"{JOBS}/" if job_id is None else f"{JOBS}/{job_id}/retry"
        return api.http.post(path, **other).status_code

    with ThreadPoolExecutor(12) as pool:
        statuses = list(pool.map(ask, [*failed, *[None] * 6]))
    assert 429 in statuses
    open_ones = rows.run(select(func.sum(jobs.c.cost_units)).where(jobs.c.state == "QUEUED"))[0][0]
    assert used(rows, owner) == open_ones <= 5


@pytest.fixture
def other_key(rows):
    """Another key of the first user, with these limits: its id and secret."""

    def make(**limits):
        secret = accounts.generate_api_key()
        [(key_id,)] = rows.run(accounts.create_api_key(rows.user_id, secret, name="another"))
        if limits:
            rows.run(api_keys.update().where(api_keys.c.id == key_id).values(**limits))
        return key_id, {"x-api-key": secret}

    return make


@pytest.mark.parametrize("end", ["FAILED", "CANCELED", "CANCELED while it ran"])
def test_a_job_that_another_key_tries_again_counts_for_that_key(
    api, caller, limit, rows, ledger, other_key, end
):
    first = limit(of_key=True, monthly_cost_units=10)
    second, headers = other_key(monthly_cost_units=10)
    caller().create(costs=("2",))
    [(job,)] = rows.run(select(jobs.c.id))
    if end != "CANCELED":
        ledger.begin(job, attempt=1, run_id="run", delivers=True)
    if end == "FAILED":
        rows.run(changes.fail(job, "run", FailureReport(code="x", message="x", retryable=False)))
    else:
        rows.run(changes.request_cancel(job))
        rows.run(changes.mark_canceled(job, "run"))
    rows.run(usage.insert().values(owner_id=second, month=quotas.this_month(), jobs=1, cost_units=3))
    assert api.http.post(f"{JOBS}/{job}/retry", headers=headers).status_code == 200
    assert (used(rows, first), used(rows, second), rows.row(job).key_id) == (0, 5, second)
    # and back from there
    rows.run(changes.request_cancel(job))
    assert (used(rows, first), used(rows, second)) == (0, 3)


@pytest.mark.parametrize(
    ("limits", "code"),
    [({"monthly_cost_units": 1}, "quota_exceeded"), ({"max_open_jobs": 0}, "too_many_open_jobs")],
)
def test_the_limits_of_the_key_that_tries_again_count_not_those_of_the_one_that_asked_first(
    api, limit, rows, in_state, other_key, limits, code
):
    failed = in_state("FAILED")
    rows.run(jobs.update().values(cost_units=2, key_id=key_of(rows)))
    _, narrow = other_key(**limits)
    refused = api.http.post(f"{JOBS}/{failed}/retry", headers=narrow)
    assert (refused.status_code, refused.json()["code"]) == (429, code)
    assert (rows.row(failed).state, rows.row(failed).key_id) == ("FAILED", key_of(rows))
    limit(of_key=True, **limits)
    wide_id, wide = other_key()
    assert api.http.post(f"{JOBS}/{failed}/retry", headers=wide).status_code == 200
    assert rows.row(failed).key_id == wide_id


def test_an_operators_retry_leaves_a_job_with_its_key(rows, in_state, ledger):
    failed = in_state("FAILED")
    rows.run(jobs.update().values(key_id=key_of(rows)))
    ledger.retry_by_hand(failed)
    assert rows.row(failed).key_id == key_of(rows)


@pytest.fixture
def in_earlier_month(rows):
    """Makes a job of 2 units that was made in an earlier month, and counted in it."""

    def make():
        job = rows.make(cost_units=Decimal(2))
        rows.run(jobs.update().values(created_at=datetime(2025, 1, 31, 23, 59, 59, tzinfo=UTC)))
        rows.run(usage.insert().values(owner_id=rows.user_id, month=JANUARY, jobs=1, cost_units=2))
        return job

    return make


JANUARY = date(2025, 1, 1)


def test_what_a_job_cost_is_given_back_to_the_month_in_which_it_was_made(
    api, caller, limit, rows, in_earlier_month
):
    limit(monthly_cost_units=3)
    job = in_earlier_month()
    assert caller().create(costs=("3",)) == []
    rows.run(changes.request_cancel(job))
    assert by_month(rows) == [0, 3]
    # tried again it counts there once more, where there is room, and not in this month, where there is none
    assert api.http.post(f"{JOBS}/{job}/retry").status_code == 200
    assert by_month(rows) == [2, 3]


@pytest.mark.parametrize("is_added_up", [False, True])
def test_a_job_of_an_earlier_month_is_tried_again_within_what_that_month_had(
    api, limit, rows, in_earlier_month, is_added_up
):
    job = in_earlier_month()
    rows.run(changes.request_cancel(job))
    limit(monthly_cost_units=1)
    if is_added_up:
        rows.run(usage.delete())
    refused = api.http.post(f"{JOBS}/{job}/retry")
    assert (refused.status_code, refused.json()["code"]) == (429, "quota_exceeded")
    assert "0 of 1 cost units of 2025-01, in which the job was made" in refused.json()["detail"]
    assert "retry-after" not in refused.headers  # waiting is of no use
    assert rows.row(job).state == "CANCELED"


@pytest.mark.parametrize(
    ("moment", "month"),
    [
        ("2025-01-31T23:59:59.999999+00:00", "2025-01-01"),
        ("2025-02-01T00:00:00+00:00", "2025-02-01"),
        ("2025-02-01T00:59:59+01:00", "2025-01-01"),  # it is still January in UTC
        ("2025-01-31T19:00:00-05:00", "2025-02-01"),
        ("2024-12-31T23:00:00-02:00", "2025-01-01"),
    ],
)
def test_a_month_is_one_of_utc_for_python_as_for_postgres(engine, moment, month):
    assert quotas.first_of_month(datetime.fromisoformat(moment)).isoformat() == month


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "Pacific/Kiritimati"])
@pytest.mark.parametrize(
    ("month", "following"),
    [((2024, 12), (2025, 1)), ((2025, 2), (2025, 3)), ((2025, 3), (2025, 4)), ((2025, 10), (2025, 11))],
)
def test_a_month_begins_in_utc_whatever_the_zone_of_the_server_is(engine, zone, month, following):
    first = literal(date(*month, 1), Date)
    with engine.begin() as connection:
        connection.execute(select(func.set_config("TimeZone", zone, True)))
        asked = select(quotas.begin_of(first), quotas.begin_of(first, months_later=1), quotas.this_month())
        begins, ends, this_month = connection.execute(asked).one()
    assert (begins, ends) == tuple(datetime(*one, 1, tzinfo=UTC) for one in (month, following))
    assert this_month == datetime.now(UTC).date().replace(day=1)


def test_the_report_of_a_month_is_of_utc_whatever_the_zone_of_the_server_is(engine, rows):
    job = rows.make(cost_units=Decimal(2))
    for moment in ("2025-02-28T23:59:59+00:00", "2025-03-01T00:00:00+00:00"):
        rows.run(jobs.update().where(jobs.c.id == job).values(created_at=datetime.fromisoformat(moment)))
        found = {}
        for zone in ("Europe/Berlin", "America/New_York"):
            with engine.begin() as connection:
                connection.execute(select(func.set_config("TimeZone", zone, True)))
                for month in (2, 3):
                    asked = users_of_month.read_usage(date(2025, month, 1))
                    found[zone, month] = len(connection.execute(asked).all())
        assert found == {(zone, month): int(month == int(moment[5:7])) for zone, month in found}


MOST = "99999999999.999"
WRONG_NUMBERS = ["-1", "-0.001", "NaN", "Infinity", "-Infinity", "1e400", "1e10", "1000000000.001", '"many"']


@pytest.mark.parametrize("number", WRONG_NUMBERS)
@pytest.mark.parametrize("name", ["monthly_cost_units", "max_open_jobs", "requests_per_minute"])
def test_a_limit_that_is_no_number_to_count_with_is_refused(api, rows, name, number):
    body = f'{{"{name}": {number}}}'
    headers = {"content-type": "application/json"}
    own = api.http.patch(f"/api/v1/admin/users/{rows.user_id}", content=body, headers=headers)
    key = f'{{"name": "narrow", "{name}": {number}}}'
    of_key = api.http.post("/api/v1/keys", content=key, headers=headers)
    assert {answer.status_code for answer in (own, of_key)} <= {400, 422}, (own.text, of_key.text)
    assert rows.run(select(users).where(users.c.id == rows.user_id))[0]._mapping[name] is None


@pytest.mark.parametrize("number", ["-1", "nan", "inf", "1e300", "1000000001"])
@pytest.mark.parametrize(
    "name", ["monthly_cost_units_per_user", "max_open_jobs_per_user", "requests_per_minute"]
)
def test_a_limit_of_the_installation_is_a_number_to_count_with_too(name, number):
    with pytest.raises(ValidationError):
        Settings(_env_file=None, **{name: number})


def test_jobs_dearer_than_any_number_that_can_be_stored_are_beyond_every_quota(caller, limit, rows):
    owner = limit(monthly_cost_units=Decimal(MOST))
    refused = caller().create(costs=(MOST, MOST))
    assert [error.code for error in refused] == ["quota_exceeded"]
    assert "199999999999.998 more came" in refused[0].message
    assert caller().create(costs=(MOST,)) == []
    assert len(caller().create(costs=("0.001",))) == 1
    assert caller().create(costs=("0",)) == []
    assert used(rows, owner) == stored(rows) == float(MOST)


def test_what_is_counted_stays_between_nothing_and_the_most_that_can_be_stored(caller, limit, rows, in_state):
    owner = limit(monthly_cost_units=Decimal(MOST))
    failed = in_state("FAILED")
    rows.run(jobs.update().values(cost_units=Decimal(MOST)))
    caller().create(costs=("5",))
    # an operator asks nobody
    rows.run(changes.retry_by_hand(failed))
    assert used(rows, owner) == float(MOST)
    rows.run(usage.update().values(cost_units=1))
    rows.run(changes.request_cancel(failed))
    assert used(rows, owner) == 0
    assert rows.run(usage.select())[0].jobs == 1


def test_a_quota_that_is_changed_while_jobs_are_counted_loses_none(api, engine, limit, rows):
    owner = limit(monthly_cost_units=100)
    body = {"model_id": "sculpt-v1", "prompt": "a red mug"}
    assert api.http.post(f"{JOBS}/", json=body).status_code == 201
    with ThreadPoolExecutor(2) as pool, engine.begin() as holding:
        holding.execute(usage.select().with_for_update())
        created = pool.submit(api.http.post, f"{JOBS}/", json=body)
        waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        wait_until(lambda: rows.run(waiting)[0][0] == 1, what="the job waits to be counted")
        path = f"/api/v1/admin/users/{rows.user_id}"
        changed = pool.submit(api.http.patch, path, json={"monthly_cost_units": 50})
        of_user = select(users.c.monthly_cost_units).where(users.c.id == rows.user_id)
        wait_until(lambda: rows.run(of_user)[0][0] == 50, what="the quota is another one")
        holding.rollback()
        assert (created.result().status_code, changed.result().status_code) == (201, 200)
    assert api.http.post(f"{JOBS}/", json=body).status_code == 201
    assert used(rows, owner) == stored(rows) > 0


def test_a_new_limit_has_the_month_added_up_anew(caller, limit, rows):
    owner = limit(monthly_cost_units=5)
    caller().create(costs=("4",))
    rows.run(jobs.delete())
    rows.run(quotas.forget_used([UUID(str(owner))]))
    assert caller().create(costs=("5",)) == []


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
