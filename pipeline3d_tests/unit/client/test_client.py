"""The client's rules: what is tried again, streams over disconnections, both clients alike."""

from __future__ import annotations

import asyncio
import inspect
import json
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from pipeline3d.client import AsyncPipeline3dClient, Pipeline3dClient
from pipeline3d.client.event_stream import StreamPosition
from pipeline3d.client.exchanges import LONGEST_RETRY_AFTER_S, read_retry_after
from pipeline3d.client.outcomes import JobFailed, require_success
from pipeline3d.errors import RequestError, TransientFailure
from pipeline3d_tests.servers import http_server

JOB = {"id": "1", "status": "SUCCEEDED", "progress": {}, "error": None}


class Scripted(BaseHTTPRequestHandler):
    """Answers as its script says, one entry for each request; notes what came."""

    protocol_version = "HTTP/1.1"
    script: list[tuple[int, dict[str, str], Any]]
    seen: list[tuple[str, str, dict[str, str]]]

    def answer(self) -> None:
        length = int(self.headers.get("content-length", 0))
        self.rfile.read(length)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.seen.append((self.command, self.path, headers))
        status, extra, body = self.script.pop(0)
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **extra}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = answer


@pytest.fixture
def scripted():
    """Make a server with a script; gives its address and what it has seen."""
    handler = type("Handler", (Scripted,), {"script": [], "seen": []})
    with http_server(handler) as url:
        yield url, handler


def public_methods(cls):
    return {
        name: str(inspect.signature(member)).replace("Awaitable", "").replace("AsyncIterator", "Iterator")
        for name, member in inspect.getmembers(cls, inspect.isfunction)
        if not name.startswith("_") and name not in ("close", "aclose")
    }


def test_both_clients_offer_the_same():
    assert public_methods(AsyncPipeline3dClient) == public_methods(Pipeline3dClient)


@pytest.mark.parametrize(
    ("first", "pauses"),
    [
        ((503, {"Retry-After": "5"}, {"code": "database_unavailable"}), [5.0]),  # as long as it says
        ((503, {}, {}), [0.2]),  # it does not say
        ((429, {"Retry-After": "2"}, {"code": "rate_limited"}), [2.0]),
        ((502, {}, b"<html>"), [0.2]),  # a proxy's own page
    ],
)
def test_what_may_pass_is_asked_again(scripted, first, pauses):
    url, server = scripted
    server.script += [first, (201, {}, JOB)]
    paused: list[float] = []
    with Pipeline3dClient(url, "k", sleep=paused.append) as client:
        assert client.create_job("inflate-v1")["id"] == "1"
    assert paused == pauses
    keys = [headers["idempotency-key"] for _, _, headers in server.seen]
    assert len(keys) == 2
    assert len(set(keys)) == 1  # the same request, whatever became of the first


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422, 500, 501])
def test_what_will_not_pass_is_asked_once(scripted, status):
    url, server = scripted
    server.script += [(status, {}, {"code": "no", "detail": "No."})]
    with Pipeline3dClient(url, "k") as client, pytest.raises(RequestError) as caught:
        client.create_job("inflate-v1")
    assert caught.value.code == "no"
    assert len(server.seen) == 1


def test_after_three_tries_the_reason_is_told(scripted):
    url, server = scripted
    server.script += [(503, {}, {"code": "store_unavailable", "detail": "Away."})] * 3
    paused: list[float] = []
    with Pipeline3dClient(url, "k", sleep=paused.append) as client, pytest.raises(TransientFailure) as caught:
        client.models()
    assert caught.value.code == "store_unavailable"
    assert paused == pytest.approx([0.2, 0.4])


def test_a_login_is_never_repeated_by_itself(scripted):
    url, server = scripted
    server.script += [(503, {}, {})]
    with Pipeline3dClient(url) as client, pytest.raises(TransientFailure):
        client.login("ada", "secret")
    assert len(server.seen) == 1


def test_all_pages_are_walked(scripted):
    url, server = scripted
    server.script += [
        (200, {"X-Next-Cursor": "abc", "X-Total-Count": "3"}, [{"id": "1"}, {"id": "2"}]),
        (200, {}, [{"id": "3"}]),
    ]
    with Pipeline3dClient(url, "k") as client:
        assert [job["id"] for job in client.iterate_jobs(status=["FAILED", "EXPIRED"], limit=2)] == list(
            "123"
        )
    assert server.seen[0][1].endswith("?status=FAILED&status=EXPIRED&limit=2")
    assert server.seen[1][1].endswith("&cursor=abc")


def sse(*events):
    return b"".join(
        f"id: {number}\nevent: {kind}\ndata: {json.dumps(data)}\n\n".encode() for number, kind, data in events
    )


BROKEN = sse((1, "job.started", {}), (2, "job.progress", {"p": 1}))
REST = b": sign of life\n\n" + sse((3, "job.succeeded", {"status": "SUCCEEDED"}))
STREAM = {"Content-Type": "text/event-stream"}


