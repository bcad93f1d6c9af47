"""The warden of a worker: the process of `pipeline3d worker`.

It starts the Celery process that executes runs and watches over it: it says that the worker is alive, ends
the runs that are to be ended with all their processes, settles the runs whose process died, and tells the
broker again of runs that it forgot. All it goes by is in Postgres, so it works the same with every broker.
"""

from __future__ import annotations

import logging
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from sqlalchemy.exc import OperationalError

from pipeline3d.errors import DatabaseUnavailable, ServerFailure
from pipeline3d.launch.closing import close_run
from pipeline3d.launch.process_tree import adopt_orphans, end_orphans, is_below, signal_all, tree_of
from pipeline3d.launch.runs_table import RunsTable
from pipeline3d.launch.stopping import Stopping
from pipeline3d.local.ready_files import tell_ready
from pipeline3d.requests.fleet import Fleet, LaunchedRun, WorkerFacts
from pipeline3d.requests.ledger import JobLedger
from pipeline3d.requests.settlement import RunFate, settle_ended_run

if TYPE_CHECKING:
    from dagster import DagsterInstance

BEAT_S = 5.0
LOOK_S = 1.0
"""A process that died is noticed after this time."""
FORGOTTEN_AFTER_S = 5.0
START_DEADLINE_S = 120.0
AWAY_PAUSE_S = 1.0
LONGEST_RESTART_PAUSE_S = 30.0

logger = logging.getLogger("pipeline3d.warden")

StartWorker = Callable[[Path], "subprocess.Popen[bytes]"]
Publish = Callable[[str, str], None]
CleanUp = Callable[[str], None]


