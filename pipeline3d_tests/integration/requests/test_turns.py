"""Whose turn it is, and what may not start yet: on a real Postgres, against a model in plain Python."""

from __future__ import annotations

import threading
import time
from collections import Counter
from itertools import groupby
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from pipeline3d.database.tables import jobs, pauses, workers
from pipeline3d.errors import DatabaseUnavailable
from pipeline3d.requests import claiming
from pipeline3d.requests.admission import Admission
from pipeline3d.requests.fleet import Fleet, WorkerFacts
from pipeline3d.values import FailureReport, Kind
from pipeline3d_tests.servers import wait_until

LONG_S = 3600.0
CPU, PROBE, GPU, GPU_TEXT = "inflate-v1", "probe-v1", "triposr-v1", "dreamfusion-sd"
QUEUE_OF = {CPU: "cpu", PROBE: "cpu", GPU: "gpu", GPU_TEXT: "gpu"}
LOST = FailureReport(code="worker_lost", message="It went away.", retryable=True)


def claimed(ledger, limit=100, **options):
    return [claim.job_id for claim in ledger.claim_queued(limit, LONG_S, **options)]


def begin(ledger, job_id):
    ledger.begin(job_id, attempt=1, run_id=f"run-{job_id}", delivers=True)


class TestTakingTurns:
    def test_one_users_many_requests_do_not_delay_another_users_one(self, rows, ledger):
        many = [rows.make() for _ in range(20)]
        one = rows.make(user_id=rows.user("grace"))
        assert claimed(ledger, 3) == [many[0], one, many[1]]

    def test_requests_in_work_count_as_turns_that_were_taken(self, rows, ledger):
        mine = [rows.make() for _ in range(4)]
        claimed(ledger, 1)
        begin(ledger, mine[0])
        claimed(ledger, 1)
        other = [rows.make(user_id=rows.user("grace")) for _ in range(3)]
        # one of mine runs and one is dispatched: two turns are taken
        claims = ledger.claim_queued(4, LONG_S)
        assert [claim.job_id for claim in claims] == [other[0], other[1], mine[2], other[2]]
        assert [claim.turn for claim in claims] == [0, 1, 2, 2]

    def test_a_priority_comes_before_every_turn(self, rows, ledger):
        rows.make(user_id=rows.user("grace"))
        urgent = [rows.make(priority=5) for _ in range(3)]
        assert claimed(ledger, 3) == urgent

    def test_queues_take_turns_of_their_own(self, rows, ledger):
        for _ in range(3):
            rows.make(model_id=GPU)
        mine = rows.make()
        other = rows.make(user_id=rows.user("grace"))
        claims = {claim.job_id: claim.turn for claim in ledger.claim_queued(10, LONG_S)}
        assert claims[mine] == claims[other] == 0

    def test_the_models_of_a_queue_share_the_turns_of_a_user(self, rows, ledger):
        mine = [rows.make(model_id=CPU), rows.make(model_id=PROBE, kind=Kind.PROBE)]
        other = rows.make(user_id=rows.user("grace"))
        assert claimed(ledger) == [mine[0], other, mine[1]]


