"""What the client does, told apart from how it waits: an operation is a generator of steps.

A step says what is to be done over the network (or that time is to pass); whoever runs the operation does
it and sends back what came. So the blocking and the asyncio client share every rule.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

from pipeline3d.client.answers import Link
from pipeline3d.errors import Pipeline3dError, RequestError, TransientFailure

T = TypeVar("T")

FIRST_SERVER_FAULT = 500
UNTRIED_LATER = frozenset({500, 501})
TOO_MANY = 429
LONGEST_RETRY_AFTER_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request to the service; gives its `Answered`."""

    method: str
    path: str
    json: Any = None
    params: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    read_timeout_s: float | None = None
    """Where the answer may take longer than usual."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """Send a file to the object store; gives None."""

    url: str
    path: Path
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hash:
    """Read a file of this machine; gives its SHA-256 as hexadecimal digits."""

    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Save:
    """Bring a file from the object store, whole and verified or not at all; gives its path."""

    link: Link
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Let time pass; gives None."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What the service answered."""

    status: int
    headers: Mapping[str, str]
    body: Any


Step = Ask | Put | Hash | Save | Pause
Operation = Generator[Step, Any, T]


def read_answer(answer: httpx.Response, whom: str = "service") -> Answered:
    """An answer of the service as a value. Raises the error that it tells of."""
    require_ok(answer, whom)
    if not answer.content:
        return Answered(status=answer.status_code, headers=answer.headers, body=None)
    try:
        body = answer.json()
    except ValueError as error:
        raise Pipeline3dError(f"{answer.url} did not answer with JSON.", code="bad_answer") from error
    return Answered(status=answer.status_code, headers=answer.headers, body=body)


def require_ok(answer: httpx.Response, whom: str) -> None:
    """Raise the error that an answer tells of: by its code, never by its text."""
    if answer.is_success:
        return
    try:
        problem = answer.json()
    except ValueError:
        problem = {}
    if not isinstance(problem, dict):
        problem = {}
    status = answer.status_code
    may_work_later = status == TOO_MANY or (status >= FIRST_SERVER_FAULT and status not in UNTRIED_LATER)
    kind = TransientFailure if may_work_later else RequestError
    raise kind(
        str(problem.get("detail") or f"The {whom} answered {status}."),
        code=str(problem.get("code") or f"http_{status}"),
        hint=problem.get("hint"),
        details={
            "status": status,
            "errors": problem.get("errors", []),
            "retry_after_s": read_retry_after(answer.headers.get("retry-after")),
        },
    )


def read_retry_after(header: str | None) -> float | None:
    """The seconds of a Retry-After header; None where it is a date or nothing."""
    if header is None or not header.isascii() or not header.isdigit():
        return None
    return min(float(header), LONGEST_RETRY_AFTER_S)


def meaning_of(error: Exception, whom: str) -> Pipeline3dError:
    """A failure of httpx as one of ours."""
    if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
        return RequestError(f"The address of the {whom} is wrong: {error}.", code="bad_address")
    return TransientFailure(
        f"The {whom} does not answer ({type(error).__name__}).",
        code="unreachable",
        hint="Check that it runs and that the address is right.",
    )
