"""Loading the definitions does no work, and what Dagster shows is what the design says."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import yaml

from pipeline3d.definitions import build_definitions
from pipeline3d.defs.jobs import REQUEST_JOBS
from pipeline3d.settings import Settings
from pipeline3d.values import (
    BUILT_KINDS,
    MODELS_WITH_SCENE_CODE,
    STAGES_BY_ROUTE,
    Kind,
    Route,
    route_of,
    stages_of,
)
from resources.catalogue import shipped_models

LOAD_WITHOUT_NETWORK = """
import socket, sys
def refuse(*arguments, **options):
    raise AssertionError("a connection was opened while the definitions were loaded")
socket.socket.connect = refuse
import pipeline3d.definitions
heavy = {"torch", "cv2", "skimage", "trimesh", "scipy.ndimage"} & set(sys.modules)
assert not heavy, f"imported without need: {heavy}"
"""


def test_definitions_load_without_the_outside_world_and_without_heavy_libraries():
    subprocess.run([sys.executable, "-c", LOAD_WITHOUT_NETWORK], check=True, timeout=60)


@pytest.mark.parametrize("route", [Route(job.name) for job in REQUEST_JOBS])
def test_the_stages_of_a_route_are_the_assets_of_its_job_in_order(route):
    job = build_definitions(Settings(_env_file=None)).resolve_job_def(route.value)
    order = [node.name for node in job.nodes_in_topological_order]
    assert tuple(order) == STAGES_BY_ROUTE[route]


def test_every_kind_that_is_built_has_a_route_and_so_has_every_model_of_it():
    for model in shipped_models().values():
        if model.kind in BUILT_KINDS:
            assert route_of(model.kind, model.id) in STAGES_BY_ROUTE
    assert {Kind(route.value.removesuffix("_by_scene")) for route in STAGES_BY_ROUTE} == BUILT_KINDS
    assert {Route(job.name) for job in REQUEST_JOBS} == set(Route)


def test_a_kind_that_is_not_built_has_models_that_say_so_and_no_way_to_a_run():
    not_built = [model for model in shipped_models().values() if model.kind not in BUILT_KINDS]
    assert {model.kind for model in not_built} == set(Kind) - BUILT_KINDS
    for model in not_built:
        assert (model.readiness.ready, model.readiness.code) == (False, "not_built")
        assert stages_of(model.kind, model.id, {}) == ()
        with pytest.raises(ValueError, match=model.kind.value):
            route_of(model.kind, model.id)


def test_the_models_that_make_a_scene_code_are_those_that_run_triposr_with_its_weights():
    by_catalogue = {
        model.id for model in shipped_models().values() if model.runner.engine == "triposr" and model.weights
    }
    assert by_catalogue == MODELS_WITH_SCENE_CODE


def test_every_asset_has_an_owner_a_description_a_kind_and_the_failure_hook():
    for asset in build_definitions(Settings(_env_file=None)).assets or []:
        assert isinstance(asset, dg.AssetsDefinition)
        (spec,) = asset.specs
        assert spec.owners, spec.key
        assert spec.description, spec.key
        assert spec.kinds, spec.key
        assert any(spec.key.path[-1] in stages for stages in STAGES_BY_ROUTE.values())
        assert [hook.name for hook in asset.hook_defs] == ["record_failure"]


def test_no_secret_is_part_of_a_resource_that_the_ui_shows():
    resources = build_definitions(Settings(_env_file=None)).resources or {}
    assert resources["object_store"].secret_key == dg.EnvVar("MINIO_SECRET_KEY")
    assert resources["jobs_database"].url == dg.EnvVar("DATABASE_URL")
    assert resources["preview_links"].signing_key == dg.EnvVar("LINK_SIGNING_KEY")


def test_no_sensor_waits_for_another_one_to_end_its_tick():
    configuration = yaml.safe_load((Path(__file__).parents[2] / "dagster.yaml").read_text())
    sensors = list(build_definitions(Settings(_env_file=None)).sensors)
    assert configuration["sensors"]["num_workers"] > len(sensors)
