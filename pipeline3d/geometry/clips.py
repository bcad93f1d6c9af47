"""Frames written as a film: an animated WebP by Pillow, or H.264 in MP4 by ffmpeg.

ffmpeg is a program of its own: it ends with us, it has a time limit, and what it complains about is in the
error. A file appears under its name when it is whole, and not before.
"""

from __future__ import annotations

import importlib.util
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from pipeline3d.errors import InvalidParameters, PermanentFailure, TransientFailure
from pipeline3d.geometry.cameras import require_number

Pixels = npt.NDArray[np.uint8]

WEBP_QUALITY = 82
WEBP_EFFORT = 4
"""Of 6; higher ones take several times as long for a few percent."""
CONSTANT_RATE = 21
"""x264's quality: 18 is hardly told from the original, 28 is poor."""
ENCODING_S = 120.0
"""Spent waiting for ffmpeg; the drawing of frames does not count."""
COMPLAINT_CHARACTERS = 2000
PIECE = 1 << 20
"""Bytes offered to ffmpeg at a time."""
MATTE = (255, 255, 255)
"""Films are not transparent: what shows through is white."""

DIES_WITH_PARENT = """
import ctypes, os, signal, sys
if sys.platform.startswith("linux"):
    ctypes.CDLL(None).prctl(1, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != int(sys.argv[1]):
        sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Asks the kernel for SIGKILL at the parent's end, which outlives exec, then becomes the program."""


def write_webp(frames: Iterable[Pixels], path: Path, fps: float, *, quality: int = WEBP_QUALITY) -> None:
    """An endless animation of (h,w,3 or 4) frames, transparent where they are."""
    from PIL import Image

    require_number("fps", fps, 0.1, 120)
    require_number("quality", quality, 1, 100)
    pictures = [Image.fromarray(_opaque_or_not(frame)) for frame in _same_size(frames)]
    with _whole_file(path) as part:
        pictures[0].save(
            part,
            "WEBP",
            save_all=True,
            append_images=pictures[1:],
            duration=round(1000 / fps),
            loop=0,
            quality=quality,
            method=WEBP_EFFORT,
            # Every frame is whole. Differences make the file no smaller, shadows of earlier frames
            # shine through, and what is clear outside of a rectangle becomes black.
            kmin=0,
            kmax=1,
        )


def write_mp4(
    frames: Iterable[Pixels],
    path: Path,
    fps: float,
    *,
    quality: int = CONSTANT_RATE,
    seconds: float = ENCODING_S,
    program: Path | None = None,
) -> None:
    """H.264 with 4:2:0 colour, which every browser and phone plays, its index at the front.

    Odd sides get one more row or column, as 4:2:0 needs even ones. `quality` is x264's constant rate factor.
    Raises `PermanentFailure` (`ffmpeg_missing`, `video_encoding_failed` with the end of what ffmpeg said) or
    `TransientFailure` (`video_encoding_timeout`).
    """
    require_number("fps", fps, 0.1, 120)
    require_number("quality", quality, 0, 51)
    require_number("seconds", seconds, 0.01, 86400)
    chosen = program or find_ffmpeg()
    frames = _same_size(frames)
    first = next(frames)
    height, width = (side + side % 2 for side in first.shape[:2])
    with _whole_file(path) as part, tempfile.TemporaryFile() as complaints:
        command = plan_mp4(chosen, part, width=width, height=height, fps=fps, quality=quality)
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", DIES_WITH_PARENT, str(os.getpid()), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=complaints,
        )
        try:
            _encode(process, chain([first], frames), seconds)
        except BrokenPipeError:
            process.wait()  # it says why below
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            if process.stdin is not None and not process.stdin.closed:
                process.stdin.close()
        if process.returncode != 0:
            raise _failed(process.returncode, complaints)


def plan_mp4(
    program: Path, path: Path, *, width: int, height: int, fps: float, quality: int = CONSTANT_RATE
) -> list[str]:
    """The command that reads raw RGB frames from its input; the same frames give the same file."""
    import ffmpeg

    stream = ffmpeg.input(
        "pipe:0", format="rawvideo", pix_fmt="rgb24", video_size=(width, height), framerate=fps
    )
    # Without a word on colour players take the matrix of high definition, ffmpeg that of standard definition.
    stream = ffmpeg.filter(stream, "scale", out_color_matrix="bt709", out_range="tv")
    options: dict[str, Any] = {
        "format": "mp4",
        "vcodec": "libx264",
        "pix_fmt": "yuv420p",
        "crf": quality,
        "preset": "medium",
        "threads": 2,
        "colorspace": "bt709",
        "color_primaries": "bt709",
        "color_trc": "bt709",
        "color_range": "tv",
        "movflags": "+faststart",
        "map_metadata": -1,
        "fflags": "+bitexact",
        "flags:v": "+bitexact",
    }
    output = ffmpeg.output(stream, str(path), **options).global_args("-loglevel", "error", "-nostats")
    command = ffmpeg.compile(ffmpeg.overwrite_output(output), cmd=str(program))
    return [str(word) for word in command]