class Warden:
    """One worker, from its registration to its end.

    `start_worker` begins its Celery process, `clean_up` removes what a killed run left, on disk and in the
    store, and returns soon.
    """

    def __init__(
        self,
        facts: WorkerFacts,
        *,
        fleet: Fleet,
        ledger: JobLedger,
        runs: RunsTable,
        start_worker: StartWorker,
        publish: Publish,
        clean_up: CleanUp,
        ready_file: Path,
        shutdown_grace_s: float,
    ) -> None:
        self._facts = facts
        self._fleet = fleet
        self._ledger = ledger
        self._runs = runs
        self._start_worker = start_worker
        self._publish = publish
        self._clean_up = clean_up
        self._ready_file = ready_file
        self._shutdown_grace_s = shutdown_grace_s
        self._process: subprocess.Popen[bytes] | None = None
        self._failures = 0
        self._restart_at = 0.0
        self._begun_at = 0.0
        self._asked_to_drain = False
        self._draining = False
        self._stopping: dict[str, Stopping] = {}
        self._trees: dict[str, set[psutil.Process]] = {}
        self._beat_at = 0.0
        self._instance: DagsterInstance | None = None

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then end in order. Raises ServerFailure where it cannot begin."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _leave)
        adopt_orphans()
        try:
            self._serve()
        except _Leaving:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            self._end()

    def _serve(self) -> None:
        self._begin_process()
        self._wait_until_ready()
        while not self._survives(self._register):
            continue
        while True:
            self._survives(self._wait_and_look)

    def _register(self) -> None:
        self._fleet.register(self._facts)
        tell_ready()
        queues, places = ", ".join(self._facts.queues), self._facts.concurrency
        logger.info("worker %s serves %s, %d at a time", self._facts.id, queues, places)

    def _wait_and_look(self) -> None:
        self._fleet.wait_for_call(self._seconds_to_wait())
        self.look()

    def _survives(self, action: Callable[[], None]) -> bool:
        """Do it; False, after a pause, where it cannot be done now, as while Postgres is away."""
        try:
            action()
        except (DatabaseUnavailable, OperationalError) as error:
            logger.warning("Postgres does not answer: %s", error)
        except Exception:
            # Whatever it is, a warden that ended would take all its runs with it.
            logger.exception("a round failed; the next one tries again")
        else:
            return True
        time.sleep(AWAY_PAUSE_S)
        return False

    def look(self) -> None:
        """One round: be alive, settle what died, end what is to be ended, remind the broker."""
        draining = self._beat_if_due()
        self._watch_process(draining=draining)
        runs = self._fleet.runs_of(self._facts.id)
        living = {run.run_id: run for run in runs if self._is_alive(run)}
        for run in runs:
            if run.run_id not in living:
                self._settle_lost(run)
        self._trees = {run_id: set(tree_of(run.worker_pid or 0)) for run_id, run in living.items()}
        end_orphans(spared=self._spared())
        for run in living.values():
            self._step_towards_end(run)
        self._stopping = {run_id: step for run_id, step in self._stopping.items() if run_id in living}
        if self._is_ready and not draining:
            self._remind_broker(self._facts.concurrency - len(living))

    # -- signs of life

    def _beat_if_due(self) -> bool:
        """Say that the worker is alive; whether it is to take nothing new."""
        if time.monotonic() - self._beat_at >= BEAT_S:
            draining = self._fleet.beat(self._facts.id)
            if draining is None:
                # Silent for so long that somebody removed it: it is back.
                self._fleet.register(self._facts)
            self._draining = bool(draining)
            self._beat_at = time.monotonic()
            self._note_forced_ends()
        return self._draining

    def _seconds_to_wait(self) -> float:
        now = time.monotonic()
        steps = [step.seconds_to_next(now) for step in self._stopping.values()]
        return max(0.05, min([LOOK_S, *(step for step in steps if step is not None)]))

    def _remind_broker(self, idle: int) -> None:
        """Tell the broker again of runs that wait although this worker has nothing to do."""
        if idle <= 0:
            return
        for run_id, queue in self._fleet.claim_forgotten(self._facts.queues, FORGOTTEN_AFTER_S, idle):
            logger.info("run %s waits and nobody took it: telling the broker again", run_id)
            try:
                self._publish(run_id, queue)
            except Exception as error:  # each kind of broker has errors of its own
                logger.warning("the broker does not answer (%s)", error)
                return

    # -- the Celery process

    def _begin_process(self) -> None:
        self._ready_file.unlink(missing_ok=True)
        self._process = self._start_worker(self._ready_file)
        self._begun_at = time.monotonic()

    @property
    def _is_ready(self) -> bool:
        return self._process is not None and self._ready_file.exists()

    def _wait_until_ready(self) -> None:
        while not self._is_ready:
            if self._process is None or self._process.poll() is not None:
                raise ServerFailure("The worker's process ended while it started.", hint="Its log says why.")
            if time.monotonic() - self._begun_at > START_DEADLINE_S:
                raise ServerFailure("The worker's process is not ready in time.", hint="Its log says why.")
            time.sleep(0.05)

    def _watch_process(self, *, draining: bool) -> None:
        """Keep the Celery process as it should be: there, or drained."""
        process = self._process
        if process is not None and process.poll() is not None:
            if not draining:
                lived_s = time.monotonic() - self._begun_at
                self._failures = self._failures + 1 if lived_s < LONGEST_RESTART_PAUSE_S else 1
                logger.error("the worker's process ended with code %s", process.returncode)
            self._process = None
            self._restart_at = time.monotonic() + min(2.0**self._failures, LONGEST_RESTART_PAUSE_S)
        if draining:
            if self._process is not None and not self._asked_to_drain:
                logger.info("draining: nothing new is taken; the runs at work are finished")
                self._process.terminate()  # Celery's warm shutdown
                self._asked_to_drain = True
            return
        self._asked_to_drain = False
        if self._process is None and time.monotonic() >= self._restart_at:
            self._begin_process()

    # -- ending runs

    def _step_towards_end(self, run: LaunchedRun) -> None:
        """Send the signal that is due to a run that is to be ended, and to all its processes."""
        if not run.cancel_requested:
            return
        now = time.monotonic()
        if run.run_id not in self._stopping:
            self._stopping[run.run_id] = Stopping(since=now)
            self._mark_canceling(run.run_id)
        number = self._stopping[run.run_id].due(now)
        if number is not None:
            reached = signal_all(self._trees.get(run.run_id, ()), number)
            logger.info("run %s is to end: %s to %d processes", run.run_id, number.name, reached)

    def _mark_canceling(self, run_id: str) -> None:
        """Tell Dagster first: a run that is interrupted while it is CANCELING ends as CANCELED."""
        dagster_run = self.instance.get_run_by_id(run_id)
        if (
            dagster_run is not None
            and not dagster_run.is_finished
            and dagster_run.status.value != "CANCELING"
        ):
            self.instance.report_run_canceling(dagster_run)

    def _note_forced_ends(self) -> None:
        """A run that somebody declared finished in Dagster while it works here is to be ended."""
        at_work = [
            run
            for run in self._fleet.runs_of(self._facts.id)
            if not run.cancel_requested and run.run_id not in self._stopping and self._is_alive(run)
        ]
        if at_work:
            for run_id in self._runs.canceled_of([run.run_id for run in at_work]):
                self._fleet.request_stop(run_id)

    # -- settling

    def _is_alive(self, run: LaunchedRun) -> bool:
        pid = run.worker_pid
        return pid is not None and self._process is not None and is_below(pid, self._process.pid)

    def _settle_lost(self, run: LaunchedRun) -> None:
        """The process of a run is gone: end what it left, and give the request its due."""
        signal_all(self._trees.pop(run.run_id, ()), signal.SIGKILL)
        message = "The process that executed the run is gone."
        fate = close_run(
            self.instance, run.run_id, message, canceled=run.cancel_requested, otherwise=RunFate.LOST
        )
        if run.job_id is not None:
            settle_ended_run(self._ledger, run.job_id, run.run_id, fate, attempt=run.attempt)
        self._clean_up(run.run_id)
        self._fleet.finish(run.run_id, self._facts.id)
        logger.warning("run %s: its process %s is gone, settled as %s", run.run_id, run.worker_pid, fate)

    @property
    def instance(self) -> DagsterInstance:
        """Dagster as this process knows it, loaded when it is first needed."""
        if self._instance is None:
            from dagster import DagsterInstance

            self._instance = DagsterInstance.get()
        return self._instance

    def _spared(self) -> set[int]:
        """Children of this process that are not orphans of a dead run."""
        spared = {process.pid for tree in self._trees.values() for process in tree}
        return spared | ({self._process.pid} if self._process is not None else set())

    # -- the end

    def _end(self) -> None:
        """Let the runs finish within the grace, end the rest, settle them, sign off."""
        process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(self._shutdown_grace_s)
            except subprocess.TimeoutExpired:
                signal_all(tree_of(process.pid), signal.SIGKILL)
                process.wait()
        self._process = None
        try:
            for run in self._fleet.runs_of(self._facts.id):
                self._settle_lost(run)
            self._fleet.leave(self._facts.id)
        except (DatabaseUnavailable, OperationalError):
            logger.warning("Postgres is gone already: the reconciler settles what was at work here")
        end_orphans(spared=set())


class _Leaving(BaseException):
    """SIGTERM or SIGINT came: an exception, since a flag would not end a wait for a notification."""


def _leave(_number: int, _frame: object) -> None:
    raise _Leaving
