"""Scratch folders and progress of a run."""

import os
import subprocess
import sys
from uuid import UUID

import pytest

from pipeline3d.values import JobInput, JobState, Kind, stages_of
from resources.run_guard import _fresh_scratch, progress_at

STAGES = stages_of(Kind.IMAGE_TO_3D, "inflate-v1", {})


def job() -> JobInput:
    return JobInput(
        job_id=UUID(int=1),
        user_id=UUID(int=2),
        model_id="inflate-v1",
        kind=Kind.IMAGE_TO_3D,
        state=JobState.RUNNING,
        attempt=1,
        prompt=None,
    )


def test_progress_grows_from_stage_to_stage_and_reaches_100_only_at_the_end():
    percents = [progress_at(job(), stage).percent for stage in STAGES]
    assert percents == sorted(set(percents))
    assert percents[0] == 0
    assert percents[-1] < 100


@pytest.mark.parametrize(("stage", "number"), [("source_image", 1), ("mesh", 3), ("delivery", 7)])
def test_a_snapshot_says_which_stage_of_how_many(stage, number):
    snapshot = progress_at(job(), stage)
    assert (snapshot.stage, snapshot.stage_number, snapshot.stage_count) == (stage, number, 7)


def test_scratch_of_a_dead_process_is_swept_and_that_of_a_living_one_is_kept(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    orphan = tmp_path / f"run-old-{dead.pid}"
    living = tmp_path / f"run-other-{os.getppid()}"
    orphan.mkdir()
    living.mkdir()
    scratch = _fresh_scratch(tmp_path, "new")
    assert scratch.is_dir()
    assert scratch.stat().st_mode & 0o777 == 0o700
    assert living.exists()
    assert not orphan.exists()
