"""A synchronous client of the HTTP API: upload, ask, wait, cancel, download.

Answers are the API's own JSON objects. Every refusal is a `Pipeline3dError` with the API's code, so a caller
decides by code and never by text. Files are streamed and verified, and appear whole or not at all.
"""

from __future__ import annotations

import hashlib
import mimetypes
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import httpx

from pipeline3d.errors import BrokenArtifact, Pipeline3dError, RequestError, TransientFailure
from pipeline3d.values import FINISHED_STATES

Job = dict[str, Any]
API_PREFIX = "/api/v1"
TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 5.0
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 1.0
PAUSE_GROWTH = 1.3
CHUNK_BYTES = 1 << 16
_FIRST_SERVER_FAULT = 500
_UNTRIED_LATER = (500, 501)


class Pipeline3dClient:
    """One service and, once signed in, one account. Close it, or use it in a `with` block."""

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        timeout = httpx.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        self._api = httpx.Client(base_url=base_url.rstrip("/"), timeout=timeout)
        # Apart from the API's, so that the key is never sent to the object store.
        self._store = httpx.Client(timeout=timeout)
        self._sleep = sleep
        self._clock = clock
        if api_key:
            self._use_key(api_key)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._api.close()
        self._store.close()

    def login(self, username: str, password: str) -> str:
        """Sign in and use the new key from now on; returns the key."""
        body = {"username": username, "password": password}
        key = str(self._call("POST", f"{API_PREFIX}/auth/login", json=body)["api_key"])
        self._use_key(key)
        return key

    def upload(self, path: Path, content_type: str | None = None) -> str:
        """Upload a file; returns the object name that a job takes as `input_path`."""
        kind = content_type or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        ticket = self._call(
            "POST", f"{API_PREFIX}/jobs/upload-ticket", json={"filename": path.name, "content_type": kind}
        )
        size = path.stat().st_size
        if size > ticket["max_bytes"]:
            raise RequestError(
                f"{path} has {size} bytes; at most {ticket['max_bytes']} are accepted.", code="file_too_large"
            )
        with path.open("rb") as file, self._reaching("object store"):
            answer = self._store.put(ticket["upload_url"], content=file, headers=ticket["headers"])
        _require_ok(answer, "object store")
        return str(ticket["object_name"])

    def create_job(
        self,
        model_id: str,
        input_params: dict[str, Any],
        *,
        prompt: str | None = None,
        priority: int = 0,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Job:
        """Ask for a model. With an idempotency key, asking again gives the same job."""
        body = {
            "model_id": model_id,
            "input_params": input_params,
            "prompt": prompt,
            "priority": priority,
            "tags": tags or [],
            "metadata": metadata or {},
        }
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        return dict(self._call("POST", f"{API_PREFIX}/jobs/", json=body, headers=headers))

    def get_job(self, job_id: UUID | str) -> Job:
        """A job as it stands."""
        return dict(self._call("GET", f"{API_PREFIX}/jobs/{job_id}"))

    def cancel(self, job_id: UUID | str) -> Job:
        """End a job; CANCELING while its run is being stopped. A finished one comes back as it is."""
        return dict(self._call("POST", f"{API_PREFIX}/jobs/{job_id}/cancel"))

    def retry(self, job_id: UUID | str) -> Job:
        """Try a job that did not succeed once more; one that is under way comes back as it is."""
        return dict(self._call("POST", f"{API_PREFIX}/jobs/{job_id}/retry"))

    def list_jobs(self, *, skip: int = 0, limit: int = 50, before: UUID | str | None = None) -> list[Job]:
        """One's own jobs, newest first; with `before` those that are older than that job."""
        params = {"skip": skip, "limit": limit, **({} if before is None else {"before": str(before)})}
        return list(self._call("GET", f"{API_PREFIX}/jobs/", params=params))

    def events(self, job_id: UUID | str, *, after: int = 0) -> list[dict[str, Any]]:
        """A job's history after an event's id."""
        return list(self._call("GET", f"{API_PREFIX}/jobs/{job_id}/events", params={"after": after}))

    def models(self) -> list[dict[str, Any]]:
        """What can be asked for."""
        return list(self._call("GET", f"{API_PREFIX}/models"))

    def wait(
        self,
        job_id: UUID | str,
        on_progress: Callable[[Job], None] | None = None,
        timeout_s: float = 600.0,
    ) -> Job:
        """Ask until the job is finished, however it ended; tell `on_progress` of each change.

        A service that is away for a moment is asked again until the time is up.
        """
        deadline = self._clock() + timeout_s
        pause_s = FIRST_PAUSE_S
        seen: object = None
        while True:
            try:
                job = self.get_job(job_id)
            except TransientFailure:
                if self._clock() >= deadline:
                    raise
            else:
                told = (job["status"], job["progress"])
                if on_progress is not None and told != seen:
                    on_progress(job)
                seen = told
                if job["status"] in FINISHED_STATES:
                    return job
                if self._clock() >= deadline:
                    raise Pipeline3dError(
                        f"Job {job_id} is still {job['status']} after {timeout_s:g} s.",
                        code="wait_timeout",
                        hint="It goes on; wait again later.",
                    )
            self._sleep(min(pause_s, max(deadline - self._clock(), 0.0)))
            pause_s = min(pause_s * PAUSE_GROWTH, LONGEST_PAUSE_S)

    def download(self, job_id: UUID | str, path: Path, name: str | None = None) -> Path:
        """Save a job's model, or its artifact of that name, verified; returns the path."""
        url = f"{API_PREFIX}/jobs/{job_id}/download"
        if name is not None:
            named = [item for item in self.get_job(job_id)["artifacts"] if item["name"] == name]
            if not named:
                raise RequestError(f"Job {job_id} has no artifact {name!r}.", code="unknown_artifact")
            url = named[-1]["url"]
        link = self._call("GET", url)
        self._save(link, path)
        return path

    def _save(self, link: dict[str, Any], path: Path) -> None:
        partial = path.with_name(f".{path.name}.part")
        digest = hashlib.sha256()
        size = 0
        try:
            with (
                self._reaching("object store"),
                self._store.stream("GET", link["download_url"]) as answer,
                partial.open("wb") as file,
            ):
                if answer.is_error:
                    answer.read()
                _require_ok(answer, "object store")
                for chunk in answer.iter_raw(CHUNK_BYTES):
                    file.write(chunk)
                    digest.update(chunk)
                    size += len(chunk)
            if size != link["size"] or link["sha256"] not in (None, digest.hexdigest()):
                raise BrokenArtifact(f"{link['filename']} arrived damaged.", hint="Download it again.")
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def _use_key(self, api_key: str) -> None:
        self._api.headers["x-api-key"] = api_key

    def _call(self, method: str, url: str, **options: Any) -> Any:
        with self._reaching("service"):
            answer = self._api.request(method, url, **options)
        _require_ok(answer, "service")
        try:
            return answer.json()
        except ValueError as error:
            raise Pipeline3dError(f"{answer.url} did not answer with JSON.", code="bad_answer") from error

    @contextmanager
    def _reaching(self, whom: str) -> Iterator[None]:
        try:
            yield
        except httpx.HTTPError as error:
            raise TransientFailure(
                f"The {whom} does not answer ({type(error).__name__}).",
                code="unreachable",
                hint="Check that it runs and that the address is right.",
            ) from error
        except httpx.InvalidURL as error:
            raise RequestError(f"The address of the {whom} is wrong: {error}.", code="bad_address") from error


def _require_ok(answer: httpx.Response, whom: str) -> None:
    """Raise the error that an answer tells of."""
    if answer.is_success:
        return
    try:
        problem = answer.json()
    except ValueError:
        problem = {}
    if not isinstance(problem, dict):
        problem = {}
    message = str(problem.get("detail") or f"The {whom} answered {answer.status_code}.")
    may_work_later = answer.status_code >= _FIRST_SERVER_FAULT and answer.status_code not in _UNTRIED_LATER
    kind = TransientFailure if may_work_later else RequestError
    raise kind(
        message,
        code=str(problem.get("code") or f"http_{answer.status_code}"),
        hint=problem.get("hint"),
        details={"status": answer.status_code, "errors": problem.get("errors", [])},
    )
