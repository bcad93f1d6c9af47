"""The numbers that a gate judges."""

from __future__ import annotations

import pytest

from pipeline3d.geometry.gate_facts import DeliveryFacts, texture_memory


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], 0),
        ([(2048, 2048)], 22_369_621),  # 16 MiB and a third
        ([(1024, 512), (1, 1)], 2_796_208),
    ],
)
def test_textures_take_four_bytes_a_texel_and_a_third_for_mipmaps(sizes, expected):
    assert texture_memory(sizes) == expected


def test_the_longest_side_is_unknown_where_the_extents_are():
    assert DeliveryFacts().longest_m is None
    assert DeliveryFacts(extents_m=(0.1, 2.0, 0.3)).longest_m == 2.0
