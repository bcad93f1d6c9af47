"""Statements that are compiled once, and URLs that both drivers understand alike."""

from __future__ import annotations

from uuid import uuid4

import pytest
from sqlalchemy import Integer, Uuid, bindparam, column, func, literal, select
from sqlalchemy.dialects.postgresql import JSONB

from pipeline3d.database.direct_statements import DirectStatements, compile_statement, connect_options
from pipeline3d.database.engines import parse_database_url
from pipeline3d.requests import creation, idempotency, reading

SERVER = "postgresql://u:p%40ss@h:5433/d"


@pytest.mark.parametrize(
    ("query", "is_plain"),
    [
        ("", True),
        ("?sslmode=verify-full&sslrootcert=/ca.pem", True),
        ("?ssl=require", True),
        ("?application_name=mine", True),
        ("?options=-c%20search_path%3Da", True),
        ("?connect_timeout=3", False),
        ("?host=/run/postgresql", False),
        ("?target_session_attrs=read-write", False),
        ("?sslmode=require&channel_binding=require", False),
        ("?sslmode=require&sslmode=disable", False),
    ],
)
def test_what_only_libpq_understands_is_left_to_it(query, is_plain):
    assert DirectStatements.can_reach(parse_database_url(SERVER + query)) is is_plain


def test_several_servers_are_left_to_libpq():
    assert not DirectStatements.can_reach(parse_database_url("postgresql://u@one,two/d"))


def test_a_url_says_the_same_to_this_driver():
    url = parse_database_url(f"{SERVER}?ssl=require&sslrootcert=%2Fa%20b.pem&application_name=mine")
    options = connect_options(url)
    assert [options[name] for name in ("host", "port", "user", "password", "database")] == [
        *("h", 5433, "u", "p@ss", "d")
    ]
    assert set(options["dsn"].partition("?")[2].split("&")) == {"sslmode=require", "sslrootcert=%2Fa+b.pem"}
    assert options["server_settings"] == {"application_name": "mine"}
    assert connect_options(parse_database_url(SERVER))["dsn"] is None


@pytest.mark.parametrize(
    "build",
    [
        reading.read_job_document,
        idempotency.keep_answer,
        creation.create_jobs,
        lambda: creation.create_jobs(keyed=True, uploads=False),
    ],
)
def test_what_is_asked_most_is_compiled_once(build):
    assert compile_statement(build()) is compile_statement(build())
    assert "$1" in compile_statement(build()).text


def test_values_come_in_the_order_of_the_text():
    statement = select(
        bindparam("second", type_=Integer), literal("between"), bindparam("first", type_=Uuid)
    ).where(func.coalesce(bindparam("left_out", None, type_=Integer), 1) == 1)
    the_id = uuid4()
    sent = list(compile_statement(statement).arguments({"first": the_id, "second": 2}))
    assert sent == [2, "between", the_id, None, 1, 1]


def test_a_value_that_is_missing_is_said():
    statement = select(bindparam("needed", type_=Integer))
    with pytest.raises(KeyError, match="needed"):
        list(compile_statement(statement).arguments({}))


def test_rows_with_json_are_refused_when_they_are_compiled():
    with pytest.raises(TypeError, match="JSON"):
        compile_statement(select(column("params", JSONB)))
