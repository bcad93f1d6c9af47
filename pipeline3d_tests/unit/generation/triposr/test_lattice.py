"""From coarse to fine: nothing guessed where the surface is, thin parts followed to their end."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline3d.generation.triposr.field import Field
from pipeline3d.generation.triposr.lattice import (
    all_corners,
    dilate,
    find_crossed,
    sample_lattice,
    spread,
    touch_along,
)
from pipeline3d.generation.triposr.scene import level_of_raw
from pipeline3d.generation.triposr.threads import chunk_workers
from pipeline3d_tests.tiny_triposr import MARKED_BODY, TINY, Ellipsoid, build_scene

WIDE = replace(TINY, plane_size=32)
"""Planes of 64 pixels, as published: thin parts need them."""
ROD = (
    Ellipsoid(centre=(0.0, 0.0, -0.4), axes=(0.3, 0.3, 0.3)),
    Ellipsoid(centre=(0.06, 0.06, 0.2), axes=(0.045, 0.045, 0.7)),
)
"""A ball with a rod about 4 of 96 samples across, between the samples of a lattice with every 16th."""


def sample(scene, resolution: int, start: int):
    level = level_of_raw(scene)
    with chunk_workers() as workers:
        field = Field(scene, workers)
        return sample_lattice(field, resolution, level, start=start, report=lambda fraction: None)


def test_a_part_thinner_than_a_first_cell_is_followed_to_its_end():
    scene = build_scene(WIDE, ROD)
    dense = sample(scene, 96, 1)
    assert dense.crossed[:, :, 80:].any()
    for start in (2, 4, 8, 16):
        found = sample(scene, 96, start)
        assert torch.equal(found.crossed, dense.crossed), f"every {start}th sample first"
        assert found.evaluations < 0.6 * dense.evaluations


@pytest.mark.parametrize(("resolution", "start"), [(64, 8), (61, 4), (50, 2), (49, 8)])
def test_samples_around_the_surface_are_those_of_a_dense_evaluation(resolution, start):
    scene = build_scene(TINY, MARKED_BODY, roughness=0.02)
    found, dense = sample(scene, resolution, start), sample(scene, resolution, 1)
    near = touch_along(touch_along(touch_along(dense.crossed, 0), 1), 2)
    assert found.raw.shape == dense.raw.shape == (resolution,) * 3
    assert (found.raw[near] - dense.raw[near]).abs().max() < 1e-4
    above = found.raw > level_of_raw(scene)
    assert torch.equal(above, dense.raw > level_of_raw(scene))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 9), st.floats(0.02, 0.98))
def test_crossed_cells_are_those_with_corners_on_both_sides(seed, side, share):
    above = torch.rand(side, side, side, generator=torch.Generator().manual_seed(seed)) > share
    crossed, whole = find_crossed(above), all_corners(above)
    for x in range(side - 1):
        for y in range(side - 1):
            for z in range(side - 1):
                corners = above[x : x + 2, y : y + 2, z : z + 2]
                assert bool(whole[x, y, z]) == bool(corners.all())
                assert bool(crossed[x, y, z]) == (bool(corners.any()) and not bool(corners.all()))


def test_dilating_reaches_all_26_neighbours():
    cells = torch.zeros(5, 5, 5, dtype=torch.bool)
    cells[2, 2, 2] = True
    assert int(dilate(cells, 1).sum()) == 27
    assert int(dilate(cells, 2).sum()) == 125


def test_spreading_keeps_the_old_samples_and_repeats_them():
    raw = torch.rand(4, 4, 4)
    fine = spread(raw)
    assert torch.equal(fine[::2, ::2, ::2], raw)
    assert torch.equal(fine[1::2, 1::2, 1::2], raw[:-1, :-1, :-1])
