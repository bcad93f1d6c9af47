"""The web GLB against `gltf-transform optimize` on the same file: bytes and seconds.

Run `python -m benchmarks.geometry_web`. The model is the sample photo's, inflated at `quality`, with its
texture. Both sides compress with meshopt to WebP of at most the same size: once with all faces kept, once
with faces joined within 0.0001 of the extent, which is what `optimize` does by itself. `@gltf-transform/cli`
is installed by npm into a temporary folder; its time is that of the whole command, as a user waits for it.
Ours is measured in process, as the asset runs it, and as a command of its own. Runs alternate. Writes
`benchmarks/results/geometry_web.json`.
"""

from __future__ import annotations

import argparse
import io
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import npm_packages
from benchmarks.reporting import bar, print_bars, write_report
from pipeline3d.generation import inflation
from pipeline3d.geometry.glb import decode_model, encode_model
from pipeline3d.geometry.mesh import Model, Texture, TexturedMesh
from pipeline3d.geometry.texturing import compare_pixels, read_pixels, shrink
from pipeline3d.geometry.web import compress, decompress
from pipeline3d.imaging import decoding, framing, matting
from pipeline3d.imaging.sample_photo import draw_sample_photo

PACKAGE = "@gltf-transform/cli@4"
TEXTURE_PX = 2048
SIMPLIFY_ERROR = 0.0001
SIZE_BAR, TIME_BAR, PLAIN_BAR = 1.1, 1.0, 0.4
SIMPLIFYING = {"all faces": None, "faces joined": SIMPLIFY_ERROR}


def main() -> None:
    """Measure, print, write; exits with 1 where a bar does not hold."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--repeat", type=int, default=5)
    options.add_argument("--photo-px", type=int, default=2048)
    options.add_argument("--quality", choices=list(inflation.PRESETS), default="quality")
    options.add_argument("--without-yardstick", action="store_true", help="no npm; only our own figures")
    options.add_argument("--out", type=Path)
    options.add_argument("--convert", nargs=3, metavar=("IN", "OUT", "ERROR"), help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.convert:
        convert(Path(chosen.convert[0]), Path(chosen.convert[1]), float(chosen.convert[2]) or None)
        return
    with tempfile.TemporaryDirectory(prefix="geometry-web-") as folder:
        yardstick = None if chosen.without_yardstick else install_yardstick(Path(folder))
        model = make_model(chosen.photo_px, chosen.quality)
        report = measure(model, Path(folder), yardstick, repeat=chosen.repeat)
    print_rows(report)
    print_bars(report)
    write_report("geometry_web", report, chosen.out)
    raise SystemExit(0 if all(found["holds"] for found in report["bars"].values()) else 1)


def make_model(photo_px: int, quality: inflation.Quality, *, seed: int = 0) -> Model:
    """The sample photo of a seed as a model with its texture."""
    photo = io.BytesIO()
    Image.fromarray(draw_sample_photo(size=photo_px, seed=seed)).save(photo, "JPEG", quality=92)
    picture = decoding.decode_picture(photo.getvalue())
    made = inflation.inflate(framing.frame_object(picture, matting.cut_out(picture)), quality=quality)
    mesh = TexturedMesh(
        vertices=made.vertices,
        faces=made.faces,
        normals=made.normals,
        uvs=made.uvs,
        texture=made.texture_jpeg,
    )
    return Model(parts=(mesh,))


def install_yardstick(folder: Path) -> Path:
    """The gltf-transform program, by npm. Raises SystemExit where there is no npm."""
    npm_packages.install(PACKAGE, folder, otherwise="--without-yardstick measures our own figures only.")
    return folder / "node_modules" / ".bin" / "gltf-transform"


def convert(source: Path, target: Path, simplify_error: float | None) -> None:
    """What a command of ours would do: read the plain GLB, write the web GLB."""
    model = decode_model(source.read_bytes())
    target.write_bytes(compress(model, name="model", texture_px=TEXTURE_PX, simplify_error=simplify_error))


def measure(model: Model, folder: Path, yardstick: Path | None, *, repeat: int) -> dict[str, Any]:
    """Rows of every side, and the bars."""
    plain = encode_model(model, name="model")
    source = folder / "plain.glb"
    source.write_bytes(plain)
    rows: list[dict[str, Any]] = []
    for way, error in SIMPLIFYING.items():
        rows += compare_sides(model, source, yardstick, way=way, error=error, repeat=repeat)
    started = time.perf_counter()
    draco = compress(model, name="model", codec="draco", texture_px=TEXTURE_PX)
    rows.append(describe("ours, Draco", "all faces", draco, [time.perf_counter() - started], model))
    return {
        "model": {
            "faces": model.face_count,
            "vertices": model.vertex_count,
            "plain_bytes": len(plain),
            "texture_px": list(texture_size(model)),
        },
        "yardstick": PACKAGE if yardstick else None,
        "bars": judge(rows, len(plain)),
        "rows": rows,
    }


def compare_sides(
    model: Model, source: Path, yardstick: Path | None, *, way: str, error: float | None, repeat: int
) -> list[dict[str, Any]]:
    """Ours in process, ours as a command and the yardstick's command, in turn, after one run of each."""
    ours, theirs = source.with_name("ours.glb"), source.with_name("theirs.glb")
    own_command = [sys.executable, "-m", "benchmarks.geometry_web", "--convert"]
    own_command += [str(source), str(ours), str(error or 0)]
    seconds: dict[str, list[float]] = {"process": [], "command": [], "yardstick": []}
    data = b""
    for number in range(repeat + 1):
        clock = time.perf_counter()
        data = compress(model, name="model", texture_px=TEXTURE_PX, simplify_error=error)
        taken = {"process": time.perf_counter() - clock, "command": run(own_command)}
        if yardstick:
            taken["yardstick"] = run(yardstick_command(yardstick, source, theirs, error))
        for key, value in taken.items():
            if number:
                seconds[key].append(value)
    rows = [
        describe("ours, in process", way, data, seconds["process"], model),
        describe("ours, as a command", way, ours.read_bytes(), seconds["command"], model),
    ]
    if yardstick:
        rows.append(
            describe("gltf-transform optimize", way, theirs.read_bytes(), seconds["yardstick"], model)
        )
    return rows


