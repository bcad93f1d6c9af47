"""Seeding is done at every start: the second time it changes nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import text

from pipeline3d.database.engines import create_sync_engine
from pipeline3d.database.migration import migrate
from pipeline3d.database.tables import api_keys, models, users
from pipeline3d.requests import accounts
from pipeline3d.requests.catalogue import Readiness, find_model, load_catalogue, model_of_row
from pipeline3d.requests.fleet import Fleet, WorkerFacts
from pipeline3d.requests.seeding import announce, seed
from pipeline3d_tests.integration.requests.database_fixtures import CATALOGUE

KEY = "p3d_0123456789abcdef0123456789abcdef"


@pytest.fixture
def blank_engine(fresh_database):
    url = fresh_database()
    migrate(url)
    engine = create_sync_engine(url)
    yield engine
    engine.dispose()


@pytest.fixture
def shipped():
    return load_catalogue(CATALOGUE)


def read_all(engine):
    with engine.connect() as connection:
        return [
            connection.execute(table.select().order_by(table.c.id)).all()
            for table in (users, api_keys, models)
        ]


def test_the_second_time_changes_nothing(blank_engine, shipped):
    first = seed(blank_engine, shipped, username="admin", password="secret", api_key=KEY)
    assert first.created_user
    assert first.stored_key
    assert set(first.changed_models) == {model.id for model in shipped}
    before = read_all(blank_engine)
    assert not seed(blank_engine, shipped, username="admin", password="secret", api_key=KEY).changed_anything
    assert read_all(blank_engine) == before


def test_neither_the_password_nor_the_key_is_stored_in_clear(blank_engine, shipped):
    seed(blank_engine, shipped, username="admin", password="secret-word", api_key=KEY)
    stored = repr(read_all(blank_engine))
    assert "secret-word" not in stored
    assert KEY not in stored


def test_a_password_that_was_changed_since_is_kept(blank_engine, shipped):
    seed(blank_engine, shipped, username="admin", password="first")
    assert not seed(blank_engine, shipped, username="admin", password="second").changed_anything
    with blank_engine.connect() as connection:
        stored = connection.execute(accounts.find_user("admin")).one().password_hash
    assert accounts.is_password("first", stored)


def test_a_new_configured_key_replaces_the_old_one_and_may_come_back(blank_engine, shipped):
    def works(key):
        with blank_engine.connect() as connection:
            return (
                connection.execute(
                    accounts.find_user_of_key(), {"the_hash": accounts.hash_api_key(key)}
                ).first()
                is not None
            )

    seed(blank_engine, shipped, username="admin", password="x", api_key=KEY)
    seed(blank_engine, shipped, username="admin", password="x", api_key="another-key-of-16")
    assert (works(KEY), works("another-key-of-16")) == (False, True)
    seed(blank_engine, shipped, username="admin", password="x", api_key=KEY)
    assert (works(KEY), works("another-key-of-16")) == (True, False)


def test_a_changed_model_is_updated_alone(blank_engine, shipped):
    seed(blank_engine, shipped, username="admin", password="x")
    changed = replace(shipped[1], readiness=Readiness(ready=True))
    report = seed(blank_engine, [shipped[0], changed, *shipped[2:]], username="admin", password="x")
    assert report.changed_models == (changed.id,)
    with blank_engine.connect() as connection:
        stored = model_of_row(connection.execute(find_model(changed.id)).one())
    assert stored == replace(changed, runner=stored.runner, vram_bytes=0, weights=None), "these are not kept"


def test_a_model_that_left_the_catalogue_cannot_be_asked_for(blank_engine, shipped):
    seed(blank_engine, shipped, username="admin", password="x")
    report = seed(blank_engine, shipped[1:], username="admin", password="x")
    assert report.retired_models == (shipped[0].id,)
    with blank_engine.connect() as connection:
        assert connection.execute(find_model(shipped[0].id)).first() is None


@pytest.mark.parametrize(
    "change",
    [
        users.update().values(is_active=False),  # whoever was locked out stays out
        api_keys.update().values(revoked_at=api_keys.c.created_at),
        api_keys.update().values(expires_at=api_keys.c.created_at),
    ],
)
def test_a_key_stops_working_with_its_user_its_revocation_and_its_end(blank_engine, shipped, change):
    seed(blank_engine, shipped, username="admin", password="x", api_key=KEY)
    with blank_engine.begin() as connection:
        assert (
            connection.execute(accounts.find_user_of_key(), {"the_hash": accounts.hash_api_key(KEY)}).first()
            is not None
        )
        connection.execute(change)
        assert (
            connection.execute(accounts.find_user_of_key(), {"the_hash": accounts.hash_api_key(KEY)}).first()
            is None
        )


GPU_HOST = Readiness(ready=True, host="gpu-host")
NOT_HERE = Readiness(ready=False, code="weights_missing", reason="No weights.", host="api-host")


def readiness_of(engine, model_id):
    with engine.connect() as connection:
        return model_of_row(connection.execute(find_model(model_id)).one()).readiness


def test_what_a_worker_elsewhere_can_run_is_ready_until_that_worker_is_forgotten(blank_engine, shipped):
    here = [replace(model, readiness=NOT_HERE) if model.weights else model for model in shipped]
    there = [replace(model, readiness=GPU_HOST) if model.weights else model for model in shipped]
    seed(blank_engine, here, username="admin", password="x")
    assert announce(blank_engine, there, ["cpu"]) == [], "it serves no queue of theirs"
    assert "triposr-v1" in announce(blank_engine, there, ["gpu"])
    assert announce(blank_engine, there, ["gpu"]) == [], "they are ready already"
    fleet = Fleet(blank_engine)
    fleet.register(WorkerFacts(id="w", host="gpu-host", pid=1, queues=("gpu",), concurrency=1))
    seed(blank_engine, here, username="admin", password="x")
    assert readiness_of(blank_engine, "triposr-v1") == GPU_HOST
    with blank_engine.begin() as connection:
        connection.execute(text("DELETE FROM workers"))
    seed(blank_engine, here, username="admin", password="x")
    assert readiness_of(blank_engine, "triposr-v1") == NOT_HERE
