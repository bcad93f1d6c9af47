"""Why a request waits: the rule, without a database."""

from __future__ import annotations

import pytest

from pipeline3d.requests.queue_report import Obstacle, QueueLoad, WaitFacts, explain_wait


def load(**values):
    return QueueLoad(**{"queue": "cpu", "slots": 2, "depth": 4, "workers": 1, **values})


def facts(**values):
    return WaitFacts(**{"in_work_of_user": 0, "limit_of_user": None, **values})


@pytest.mark.parametrize(
    ("facts", "load", "obstacle", "words"),
    [
        (facts(), load(paused="new driver"), Obstacle.PAUSED, "new driver"),
        (facts(), load(paused=""), Obstacle.PAUSED, "queue cpu is paused"),
        # a pause holds whatever else is so
        (facts(limit_of_user=0), load(paused=""), Obstacle.PAUSED, "paused"),
        (facts(in_work_of_user=3, limit_of_user=3), load(), Obstacle.USER_LIMIT, "3 of 3"),
        (facts(in_work_of_user=2, limit_of_user=3), load(), Obstacle.NEXT, "dispatcher"),
        (facts(retry_in_s=12.4), load(), Obstacle.RETRY_LATER, "12 s"),
        (facts(retry_in_s=-1.0), load(), Obstacle.NEXT, "dispatcher"),  # its time has come
        (facts(), load(slots=0, depth=0, workers=0), Obstacle.NO_WORKER, "queue cpu"),
        (facts(), load(dispatched=4, running=2), Obstacle.QUEUE_FULL, "2 slots have 2 running and 4 of 4"),
        (facts(), load(dispatched=3, running=2), Obstacle.NEXT, "dispatcher"),
        # on its way: only where it is counts, no limit takes it back
        (facts(dispatched=True, limit_of_user=0), load(paused=""), Obstacle.IN_DAGSTER, "run queue"),
        (
            facts(dispatched=True, held_by_dagster="pool gpu: 1 of 1"),
            load(),
            Obstacle.IN_DAGSTER,
            "pool gpu: 1 of 1",
        ),
        (facts(dispatched=True, launched=True), load(), Obstacle.FOR_WORKER, "next free slot"),
        (facts(dispatched=True, launched=True), load(slots=0), Obstacle.NO_WORKER, "launched"),
        (facts(dispatched=True, launched=True, worker_id="w7"), load(), Obstacle.STARTING, "w7"),
    ],
)
def test_the_first_thing_that_would_have_to_change_is_named(facts, load, obstacle, words):
    found, why = explain_wait(facts, load)
    assert found is obstacle
    assert words in why
