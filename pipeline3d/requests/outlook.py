"""When a request will start and end: its place in the queue, and what the history lets one expect.

The place follows the order of `turns`, counted up to a limit: who is far behind learns only that. The times
follow from the newest runs of each model, the slots of the live workers and what is ahead. Where one of these
is not known there is no time: none is ever made up. One query for one request or for a page of them, written
as SQL, where its nested counts can be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import Float, Integer, TextClause, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY

from pipeline3d.requests.turns import EVERY_QUEUE

MOST_COUNTED = 1000
"""A position is counted up to here: this number means this many or more."""

RUNS_LEARNED_FROM = 50
"""So many of the newest successful runs of a model say how long it takes."""

_WAITS = "job.state = 'QUEUED' AND (job.lease_until IS NULL OR job.lease_until <= now())"

# The whole order of the index of queued requests, and priorities as ranges: so no other index looks as good.
_ORDER = "job.user_id, job.priority DESC, job.created_at, job.id"

_LENGTHS = f"""
    SELECT extract(epoch FROM job.completed_at - job.started_at) AS seconds
    FROM jobs AS job
    WHERE job.state = 'SUCCEEDED' AND job.model_id = {{model_id}}
    ORDER BY job.completed_at DESC
    LIMIT {RUNS_LEARNED_FROM}
"""

_FIRST_USER = """
    SELECT job.user_id
    FROM jobs AS job
    WHERE job.state = 'QUEUED' AND job.model_id = {after}
    ORDER BY job.user_id, job.priority DESC, job.created_at, job.id
    LIMIT 1
"""

_BUSY = """
    SELECT job.id, job.user_id, job.model_id, models.queue, job.state, job.priority,
           job.leased_at, job.started_at
    FROM jobs AS job JOIN models ON models.id = job.model_id
"""

_SUMMED = """
    count(*) AS jobs, coalesce(sum(pace.seconds), 0) AS seconds,
    coalesce(bool_or(pace.seconds IS NULL), false) AS unknown
