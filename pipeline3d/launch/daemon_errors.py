"""What the daemon writes to its log when something goes wrong: a sentence for an outage, else a traceback.

While the code server or Postgres is on its way back, Dagster writes two tracebacks for every sensor and
round. That they are away is said once in a while; whoever reads the log is to find the faults in it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from dagster._core.errors import (
    DagsterCodeLocationLoadError,
    DagsterCodeLocationNotFoundError,
    DagsterUserCodeUnreachableError,
)
from dagster._daemon.utils import DaemonErrorCapture
from dagster._utils.error import ExceptionInfo, serializable_error_info_from_exc_info
from dagster_shared.error import SerializableErrorInfo
from sqlalchemy.exc import OperationalError

from pipeline3d.errors import DatabaseUnavailable

SAY_AGAIN_AFTER_S = 30.0
CODE_SERVER = "The code server does not answer; what waits for it goes on when it is back."
POSTGRES = "Postgres does not answer; what waits for it goes on when it is back."
OUTAGES: tuple[tuple[type[Exception], str], ...] = (
    (DagsterUserCodeUnreachableError, CODE_SERVER),
    (DagsterCodeLocationLoadError, CODE_SERVER),
    (DagsterCodeLocationNotFoundError, CODE_SERVER),
    (OperationalError, POSTGRES),
    (DatabaseUnavailable, POSTGRES),
)


def explain_outage(error: BaseException | None) -> str | None:
    """The outage that an error is about; None for anything else."""
    return next((sentence for kind, sentence in OUTAGES if isinstance(error, kind)), None)


class CalmErrors:
    """Takes the place of Dagster's own way to report an error in the daemon."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said_at: dict[str, float] = {}

    def __call__(
        self, exc_info: ExceptionInfo, logger: logging.Logger, log_message: str
    ) -> SerializableErrorInfo:
        """Log an error, and bring it back as the tick keeps it."""
        outage = explain_outage(exc_info[1])
        if outage is None:
            logger.error(log_message, exc_info=exc_info)
        elif self._is_due(outage):
            logger.warning(outage)
        return serializable_error_info_from_exc_info(exc_info)

    def _is_due(self, sentence: str) -> bool:
        now = self._clock()
        due = now - self._said_at.get(sentence, float("-inf")) >= SAY_AGAIN_AFTER_S
        if due:
            self._said_at[sentence] = now
        return due


def report_errors_calmly() -> None:
    """From now on in this process."""
    DaemonErrorCapture.process_exception = CalmErrors()
