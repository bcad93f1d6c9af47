"""Which models go: the cheapest to have again for its bytes, never a busy one, never more than needed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline3d.generation.serving.eviction import (
    HALF_LIFE_S,
    Holding,
    decay_uses,
    idle,
    plan_eviction,
)

GB = 10**9


def holding(
    key: str, size: float, reload_s: float, uses: float = 1, inflation: float = 0, busy: bool = False
):
    return Holding(
        key=key,
        held_bytes=int(size * GB),
        reload_s=reload_s,
        recent_uses=uses,
        inflation=inflation,
        busy=busy,
    )


TRIPOSR = holding("triposr", 2, 1)
SF3D = holding("sf3d", 6, 25)
WHISPER = holding("whisper", 3, 3)


@pytest.mark.parametrize(
    ("holdings", "must_free", "gone"),
    [
        ([TRIPOSR, SF3D], 0, ()),  # enough is free
        ([TRIPOSR, SF3D], GB, ("triposr",)),  # a second for two gigabytes against 25 for six
        ([TRIPOSR, SF3D, WHISPER], 4 * GB, ("triposr", "whisper")),
        ([TRIPOSR, SF3D], 3 * GB, ("sf3d",)),  # the large one alone is enough: the small one stays
        ([TRIPOSR, SF3D], 9 * GB, None),  # not even all of them
        ([holding("a", 2, 1, busy=True), SF3D], GB, ("sf3d",)),  # never a busy one
        ([holding("a", 2, 1, busy=True)], GB, None),
        ([holding("a", 2, 1, uses=30), WHISPER], GB, ("whisper",)),  # what is used much stays
        ([holding("a", 2, 1, inflation=9), SF3D], GB, ("sf3d",)),  # what was dear long ago goes
        ([holding("a", 0, 1), WHISPER], GB, ("whisper",)),  # what holds nothing frees nothing
    ],
)
def test_the_cheapest_to_have_again_goes(holdings, must_free, gone):
    plan = plan_eviction(holdings, must_free, 0.0)
    assert (None if plan is None else plan.keys) == gone


def test_what_goes_raises_the_inflation_so_that_old_credit_fades():
    plan = plan_eviction([TRIPOSR, SF3D], GB, 0.0)
    assert plan.inflation == TRIPOSR.credit
    assert plan_eviction([TRIPOSR], GB, 99.0).inflation == 99.0


def test_a_use_counts_half_after_its_half_life():
    assert decay_uses(4, HALF_LIFE_S) == pytest.approx(2)
    assert decay_uses(4, 0) == 4
    assert decay_uses(4, -1) == 4


holdings = st.lists(
    st.builds(
        Holding,
        key=st.uuids().map(str),
        held_bytes=st.integers(0, 20),
        reload_s=st.floats(0, 100),
        recent_uses=st.floats(0, 100),
        inflation=st.floats(0, 100),
        busy=st.booleans(),
    ),
    max_size=8,
    unique_by=lambda holding: holding.key,
)


@given(holdings, st.integers(-5, 100), st.floats(0, 100))
def test_a_plan_frees_enough_of_idle_models_and_spares_whom_it_can(present, must_free, inflation):
    plan = plan_eviction(present, must_free, inflation)
    by_key = {holding.key: holding for holding in present}
    if plan is None:
        assert sum(holding.held_bytes for holding in idle(present)) < must_free
        return
    gone = [by_key[key] for key in plan.keys]
    assert len(set(plan.keys)) == len(plan.keys)
    assert not any(holding.busy for holding in gone)
    freed = sum(holding.held_bytes for holding in gone)
    assert freed >= must_free
    # none of them could have stayed
    assert all(freed - holding.held_bytes < must_free for holding in gone)
    assert plan.inflation >= inflation
