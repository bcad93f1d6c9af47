"""Idempotency keys: one answer for a day, whatever dies in between; and a key that counts no more is free."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager

import httpx
import pytest
from sqlalchemy import delete, func, select, text, update

from pipeline3d.database.access_tables import usage
from pipeline3d.database.tables import idempotency_keys, jobs, users
from pipeline3d.requests import creation
from pipeline3d.requests.creation import NewJob, new_job_id
from pipeline3d.requests.housekeeping import Housekeeper
from pipeline3d.requests.idempotency import KeyUse, used_up_keys
from pipeline3d.values import Family, Kind
from pipeline3d_tests.integration.api.api_fixtures import JOBS, draw_png
from pipeline3d_tests.integration.requests.database_fixtures import API_KEY, USERNAME
from pipeline3d_tests.servers import wait_until

KEY = {"Idempotency-Key": "order-7"}
PROBE = {"model_id": "probe-v1"}
CONCURRENT = 100


def ask(api, body=PROBE, key="order-7", path=f"{JOBS}/", **headers):
    return api.http.post(path, json=body, headers={"Idempotency-Key": key, **headers})


def count_jobs(rows):
    return rows.run(select(func.count()).select_from(jobs))[0][0]


def test_the_kept_answer_is_given_word_for_word_whatever_became_of_the_job(api):
    first = ask(api)
    api.http.post(f"{JOBS}/{first.json()['id']}/cancel")
    second = ask(api)
    assert (second.status_code, second.text) == (first.status_code, first.text)
    assert second.headers["location"] == first.headers["location"]
    assert second.headers["idempotency-replayed"] == "true"
    assert count_jobs(api.rows) == 1


def test_an_answer_outlives_its_job(api):
    first = ask(api)
    api.rows.run(delete(jobs))
    assert ask(api).text == first.text
    assert count_jobs(api.rows) == 0


@pytest.mark.parametrize(
    ("body", "same"),
    [
        ({"model_id": "probe-v1", "priority": 0, "tags": []}, True),  # what is not said is the default
        ({"input_params": {}, "model_id": "probe-v1"}, True),
        ({"model_id": "probe-v1", "priority": 1}, False),
        ({"model_id": "probe-v1", "input_params": {"work_s": 0}}, False),
        ({"model_id": "no-such-model"}, False),  # even what would be refused
    ],
)
def test_another_request_with_the_key_is_a_conflict(api, body, same):
    first = ask(api)
    second = ask(api, body)
    if same:
        assert second.text == first.text
    else:
        assert (second.status_code, second.json()["code"]) == (409, "idempotency_conflict")
        assert first.json()["id"] in second.json()["detail"]


def test_the_same_body_on_another_route_is_another_request(api):
    first = ask(api, {"model_id": "probe-v1"})
    again = ask(api, {"model_id": "probe-v1"}, path=f"{JOBS}/{first.json()['id']}/rerun")
    assert (again.status_code, again.json()["code"]) == (409, "idempotency_conflict")


def test_a_rerun_is_made_once_too(api):
    made = api.http.post(f"{JOBS}/", json=PROBE).json()
    path = f"{JOBS}/{made['id']}/rerun"
    first, second = (ask(api, {"priority": 3}, path=path) for _ in range(2))
    assert (first.status_code, first.text) == (201, second.text)
    assert count_jobs(api.rows) == 2


def test_a_key_is_free_again_after_its_day_and_is_forgotten_by_the_prune(api, engine):
    first = ask(api)
    days = api.rows.run(
        select(func.extract("epoch", idempotency_keys.c.expires_at - idempotency_keys.c.created_at))
    )
    assert float(days[0][0]) == 24 * 3600
    api.rows.run(update(idempotency_keys).values(expires_at=func.now()))
    second = ask(api, {"model_id": "probe-v1", "priority": 1})
    assert second.status_code == 201
    assert second.json()["id"] != first.json()["id"]
    assert ask(api, {"model_id": "probe-v1", "priority": 1}).text == second.text
    housekeeper = Housekeeper(engine)
    assert housekeeper.sweep(used_up_keys(), dry_run=False) == 0
    api.rows.run(update(idempotency_keys).values(expires_at=func.now()))
    assert housekeeper.sweep(used_up_keys(), dry_run=True) == 1
    assert housekeeper.sweep(used_up_keys(), dry_run=False) == 1
    assert api.rows.run(select(idempotency_keys)) == []


def test_what_was_accepted_is_answered_even_if_it_would_be_refused_by_now(api, store):
    body = {"model_id": "inflate-v1", "input_params": {"input_path": api.upload(draw_png())}}
    first = ask(api, body)
    store.remove(body["input_params"]["input_path"])
    assert ask(api, body).text == first.text
    assert ask(api, body, key="another").json()["code"] == "input_not_found"


def test_an_answer_that_was_lost_in_a_crash_is_made_anew_and_kept(api):
    first = ask(api)
    api.rows.run(update(idempotency_keys).values(answer=None, status=None))
    second = ask(api)
    assert (second.status_code, second.json()["id"]) == (201, first.json()["id"])
    assert second.headers["idempotency-replayed"] == "true"
    api.http.post(f"{JOBS}/{first.json()['id']}/cancel")
    assert ask(api).text == second.text


def new_probe(user_id):
    return NewJob(
        id=new_job_id(),
        user_id=user_id,
        model_id="probe-v1",
        kind=Kind.PROBE,
        family=Family.PROBE_REQUESTS,
        prompt=None,
        input_params={},
        params={},
    )


def test_of_two_statements_at_once_with_a_key_one_stores_and_the_other_waits_for_it(rows, engine):
    statement = creation.create_jobs(keyed=True)
    use = KeyUse(user_id=rows.user_id, key="k", request_hash="h")
    stored = []

    def second():
        values = creation.values_of([new_probe(rows.user_id)], key=use)
        stored.append(rows.run(statement, **values))

    with engine.begin() as connection:
        first = connection.execute(statement, creation.values_of([new_probe(rows.user_id)], key=use)).all()
        thread = threading.Thread(target=second)
        thread.start()
        blocked = text(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND datname = current_database()"
        )
        wait_until(lambda: rows.run(blocked)[0][0] > 0, what="the second waits for the first")
    thread.join()
    assert (len(first), stored) == (1, [[]])
    assert count_jobs(rows) == 1


def test_a_key_that_could_not_be_used_leaves_nothing_behind(api):
    assert ask(api, {"model_id": "no-such-model"}).status_code == 404
    assert api.rows.run(select(idempotency_keys)) == []


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def api_process(settings, port):
    """The API as a process of its own, as an installation runs it."""
    environment = {
        "PATH": os.environ["PATH"],
        **{
            name.upper(): value if isinstance(value, str) else json.dumps(value)
            for name, value in settings.items()
        },
    }
    command = [sys.executable, "-m", "uvicorn", "--factory", "pipeline3d.api.app:create_app"]
    process = subprocess.Popen(
        [*command, "--port", str(port), "--log-level", "error", "--no-access-log"], env=environment
    )
    try:
        wait_until(lambda: listens(port, process), what="the API listens")
        yield process
    finally:
        process.kill()
        process.wait()


def listens(port, process):
    assert process.poll() is None, "the API ended by itself"
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200
    except httpx.TransportError:
        return False


PAUSE_IN_THE_MIDDLE = f"""
CREATE FUNCTION pause_in_the_middle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT count(*) FROM jobs) >= {CONCURRENT // 2} THEN
        PERFORM pg_advisory_xact_lock({CONCURRENT});
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER pause_in_the_middle BEFORE INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION pause_in_the_middle()
"""


@contextmanager
def pausing_in_the_middle(rows, engine):
    """Inside the block half of the jobs can be stored and no more; afterwards what waits goes on."""
    rows.run(text(PAUSE_IN_THE_MIDDLE))
    try:
        with engine.begin() as holding:
            holding.execute(select(func.pg_advisory_xact_lock(CONCURRENT)))
            yield
    finally:
        rows.run(text("DROP TRIGGER pause_in_the_middle ON jobs; DROP FUNCTION pause_in_the_middle"))


def connections_to(rows):
    """The connections to the test's database, by the process of Postgres that serves each."""
    found = rows.run(text("SELECT pid FROM pg_stat_activity WHERE datname = current_database()"))
    return {row.pid for row in found}


def test_a_kill_amid_a_hundred_creates_and_all_of_them_again_leave_a_hundred_jobs(api_settings, rows, engine):
    port = free_port()
    url = f"http://127.0.0.1:{port}{JOBS}/"
    # with a quota a job and its charge are two statements: more that could be torn apart
    rows.run(users.update().where(users.c.username == USERNAME).values(monthly_cost_units=1_000_000))

    def counted_and_stored():
        return tuple(rows.run(select(usage.c.jobs, select(func.count(jobs.c.id)).scalar_subquery()))[0])

    async def create_all(process=None):
        """Ask for all at once; kill the process as soon as half was answered."""
        answers = {}
        limits = httpx.Limits(max_connections=CONCURRENT)
        async with httpx.AsyncClient(headers={"x-api-key": API_KEY}, limits=limits, timeout=60) as http:

            async def create(number):
                try:
                    answer = await http.post(
                        url,
                        json={"model_id": "probe-v1", "metadata": {"number": number}},
                        headers={"Idempotency-Key": f"create-{number}"},
                    )
                except httpx.TransportError:
                    return
                answers[number] = answer
                if process is not None and len(answers) == CONCURRENT // 2:
                    process.kill()

            await asyncio.gather(*(create(number) for number in range(CONCURRENT)))
        return answers

    others = connections_to(rows)
    # On a busy machine all would be answered before this process comes to the first answers.
    with pausing_in_the_middle(rows, engine), api_process(api_settings, port) as process:
        before = asyncio.run(create_all(process))
        assert process.wait() == -9
    assert CONCURRENT // 2 <= len(before) < CONCURRENT, "it was killed in the middle"
    # Postgres ends what it was asked for although nobody hears of it any more.
    wait_until(lambda: connections_to(rows) <= others, what="nobody works for the killed process")
    stored_before = count_jobs(rows)
    assert stored_before >= len(before)
    assert counted_and_stored() == (stored_before, stored_before)
    with api_process(api_settings, port):
        after = asyncio.run(create_all())
    assert len(after) == CONCURRENT
    assert {answer.status_code for answer in after.values()} == {201}
    for number, answer in before.items():
        assert answer.json()["id"] == after[number].json()["id"]
    replayed = sum("idempotency-replayed" in answer.headers for answer in after.values())
    assert replayed == stored_before
    assert len({answer.json()["id"] for answer in after.values()}) == CONCURRENT
    assert count_jobs(rows) == CONCURRENT
    assert counted_and_stored() == (CONCURRENT, CONCURRENT)
    numbers = [row.metadata["number"] for row in rows.run(select(jobs.c["metadata"]))]
    assert sorted(numbers) == list(range(CONCURRENT))
