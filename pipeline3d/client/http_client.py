"""The client that blocks: upload, ask, wait, watch, download. Its rules are in `operations`.

Answers are the API's own JSON objects. Every refusal is a `Pipeline3dError` with the API's code, so a caller
decides by code and never by text. Files are streamed and verified, and appear whole or not at all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack, cast

import httpx
from httpx_sse import EventSource, SSEError

from pipeline3d.client import operations
from pipeline3d.client.answers import Event, HistoryLine, Job, JobOptions, Model, Page
from pipeline3d.client.event_stream import READ_TIMEOUT_S, StreamPosition
from pipeline3d.client.exchanges import (
    Ask,
    Hash,
    Operation,
    Pause,
    Put,
    Save,
    Step,
    meaning_of,
    read_answer,
    require_ok,
)
from pipeline3d.client.files import CHUNK_BYTES, IncomingFile, hash_file
from pipeline3d.client.operations import JOBS, Id
from pipeline3d.client.outcomes import require_success
from pipeline3d.client.progress import ProgressBar
from pipeline3d.errors import Pipeline3dError, TransientFailure

T = TypeVar("T")
TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 5.0


class Pipeline3dClient:
    """One service and, with a key or once signed in, one account. Close it, or use it in a `with` block."""

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
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._api.close()
        self._store.close()

    def login(self, username: str, password: str) -> str:
        """Sign in and use the new key from now on; returns the key."""
        key = self._run(operations.log_in(username, password))
        self._use_key(key)
        return key

    def upload(self, path: Path | str, content_type: str | None = None) -> str:
        """Upload a file; returns the object name that a job takes as `input_path`."""
        return self._run(operations.upload(Path(path), content_type))

    def create_job(
        self,
        model_id: str,
        input_params: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
        **options: Unpack[JobOptions],
    ) -> Job:
        """Ask for a model. With an idempotency key, asking again gives the same job."""
        body = operations.job_body(model_id, input_params or {}, options)
        return self._run(operations.create_job(body, idempotency_key))

    def create_batch(
        self,
        jobs: Sequence[Mapping[str, Any]],
        *,
        defaults: Mapping[str, Any] | None = None,
        name: str | None = None,
        atomic: bool = False,
        idempotency_key: str | None = None,
    ) -> dict[str, Any]:
        """Ask for many at once; the report of what was made (`created`) and what was `refused`, by index."""
        body = operations.batch_body(jobs, defaults, name)
        return dict(self._run(operations.create_batch(body, idempotency_key, atomic=atomic)))

    def estimate(
        self, model_id: str, input_params: Mapping[str, Any] | None = None, **options: Unpack[JobOptions]
    ) -> dict[str, Any]:
        """What such a job costs and how long it takes; nothing is made."""
        body = operations.job_body(model_id, input_params or {}, options)
        return dict(self._run(operations.change("POST", f"{JOBS}/estimate", body)))

    def get_job(self, job_id: Id) -> Job:
        """A job as it stands."""
        return self._run(operations.get_job(job_id))

    def cancel(self, job_id: Id) -> Job:
        """End a job; CANCELING while its run is being stopped. A finished one comes back as it is."""
        return cast(Job, self._run(operations.change("POST", f"{JOBS}/{job_id}/cancel")))

    def retry(self, job_id: Id) -> Job:
        """Try a job that did not succeed once more; one that is under way comes back as it is."""
        return cast(Job, self._run(operations.change("POST", f"{JOBS}/{job_id}/retry")))

    def rerun(self, job_id: Id, *, idempotency_key: str | None = None, **changes: Any) -> Job:
        """A new job like that one, with changes of its body: `input_params={"seed": 7}`."""
        return self._run(operations.rerun(job_id, changes, idempotency_key))

    def delete(self, job_id: Id) -> None:
        """Delete a job with its files for good; no error where that was done before."""
        self._run(operations.delete_job(job_id))

    def list_jobs(
        self, *, skip: int | None = None, limit: int = 50, before: Id | None = None, **filters: Any
    ) -> list[Job]:
        """One's own jobs, newest first; `filters` as the API has them: status, model_id, tag, q …"""
        return (self.page_of_jobs(skip=skip, limit=limit, before=before, **filters)).items

    def page_of_jobs(self, **filters: Any) -> Page[Job]:
        """The same as a page with the `next_cursor` and, with `include_total=True`, the `total`."""
        return self._run(operations.list_jobs(filters))

    def events(self, job_id: Id, *, after: int = 0) -> list[HistoryLine]:
        """A job's history after an event's id."""
        return self._run(operations.list_events(job_id, after))

    def models(self) -> list[Model]:
        """What can be asked for."""
        return self._run(operations.list_models())

    def wait(
        self,
        job_id: Id,
        on_progress: Callable[[Job], None] | None = None,
        timeout_s: float = 600.0,
        *,
        show_progress: bool = False,
    ) -> Job:
        """Wait until the job is finished, however it ended; tell `on_progress` of each change, or show a bar.

        A service that is away for a moment is asked again until the time is up: then `wait_timeout`.
        """
        with ProgressBar() if show_progress else nullcontext(on_progress) as told:
            return self._run(operations.wait(job_id, told, timeout_s, self._clock))

    def download(self, job_id: Id, path: Path | str, name: str | None = None) -> Path:
        """Save a job's model, or its artifact of that name, verified; returns the path."""
        return self._run(operations.download(job_id, Path(path), name))

    def generate(
        self,
        model_id: str,
        photo: Path | str | None = None,
        input_params: Mapping[str, Any] | None = None,
        *,
        timeout_s: float = 600.0,
        show_progress: bool = False,
        **options: Unpack[JobOptions],
    ) -> Job:
        """Upload a file (or send a prompt), ask, and wait. Raises JobFailed where it does not succeed."""
        params = dict(input_params or {})
        if photo is not None:
            params["input_path"] = self.upload(photo)
        job = self.create_job(model_id, params, **options)
        return require_success(self.wait(job["id"], timeout_s=timeout_s, show_progress=show_progress))

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """Anything else of the API: the body of its answer. `path` as in its documentation, from `/api`."""
        return self._run(operations.change(method, path, body))

    def iterate_jobs(self, **filters: Any) -> Iterator[Job]:
        """All of one's own jobs that the filters leave, a page at a time."""
        page = self.page_of_jobs(**filters)
        yield from page.items
        while page.next_cursor is not None:
            page = self.page_of_jobs(**{**filters, "cursor": page.next_cursor})
            yield from page.items

    def watch(
        self,
        job_id: Id | None = None,
        *,
        types: Sequence[str] | None = None,
        last_event_id: str | None = None,
    ) -> Iterator[Event]:
        """What happens to a job until it ends, or to all of one's own jobs for ever, as it happens.

        A connection that breaks is opened again where it was; nothing is missed and nothing told twice.
        """
        position = StreamPosition(job_id, types, last_event_id)
        while not position.is_finished:
            try:
                yield from self._follow(position)
            except TransientFailure as error:
                self._sleep(error.details.get("retry_after_s") or position.next_pause())

    def _follow(self, position: StreamPosition) -> Iterator[Event]:
        timeout = httpx.Timeout(TIMEOUT_S, read=READ_TIMEOUT_S)
        with (
            self._reaching("service"),
            self._api.stream(
                "GET",
                position.path,
                params=position.params or None,
                headers=position.headers(),
                timeout=timeout,
            ) as answer,
        ):
            if answer.is_error:
                answer.read()
            require_ok(answer, "service")
            if answer.status_code == HTTPStatus.NO_CONTENT:
                position.take_silence()
                return
            for received in EventSource(answer).iter_sse():
                yield position.take(received)
                if position.is_finished:
                    return
        raise TransientFailure("The stream has ended.", code="stream_ended")

    def _run(self, operation: Operation[T]) -> T:
        """Do an operation's steps one by one."""
        try:
            step = next(operation)
            while True:
                try:
                    done = self._do(step)
                except Pipeline3dError as error:
                    step = operation.throw(error)
                else:
                    step = operation.send(done)
        except StopIteration as end:
            return cast(T, end.value)

    def _do(self, step: Step) -> Any:
        if isinstance(step, Pause):
            return self._sleep(step.seconds)
        if isinstance(step, Hash):
            return hash_file(step.path)
        if isinstance(step, Put):
            return self._put(step)
        if isinstance(step, Save):
            return self._save(step)
        return self._ask(step)

    def _ask(self, ask: Ask) -> Any:
        with self._reaching("service"):
            answer = self._api.request(
                ask.method, ask.path, json=ask.json, params=ask.params or None, headers=ask.headers
            )
        return read_answer(answer)

    def _put(self, put: Put) -> None:
        with put.path.open("rb") as file, self._reaching("object store"):
            answer = self._store.put(put.url, content=file, headers=put.headers)
        require_ok(answer, "object store")

    def _save(self, save: Save) -> Path:
        with (
            self._reaching("object store"),
            self._store.stream("GET", save.link["download_url"]) as answer,
            IncomingFile(save.link, save.path) as file,
        ):
            if answer.is_error:
                answer.read()
            require_ok(answer, "object store")
            for chunk in answer.iter_raw(CHUNK_BYTES):
                file.take(chunk)
            file.finish()
        return save.path

    def _use_key(self, api_key: str) -> None:
        self._api.headers["x-api-key"] = api_key

    @contextmanager
    def _reaching(self, whom: str) -> Iterator[None]:
        try:
            yield
        except (httpx.HTTPError, httpx.InvalidURL, SSEError) as error:
            raise meaning_of(error, whom) from error
