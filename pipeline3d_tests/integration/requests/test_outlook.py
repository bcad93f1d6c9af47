"""A request's place in the queue and when it will start and end: on a real Postgres."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from pipeline3d.database.tables import jobs, pauses
from pipeline3d.requests.outlook import MOST_COUNTED, QueueView, foresee
from pipeline3d.requests.queue_snapshot import REACHES, build_snapshot, read_queues
from pipeline3d.values import FailureReport, Kind

LONG_S = 3600.0
CPU, PROBE, GPU = "inflate-v1", "probe-v1", "triposr-v1"
QUEUE_OF = {CPU: "cpu", PROBE: "cpu", GPU: "gpu"}
LOST = FailureReport(code="worker_lost", message="It went away.", retryable=True)


@pytest.fixture
def snapshot(rows):
    """The queues as they stand."""

    def read(jobs_per_user=None, reaches=REACHES):
        for reach in reaches:
            found = rows.run(read_queues(), reach=reach, silent_after_s=60, jobs_per_user=jobs_per_user)
            if not any(row.cut for row in found):
                break
        return build_snapshot(found)

    return read


@pytest.fixture
def outlook(rows, snapshot):
    """The outlooks of those of these jobs that are under way, by id."""

    def read(*job_ids, **options):
        asked = [rows.row(job_id) for job_id in job_ids]
        queues = snapshot(**options)
        view = QueueView(snapshot=queues, now=queues.taken_at, is_after_question=True)
        return {row.id: foresee(row, view) for row in asked if row.state in ("QUEUED", "RUNNING")}

    return read


@pytest.fixture
def seconds(rows, outlook):
    """In how many seconds a job starts and ends, rounded; None where that is not known."""

    def read(job_id, **options):
        row = outlook(job_id, **options)[job_id]
        [[now]] = rows.run(text("SELECT now()"))
        return tuple(
            None if moment is None else round((moment - now).total_seconds(), 0)
            for moment in (row.starts_at, row.ends_at)
        )

    return read


@pytest.fixture
def history(rows):
    """Stores finished jobs of a model that took so many seconds each, the last one the newest."""

    def store(*lengths_s, model_id=CPU):
        for number, length_s in enumerate(lengths_s):
            finished_s = len(lengths_s) - number
            job_id = rows.make(model_id=model_id)
            values = {
                "state": "SUCCEEDED",
                "progress_percent": 100,
                "started_at": text(f"now() - interval '{finished_s + length_s} seconds'"),
                "completed_at": text(f"now() - interval '{finished_s} seconds'"),
            }
            rows.run(jobs.update().where(jobs.c.id == job_id).values(values))

    return store


@pytest.fixture
def begin(rows, ledger):
    """Starts a job's run, as if it had begun so many seconds ago."""

    def start(job_id, ago_s=0):
        ledger.begin(job_id, attempt=1, run_id=f"run-{job_id}", delivers=True)
        started = text(f"now() - interval '{ago_s} seconds'")
        rows.run(jobs.update().where(jobs.c.id == job_id).values(started_at=started))
        return job_id

    return start


