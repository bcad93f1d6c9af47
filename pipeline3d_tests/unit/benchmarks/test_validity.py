"""The benchmark of validity counts what its validators say; npm is not asked here."""

from __future__ import annotations

import pytest

from benchmarks.validity import build_report, check
from pipeline3d_tests.awkward_meshes import build


def test_every_form_of_a_good_model_is_written_and_has_no_complaint(tmp_path):
    row = check("mug", build("mug"), tmp_path)
    assert row["complaints"] == []
    assert len(list(tmp_path.glob("mug-*.glb"))) == 4
    assert (tmp_path / "mug.usdz").stat().st_size > 1000


@pytest.mark.parametrize(
    ("errors", "complaints", "holds"), [(0, [], True), (1, [], False), (0, ["x"], False)]
)
def test_one_error_of_any_validator_is_one_too_many(errors, complaints, holds):
    khronos = [{"file": "a.glb", "errors": errors, "warnings": 0, "messages": []}]
    report = build_report([{"name": "a", "usdz": 0, "complaints": complaints}], khronos)
    assert all(bar["holds"] for bar in report["bars"].values()) is holds