class TestLimits:
    def test_a_user_has_no_more_in_work_than_the_users_limit(self, rows, ledger):
        rows.user("ada", limit=2)
        made = [rows.make() for _ in range(5)]
        assert claimed(ledger) == made[:2]
        begin(ledger, made[0])
        assert claimed(ledger) == []
        ledger.succeed(made[0], f"run-{made[0]}")
        assert claimed(ledger) == made[2:3]

    @pytest.mark.parametrize(
        ("own", "general", "may_start"),
        [
            (None, 2, 2),  # the installation's limit where the user has none
            (3, 2, 3),  # the user's own goes first
            (0, None, 0),  # nothing at all
            (None, None, 5),
        ],
    )
    def test_a_users_own_limit_goes_before_the_installations(self, rows, ledger, own, general, may_start):
        rows.user("ada", limit=own)
        rows.worker(slots=8)
        for _ in range(5):
            rows.make()
        assert len(claimed(ledger, admission=Admission(jobs_per_user=general))) == may_start

    def test_the_limit_holds_over_all_queues_together(self, rows, ledger):
        rows.user("ada", limit=2)
        for model in (CPU, GPU, CPU, GPU):
            rows.make(model_id=model)
        assert len(claimed(ledger)) == 2

    @pytest.mark.parametrize(
        ("paused", "left"), [("cpu", {"gpu"}), ("gpu", {"cpu"}), ("*", set()), ("x", {"cpu", "gpu"})]
    )
    def test_nothing_of_a_paused_queue_starts(self, rows, ledger, paused, left):
        rows.make(model_id=CPU)
        rows.make(model_id=GPU)
        rows.run(pauses.insert().values(queue=paused))
        assert {claim.queue for claim in ledger.claim_queued(10, LONG_S)} == left


class TestAdmission:
    TWO_A_SLOT = Admission(dispatched_per_slot=2, least_depth=3)

    @pytest.mark.parametrize(
        ("worker", "admitted"),
        [
            (None, 0),  # nobody serves the queue: the backlog waits in the table
            ({"slots": 1}, 3),  # the least depth
            ({"slots": 4}, 8),
            ({"slots": 4, "queues": ("gpu", "cpu")}, 8),
            ({"slots": 4, "queues": ("gpu",)}, 0),
            ({"slots": 4, "draining": True}, 0),
            ({"slots": 4, "heartbeat_at": text("now() - interval '2 minutes'")}, 0),
        ],
    )
    def test_dispatched_are_as_many_as_the_workers_of_the_queue_can_take_soon(
        self, rows, ledger, worker, admitted
    ):
        if worker is not None:
            rows.worker(**worker)
            alive = (
                "heartbeat_at" not in worker
                and not worker.get("draining")
                and "cpu" in worker.get("queues", ("cpu",))
            )
            assert self.TWO_A_SLOT.depth(worker["slots"] if alive else 0) == admitted
        for _ in range(12):
            rows.make()
        assert len(claimed(ledger, admission=self.TWO_A_SLOT)) == admitted
        assert claimed(ledger, admission=self.TWO_A_SLOT) == []

    def test_what_has_begun_makes_room(self, rows, ledger):
        rows.worker(slots=1)
        made = [rows.make() for _ in range(6)]
        assert claimed(ledger, admission=self.TWO_A_SLOT) == made[:3]
        begin(ledger, made[0])
        assert claimed(ledger, admission=self.TWO_A_SLOT) == made[3:4]

    def test_a_full_queue_does_not_hold_up_another(self, rows, ledger):
        rows.worker("c", queues=("cpu",), slots=1)
        rows.worker("g", queues=("gpu",), slots=1)
        for _ in range(5):
            rows.make(model_id=GPU)
        claimed(ledger, admission=self.TWO_A_SLOT)
        one = rows.make(model_id=CPU)
        assert claimed(ledger, admission=self.TWO_A_SLOT) == [one]


