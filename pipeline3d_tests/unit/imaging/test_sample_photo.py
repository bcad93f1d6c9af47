"""The sample photo goes through the whole room."""

from __future__ import annotations

import numpy as np

from pipeline3d.imaging.decoding import decode_picture
from pipeline3d.imaging.matting import cut_out
from pipeline3d.imaging.sample_photo import draw_sample_photo
from pipeline3d_tests.pictures import encode


def test_the_sample_photo_is_the_same_every_time():
    assert np.array_equal(draw_sample_photo(size=128, seed=3), draw_sample_photo(size=128, seed=3))
    assert not np.array_equal(draw_sample_photo(size=128, seed=3), draw_sample_photo(size=128, seed=4))


def test_the_duck_is_cut_out_of_the_sample_photo():
    photo = draw_sample_photo(size=512)
    matte = cut_out(decode_picture(encode(photo, "JPEG", quality=92)))
    yellow = (photo[..., 0] > 120) & (photo[..., 2] < 0.5 * photo[..., 0])
    assert matte.confidence > 0.9
    assert (matte.alpha[yellow] >= 128).mean() > 0.98
    assert 0.2 < matte.coverage < 0.35
