import re
from pathlib import Path

import pytest

from pipeline3d.local.environment import (
    build_environment,
    plan_embedded_servers,
    plan_studio_origins,
    plan_wanted_ports,
)
from pipeline3d.local.state import PORT_NAMES, LocalState

STATE = LocalState(
    ports={name: 5000 + number for number, name in enumerate(PORT_NAMES)},
    postgres_password="pg-secret",
    object_store_access_key="access",
    object_store_secret_key="s3-secret",
    superuser_password="first",
    api_signing_secret="sign",
)
DATA = Path("/data")
CHECKOUT = Path(__file__).parents[3]


def build(configured):
    return build_environment(STATE, data_directory=DATA, configured=configured)


def test_without_configuration_everything_is_embedded():
    environment = build({})
    assert environment["DATABASE_URL"] == "postgresql://pipeline3d:pg-secret@127.0.0.1:5000/pipeline3d"
    assert (
        environment["DAGSTER_PG_URL"] == "postgresql+psycopg2://pipeline3d:pg-secret@127.0.0.1:5000/dagster"
    )
    assert environment["MINIO_ENDPOINT"] == "127.0.0.1:5001"
    assert environment["MINIO_SECURE"] == "false"
    assert environment["DAGSTER_HOME"] == "/data/dagster"
    assert environment["PIPELINE3D_API_PORT"] == "5002"


@pytest.mark.parametrize(
    ("configured", "embedded"),
    [
        ({}, {"postgres", "objects"}),
        ({"DATABASE_URL": ""}, {"postgres", "objects"}),  # empty counts as unset
        ({"DATABASE_URL": "postgresql://db/x"}, {"objects"}),
        ({"MINIO_ENDPOINT": "s3:9000"}, {"postgres"}),
        ({"DATABASE_URL": "postgresql://db/x", "MINIO_ENDPOINT": "s3:9000"}, set()),
    ],
)
def test_a_configured_address_switches_its_server_off(configured, embedded):
    assert plan_embedded_servers(configured) == embedded


def test_a_configured_address_wins_with_all_that_belongs_to_it():
    configured = {
        "DATABASE_URL": "postgresql://db/x",
        "DAGSTER_PG_URL": "postgresql://db/y",
        "MINIO_ENDPOINT": "s3.example.com",
        "MINIO_SECURE": "true",
        "MINIO_ACCESS_KEY": "theirs",
        "MINIO_SECRET_KEY": "theirs-too",
    }
    environment = build(configured)
    assert {name: environment[name] for name in configured} == configured


def test_keys_without_an_address_do_not_lock_the_embedded_store():
    environment = build(
        {"MINIO_ACCESS_KEY": "theirs", "MINIO_SECRET_KEY": "", "DAGSTER_PG_URL": "postgresql://x/y"}
    )
    assert environment["MINIO_ACCESS_KEY"] == "access"
    assert environment["MINIO_SECRET_KEY"] == "s3-secret"
    assert "pg-secret" in environment["DAGSTER_PG_URL"]


def test_a_configured_password_and_other_variables_are_passed_on():
    environment = build({"FIRST_SUPERUSER_PASSWORD": "chosen", "WHISPER_MODEL": "tiny", "LOG_LEVEL": ""})
    assert environment["FIRST_SUPERUSER_PASSWORD"] == "chosen"
    assert environment["WHISPER_MODEL"] == "tiny"
    assert "LOG_LEVEL" not in environment


@pytest.mark.parametrize(
    ("configured", "broker"),
    [
        # a newcomer needs no fourth server
        ({}, "sqla+postgresql+psycopg://pipeline3d:pg-secret@127.0.0.1:5000/pipeline3d"),
        ({"DATABASE_URL": "postgresql+asyncpg://db/x"}, "sqla+postgresql+psycopg://db/x"),
        ({"DATABASE_URL": "postgres://db/x"}, "sqla+postgresql+psycopg://db/x"),
        ({"REDIS_URL": "redis://cache:6379/0"}, "redis://cache:6379/0"),
        ({"BROKER_URL": "amqp://rabbit//", "REDIS_URL": "redis://cache:6379/0"}, "amqp://rabbit//"),
        ({"BROKER_URL": "", "REDIS_URL": "redis://cache:6379/0"}, "redis://cache:6379/0"),  # empty is unset
    ],
)
def test_the_jobs_database_is_the_broker_until_another_one_is_named(configured, broker):
    assert build(configured)["BROKER_URL"] == broker


def test_what_dagsters_configuration_reads_is_always_set():
    named = re.findall(r"env: *([A-Z_0-9]+)", (CHECKOUT / "dagster.yaml").read_text())
    assert named
    assert set(named) <= set(build({}))


def test_chosen_ports_are_read_by_their_variables():
    assert plan_wanted_ports({"PIPELINE3D_API_PORT": "8000", "PIPELINE3D_DAGSTER_PORT": ""}) == {"api": 8000}


def test_pages_of_the_studio_and_configured_ones_may_use_the_store():
    assert plan_studio_origins(STATE, ("https://shop.example",)) == (
        "http://127.0.0.1:5002",
        "http://localhost:5002",
        "https://shop.example",
        "null",  # a page that was led there by a redirect of the API
    )