"""

_FACTS = f"""
asked AS MATERIALIZED (
    SELECT job.id, job.user_id, job.model_id, models.queue, job.priority, job.created_at, job.state,
           job.not_before, job.leased_at, job.started_at,
           job.state = 'QUEUED' AND NOT coalesce(job.lease_until > now(), false) AS waits,
           coalesce(users.max_concurrent_jobs, CAST(:jobs_per_user AS integer)) AS most_in_work
    FROM jobs AS job
    JOIN models ON models.id = job.model_id
    JOIN users ON users.id = job.user_id
    WHERE {{which}} AND job.state IN ('QUEUED', 'RUNNING')
),
-- everything in work: few, whatever waits
busy AS MATERIALIZED (
    {_BUSY} WHERE job.state IN ('CANCELING', 'RUNNING')
    UNION ALL
    {_BUSY} WHERE job.state = 'QUEUED' AND job.lease_until > now()
),
in_work AS MATERIALIZED (SELECT user_id, queue, count(*) AS jobs FROM busy GROUP BY user_id, queue),
slots AS MATERIALIZED (
    SELECT served.queue, sum(workers.concurrency) AS slots
    FROM workers CROSS JOIN unnest(workers.queues) AS served(queue)
    WHERE NOT workers.draining AND workers.heartbeat_at > now() - make_interval(secs => :silent_after_s)
    GROUP BY served.queue
),
-- how long the models of these queues take: null where nothing is known
pace AS MATERIALIZED (
    SELECT models.id AS model_id, models.queue, (
        SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY newest.seconds)
        FROM ({_LENGTHS.format(model_id="models.id")}) AS newest
    ) AS seconds
    FROM models
    WHERE models.queue IN (SELECT queue FROM asked)
),
-- who waits for which model, found by jumping through the index from user to user
pairs AS (
    SELECT pace.model_id, pace.queue, first_user.user_id
    FROM pace CROSS JOIN LATERAL ({_FIRST_USER.format(after="pace.model_id")}) AS first_user
    UNION ALL
    SELECT pairs.model_id, pairs.queue, next_user.user_id
    FROM pairs CROSS JOIN LATERAL (
        {_FIRST_USER.format(after="pairs.model_id AND job.user_id > pairs.user_id")}
    ) AS next_user
)
"""

# The same user's requests that are ahead. Those of a page share the way to them.
_OWN = f"""
wanted AS MATERIALIZED (
    SELECT user_id, queue, min(priority) AS priority FROM asked WHERE waits GROUP BY user_id, queue
),
own AS MATERIALIZED (
    SELECT job.id, row_number() OVER of_priority - 1 AS older,
           count(*) OVER before AS jobs, coalesce(sum(pace.seconds) OVER before, 0) AS seconds,
           coalesce(bool_or(pace.seconds IS NULL) OVER before, false) AS unknown
    FROM wanted
    JOIN pace ON pace.queue = wanted.queue
    CROSS JOIN LATERAL (
        SELECT job.id, job.priority, job.created_at FROM jobs AS job
        WHERE {_WAITS} AND job.model_id = pace.model_id AND job.user_id = wanted.user_id
          AND job.priority >= wanted.priority
        ORDER BY {_ORDER}
        LIMIT {MOST_COUNTED}
    ) AS job
    WINDOW of_user AS (PARTITION BY wanted.user_id, wanted.queue),
           before AS (of_user ORDER BY job.priority DESC, job.created_at, job.id
                      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING),
           of_priority AS (PARTITION BY wanted.user_id, wanted.queue, job.priority
                           ORDER BY job.created_at, job.id)
),
standing AS MATERIALIZED (
    SELECT asked.id, asked.user_id, asked.queue, asked.priority, asked.created_at,
           coalesce(in_work.jobs, 0) + own.older AS turn, own.jobs, own.seconds, own.unknown,
           row_number() OVER (
               PARTITION BY asked.user_id, asked.queue, asked.priority ORDER BY own.older
           ) AS number
    FROM asked
    JOIN own ON own.id = asked.id
    LEFT JOIN in_work ON in_work.user_id = asked.user_id AND in_work.queue = asked.queue
)
"""

# Other users' requests that are ahead: the more urgent ones, and those of earlier turns.
_OTHERS = f"""
    SELECT {_SUMMED}
    FROM (
        SELECT before.model_id
        FROM pairs
        LEFT JOIN in_work AS theirs ON theirs.user_id = pairs.user_id AND theirs.queue = pairs.queue
        CROSS JOIN LATERAL (SELECT coalesce(theirs.jobs, 0) AS jobs) AS taken
        CROSS JOIN LATERAL (
            SELECT urgent.model_id
            FROM pace CROSS JOIN LATERAL (
                SELECT job.model_id FROM jobs AS job
                WHERE {_WAITS} AND job.model_id = pace.model_id AND job.user_id = pairs.user_id
                  AND job.priority > asked.priority
                ORDER BY {_ORDER}
                LIMIT {MOST_COUNTED}
            ) AS urgent
            WHERE pace.queue = pairs.queue
            UNION ALL
            SELECT numbered.model_id
            FROM (
                SELECT equal.model_id, equal.created_at, equal.id,
                       taken.jobs + row_number() OVER (ORDER BY equal.created_at, equal.id) - 1 AS turn
                FROM pace CROSS JOIN LATERAL (
                    SELECT job.model_id, job.created_at, job.id FROM jobs AS job
                    WHERE {_WAITS} AND job.model_id = pace.model_id AND job.user_id = pairs.user_id
                      AND job.priority BETWEEN asked.priority AND asked.priority
                    ORDER BY {_ORDER}
                    LIMIT greatest(asked.turn - taken.jobs + 1, 0)
                ) AS equal
                WHERE pace.queue = pairs.queue
            ) AS numbered
            WHERE (numbered.turn, numbered.created_at, numbered.id) < (asked.turn, asked.created_at, asked.id)
        ) AS before
        WHERE pairs.queue = asked.queue AND pairs.user_id <> asked.user_id
          -- a user who waits for several models of the queue is looked at once
          AND pairs.model_id = (
              SELECT first.model_id
              FROM pace CROSS JOIN LATERAL (
                  SELECT job.model_id FROM jobs AS job
                  WHERE job.state = 'QUEUED' AND job.model_id = pace.model_id
                    AND job.user_id = pairs.user_id
                  ORDER BY {_ORDER}
                  LIMIT 1
              ) AS first
              WHERE pace.queue = pairs.queue
              ORDER BY pace.model_id
              LIMIT 1
          )
          AND asked.jobs < {MOST_COUNTED}
        LIMIT {MOST_COUNTED}
    ) AS before
    JOIN pace ON pace.model_id = before.model_id
