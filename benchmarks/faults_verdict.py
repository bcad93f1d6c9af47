"""What became of each request of the fault benchmark, read from its history: pure.

The history in the jobs database is written in the same statement as the change that it tells of, so it shows
what really happened: every start of an attempt, every stage that began, every end.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipeline3d.values import FINISHED_STATES, STAGES_BY_ROUTE, JobState, Route

STAGES = STAGES_BY_ROUTE[Route.PROBE]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A line of a request's history; `stage` only where a stage began, `code` where an attempt failed."""

    at: datetime
    name: str
    attempt: int
    run_id: str | None = None
    stage: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A request as it stands at the end, and how it got there."""

    job_id: str
    state: JobState
    attempt: int
    error_code: str | None
    error_message: str | None
    created_at: datetime
    completed_at: datetime | None
    events: tuple[Event, ...]

    @property
    def finished(self) -> bool:
        """Whether it has its outcome."""
        return self.state in FINISHED_STATES

    @property
    def explained(self) -> bool:
        """A success, or an end with a reason."""
        return self.state is JobState.SUCCEEDED or bool(self.error_code and self.error_message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """A damage that was done, and when by the clock of Postgres."""

    fault: str
    at: datetime


def find_duplicates(history: History) -> list[str]:
    """Everything that was done twice and may be done once only, one sentence each."""
    found = []
    ends = [event for event in history.events if event.name in {"succeeded", "canceled"}]
    if len(ends) > 1:
        found.append(f"finished {len(ends)} times")
    runs_by_attempt: dict[int, set[str | None]] = defaultdict(set)
    for event in history.events:
        if event.name == "started":
            runs_by_attempt[event.attempt].add(event.run_id)
    for attempt, runs in runs_by_attempt.items():
        if len(runs) > 1:
            found.append(f"attempt {attempt} was begun by {len(runs)} runs")
    begun_again = _begun_after_finished(history.events)
    found += [f"stage {stage} was finished and done again" for stage in begun_again]
    return found


def _begun_after_finished(events: Sequence[Event]) -> list[str]:
    """Stages that began in an attempt after an earlier one had finished them, which the next stage proves."""
    begun_by_attempt: dict[int, list[str]] = defaultdict(list)
    for event in events:
        if event.stage is not None:
            begun_by_attempt[event.attempt].append(event.stage)
    finished: set[str] = set()
    again = []
    for attempt in sorted(begun_by_attempt):
        begun = begun_by_attempt[attempt]
        again += [stage for stage in begun if stage in finished]
        finished |= {
            earlier
            for stage in begun
            if stage in STAGES
            for earlier in STAGES[: STAGES.index(stage)]
            if earlier in begun
        }
    return again


def find_repeated_steps(successes: Iterable[tuple[str, str]]) -> list[str]:
    """Steps (request, stage) that succeeded more than once in Dagster, one sentence each."""
    counted = Counter(successes)
    return [
        f"request {job_id}: stage {stage} succeeded {times} times in Dagster"
        for (job_id, stage), times in counted.items()
        if times > 1
    ]


def in_flight(history: History, kill: Kill) -> bool:
    """Whether a request was accepted and not finished when the damage was done."""
    ended_before = history.completed_at is not None and history.completed_at <= kill.at
    return history.created_at <= kill.at and not ended_before


def build_rows(histories: Sequence[History], kills: Sequence[Kill]) -> list[dict[str, Any]]:
    """One row for each kind of damage, about the requests that it met, and one for all."""
    kinds = list(dict.fromkeys(kill.fault for kill in kills))
    rows = [_build_row(kind, histories, kills) for kind in sorted(kinds)]
    return [*rows, describe("all", histories, len(kills), _lost_attempts(histories))]


def _build_row(fault: str, histories: Sequence[History], kills: Sequence[Kill]) -> dict[str, Any]:
    struck = [kill for kill in kills if kill.fault == fault]
    met = [history for history in histories if any(in_flight(history, kill) for kill in struck)]
    row = describe(fault, met, len(struck), _lost_attempts_after(histories, kills, fault))
    pauses = [pause for kill in struck if (pause := _seconds_to_next_end(histories, kill)) is not None]
    return {**row, "next_end_s": round(statistics.median(pauses), 1) if pauses else None}


def _seconds_to_next_end(histories: Iterable[History], kill: Kill) -> float | None:
    """How long after a damage the next request, whichever, had its end; None where none was left."""
    ends = [history.completed_at for history in histories if history.completed_at is not None]
    return min(((end - kill.at).total_seconds() for end in ends if end > kill.at), default=None)


def describe(fault: str, histories: Sequence[History], kills: int, lost_attempts: int) -> dict[str, Any]:
    """The figures of a set of requests."""
    return {
        "killed": fault,
        "times": kills,
        "requests": len(histories),
        "finished": sum(history.finished for history in histories),
        "succeeded": sum(history.state is JobState.SUCCEEDED for history in histories),
        "worker_lost": sum(history.error_code == "worker_lost" for history in histories),
        "failed_otherwise": sum(
            history.state is JobState.FAILED and history.error_code != "worker_lost" for history in histories
        ),
        "attempts_lost": lost_attempts,
        "twice": sum(bool(find_duplicates(history)) for history in histories),
        "lost": sum(not history.finished for history in histories),
    }


def _lost_attempts(histories: Iterable[History]) -> int:
    return sum(event.name == "attempt_failed" for history in histories for event in history.events)


def _lost_attempts_after(histories: Iterable[History], kills: Sequence[Kill], fault: str) -> int:
    """Attempts that failed after a damage of this kind and before the next one: most likely by it."""
    count = 0
    for history in histories:
        for event in history.events:
            if event.name == "attempt_failed":
                before = [kill for kill in kills if kill.at <= event.at]
                count += bool(before) and before[-1].fault == fault
    return count


def parse_history(job: Mapping[str, Any], events: Iterable[Mapping[str, Any]]) -> History:
    """Rows of the tables `jobs` and `job_events` as a history."""
    return History(
        job_id=str(job["id"]),
        state=JobState(job["state"]),
        attempt=job["attempt"],
        error_code=job["error_code"],
        error_message=job["error_message"],
        created_at=job["created_at"],
        completed_at=job["completed_at"],
        events=tuple(_parse_event(event) for event in events),
    )


def _parse_event(row: Mapping[str, Any]) -> Event:
    payload = row["payload"]
    progress = payload.get("progress") or {}
    return Event(
        at=row["created_at"],
        name=payload["event"],
        attempt=payload["attempt"],
        run_id=payload.get("run_id"),
        stage=progress.get("stage") if payload["event"] == "progress" else None,
        code=payload.get("code"),
    )
