"""The list of test files that are begun first keeps up with the files."""

from pathlib import Path

import pytest

from pipeline3d_tests.conftest import LONGEST_FILES


@pytest.mark.parametrize("name", LONGEST_FILES)
def test_a_file_that_is_begun_first_is_there(name):
    assert (Path(__file__).parents[1] / name).is_file()
