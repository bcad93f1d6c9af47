"""A tick that meets a Postgres that is away is skipped; every other error fails it."""

import dagster as dg
import pytest
from sqlalchemy.exc import OperationalError

from pipeline3d.defs.sensors.outage import skips_while_postgres_is_away
from pipeline3d.errors import DatabaseUnavailable


@pytest.mark.parametrize(
    "error", [DatabaseUnavailable("away"), OperationalError("SELECT 1", {}, Exception("refused"))]
)
def test_a_tick_without_postgres_is_skipped(error):
    @skips_while_postgres_is_away
    def evaluate() -> dg.SkipReason:
        raise error

    skipped = evaluate()
    assert isinstance(skipped, dg.SkipReason)
    assert skipped.skip_message == "Postgres does not answer."


def test_what_a_tick_brings_back_and_its_faults_go_through():
    @skips_while_postgres_is_away
    def evaluate(fault: Exception | None) -> str:
        if fault is not None:
            raise fault
        return "runs"

    assert evaluate(None) == "runs"
    with pytest.raises(KeyError):
        evaluate(KeyError("a bug"))