class TestPosition:
    def test_users_take_turns_and_the_urgent_come_first(self, rows, outlook):
        mine = [rows.make() for _ in range(3)]
        other = rows.make(user_id=rows.user("grace"))
        urgent = rows.make(priority=1)
        found = outlook(*mine, other, urgent)
        assert {job_id: row.position for job_id, row in found.items()} == {
            urgent: 1,
            mine[0]: 2,
            other: 3,
            mine[1]: 4,
            mine[2]: 5,
        }

    def test_what_is_on_its_way_is_ahead_of_what_waits(self, rows, ledger, outlook):
        first, second, third = (rows.make() for _ in range(3))
        ledger.claim_queued(2, LONG_S)
        found = outlook(first, second, third)
        assert [found[job_id].position for job_id in (first, second, third)] == [1, 2, 3]

    def test_a_job_that_runs_or_has_ended_has_no_place(self, rows, ledger, outlook, begin):
        running, finished = begin(rows.make()), begin(rows.make())
        ledger.succeed(finished, f"run-{finished}")
        found = outlook(running, finished)
        assert found[running].position is None
        assert finished not in found

    def test_another_queue_does_not_count(self, rows, outlook):
        for _ in range(3):
            rows.make(model_id=GPU)
        job_id = rows.make()
        assert outlook(job_id)[job_id].position == 1

    def test_the_count_ends_at_the_most_that_is_counted(self, rows, outlook):
        rows.run(
            text(
                "INSERT INTO jobs (id, user_id, model_id, kind, family) "
                "SELECT gen_random_uuid(), id, 'inflate-v1', 'image_to_3d', 'model_requests' "
                f"FROM users, generate_series(1, {MOST_COUNTED - 2}) WHERE username = 'ada'"
            )
        )
        nearest, *_, last = (rows.make() for _ in range(5))
        found = outlook(nearest, last)
        assert found[nearest].position == MOST_COUNTED - 1
        assert found[last].position == MOST_COUNTED
        [of_other] = outlook(rows.make(user_id=rows.user("grace"), priority=-1)).values()
        assert (of_other.position, of_other.starts_at) == (MOST_COUNTED, None)

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        st.lists(
            st.tuples(
                st.integers(0, 3),
                st.sampled_from(list(QUEUE_OF)),
                st.integers(-1, 1),
                st.sampled_from(["waiting", "waiting", "dispatched", "running"]),
            ),
            max_size=14,
        )
    )
    def test_the_places_are_those_of_the_turns(self, rows, ledger, outlook, requests):
        rows.run(jobs.delete())
        users = [rows.user(f"user-{number}") for number in range(4)]
        made = []
        for index, (user, model, priority, state) in enumerate(requests):
            job_id = rows.make(user_id=users[user], model_id=model, priority=priority)
            if state == "running":
                ledger.begin(job_id, attempt=1, run_id=f"run-{job_id}", delivers=True)
            elif state == "dispatched":
                lease = {
                    "leased_at": text("clock_timestamp()"),
                    "lease_until": text("now() + interval '1 hour'"),
                }
                rows.run(jobs.update().where(jobs.c.id == job_id).values(lease))
            made.append((index, user, QUEUE_OF[model], priority, state, job_id))
        expected = {}
        for queue in ("cpu", "gpu"):
            of_queue = [job for job in made if job[2] == queue]
            dispatched = sorted((-job[3], job[0], job[5]) for job in of_queue if job[4] == "dispatched")
            in_work = Counter(job[1] for job in of_queue if job[4] != "waiting")
            turns = Counter()
            waiting = []
            for index, user, _, priority, state, job_id in of_queue:
                if state == "waiting":
                    waiting.append((-priority, in_work[user] + turns[user, priority], index, job_id))
                    turns[user, priority] += 1
            in_order = [job[-1] for job in dispatched] + [job[-1] for job in sorted(waiting)]
            expected |= {job_id: number for number, job_id in enumerate(in_order, 1)}
        together = outlook(*(job[5] for job in made)) if made else {}
        assert {job_id: row.position for job_id, row in together.items() if row.position} == expected
        for job_id, position in expected.items():
            assert outlook(job_id)[job_id].position == position, "alone it has another place than in a page"


