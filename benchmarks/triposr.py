"""TripoSR: our extraction against a dense one, and a photo to a GLB with weights of the published sizes.

Run `python -m benchmarks.triposr`. No published weights are used. The checkpoint has the published names
and sizes, random but seeded, with an object put into the learned tokens and the decoder (see
`pipeline3d_tests.tiny_triposr`): the forward pass does all of its work, and the surface is that of a
figure, roughened by what the random backbone adds for the picture; random weights alone would give noise.
So the times are those of the published model, the shape is not.

Both extractions work on the scene code that the forward pass made, in this process, alternating, with as
many threads as torch takes. The photo goes through a process of its own, whose peak memory is measured.
On cores that others use too, torch's threads wait for each other after every small operation, which slows
the dense way more than ours and flatters us: `--threads 1` compares without that, and processor times are
told beside the clock's. A warm load maps the file; its pages are read in the first forward pass, which is
told apart. Writes `benchmarks/results/triposr.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.reporting import bar, print_bars, write_report
from pipeline3d.generation import triposr
from pipeline3d.generation.triposr import SceneCode
from pipeline3d.generation.triposr.meshes import turn_back
from pipeline3d_tests.tiny_triposr import FIGURE, MARKED_BODY, PUBLISHED, TINY, write_directory

ROOT = Path(__file__).parents[1]
SPEEDUP_BAR = 8.0
"""Against the dense extraction, at 256 and 384."""
SPEEDUP_AT = (256, 384)
APART_BAR_VOXELS = 0.01
AFTER_FORWARD_BAR_S = 1.5
PEAK_BAR_GB = 4.0
LOAD_BAR_S = 2.0
PHOTO_RESOLUTION = 256
ROUGHNESS = 0.002
"""How much the random backbone adds to the planes; with five times as much, crumbs float in the air."""
BAKE_BAR_S = 6.0
BAKE_SIDE, BAKE_FACES = 1024, 20_000


def main() -> None:
    """Measure, print, write; exits with 1 where a bar does not hold."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--repeat", type=int, default=5, help="ours; the median counts")
    options.add_argument("--dense-repeat", type=int, default=2, help="the dense extraction is slow")
    options.add_argument("--resolution", type=int, action="append")
    options.add_argument("--threads", type=int, help="of torch, for both extractions; all by default")
    options.add_argument("--tiny", action="store_true", help="a tiny model: for a smoke test")
    options.add_argument("--directory", type=Path, help="keep the model here, and use it again")
    options.add_argument("--out", type=Path)
    chosen = options.parse_args()
    resolutions = chosen.resolution or list(triposr.PRESETS.values())
    with tempfile.TemporaryDirectory() as temporary:
        directory = chosen.directory or Path(temporary) / "model"
        if not (directory / "model.ckpt").exists():
            write_model(directory, tiny=chosen.tiny)
        photo = run_photo(directory, Path(temporary) / "scene", loads=chosen.repeat)
        print(json.dumps(photo), flush=True)
        scene = SceneCode.load(Path(temporary) / "scene")
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    rows = [
        compare(scene, resolution, repeat=chosen.repeat, dense_repeat=chosen.dense_repeat)
        for resolution in resolutions
    ]
    baking = measure_baking(scene, repeat=min(3, chosen.repeat))
    report = build_report(rows, photo, baking)
    print_tables(report)
    print_bars(report)
    write_report("triposr", report, chosen.out)
    raise SystemExit(0 if all(found["holds"] for found in report["bars"].values()) else 1)


def write_model(directory: Path, *, tiny: bool) -> None:
    """1.68 GB, or next to nothing."""
    begin = time.perf_counter()
    config, parts = (TINY, MARKED_BODY) if tiny else (PUBLISHED, FIGURE)
    write_directory(directory, config, parts, roughness=ROUGHNESS)
    print(f"model written in {time.perf_counter() - begin:.1f} s", flush=True)