class TestWaiting:
    ONE_SLOT = Admission(dispatched_per_slot=4, least_depth=4)

    def wait(self, ledger, admission=ONE_SLOT, timeout_s=120.0):
        """A thread that waits; `answer()` is what it brought back."""
        answers = []
        thread = threading.Thread(
            target=lambda: answers.append(ledger.wait_for_queued(timeout_s, admission=admission))
        )
        thread.start()

        def answer():
            thread.join(60)
            assert not thread.is_alive(), "it still waits"
            return answers[0]

        return answer

    @pytest.mark.parametrize(
        "hold_back",
        [
            lambda rows: None,  # no worker serves the queue
            lambda rows: (rows.worker(), rows.run(pauses.insert().values(queue="cpu"))),
            lambda rows: (rows.worker(), rows.user("ada", limit=0)),
        ],
        ids=["no worker", "paused", "over the limit"],
    )
    def test_what_may_not_start_does_not_end_the_wait(self, rows, ledger, hold_back):
        hold_back(rows)
        answer = self.wait(ledger, timeout_s=0.3)
        rows.make()
        assert answer() is False
        assert claimed(ledger, admission=self.ONE_SLOT) == []

    def test_a_run_that_begins_ends_the_wait_for_room(self, rows, ledger):
        rows.worker(slots=1)
        made = [rows.make() for _ in range(5)]
        claimed(ledger, admission=self.ONE_SLOT)
        answer = self.wait(ledger)
        begin(ledger, made[0])
        assert answer() is True
        assert claimed(ledger, admission=self.ONE_SLOT) == made[4:]

    def test_a_postgres_that_goes_away_ends_the_wait_with_an_error_and_the_next_one_works(self, rows, ledger):
        raised = []

        def wait():
            with pytest.raises(DatabaseUnavailable) as caught:
                ledger.wait_for_queued(120)
            raised.append(caught.value)

        waiter = threading.Thread(target=wait)
        waiter.start()
        end_waiting = text(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid() AND state = 'idle' AND query LIKE 'WITH RECURSIVE%'"
        )
        wait_until(lambda: rows.run(end_waiting), what="somebody waits")
        waiter.join(60)
        assert len(raised) == 1
        rows.make()
        assert ledger.wait_for_queued(0) is True

    def test_a_worker_that_is_announced_ends_the_wait_of_a_queue_without_one(
        self, rows, ledger, engine, monkeypatch
    ):
        monkeypatch.setattr(claiming, "LOOK_AGAIN_S", 120.0)
        rows.make()
        answer = self.wait(ledger)
        facts = WorkerFacts(id="w1", host="h", pid=1, queues=("cpu",), concurrency=1)
        Fleet(engine).register(facts)
        assert answer() is True, "it was told, it did not just look again"

    def test_an_end_ends_the_wait_of_a_user_at_the_limit(self, rows, ledger):
        rows.user("ada", limit=1)
        first, second = rows.make(), rows.make()
        assert claimed(ledger) == [first]
        begin(ledger, first)
        answer = self.wait(ledger, admission=None)
        ledger.succeed(first, f"run-{first}")
        assert answer() is True
        assert claimed(ledger) == [second]

    def test_under_load_the_wait_goes_on_until_half_the_depth_is_free(self, rows, ledger):
        rows.worker(slots=1)
        made = [rows.make() for _ in range(10)]
        claimed(ledger, admission=self.ONE_SLOT)
        begin(ledger, made[0])
        assert ledger.wait_for_queued(0, admission=self.ONE_SLOT) is False
        begin(ledger, made[1])
        assert ledger.wait_for_queued(0, admission=self.ONE_SLOT) is True
        assert claimed(ledger, admission=self.ONE_SLOT) == made[4:6]

    def test_only_room_that_somebody_waits_for_wakes_the_dispatcher(self, rows, ledger, heard):
        first, second = rows.make(), rows.make()
        claimed(ledger)
        heard()
        begin(ledger, first)
        assert heard() == [], "both are dispatched: nobody waits for room"
        waiting = rows.make()
        assert heard() == [str(waiting)]
        begin(ledger, second)
        assert heard() == [str(second)]

    @pytest.mark.parametrize(
        "end",
        [
            lambda ledger, job_id: ledger.succeed(job_id, f"run-{job_id}"),
            lambda ledger, job_id: ledger.fail(job_id, f"run-{job_id}", LOST),
            lambda ledger, job_id: ledger.mark_canceled(job_id, f"run-{job_id}"),
        ],
        ids=["succeed", "fail", "mark_canceled"],
    )
    def test_every_end_wakes_the_dispatcher_where_somebody_waits(self, rows, ledger, heard, end):
        first = rows.make()
        begin(ledger, first)
        rows.make()
        heard()
        end(ledger, first)
        assert heard() == [str(first)]


