"""Graphics hardware draws what the software draws, or says why it cannot and is left alone.

No test is skipped: where there is no EGL, those about pictures assert the fallback and its reason instead.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap

import numpy as np
import pytest

from pipeline3d.errors import PermanentFailure
from pipeline3d.geometry import gl_rendering
from pipeline3d.geometry.cameras import Camera
from pipeline3d.geometry.mesh import Material, Model
from pipeline3d.geometry.rendering import choose_renderer, render
from pipeline3d.geometry.turntables import render_turntable
from pipeline3d_tests.painted_models import ball, card, map_of, png

MEAN, OUTLINES = 0.5, 0.01
"""Levels of 255 on average; share of pixels (on outlines and seams) that may differ by more than 16."""
NOISE = np.random.default_rng(5).integers(0, 255, (8, 8, 3)).astype(np.uint8).repeat(16, 0).repeat(16, 1)
LEAF = np.concatenate(
    [NOISE, np.where(np.indices((128, 128)).sum(0)[..., None] % 64 < 32, 255, 0)], 2
).astype(np.uint8)

MODELS = {
    "plain": Model(parts=(ball(colours=None),)),
    "textured": Model(parts=(ball(texture=png(NOISE)),)),
    "repeated": Model(parts=(card(Material(wrap="repeat"), texture=png(NOISE)),)),
    "gold": Model(parts=(ball(Material(base_colour=(1, 0.7, 0.3, 1), metallic=1, roughness=0.3)),)),
    "mapped": Model(
        parts=(
            ball(
                Material(
                    base_colour=(0.4, 0.5, 0.6, 1),
                    roughness=0.5,
                    normal=map_of(160, 100, 230),
                    occlusion=map_of(128, 0, 0),
                    metallic_roughness=map_of(0, 128, 90),
                    emissive=map_of(90, 0, 0),
                    emissive_colour=(0.3, 0.3, 0.3),
                )
            ),
        )
    ),
    "layered": Model(
        parts=(
            card(Material(alpha_mode="MASK", double_sided=True), texture=png(LEAF), z=-0.4),
            ball(Material(base_colour=(0.1, 0.3, 0.9, 0.4), alpha_mode="BLEND", roughness=0.2), radius=0.8),
            ball(Material(base_colour=(0.9, 0.8, 0.1, 1)), radius=0.3),
        )
    ),
}


@pytest.mark.parametrize("name", list(MODELS))
def test_both_ways_of_drawing_look_the_same_or_there_is_one_and_a_reason(name):
    reason = gl_rendering.why_unavailable()
    software = render(MODELS[name], size_px=128, camera=Camera(azimuth_deg=20, elevation_deg=25))
    options = {"size_px": 128, "camera": Camera(azimuth_deg=20, elevation_deg=25)}
    if reason is None:
        assert choose_renderer("auto") == "gl"
        drawn = render(MODELS[name], renderer="gl", **options)
        difference = np.abs(drawn.astype(int) - software).max(axis=2)
        assert difference.mean() < MEAN
        assert (difference > 16).mean() < OUTLINES
    else:
        assert len(reason) > 10
        assert choose_renderer("auto") == "software"
        assert np.array_equal(render(MODELS[name], renderer="auto", **options), software)
        with pytest.raises(PermanentFailure, match=r"gl_unavailable") as caught:
            render(MODELS[name], renderer="gl", **options)
        assert reason in caught.value.message


def test_without_the_library_no_process_is_started_to_find_that_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "moderngl", None)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("a process was started"))
    assert gl_rendering.why_unavailable.__wrapped__() == "moderngl is not installed."


def test_a_turntable_is_drawn_by_whatever_there_is():
    frames = list(render_turntable(MODELS["plain"], frames=3, size_px=48, renderer="auto"))
    alone = render(MODELS["plain"], size_px=48, camera=Camera(azimuth_deg=0))
    assert len(frames) == 3
    assert np.abs(frames[0].astype(int) - alone).mean() < MEAN


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashed with signal 11"),
        ("raise OSError('libEGL.so not loaded')", "libEGL.so not loaded"),
        ("raise SystemExit(0)", "without a word"),
        ("import signal; signal.pause()", "did not answer"),
    ],
)
def test_a_driver_that_crashes_hangs_or_is_missing_ends_the_trial_and_not_the_worker(
    tmp_path, trouble, reason
):
    """A stand-in for moderngl, found before the real one, does what such drivers do."""
    (tmp_path / "moderngl.py").write_text(trouble)
    asked = textwrap.dedent(
        """
        from pipeline3d.geometry import gl_rendering
        from pipeline3d.geometry.rendering import choose_renderer
        gl_rendering.PROBE_S = 3
        print(gl_rendering.why_unavailable(), choose_renderer("auto"))
        """
    )
    answer = subprocess.run(
        [sys.executable, "-c", asked],
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert reason in answer.stdout
    assert answer.stdout.strip().endswith("software")
