"""The devices as people read them: whatever a worker shows, a table comes of it."""

import io
import json
from datetime import UTC, datetime

import pytest
from rich.console import Console

from pipeline3d.generation.serving.standing import ModelCounts, ResidentStanding
from pipeline3d.models_view import describe_bytes, print_tables, render_json
from pipeline3d.requests.gpu_leases import DeviceLease, DeviceUse

RESIDENT = ResidentStanding(
    key="sf3d@cuda:0",
    state="busy",
    held_bytes=6_200_000_000,
    runs=41,
    idle_s=0.0,
    pid=4711,
    counts=ModelCounts(loads=2, hits=39, evictions=1, peak_bytes=7_000_000_000, load_s=18.25),
)


def lease(**values) -> DeviceLease:
    use = DeviceUse(**{"host": "render-1", "device": "cuda:0", "pid": 99, "worker_id": "w1", **values})
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    return DeviceLease(use=use, taken_at=moment, taken_s=75.0, silent_s=1.0)


def printed(*leases: DeviceLease) -> str:
    written = io.StringIO()
    print_tables(leases, Console(file=written, width=200))
    return written.getvalue()


def test_a_device_shows_who_works_there_and_what_is_warm():
    text = printed(
        lease(
            model="sf3d", run_id="r1", limit_bytes=8 * 10**9, free_bytes=10**9, residents=[RESIDENT.as_json()]
        )
    )
    for word in ("render-1", "cuda:0", "w1", "sf3d", "r1", "1 min", "6.2 GB", "8.0 GB", "1.0 GB"):
        assert word in text
    for word in ("sf3d@cuda:0", "4711", "busy", "7.0 GB", "41", "39", "18.2 s"):
        assert word in text


def test_nothing_shown_is_said_so():
    assert "No process keeps a model" in printed()
    assert "No model is in memory." in printed(lease())


@pytest.mark.parametrize(
    "resident",
    [{}, {"key": None, "counts": 7}, {"held_bytes": "much", "idle_s": None}, {"counts": {"loads": None}}],
)
def test_what_a_worker_of_another_version_shows_is_shown_as_far_as_it_goes(resident):
    assert "Models in memory" in printed(lease(residents=[resident]))


def test_the_json_has_everything():
    [found] = json.loads(render_json([lease(residents=[RESIDENT.as_json()])]))
    assert found["use"]["residents"][0]["counts"]["hits"] == 39
    assert found["taken_s"] == 75.0


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (None, ""),
        (0, "0 B"),
        (999, "999 B"),
        (1500, "2 KB"),
        (2_400_000_000, "2.4 GB"),
        (10**16, "10000.0 TB"),
    ],
)
def test_bytes_are_one_number_at_a_glance(size, text):
    assert describe_bytes(size) == text