"""

_OUTLOOK = f"""
WITH RECURSIVE {_FACTS}, {_OWN},
-- from the first of a page to the last, and no further than to the first that has too many ahead
counted AS (
    SELECT asked.id, asked.user_id, asked.queue, asked.priority, asked.number, asked.jobs AS own_jobs,
           asked.jobs + others.jobs AS jobs, asked.seconds + others.seconds AS seconds,
           asked.unknown OR others.unknown AS unknown
    FROM standing AS asked CROSS JOIN LATERAL ({_OTHERS}) AS others
    WHERE asked.number = 1
    UNION ALL
    SELECT asked.id, asked.user_id, asked.queue, asked.priority, asked.number, asked.jobs,
           asked.jobs + others.jobs, asked.seconds + others.seconds, asked.unknown OR others.unknown
    FROM counted
    JOIN standing AS asked
      ON asked.user_id = counted.user_id AND asked.queue = counted.queue
     AND asked.priority = counted.priority AND asked.number = counted.number + 1
     AND counted.jobs < {MOST_COUNTED}
    CROSS JOIN LATERAL ({_OTHERS}) AS others
),
ahead AS MATERIALIZED (
    SELECT asked.*, coalesce(counted.own_jobs, {MOST_COUNTED}) AS own_jobs,
           dispatched.jobs
               + CASE WHEN asked.waits THEN coalesce(counted.jobs, {MOST_COUNTED}) ELSE 0 END AS jobs,
           dispatched.seconds + coalesce(counted.seconds, 0) AS seconds,
           dispatched.unknown OR coalesce(counted.unknown, false) AS unknown
    FROM asked
    LEFT JOIN counted ON counted.id = asked.id
    CROSS JOIN LATERAL (
        -- what has left the table and has not begun
        SELECT {_SUMMED}
        FROM busy JOIN pace ON pace.model_id = busy.model_id
        WHERE busy.queue = asked.queue AND busy.state = 'QUEUED'
          AND (asked.waits
               OR (-busy.priority, busy.leased_at, busy.id) < (-asked.priority, asked.leased_at, asked.id))
    ) AS dispatched
),
free AS MATERIALIZED (
    SELECT asked.*, CASE
        WHEN asked.state <> 'QUEUED' OR slots.slots IS NULL OR asked.jobs + 1 >= {MOST_COUNTED}
             OR EXISTS (SELECT FROM pauses WHERE pauses.queue IN (asked.queue, '{EVERY_QUEUE}')) THEN NULL
        -- until others of the same user have ended, whichever of them that will be
        WHEN asked.waits AND asked.own_jobs >= asked.most_in_work - (
            SELECT coalesce(sum(in_work.jobs), 0) FROM in_work WHERE in_work.user_id = asked.user_id
        ) THEN NULL
        WHEN running.jobs + asked.jobs < slots.slots THEN 0
        WHEN running.unknown OR asked.unknown THEN NULL
        ELSE (running.left_s + asked.seconds) / slots.slots
    END AS start_s
    FROM ahead AS asked
    LEFT JOIN slots ON slots.queue = asked.queue
    CROSS JOIN LATERAL (
        SELECT {_SUMMED}, coalesce(
                   sum(greatest(pace.seconds - extract(epoch FROM now() - busy.started_at), 0)), 0
               ) AS left_s
        FROM busy JOIN pace ON pace.model_id = busy.model_id
        WHERE busy.queue = asked.queue AND busy.state = 'RUNNING'
    ) AS running
),
starting AS MATERIALIZED (
    SELECT free.*, CASE WHEN free.start_s IS NOT NULL
        THEN greatest(now() + make_interval(secs => free.start_s), free.not_before) END AS starts_at
    FROM free
)
SELECT asked.id,
       CASE WHEN asked.state = 'QUEUED' THEN least(asked.jobs + 1, {MOST_COUNTED})::integer END AS position,
       asked.starts_at,
       CASE WHEN asked.state = 'QUEUED' THEN asked.starts_at + make_interval(secs => pace.seconds)
            ELSE asked.started_at + make_interval(secs => longer.seconds) END AS ends_at
FROM starting AS asked
JOIN pace ON pace.model_id = asked.model_id
-- of those of its model that took longer than this one has run by now
CROSS JOIN LATERAL (
    SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY newest.seconds) AS seconds
    FROM ({_LENGTHS.format(model_id="asked.model_id")}) AS newest
    WHERE asked.state = 'RUNNING' AND newest.seconds > extract(epoch FROM now() - asked.started_at)
) AS longer
"""


def read_outlook(job_ids: Sequence[UUID], *, silent_after_s: float, jobs_per_user: int | None) -> TextClause:
    """`position`, `starts_at` and `ends_at` of those of these requests that are queued or running."""
    values: dict[str, Any] = {"silent_after_s": silent_after_s, "jobs_per_user": jobs_per_user}
    # One is asked for all the time: bound as a value, not as an array, Postgres keeps one plan for it.
    if len(job_ids) == 1:
        return _statement("job.id = :job_id").bindparams(job_id=job_ids[0], **values)
    return _statement("job.id = ANY (:job_ids)").bindparams(job_ids=list(job_ids), **values)


@lru_cache(maxsize=2)
def _statement(which: str) -> TextClause:
    named = (
        bindparam("job_ids", type_=ARRAY(Uuid)) if ":job_ids" in which else bindparam("job_id", type_=Uuid)
    )
    return text(_OUTLOOK.format(which=which)).bindparams(
        bindparam("jobs_per_user", type_=Integer), bindparam("silent_after_s", type_=Float), named
    )
