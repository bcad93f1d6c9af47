"""When a snapshot is read: hardly ever while somebody waits, and never twice at once."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta

import pytest

from pipeline3d.errors import DatabaseUnavailable
from pipeline3d.requests.queue_snapshot import QueueSnapshot
from pipeline3d.requests.snapshot_keeper import (
    HURRIED_REST_FACTOR,
    RENEWED_AFTER_S,
    REST_FACTOR,
    TOO_OLD_S,
    SnapshotKeeper,
)

START = datetime(2026, 1, 1, tzinfo=UTC)


class Database:
    """Answers when it is told to, by a clock that is moved by hand. `number` says which answer one has."""

    def __init__(self):
        self.now_s = 100.0
        self.asked = 0
        self.takes_s = 0.0
        self.open = asyncio.Event()
        self.open.set()
        self.error = None
        self.keeper = SnapshotKeeper(self.read, lambda: self.now_s)

    async def read(self):
        self.asked += 1
        taken_at = START + timedelta(seconds=self.now_s)
        await self.open.wait()
        self.now_s += self.takes_s
        if self.error is not None:
            raise self.error
        return QueueSnapshot(taken_at=taken_at, queues={}, models={})

    async def looked(self):
        """Look, and let what goes on behind the back come to its end."""
        view = await self.keeper.look()
        for _ in range(10):
            await asyncio.sleep(0)
        return view


def scenario(test):
    """Run an async test, whose one argument is a `Database`, on a loop of its own."""

    def run():
        async def all_of_it():
            database = Database()
            try:
                await asyncio.wait_for(test(database), 10)
            finally:
                await database.keeper.close()

        asyncio.run(all_of_it())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


@scenario
async def test_the_first_waits_and_the_others_are_answered_at_once(database):
    assert (await database.looked()).is_after_question
    assert not (await database.looked()).is_after_question
    assert database.asked == 1


@scenario
async def test_an_old_one_is_renewed_behind_the_back_of_those_who_ask(database):
    first = await database.looked()
    database.now_s += RENEWED_AFTER_S
    database.open.clear()
    for _ in range(5):
        assert (await database.looked()).snapshot is first.snapshot
    assert database.asked == 2, "one at a time"
    database.open.set()
    await database.looked()
    assert (await database.looked()).snapshot is not first.snapshot
    assert database.asked == 2


@scenario
async def test_nobody_is_answered_from_one_that_is_too_old(database):
    first = await database.looked()
    database.now_s += TOO_OLD_S
    assert (await database.keeper.look()).snapshot is first.snapshot
    database.error = DatabaseUnavailable("It is away for a moment.")
    await database.looked()
    database.error = None
    database.now_s += 0.1
    assert (await database.looked()).snapshot is not first.snapshot


@scenario
async def test_one_that_took_long_is_renewed_less_often(database):
    database.takes_s = 0.1
    await database.looked()
    database.now_s += 0.1 * REST_FACTOR - 0.01
    await database.looked()
    assert database.asked == 1
    database.now_s += 0.01
    await database.looked()
    assert database.asked == 2


@scenario
async def test_one_that_takes_long_is_not_too_old_before_it_may_be_renewed(database):
    database.takes_s = 1.0
    first = await database.looked()
    database.now_s += REST_FACTOR
    assert (await database.keeper.look()).snapshot is first.snapshot


@scenario
async def test_nothing_is_read_while_nobody_asks(database):
    await database.looked()
    database.now_s += 3600
    await asyncio.sleep(0)
    assert database.asked == 1


@scenario
async def test_the_time_goes_on_by_the_clock_of_postgres(database):
    database.takes_s = 0.01
    view = await database.looked()
    assert view.now - view.snapshot.taken_at == timedelta(seconds=0.01)
    database.now_s += 0.5
    view = await database.looked()
    assert view.now == START + timedelta(seconds=database.now_s)


@scenario
async def test_who_needs_a_newer_one_gets_one_that_began_after_the_question(database):
    database.open.clear()
    earlier = asyncio.create_task(database.keeper.look_anew())
    while not database.asked:
        await asyncio.sleep(0)
    later = [asyncio.create_task(database.keeper.look_anew()) for _ in range(5)]
    await asyncio.sleep(0)
    database.open.set()
    first = await earlier
    views = await asyncio.gather(*later)
    assert all(view.snapshot is views[0].snapshot is not first.snapshot for view in views)
    assert database.asked == 2, "all of them share it"


@scenario
async def test_even_those_who_wait_leave_postgres_some_peace(database):
    database.takes_s = 0.001
    await database.keeper.look_anew()
    loop = asyncio.get_running_loop()
    began = loop.time()
    await database.keeper.look_anew()
    assert loop.time() - began >= 0.001 * HURRIED_REST_FACTOR * 0.9


@scenario
async def test_who_is_impatient_waits_only_where_it_is_quick(database):
    database.takes_s = 0.1
    assert (await database.keeper.look_anew_soon(0.01)).is_after_question, "nothing is known to be slow yet"
    database.now_s += 0.1 * HURRIED_REST_FACTOR
    assert await database.keeper.look_anew_soon(0.2) is None, "Postgres rests as from those who do not wait"
    database.now_s += 0.1 * (REST_FACTOR - HURRIED_REST_FACTOR)
    assert await database.keeper.look_anew_soon(0.05) is None, "it takes longer"
    assert (await database.keeper.look_anew_soon(0.2)).is_after_question
    assert database.asked == 2
    database.now_s += 0.1 * REST_FACTOR
    database.open.clear()
    waiting = asyncio.create_task(database.keeper.look_anew())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert await database.keeper.look_anew_soon(0.2) is None, "one is being read"
    database.open.set()
    await waiting


@scenario
async def test_who_stops_waiting_takes_it_from_nobody(database):
    database.open.clear()
    impatient = asyncio.create_task(database.keeper.look())
    patient = asyncio.create_task(database.keeper.look())
    while not database.asked:
        await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.sleep(0)
    database.open.set()
    assert await patient is not None


def test_an_outage_is_told_of_once_and_breaks_no_answer_that_can_be_given(caplog):
    async def go_through(database):
        first = await database.looked()
        database.error = DatabaseUnavailable("Postgres does not answer.")
        for _ in range(3):
            database.now_s += RENEWED_AFTER_S + 0.1
            for _ in range(2):
                assert (await database.looked()).snapshot is first.snapshot
        assert database.asked == 4, "no more often than as if nothing were wrong"
        database.now_s += TOO_OLD_S
        assert await database.looked() is None, "what is too old is not told"
        database.error = None
        assert (await database.looked()).snapshot is not first.snapshot
        database.error = DatabaseUnavailable("Postgres does not answer.")
        assert await database.keeper.look_anew() is None

    with caplog.at_level(logging.WARNING):
        scenario(go_through)()
    assert [record.getMessage() for record in caplog.records] == [
        "The queue cannot be read: database_unavailable: Postgres does not answer."
    ] * 2


@scenario
async def test_a_fault_of_ours_reaches_who_waits(database):
    database.error = KeyError("a fault")
    with pytest.raises(KeyError):
        await database.looked()
