"""Statements on a driver of their own: what becomes of them, and of the connections that they run on."""

from __future__ import annotations

import asyncio
import socket

import pytest
from sqlalchemy import (
    Column,
    Integer,
    MetaData,
    Table,
    Text,
    bindparam,
    func,
    insert,
    literal_column,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from pipeline3d.database import direct_statements
from pipeline3d.database.direct_statements import DirectStatements
from pipeline3d.database.engines import create_asyncio_engine, parse_database_url
from pipeline3d.database.single_statements import fetch_all
from pipeline3d.errors import DatabaseUnavailable
from pipeline3d.requests import creation, idempotency, reading
from pipeline3d.requests.idempotency import KeyUse
from pipeline3d.values import Family, Kind
from pipeline3d_tests.servers import wait_until

WHO = select(func.pg_backend_pid().label("pid"))
SLEEP = select(func.pg_sleep(bindparam("seconds", type_=Integer)))
END = select(
    func.pg_terminate_backend(bindparam("pid", type_=Integer), literal_column("5000")).label("ended")
)
ASLEEP = text(
    "SELECT count(*) AS n FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"
    " AND state = 'active' AND datname = current_database()"
)


def ask(database_url, question, *, most_connections=1):
    """What a coroutine says that has statements on so many connections."""

    async def run():
        direct = DirectStatements(parse_database_url(database_url), most_connections=most_connections)
        try:
            return await question(direct)
        finally:
            await direct.close()
            assert direct.resting == 0

    return asyncio.run(run())


async def pid_of(direct):
    [row] = await direct.fetch(WHO, {})
    return row.pid


def test_rows_have_their_columns_by_name_and_the_connection_is_used_again(database_url):
    async def question(direct):
        [row] = await direct.fetch(WHO, {})
        assert row._asdict() == {"pid": row.pid}
        with pytest.raises(AttributeError, match="nothing"):
            _ = row.nothing
        return {row.pid, await pid_of(direct), await pid_of(direct)}

    assert len(ask(database_url, question, most_connections=3)) == 1


def test_no_more_connections_are_opened_than_may_be(database_url):
    async def question(direct):
        pids = set(await asyncio.gather(*(pid_of(direct) for _ in range(20))))
        assert direct.resting == len(pids)
        return pids

    assert len(ask(database_url, question, most_connections=3)) == 3


def test_who_waits_too_long_for_a_connection_is_told(database_url, monkeypatch):
    monkeypatch.setattr(direct_statements, "POOL_TIMEOUT_S", 0.02)

    async def question(direct):
        busy = asyncio.create_task(direct.fetch(SLEEP, {"seconds": 30}))
        while not direct._turns.locked():
            await asyncio.sleep(0)
        with pytest.raises(PoolTimeout):
            await direct.fetch(WHO, {})
        busy.cancel()
        await asyncio.wait([busy])
        return await pid_of(direct)

    assert ask(database_url, question)


def test_who_stops_waiting_interrupts_the_statement_and_takes_no_connection_away(database_url, engine):
    async def question(direct):
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await direct.fetch(SLEEP, {"seconds": 30})
        return await pid_of(direct)

    assert ask(database_url, question)
    with engine.connect() as connection:
        connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        wait_until(lambda: connection.execute(ASLEEP).one().n == 0, what="Postgres stops them")


def test_what_is_in_use_at_the_end_is_closed_after_its_statement(database_url):
    async def question(direct):
        asleep = asyncio.create_task(direct.fetch(select(func.pg_sleep(0.1).label("slept")), {}))
        await pid_of(direct)  # on another connection, while the first one is in use
        await direct.close()
        assert len(await asleep) == 1
        return direct.resting

    assert ask(database_url, question, most_connections=2) == 0


@pytest.mark.parametrize("url", ["postgresql://nobody@127.0.0.1:1/none", "wrong password", "no database"])
def test_a_server_that_cannot_be_used_is_told_by_its_class(url, postgres_server):
    if url == "wrong password":
        url = postgres_server.url().replace(postgres_server.password, "wrong")
    if url == "no database":
        url = postgres_server.url().rsplit("/", 1)[0] + "/there_is_none"
    with pytest.raises(DatabaseUnavailable) as caught:
        ask(url, pid_of)
    assert "wrong" not in str(caught.value)


def test_a_connection_that_died_at_rest_is_replaced(database_url, engine):
    async def question(direct):
        first = await pid_of(direct)
        with engine.begin() as connection:  # the loop does not hear of it before the next statement
            assert connection.execute(END, {"pid": first}).one().ended
        return first, await pid_of(direct), direct.resting

    first, second, resting = ask(database_url, question, most_connections=3)
    assert first != second
    assert resting == 1


def test_a_connection_is_asked_after_a_long_rest(database_url, monkeypatch):
    monkeypatch.setattr(direct_statements, "TRUSTED_IDLE_S", -1.0)

    async def question(direct):
        first = await pid_of(direct)
        assert await pid_of(direct) == first
        # as behind a firewall that forgot it: the socket says nothing, and leads nowhere
        direct._resting[0].connection._transport.get_extra_info("socket").shutdown(socket.SHUT_WR)
        return first, await pid_of(direct)

    first, second = ask(database_url, question)
    assert first != second


def test_a_connection_that_dies_in_use_is_an_unavailable_database(database_url):
    async def question(direct):
        with pytest.raises(DatabaseUnavailable):
            await direct.fetch(select(func.pg_terminate_backend(func.pg_backend_pid())), {})
        return await pid_of(direct)

    assert ask(database_url, question)


def test_a_server_that_vanished_is_missed_soon(database_url):
    async def question(direct):
        await pid_of(direct)
        line = direct._resting[0].connection._transport.get_extra_info("socket")
        assert line.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        return [
            line.getsockopt(socket.IPPROTO_TCP, option)
            for option in (
                *(socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT),
                socket.TCP_USER_TIMEOUT,
            )
        ]

    assert ask(database_url, question) == [15, 5, 3, 30_000]


def test_an_error_of_a_statement_is_that_of_an_engine_and_leaves_the_connection(database_url):
    numbers = Table("numbers", MetaData(), Column("one", Integer, primary_key=True), prefixes=["TEMPORARY"])

    async def question(direct):
        first = await pid_of(direct)
        line = direct._resting[0].connection
        await line.execute("CREATE TEMPORARY TABLE numbers (one int PRIMARY KEY)")
        store = insert(numbers).returning(numbers.c.one)
        assert (await direct.fetch(store, {"one": 41}))[0].one == 41
        with pytest.raises(IntegrityError) as twice:
            await direct.fetch(store, {"one": 41})
        with pytest.raises(DBAPIError) as divided:
            await direct.fetch(select(literal_column("1") / bindparam("by", type_=Integer)), {"by": 0})
        assert await pid_of(direct) == first
        return [error.value.orig.sqlstate for error in (twice, divided)]

    assert ask(database_url, question) == ["23505", "22012"]


def test_a_statement_is_prepared_anew_where_its_table_changed(database_url):
    things = Table("things", MetaData(), Column("name", Text))
    read = select(things)

    async def question(direct):
        await pid_of(direct)
        line = direct._resting[0].connection
        await line.execute("CREATE TEMPORARY TABLE things (name varchar)")
        await line.execute("INSERT INTO things VALUES ('first')")
        told = [row.name for row in await direct.fetch(read, {})]
        await line.execute("ALTER TABLE things ALTER name TYPE text")
        return [*told, *(row.name for row in await direct.fetch(read, {}))]

    assert ask(database_url, question) == ["first", "first"]


def test_both_drivers_say_the_same_of_what_is_asked_most(database_url, rows):
    def make_job(number):
        return creation.NewJob(
            id=creation.new_job_id(),
            user_id=rows.user_id,
            model_id="sculpt-v1",
            kind=Kind.TEXT_TO_3D,
            family=Family.MODEL_REQUESTS,
            prompt="ein Stuhl für 5 €",
            input_params={},
            params={"seed": number},
            tags=("a", "ü"),
            deadline_in_s=60,
        )

    async def question(direct):
        engine = create_asyncio_engine(database_url)
        told = []
        try:
            for number, run in enumerate(
                (direct.fetch, lambda statement, values: fetch_all(engine, statement, values))
            ):
                use = KeyUse(user_id=rows.user_id, key=f"key-{number}", request_hash="hash")
                job = make_job(number)
                create = creation.create_jobs(keyed=True, uploads=False)
                values = creation.values_of([job], key=use)
                [made] = await run(create, values)
                assert await run(create, values) == []  # the key was taken
                [document] = await run(reading.read_job_document(), {"the_job": job.id})
                assert f'"{job.id}"' in document.document
                keep = {"the_user": rows.user_id, "the_key": use.key, "the_hash": "hash", "the_status": 201}
                [kept] = await run(idempotency.keep_answer(), {**keep, "the_answer": "first ü"})
                [again] = await run(idempotency.keep_answer(), {**keep, "the_answer": "second"})
                assert again._asdict() == kept._asdict() == {"status": 201, "answer": "first ü"}
                left = made.deadline - made.created_at
                shown = {**made._asdict(), "deadline": left}
                own = {name: shown.pop(name) for name in ("id", "created_at", "updated_at")}
                assert own["id"] == job.id
                assert own["created_at"].tzinfo is not None
                # ids of events differ, and nobody reads the void of those that were told
                told.append({name: shown[name] for name in shown if not name.startswith(("told_", "event_"))})
        finally:
            await engine.dispose()
        return told

    first, second = ask(database_url, question)
    assert first == second
