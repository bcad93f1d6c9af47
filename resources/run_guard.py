"""What a run owes its request: to own it, to give signs of life, to report, and to leave no scratch.

One guard per run and process. Everything that a guard writes is fenced by the run id in the jobs
table, so a run that lost its request cannot write to it. Knows no Dagster.
"""

from __future__ import annotations

import shutil
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from uuid import UUID

import psutil

from pipeline3d.errors import LeaseLost, Pipeline3dError
from pipeline3d.requests.backoff import retry_delay_s
from pipeline3d.requests.ledger import JobLedger, Standing
from pipeline3d.requests.parameters import storable_text
from pipeline3d.values import FailureReport, JobInput, JobState, Progress, stages_of
from resources.patience import wait_out_outage

REPORT_EVERY_S = 0.5


class RunGuard:
    """One run's standing towards its request, from the first stage to the last."""

    def __init__(
        self,
        ledger: JobLedger,
        *,
        job_id: UUID,
        run_id: str,
        attempt: int | None,
        delivers: bool,
        scratch_root: Path,
        heartbeat_s: float,
        on_lost: Callable[[], None] | None = None,
    ) -> None:
        self._ledger = ledger
        self._run_id = run_id
        self._heartbeat_s = heartbeat_s
        self._on_lost = on_lost
        self._stopped = threading.Event()
        self._lost = threading.Event()
        self._reported_at = 0.0
        self.seconds: dict[str, float] = {}
        self.made_from: dict[str, dict[str, str]] = defaultdict(dict)
        """Of each stage of this run: the files that it read, with their sha256."""
        self.rejections: dict[str, FailureReport] = {}
        """Why a stage refuses what it made: what its failed checks mean to the caller."""
        self._stage: str | None = None
        self.standing = wait_out_outage(
            lambda: ledger.begin(job_id, attempt=attempt, run_id=run_id, delivers=delivers)
        )
        self.job: JobInput = wait_out_outage(lambda: ledger.read_job(job_id))
        self.scratch = _fresh_scratch(scratch_root, run_id)
        self._pulse = threading.Thread(target=self._beat, name=f"heartbeat-{run_id[:8]}", daemon=True)
        if self.owns_request:
            self._pulse.start()

    @property
    def run_id(self) -> str:
        """Dagster's id of the run."""
        return self._run_id

    def report(self, stage: str, fraction: float, message: str) -> None:
        """Say how far a stage is, 0 to 1. A model may say it often: it is written at most twice a second."""
        now = perf_counter()
        if not self.owns_request or now - self._reported_at < REPORT_EVERY_S:
            return
        self._reported_at = now
        progress = progress_at(self.job, stage, fraction, message)
        wait_out_outage(lambda: self._ledger.report_progress(self.job.job_id, self._run_id, progress))

    @property
    def owns_request(self) -> bool:
        """Whether this run writes the request's state, or only rebuilds its artifacts."""
        return self.standing is Standing.OWNER

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Report that the stage began, and its seconds when it ended well. Raises LeaseLost."""
        self.require_ownership()
        self._stage = name
        started = perf_counter()
        if self.owns_request:
            progress = progress_at(self.job, name)
            wait_out_outage(lambda: self._ledger.report_progress(self.job.job_id, self._run_id, progress))
        yield
        self.require_ownership()
        seconds = self.seconds[name] = round(perf_counter() - started, 3)
        if self.owns_request:
            wait_out_outage(
                lambda: self._ledger.record_stage_seconds(self.job.job_id, self._run_id, name, seconds)
            )

    def explain_rejection(self, stage: str, report: FailureReport) -> None:
        """Say what it means for the caller if a check of this stage, which comes next, fails."""
        self.rejections[stage] = report

    def note_source(self, file: str, sha256: str, *, stage: str | None = None) -> None:
        """Remember what a stage, the one under way if none is named, was made from."""
        reader = stage or self._stage
        if reader is not None:
            self.made_from[reader][file] = sha256

    def require_ownership(self) -> None:
        """Stop a run whose request was taken over or cancelled."""
        if self._lost.is_set():
            raise LeaseLost(f"run {self._run_id} no longer owns request {self.job.job_id}")

    def confirm_ownership(self) -> None:
        """The same, asked of Postgres now: since the last heartbeat another run may have taken over.

        A host whose network comes back would otherwise write over what the next attempt made meanwhile.
        """
        self.require_ownership()
        if not self.owns_request:
            return
        if not wait_out_outage(lambda: self._ledger.heartbeat(self.job.job_id, self._run_id)):
            self._lost.set()
            self.require_ownership()

    def succeed(self) -> None:
        """The request has its result. Raises LeaseLost where it is not this run's any more."""
        if self.owns_request:
            wait_out_outage(self._succeed)

    def _succeed(self) -> None:
        try:
            self._ledger.succeed(self.job.job_id, self._run_id)
        except LeaseLost:
            job = self._ledger.read_job(self.job.job_id)
            if (job.run_id, job.state) != (self._run_id, JobState.SUCCEEDED):
                raise
            # It was this run that said so, and the answer was lost in an outage.

    def fail(self, report: FailureReport) -> None:
        """End the request, or queue its next attempt where that can help."""
        if self.owns_request:
            told = replace(
                report,
                message=storable_text(report.message),
                hint=None if report.hint is None else storable_text(report.hint),
            )
            wait_out_outage(lambda: self._fail(told))

    def _fail(self, report: FailureReport) -> None:
        if report.retryable:
            delay_s = retry_delay_s(self.job.job_id, self.job.attempt)
            self._ledger.requeue(self.job.job_id, self._run_id, report, delay_s)
        else:
            self._ledger.fail(self.job.job_id, self._run_id, report)

    def close(self) -> None:
        """Stop the heartbeat and remove the scratch folder."""
        self._stopped.set()
        if self._pulse.is_alive():
            self._pulse.join(timeout=self._heartbeat_s + 1)
        shutil.rmtree(self.scratch, ignore_errors=True)

    def _beat(self) -> None:
        while not self._stopped.wait(self._heartbeat_s):
            try:
                if not self._ledger.heartbeat(self.job.job_id, self._run_id):
                    self._lost.set()
                    if self._on_lost is not None and not self._is_being_canceled():
                        self._on_lost()
                    return
            except Pipeline3dError:
                # The database is away: go on working; the reconciler decides when it is back.
                continue

    def _is_being_canceled(self) -> bool:
        """Whether the run is asked to stop, and not robbed: then the warden ends it, who tells Dagster first.

        Interrupted before Dagster knows of it, the run would end there as failed.
        """
        job = self._ledger.read_job(self.job.job_id)
        return job.run_id == self._run_id and job.state in (JobState.CANCELING, JobState.CANCELED)


