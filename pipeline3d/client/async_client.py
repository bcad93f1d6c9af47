"""The client for asyncio: what `http_client` does, without blocking. Its rules are in `operations`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
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


class AsyncPipeline3dClient:
    """The same as `Pipeline3dClient` for asyncio. Close it with `aclose`, or use an `async with` block."""

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        timeout = httpx.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        self._api = httpx.AsyncClient(base_url=base_url.rstrip("/"), timeout=timeout)
        # Apart from the API's, so that the key is never sent to the object store.
        self._store = httpx.AsyncClient(timeout=timeout)
        self._sleep = sleep
        self._clock = clock
        if api_key:
            self._use_key(api_key)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._api.aclose()
        await self._store.aclose()

    async def login(self, username: str, password: str) -> str:
        """Sign in and use the new key from now on; returns the key."""
        key = await self._run(operations.log_in(username, password))
        self._use_key(key)
        return key

    async def upload(self, path: Path | str, content_type: str | None = None) -> str:
        """Upload a file; returns the object name that a job takes as `input_path`."""
        return await self._run(operations.upload(Path(path), content_type))

    async def create_job(
        self,
        model_id: str,
        input_params: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
        **options: Unpack[JobOptions],
    ) -> Job:
        """Ask for a model. With an idempotency key, asking again gives the same job."""
        body = operations.job_body(model_id, input_params or {}, options)
        return await self._run(operations.create_job(body, idempotency_key))

    async def create_batch(
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
        return dict(await self._run(operations.create_batch(body, idempotency_key, atomic=atomic)))

    async def estimate(
        self, model_id: str, input_params: Mapping[str, Any] | None = None, **options: Unpack[JobOptions]
    ) -> dict[str, Any]:
        """What such a job costs and how long it takes; nothing is made."""
        body = operations.job_body(model_id, input_params or {}, options)
        return dict(await self._run(operations.change("POST", f"{JOBS}/estimate", body)))

    async def get_job(self, job_id: Id) -> Job:
        """A job as it stands."""
        return await self._run(operations.get_job(job_id))

    async def cancel(self, job_id: Id) -> Job:
        """End a job; CANCELING while its run is being stopped. A finished one comes back as it is."""
        return cast(Job, await self._run(operations.change("POST", f"{JOBS}/{job_id}/cancel")))

    async def retry(self, job_id: Id) -> Job:
        """Try a job that did not succeed once more; one that is under way comes back as it is."""
        return cast(Job, await self._run(operations.change("POST", f"{JOBS}/{job_id}/retry")))

    async def rerun(self, job_id: Id, *, idempotency_key: str | None = None, **changes: Any) -> Job:
        """A new job like that one, with changes of its body: `input_params={"seed": 7}`."""
        return await self._run(operations.rerun(job_id, changes, idempotency_key))

    async def delete(self, job_id: Id) -> None:
        """Delete a job with its files for good; no error where that was done before."""
        await self._run(operations.delete_job(job_id))

    async def list_jobs(
        self, *, skip: int | None = None, limit: int = 50, before: Id | None = None, **filters: Any
    ) -> list[Job]:
        """One's own jobs, newest first; `filters` as the API has them: status, model_id, tag, q …"""
        return (await self.page_of_jobs(skip=skip, limit=limit, before=before, **filters)).items

    async def page_of_jobs(self, **filters: Any) -> Page[Job]:
        """The same as a page with the `next_cursor` and, with `include_total=True`, the `total`."""
        return await self._run(operations.list_jobs(filters))

    async def events(self, job_id: Id, *, after: int = 0) -> list[HistoryLine]:
        """A job's history after an event's id."""
        return await self._run(operations.list_events(job_id, after))

    async def models(self) -> list[Model]:
        """What can be asked for."""
        return await self._run(operations.list_models())

    async def wait(
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
            return await self._run(operations.wait(job_id, told, timeout_s, self._clock))

    async def download(self, job_id: Id, path: Path | str, name: str | None = None) -> Path:
        """Save a job's model, or its artifact of that name, verified; returns the path."""
        return await self._run(operations.download(job_id, Path(path), name))

    async def generate(
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
            params["input_path"] = await self.upload(photo)
        job = await self.create_job(model_id, params, **options)
        return require_success(await self.wait(job["id"], timeout_s=timeout_s, show_progress=show_progress))

    async def request(self, method: str, path: str, body: Any = None) -> Any:
        """Anything else of the API: the body of its answer. `path` as in its documentation, from `/api`."""
        return await self._run(operations.change(method, path, body))

    async def iterate_jobs(self, **filters: Any) -> AsyncIterator[Job]:
        """All of one's own jobs that the filters leave, a page at a time."""
        page = await self.page_of_jobs(**filters)
        for job in page.items:
            yield job
        while page.next_cursor is not None:
            page = await self.page_of_jobs(**{**filters, "cursor": page.next_cursor})
            for job in page.items:
                yield job

    async def watch(
        self,
        job_id: Id | None = None,
        *,
        types: Sequence[str] | None = None,
        last_event_id: str | None = None,
    ) -> AsyncIterator[Event]:
        """What happens to a job until it ends, or to all of one's own jobs for ever, as it happens.

        A connection that breaks is opened again where it was; nothing is missed and nothing told twice.
        """
        position = StreamPosition(job_id, types, last_event_id)
        while not position.is_finished:
            try:
                async for event in self._follow(position):
                    yield event
            except TransientFailure as error:
                await self._sleep(error.details.get("retry_after_s") or position.next_pause())

    async def _follow(self, position: StreamPosition) -> AsyncIterator[Event]:
        timeout = httpx.Timeout(TIMEOUT_S, read=READ_TIMEOUT_S)
        with self._reaching("service"):
            async with self._api.stream(
                "GET",
                position.path,
                params=position.params or None,
                headers=position.headers(),
                timeout=timeout,
            ) as answer:
                if answer.is_error:
                    await answer.aread()
                require_ok(answer, "service")
                if answer.status_code == HTTPStatus.NO_CONTENT:
                    position.take_silence()
                    return
                async for received in EventSource(answer).aiter_sse():
                    yield position.take(received)
                    if position.is_finished:
                        return
        raise TransientFailure("The stream has ended.", code="stream_ended")

    async def _run(self, operation: Operation[T]) -> T:
        """Do an operation's steps one by one."""
        try:
            step = next(operation)
            while True:
                try:
                    done = await self._do(step)
                except Pipeline3dError as error:
                    step = operation.throw(error)
                else:
                    step = operation.send(done)
        except StopIteration as end:
            return cast(T, end.value)

    async def _do(self, step: Step) -> Any:
        if isinstance(step, Pause):
            return await self._sleep(step.seconds)
        if isinstance(step, Hash):
            return await asyncio.to_thread(hash_file, step.path)
        if isinstance(step, Put):
            return await self._put(step)
        if isinstance(step, Save):
            return await self._save(step)
        return await self._ask(step)

    async def _ask(self, ask: Ask) -> Any:
        with self._reaching("service"):
            answer = await self._api.request(
                ask.method, ask.path, json=ask.json, params=ask.params or None, headers=ask.headers
            )
        return read_answer(answer)

    async def _put(self, put: Put) -> None:
        size = await asyncio.to_thread(lambda: put.path.stat().st_size)
        headers = {**put.headers, "Content-Length": str(size)}
        with self._reaching("object store"):
            answer = await self._store.put(put.url, content=_chunks_of(put.path), headers=headers)
        require_ok(answer, "object store")

    async def _save(self, save: Save) -> Path:
        with self._reaching("object store"), IncomingFile(save.link, save.path) as file:
            async with self._store.stream("GET", save.link["download_url"]) as answer:
                if answer.is_error:
                    await answer.aread()
                require_ok(answer, "object store")
                async for chunk in answer.aiter_raw(CHUNK_BYTES):
                    await asyncio.to_thread(file.take, chunk)
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


async def _chunks_of(path: Path) -> AsyncIterator[bytes]:
    """A file's content, read beside the event loop."""
    with path.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield chunk
