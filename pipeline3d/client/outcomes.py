"""What a finished job is to a caller who wanted its result."""

from __future__ import annotations

from pipeline3d.client.answers import Job
from pipeline3d.errors import Pipeline3dError
from pipeline3d.values import JobState


class JobFailed(Pipeline3dError):
    """The job ended without a result; `job` is all that is known of it."""

    code = "job_failed"

    def __init__(self, job: Job) -> None:
        error = job["error"]
        message = f"Job {job['id']} is {job['status']}" + (f": {error['message']}" if error else ".")
        super().__init__(
            message, code=error["code"] if error else None, hint=error["hint"] if error else None
        )
        self.job = job


def require_success(job: Job) -> Job:
    """The job where it succeeded. Raises JobFailed."""
    if job["status"] != JobState.SUCCEEDED:
        raise JobFailed(job)
    return job