def progress_at(job: JobInput, stage: str, fraction: float = 0.0, message: str = "") -> Progress:
    """The snapshot at the beginning of a stage, or when this fraction of it is done."""
    stages = stages_of(job.kind, job.model_id, job.params)
    index = stages.index(stage) if stage in stages else 0
    return Progress(
        percent=round(100 * (index + min(max(fraction, 0.0), 1.0)) / len(stages)),
        stage=stage,
        stage_number=index + 1,
        stage_count=len(stages),
        message=message or stage.replace("_", " "),
    )


def _fresh_scratch(root: Path, run_id: str) -> Path:
    """A private folder for one run. Folders of processes that are gone are swept on the way."""
    root.mkdir(parents=True, exist_ok=True)
    for folder in root.glob("run-*-*"):
        owner = folder.name.rsplit("-", 1)[-1]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)
    scratch = root / f"run-{run_id}-{psutil.Process().pid}"
    scratch.mkdir(mode=0o700, exist_ok=True)
    return scratch


_guards: dict[str, RunGuard] = {}
_guards_lock = threading.Lock()


def enter_guard(run_id: str, guard: RunGuard) -> None:
    """Make a guard known to the other resources of the same run."""
    with _guards_lock:
        _guards[run_id] = guard


def guard_of(run_id: str) -> RunGuard:
    """The guard of a run in this process. Raises LeaseLost where the run never began properly."""
    with _guards_lock:
        guard = _guards.get(run_id)
    if guard is None:
        raise LeaseLost(f"run {run_id} has not begun its request in this process")
    return guard


def leave_guard(run_id: str) -> None:
    """Forget and close a run's guard; harmless when there is none."""
    with _guards_lock:
        guard = _guards.pop(run_id, None)
    if guard is not None:
        guard.close()
