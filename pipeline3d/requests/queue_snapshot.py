"""The front of every queue as it stood at one moment: one statement, and the frozen values made of its rows.

The order is that of `turns`, whatever holds a request back. However long a backlog is, no more of it is read
than the places that are counted, and of many users each only so much as can lie among those. Written as SQL,
where its nested counts can be read. `outlook` says what follows for a request.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Float, Integer, Row, TextClause, bindparam, text

from pipeline3d.requests.turns import EVERY_QUEUE

MOST_COUNTED = 1000
"""A position is counted up to here: this number means this many or more."""

RUNS_LEARNED_FROM = 50
"""So many of the newest successful runs of a model say how long it takes."""

REACHES = (2, 20, MOST_COUNTED)
"""How many times the fair share of the counted places is read of each user.

Where all users wait for as much as each other twice the share is enough. Where some come first with more, the
rows say that they were `cut`, and are read once more with the next reach; the last is always enough.
"""


class Line(NamedTuple):
    """A request in the snapshot, and what is ahead of it in its queue. A tuple, for there are thousands."""

    ahead: int
    """Requests, both those on their way to a run and those that wait."""
    ahead_s: float | None
    """The work in them; None where the length of one of them is not known."""
    held_back: bool = False
    """Whether it waits until others of the same user have ended, whichever of them that will be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """The front of one queue."""

    slots: int | None
    """Runs that its live workers can have at a time; None where there is no such worker."""
    paused: bool
    running: int
    """Runs that occupy a slot."""
    running_s: float | None
    """What is left of them together; None where that is not known of one of them."""
    lines: Mapping[str, Line]
    """By the id of the request, as text."""
    work_s: float | None = 0.0
    """All that waits and is on its way together; None where that is not known of one of them."""

    @property
    def is_full(self) -> bool:
        """Whether requests wait behind those in the snapshot, or may."""
        return len(self.lines) >= MOST_COUNTED


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What is known of a model's runs."""

    queue: str
    lengths_s: tuple[float, ...]
    """Of the newest successful ones."""
    median_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSnapshot:
    """All queues and models at one moment, by the clock of Postgres."""

    taken_at: datetime
    queues: Mapping[str, Queue]
    models: Mapping[str, Model]


# The condition of the index of turns: what is held or waits for another request has no place.
_IN_LINE = "job.state = 'QUEUED' AND NOT job.held AND job.waits_for IS NULL"
_WAITS = f"{_IN_LINE} AND (job.lease_until IS NULL OR job.lease_until <= now())"

# The whole order of the index of queued requests: so no other index looks as good.
_ORDER = "job.user_id, job.priority DESC, job.created_at, job.id"

_FIRST_OF_USER = f"""
    SELECT job.user_id, job.priority, job.created_at, job.id
    FROM jobs AS job
    WHERE {_IN_LINE} AND job.model_id = {{after}}
    ORDER BY {_ORDER}
    LIMIT 1
"""

_BUSY = """
    SELECT job.id, job.user_id, job.model_id, models.queue, job.state, job.priority,
           job.leased_at, job.started_at
    FROM jobs AS job JOIN models ON models.id = job.model_id
"""

