"""Answers in the form of an earlier system, for accounts whose front end was written for that one.

An account's `compatibility` names the system; None is our own form, which nothing here touches. There is one:
`tcc`, whose page knows four words for the status of a job and no fields but its own. What is answered is the
same, only said differently: pure functions turn our bodies, recognised by their fields, into theirs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from fastapi import Request, Response

from pipeline3d.api.routing import EitherSlashRoute
from pipeline3d.values import JobState

TCC = "tcc"

TCC_STATUS = {
    JobState.QUEUED: "QUEUED",
    JobState.RUNNING: "PROCESSING",
    JobState.CANCELING: "PROCESSING",
    JobState.SUCCEEDED: "SUCCEEDED",
    JobState.FAILED: "FAILED",
    JobState.CANCELED: "FAILED",  # the page shows whatever else it is told as one that still waits
    JobState.EXPIRED: "FAILED",
}
LINK_EXPIRES_S = {TCC: 600}
"""Seconds that links to objects work, for those whose system told another time than ours."""

_JOB = (
    *("id", "model_id", "prompt", "input_params", "status", "progress_percent"),
    *("created_at", "started_at", "completed_at"),
)
_DOWNLOAD = ("download_url", "expires_in")
_TICKET = ("upload_url", "object_name", "expires_in")
_USER = ("id", "username", "is_active")
_LOGIN = ("api_key", "username", "message")


def present_for_tcc(answer: Any) -> Any:
    """One of our answers as that system gave it; what it did not have stays as it is."""
    if isinstance(answer, list):
        return [present_for_tcc(one) for one in answer]
    if not isinstance(answer, Mapping):
        return answer
    for fields in (_JOB, _DOWNLOAD, _TICKET, _LOGIN, _USER):
        if answer.keys() >= set(fields):
            told = {name: answer[name] for name in fields}
            if fields is _JOB:
                told["status"] = TCC_STATUS[JobState(answer["status"])]
            return told
    return answer


FORMS: dict[str, Callable[[Any], Any]] = {TCC: present_for_tcc}


def note_compatibility(request: Request, system: str | None) -> None:
    """Remember, for the answer to this request, whose form it has."""
    if system is not None:
        request.scope.setdefault("state", {})["compatibility"] = system


class CompatibleRoute(EitherSlashRoute):
    """A route whose answers have the form that the caller's account asks for."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The usual handler, and after it the form."""
        handle = super().get_route_handler()

        async def handle_and_present(request: Request) -> Response:
            response = await handle(request)
            present = FORMS.get(request.scope.get("state", {}).get("compatibility", ""))
            return response if present is None else present_answer(response, present)

        return handle_and_present


def present_answer(response: Response, present: Callable[[Any], Any]) -> Response:
    """The same answer in another form, where it is JSON. One without a body (204) may be called so, too."""
    is_json = response.headers.get("content-type", "").startswith("application/json")
    body = getattr(response, "body", None)
    if not (is_json and isinstance(body, bytes) and body):
        return response
    told = present(json.loads(body))
    response.body = json.dumps(told, ensure_ascii=False).encode()
    response.headers["content-length"] = str(len(response.body))
    return response
