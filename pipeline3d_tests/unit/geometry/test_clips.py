"""Films are whole, play everywhere, and a failing encoder says why and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline3d.errors import InvalidParameters, PermanentFailure, TransientFailure
from pipeline3d.geometry import clips
from pipeline3d.geometry.clips import find_ffmpeg, plan_mp4, write_mp4, write_webp


def bars(count: int, height: int = 48, width: int = 64, channels: int = 3) -> list[np.ndarray]:
    frames = []
    for number in range(count):
        frame = np.full((height, width, channels), 255, np.uint8)
        frame[:, : 8 * (number + 1), 1:3] = 0
        frames.append(frame)
    return frames


def decoded(path: Path, height: int, width: int) -> np.ndarray:
    command = [str(find_ffmpeg()), "-v", "error", "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    data = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
    return np.frombuffer(data, np.uint8).reshape(-1, height, width, 3)


def script(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def test_an_mp4_holds_every_frame_in_its_colours(tmp_path):
    write_mp4(bars(5), tmp_path / "a.mp4", 10)
    found = decoded(tmp_path / "a.mp4", 48, 64)
    assert len(found) == 5
    assert found[2][24, 8].astype(int) == pytest.approx(
        [255, 0, 0], abs=6
    )  # a wrong matrix turns red into orange
    assert found[2][24, 50].astype(int) == pytest.approx([255, 255, 255], abs=3)


def test_an_mp4_plays_on_every_phone_and_starts_before_it_is_loaded(tmp_path):
    path = tmp_path / "a.mp4"
    write_mp4(bars(3), path, 10)
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    said = subprocess.run([str(find_ffmpeg()), "-i", str(path)], capture_output=True, text=True, timeout=60)
    assert re.search(r"Video: h264.*yuv420p\(tv, bt709.*64x48.*10 fps", said.stderr)


def test_the_same_frames_give_the_same_file(tmp_path):
    for name in ("a", "b"):
        write_mp4(bars(3), tmp_path / f"{name}.mp4", 10)
        write_webp(bars(3), tmp_path / f"{name}.webp", 10)
    for ending in ("mp4", "webp"):
        assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()


def test_odd_sides_become_even_and_transparency_becomes_white(tmp_path):
    frame = np.zeros((33, 47, 4), np.uint8)
    write_mp4([frame, frame], tmp_path / "a.mp4", 10)
    found = decoded(tmp_path / "a.mp4", 34, 48)
    assert found.min() > 250


def test_a_webp_is_endless_has_all_frames_and_keeps_transparency(tmp_path):
    frames = bars(4, channels=4)
    for frame in frames:
        frame[:, 60:, 3] = 0
    write_webp(frames, tmp_path / "a.webp", 8)
    with Image.open(tmp_path / "a.webp") as picture:
        assert (picture.n_frames, picture.info["loop"], picture.size) == (4, 0, (64, 48))
        picture.seek(3)
        picture.load()
        assert picture.info["duration"] == 125
        pixels = np.asarray(picture.convert("RGBA"))
    assert pixels[24, 62, 3] == 0
    assert pixels[24, 4, :3].astype(int) == pytest.approx([255, 0, 0], abs=12)


@pytest.mark.parametrize("write", [write_webp, write_mp4])
@pytest.mark.parametrize(
    ("frames", "fps"),
    [
        ([], 10),
        (bars(2), 0),
        (bars(2), float("nan")),
        ([*bars(1), *bars(1, width=32)], 10),
        ([np.zeros((8, 8), np.uint8)], 10),
        ([np.zeros((8, 8, 3), np.float32)], 10),
        ([np.zeros((0, 8, 3), np.uint8)], 10),
    ],
)
def test_frames_that_make_no_film_are_refused_and_nothing_is_left(tmp_path, write, frames, fps):
    with pytest.raises(InvalidParameters):
        write(frames, tmp_path / "film", fps)
    assert list(tmp_path.iterdir()) == []


def test_a_failing_encoder_is_quoted_and_nothing_is_left(tmp_path):
    bad = script(tmp_path / "ffmpeg", "echo one; echo 'No space left on device' >&2; exit 3")
    with pytest.raises(PermanentFailure, match="No space left") as caught:
        write_mp4(bars(200, 200, 200), tmp_path / "a.mp4", 10, program=bad)
    assert caught.value.code == "video_encoding_failed"
    assert caught.value.details["exit_code"] == 3
    assert [path.name for path in tmp_path.iterdir()] == ["ffmpeg"]


@pytest.mark.parametrize("reads", [True, False])
def test_an_encoder_that_hangs_is_ended_at_its_limit(tmp_path, reads):
    body = f"echo $$ > {tmp_path}/pid; {'cat > /dev/null;' if reads else ''} exec sleep 600"
    slow = script(tmp_path / "ffmpeg", body)
    began = time.monotonic()
    with pytest.raises(TransientFailure) as caught:
        write_mp4(bars(60, 100, 100), tmp_path / "a.mp4", 10, program=slow, seconds=0.7)
    assert caught.value.code == "video_encoding_timeout"
    assert time.monotonic() - began < 60
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_an_encoder_does_not_outlive_a_worker_that_is_killed(tmp_path):
    waits = script(
        tmp_path / "ffmpeg", f"echo $$ > {tmp_path}/new && mv {tmp_path}/new {tmp_path}/pid; exec sleep 600"
    )
    asked = textwrap.dedent(
        f"""
        import numpy as np
        from pathlib import Path
        from pipeline3d.geometry.clips import write_mp4
        frames = (np.zeros((100, 100, 3), np.uint8) for _ in range(10000))
        write_mp4(frames, Path({str(tmp_path / "a.mp4")!r}), 10, program=Path({str(waits)!r}))
        """
    )
    worker = subprocess.Popen([sys.executable, "-c", asked])
    try:
        encoder = int(wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text()))
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    assert wait_until(lambda: not alive(encoder))


def wait_until(holds):
    """What `holds` answers once it is true, within a minute."""
    deadline = time.monotonic() + 60
    while not (answer := holds()):
        assert time.monotonic() < deadline
        os.sched_yield()
    return answer


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_command_says_all_that_a_player_needs(tmp_path):
    command = plan_mp4(Path("/opt/ffmpeg"), tmp_path / "a.mp4", width=64, height=48, fps=12)
    assert command[0] == "/opt/ffmpeg"
    pairs = {(a, b) for a, b in zip(command, command[1:], strict=False)}
    assert pairs >= {
        ("-video_size", "64x48"),
        ("-framerate", "12"),
        ("-vcodec", "libx264"),
        ("-pix_fmt", "yuv420p"),
        ("-movflags", "+faststart"),
        ("-i", "pipe:0"),
    }


def test_without_any_ffmpeg_the_error_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(clips.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PermanentFailure) as caught:
        find_ffmpeg()
    assert caught.value.code == "ffmpeg_missing"
    assert "imageio-ffmpeg" in caught.value.hint