_SNAPSHOT = f"""
WITH RECURSIVE
-- everything in work: few, whatever waits
busy AS MATERIALIZED (
    {_BUSY} WHERE job.state IN ('CANCELING', 'RUNNING')
    UNION ALL
    {_BUSY} WHERE job.state = 'QUEUED' AND job.lease_until > now()
),
in_work AS MATERIALIZED (SELECT user_id, queue, count(*) AS jobs FROM busy GROUP BY user_id, queue),
slots AS MATERIALIZED (
    SELECT served.queue, sum(workers.concurrency)::integer AS slots
    FROM workers CROSS JOIN unnest(workers.queues) AS served(queue)
    WHERE NOT workers.draining AND workers.heartbeat_at > now() - make_interval(secs => :silent_after_s)
    GROUP BY served.queue
),
-- who waits for which model, found by jumping through the index from user to user
pairs AS (
    SELECT models.id AS model_id, models.queue, head.user_id, head.priority, head.created_at, head.id
    FROM models CROSS JOIN LATERAL ({_FIRST_OF_USER.format(after="models.id")}) AS head
    UNION ALL
    SELECT pairs.model_id, pairs.queue, head.user_id, head.priority, head.created_at, head.id
    FROM pairs CROSS JOIN LATERAL (
        {_FIRST_OF_USER.format(after="pairs.model_id AND job.user_id > pairs.user_id")}
    ) AS head
),
-- of each queue the users whose first request can have a counted place
first_of_users AS (
    SELECT pairs.model_id, pairs.queue, pairs.user_id, coalesce(in_work.jobs, 0) AS in_work,
           first_value(pairs.priority) OVER of_user AS priority,
           first_value(pairs.created_at) OVER of_user AS created_at,
           first_value(pairs.id) OVER of_user AS id
    FROM pairs
    LEFT JOIN in_work ON in_work.user_id = pairs.user_id AND in_work.queue = pairs.queue
    WINDOW of_user AS (PARTITION BY pairs.queue, pairs.user_id
                       ORDER BY pairs.priority DESC, pairs.created_at, pairs.id)
),
next_users AS (
    SELECT model_id, queue, user_id, in_work, max(standing) OVER (PARTITION BY queue) AS users
    FROM (
        SELECT *, dense_rank() OVER (
            PARTITION BY queue ORDER BY priority DESC, in_work, created_at, id
        ) AS standing
        FROM first_of_users
    ) AS ranked
    WHERE standing <= {MOST_COUNTED}
),
-- and of each of them as many as are needed to find the first of all
candidates AS (
    SELECT next_users.queue, next_users.user_id, next_users.model_id, next_users.in_work,
           job.id, job.priority, job.created_at, job.number = share.depth AS is_last
    FROM next_users
    CROSS JOIN LATERAL (
        SELECT least({MOST_COUNTED}, ceil(:reach * {MOST_COUNTED}.0 / next_users.users))::integer AS depth
    ) AS share
    CROSS JOIN LATERAL (
        SELECT job.id, job.priority, job.created_at, row_number() OVER (ORDER BY {_ORDER}) AS number
        FROM jobs AS job
        WHERE {_WAITS} AND job.model_id = next_users.model_id AND job.user_id = next_users.user_id
        ORDER BY {_ORDER}
        LIMIT share.depth
    ) AS job
),
placed AS (
    SELECT *, row_number() OVER (PARTITION BY queue ORDER BY priority DESC, turn, created_at, id) AS place
    FROM (
        SELECT *,
               in_work + row_number() OVER (
                   PARTITION BY queue, user_id, priority ORDER BY created_at, id
               ) - 1 AS turn,
               row_number() OVER (
                   PARTITION BY queue, user_id ORDER BY priority DESC, created_at, id
               ) - 1 AS own_ahead
        FROM candidates
    ) AS numbered
),
of_users AS (SELECT user_id, sum(jobs) AS jobs FROM in_work GROUP BY user_id),
waiting AS (
    SELECT placed.queue,
           json_agg(json_build_array(
               placed.id, placed.model_id,
               coalesce(placed.own_ahead >= coalesce(users.max_concurrent_jobs, :jobs_per_user)
                                            - coalesce(of_users.jobs, 0), false)
           ) ORDER BY placed.place) AS lines,
           -- behind the last that was read of a user there may be more of the same user's
           bool_or(placed.is_last AND placed.place < {MOST_COUNTED}) AS cut
    FROM placed
    JOIN users ON users.id = placed.user_id
    LEFT JOIN of_users ON of_users.user_id = placed.user_id
    WHERE placed.place <= {MOST_COUNTED}
    GROUP BY placed.queue
),
-- what has left the table and has not begun is ahead of all that waits
dispatched AS (
    SELECT queue, json_agg(json_build_array(id, model_id) ORDER BY priority DESC, leased_at, id) AS lines
    FROM busy WHERE state = 'QUEUED' GROUP BY queue
),
running AS (
    SELECT queue, json_agg(json_build_array(
               model_id, extract(epoch FROM now() - started_at)::double precision
           )) AS runs
    FROM busy WHERE state = 'RUNNING' GROUP BY queue
),
-- how long the newest runs of each model took
paces AS (
    SELECT queue, json_object_agg(id, (
        SELECT coalesce(json_agg(newest.seconds), '[]')
        FROM (
            SELECT extract(epoch FROM job.completed_at - job.started_at)::double precision AS seconds
            FROM jobs AS job
            WHERE job.state = 'SUCCEEDED' AND job.model_id = models.id
            ORDER BY job.completed_at DESC
            LIMIT {RUNS_LEARNED_FROM}
        ) AS newest
    )) AS lengths_s
    FROM models GROUP BY queue
)
SELECT now() AS taken_at, paces.queue, paces.lengths_s, slots.slots,
       EXISTS (SELECT FROM pauses WHERE pauses.queue IN (paces.queue, '{EVERY_QUEUE}')) AS paused,
       running.runs AS running, dispatched.lines AS dispatched, waiting.lines AS waiting,
       coalesce(waiting.cut, false) AS cut
FROM paces
LEFT JOIN slots USING (queue)
LEFT JOIN running USING (queue)
LEFT JOIN dispatched USING (queue)
LEFT JOIN waiting USING (queue)
"""


