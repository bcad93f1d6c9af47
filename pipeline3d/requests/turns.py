"""Whose turn it is: which queued requests may start now, and in which order. One query, built of named parts.

Inside a priority users take turns: a request's turn is the number of requests of the same user that are ahead
of it, in work or waiting, so that a user's thousand requests do not delay another user's one. A request may
start when its queue is open (not paused, with room at its workers) and its user is below the user's limit.

No part reads a backlog: of each user the first few rows come from an index, whatever lies behind them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    CTE,
    BindParameter,
    ColumnElement,
    FromClause,
    Integer,
    Select,
    and_,
    bindparam,
    case,
    cast,
    exists,
    func,
    literal,
    literal_column,
    or_,
    select,
    true,
    union_all,
)

from pipeline3d.database.tables import jobs, models, pauses, users, workers
from pipeline3d.requests.admission import Admission
from pipeline3d.requests.leases import IS_IN_LINE, IS_QUEUED, claimable, make_seconds, past_or_unset
from pipeline3d.requests.reading import IS_OWNED_BY_RUN
from pipeline3d.values import Kind

EVERY_QUEUE = "*"
"""Stands for all queues in a pause."""

ONE = literal_column("1", Integer)
"""Not bound: the plan of a prepared statement goes by it."""

JOB_COLUMNS = ("id", "priority", "created_at")

AT_MOST: BindParameter[int] = bindparam("at_most", type_=Integer)
"""How many requests somebody wants to know of; more are never looked at."""


def plan_turns(kinds: Sequence[Kind] | None, admission: Admission | None) -> CTE:
    """The requests that may start now: each with its turn, its place in its queue, and the queue's room.

    Those with a place up to the room are admitted; a few more are named so that one can tell whether there
    are more. Without an admission every queue that is not paused is open, and has room for all.
    """
    in_work = list_in_work()
    queues = open_queues(admission, in_work)
    waiting = waiting_users(queues, kinds)
    heads = first_of_each_user(waiting, in_work, None if admission is None else admission.jobs_per_user)
    below_limit = select(*heads.c).where(or_(heads.c.may_start.is_(None), heads.c.may_start > 0)).cte("below")
    candidates = requests_of(next_users(below_limit))
    within_limit = or_(candidates.c.may_start.is_(None), candidates.c.number <= candidates.c.may_start)
    return select(*candidates.c, place_of(candidates)).where(within_limit).cte("turns")


def count_startable(kinds: Sequence[Kind] | None, admission: Admission | None) -> CTE:
    """The open queues, and how many requests may start in each: one more than its room is as good as many.

    The count ends there, whoever waits after it. So it takes no order, and no join that would read all first.
    """
    in_work = list_in_work()
    queues = open_queues(admission, in_work)
    waiting = waiting_users(queues, kinds)
    in_work_of_user = select(func.count()).where(in_work.c.user_id == waiting.c.user_id)
    own_limit = select(users.c.max_concurrent_jobs).where(users.c.id == waiting.c.user_id)
    limit = func.coalesce(
        own_limit.correlate(waiting).scalar_subquery(),
        literal(None if admission is None else admission.jobs_per_user, Integer),
    )
    left = case(
        (
            limit.is_not(None),
            func.greatest(limit - in_work_of_user.correlate(waiting).scalar_subquery(), 0),
        )
    )
    of_user = first_jobs(waiting).limit(func.least(left, looked_at(waiting))).lateral("of_user")
    of_queue = (
        select(of_user.c.id)
        .join_from(waiting, of_user, true())
        .where(waiting.c.queue == queues.c.queue)
        .limit(looked_at(queues))
        .correlate(queues)
        .subquery("of_queue")
    )
    startable = select(func.count(of_queue.c.id)).select_from(of_queue).correlate(queues).scalar_subquery()
    return select(*queues.c, startable.label("startable")).cte("startable")


def plan_waiting(in_work: CTE) -> CTE:
    """The first of all requests that nobody has dispatched, whatever holds them back, as in `plan_turns`."""
    waits = and_(IS_IN_LINE, past_or_unset(jobs.c.lease_until))
    depth = AT_MOST + 1
    queues = select(models.c.queue, depth.label("depth"), depth.label("room")).distinct().cte("queues")
    heads = first_of_each_user(waiting_users(queues, None), in_work, None, waits)
    candidates = requests_of(next_users(heads), waits)
    return select(*candidates.c, place_of(candidates)).cte("turns")


def place_of(candidates: CTE) -> ColumnElement[int]:
    """The place of a request in its queue, by urgency and turn."""
    by_urgency = (candidates.c.priority.desc(), candidates.c.turn, candidates.c.created_at, candidates.c.id)
    return func.row_number().over(partition_by=candidates.c.queue, order_by=by_urgency).label("place")


def list_in_work() -> CTE:
    """What counts as a user's requests in work: owned by a run, or on the way to one."""
    job = select(jobs.c.user_id, models.c.queue, IS_QUEUED.label("dispatched")).join(models)
    return union_all(job.where(IS_OWNED_BY_RUN), job.where(IS_QUEUED, is_dispatched())).cte("in_work")


