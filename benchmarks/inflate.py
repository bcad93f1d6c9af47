"""Seconds from the bytes of a photo to a GLB with the embedded generator, stage by stage.

Run `python -m benchmarks.inflate`. The pictures are drawn, 1024 pixels, as JPEG; stages are medians of
`--repeat` runs that alternate between the pictures, so that a busy moment hits them all. Prints a table
and writes `benchmarks/results/inflate.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

from pipeline3d.generation import inflation
from pipeline3d.geometry import glb, rendering
from pipeline3d.geometry.mesh import TexturedMesh
from pipeline3d.imaging import decoding, framing, matting
from pipeline3d.imaging.sample_photo import draw_sample_photo
from pipeline3d_tests.pictures import BACKDROPS, OBJECTS, draw, encode

BAR_S = 1.0
"""Photo to GLB at `balanced`, 1024 pixels, two cores."""
STAGES = ("decode", "cut_out", "frame", "inflate", "encode_glb")
RESULTS = Path(__file__).parent / "results" / "inflate.json"


def main() -> None:
    """Measure, print, write; exits with 1 where the bar does not hold."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--repeat", type=int, default=5)
    options.add_argument("--size", type=int, default=1024)
    options.add_argument("--quality", choices=list(inflation.PRESETS), action="append")
    options.add_argument("--out", type=Path, default=RESULTS)
    chosen = options.parse_args()
    qualities = chosen.quality or list(inflation.PRESETS)
    report = measure(draw_pictures(chosen.size), qualities, repeat=chosen.repeat)
    print_table(report)
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(report, indent=2) + "\n")
    raise SystemExit(0 if all(bar["holds"] for bar in report["bars"].values()) else 1)


def draw_pictures(size: int) -> dict[str, bytes]:
    """The pictures by name, as JPEG files."""
    drawn = {
        f"{subject}, {backdrop}": draw(subject, backdrop, size=size).rgb
        for subject, backdrop in zip(OBJECTS, BACKDROPS, strict=True)
    }
    drawn["duck (sample photo)"] = draw_sample_photo(size=size)
    return {name: encode(pixels, "JPEG", quality=92) for name, pixels in drawn.items()}


def measure(pictures: dict[str, bytes], qualities: list[inflation.Quality], *, repeat: int) -> dict[str, Any]:
    """Medians for every picture and quality, and the bar, which is about `balanced`."""
    rows: list[dict[str, Any]] = []
    for quality in qualities:
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in pictures}
        run_once(next(iter(pictures.values())), quality)  # imports and caches
        for _ in range(repeat):
            for name, data in pictures.items():
                runs[name].append(run_once(data, quality))
        for name, timings in runs.items():
            seconds = {key: round(statistics.median(t[key] for t in timings), 4) for key in timings[0]}
            rows.append({"picture": name, "quality": quality, **seconds})
    totals = [row["total"] for row in rows if row["quality"] == "balanced"]
    bars = {}
    if totals:
        slowest = max(totals)
        bars["photo_to_glb_balanced_s"] = {
            "value": slowest,
            "bar": BAR_S,
            "better": "lower",
            "holds": slowest <= BAR_S,
        }
    return {
        "machine": describe_machine(),
        "revision": read_revision(),
        "bars": bars,
        "rows": rows,
    }


def run_once(data: bytes, quality: inflation.Quality) -> dict[str, float]:
    """Seconds of each stage, their total, and of a thumbnail (which is not in the total)."""
    clock = [time.perf_counter()]
    picture = decoding.decode_picture(data)
    clock.append(time.perf_counter())
    matte = matting.cut_out(picture)
    clock.append(time.perf_counter())
    framed = framing.frame_object(picture, matte)
    clock.append(time.perf_counter())
    model = inflation.inflate(framed, quality=quality)
    clock.append(time.perf_counter())
    mesh = TexturedMesh(
        vertices=model.vertices,
        faces=model.faces,
        normals=model.normals,
        uvs=model.uvs,
        texture=model.texture_jpeg,
    )
    glb.encode_glb(mesh, name="model")
    clock.append(time.perf_counter())
    rendering.render_thumbnail(mesh)
    clock.append(time.perf_counter())
    steps = [later - earlier for earlier, later in zip(clock, clock[1:], strict=False)]
    return {**dict(zip(STAGES, steps, strict=False)), "total": clock[-2] - clock[0], "thumbnail": steps[-1]}


def print_table(report: dict[str, Any]) -> None:
    """The rows, in milliseconds, and whether the bar holds."""
    columns = (*STAGES, "total", "thumbnail")
    print(f"{'picture':22}{'quality':10}" + "".join(f"{column:>11}" for column in columns) + "   (ms)")
    for row in report["rows"]:
        cells = "".join(f"{row[column] * 1000:11.0f}" for column in columns)
        print(f"{row['picture']:22}{row['quality']:10}{cells}")
    for name, bar in report["bars"].items():
        print(
            f"{name}: {bar['value']:.3f} (bar {bar['bar']}): {'holds' if bar['holds'] else 'DOES NOT HOLD'}"
        )


def describe_machine() -> str:
    """Processor, cores and interpreter."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line
        ]
        cpu = names[0] if names else cpu
    return f"{cpu}, {os.cpu_count()} cores, Python {platform.python_version()}"


def read_revision() -> str:
    """The commit that was measured, or "unknown" outside a checkout."""
    asked = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent
    )
    return asked.stdout.strip() or "unknown"


if __name__ == "__main__":
    main()