class TestAtOnce:
    def test_of_several_who_wait_one_gets_a_request_and_the_others_wait_on(self, rows, ledger):
        got, threads = [], []
        for _ in range(3):
            thread = threading.Thread(
                target=lambda: got.append([claim.job_id for claim in ledger.claim_when_ready(30, 5, LONG_S)])
            )
            thread.start()
            threads.append(thread)
        made = []
        for number in range(1, 4):
            made.append(rows.make())
            wait_until(
                lambda number=number: len(got) == number, what="one more has a request", interval_s=0.01
            )
        for thread in threads:
            thread.join()
        assert got == [[job_id] for job_id in made]

    def test_a_wait_for_a_claim_ends_empty_after_its_time(self, rows, ledger):
        rows.make()
        assert len(ledger.claim_when_ready(0, 5, LONG_S)) == 1, "what is there is claimed at once"
        assert ledger.claim_when_ready(0.1, 5, LONG_S) == []

    def test_dispatchers_at_once_keep_to_the_limits_and_never_share_a_request(self, rows, ledger):
        rows.worker(slots=3)
        admission = Admission(dispatched_per_slot=2, least_depth=1, jobs_per_user=4)
        owners = [rows.user("ada"), rows.user("grace"), rows.user("mary")]
        made = {
            rows.make(user_id=owners[index % 3], priority=index % 2): owners[index % 3] for index in range(90)
        }
        dispatched: Counter[UUID] = Counter()
        broken: list[str] = []
        lock = threading.Lock()
        give_up_at = time.monotonic() + 60

        def limits_that_are_broken():
            in_work = [
                row.user_id
                for row in rows.run(
                    text("SELECT user_id, state FROM jobs WHERE state = 'RUNNING' OR lease_until > now()")
                )
            ]
            waiting = rows.run(
                text("SELECT count(*) FROM jobs WHERE state = 'QUEUED' AND lease_until > now()")
            )
            if waiting[0][0] > admission.depth(3):
                yield f"{waiting[0][0]} dispatched"
            yield from (f"{n} of one user" for n in Counter(in_work).values() if n > 4)

        def dispatch_and_work():
            while sum(dispatched.values()) < len(made) and time.monotonic() < give_up_at:
                claims = ledger.claim_queued(3, LONG_S, admission=admission)
                with lock:
                    dispatched.update(claim.job_id for claim in claims)
                    broken.extend(limits_that_are_broken())
                for claim in claims:
                    begin(ledger, claim.job_id)
                    ledger.succeed(claim.job_id, f"run-{claim.job_id}")

        threads = [threading.Thread(target=dispatch_and_work) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert broken == []
        assert dispatched == Counter(made.keys())


MODELS = st.sampled_from(list(QUEUE_OF))
REQUESTS = st.lists(
    st.tuples(
        st.integers(0, 3), MODELS, st.integers(-1, 1), st.sampled_from(["waiting", "dispatched", "running"])
    ),
    max_size=16,
)
ADMISSIONS = st.none() | st.builds(
    Admission,
    dispatched_per_slot=st.sampled_from([0.5, 1.0, 2.5]),
    least_depth=st.integers(0, 3),
    jobs_per_user=st.none() | st.integers(1, 4),
)


def plan(made, limits, slots, admission, at_most):
    """What a claim brings, computed the slow and simple way over all requests."""
    in_work = Counter((user, QUEUE_OF[model]) for _, user, model, _, state in made if state != "waiting")
    per_user = Counter(user for _, user, _, _, state in made if state != "waiting")
    on_the_way = Counter(QUEUE_OF[model] for _, _, model, _, state in made if state == "dispatched")
    room = {}
    for queue in ("cpu", "gpu"):
        depth = at_most + 1 if admission is None else admission.depth(slots.get(queue, 0))
        room[queue] = depth if admission is None else depth - on_the_way[queue]
    waiting = [job for job in made if job[4] == "waiting" and room[QUEUE_OF[job[2]]] > 0]
    waiting.sort(key=lambda job: (job[1], -job[3], job[0]))
    candidates = []
    for user, of_user in groupby(waiting, key=lambda job: job[1]):
        limit = limits[user] if limits[user] is not None else (admission and admission.jobs_per_user)
        turns, looked_at = Counter(), Counter()
        number = 0
        for index, _, model, priority, _ in of_user:
            queue = QUEUE_OF[model]
            looked_at[model] += 1
            if looked_at[model] > min(at_most, room[queue]) + 1:
                continue
            number += 1
            turn = in_work[user, queue] + turns[queue, priority]
            turns[queue, priority] += 1
            if limit is None or number <= limit - per_user[user]:
                candidates.append((-priority, turn, index, queue))
    candidates.sort()
    picked = []
    for _, _, index, queue in candidates:
        if room[queue] > 0:
            room[queue] -= 1
            picked.append(index)
    return picked[:at_most]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    requests=REQUESTS,
    limits=st.tuples(*[st.none() | st.integers(0, 4)] * 4),
    slots=st.fixed_dictionaries({}, optional={"cpu": st.integers(1, 3), "gpu": st.integers(1, 3)}),
    admission=ADMISSIONS,
    at_most=st.integers(1, 8),
)
def test_a_claim_brings_what_the_rules_say(rows, ledger, requests, limits, slots, admission, at_most):
    rows.run(jobs.delete())
    rows.run(workers.delete())
    owners = [rows.user(f"user-{index}", limit=limit) for index, limit in enumerate(limits)]
    for queue, number in slots.items():
        rows.worker(f"w-{queue}", queues=(queue,), slots=number)
    made, ids = [], []
    for index, (user, model, priority, state) in enumerate(requests):
        job_id = rows.make(user_id=owners[user], model_id=model, priority=priority)
        if state == "running":
            begin(ledger, job_id)
        elif state == "dispatched":
            lease = {"leased_at": text("now()"), "lease_until": text("now() + interval '1 hour'")}
            rows.run(jobs.update().where(jobs.c.id == job_id).values(lease))
        made.append((index, user, model, priority, state))
        ids.append(job_id)
    expected = [ids[index] for index in plan(made, limits, slots, admission, at_most)]
    ready = ledger.wait_for_queued(0, admission=admission)
    assert expected or not ready, "it was woken for nothing"
    assert ready or not expected or admission is not None, "only an admission lets it wait for more room"
    assert claimed(ledger, at_most, admission=admission) == expected


def test_a_claim_does_not_read_a_long_backlog(rows):
    """Of a user's twenty thousand requests a claim looks at as many as it may take."""
    rows.worker()
    rows.run(
        text(
            "INSERT INTO jobs (id, user_id, model_id, kind, family) "
            "SELECT gen_random_uuid(), (SELECT id FROM users WHERE username = 'ada'), "
            "CASE WHEN i % 2 = 0 THEN 'inflate-v1' ELSE 'triposr-v1' END, 'image_to_3d', 'model_requests' "
            "FROM generate_series(1, 20000) i"
        )
    )
    rows.run(text("ANALYZE jobs"))
    for statement, values in (
        (claiming.look_ahead(None, Admission()), {"at_most": 100}),
        (claiming.look_ahead(None, None), {"at_most": 100}),
        (claiming.claim_queued(None, Admission()), {"at_most": 50, "lease_s": 60.0}),
    ):
        assert max(count_rows_read(rows, statement, values)) <= 500


def count_rows_read(rows, statement, values):
    """The rows that each step of a statement's plan brought forth, discarded ones included."""

    def walk(node):
        yield (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        for child in node.get("Plans", []):
            yield from walk(child)

    return list(walk(rows.explain(statement, values)["Plan"]))