def is_dispatched() -> ColumnElement[bool]:
    """Whether a queued request is on its way to a run."""
    return jobs.c.lease_until > func.now()


def is_paused(queue: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether somebody paused the queue, or all of them."""
    return exists().where(pauses.c.queue.in_([queue, EVERY_QUEUE]))


def count_slots(silent_after_s: float) -> Select[Any]:
    """How many runs the live workers of each queue can have at a time, those that drain left out."""
    served = func.unnest(workers.c.queues).table_valued("queue", name="served").render_derived()
    return (
        select(served.c.queue, func.sum(workers.c.concurrency).label("slots"))
        .join_from(workers, served, true())
        .where(~workers.c.draining, is_live(silent_after_s))
        .group_by(served.c.queue)
    )


def is_live(silent_after_s: float) -> ColumnElement[bool]:
    """Whether a worker gave a sign of life that recently."""
    return workers.c.heartbeat_at > func.now() - make_seconds(silent_after_s)


def open_queues(admission: Admission | None, in_work: CTE) -> CTE:
    """The queues that are not paused and have room: how many more requests they take now, of how many."""
    if admission is None:
        depth = AT_MOST + 1
        unlimited = select(models.c.queue, depth.label("depth"), depth.label("room")).distinct()
        return unlimited.where(~is_paused(models.c.queue)).cte("open_queues")
    slots = count_slots(admission.silent_after_s).cte("slots")
    on_the_way = (
        select(in_work.c.queue, func.count().label("requests"))
        .where(in_work.c.dispatched)
        .group_by(in_work.c.queue)
        .cte("on_the_way")
    )
    # the SQL of `Admission.depth`; a test holds the two together
    depth = cast(
        func.greatest(admission.least_depth, func.ceil(admission.dispatched_per_slot * slots.c.slots)),
        Integer,
    )
    room = depth - cast(func.coalesce(on_the_way.c.requests, 0), Integer)
    return (
        select(slots.c.queue, depth.label("depth"), room.label("room"))
        .outerjoin_from(slots, on_the_way, on_the_way.c.queue == slots.c.queue)
        .where(room > 0, ~is_paused(slots.c.queue))
        .cte("open_queues")
    )


def waiting_users(queues: CTE, kinds: Sequence[Kind] | None) -> CTE:
    """Each model of an open queue with each user who waits for it, found by jumping through the index."""
    asked = models.c.kind.in_(kinds) if kinds is not None else true()
    open_models = (
        select(models.c.id.label("model_id"), *queues.c)
        .join(queues, queues.c.queue == models.c.queue)
        .where(asked)
        .cte("open_models")
    )
    # the whole order of the index, so that no other index looks as good
    order = (jobs.c.user_id, *by_priority_and_age(jobs))
    of_model = select(jobs.c.user_id).where(IS_IN_LINE).order_by(*order).limit(ONE)
    first = of_model.where(jobs.c.model_id == open_models.c.model_id).lateral("first_user")
    waiting = (
        select(*open_models.c, first.c.user_id)
        .join_from(open_models, first, true())
        .cte("waiting", recursive=True)
    )
    following = of_model.where(
        jobs.c.model_id == waiting.c.model_id, jobs.c.user_id > waiting.c.user_id
    ).lateral("next_user")
    columns = [column for column in waiting.c if column.name != "user_id"]
    return waiting.union_all(select(*columns, following.c.user_id).join_from(waiting, following, true()))


def first_of_each_user(
    waiting: CTE, in_work: CTE, jobs_per_user: int | None, which: ColumnElement[bool] | None = None
) -> CTE:
    """The first request of each user for each model, and how many more the user may have in work."""
    of_user = count_in_work(in_work, "user_id").cte("of_user")
    in_queue = count_in_work(in_work, "user_id", "queue").cte("in_queue")
    limit = func.coalesce(users.c.max_concurrent_jobs, literal(jobs_per_user, Integer))
    may_start = limit - func.coalesce(of_user.c.jobs, 0)
    head = first_jobs(waiting, which).limit(ONE).lateral("head")
    own, order = (waiting.c.queue, waiting.c.user_id), by_priority_and_age(head)
    return (
        select(
            *waiting.c,
            func.coalesce(in_queue.c.jobs, 0).label("in_work"),
            may_start.label("may_start"),
            # the user's first request in this queue, whichever model it is for
            *(
                func.first_value(head.c[name]).over(partition_by=own, order_by=order).label(name)
                for name in JOB_COLUMNS
            ),
        )
        .select_from(waiting)
        .join(users, users.c.id == waiting.c.user_id)
        .outerjoin(of_user, of_user.c.user_id == waiting.c.user_id)
        .outerjoin(
            in_queue, and_(in_queue.c.user_id == waiting.c.user_id, in_queue.c.queue == waiting.c.queue)
        )
        .join(head, true())
        .cte("heads")
    )


def count_in_work(in_work: CTE, *by: str) -> Select[Any]:
    """How many requests are in work, by these columns."""
    columns = [in_work.c[name] for name in by]
    return select(*columns, func.count().label("jobs")).group_by(*columns)


def next_users(heads: CTE) -> CTE:
    """Of each queue the users whose turn is next: as many as there is room, for nobody else is chosen."""
    by_urgency = (heads.c.priority.desc(), heads.c.in_work, heads.c.created_at, heads.c.id)
    standing = func.dense_rank().over(partition_by=heads.c.queue, order_by=by_urgency)
    ranked = select(*heads.c, standing.label("standing")).subquery("ranked")
    return select(*ranked.c).where(ranked.c.standing <= looked_at(ranked)).cte("next_users")


def requests_of(users_and_models: CTE, which: ColumnElement[bool] | None = None) -> CTE:
    """The first few requests of these users, with their turns."""
    of = users_and_models.c
    first = first_jobs(users_and_models, which).limit(looked_at(users_and_models)).lateral("first_jobs")
    ahead = func.row_number().over(
        partition_by=(of.queue, of.user_id, first.c.priority), order_by=(first.c.created_at, first.c.id)
    )
    number = func.row_number().over(partition_by=of.user_id, order_by=by_priority_and_age(first))
    return (
        select(
            *(of[name] for name in ("user_id", "queue", "depth", "room", "may_start")),
            *(first.c[name] for name in JOB_COLUMNS),
            (of.in_work + ahead - 1).label("turn"),
            number.label("number"),
        )
        .join_from(users_and_models, first, true())
        .cte("candidates")
    )


def first_jobs(of: CTE, which: ColumnElement[bool] | None = None) -> Select[Any]:
    """What a user asks of a model and may be leased (or `which`), in the order in which the user gets it."""
    return (
        select(jobs.c.id, jobs.c.priority, jobs.c.created_at)
        .where(
            claimable() if which is None else which,
            jobs.c.model_id == of.c.model_id,
            jobs.c.user_id == of.c.user_id,
        )
        .order_by(*by_priority_and_age(jobs))
    )


def by_priority_and_age(job: FromClause) -> tuple[ColumnElement[Any], ...]:
    """The order of one user's requests."""
    return (job.c.priority.desc(), job.c.created_at, job.c.id)


def looked_at(of: FromClause) -> ColumnElement[int]:
    """How many are looked at in a queue: one more than can be taken, to tell whether there are more."""
    return func.least(AT_MOST, of.c.room) + 1
