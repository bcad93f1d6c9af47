"""A short outage is waited out; a long one, and every other error, is the caller's."""

import pytest

from pipeline3d.errors import DatabaseUnavailable, LeaseLost, StoreUnavailable
from resources.patience import FIRST_PAUSE_S, LONGEST_PAUSE_S, wait_out_outage


class Outage:
    """A server that is away until a moment, and a clock that only waiting moves."""

    def __init__(self, ends_at: float, error: type[Exception] = DatabaseUnavailable) -> None:
        self.now = 0.0
        self.pauses: list[float] = []
        self.tries = 0
        self._ends_at = ends_at
        self._error = error

    def ask(self) -> str:
        self.tries += 1
        if self.now < self._ends_at:
            raise self._error("away")
        return "answer"

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def wait_out(self, patience_s: float) -> str:
        return wait_out_outage(self.ask, patience_s=patience_s, clock=lambda: self.now, pause=self.pause)


@pytest.mark.parametrize("error", [DatabaseUnavailable, StoreUnavailable])
@pytest.mark.parametrize("seconds", [0, 0.1, 3, 29])
def test_an_outage_within_the_patience_is_not_noticed(error, seconds):
    assert Outage(seconds, error).wait_out(patience_s=60) == "answer"


def test_pauses_grow_to_a_limit():
    outage = Outage(30)
    outage.wait_out(patience_s=60)
    assert outage.pauses[0] == FIRST_PAUSE_S
    assert outage.pauses == sorted(outage.pauses)
    assert outage.pauses[-1] == LONGEST_PAUSE_S


def test_a_longer_outage_is_raised_before_the_patience_is_over():
    outage = Outage(1e9)
    with pytest.raises(DatabaseUnavailable):
        outage.wait_out(patience_s=60)
    assert 60 - LONGEST_PAUSE_S <= outage.now <= 60


def test_an_error_that_is_no_outage_is_raised_at_once():
    outage = Outage(1, LeaseLost)
    with pytest.raises(LeaseLost):
        outage.wait_out(patience_s=60)
    assert outage.tries == 1
