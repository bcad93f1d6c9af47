"""The one error tree: a branch is what the caller does differently.

Pipeline3dError
    RequestError            the caller can fix it: a 4xx answer, never retried
        InvalidParameters   a value is missing, of the wrong type or out of range
            InvalidAddress      an address of the web that is none
            ForbiddenAddress    an address of the web that this service does not visit
        UnknownModel        no such model in the catalogue
        ModelNotReady       the model exists, this installation cannot run it
        UnknownJob          no such job
        NotYours            the job or object belongs to somebody else
        NotAuthenticated    no key, or a wrong one
        NotFinished         the job has no result yet
        IdempotencyConflict the key was used before with another body
        LimitReached        a limit of the caller is reached: the same may work later
    PermanentFailure        same input, same failure: a run ends FAILED and is not retried
        UnusableInput       the picture, sound or text cannot be worked with
        BrokenArtifact      an object that was recorded is missing or not what was recorded
        BrokenModelOutput   the model made something that is not a valid result
    TransientFailure        another attempt may succeed: retried with back-off
        StoreUnavailable    the object store does not answer
        DatabaseUnavailable Postgres does not answer
        WorkerLost          the process that worked on the request went away
    LeaseLost               somebody else owns the request now: stop, write nothing
    SettingsError           the installation is configured wrongly: stop the start
    ServerFailure           an embedded server did not start or stay up

Every error carries a stable `code` for programs, a message for people that says what came and what
was allowed, and a `hint` that says what to do. Nothing here knows HTTP, SQL or Dagster.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class Pipeline3dError(Exception):
    """Base of every error that this project raises on purpose."""

    code: str = "internal_error"
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        hint: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.hint = hint
        self.details: dict[str, Any] = dict(details or {})

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" + (f" {self.hint}" if self.hint else "")


class RequestError(Pipeline3dError):
    """The caller can fix it."""

    code = "bad_request"


class InvalidParameters(RequestError):
    """A value is missing, of the wrong type or out of range."""

    code = "invalid_parameters"


class InvalidAddress(InvalidParameters):
    """What should be an address of the web is none."""

    code = "address_invalid"


class ForbiddenAddress(InvalidParameters):
    """An address of the web that this service does not visit: it lies in a private network."""

    code = "address_forbidden"


class UnknownModel(RequestError):
    """No such model in the catalogue."""

    code = "unknown_model"


class ModelNotReady(RequestError):
    """The model exists, but this installation cannot run it."""

    code = "model_not_ready"


class UnknownJob(RequestError):
    """No such job."""

    code = "unknown_job"


class NotYours(RequestError):
    """The job or object belongs to somebody else."""

    code = "not_yours"


class NotAuthenticated(RequestError):
    """No key, or a wrong one."""

    code = "not_authenticated"


class NotFinished(RequestError):
    """The job has no result yet."""

    code = "not_finished"


class IdempotencyConflict(RequestError):
    """The idempotency key was used before with another body."""

    code = "idempotency_conflict"


class LimitReached(RequestError):
    """A limit of the caller is reached. `details["retry_after_s"]` says how long it stays so, where known."""

    code = "limit_reached"


class PermanentFailure(Pipeline3dError):
    """Same input, same failure."""

    code = "permanent_failure"


class UnusableInput(PermanentFailure):
    """The picture, sound or text cannot be worked with."""

    code = "unusable_input"


class BrokenArtifact(PermanentFailure):
    """An object that was recorded is missing or is not what was recorded."""

    code = "broken_artifact"


class BrokenModelOutput(PermanentFailure):
    """The model made something that is not a valid result."""

    code = "broken_model_output"


class TransientFailure(Pipeline3dError):
    """Another attempt may succeed."""

    code = "transient_failure"
    retryable = True


class StoreUnavailable(TransientFailure):
    """The object store does not answer."""

    code = "store_unavailable"


class DatabaseUnavailable(TransientFailure):
    """Postgres does not answer."""

    code = "database_unavailable"


class WorkerLost(TransientFailure):
    """The process that worked on the request went away."""

    code = "worker_lost"


class LeaseLost(Pipeline3dError):
    """Somebody else owns the request now: stop and write nothing."""

    code = "lease_lost"


class SettingsError(Pipeline3dError):
    """The installation is configured wrongly."""

    code = "bad_settings"


class ServerFailure(Pipeline3dError):
    """An embedded server did not start or did not stay up."""

    code = "server_failure"
