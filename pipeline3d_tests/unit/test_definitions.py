"""Loading the definitions does no work, and what Dagster shows is what the design says."""

import subprocess
import sys

import dagster as dg
import pytest

from pipeline3d.definitions import build_definitions
from pipeline3d.settings import Settings
from pipeline3d.values import STAGES_BY_KIND, Kind

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


@pytest.mark.parametrize("kind", list(STAGES_BY_KIND))
def test_the_stages_of_a_kind_are_the_assets_of_its_job_in_order(kind):
    job = build_definitions(Settings(_env_file=None)).resolve_job_def(kind.value)
    order = [node.name for node in job.nodes_in_topological_order]
    assert tuple(order) == STAGES_BY_KIND[kind]


def test_every_asset_has_an_owner_a_description_a_kind_and_the_failure_hook():
    for asset in build_definitions(Settings(_env_file=None)).assets or []:
        assert isinstance(asset, dg.AssetsDefinition)
        (spec,) = asset.specs
        assert spec.owners, spec.key
        assert spec.description, spec.key
        assert spec.kinds, spec.key
        assert spec.key.path[-1] in STAGES_BY_KIND[Kind(spec.group_name)]
        assert [hook.name for hook in asset.hook_defs] == ["record_failure"]


def test_no_secret_is_part_of_a_resource_that_the_ui_shows():
    resources = build_definitions(Settings(_env_file=None)).resources or {}
    assert resources["object_store"].secret_key == dg.EnvVar("MINIO_SECRET_KEY")
    assert resources["jobs_database"].url == dg.EnvVar("DATABASE_URL")
    assert resources["preview_links"].signing_key == dg.EnvVar("LINK_SIGNING_KEY")
