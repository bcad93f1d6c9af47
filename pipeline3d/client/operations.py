"""Everything that can be asked of the service, as operations without a network: see `exchanges`.

What is asked with GET, PUT or an idempotency key is asked again where the service is away for a moment or has
too much to do; what might then happen twice is not.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from pipeline3d.client.answers import HistoryLine, Job, Link, Model, Page
from pipeline3d.client.exchanges import Answered, Ask, Hash, Operation, Pause, Put, Save
from pipeline3d.errors import Pipeline3dError, RequestError, TransientFailure
from pipeline3d.values import FINISHED_STATES

API_PREFIX = "/api/v1"
JOBS = f"{API_PREFIX}/jobs"
TRIES = 3
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 1.0
PAUSE_GROWTH = 1.3
WAIT_APPLIED = "preference-applied"
Id = UUID | str


def call(ask: Ask, *, tries: int = TRIES) -> Operation[Answered]:
    """Ask; up to `tries` times where the failure may pass, as long apart as the service says."""
    pause_s = FIRST_PAUSE_S
    for last in [False] * (tries - 1) + [True]:
        try:
            answered: Answered = yield ask
        except TransientFailure as error:
            if last:
                raise
            yield Pause(seconds=error.details.get("retry_after_s") or pause_s)
            pause_s *= 2
        else:
            return answered
    raise AssertionError("the last try returns or raises")


def read(path: str, **params: Any) -> Operation[Any]:
    """The body of a GET."""
    answered = yield from call(Ask(method="GET", path=path, params=_given(params)))
    return answered.body


def change(method: str, path: str, body: Any = None) -> Operation[Any]:
    """The body of what a change answers. It is safe to repeat: each of ours leads to the same state."""
    answered = yield from call(Ask(method=method, path=path, json=body))
    return answered.body


def log_in(username: str, password: str) -> Operation[str]:
    """A new key."""
    body = {"username": username, "password": password}
    ask = Ask(method="POST", path=f"{API_PREFIX}/auth/login", json=body)
    answered = yield from call(ask, tries=1)
    return str(answered.body["api_key"])


def upload(path: Path, content_type: str | None = None) -> Operation[str]:
    """Upload a file; the object name that a job takes as `input_path`. What is stored already is not sent."""
    kind = content_type or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    size = path.stat().st_size
    sha256: str = yield Hash(path=path)
    ticket = yield from change(
        "POST",
        f"{JOBS}/upload-ticket",
        {"filename": path.name, "content_type": kind, "size": size, "sha256": sha256},
    )
    if size > ticket.get("max_bytes", size):
        raise RequestError(
            f"{path} has {size} bytes; at most {ticket['max_bytes']} are accepted.", code="file_too_large"
        )
    if not ticket.get("already_stored"):
        # an account of an earlier system's form is told neither headers nor id
        headers = ticket.get("headers", {"Content-Type": kind, "x-amz-content-sha256": sha256})
        yield Put(url=ticket["upload_url"], path=path, headers=headers)
        if "id" in ticket:
            # Only what the service has read and hashed does it recognise the next time.
            yield from change("POST", f"{API_PREFIX}/uploads/{ticket['id']}/complete")
    return str(ticket["object_name"])


def create_job(body: Mapping[str, Any], idempotency_key: str | None) -> Operation[Job]:
    """Ask for a model. Asked with a key, made here if none is given, so that a lost answer costs nothing."""
    key = idempotency_key or str(uuid4())
    ask = Ask(method="POST", path=f"{JOBS}/", json=dict(body), headers={"Idempotency-Key": key})
    answered = yield from call(ask)
    job: Job = answered.body
    return job


def create_batch(body: Mapping[str, Any], idempotency_key: str | None, *, atomic: bool) -> Operation[Any]:
    """Ask for many; the report of what was made and what was refused."""
    key = idempotency_key or str(uuid4())
    params = {"atomic": "true"} if atomic else {}
    ask = Ask(
        method="POST",
        path=f"{JOBS}/batch",
        json=dict(body),
        params=params,
        headers={"Idempotency-Key": key},
    )
    answered = yield from call(ask)
    return answered.body


def rerun(job_id: Id, changes: Mapping[str, Any], idempotency_key: str | None) -> Operation[Job]:
    """The same once more as a new job, with changes."""
    key = idempotency_key or str(uuid4())
    ask = Ask(
        method="POST", path=f"{JOBS}/{job_id}/rerun", json=dict(changes), headers={"Idempotency-Key": key}
    )
    answered = yield from call(ask)
    job: Job = answered.body
    return job


def get_job(job_id: Id) -> Operation[Job]:
    """A job as it stands."""
    job: Job = yield from read(f"{JOBS}/{job_id}")
    return job


def delete_job(job_id: Id) -> Operation[None]:
    """Delete a job and all that belongs to it; no error where it is deleted already."""
    try:
        yield from change("DELETE", f"{JOBS}/{job_id}")
    except RequestError as error:
        if error.code != "unknown_job":
            raise


def list_jobs(filters: Mapping[str, Any]) -> Operation[Page[Job]]:
    """A page of one's own jobs."""
    answered = yield from call(Ask(method="GET", path=f"{JOBS}/", params=_given(filters)))
    total = answered.headers.get("x-total-count")
    return Page(
        items=answered.body,
        next_cursor=answered.headers.get("x-next-cursor"),
        total=None if total is None else int(total),
    )


