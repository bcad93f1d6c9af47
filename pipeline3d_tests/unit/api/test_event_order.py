"""In whatever order transactions commit, what is told can be resumed: nothing settled is out of order."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline3d.api import event_order
from pipeline3d.api.event_order import EventOrder


@dataclass(frozen=True)
class Line:
    id: int


def ids_of(told):
    return [(one.line.id, one.is_settled) for one in told]


def lines(*ids):
    return [Line(number) for number in ids]


def test_lines_without_a_gap_are_told_at_once():
    order = EventOrder(10)
    assert ids_of(order.take(lines(11, 12), now=0)) == [(11, True), (12, True)]
    assert (order.settled, order.in_doubt, order.seen) == (12, False, [])


def test_what_follows_a_gap_waits_for_whoever_may_fill_it():
    order = EventOrder(10)
    assert order.take(lines(12), now=0) == []
    order.note_writers(["a", "b"])
    assert order.waits_for_writers
    assert order.take([], now=0.1) == []
    order.note_writers(["b", "c"])  # c began later: it cannot have the missing id
    assert ids_of(order.take(lines(11), now=0.2)) == [(11, True), (12, True)]


@pytest.mark.parametrize("writers", [[[]], [["a"], []], [["a"], ["b"]], [["a", "b"], ["b"], ["c"]]])
def test_a_gap_that_nobody_can_fill_any_more_is_passed_after_another_reading(writers):
    order = EventOrder(10)
    order.take(lines(12), now=0)
    for number, found in enumerate(writers):
        assert order.take([], now=0.01 * number) == []
        order.note_writers(found)
    assert ids_of(order.take([], now=0.5)) == [(12, True)]
    assert order.settled == 12


def test_a_gap_is_not_passed_on_half_a_reading():
    order = EventOrder(10)
    order.take(lines(14, 15), now=0)
    order.note_writers([])
    assert ids_of(order.take(lines(11), now=0, is_whole=False)) == [(11, True)]
    assert ids_of(order.take(lines(13), now=0)) == [(13, True), (14, True), (15, True)]


def test_a_gap_that_stays_open_lets_the_rest_be_told_unsettled_and_then_no_more(monkeypatch):
    order = EventOrder(10)
    order.take(lines(12), now=0)
    order.note_writers(["a"])
    assert ids_of(order.take(lines(13), now=event_order.HOLD_S)) == [(12, False), (13, False)]
    assert order.is_held_up
    assert order.told_unsettled == {12, 13}
    assert ids_of(order.take(lines(14), now=event_order.HOLD_S + 1)) == [(14, False)]
    assert ids_of(order.take(lines(11), now=event_order.HOLD_S + 2)) == [(11, True)], "the rest was told"
    assert (order.settled, order.is_held_up) == (14, False)
    assert ids_of(order.take(lines(15), now=99)) == [(15, True)]


@pytest.mark.parametrize(("count", "now"), [(1, event_order.GIVE_UP_S), (3, 0.1)])
def test_a_gap_is_given_up_after_long_or_behind_many(monkeypatch, count, now):
    monkeypatch.setattr(event_order, "MAX_UNSETTLED", 3)
    order = EventOrder(10)
    order.take(lines(*range(12, 12 + count)), now=0)
    order.note_writers(["a"])
    assert len(order.take([], now=now)) == count
    assert order.gaps_given_up == 1
    assert order.settled == 11 + count


@given(data=st.data())
def test_any_interleaving_tells_each_committed_line_once_and_in_order(data):
    """Transactions take ids, and commit or roll back, in any order; readings come at any moment."""
    order = EventOrder(0)
    next_id, open_writers, committed, told = 1, {}, set(), []
    for step in range(data.draw(st.integers(1, 40))):
        action = data.draw(st.sampled_from(["begin", "commit", "roll back", "read", "read"]))
        if action == "begin":
            open_writers[f"w{step}"] = next_id
            next_id += 1
        elif action in ("commit", "roll back") and open_writers:
            writer = data.draw(st.sampled_from(sorted(open_writers)))
            number = open_writers.pop(writer)
            if action == "commit":
                committed.add(number)
        elif action == "read":
            told += read(order, committed)
            order.note_writers(open_writers)
    committed |= set(open_writers.values())
    for _ in range(3):
        told += read(order, committed)
        order.note_writers([])
    assert told == sorted(committed)


def read(order, committed):
    """What is told after a reading of everything that is visible, long before anybody loses patience."""
    unread = sorted(number for number in committed if number > order.settled and number not in order.seen)
    found = order.take(lines(*unread), now=0)
    assert all(one.is_settled for one in found)
    return [one.line.id for one in found]
