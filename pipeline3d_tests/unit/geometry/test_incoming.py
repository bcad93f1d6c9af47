"""Files that say neither unit nor up axis are brought to metres with Y up."""

import numpy as np
import pytest

from pipeline3d.geometry.incoming import as_metres_y_up
from pipeline3d.geometry.pose import UNITS_PER_METRE, place
from pipeline3d_tests.awkward_meshes import build


@pytest.mark.parametrize("unit", sorted(UNITS_PER_METRE))
@pytest.mark.parametrize("up_axis", ["y", "z"])
def test_what_was_placed_for_a_program_comes_back_as_it_was(unit, up_axis):
    model = place(build("mug"), size_m=None)
    there = place(model, size_m=None, unit=unit, up_axis=up_axis)
    back = as_metres_y_up(there, unit=unit, up_axis=up_axis)
    assert np.allclose(back.parts[0].vertices, model.parts[0].vertices, atol=1e-5)
    if model.parts[0].normals is not None:
        assert np.allclose(back.parts[0].normals, model.parts[0].normals, atol=1e-6)


def test_metres_with_y_up_are_left_alone():
    model = build("box")
    assert as_metres_y_up(model, unit="m", up_axis="y") is model
