"""What operators see and do: on a real Postgres, and through the command line."""

from __future__ import annotations

import json

import psycopg
import pytest
from click.testing import CliRunner
from sqlalchemy import text

from pipeline3d.cli import main
from pipeline3d.database.tables import jobs
from pipeline3d.errors import RequestError
from pipeline3d.requests.admission import Admission
from pipeline3d.requests.creation import new_job_id
from pipeline3d.requests.fleet import WORKERS_CHANNEL, Fleet
from pipeline3d.requests.operations import Operations
from pipeline3d.requests.queue_report import Obstacle, read_queue
from pipeline3d.values import FailureReport, JobState

LONG_S = 3600.0
GPU = "triposr-v1"
ADMISSION = Admission(dispatched_per_slot=2, least_depth=2)
LOST = FailureReport(code="worker_lost", message="It went away.", retryable=True)
BAD = FailureReport(code="no_clear_object", message="Nothing in it.")


@pytest.fixture
def operations(engine):
    return Operations(engine)


@pytest.fixture
def fleet(engine):
    return Fleet(engine)


@pytest.fixture
def see(engine):
    """The report, as the queues by name and the reasons by job."""

    def read(**options):
        report = read_queue(engine, ADMISSION, **options)
        return (
            report,
            {load.queue: load for load in report.queues},
            {job.job_id: job for job in report.waiting},
        )

    return read


def fail(ledger, job_id, report):
    ledger.begin(job_id, attempt=1, run_id=f"run-{job_id}", delivers=True)
    ledger.fail(job_id, f"run-{job_id}", report)


class TestReport:
    def test_an_empty_installation_shows_its_queues(self, see):
        report, queues, waiting = see()
        assert set(queues) == {"cpu", "gpu"}
        assert (queues["cpu"].waiting, queues["cpu"].oldest_s, queues["cpu"].slots) == (0, None, 0)
        assert (waiting, report.workers) == ({}, ())

    def test_every_stage_is_counted(self, rows, ledger, see):
        rows.worker(slots=3, queues=("cpu", "gpu"))
        running, canceling, retrying, *_ = [rows.make() for _ in range(8)]
        for job_id in (running, canceling, retrying):
            ledger.begin(job_id, attempt=1, run_id=f"run-{job_id}", delivers=True)
        ledger.request_cancel(canceling)
        ledger.requeue(retrying, f"run-{retrying}", LOST, LONG_S)
        ledger.claim_queued(2, LONG_S)
        rows.make(model_id=GPU)
        _, queues, _ = see()
        cpu = queues["cpu"]
        assert (cpu.waiting, cpu.retrying, cpu.dispatched, cpu.running, cpu.canceling) == (3, 1, 2, 1, 1)
        assert (cpu.workers, cpu.slots, cpu.depth) == (1, 3, 6)
        assert cpu.oldest_s is not None
        assert (queues["gpu"].waiting, queues["gpu"].slots) == (1, 3)

    def test_a_dead_or_draining_worker_counts_no_slots(self, rows, see):
        rows.worker("w1", slots=2)
        rows.worker("w2", slots=4, draining=True)
        rows.worker("w3", slots=8, heartbeat_at=text("now() - interval '1 hour'"))
        report, queues, _ = see()
        assert (queues["cpu"].workers, queues["cpu"].slots) == (1, 2)
        assert [(worker.id, worker.live, worker.draining) for worker in report.workers] == [
            ("w1", True, False),
            ("w2", True, True),
            ("w3", False, False),
        ]

    def test_each_request_says_what_it_waits_for(self, rows, ledger, operations, see):
        rows.worker(slots=1)
        rows.user("grace", limit=1)
        grace = [rows.make(user_id=rows.user("grace", limit=1)) for _ in range(2)]
        ledger.claim_queued(1, LONG_S)
        later = rows.make()
        ledger.begin(later, attempt=1, run_id="r", delivers=True)
        ledger.requeue(later, "r", LOST, LONG_S)
        without_worker = rows.make(model_id=GPU)
        ready = rows.make()
        _, _, waiting = see()
        assert {job_id: waiting[job_id].obstacle for job_id in (*grace, later, without_worker, ready)} == {
            grace[0]: Obstacle.IN_DAGSTER,
            grace[1]: Obstacle.USER_LIMIT,
            later: Obstacle.RETRY_LATER,
            without_worker: Obstacle.NO_WORKER,
            ready: Obstacle.NEXT,
        }
        operations.pause("cpu", "new driver")
        _, queues, waiting = see()
        assert queues["cpu"].paused == "new driver"
        assert waiting[ready].why == "queue cpu is paused: new driver"
        assert waiting[grace[0]].obstacle is Obstacle.IN_DAGSTER, "it was dispatched before"

    def test_the_depth_being_used_up_is_told_with_its_numbers(self, rows, ledger, see):
        rows.worker(slots=1)
        made = [rows.make() for _ in range(3)]
        ledger.claim_queued(10, LONG_S, admission=ADMISSION)
        _, _, waiting = see()
        assert waiting[made[2]].obstacle is Obstacle.QUEUE_FULL
        assert "2 of 2 on the way" in waiting[made[2]].why

    def test_what_dagster_holds_back_and_where_a_run_waits_is_told(self, rows, ledger, fleet, see):
        rows.worker("w1", slots=1)
        held, launched, taken = (rows.make() for _ in range(3))
        ledger.claim_queued(10, LONG_S)
        for run_id, job_id in (("r2", launched), ("r3", taken)):
            fleet.launch(run_id, job_name="image_to_3d", queue="cpu", job_id=job_id, attempt=1)
        fleet.take("r3", "w1", 7)
        report, _, waiting = see(held_by_dagster={f"{held}:1": "pool gpu has 1 of 1"})
        assert (waiting[held].obstacle, waiting[held].why) == (Obstacle.IN_DAGSTER, "pool gpu has 1 of 1")
        assert waiting[launched].obstacle is Obstacle.FOR_WORKER
        assert waiting[taken].why == "starting in worker w1"
        [worker] = report.workers
        assert [(run.run_id, run.job_id) for run in worker.runs] == [("r3", taken)]

    def test_the_next_ones_come_first_and_no_more_than_asked_for(self, rows, see):
        mine = [rows.make() for _ in range(5)]
        other = rows.make(user_id=rows.user("grace"))
        urgent = rows.make(priority=1)
        report, _, _ = see(at_most=4)
        assert [job.job_id for job in report.waiting] == [urgent, mine[0], other, mine[1]]


