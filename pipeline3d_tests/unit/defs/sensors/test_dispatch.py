"""The plan of a dispatch: deterministic keys, one partition for each request."""

from uuid import UUID

from pipeline3d.defs.sensors.dispatch import plan_partitions, plan_run
from pipeline3d.values import Claim, Family, Kind


def claim(number: int, attempt: int = 1) -> Claim:
    return Claim(
        job_id=UUID(int=number),
        attempt=attempt,
        kind=Kind.IMAGE_TO_3D,
        family=Family.MODEL_REQUESTS,
        model_id="inflate-v1",
        user_id=UUID(int=99),
        priority=7,
        queue="cpu",
    )


def test_a_claim_becomes_one_run_on_its_own_partition():
    run = plan_run(claim(1))
    assert run.job_name == "image_to_3d"
    assert run.partition_key == str(UUID(int=1))
    assert run.tags["dagster/priority"] == "7"
    assert run.tags["pipeline3d/attempt"] == "1"


def test_the_same_attempt_has_the_same_run_key_and_a_retry_has_another():
    assert plan_run(claim(1)).run_key == plan_run(claim(1)).run_key
    assert plan_run(claim(1)).run_key != plan_run(claim(1, attempt=2)).run_key


def test_all_partitions_of_a_family_are_added_by_one_request():
    (request,) = plan_partitions([claim(1), claim(2)])
    assert request.partitions_def_name == "model_requests"
    assert list(request.partition_keys) == [str(UUID(int=1)), str(UUID(int=2))]


def test_a_run_leaves_its_events_to_the_event_log_unless_somebody_debugs():
    quiet = plan_run(claim(1)).run_config
    assert quiet["loggers"]["console"]["config"]["log_level"] == "CRITICAL"
    assert plan_run(claim(1), verbose=True).run_config == {}
