"""The forms of a message's body, by the name that a subscription has in `format`.

A form is a function of the event and the job (None for a test message) that returns the bytes of a JSON
document in UTF-8. It is called once for a delivery: what it returned is kept, and every attempt sends it.
Forms of earlier systems are added to `FORMATS`; they are pure, and raise nothing for any job.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from pipeline3d.courier.messages import ToldEvent, ToldJob
from pipeline3d.courier.shop3d_format import format_shop3d
from pipeline3d.requests.json_text import encode
from pipeline3d.requests.shop3d import CALLBACK_FORMAT
from pipeline3d.requests.webhook_events import STANDARD_FORMAT

Format = Callable[[ToldEvent, ToldJob | None], bytes]


def format_standard(event: ToldEvent, job: ToldJob | None) -> bytes:
    """Our own form, after the Standard Webhooks specification: `type`, `timestamp`, `data`."""
    data = {"message": "Webhooks arrive here."} if job is None else _describe(event, job)
    return encode({"type": event.type, "timestamp": event.at.isoformat(), "data": data})


def _describe(event: ToldEvent, job: ToldJob) -> dict[str, Any]:
    progress = dict(job.progress or {})
    data: dict[str, Any] = {
        "id": job.id,
        "sequence": event.sequence,
        "model_id": job.model_id,
        "kind": job.kind,
        "status": job.state,
        "attempt": job.attempt,
        "max_attempts": job.max_attempts,
        "progress": {**progress, "percent": job.progress_percent},
        "error": job.error,
        "tags": list(job.tags),
        "metadata": job.metadata,
        "batch_id": job.batch_id,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "completed_at": job.completed_at,
        "artifacts": [asdict(artifact) for artifact in job.artifacts],
        "links": job.links,
    }
    if event.line.get("event") == "artifact":
        data["artifact"] = {
            name: event.line.get(name) for name in ("asset", "name", "type", "size", "sha256")
        }
    return data


FORMATS: dict[str, Format] = {STANDARD_FORMAT: format_standard, CALLBACK_FORMAT: format_shop3d}


def build_body(form: str, event: ToldEvent, job: ToldJob | None) -> str:
    """The body of a message in this form; in our own where nobody knows the form any more."""
    return FORMATS.get(form, format_standard)(event, job).decode("utf-8")
