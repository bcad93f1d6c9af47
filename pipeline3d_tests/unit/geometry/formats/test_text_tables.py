"""Numbers written a column of digits at a time are the numbers that Python would write."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline3d.geometry.formats.text_tables import decimals_for, integer_columns, join_rows, number_columns


def texts(columns) -> list[list[str]]:
    """The rows of a table, split at the blanks."""
    fields = [piece for column in columns for piece in (column, b" ")]
    return [line.split() for line in join_rows([*fields, b"\n"]).decode().splitlines()]


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=20))
def test_integers_are_written_exactly(values):
    assert texts(integer_columns(np.array(values)[:, None])) == [[str(value)] for value in values]


@given(
    st.lists(st.floats(-9e8, 9e8, width=32), min_size=1, max_size=20),
    st.integers(0, 15),
)
def test_a_written_number_is_the_nearest_one_with_so_many_places(values, decimals):
    decimals = min(decimals, decimals_for(np.array(values)))
    written = [float(row[0]) for row in texts(number_columns(np.array(values)[:, None], decimals))]
    assert np.allclose(written, values, rtol=1e-15, atol=0.5001 * 10.0**-decimals)


@given(st.lists(st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False), min_size=1, max_size=20))
def test_numbers_keep_the_precision_that_32_bit_floats_of_the_largest_ones_size_have(values):
    column = np.array(values, np.float32)[:, None]
    written = [float(row[0]) for row in texts(number_columns(column, decimals_for(column)))]
    assert np.allclose(written, values, rtol=1e-8, atol=max(float(np.abs(column).max()) * 1e-8, 1e-15))


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (0.0, 3, "0"),
        (-0.0, 3, "0"),
        (-0.0001, 3, "0"),
        (0.5, 3, "0.5"),
        (-0.05, 3, "-0.05"),
        (12.0, 3, "12"),
        (100.25, 1, "100.2"),
        (1999.9996, 3, "2000"),
        (7.0, 0, "7"),
        (1e30, 0, "1e+30"),
    ],
)
def test_numbers_are_written_shortly(value, decimals, text):
    assert texts(number_columns(np.array([[value]]), decimals)) == [[text]]


def test_fields_and_columns_alternate_in_their_order():
    columns = integer_columns(np.array([[1, 20], [300, 4]]))
    assert join_rows([b"f ", columns[0], b"/", columns[1], b"\n"]) == b"f 1/20\nf 300/4\n"