def list_events(job_id: Id, after: int) -> Operation[list[HistoryLine]]:
    """A job's history after an event's id."""
    lines: list[HistoryLine] = yield from read(f"{JOBS}/{job_id}/events", after=after)
    return lines


def list_models() -> Operation[list[Model]]:
    """What can be asked for."""
    models: list[Model] = yield from read(f"{API_PREFIX}/models")
    return models


def wait(
    job_id: Id,
    on_progress: Callable[[Job], None] | None,
    timeout_s: float,
    clock: Callable[[], float],
) -> Operation[Job]:
    """Ask until the job is finished, however it ended; tell `on_progress` of each change.

    The service is asked to answer when the job ends or after the pause; where it does not do that, the pause
    is made here. A service that is away for a moment is asked again until the time is up.
    """
    deadline = clock() + timeout_s
    pause_s = FIRST_PAUSE_S
    seen: object = None
    ask = Ask(method="GET", path=f"{JOBS}/{job_id}")
    while True:
        waited = False
        try:
            answered: Answered = yield ask
        except TransientFailure:
            if clock() >= deadline:
                raise
        else:
            job: Job = answered.body
            waited = WAIT_APPLIED in answered.headers
            told = (job["status"], job["progress"])
            if on_progress is not None and told != seen:
                on_progress(job)
            seen = told
            if job["status"] in FINISHED_STATES:
                return job
            if clock() >= deadline:
                raise Pipeline3dError(
                    f"Job {job_id} is still {job['status']} after {timeout_s:g} s.",
                    code="wait_timeout",
                    hint="It goes on; wait again later.",
                )
        if not waited:
            yield Pause(seconds=min(pause_s, max(deadline - clock(), 0.0)))
        pause_s = min(pause_s * PAUSE_GROWTH, LONGEST_PAUSE_S)
        if pause_s >= LONGEST_PAUSE_S:
            ask = replace(ask, headers={"Prefer": f"wait={LONGEST_PAUSE_S:.0f}"})


def download(job_id: Id, path: Path, name: str | None) -> Operation[Path]:
    """Save a job's model, or its artifact of that name, verified."""
    url = f"{JOBS}/{job_id}/download"
    if name is not None:
        job = yield from get_job(job_id)
        named = [item for item in job["artifacts"] if item["name"] == name]
        if not named:
            raise RequestError(f"Job {job_id} has no artifact {name!r}.", code="unknown_artifact")
        url = named[-1]["url"]
    link: Link = yield from read(url)
    saved: Path = yield Save(link=link, path=path)
    return saved


def job_body(model_id: str, input_params: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a request for a job; options that are not given are left out."""
    return {"model_id": model_id, "input_params": dict(input_params), **_given(options)}


def batch_body(
    jobs: Sequence[Mapping[str, Any]], defaults: Mapping[str, Any] | None, name: str | None
) -> dict[str, Any]:
    """The body of a request for many jobs."""
    return {"jobs": [dict(job) for job in jobs], **_given({"defaults": defaults, "name": name})}


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
