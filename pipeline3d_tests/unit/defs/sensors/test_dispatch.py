"""The plan of a dispatch: deterministic keys, one partition for each request, no finished work again."""

from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline3d.defs.sensors.dispatch import plan_partitions, plan_run, plan_stages
from pipeline3d.values import STAGES_BY_ROUTE, Claim, Family, Kind, Route

STAGES = STAGES_BY_ROUTE[Route.IMAGE_TO_3D]


def claim(
    number: int = 1, attempt: int = 1, *, kind=Kind.IMAGE_TO_3D, queue: str = "cpu", priority=7, turn=0
) -> Claim:
    return Claim(
        job_id=UUID(int=number),
        attempt=attempt,
        kind=kind,
        family=Family.PROBE_REQUESTS if kind is Kind.PROBE else Family.MODEL_REQUESTS,
        model_id="inflate-v1",
        user_id=UUID(int=99),
        priority=priority,
        queue=queue,
        turn=turn,
        params={"delivers": "bundle", "formats": ["obj"]},
    )


def priority_of(**options) -> int:
    return int(plan_run(claim(**options)).tags["dagster/priority"])


def test_a_claim_becomes_one_run_on_its_own_partition():
    run = plan_run(claim(1))
    assert run.job_name == "image_to_3d"
    assert run.partition_key == str(UUID(int=1))
    assert run.asset_selection is None
    assert run.tags["pipeline3d/attempt"] == "1"
    assert run.tags["pipeline3d/user"] == str(UUID(int=99))


@pytest.mark.parametrize("queue", ["cpu", "gpu-large"])
def test_a_run_goes_to_the_workers_of_its_models_queue(queue):
    assert plan_run(claim(queue=queue)).tags["dagster-celery/queue"] == queue


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ({"priority": 7}, {"priority": 6}),  # what is more urgent
        ({"turn": 0}, {"turn": 1}),  # who has less under way
        ({"priority": 7, "turn": 900}, {"priority": 6}),  # turns are counted inside a priority
        ({"priority": 1, "turn": 10**6}, {"priority": 0}),  # however many one user sent
    ],
)
def test_runs_start_by_priority_and_inside_a_priority_by_turn(earlier, later):
    assert priority_of(**earlier) > priority_of(**later)


def test_the_least_urgent_request_goes_before_a_run_that_nobody_waits_for():
    assert priority_of(priority=-100, turn=10**6) > 0


def test_the_same_attempt_has_the_same_run_key_and_a_retry_has_another():
    assert plan_run(claim(1)).run_key == plan_run(claim(1)).run_key
    assert plan_run(claim(1)).run_key != plan_run(claim(1, attempt=2)).run_key


@pytest.mark.parametrize(
    ("finished", "stages"),
    [
        (set(), STAGES),  # the first attempt, or one that came to nothing
        ({"source_image"}, STAGES[1:]),
        ({"source_image", "preprocessed_image", "mesh"}, STAGES[3:]),
        # after a gap nothing counts: what follows is made from what is made anew
        ({"source_image", "mesh", "glb_export"}, STAGES[1:]),
        ({"mesh"}, STAGES),
        # everything is there, and the request is still to be told
        (set(STAGES), ("delivery",)),
        (set(STAGES[:-1]), ("delivery",)),
        # a step of something else
        ({"probe_work"}, STAGES),
    ],
)
def test_a_later_attempt_begins_with_the_first_stage_that_is_not_finished(finished, stages):
    assert plan_stages(claim(attempt=2), frozenset(finished)) == tuple(stages)


@given(finished=st.frozensets(st.sampled_from(STAGES)))
def test_whatever_was_finished_the_rest_is_done_to_the_end_and_nothing_is_skipped(finished):
    planned = plan_stages(claim(attempt=2), finished)
    assert planned == STAGES[-len(planned) :]
    assert set(STAGES[: -len(planned)]) <= finished


def test_a_run_of_a_later_attempt_selects_what_is_left():
    run = plan_run(claim(attempt=2, kind=Kind.PROBE), finished=frozenset({"probe_source"}))
    assert run.job_name == "probe"
    assert [key.path for key in run.asset_selection] == [["probe_work"], ["probe_delivery"]]


def test_all_partitions_of_a_family_are_added_by_one_request():
    (request,) = plan_partitions([claim(1), claim(2)])
    assert request.partitions_def_name == "model_requests"
    assert list(request.partition_keys) == [str(UUID(int=1)), str(UUID(int=2))]


def test_each_family_has_partitions_of_its_own():
    requests = plan_partitions([claim(1), claim(2, kind=Kind.PROBE)])
    assert {request.partitions_def_name: list(request.partition_keys) for request in requests} == {
        "model_requests": [str(UUID(int=1))],
        "probe_requests": [str(UUID(int=2))],
    }


def test_a_run_leaves_its_events_to_the_event_log_unless_somebody_debugs():
    quiet = plan_run(claim(1)).run_config
    assert quiet["loggers"]["console"]["config"]["log_level"] == "CRITICAL"
    assert plan_run(claim(1), verbose=True).run_config == {}


@pytest.mark.parametrize(
    ("params", "left_out"),
    [
        ({"delivers": "bundle", "formats": ["stl"]}, set()),
        ({"delivers": "bundle"}, {"further_formats"}),
        (
            {"delivers": "model"},
            {"further_formats", "lods", "turntable", "usdz_export", "web_glb", "quality_report", "bundle"},
        ),
        ({"delivers": "model", "profile": "ar", "formats": ["stl"]}, set()),  # it judges every file
        ({}, {"further_formats", "lods", "turntable", "usdz_export", "web_glb", "quality_report", "bundle"}),
    ],
)
def test_a_run_has_the_stages_that_its_request_asks_for(params, left_out):
    run = plan_run(replace(claim(), params=params))
    planned = STAGES if run.asset_selection is None else [key.path[-1] for key in run.asset_selection]
    assert set(STAGES) - set(planned) == left_out
    assert list(planned) == [stage for stage in STAGES if stage in planned]
