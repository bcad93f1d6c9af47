"""Pages and counts of a user's own requests: what is chosen, in which order, and where a page ends.

A page without other choices than states reads as many rows as it shows, however long the history is: each
state is read from its own index and the few rows are merged. A page goes on after a place in the order, which
stays the same while requests are added or deleted. The functions are pure and return statements.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Select,
    Subquery,
    Text,
    and_,
    any_,
    cast,
    exists,
    func,
    literal,
    literal_column,
    or_,
    select,
    true,
    tuple_,
)
from sqlalchemy.dialects.postgresql import ARRAY

from pipeline3d.database.tables import jobs, models
from pipeline3d.errors import InvalidParameters
from pipeline3d.requests.reading import IS_VISIBLE
from pipeline3d.values import JobState, Kind

MOST_COUNTED = 100_000
"""Requests that a total counts; one more is as good as many."""

STATES_OF_WORD: dict[str, tuple[JobState, ...]] = {
    **{state.value.lower(): (state,) for state in JobState},
    # what the predecessors called them; a request that is being canceled is in work for all of them
    "pending": (JobState.QUEUED,),
    "waiting": (JobState.QUEUED,),
    "processing": (JobState.RUNNING, JobState.CANCELING),
    "active": (JobState.RUNNING, JobState.CANCELING),
    "completed": (JobState.SUCCEEDED,),
    "complete": (JobState.SUCCEEDED,),
    "error": (JobState.FAILED,),
    "cancelled": (JobState.CANCELED,),
    "cancelling": (JobState.CANCELING,),
}
"""The states that a word stands for, whatever its case."""


class Order(StrEnum):
    """From which end of the history a list is read."""

    NEWEST = "newest"
    OLDEST = "oldest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A request's place in the order of lists."""

    created_at: datetime
    id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Which requests of a user, or (None) of all; what else is None or empty chooses nothing.

    Moments have a time zone.
    """

    user_id: UUID | None
    states: tuple[JobState, ...] = ()
    model_id: str | None = None
    kind: Kind | None = None
    tags: tuple[str, ...] = ()
    batch_id: UUID | None = None
    input_job_id: UUID | None = None
    held: bool | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    completed_after: datetime | None = None
    completed_before: datetime | None = None
    text: str | None = None
    older_than: UUID | None = None
    """Only requests older than this one, which is of the same user."""

    @property
    def is_cheap(self) -> bool:
        """Whether a page reads hardly more rows than it shows."""
        costly = (self.model_id, self.kind, self.input_job_id, self.held, self.text)
        ends = (self.completed_after, self.completed_before)
        return all(value is None for value in (*costly, *ends)) and not self.tags


def states_of_words(words: Iterable[str]) -> tuple[JobState, ...]:
    """The states that these words stand for, each once. Raises InvalidParameters `unknown_status`."""
    found: dict[JobState, None] = {}
    for word in words:
        states = STATES_OF_WORD.get(word.strip().lower())
        if states is None:
            raise InvalidParameters(
                f"{word!r} is no status of a job.",
                code="unknown_status",
                hint=f"There are {', '.join(JobState)}, and the words {', '.join(sorted(STATES_OF_WORD))}.",
            )
        found |= dict.fromkeys(states)
    return tuple(found)


def list_page(
    chosen: JobFilter, *, order: Order = Order.NEWEST, after: Place | None = None, skip: int = 0, limit: int
) -> Select[Any]:
    """A page of requests with the tiers of their models."""
    # what is skipped is read without its columns
    page = _page_of_ids(chosen, order, after, skip + limit).offset(skip).limit(limit).subquery("page")
    return (
        select(jobs, models.c.tier)
        .join(models)
        .join(page, page.c.id == jobs.c.id)
        .order_by(*_in_order(jobs.c, order))
    )


def count_matching(chosen: JobFilter) -> Select[Any]:
    """How many requests are chosen, up to `MOST_COUNTED` + 1."""
    matching: Select[Any] = (
        select(literal_column("1")).select_from(jobs).where(_matches(chosen), _has_state(chosen))
    )
    return select(func.count().label("total")).select_from(matching.limit(MOST_COUNTED + 1).subquery())


def count_by_kind(chosen: JobFilter) -> Select[Any]:
    """How many of each state, model and kind are among the newest `MOST_COUNTED` + 1."""
    counted = (
        select(jobs.c.state, jobs.c.model_id, jobs.c.kind)
        .where(_matches(chosen), _has_state(chosen))
        .order_by(*_in_order(jobs.c, Order.NEWEST))
        .limit(MOST_COUNTED + 1)
        .subquery("counted")
    )
    return select(*counted.c, func.count().label("count")).group_by(*counted.c)


def matches(chosen: JobFilter) -> ColumnElement[bool]:
    """Whether a request is chosen: for statements with an order of their own."""
    return and_(_matches(chosen), _has_state(chosen))


def _page_of_ids(chosen: JobFilter, order: Order, after: Place | None, limit: int) -> Select[Any]:
    """The ids of the first requests after a place."""
    page = select(jobs.c.id, jobs.c.created_at).where(_matches(chosen))
    if after is not None:
        place = tuple_(literal(after.created_at), literal(after.id))
        here = tuple_(jobs.c.created_at, jobs.c.id)
        page = page.where(here < place if order is Order.NEWEST else here > place)
    if len(chosen.states) <= 1:
        return page.where(_has_state(chosen)).order_by(*_in_order(jobs.c, order)).limit(limit)
    return _merged_by_state(page, chosen.states, order, limit)


def _merged_by_state(
    page: Select[Any], states: tuple[JobState, ...], order: Order, limit: int
) -> Select[Any]:
    """The first rows of each of several states, each from its index in order, and of these the first."""
    wanted = literal([state.value for state in states], ARRAY(Text))
    state = func.unnest(wanted).table_valued("state", name="wanted").render_derived()
    of_state: Subquery | Any = (
        page.where(jobs.c.state == state.c.state)
        .order_by(*_in_order(jobs.c, order))
        .limit(limit)
        .lateral("of_state")
    )
    return (
        select(of_state.c.id, of_state.c.created_at)
        .join_from(state, of_state, true())
        .order_by(*_in_order(of_state.c, order))
        .limit(limit)
    )


def _in_order(columns: Any, order: Order) -> tuple[ColumnElement[Any], ...]:
    both = (columns.created_at, columns.id)
    return tuple(column.desc() for column in both) if order is Order.NEWEST else both


def _has_state(chosen: JobFilter) -> ColumnElement[bool]:
    names = [state.value for state in chosen.states]
    if len(names) == 1:
        return jobs.c.state == names[0]
    return jobs.c.state == any_(literal(names, ARRAY(Text))) if names else true()


def _matches(chosen: JobFilter) -> ColumnElement[bool]:
    """Every condition but that on the state."""
    conditions: list[ColumnElement[bool]] = [IS_VISIBLE]
    if chosen.user_id is not None:
        conditions.append(jobs.c.user_id == chosen.user_id)
    for column, value in (
        (jobs.c.model_id, chosen.model_id),
        (jobs.c.kind, chosen.kind),
        (jobs.c.batch_id, chosen.batch_id),
        (jobs.c.input_job_id, chosen.input_job_id),
        (jobs.c.held, chosen.held),
    ):
        if value is not None:
            conditions.append(column == value)
    for moment, after, before in (
        (jobs.c.created_at, chosen.created_after, chosen.created_before),
        (jobs.c.completed_at, chosen.completed_after, chosen.completed_before),
    ):
        if after is not None:
            conditions.append(moment >= after)
        if before is not None:
            conditions.append(moment < before)
    if chosen.tags:
        # the second condition is that of the index
        conditions += [jobs.c.tags.contains(list(chosen.tags)), jobs.c.tags != literal_column("'{}'::text[]")]
    if chosen.older_than is not None:
        conditions.append(_is_older_than(chosen.user_id, chosen.older_than))
    if chosen.text is not None:
        conditions.append(_has_text(chosen.text))
    return and_(*conditions)


def _is_older_than(user_id: UUID | None, job_id: UUID) -> ColumnElement[bool]:
    mark = jobs.alias("mark")
    of_mark = select(mark.c.created_at, mark.c.id).where(mark.c.id == job_id)
    if user_id is not None:
        of_mark = of_mark.where(mark.c.user_id == user_id)
    return tuple_(jobs.c.created_at, jobs.c.id) < of_mark.scalar_subquery()


def _has_text(text: str) -> ColumnElement[bool]:
    """Whether a request has this text where people look for it, in whatever case."""
    anywhere = f"%{_escape(text)}%"
    tag = func.unnest(jobs.c.tags).table_valued("tag", name="each_tag").render_derived()
    value = (
        func.jsonb_path_query(jobs.c.metadata, literal_column("'strict $.**'"))
        .table_valued("value", name="each_value")
        .render_derived()
    )
    as_text = value.c.value.op("#>>")(literal_column("'{}'"))
    is_text = func.jsonb_typeof(value.c.value) == literal_column("'string'")
    return or_(
        jobs.c.prompt.ilike(anywhere),
        jobs.c.model_id.ilike(anywhere),
        cast(jobs.c.id, Text).ilike(f"{_escape(text)}%"),
        exists().select_from(tag).where(tag.c.tag.ilike(anywhere)),
        _input_name().ilike(anywhere),
        and_(
            jobs.c.metadata != literal_column("'{}'::jsonb"),
            exists().select_from(value).where(is_text, as_text.ilike(anywhere)),
        ),
    )


def _input_name() -> ColumnElement[str]:
    """The name of the file that was uploaded: after the last slash of its key, and after the UUID there."""
    key = jobs.c.params.op("->>")(literal_column("'input_path'"))
    return func.substr(func.regexp_replace(key, literal_column("'^.*/'"), literal_column("''")), 38)


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
