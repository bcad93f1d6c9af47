"""The API as an application over the real database and the real object store."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from PIL import Image

from pipeline3d.api.app import create_app
from pipeline3d.api.http_protocol import PatientProtocol
from pipeline3d.requests.ledger import JobLedger
from pipeline3d.settings import Settings
from pipeline3d.store.s3 import S3Store
from pipeline3d.values import ArtifactType, FailureReport, StoredObject
from pipeline3d_tests.integration.requests.database_fixtures import API_KEY, OTHER_API_KEY, JobRows
from pipeline3d_tests.servers import ObjectStoreServer, wait_until

MAX_UPLOAD_BYTES = 4096
SIGNING_KEY = "a signing key of the tests"
ORIGIN = "https://shop.example.com"
JOBS = "/api/v1/jobs"
BAD = FailureReport(code="no_clear_object", message="Nothing in it.", stage="mesh")


def draw_png() -> bytes:
    """A small real picture."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="session")
def shared_bucket(object_store_server: ObjectStoreServer) -> str:
    """One bucket for all these tests: every upload has a key of its own."""
    return object_store_server.fresh_bucket()


@pytest.fixture(scope="session")
def api_settings(
    shared_database_url: str, object_store_server: ObjectStoreServer, shared_bucket: str
) -> dict[str, Any]:
    """What the API is configured with; a test that needs other settings serves a copy."""
    return {
        "database_url": shared_database_url,
        "dagster_pg_url": shared_database_url,
        "minio_endpoint": object_store_server.endpoint,
        "minio_access_key": object_store_server.access_key,
        "minio_secret_key": object_store_server.secret_key,
        "minio_bucket": shared_bucket,
        "backend_cors_origins": [ORIGIN],
        "dagster_url": "https://dagster.example.com",
        "link_signing_key": SIGNING_KEY,
        "max_upload_bytes": MAX_UPLOAD_BYTES,
        "project_name": "Pipeline3D",
        # tests change users and keys behind the service's back, and expect it to know at once
        "account_cache_s": 0,
    }


@contextmanager
def serving(settings: dict[str, Any], change: Callable[[FastAPI], None] = lambda app: None) -> Iterator[str]:
    """The application behind a real socket, configured by these settings alone; its address."""
    app = create_app(Settings(_env_file=None, **settings))  # type: ignore[call-arg]
    change(app)
    options: dict[str, Any] = {"log_level": "error", "lifespan": "on", "proxy_headers": False}
    options["http"] = PatientProtocol
    server = uvicorn.Server(uvicorn.Config(app, port=0, **options))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive(), what="the API listens", interval_s=0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@dataclass
class Api:
    """A caller of the API, signed in as the first user."""

    http: httpx.Client
    rows: JobRows

    def upload(
        self, data: bytes | None = None, filename: str = "photo.png", content_type: str = "image/png"
    ) -> str:
        """Upload through a ticket, as a caller does; returns the object name."""
        ticket = self.http.post(
            f"{JOBS}/upload-ticket", json={"filename": filename, "content_type": content_type}
        ).json()
        content = draw_png() if data is None else data
        stored = httpx.put(ticket["upload_url"], content=content, headers=ticket["headers"])
        assert stored.status_code == 200, stored.text
        return str(ticket["object_name"])

    def create(self, **body: Any) -> httpx.Response:
        """Ask for a model of a freshly uploaded picture, or with any other body."""
        if "input_params" not in body:
            body["input_params"] = {"input_path": self.upload()}
        return self.http.post(f"{JOBS}/", json={"model_id": "inflate-v1", **body})

    def finish(self, ledger: Any, job_id: UUID, stored: StoredObject | None) -> None:
        """Do what a run does: begin, record the result, succeed."""
        ledger.begin(job_id, attempt=1, run_id="run-1", delivers=True)
        if stored is not None:
            ledger.record_artifact(
                job_id, 1, "glb_export", "model.glb", ArtifactType.OUTPUT_MODEL, stored, {"faces": 8}
            )
        ledger.succeed(job_id, "run-1")


@pytest.fixture(scope="session")
def api_url(api_settings: dict[str, Any]) -> Iterator[str]:
    """The address of the application that most tests call."""
    with serving(api_settings) as url:
        yield url


@pytest.fixture(scope="session")
def store(object_store_server: ObjectStoreServer, shared_bucket: str) -> S3Store:
    """The store that the application uses."""
    server = object_store_server
    return S3Store(server.endpoint, server.access_key, server.secret_key, shared_bucket)


@pytest.fixture
def api(api_url: str, rows: JobRows) -> Iterator[Api]:
    """A caller of the application, with a database that holds no jobs yet."""
    with httpx.Client(base_url=api_url, headers={"x-api-key": API_KEY}, timeout=30) as http:
        yield Api(http=http, rows=rows)


@pytest.fixture
def as_other() -> dict[str, str]:
    """Headers of the second user."""
    return {"x-api-key": OTHER_API_KEY}


@pytest.fixture
def in_state(api: Api, ledger: JobLedger) -> Callable[[str], UUID]:
    """Makes a job of the caller in any of these states."""

    def make(state: str) -> UUID:
        job_id = api.rows.make()
        if state in ("RUNNING", "CANCELING", "SUCCEEDED", "FAILED"):
            ledger.begin(job_id, attempt=1, run_id="run-1", delivers=True)
        if state in ("CANCELING", "CANCELED"):
            ledger.request_cancel(job_id)
        if state == "SUCCEEDED":
            ledger.succeed(job_id, "run-1")
        if state == "FAILED":
            ledger.fail(job_id, "run-1", BAD)
        assert api.rows.row(job_id).state == state
        return job_id

    return make