class TestExpectation:
    def test_a_free_slot_starts_it_now_and_the_median_says_when_it_ends(self, rows, history, seconds):
        history(2, 10, 4, 300, 6)
        rows.worker(slots=1)
        assert seconds(rows.make()) == (0, 6)

    def test_only_the_newest_runs_count(self, rows, history, seconds):
        history(*[100] * 60, *[8] * 50)
        rows.worker(slots=1)
        assert seconds(rows.make()) == (0, 8)

    def test_what_is_ahead_and_what_runs_take_their_time_on_all_slots(
        self, rows, ledger, history, seconds, begin
    ):
        history(20)
        history(4, model_id=PROBE)
        rows.worker(slots=2)
        begin(rows.make(), ago_s=4)  # 16 s left
        begin(rows.make(model_id=PROBE, kind=Kind.PROBE), ago_s=60)  # should have ended long ago
        rows.make()  # 20 s
        rows.make(model_id=PROBE, kind=Kind.PROBE, user_id=rows.user("grace"))  # 4 s
        ledger.claim_queued(1, LONG_S)  # on its way or waiting: it is ahead all the same
        last = rows.make(priority=-1)
        assert seconds(last) == ((16 + 20 + 4) / 2, (16 + 20 + 4) / 2 + 20)

    @pytest.mark.parametrize(
        "hide",
        [
            lambda rows, history: rows.worker(),  # no run of the model is known
            lambda rows, history: history(5),  # nobody serves the queue
            lambda rows, history: (history(5), rows.worker(draining=True)),
            lambda rows, history: (history(5), rows.worker(heartbeat_at=text("now() - interval '1 hour'"))),
            lambda rows, history: (history(5), rows.worker(), rows.run(pauses.insert().values(queue="*"))),
            lambda rows, history: (history(5), rows.worker(), rows.user("ada", limit=1)),
        ],
        ids=["no history", "no worker", "draining", "silent", "paused", "user at the limit"],
    )
    def test_where_something_is_not_known_there_is_no_time(self, rows, history, seconds, begin, hide):
        hide(rows, history)
        begin(rows.make())
        begin(rows.make())
        assert seconds(rows.make()) == (None, None)

    def test_the_installations_limit_counts_where_the_user_has_none(self, rows, history, seconds, begin):
        history(5)
        rows.worker(slots=4)
        begin(rows.make())
        job_id = rows.make()
        assert seconds(job_id, jobs_per_user=1) == (None, None)
        assert seconds(job_id, jobs_per_user=2) == (0, 5)

    def test_a_free_slot_is_known_even_where_the_length_is_not(self, rows, seconds):
        rows.worker(slots=1)
        assert seconds(rows.make()) == (0, None)

    def test_a_retry_does_not_start_before_its_time(self, rows, ledger, history, seconds, begin):
        history(5)
        rows.worker(slots=1)
        job_id = begin(rows.make())
        ledger.requeue(job_id, f"run-{job_id}", LOST, 30)
        assert seconds(job_id) == (30, 35)

    @pytest.mark.parametrize(
        ("ran_s", "left_s"),
        [
            (0, 10),  # the median of all
            (7, 13),  # of those that took longer than 7 s: 10, 20, 30 s, of which 20 s is the middle
            (25, 5),
            (40, None),  # none took that long: there is nothing to go by
        ],
    )
    def test_a_run_is_expected_to_take_as_long_as_those_that_took_longer_than_it_has(
        self, rows, history, seconds, begin, ran_s, left_s
    ):
        history(2, 4, 10, 20, 30)
        assert seconds(begin(rows.make(), ago_s=ran_s)) == (None, left_s)


def store_backlog(rows, username, count, priority=0):
    rows.run(
        text(
            "INSERT INTO jobs (id, user_id, model_id, kind, family, priority) "
            "SELECT gen_random_uuid(), (SELECT id FROM users WHERE username = :name), "
            "'inflate-v1', 'image_to_3d', 'model_requests', :priority FROM generate_series(1, :count)"
        ),
        name=username,
        count=count,
        priority=priority,
    )


def test_a_snapshot_does_not_read_a_long_backlog(rows):
    """Of thousands of requests of each user no more are read than have a place that is counted."""
    rows.worker()
    for number in range(20):
        rows.user(f"user-{number}")
        store_backlog(rows, f"user-{number}", 2000)
    rows.run(text("ANALYZE jobs"))
    plan = rows.explain(read_queues(), {"reach": REACHES[0], "silent_after_s": 60.0, "jobs_per_user": None})

    def rows_of(node):
        yield (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        for child in node.get("Plans", []):
            yield from rows_of(child)

    assert max(rows_of(plan["Plan"])) <= REACHES[0] * MOST_COUNTED * 1.1


@pytest.mark.parametrize(
    ("backlogs", "is_cut"),
    [
        ([(60, 0)] * 30, False),
        ([(5, 0)] * 30, False),  # all that waits is read at once
        ([(30 + 4 * number, 0) for number in range(30)], False),
        ([(980, 1), *[(5, -1)] * 10], True),  # one user's come first, and are more than twice the share
        ([(100, number % 3) for number in range(30)], True),
        ([(2000, 0)], False),
    ],
)
def test_the_places_are_the_same_however_much_of_each_user_is_read_first(rows, snapshot, backlogs, is_cut):
    for number, (count, priority) in enumerate(backlogs):
        rows.user(f"user-{number}")
        store_backlog(rows, f"user-{number}", count, priority)
        store_backlog(rows, f"user-{number}", 1, priority - 1)
    first = rows.run(read_queues(), reach=REACHES[0], silent_after_s=60, jobs_per_user=None)
    assert any(row.cut for row in first) == is_cut
    by_steps, at_once = snapshot(), snapshot(reaches=REACHES[-1:])
    waiting = sum(count + 1 for count, _ in backlogs)
    assert len(at_once.queues["cpu"].lines) == min(waiting, MOST_COUNTED)
    assert by_steps.queues == at_once.queues