def test_a_stream_that_breaks_goes_on_behind_the_last_event(scripted):
    url, server = scripted
    server.script += [(200, STREAM, BROKEN), (503, {}, {}), (200, STREAM, REST)]
    paused: list[float] = []
    with Pipeline3dClient(url, "k", sleep=paused.append) as client:
        told = [(event.id, event.type) for event in client.watch("j")]
    assert told == [("1", "job.started"), ("2", "job.progress"), ("3", "job.succeeded")]
    assert [headers.get("last-event-id") for _, _, headers in server.seen] == [None, "2", "2"]
    assert paused == [0.5, 1.0]


ENDED = sse((7, "job.snapshot", {"status": "SUCCEEDED"}))
NO_MORE = (204, {}, b"")


@pytest.mark.parametrize(
    ("script", "seen_before", "told"),
    [
        ([(200, STREAM, ENDED)], None, ["job.snapshot"]),
        ([NO_MORE], "7", []),
        ([(200, STREAM, BROKEN), NO_MORE], None, ["job.started", "job.progress"]),  # its end is not asked for
    ],
)
def test_the_stream_of_a_job_that_has_ended_is_not_waited_for(scripted, script, seen_before, told):
    url, server = scripted

    async def ask():
        async with AsyncPipeline3dClient(url, "k", sleep=lambda _s: asyncio.sleep(0)) as client:
            return [event.type async for event in client.watch("j", last_event_id=seen_before)]

    server.script += [*script, *script]
    with Pipeline3dClient(url, "k", sleep=lambda _s: None) as client:
        assert [event.type for event in client.watch("j", last_event_id=seen_before)] == told
    assert asyncio.run(ask()) == told
    assert server.script == []


def test_the_client_for_asyncio_follows_asks_and_downloads_alike(scripted, tmp_path):
    url, server = scripted
    content = b"glTF"
    link = {
        "download_url": f"{url}/object",
        "size": 4,
        "sha256": None,
        "filename": "a.glb",
        "expires_in": 60,
        "content_type": "model/gltf-binary",
    }
    server.script += [
        (503, {"Retry-After": "3"}, {}),
        (201, {}, JOB),
        (200, STREAM, BROKEN),
        (200, STREAM, REST),
        (200, {}, JOB),
        (200, {}, link),
        (200, {}, content),
    ]
    paused: list[float] = []

    async def pause(seconds):
        paused.append(seconds)

    async def use():
        async with AsyncPipeline3dClient(url, "k", sleep=pause) as client:
            job = await client.create_job("inflate-v1", prompt="a mug")
            told = [event.id async for event in client.watch(job["id"])]
            job = await client.wait(job["id"])
            return told, await client.download(job["id"], tmp_path / "a.glb")

    told, path = asyncio.run(use())
    assert told == ["1", "2", "3"]
    assert paused == [3.0, 0.5]
    assert path.read_bytes() == content
    assert "x-api-key" not in server.seen[-1][2]  # the key is for the service alone


def test_an_upload_that_the_service_has_already_is_not_sent(scripted, tmp_path):
    url, server = scripted
    photo = tmp_path / "a.png"
    photo.write_bytes(b"png")
    server.script += [(200, {}, {"already_stored": True, "object_name": "uploads/inputs/u/a.png"})]
    with Pipeline3dClient(url, "k") as client:
        assert client.upload(photo) == "uploads/inputs/u/a.png"
    assert len(server.seen) == 1


def test_an_upload_that_was_sent_is_completed_so_that_the_service_knows_it_the_next_time(scripted, tmp_path):
    url, server = scripted
    photo = tmp_path / "a.png"
    photo.write_bytes(b"png")
    ticket = {
        "id": "7",
        "upload_url": f"{url}/object",
        "headers": {},
        "object_name": "uploads/inputs/u/a.png",
    }
    server.script += [(200, {}, ticket), (200, {}, b""), (200, {}, {"verified": True})]
    with Pipeline3dClient(url, "k") as client:
        assert client.upload(photo) == "uploads/inputs/u/a.png"
    assert [(method, path) for method, path, _ in server.seen][1:] == [
        ("PUT", "/object"),
        ("POST", "/api/v1/uploads/7/complete"),
    ]


def test_the_stream_of_all_jobs_does_not_end_with_one_of_them():
    position = StreamPosition(None, ["job.succeeded"], "7")

    class Received:
        id, event, data = "8", "job.succeeded", "{}"

    position.take(Received())  # type: ignore[arg-type]
    assert not position.is_finished
    assert position.headers()["Last-Event-ID"] == "8"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, None), ("5", 5.0), ("99999", LONGEST_RETRY_AFTER_S), ("Wed, 21 Oct 2026 07:28:00 GMT", None)],
)
def test_a_retry_after_is_bounded(header, seconds):
    assert read_retry_after(header) == seconds


def test_a_job_that_did_not_succeed_is_an_error_where_its_result_is_wanted():
    error = {"code": "no_clear_object", "message": "Nothing to see.", "hint": "Another photo."}
    with pytest.raises(JobFailed, match=r"Nothing to see\. Another photo\.") as caught:
        require_success({"id": "1", "status": "FAILED", "error": error})  # type: ignore[typeddict-item]
    assert caught.value.code == "no_clear_object"
    with pytest.raises(JobFailed, match="CANCELED"):
        require_success({"id": "1", "status": "CANCELED", "error": None})  # type: ignore[typeddict-item]
