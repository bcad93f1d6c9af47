"""A backfill from Dagster's UI works behind the requests and keeps its partitions while it lasts."""

from __future__ import annotations

import logging
import sys
import uuid
from uuid import UUID

import pytest
from dagster._core.execution.backfill import PartitionBackfill
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.test_utils import (
    InProcessTestWorkspaceLoadTarget,
    create_test_daemon_workspace_context,
    environ,
    instance_for_test,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._daemon.backfill import execute_backfill_iteration

from pipeline3d.definitions import defs
from pipeline3d.defs.assets.models import MODEL_ASSETS
from pipeline3d.defs.jobs import PRIORITY_TAG
from pipeline3d.defs.sensors.dispatch import plan_run
from pipeline3d.values import Claim, Family, Kind
from resources.run_history import RunHistory

KEYS = [str(uuid.uuid4()) for _ in range(3)]


NOWHERE = {
    "DATABASE_URL": "postgresql://u:p@127.0.0.1:1/jobs",
    "DAGSTER_PG_URL": "postgresql://u:p@127.0.0.1:1/dagster",
    "MINIO_ENDPOINT": "127.0.0.1:1",
    "MINIO_ACCESS_KEY": "key",
    "MINIO_SECRET_KEY": "secret",
    "LINK_SIGNING_KEY": "key",
}
"""What the definitions name; making runs connects to nothing of it."""


@pytest.fixture(scope="module")
def instance():
    with environ(NOWHERE), instance_for_test() as instance:
        instance.add_dynamic_partitions(Family.MODEL_REQUESTS, KEYS)
        yield instance


@pytest.fixture(scope="module")
def backfill_runs(instance):
    """The runs that the daemon makes of a backfill of all assets, asked for on the asset page."""
    target = InProcessTestWorkspaceLoadTarget(
        InProcessCodeLocationOrigin(
            LoadableTargetOrigin(module_name="pipeline3d.definitions", executable_path=sys.executable),
            location_name="pipeline3d",
        )
    )
    with create_test_daemon_workspace_context(target, instance) as context:
        backfill = PartitionBackfill.from_asset_partitions(
            backfill_id="again",
            asset_graph=context.create_request_context().asset_graph,
            partition_names=KEYS,
            asset_selection=[asset.key for asset in MODEL_ASSETS],
            backfill_timestamp=0.0,
            tags={},
            dynamic_partitions_store=instance,
            all_partitions=False,
            title=None,
            description=None,
            run_config=None,
        )
        instance.add_backfill(backfill)
        assert RunHistory(instance).list_busy_keys() == set(KEYS)
        errors = [error for error in execute_backfill_iteration(context, logging.getLogger("test")) if error]
        assert not errors, errors
    return instance.get_runs()


def test_the_most_patient_request_goes_before_a_backfill(backfill_runs):
    request = Claim(
        job_id=UUID(int=1),
        attempt=1,
        kind=Kind.IMAGE_TO_3D,
        family=Family.MODEL_REQUESTS,
        model_id="inflate-v1",
        user_id=UUID(int=2),
        priority=-100,
        queue="cpu",
        turn=100_000,
    )
    assert {run.tags["dagster/partition"] for run in backfill_runs} == set(KEYS)
    # the daemon sorts by this tag and takes a run without it for 0
    least_urgent = max(int(run.tags.get(PRIORITY_TAG, "0")) for run in backfill_runs)
    assert int(plan_run(request).tags[PRIORITY_TAG]) > least_urgent


def test_a_prune_goes_behind_both(backfill_runs):
    prune = defs.resolve_job_def("prune")
    assert int(prune.tags[PRIORITY_TAG]) < min(int(run.tags.get(PRIORITY_TAG, "0")) for run in backfill_runs)