def run_photo(directory: Path, scene: Path, *, loads: int) -> dict[str, Any]:
    """Stage times and peak memory of a photo, and its scene code in the file `scene`."""
    command = [sys.executable, "-m", "benchmarks.triposr_photo"]
    command += [str(directory), str(PHOTO_RESOLUTION), str(loads), str(scene)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if ran.returncode:
        raise SystemExit(f"the photo failed:\n{ran.stderr}")
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return found


def compare(scene: SceneCode, resolution: int, *, repeat: int, dense_repeat: int) -> dict[str, Any]:
    """Both extractions of a scene, alternating, and how far apart their surfaces are."""
    from benchmarks.triposr_dense import extract_densely

    ours, dense = Timings(), Timings()
    start = {384: triposr.STARTS["quality"]}.get(resolution, triposr.STARTS["balanced"])
    triposr.extract(scene, resolution=32)  # imports and caches
    for turn in range(max(repeat, dense_repeat)):
        if turn < repeat:
            mesh = ours.take(lambda: triposr.extract(scene, resolution=resolution, start=start))
        if turn < dense_repeat:
            vertices, _, _ = dense.take(lambda: extract_densely(scene, resolution))
            print(f"{resolution}: ours {ours.wall_s:.2f} s, dense {dense.wall_s:.2f} s", flush=True)
    voxel = 2 * scene.radius / (resolution - 1)
    return {
        "resolution": resolution,
        "ours_s": ours.wall_s,
        "dense_s": dense.wall_s,
        "speedup": round(dense.wall_s / ours.wall_s, 2),
        "ours_cpu_s": ours.cpu_s,
        "dense_cpu_s": dense.cpu_s,
        "speedup_cpu": round(dense.cpu_s / ours.cpu_s, 2),
        "evaluated": round(mesh.evaluations / mesh.lattice, 4),
        "vertices": len(mesh.vertices),
        "dense_vertices": len(vertices),
        "faces": len(mesh.faces),
        "apart_voxels": round(measure_distance(turn_back(mesh.vertices), vertices) / voxel, 6),
    }


class Timings:
    """Wall and processor seconds of calls; the medians count."""

    def __init__(self) -> None:
        self._wall: list[float] = []
        self._cpu: list[float] = []

    def take(self, work: Callable[[], Any]) -> Any:
        """Call `work` and remember how long it took."""
        wall, cpu = time.perf_counter(), time.process_time()
        result = work()
        self._wall.append(time.perf_counter() - wall)
        self._cpu.append(time.process_time() - cpu)
        return result

    @property
    def wall_s(self) -> float:
        """Median by the clock."""
        return round(statistics.median(self._wall), 3) if self._wall else float("nan")

    @property
    def cpu_s(self) -> float:
        """Median over all cores."""
        return round(statistics.median(self._cpu), 3) if self._cpu else float("nan")


def measure_distance(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> float:
    """The largest distance from a vertex, of either, to the nearest one of the other.

    Not in their order: where a sample lies on the level itself, the last bit of its density decides which
    edge has the vertex, and all later ones are numbered differently.
    """
    from scipy.spatial import cKDTree

    there, back = cKDTree(second).query(first)[0], cKDTree(first).query(second)[0]
    return float(max(there.max(), back.max()))


def measure_baking(scene: SceneCode, *, repeat: int) -> dict[str, Any]:
    """Seconds from a mesh at 256 to a textured one."""
    mesh = triposr.extract(scene, resolution=PHOTO_RESOLUTION)
    taken = Timings()
    for _ in range(repeat):
        baked = taken.take(
            lambda: triposr.bake(scene, mesh, texture_resolution=BAKE_SIDE, max_faces=BAKE_FACES)
        )
    return {"bake_s": taken.wall_s, "bake_cpu_s": taken.cpu_s, "faces": len(baked.faces)}


def build_report(rows: list[dict[str, Any]], photo: dict[str, Any], baking: dict[str, Any]) -> dict[str, Any]:
    """The rows and the bars of the sizes that were measured."""
    bars = {
        f"speedup_{row['resolution']}": bar(row["speedup"], SPEEDUP_BAR, better="higher")
        for row in rows
        if row["resolution"] in SPEEDUP_AT
    }
    for row in rows:
        more = abs(row["vertices"] - row["dense_vertices"])
        bars[f"vertices_more_or_fewer_{row['resolution']}"] = bar(more, 0)
        bars[f"apart_voxels_{row['resolution']}"] = bar(row["apart_voxels"], APART_BAR_VOXELS)
    bars["after_forward_s"] = bar(photo["after_forward"], AFTER_FORWARD_BAR_S)
    bars["peak_gb"] = bar(photo["peak_gb"], PEAK_BAR_GB)
    bars["load_s"] = bar(statistics.median(photo["loads"]), LOAD_BAR_S)
    bars["bake_s"] = bar(baking["bake_s"], BAKE_BAR_S)
    return {
        "bars": bars,
        "threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0],
        "rows": rows,
        "photo": photo,
        "baking": baking,
    }


def print_tables(report: dict[str, Any]) -> None:
    """Extraction by resolution, then the photo's stages."""
    columns = list(report["rows"][0])
    print("".join(f"{column:>15}" for column in columns))
    for row in report["rows"]:
        print("".join(f"{row[column]:>15g}" for column in columns))
    for name, value in {**report["photo"], **report["baking"]}.items():
        print(f"{name:>24} {value}")


if __name__ == "__main__":
    main()
