"""The body that the product photo system's worker sent to its callback."""

from __future__ import annotations

from pipeline3d.courier.messages import ToldEvent, ToldJob
from pipeline3d.requests.json_text import encode
from pipeline3d.requests.shop3d import build_callback


def format_shop3d(event: ToldEvent, job: ToldJob | None) -> bytes:
    """A job as that system's backend was told of it; a test message is a job of nobody."""
    if job is None:
        return encode(
            {"jobId": "test", "status": "pending", "metadata": {"message": "Webhooks arrive here."}}
        )
    stage = (job.progress or {}).get("stage")
    return encode(
        build_callback(
            job.id,
            job.state,
            job.params,
            stage=stage,
            error=job.error,
            metadata=job.metadata,
            api_url=job.api_url,
        )
    )
