"""The daemon's log: an outage is a sentence now and then, a fault is a traceback every time."""

import logging
import sys

import pytest
from dagster._core.errors import DagsterUserCodeUnreachableError
from sqlalchemy.exc import OperationalError

from pipeline3d.errors import DatabaseUnavailable
from pipeline3d.launch.daemon_errors import CODE_SERVER, POSTGRES, SAY_AGAIN_AFTER_S, CalmErrors

logger = logging.getLogger("daemon under test")


def report(errors: CalmErrors, error: Exception):
    """As Dagster does it, in the middle of handling the error."""
    try:
        raise error
    except Exception:
        return errors(sys.exc_info(), logger, "Sensor tick caught an error")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (DagsterUserCodeUnreachableError("UNAVAILABLE"), CODE_SERVER),
        (OperationalError("SELECT 1", {}, Exception("refused")), POSTGRES),
        (DatabaseUnavailable("away"), POSTGRES),
    ],
)
def test_an_outage_is_said_once_in_a_while_and_without_a_traceback(caplog, error, sentence):
    now = [0.0]
    errors = CalmErrors(clock=lambda: now[0])
    for moment in (0.0, 1.0, SAY_AGAIN_AFTER_S - 1, SAY_AGAIN_AFTER_S):
        now[0] = moment
        assert str(error) in report(errors, error).message  # the tick keeps it every time
    assert [(record.message, record.exc_info) for record in caplog.records] == [(sentence, None)] * 2


def test_a_fault_is_written_every_time_with_its_traceback(caplog):
    errors = CalmErrors()
    for _ in range(2):
        report(errors, KeyError("a bug"))
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert all(record.exc_info for record in caplog.records)