def find_ffmpeg() -> Path:
    """The program that imageio-ffmpeg brings, or the one on the PATH."""
    if importlib.util.find_spec("imageio_ffmpeg") is not None:
        import imageio_ffmpeg

        try:
            return Path(imageio_ffmpeg.get_ffmpeg_exe())
        except RuntimeError:
            pass  # a wheel without a program for this machine
    found = shutil.which("ffmpeg")
    if found is None:
        raise PermanentFailure(
            "There is no ffmpeg, so no film can be written.",
            code="ffmpeg_missing",
            hint="Install imageio-ffmpeg, or ffmpeg itself; an animated WebP needs neither.",
        )
    return Path(found)


def _encode(process: subprocess.Popen[bytes], frames: Iterable[Pixels], seconds: float) -> None:
    """Feed all frames and wait for the end; only time spent waiting for ffmpeg counts."""
    assert process.stdin is not None
    descriptor = process.stdin.fileno()
    os.set_blocking(descriptor, False)
    writable = select.poll()
    writable.register(descriptor, select.POLLOUT)
    left = seconds
    for frame in frames:
        data = memoryview(_even_rgb(frame).tobytes())
        while data:
            began = time.monotonic()
            ready = writable.poll(max(left, 0) * 1000)
            left -= time.monotonic() - began
            if not ready:
                raise _too_slow(seconds)
            try:
                data = data[os.write(descriptor, data[:PIECE]) :]
            except BlockingIOError:
                continue
    process.stdin.close()
    try:
        process.wait(timeout=max(left, 0.01))
    except subprocess.TimeoutExpired as error:
        raise _too_slow(seconds) from error


def _even_rgb(frame: Pixels) -> Pixels:
    """(h,w,3 or 4) → (h,w,3) with even sides, laid on the matte where it is transparent."""
    if frame.shape[2] == 4:
        if (frame[..., 3] < 255).any():
            alpha = frame[..., 3:].astype(np.float32) / 255
            mixed = frame[..., :3] * alpha + np.array(MATTE, np.float32) * (1 - alpha)
            frame = np.round(mixed).astype(np.uint8)
        else:
            frame = frame[..., :3]
    height, width = frame.shape[:2]
    if height % 2 or width % 2:
        frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return np.ascontiguousarray(frame)


def _opaque_or_not(frame: Pixels) -> Pixels:
    """Without alpha where it says nothing: half the work."""
    if frame.shape[2] == 4 and (frame[..., 3] == 255).all():
        return np.ascontiguousarray(frame[..., :3])
    return frame


def _same_size(frames: Iterable[Pixels]) -> Iterator[Pixels]:
    """The frames, of which there is at least one, all as large as the first."""
    shape: tuple[int, ...] | None = None
    for frame in frames:
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] not in (3, 4) or not frame.size:
            raise InvalidParameters(
                f"A frame is {frame.dtype} {frame.shape}; (height, width, 3 or 4) bytes are wanted.",
                hint="Give frames as the renderer makes them.",
            )
        shape = shape or frame.shape
        if frame.shape != shape:
            raise InvalidParameters(
                f"A frame is {frame.shape} and the first is {shape}.", hint="Give frames of one size."
            )
        yield frame
    if shape is None:
        raise InvalidParameters("There are no frames.", hint="Give at least one.")


@contextmanager
def _whole_file(path: Path) -> Iterator[Path]:
    """A name beside `path` that takes its place at the end, or vanishes."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _too_slow(seconds: float) -> TransientFailure:
    return TransientFailure(
        f"ffmpeg was not done within {seconds:g} s of waiting for it.",
        code="video_encoding_timeout",
        hint="Choose fewer or smaller frames, or try again when the machine is less busy.",
    )


def _failed(code: int, complaints: IO[bytes]) -> PermanentFailure:
    length = complaints.seek(0, os.SEEK_END)
    complaints.seek(max(length - COMPLAINT_CHARACTERS, 0))
    tail = complaints.read().decode("utf-8", "replace").strip()
    return PermanentFailure(
        f"ffmpeg ended with code {code}: {tail or 'it said nothing'}",
        code="video_encoding_failed",
        hint="Look at what ffmpeg said; a full disk and an ffmpeg without libx264 are the usual reasons.",
        details={"exit_code": code, "stderr": tail},
    )