def yardstick_command(program: Path, source: Path, target: Path, error: float | None) -> list[str]:
    """`optimize` with the same codec, pictures and joining of faces as ours."""
    simplify = ["--simplify", "false"] if error is None else ["--simplify-error", str(error)]
    pictures = ["--texture-compress", "webp", "--texture-size", str(TEXTURE_PX)]
    return [str(program), "optimize", str(source), str(target), "--compress", "meshopt", *pictures, *simplify]


def run(command: list[str]) -> float:
    """Seconds that a command takes."""
    clock = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return time.perf_counter() - clock


def describe(side: str, way: str, data: bytes, seconds: list[float], model: Model) -> dict[str, Any]:
    """One row; what was written is read back and compared with the model."""
    found = decompress(data)
    size = texture_size(found)
    source, written = picture_of(model), picture_of(found)
    likeness = compare_pixels(shrink(source, max(size), "colour"), written)
    corners = [
        np.concatenate([[p.vertices.min(0), p.vertices.max(0)] for p in m.parts]) for m in (model, found)
    ]
    return {
        "side": side,
        "way": way,
        "bytes": len(data),
        "texture_bytes": len(found.parts[0].texture or b""),
        "texture_psnr_db": round(likeness.psnr_db, 2),
        "texture_ssim": round(likeness.ssim, 4),
        "faces": found.face_count,
        "bounds_error": float(np.abs(corners[0] - corners[1]).max()),
        "seconds": round(statistics.median(seconds), 3),
    }


def picture_of(model: Model) -> Any:
    """The pixels of the first part's texture."""
    part = model.parts[0]
    return read_pixels(Texture(data=part.texture or b"", mime_type=part.texture_mime_type))


def texture_size(model: Model) -> tuple[int, int]:
    """Width and height of the first part's texture."""
    height, width = picture_of(model).shape[:2]
    return width, height


def judge(rows: list[dict[str, Any]], plain_bytes: int) -> dict[str, Any]:
    """The bars: against the plain file always, against the yardstick where it ran."""
    found = {(row["side"], row["way"]): row for row in rows}
    bars: dict[str, Any] = {}
    for way in SIMPLIFYING:
        ours, command = found["ours, in process", way], found["ours, as a command", way]
        name = way.replace(" ", "_")
        bars[f"share_of_plain_{name}"] = bar(round(ours["bytes"] / plain_bytes, 4), PLAIN_BAR)
        if theirs := found.get(("gltf-transform optimize", way)):
            size = ours["bytes"] / theirs["bytes"]
            bars[f"size_to_yardstick_{name}"] = bar(round(size, 4), SIZE_BAR)
            for kind, row in (("process", ours), ("command", command)):
                share = row["seconds"] / theirs["seconds"]
                bars[f"{kind}_time_to_yardstick_{name}"] = bar(round(share, 3), TIME_BAR)
    return bars


def print_rows(report: dict[str, Any]) -> None:
    """One line for each side and way."""
    model = report["model"]
    print(
        f"{model['faces']:,} faces, plain GLB {model['plain_bytes']:,} bytes, texture {model['texture_px']}"
    )
    for row in report["rows"]:
        print(
            f"{row['side']:25}{row['way']:14}{row['bytes']:>10,} bytes{row['seconds']:>8.2f} s"
            f"{row['faces']:>9,} faces   texture {row['texture_bytes']:,} bytes, {row['texture_psnr_db']} dB"
        )


if __name__ == "__main__":
    main()
