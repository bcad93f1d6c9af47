import json
import socket
from dataclasses import replace

import pytest

from pipeline3d.errors import ServerFailure
from pipeline3d.local.state import STATE_FILE, load_or_create_state, load_state, save_state


def test_secrets_are_private_and_stay_the_same(tmp_path):
    data = tmp_path / "a" / ".pipeline3d"
    first = load_or_create_state(data)
    assert load_or_create_state(data) == first
    assert (data / STATE_FILE).stat().st_mode & 0o777 == 0o600
    assert data.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in data.iterdir()] == [STATE_FILE]


def test_two_installations_share_no_secret_and_no_port(tmp_path):
    first, second = load_or_create_state(tmp_path / "a"), load_or_create_state(tmp_path / "b")
    assert first.postgres_password != second.postgres_password
    assert first.object_store_secret_key != second.object_store_secret_key
    assert not set(first.ports.values()) & set(second.ports.values())


def test_a_port_that_somebody_took_is_replaced_and_the_secrets_stay(tmp_path):
    first = load_or_create_state(tmp_path)
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", first.ports["postgres"]))
        holder.listen()
        second = load_or_create_state(tmp_path)
    assert second.ports["postgres"] != first.ports["postgres"]
    assert second.ports["objects"] == first.ports["objects"]
    assert replace(second, ports=first.ports) == first


def test_a_port_that_the_owner_chose_is_kept_even_when_it_was_remembered_for_another(tmp_path):
    first = load_or_create_state(tmp_path)
    wanted = first.ports["objects"]
    second = load_or_create_state(tmp_path, wanted_ports={"api": wanted})
    assert second.ports["api"] == wanted
    assert second.ports["objects"] != wanted


def test_a_damaged_file_is_an_error_and_is_not_replaced(tmp_path):
    """New secrets would lock the owner out of the databases that the old ones protect."""
    load_or_create_state(tmp_path)
    (tmp_path / STATE_FILE).write_text('{"ports": {')
    with pytest.raises(ServerFailure, match="damaged") as failure:
        load_or_create_state(tmp_path)
    assert failure.value.code == "local_state_damaged"
    assert (tmp_path / STATE_FILE).read_text() == '{"ports": {'


def test_a_state_from_an_older_version_without_a_new_secret_gets_one(tmp_path):
    state = load_or_create_state(tmp_path)
    content = json.loads((tmp_path / STATE_FILE).read_text())
    del content["api_signing_secret"]
    (tmp_path / STATE_FILE).write_text(json.dumps(content))
    again = load_or_create_state(tmp_path)
    assert again.postgres_password == state.postgres_password
    assert again.api_signing_secret


def test_secrets_are_not_shown_in_a_representation(tmp_path):
    state = load_or_create_state(tmp_path)
    for secret in (state.postgres_password, state.object_store_secret_key, state.superuser_password):
        assert secret not in repr(state)


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    state = load_or_create_state(tmp_path)
    monkeypatch.setattr("json.dump", lambda *_, **__: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        save_state(tmp_path, state)
    assert load_state(tmp_path) == state
    assert [path.name for path in tmp_path.iterdir()] == [STATE_FILE]


def test_a_data_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ServerFailure, match="cannot be used") as failure:
        load_or_create_state(tmp_path / "file" / "data")
    assert failure.value.code == "data_directory_unusable"
