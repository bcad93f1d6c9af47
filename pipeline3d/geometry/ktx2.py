"""KTX2 textures, which graphics cards keep compressed, by whichever encoder program is installed.

`ktx` (KTX-Software 4.3 and later) is preferred, then its older `toktx`, then Binomial's `basisu`. None is
bundled: a program that is missing is a clear refusal, never a picture of another kind.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline3d.errors import BrokenModelOutput, ModelNotReady
from pipeline3d.geometry.mesh import Texture
from pipeline3d.geometry.texturing import PNG, Pixels, Role, resize, write_pixels

KTX2 = "image/ktx2"
EXTENSION = "KHR_texture_basisu"
IDENTIFIER = b"\xabKTX 20\xbb\r\n\x1a\n"
PROGRAMS = ("ktx", "toktx", "basisu")
SECONDS = 300.0
BLOCK_PX = 4
"""KHR_texture_basisu wants sides that are multiples of it."""
Mode = Literal["uastc", "etc1s"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """An installed program, and which command line it speaks."""

    kind: str
    path: str


def find_encoder() -> Encoder | None:
    """The best encoder that is on PATH."""
    for kind in PROGRAMS:
        if path := shutil.which(kind):
            return Encoder(kind=kind, path=path)
    return None


def encode_ktx2(
    pixels: Pixels,
    role: Role,
    *,
    mode: Mode | None = None,
    encoder: Encoder | None = None,
    seconds: float = SECONDS,
) -> Texture:
    """The picture (h,w,3 or 4) as KTX2 with mipmaps; its sides become multiples of four.

    Colour is ETC1S (small), data and normals are UASTC (exact), where `mode` says nothing else. Raises
    ModelNotReady `no_ktx2_encoder`, BrokenModelOutput `ktx2_failed`.
    """
    found = encoder or find_encoder()
    if found is None:
        raise ModelNotReady(
            "KTX2 textures need an encoder, and none is installed.",
            code="no_ktx2_encoder",
            hint=f"Put one of {', '.join(PROGRAMS)} on PATH, or ask for WebP textures.",
        )
    height, width = pixels.shape[:2]
    size = (_to_block(width), _to_block(height))
    whole = pixels if size == (width, height) else resize(pixels, size, role)
    with tempfile.TemporaryDirectory(prefix="ktx2-") as folder:
        source, target = Path(folder, "picture.png"), Path(folder, "picture.ktx2")
        source.write_bytes(write_pixels(whole, PNG).data)
        chosen: Mode = mode or ("etc1s" if role == "colour" else "uastc")
        _run(command_line(found, source, target, role, chosen, transparent=whole.shape[2] == 4), seconds)
        data = target.read_bytes() if target.exists() else b""
    if not data.startswith(IDENTIFIER):
        raise _failed(found.kind, "what it wrote is no KTX2 file")
    return Texture(data=data, mime_type=KTX2)


def command_line(
    encoder: Encoder, source: Path, target: Path, role: Role, mode: Mode, *, transparent: bool
) -> list[str]:
    """How the program is called. sRGB is said of colour only: data that is taken for it is shown wrong."""
    linear = role != "colour"
    if encoder.kind == "ktx":
        channels = "R8G8B8A8" if transparent else "R8G8B8"
        pixel_format = f"{channels}_{'UNORM' if linear else 'SRGB'}"
        coding = ["--encode", "basis-lz"] if mode == "etc1s" else ["--encode", "uastc", "--zstd", "18"]
        transfer = ["--assign-oetf", "linear" if linear else "srgb"]
        options = ["--format", pixel_format, *transfer, *coding, "--generate-mipmap"]
        return [encoder.path, "create", *options, str(source), str(target)]
    if encoder.kind == "toktx":
        coding = ["--encode", "etc1s"] if mode == "etc1s" else ["--encode", "uastc", "--zcmp", "18"]
        transfer = ["--assign_oetf", "linear" if linear else "srgb"]
        return [encoder.path, "--t2", "--genmipmap", *transfer, *coding, str(target), str(source)]
    options = ["-ktx2", "-mipmap", *(["-uastc"] if mode == "uastc" else []), *(["-linear"] if linear else [])]
    return [encoder.path, *options, "-file", str(source), "-output_file", str(target)]


def _run(command: list[str], seconds: float) -> None:
    kind = Path(command[0]).name
    try:
        ran = subprocess.run(command, capture_output=True, timeout=seconds, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as error:
        raise _failed(kind, f"it was stopped after {seconds:g} s") from error
    except OSError as error:
        raise _failed(kind, f"it cannot be started ({error.strerror})") from error
    if ran.returncode:
        said = (ran.stderr or ran.stdout).decode(errors="replace").strip().splitlines()
        raise _failed(kind, f"it ended with {ran.returncode}" + (f": {said[-1][:200]}" if said else ""))


def _failed(kind: str, reason: str) -> BrokenModelOutput:
    return BrokenModelOutput(f"The KTX2 encoder {kind} made no texture: {reason}.", code="ktx2_failed")


def _to_block(side: int) -> int:
    return max(BLOCK_PX, side // BLOCK_PX * BLOCK_PX)