@lru_cache(maxsize=1)
def read_queues() -> TextClause:
    """A row for each queue. Built once; binds `silent_after_s`, `jobs_per_user` and `reach`.

    With the last of `REACHES` the rows are whole. With an earlier one a row may be `cut`.
    """
    return text(_SNAPSHOT).bindparams(
        bindparam("silent_after_s", type_=Float),
        bindparam("jobs_per_user", type_=Integer),
        bindparam("reach", type_=Integer),
    )


def build_snapshot(rows: Sequence[Row[Any]]) -> QueueSnapshot:
    """The values of the rows of `read_queues`; there is one at least, for a catalogue has models."""
    models = {
        model_id: build_model(row.queue, lengths_s)
        for row in rows
        for model_id, lengths_s in row.lengths_s.items()
    }
    return QueueSnapshot(
        taken_at=rows[0].taken_at,
        queues={row.queue: build_queue(row, models) for row in rows},
        models=models,
    )


def build_model(queue: str, lengths_s: Iterable[float]) -> Model:
    """What one may expect of a model of these newest runs; the median as `percentile_cont(0.5)` has it."""
    known = tuple(lengths_s)
    return Model(queue=queue, lengths_s=known, median_s=statistics.median(known) if known else None)


def build_queue(row: Row[Any], models: Mapping[str, Model]) -> Queue:
    """The values of one row."""
    running = row.running or ()
    left_s = (
        None if (median_s := models[model_id].median_s) is None else max(median_s - ran_s, 0.0)
        for model_id, ran_s in running
    )
    requests = [*((*line, False) for line in row.dispatched or ()), *(row.waiting or ())]
    return Queue(
        slots=row.slots,
        paused=row.paused,
        running=len(running),
        running_s=sum_known(left_s),
        lines=number_lines(requests, models),
        work_s=sum_known(models[model_id].median_s for _, model_id, _ in requests),
    )


def number_lines(requests: Iterable[tuple[str, str, bool]], models: Mapping[str, Model]) -> dict[str, Line]:
    """Requests in their order, each an id, a model and whether its user holds it back, as lines by id."""
    lines = {}
    ahead_s: float | None = 0.0
    for ahead, (job_id, model_id, held_back) in enumerate(requests):
        lines[job_id] = Line(ahead=ahead, ahead_s=ahead_s, held_back=held_back)
        median_s = models[model_id].median_s
        ahead_s = None if ahead_s is None or median_s is None else ahead_s + median_s
    return lines


def sum_known(seconds: Iterable[float | None]) -> float | None:
    """The sum; None where one of them is not known."""
    total = 0.0
    for length_s in seconds:
        if length_s is None:
            return None
        total += length_s
    return total
