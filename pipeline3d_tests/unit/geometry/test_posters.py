"""Posters are transparent, sheets hold every view at one scale."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline3d.errors import InvalidParameters
from pipeline3d.geometry.posters import SIX_VIEWS, contact_sheet, render_poster
from pipeline3d.geometry.staging import TRANSPARENT
from pipeline3d_tests.painted_models import ball


def test_a_poster_is_the_model_and_its_shadow_on_nothing():
    poster = render_poster(ball(), size_px=64)
    assert poster.shape == (64, 64, 4)
    assert poster[0, 0, 3] == 0
    assert poster[32, 32, 3] == 255
    under = poster[60:, :, 3]
    assert 0 < under[under > 0].max() < 255 or (poster[..., 3] % 255 > 0).any()


def test_a_sheet_shows_all_views_at_the_same_scale():
    sheet = contact_sheet(ball(), size_px=48, background=TRANSPARENT, light="flat")
    assert sheet.shape == (96, 144, 4)
    tiles = sheet.reshape(2, 48, 3, 48, 4).swapaxes(1, 2).reshape(6, 48, 48, 4)
    widths = [np.ptp(np.flatnonzero((tile[..., 3] > 128).any(axis=0))) for tile in tiles]
    assert len(SIX_VIEWS) == len(tiles)
    assert max(widths) - min(widths) <= 1
    assert min(widths) > 38


def test_the_rest_of_an_unfinished_row_is_background():
    sheet = contact_sheet(ball(), angles_deg=[(0, 0)] * 4, columns=3, size_px=32)
    assert sheet.shape == (64, 96, 4)
    assert (sheet[32:, 32:] == sheet[0, 0]).all()
    assert (sheet[32:, :32] != sheet[0, 0]).any()


@pytest.mark.parametrize(
    "options",
    [
        {"angles_deg": []},
        {"columns": 0},
        {"columns": 2.0},
        {"angles_deg": [(0, 95)]},
        {"angles_deg": [(0, 0)] * 65},
        {"size_px": 2048, "columns": 6},
        {"size_px": 0},
        {"light": "candle"},
    ],
)
def test_a_sheet_that_cannot_be_is_refused(options):
    with pytest.raises(InvalidParameters):
        contact_sheet(ball(), **options)
