"""The doctor names what is wrong and what to do, and never crashes."""

import socket
from pathlib import Path

import pytest

from pipeline3d.doctor import Level, check_broker, check_disk, check_models, examine
from pipeline3d.installation import Installation
from pipeline3d.settings import Settings


def settings(**values) -> Settings:
    return Settings(_env_file=None, **values)


def test_before_the_first_start_everything_embedded_is_a_note_and_nothing_a_problem(tmp_path):
    fresh = settings(pipeline3d_data_dir=tmp_path)
    installation = Installation(
        settings=fresh, environment={}, embedded=frozenset({"postgres", "objects"}), state=None
    )
    findings = {finding.part: finding for finding in examine(installation)}
    assert findings["database"].level is Level.NOTE
    assert "make up" in findings["database"].message
    assert not [finding for finding in findings.values() if finding.level is Level.PROBLEM]


def test_a_configured_service_that_does_not_answer_is_a_problem_with_advice(tmp_path):
    broken = settings(
        pipeline3d_data_dir=tmp_path,
        database_url="postgresql://u:secret-word@127.0.0.1:1/d",
        dagster_pg_url="postgresql://u:secret-word@127.0.0.1:1/e",
        minio_endpoint="127.0.0.1:1",
        minio_access_key="key",
        minio_secret_key="secret-word",
        redis_url="redis://127.0.0.1:1",
    )
    installation = Installation(settings=broken, environment={}, embedded=frozenset(), state=None)
    findings = {finding.part: finding for finding in examine(installation)}
    for part in ("database", "dagster database", "object store", "broker", "workers"):
        assert findings[part].level is Level.PROBLEM, part
        assert findings[part].advice, part
        assert "secret-word" not in findings[part].message


def test_a_folder_that_cannot_be_written_is_named():
    (finding,) = check_disk(Path("/proc/1/nowhere"))
    assert finding.level is Level.PROBLEM or finding.message
    assert "/proc" in finding.message


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_something_that_is_not_a_broker_is_recognised(scheme):
    with socket.create_server(("127.0.0.1", 0)) as server:
        import threading

        def answer() -> None:
            while True:
                try:
                    link, _ = server.accept()
                except OSError:
                    return
                with link:
                    link.recv(64)
                    link.sendall(b"HTTP/1.1 400 Bad Request\r\n")

        threading.Thread(target=answer, daemon=True).start()
        (finding,) = check_broker(f"{scheme}://:secret-word@127.0.0.1:{server.getsockname()[1]}")
    assert finding.level is Level.PROBLEM
    assert "REDIS_URL" in finding.advice
    assert "secret-word" not in finding.message


def test_without_a_broker_of_its_own_postgres_is_named():
    (finding,) = check_broker(None)
    assert finding.level is Level.OK
    assert "Postgres" in finding.message


@pytest.mark.parametrize(("exists", "level"), [(True, Level.NOTE), (False, Level.PROBLEM)])
def test_a_configured_model_path_is_checked(tmp_path, exists, level):
    script = tmp_path / "run.py"
    if exists:
        script.touch()
    findings = {f.part: f for f in check_models(settings(sf3d_script_path=script))}
    assert findings["SF3D_SCRIPT_PATH"].level is level
    assert findings["model inflate-v1"].level is Level.OK
