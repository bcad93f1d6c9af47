"""A page that watches jobs misses nothing: not over a break or a restart, and not with several replicas."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest

from pipeline3d.api import open_streams, streaming
from pipeline3d.local.ports import choose_free_ports
from pipeline3d.requests import accounts, deleting
from pipeline3d.values import ArtifactType, FailureReport, Progress
from pipeline3d_tests.integration.api.api_fixtures import JOBS, serving
from pipeline3d_tests.integration.requests.database_fixtures import API_KEY
from pipeline3d_tests.servers import wait_until

EVENTS = "/api/v1/events"
NOBODYS = UUID(int=1)
STREAM = {"accept": "text/event-stream"}
END = "end of the stream"


@dataclass
class Message:
    """One event as a browser dispatches it."""

    event: str
    id: str
    data: dict[str, Any]


@dataclass
class Reader:
    """A stream that is read in the background, as a browser reads it."""

    response: httpx.Response
    comments: int = 0
    retry_ms: int | None = None
    last_id: str = ""
    _queue: SimpleQueue[Message | str] = field(default_factory=SimpleQueue)

    def read(self) -> None:
        """Take what comes until the end, after the rules of the HTML standard."""
        event, data = "", []
        try:
            for line in self.response.iter_lines():
                name, _, value = line.partition(": ")
                if not line:
                    if data:
                        self._queue.put(Message(event, self.last_id, json.loads("\n".join(data))))
                    event, data = "", []
                elif line.startswith(":"):
                    self.comments += 1
                elif name == "event":
                    event = value
                elif name == "data":
                    data.append(value)
                elif name == "id":
                    self.last_id = value
                elif name == "retry":
                    self.retry_ms = int(value)
        except httpx.TransportError:
            pass  # cut off: the reader resumes
        finally:
            self._queue.put(END)

    def next(self) -> Message:
        """The next event; the test fails where none comes."""
        message = self._queue.get(timeout=30)
        assert isinstance(message, Message), message
        return message

    def take(self, count: int) -> list[Message]:
        """So many events."""
        return [self.next() for _ in range(count)]

    def ends(self) -> bool:
        """Whether nothing more comes, now that the server ended the stream."""
        return self._queue.get(timeout=30) == END


@contextmanager
def watching(
    http: httpx.Client, path: str, last_id: str | int | None = None, **more: Any
) -> Iterator[Reader]:
    """Open a stream and read it in the background."""
    headers = {
        **STREAM,
        **({} if last_id is None else {"Last-Event-ID": str(last_id)}),
        **more.pop("headers", {}),
    }
    with http.stream("GET", path, headers=headers, **more) as response:
        assert response.status_code == 200, response.read()
        reader = Reader(response)
        thread = threading.Thread(target=reader.read, daemon=True)
        thread.start()
        try:
            yield reader
        finally:
            # The thread waits in the socket, which is not closed under it.
            response.extensions["network_stream"].get_extra_info("socket").shutdown(socket.SHUT_RDWR)
            thread.join()


def make_known(api) -> UUID:
    """A new job that the service has heard of: what is told of it from now on is what happens from now on."""
    job_id = api.rows.make()
    with watching(api.http, f"{JOBS}/{job_id}/events", 0) as stream:
        assert stream.next().event == "job.created"
    return job_id


def test_a_stream_of_a_job_begins_with_how_it_stands_and_ends_with_it(api, ledger):
    job_id = make_known(api)
    with watching(api.http, f"{JOBS}/{job_id}/events") as stream:
        assert stream.response.headers["content-type"].startswith("text/event-stream")
        assert stream.response.headers["cache-control"] == "no-store"
        assert stream.response.headers["x-accel-buffering"] == "no"
        snapshot = stream.next()
        assert (snapshot.event, snapshot.data["status"], stream.retry_ms) == ("job.snapshot", "QUEUED", 2000)
        assert snapshot.data["progress"] == {"percent": 0}
        api.finish(ledger, job_id, None)
        started, succeeded = stream.take(2)
        assert (started.event, started.data["status"]) == ("job.started", "RUNNING")
        assert succeeded.event == succeeded.data["type"] == "job.succeeded"
        assert int(snapshot.id) < int(started.id) < int(succeeded.id) == succeeded.data["id"]
        assert stream.ends()
    listed = api.http.get(f"{JOBS}/{job_id}/events").json()
    assert [str(event["id"]) for event in listed][1:] == [started.id, succeeded.id]


def test_events_carry_what_belongs_to_them(api, ledger, store):
    job_id = make_known(api)
    with watching(api.http, f"{JOBS}/{job_id}/events") as stream:
        stream.next()
        ledger.begin(job_id, attempt=1, run_id="r", delivers=True)
        ledger.report_progress(
            job_id, "r", Progress(percent=40, stage="mesh", stage_number=2, stage_count=4, message="half")
        )
        stored = store.put_bytes(f"jobs/{job_id}/mesh/a.glb", b"glb", "model/gltf-binary")
        ledger.record_artifact(job_id, 1, "mesh", "a.glb", ArtifactType.OUTPUT_MODEL, stored)
        error = {
            "code": "too_big",
            "stage": "mesh",
            "message": "Too big.",
            "hint": "Less.",
            "retryable": False,
        }
        ledger.fail(job_id, "r", FailureReport(**error))
        _, progress, artifact, failed = stream.take(4)
    assert progress.data["progress"] == {
        "percent": 40,
        "stage": "mesh",
        "stage_number": 2,
        "stage_count": 4,
        "message": "half",
    }
    assert artifact.event == "job.artifact"
    assert artifact.data["artifact"]["name"] == "a.glb"
    assert artifact.data["artifact"]["size"] == 3
    assert failed.event == "job.failed"
    assert failed.data["error"] == error


def test_a_reader_that_comes_back_gets_what_it_missed_and_nothing_twice(api, ledger):
    job_id = make_known(api)
    created = api.http.get(f"{JOBS}/{job_id}/events").json()[0]["id"]
    ledger.begin(job_id, attempt=1, run_id="r", delivers=True)
    with watching(api.http, f"{JOBS}/{job_id}/events", created) as stream:
        assert stream.next().event == "job.started"
        last = stream.last_id
    ledger.succeed(job_id, "r")
    with watching(api.http, f"{JOBS}/{job_id}/events", params={"last_event_id": last}) as stream:
        assert stream.next().event == "job.succeeded"
        assert stream.ends()
    done = api.http.get(f"{JOBS}/{job_id}/events", headers={**STREAM, "Last-Event-ID": stream.last_id})
    assert (done.status_code, done.content) == (204, b""), "a browser comes back unless it is told not to"


def test_a_job_that_is_tried_again_goes_on_in_a_resumed_stream(api, ledger):
    job_id = api.rows.make()
    ledger.cancel_queued(job_id, 1)
    with watching(api.http, f"{JOBS}/{job_id}/events") as stream:
        assert stream.next().data["status"] == "CANCELED"
        assert stream.ends()
    assert api.http.post(f"{JOBS}/{job_id}/retry").status_code == 200
    with watching(api.http, f"{JOBS}/{job_id}/events", 0) as stream:
        assert [message.event for message in stream.take(3)] == [
            "job.created",
            "job.canceled",
            "job.retrying",
        ]
        ledger.cancel_queued(job_id, 2)
        assert stream.next().event == "job.canceled"
        assert stream.ends()


def test_one_stream_shows_all_jobs_of_the_caller_and_nobody_elses(api, as_other, ledger):
    with watching(api.http, EVENTS) as mine, watching(api.http, EVENTS, headers=as_other) as others:
        opened = mine.next()
        assert (opened.event, opened.id) == ("stream.opened", str(opened.data["id"]))
        others.next()
        job_id = api.rows.make()
        foreign = api.rows.make(user_id=api.rows.user("grace"))
        ledger.cancel_queued(job_id, 1)
        assert [(m.event, m.data["job_id"]) for m in mine.take(2)] == [
            ("job.created", str(job_id)),
            ("job.canceled", str(job_id)),
        ]
        assert others.next().data["job_id"] == str(foreign)
    with watching(api.http, EVENTS, opened.id) as resumed:
        assert [m.event for m in resumed.take(2)] == ["job.created", "job.canceled"]


def test_streams_and_lists_are_narrowed_to_types_and_jobs(api, ledger):
    one, other = api.rows.make(), api.rows.make()
    foreign = api.rows.make(user_id=api.rows.user("grace"))
    query = {"types": ["job.started", "job.succeeded"], "job_id": [str(one), str(foreign)]}
    with watching(api.http, EVENTS, params=query) as stream:
        stream.next()
        ledger.begin(foreign, attempt=1, run_id="f", delivers=True)
        for job_id in (other, one):
            api.finish(ledger, job_id, None)
        found = [(m.event, m.data["job_id"]) for m in stream.take(2)]
    assert found == [("job.started", str(one)), ("job.succeeded", str(one))]

    def listed(**more: Any) -> list[tuple[str, str]]:
        return [(e["type"], e["job_id"]) for e in api.http.get(EVENTS, params={**query, **more}).json()]

    wait_until(lambda: listed() == found, what="the list has what the stream had")
    assert listed(limit=1) == found[:1]
    with watching(api.http, EVENTS, 0, params=query) as stream:
        assert [(m.event, m.data["job_id"]) for m in stream.take(2)] == found


def test_a_deleted_job_ends_its_stream(api, engine):
    job_id = make_known(api)
    with watching(api.http, f"{JOBS}/{job_id}/events") as stream:
        stream.next()
        api.rows.run(deleting.request_deletion(job_id, api.rows.user_id))
        assert stream.next().event == "job.deleted"
        assert stream.ends()


def test_a_job_whose_rows_are_gone_is_told_as_deleted(api_settings, rows, engine, monkeypatch):
    monkeypatch.setattr(streaming, "LOOK_EVERY", 1)
    job_id = rows.make()
    with (
        serving({**api_settings, "events_heartbeat_s": 0.1}) as url,
        client(url) as http,
        watching(http, f"{JOBS}/{job_id}/events") as stream,
    ):
        stream.next()
        with engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM jobs")
        assert stream.next().event == "job.deleted"
        assert stream.ends()


def test_a_quiet_stream_shows_that_it_is_alive(api_settings, rows):
    with (
        serving({**api_settings, "events_heartbeat_s": 0.1}) as url,
        client(url) as http,
        watching(http, EVENTS) as stream,
    ):
        stream.next()
        wait_until(lambda: stream.comments >= 2, what="comments")


def test_the_stream_of_a_key_that_was_revoked_ends(api_settings, rows, monkeypatch):
    monkeypatch.setattr(open_streams, "CHECK_EVERY_S", 0.1)
    key = accounts.generate_api_key()
    rows.run(accounts.create_api_key(rows.user_id, key, name="of one stream"))
    with (
        serving({**api_settings, "events_heartbeat_s": 0.1}) as url,
        client(url) as http,
        watching(http, EVENTS, headers={"x-api-key": key}) as revoked,
        watching(http, EVENTS) as other,
    ):
        revoked.next()
        other.next()
        rows.run(accounts.revoke_other_keys(rows.user_id, API_KEY, name="of one stream"))
        assert revoked.ends()
        job_id = rows.make()
        assert other.next().data["job_id"] == str(job_id)


def test_a_stream_whose_key_was_revoked_is_told_nothing_more(api_settings, rows, monkeypatch):
    monkeypatch.setattr(open_streams, "CHECK_EVERY_S", 0.1)
    key = accounts.generate_api_key()
    rows.run(accounts.create_api_key(rows.user_id, key, name="of one stream"))
    apps = []
    with (
        serving({**api_settings, "events_heartbeat_s": 300}, apps.append) as url,
        client(url) as http,
        watching(http, EVENTS, headers={"x-api-key": key}) as revoked,
    ):
        revoked.next()
        rows.run(accounts.revoke_other_keys(rows.user_id, API_KEY, name="of one stream"))
        [stream] = apps[0].state.services.streams._open
        wait_until(lambda: stream.is_revoked, what="the stream's key is looked at")
        rows.make()
        assert revoked.ends()


def test_the_stream_of_an_earlier_secret_ends_with_it(api_settings, rows, monkeypatch):
    monkeypatch.setattr(open_streams, "CHECK_EVERY_S", 0.1)
    with serving({**api_settings, "events_heartbeat_s": 0.1}) as url, client(url) as http:
        made = http.post("/api/v1/keys", json={"name": "ci"}).json()
        http.post(f"/api/v1/keys/{made['id']}/rotate", json={"grace_s": 2})
        with watching(http, EVENTS, headers={"x-api-key": made["api_key"]}) as earlier:
            earlier.next()
            assert earlier.ends()


def test_a_user_has_so_many_streams_at_a_time(api_settings, rows, as_other):
    job_id = rows.make()
    with serving({**api_settings, "events_streams_per_user": 1}) as url, client(url) as http:
        with watching(http, EVENTS) as stream:
            stream.next()
            for path in (EVENTS, f"{JOBS}/{job_id}/events"):
                refused = http.get(path, headers=STREAM)
                assert (refused.status_code, refused.json()["code"]) == (429, "too_many_streams")
                assert int(refused.headers["retry-after"]) > 0
            assert http.get(EVENTS).status_code == 200, "a list is not a stream"
            with watching(http, EVENTS, headers=as_other) as others:
                others.next()

        def opens() -> bool:
            try:
                with watching(http, EVENTS) as again:
                    return again.next().event == "stream.opened"
            except AssertionError:
                return False

        wait_until(opens, what="the closed stream counts no more")


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        (f"{JOBS}/{NOBODYS}/events", {}, 404),
        (f"{JOBS}/nonsense/events", {}, 422),
        (f"{JOBS}/{{foreign}}/events", {}, 404),
        (f"{JOBS}/{{mine}}/events", {"x-api-key": ""}, 401),
        (f"{JOBS}/{{mine}}/events", {"x-api-key": "p3d_wrong"}, 403),
        (f"{JOBS}/{{mine}}/events", {"Last-Event-ID": "x"}, 422),
        (f"{JOBS}/{{mine}}/events", {"Last-Event-ID": "-1"}, 422),
        (f"{JOBS}/{{mine}}/events", {"Last-Event-ID": str(2**63)}, 422),
        (f"{JOBS}/{{mine}}/events?last_event_id=1.5", {}, 422),
        (f"{EVENTS}?types=job.unheard", {}, 422),
        (f"{EVENTS}?job_id=x", {}, 422),
        (f"{EVENTS}?{'&'.join(f'job_id={UUID(int=n)}' for n in range(101))}", {}, 422),
        (EVENTS, {"x-api-key": ""}, 401),
    ],
)
def test_what_cannot_be_watched_is_refused_as_a_problem(api, path, headers, status):
    foreign = api.rows.make(user_id=api.rows.user("grace"))
    path = path.format(mine=api.rows.make(), foreign=foreign)
    answer = api.http.get(path, headers={**STREAM, **headers})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert api.http.head(path, headers=STREAM).status_code == 405


@pytest.mark.parametrize(
    ("accept", "query", "streams"),
    [
        ("text/event-stream", {}, True),
        ("application/json;q=0.5, Text/Event-Stream;q=0.9", {}, True),
        ("*/*", {}, False),
        ("application/json", {"stream": "true"}, True),
        ("text/event-stream", {"stream": "false"}, False),
    ],
)
def test_a_stream_is_for_those_who_ask_for_one(api, accept, query, streams):
    with api.http.stream("GET", f"{EVENTS}/", headers={"accept": accept}, params=query) as answer:
        kind = "text/event-stream" if streams else "application/json"
        assert answer.headers["content-type"].startswith(kind)


def test_an_empty_last_id_is_none(api):
    with watching(api.http, EVENTS, "") as stream:
        assert stream.next().event == "stream.opened"


def test_every_replica_tells_what_another_one_changed_and_resumes_what_it_began(api, api_settings, api_url):
    with serving(api_settings) as second, client(second) as http:
        with watching(http, EVENTS) as stream:
            stream.next()
            job = api.create().json()
            created = stream.next()
            assert (created.event, created.data["job_id"]) == ("job.created", job["id"])
        assert api.http.post(f"{JOBS}/{job['id']}/cancel").is_success
        with watching(api.http, EVENTS, created.id) as stream:
            assert stream.next().event == "job.canceled"


def test_a_stop_does_not_wait_for_streams_and_a_restart_resumes_them(api_settings, rows, ledger, tmp_path):
    job_id = rows.make()
    path = f"{JOBS}/{job_id}/events"
    with served_process(api_settings, tmp_path) as (process, http), watching(http, path) as stream:
        begun = stream.next()
        process.send_signal(signal.SIGTERM)
        assert stream.ends()
        process.wait(20)  # long before its patience with open connections ends
    ledger.begin(job_id, attempt=1, run_id="r", delivers=True)
    with serving(api_settings) as url, client(url) as http, watching(http, path, begun.id) as stream:
        assert stream.next().event == "job.started"


def test_a_stream_outlives_the_loss_of_the_connection_to_postgres(api, ledger, database_url):
    with watching(api.http, EVENTS) as stream:
        stream.next()
        with psycopg.connect(database_url, autocommit=True) as connection:
            cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            cut += " WHERE query LIKE '%job_events%' AND datname = current_database()"
            assert connection.execute(cut + " AND pid <> pg_backend_pid()").fetchone() != (0,)
        job_id = api.rows.make()
        assert stream.next().data["job_id"] == str(job_id)


def client(url: str) -> httpx.Client:
    """A caller of another server, signed in as the first user."""
    return httpx.Client(base_url=url, headers={"x-api-key": API_KEY}, timeout=30)


@contextmanager
def served_process(
    settings: dict[str, Any], directory: Any
) -> Iterator[tuple[subprocess.Popen[bytes], httpx.Client]]:
    """The API as a process of its own, as it is run."""
    port = choose_free_ports(["it"])["it"]
    values = {name.upper(): value for name, value in settings.items() if isinstance(value, str)}
    command = [sys.executable, "-m", "uvicorn", "pipeline3d.api.app:create_app", "--factory"]
    command += ["--port", str(port), "--log-level", "error", "--timeout-graceful-shutdown", "60"]
    with subprocess.Popen(command, env={**os.environ, **values}, cwd=directory) as process:
        try:
            with client(f"http://127.0.0.1:{port}") as http:

                def answers() -> bool:
                    try:
                        return http.get("/health").is_success
                    except httpx.TransportError:
                        return False

                wait_until(answers, what="the API answers")
                yield process, http
        finally:
            process.kill()