class TestPausing:
    def test_a_pause_can_be_taken_back_and_wakes_the_dispatcher(self, rows, ledger, operations, heard):
        rows.make()
        operations.pause("cpu")
        operations.pause("*", "moving house")
        assert operations.list_pauses() == {"cpu": "", "*": "moving house"}
        heard()
        assert operations.resume("cpu") == ["cpu"]
        assert ledger.claim_queued(1, LONG_S) == [], "every queue is still paused"
        assert operations.resume("*") == ["*"]
        assert len(heard()) == 2
        assert len(ledger.claim_queued(1, LONG_S)) == 1

    def test_pausing_again_changes_the_reason(self, operations):
        operations.pause("cpu", "one")
        operations.pause("cpu", "two")
        assert operations.list_pauses() == {"cpu": "two"}

    @pytest.mark.parametrize("action", ["pause", "resume"])
    def test_a_queue_that_no_model_has_is_a_mistake(self, operations, action):
        with pytest.raises(RequestError, match="'cpo'") as caught:
            getattr(operations, action)("cpo")
        assert caught.value.hint == "There are cpu, gpu."


class TestRequeuing:
    def test_each_request_is_queued_again_or_stays(self, rows, ledger, operations):
        failed, queued, unknown = rows.make(), rows.make(), new_job_id()
        fail(ledger, failed, BAD)
        done = operations.requeue([failed, queued, unknown])
        assert [(item.job_id, item.queued, item.state) for item in done] == [
            (failed, True, JobState.QUEUED),
            (queued, False, JobState.QUEUED),
            (unknown, False, None),
        ]
        assert rows.row(failed).attempt == 2

    @pytest.mark.parametrize(
        ("since_s", "code", "queued_again"),
        [
            (3600.0, None, {"lost"}),  # what another attempt may better
            (3600.0, "no_clear_object", {"bad"}),  # what was asked for, whether it may help or not
            (3 * 3600.0, None, {"lost", "old"}),
            (3600.0, "none such", set()),
        ],
    )
    def test_failed_ones_are_queued_again_by_age_and_code(
        self, rows, ledger, operations, since_s, code, queued_again
    ):
        made = {name: rows.make() for name in ("lost", "bad", "old", "fine")}
        fail(ledger, made["lost"], LOST)
        fail(ledger, made["bad"], BAD)
        fail(ledger, made["old"], LOST)
        two_hours_ago = text("now() - interval '2 hours'")
        rows.run(jobs.update().where(jobs.c.id == made["old"]).values(completed_at=two_hours_ago))
        ledger.begin(made["fine"], attempt=1, run_id="r", delivers=True)
        ledger.succeed(made["fine"], "r")
        queued = operations.requeue_failed(since_s, code)
        assert set(queued) == {made[name] for name in queued_again}
        assert {rows.row(job_id).state for job_id in queued} <= {"QUEUED"}


