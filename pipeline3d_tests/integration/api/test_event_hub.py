"""Who watches hears of every change, in an order from which one can resume, whatever Postgres does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import select

from pipeline3d.api import event_hub, event_order
from pipeline3d.api.event_hub import EventHub
from pipeline3d.database.engines import create_asyncio_engine
from pipeline3d.database.tables import job_events
from pipeline3d.requests import event_log
from pipeline3d.requests.event_types import TYPE_BY_EVENT, JobEventType, event_type_of
from pipeline3d.requests.ledger import JobLedger

Scenario = Callable[[EventHub], Awaitable[None]]


@pytest.fixture
def watching(database_url: str) -> Callable[[Scenario], None]:
    """Runs a scenario with a hub of its own on the test's database."""

    def run(scenario: Scenario) -> None:
        async def whole() -> None:
            hub = EventHub(create_asyncio_engine(database_url, pool_size=1))
            try:
                async with asyncio.timeout(60):
                    await scenario(hub)
            finally:
                await hub.close()

        asyncio.run(whole())

    return run


@pytest.fixture
def writer(database_url: str):
    """Opens connections whose transactions a test commits when it likes."""
    opened: list[psycopg.Connection] = []

    def open_one() -> psycopg.Connection:
        opened.append(psycopg.connect(database_url))
        return opened[-1]

    yield open_one
    for connection in opened:
        connection.close()


def write_line(connection: psycopg.Connection, job_id: UUID, event: str = "progress") -> int:
    """One line of history in the connection's transaction; its id."""
    row = connection.execute(
        "WITH line AS (INSERT INTO job_events (job_id, event_type, payload)"
        " VALUES (%s, 'INFO', jsonb_build_object('event', %s::text, 'state', 'RUNNING')) RETURNING id)"
        " SELECT id, pg_notify('pipeline3d_job_changes', %s) FROM line",
        (job_id, event, str(job_id)),
    ).fetchone()
    assert row is not None
    return int(row[0])


async def begin(ledger: JobLedger, job_id: UUID) -> None:
    """A run takes the job over."""
    await asyncio.to_thread(ledger.begin, job_id, attempt=1, run_id="r", delivers=True)


async def hear(subscription: event_hub.Subscription, count: int) -> list[event_hub.StreamedEvent]:
    """Wait for so many events."""
    events: list[event_hub.StreamedEvent] = []
    while len(events) < count:
        events += await subscription.next(30)
        assert not subscription.is_over
    return events


def test_each_watcher_hears_of_its_own_jobs_only(watching, rows, ledger):
    mine, other = rows.make(), rows.make()
    foreign = rows.make(user_id=rows.user("grace"))

    async def scenario(hub):
        async with (
            hub.subscribe(job_ids=frozenset({mine})) as one,
            hub.subscribe(user_id=rows.user_id) as all_of_mine,
            hub.subscribe(user_id=rows.user_id, job_ids=frozenset({other, foreign})) as chosen,
            hub.subscribe(user_id=rows.user_id, types=frozenset({JobEventType.SUCCEEDED})) as ends,
        ):
            assert hub.watcher_count == 4
            for job_id in (foreign, mine, other):
                await begin(ledger, job_id)
            await asyncio.to_thread(ledger.succeed, mine, "r")
            everything = await hear(all_of_mine, 3)
            assert [(event.job_id, event.type.value) for event in everything] == [
                (mine, "job.started"),
                (other, "job.started"),
                (mine, "job.succeeded"),
            ]
            assert [event.id for event in everything] == sorted(event.id for event in everything)
            assert [event.type for event in one.take()] == [JobEventType.STARTED, JobEventType.SUCCEEDED]
            assert [event.job_id for event in chosen.take()] == [other]
            assert ends.take() == [everything[-1]]
        assert hub.watcher_count == 0

    watching(scenario)


def test_a_lower_id_that_commits_later_is_told_first(watching, rows, writer):
    job_id = rows.make()
    first, second = writer(), writer()

    async def scenario(hub):
        async with hub.subscribe(job_ids=frozenset({job_id})) as subscription:
            low = write_line(first, job_id)
            high = write_line(second, job_id)
            second.commit()
            assert await subscription.next(0.3) == [], "the lower one may yet come"
            assert hub.position < low
            first.commit()
            assert [event.id for event in await hear(subscription, 2)] == [low, high]
            assert hub.position >= high

    watching(scenario)


def test_an_id_that_was_rolled_back_holds_nothing_up(watching, rows, writer):
    job_id = rows.make()
    first, second = writer(), writer()

    async def scenario(hub):
        async with hub.subscribe(job_ids=frozenset({job_id})) as subscription:
            write_line(first, job_id)
            high = write_line(second, job_id)
            second.commit()
            first.rollback()
            [event] = await hear(subscription, 1)
            assert event.id == high
            assert b"id: " in event.frame

    watching(scenario)


def test_a_transaction_that_stays_open_stops_nobody_and_its_line_is_told_once_it_commits(
    watching, rows, writer, monkeypatch
):
    monkeypatch.setattr(event_order, "HOLD_S", 0.1)
    job_id = rows.make()
    slow, quick = writer(), writer()

    async def scenario(hub):
        async with hub.subscribe(job_ids=frozenset({job_id})) as subscription:
            low = write_line(slow, job_id)
            high = write_line(quick, job_id)
            quick.commit()
            [event] = await hear(subscription, 1)
            assert event.id == high
            assert not event.frame.startswith(b"id: "), "who resumes gets it again, with the one before it"
            async with hub.subscribe(job_ids=frozenset({job_id})) as late:
                assert late.since < low, "who comes now reads from before the gap"
            slow.commit()
            [event] = await hear(subscription, 1)
            assert event.id == low
            last = write_line(quick, job_id)
            quick.commit()
            [event] = await hear(subscription, 1)
            assert (event.id, event.frame.startswith(b"id: ")) == (last, True)

    watching(scenario)