class TestDraining:
    @pytest.fixture
    def called(self, database_url):
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(f"LISTEN {WORKERS_CHANNEL}")

            def read():
                connection.execute("SELECT 1")
                return sorted(message.payload for message in connection.notifies(timeout=0))

            yield read

    @pytest.mark.parametrize(("name", "draining"), [("w1", ["w1"]), ("host-1", ["w1", "w2"]), ("w3", ["w3"])])
    def test_a_worker_or_all_of_a_host_are_told_to_drain(self, rows, operations, called, see, name, draining):
        rows.worker("w1", host="host-1")
        rows.worker("w2", host="host-1")
        rows.worker("w3", host="host-2")
        assert sorted(operations.drain(name)) == draining
        assert called() == draining
        report, _, _ = see()
        assert sorted(worker.id for worker in report.workers if worker.draining) == draining
        operations.drain(name, draining=False)
        report, _, _ = see()
        assert not any(worker.draining for worker in report.workers)

    def test_nothing_more_is_dispatched_to_a_queue_whose_workers_drain(self, rows, ledger, operations, heard):
        rows.worker("w1")
        rows.make()
        operations.drain("w1")
        assert ledger.claim_queued(1, LONG_S, admission=ADMISSION) == []
        heard()
        operations.drain("w1", draining=False)
        assert heard() == ["w1"], "the dispatcher looks again"
        assert len(ledger.claim_queued(1, LONG_S, admission=ADMISSION)) == 1

    def test_what_still_runs_there_is_known(self, rows, operations, fleet):
        rows.worker("w1", host="host-1")
        rows.worker("w2", host="host-2")
        for run_id, worker_id in (("r1", "w1"), ("r2", "w2")):
            fleet.launch(run_id, job_name="image_to_3d", queue="cpu", job_id=None, attempt=None)
            fleet.take(run_id, worker_id, 7)
        assert operations.list_runs_of("host-1") == operations.list_runs_of("w1") == ["r1"]

    def test_a_name_that_nobody_has_is_a_mistake(self, rows, operations):
        rows.worker("w1", host="host-1")
        with pytest.raises(RequestError) as caught:
            operations.drain("w9")
        assert caught.value.hint == "There are host-1, w1."


class TestCommands:
    @pytest.fixture
    def run(self, database_url, tmp_path):
        """Runs a command as an operator does, on the test's database."""
        environment = {
            "DATABASE_URL": database_url,
            "DAGSTER_PG_URL": database_url,
            "PIPELINE3D_DATA_DIR": str(tmp_path),
            "COLUMNS": "200",
        }

        def invoke(*arguments, expect=0):
            result = CliRunner(env=environment).invoke(main, list(arguments))
            assert result.exit_code == expect, result.output
            return result.output

        return invoke

    def test_the_queue_is_shown_to_people_and_programs(self, rows, run):
        rows.worker("w1", host="host-1")
        job_id = rows.make()
        told = run("queue")
        assert str(job_id) in told
        assert "host-1" in told
        report = json.loads(run("queue", "--json"))
        assert report["waiting"][0]["obstacle"] == "next"
        assert {load["queue"]: load["waiting"] for load in report["queues"]} == {"cpu": 1, "gpu": 0}

    def test_a_pause_shows_in_the_queue_until_it_is_taken_back(self, rows, run):
        rows.make()
        assert run("pause", "--reason", "moving house") == "every queue is paused\n"
        assert "moving house" in run("queue")
        assert run("resume", "cpu") == "nothing was paused\nevery queue is still paused: moving house\n"
        assert run("resume") == "every queue is no longer paused\n"
        assert "moving house" not in run("queue")

    def test_requests_are_queued_again_by_their_ids_and_by_their_failure(self, rows, ledger, run):
        first, second, waiting = rows.make(), rows.make(), rows.make()
        fail(ledger, first, LOST)
        fail(ledger, second, BAD)
        assert run("requeue", "--failed") == f"{first}\n1 queued again\n"
        told = run("requeue", str(second), str(waiting), expect=1)
        assert told == f"{second} queued again\n{waiting} stays QUEUED\n"

    def test_a_worker_is_drained_and_taken_back(self, rows, run):
        rows.worker("w1", host="host-1")
        assert run("drain", "host-1", "--wait") == "worker w1 is draining\nnothing runs there\n"
        assert "draining" in run("queue")
        assert run("resume", "--worker", "w1") == "worker w1 takes runs again\n"
        assert "no worker or host" in run("drain", "w2", expect=1)