def test_a_subscription_that_begins_between_two_commits_is_told_the_second(
    watching, rows, writer, monkeypatch
):
    monkeypatch.setattr(event_order, "HOLD_S", 0.1)
    job_id = rows.make()
    first, second = writer(), writer()

    async def scenario(hub):
        low = write_line(first, job_id)
        write_line(second, job_id)
        second.commit()
        async with hub.subscribe(job_ids=frozenset({job_id})) as subscription:
            assert subscription.since < low
            first.commit()
            # The other one was there already: whoever watches reads it.
            assert [event.id for event in await hear(subscription, 1)] == [low]

    watching(scenario)


def test_a_long_history_in_one_transaction_is_read_page_by_page(watching, rows, writer, monkeypatch):
    monkeypatch.setattr(event_hub, "PAGE", 7)
    job_id = rows.make()
    connection, other = writer(), writer()

    async def scenario(hub):
        async with hub.subscribe(job_ids=frozenset({job_id})) as subscription:
            low = write_line(other, job_id)
            ids = [write_line(connection, job_id) for _ in range(50)]
            connection.commit()
            other.commit()
            assert [event.id for event in await hear(subscription, 51)] == [low, *ids]

    watching(scenario)


def test_a_reader_that_does_not_keep_up_is_let_go_and_keeps_nothing(watching, rows, writer):
    job_id = rows.make()
    connection = writer()

    async def scenario(hub):
        watched = frozenset({job_id})
        async with (
            hub.subscribe(job_ids=watched, max_waiting=3) as slow,
            hub.subscribe(job_ids=watched) as quick,
        ):
            for _ in range(4):
                write_line(connection, job_id)
            connection.commit()
            await hear(quick, 4)
            assert slow.is_over
            assert await slow.next(0) == []

    watching(scenario)


def test_the_hub_comes_back_after_its_connection_was_cut_and_tells_what_it_missed(
    watching, rows, ledger, writer
):
    job_id = rows.make()
    connection = writer()

    async def scenario(hub):
        async with hub.subscribe(user_id=rows.user_id) as subscription:
            cut = (
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            )
            cut += " AND datname = current_database() AND query LIKE '%job_events%'"
            assert connection.execute(cut).fetchone() != (0,)
            connection.commit()
            await begin(ledger, job_id)
            [event] = await hear(subscription, 1)
            assert event.type is JobEventType.STARTED

    watching(scenario)


def test_many_writers_at_once_are_heard_completely_and_in_order(watching, rows, writer):
    jobs = [rows.make() for _ in range(4)]
    connections = [writer() for _ in jobs]

    def write(connection: psycopg.Connection, job_id: UUID) -> list[int]:
        ids = []
        for number in range(60):
            ids.append(write_line(connection, job_id))
            (connection.rollback if number % 5 == 4 else connection.commit)()
            if number % 5 == 4:
                ids.pop()
        return ids

    async def scenario(hub):
        async with hub.subscribe(user_id=rows.user_id) as subscription:
            writing = [
                asyncio.to_thread(write, connection, job_id)
                for connection, job_id in zip(connections, jobs, strict=True)
            ]
            written = sorted(number for ids in await asyncio.gather(*writing) for number in ids)
            heard = await hear(subscription, len(written))
            assert [event.id for event in heard] == written

    watching(scenario)


def test_waiting_for_the_end_of_a_job_ends_with_it(watching, rows, ledger):
    job_id, finished = rows.make(), rows.make()
    ledger.cancel_queued(finished, 1)

    async def scenario(hub):
        async def no() -> bool:
            return False

        async def yes() -> bool:
            return True

        waits = [asyncio.create_task(hub.wait_for_end(job_id, 30, no)) for _ in range(3)]
        assert await hub.wait_for_end(finished, 30, yes), "it had ended before"
        assert not await hub.wait_for_end(job_id, 0.05, no)
        await begin(ledger, job_id)
        await asyncio.to_thread(ledger.succeed, job_id, "r")
        assert await asyncio.gather(*waits) == [True] * 3

    watching(scenario)


def test_a_stop_lets_everybody_go_at_once(watching, rows):
    async def scenario(hub):
        async with hub.subscribe(user_id=rows.user_id) as subscription:
            waiting = asyncio.create_task(subscription.next(30))
            await asyncio.sleep(0)
            hub.end_streams()
            assert await waiting == []
            assert subscription.is_over
        async with hub.subscribe(user_id=rows.user_id) as too_late:
            assert too_late.is_over

    watching(scenario)


def test_the_type_in_sql_is_the_type_in_python(rows, engine):
    payloads = [{"event": name, "state": state or "RUNNING"} for name, state in TYPE_BY_EVENT]
    payloads += [{"event": name, "state": "QUEUED"} for name, _ in TYPE_BY_EVENT]
    payloads += [{}, {"event": "unheard of"}, {"event": 3}, {"state": "FAILED"}]
    job_id = rows.make()
    for payload in payloads:
        rows.run(job_events.insert().values(job_id=job_id, event_type="INFO", payload=payload))
    lines = rows.run(select(job_events.c.payload, event_log.type_of_line().label("type")))
    assert len(lines) == len(payloads) + 1
    assert [line.type for line in lines] == [event_type_of(line.payload) for line in lines]
