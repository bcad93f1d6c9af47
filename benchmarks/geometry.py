"""A textured mesh of 100,000 faces on its way to what a shop publishes, stage by stage, and its yardsticks.

Run `python -m benchmarks.geometry`. Stages: repair, levels of detail, GLB, web GLB, USDZ, thumbnail, quality
report; each writes and checks what its asset does. They run in a process of their own, so that its peak
memory is theirs. Besides: the GLB against trimesh's export, simplification against the libraries by
themselves (time, and the measured distance from the source), and whether the cost grows with the faces only,
from 10,000 to 1,000,000. The web GLB is measured against gltf-transform by `benchmarks.geometry_web`. Writes
`benchmarks/results/geometry.json`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.geometry_models import make_model
from benchmarks.reporting import bar, print_bars, write_report
from pipeline3d.geometry import gate, glb, measuring, repairing, simplifying, thickness
from pipeline3d.geometry.closest import Surface
from pipeline3d.geometry.collapsing import collapse_edges
from pipeline3d.geometry.comparing import COMPRESSED, verify_file
from pipeline3d.geometry.deviation import measure_deviation
from pipeline3d.geometry.formats import usdz
from pipeline3d.geometry.gate_measuring import describe_delivery
from pipeline3d.geometry.gate_profiles import PROFILES
from pipeline3d.geometry.lods import build_lods
from pipeline3d.geometry.mesh import Model
from pipeline3d.geometry.rendering import render
from pipeline3d.geometry.structure_check import check_glb
from pipeline3d.geometry.web import compress

FACES, TEXTURE_PX = 100_000, 2048
SMALL_TEXTURE_PX = 256
"""Where the cost of faces is looked at."""
SIZES = (10_000, 100_000, 1_000_000)
WEB_TEXTURE_PX, WEB_ERROR = 1024, 1e-4
SIMPLIFIED_SHARE = 0.2
UV_WEIGHT = 0.5
WITH_TEXTURE = "meshoptimizer, texture kept"
"""The one library call that does what we do: the others do not look at texture coordinates."""
PROBES = 40_000
"""Points at which the distance is measured: with fewer, the error is known to a few per cent only."""
TOGETHER_BAR_S, PEAK_BAR_GB, EXPORT_BAR, SIMPLIFY_BAR, ERROR_BAR, LINEAR_BAR = 4.0, 1.5, 1.0, 1.5, 1.0, 1.3
MEASURE_IN_CHILD = "--stages"
STAGES = ("repair", "glb", "lods", "web_glb", "usdz", "thumbnail", "report")


def main() -> None:
    """Measure, print, write; exits with 1 where a bar does not hold."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--faces", type=int, default=FACES)
    options.add_argument("--texture-px", type=int, default=TEXTURE_PX)
    options.add_argument("--sizes", type=int, nargs="*", default=list(SIZES))
    options.add_argument("--repeat", type=int, default=5)
    options.add_argument("--out", type=Path)
    options.add_argument(MEASURE_IN_CHILD, action="store_true", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.stages:
        print(json.dumps(run_stages(make_model(chosen.faces, chosen.texture_px), repeat=chosen.repeat)))
        return
    whole = ask_child(chosen.faces, chosen.texture_px, chosen.repeat)
    sizes = {faces: ask_child(faces, SMALL_TEXTURE_PX, 3) for faces in chosen.sizes}
    model = make_model(chosen.faces, chosen.texture_px)
    report = build_report(
        whole,
        sizes,
        export=compare_exports(model, chosen.repeat),
        simplifying=compare_simplifying(model, chosen.repeat),
    )
    print_tables(report)
    print_bars(report)
    write_report("geometry", report, chosen.out)
    raise SystemExit(0 if all(found["holds"] for found in report["bars"].values()) else 1)


def ask_child(faces: int, texture_px: int, repeat: int) -> dict[str, Any]:
    """The stages of a mesh in a process of their own."""
    command = [sys.executable, "-m", "benchmarks.geometry", MEASURE_IN_CHILD, "--faces", str(faces)]
    command += ["--texture-px", str(texture_px), "--repeat", str(repeat)]
    ran = subprocess.run(command, cwd=Path(__file__).parent.parent, capture_output=True, text=True)
    if ran.returncode:
        raise SystemExit(f"the stages failed:\n{ran.stderr}")
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return found


def run_stages(model: Model, *, repeat: int) -> dict[str, Any]:
    """Median seconds of each stage after one run that imports everything, and the peak of the memory."""
    import resource

    taken: dict[str, list[float]] = {}
    for number in range(repeat + 1):
        with tempfile.TemporaryDirectory() as folder:
            clock = time.perf_counter()
            for stage in deliver(model, Path(folder)):
                now = time.perf_counter()
                if number:
                    taken.setdefault(stage, []).append(now - clock)
                clock = now
    peaks = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {
        "faces": model.face_count,
        "seconds": {stage: round(statistics.median(times), 4) for stage, times in taken.items()},
        "together_s": round(statistics.median(map(sum, zip(*taken.values(), strict=True))), 3),
        "peak_gb": round(sum(peaks) * 1024 / 1e9, 3),
    }


def deliver(model: Model, folder: Path) -> Iterator[str]:
    """What the assets of a request do after the mesh is made; names each stage when it is done."""
    repaired = repairing.repair(model)
    yield "repair"
    plain = folder / "model.glb"
    plain.write_bytes(glb.encode_model(repaired.model, name="model"))
    _require(not verify_file(plain, repaired.model), "GLB")
    yield "glb"
    chain = build_lods(repaired.model)
    for number, level in enumerate(chain[1:], start=1):
        (folder / f"lod-{number}.glb").write_bytes(glb.encode_model(level.model, name="lod"))
    yield "lods"
    small = folder / "web.glb"
    small.write_bytes(
        compress(repaired.model, name="model", texture_px=WEB_TEXTURE_PX, simplify_error=WEB_ERROR)
    )
    _require(not verify_file(small, repaired.model, tolerance=replace(COMPRESSED, faces=None)), "web GLB")
    yield "web_glb"
    report = usdz.write_usdz(repaired.model, folder / "model.usdz", name="model")
    _require(report.passed, "USDZ")
    yield "usdz"
    render(repaired.model, size_px=512)
    yield "thumbnail"
    data = plain.read_bytes()
    facts = describe_delivery(
        repaired.model,
        replace(measuring.measure(repaired.model), thinnest_m=thickness.measure_thinnest(repaired.model)),
        file_bytes={"glb": len(data), "web_glb": small.stat().st_size},
        glb_complaints=check_glb(data),
        usdz_complaints=report.problems,
        lods=len(chain),
    )
    for profile in PROFILES:
        gate.judge(profile, facts)
    yield "report"


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise SystemExit(f"the {what} is not what it was made of")


def compare_exports(model: Model, repeat: int) -> dict[str, float]:
    """Seconds of our GLB and of trimesh's, in turn; trimesh encodes the picture anew each time."""
    import io

    import trimesh
    from PIL import Image

    part = model.parts[0]
    picture = Image.open(io.BytesIO(part.texture or b""))
    picture.load()
    visuals: Any = trimesh.visual
    visual = visuals.TextureVisuals(uv=part.uvs, image=picture)
    theirs = trimesh.Trimesh(part.vertices, part.faces, visual=visual, process=False)
    bare = trimesh.Trimesh(part.vertices, part.faces, vertex_normals=part.normals, process=False)
    without = Model(parts=(replace(part, texture=None, uvs=None),))
    return {
        **in_turn(
            repeat,
            ours=lambda: glb.encode_model(model, name="model"),
            trimesh=lambda: theirs.export(file_type="glb"),
        ),
        **in_turn(
            repeat,
            ours_without_picture=lambda: glb.encode_model(without, name="model"),
            trimesh_without_picture=lambda: bare.export(file_type="glb", include_normals=True),
        ),
    }


def compare_simplifying(model: Model, repeat: int) -> dict[str, Any]:
    """Seconds to a fifth of the faces, and how far the surface then is from the source."""
    import fast_simplification
    import meshoptimizer
    import numpy as np

    part = model.parts[0]
    wanted = int(SIMPLIFIED_SHARE * model.face_count)
    source = Surface.of(model.surface())
    made: dict[str, Any] = {}

    def ours() -> None:
        made["ours"] = simplifying.simplify(model, target_faces=wanted).model.surface()

    def meshopt() -> None:
        indices = np.ascontiguousarray(part.faces, np.uint32).reshape(-1)
        chosen = np.zeros_like(indices)
        count = meshoptimizer.simplify(
            destination=chosen,
            indices=indices,
            vertex_positions=np.ascontiguousarray(part.vertices),
            target_index_count=3 * wanted,
            target_error=1.0,
        )
        made["meshoptimizer"] = replace(model.surface(), faces=chosen[:count].reshape(-1, 3).astype(np.int32))

    def with_texture() -> None:
        weights, uvs = np.full(2, UV_WEIGHT, np.float32), part.uvs
        assert uvs is not None
        faces, _ = collapse_edges(part.vertices, part.faces, uvs, weights, target_faces=wanted)
        made[WITH_TEXTURE] = replace(model.surface(), faces=np.asarray(faces, np.int32))

    def fast() -> None:
        points, faces = fast_simplification.simplify(part.vertices, part.faces, target_count=wanted)
        made["fast-simplification"] = replace(
            model.surface(), vertices=points.astype(np.float32), faces=faces.astype(np.int32)
        )

    seconds = in_turn(
        repeat,
        **{"ours": ours, "meshoptimizer": meshopt, WITH_TEXTURE: with_texture, "fast-simplification": fast},
    )
    return {
        name: {
            "seconds": seconds[name],
            "faces": len(surface.faces),
            "rms": deviation.relative_rms,
            "maximum": deviation.relative_maximum,
        }
        for name, surface in made.items()
        for deviation in [measure_deviation(source, Surface.of(surface), probes=PROBES)]
    }


def in_turn(repeat: int, **work: Callable[[], object]) -> dict[str, float]:
    """Median seconds of each, alternating, after one run of each."""
    taken: dict[str, list[float]] = {name: [] for name in work}
    for number in range(repeat + 1):
        for name, call in work.items():
            clock = time.perf_counter()
            call()
            if number:
                taken[name].append(time.perf_counter() - clock)
    return {name: round(statistics.median(times), 5) for name, times in taken.items()}


def build_report(
    whole: dict[str, Any],
    sizes: dict[int, dict[str, Any]],
    *,
    export: dict[str, float],
    simplifying: dict[str, Any],
) -> dict[str, Any]:
    """The figures and whether the bars hold."""
    libraries = {name: found for name, found in simplifying.items() if name != "ours"}
    fastest = min(libraries, key=lambda name: libraries[name]["seconds"])
    ours, yardstick, same = simplifying["ours"], libraries[fastest], libraries[WITH_TEXTURE]
    bars = {
        "together_s": bar(whole["together_s"], TOGETHER_BAR_S),
        "peak_gb": bar(whole["peak_gb"], PEAK_BAR_GB),
        "glb_against_trimesh": bar(round(export["ours"] / export["trimesh"], 3), EXPORT_BAR),
        "glb_against_trimesh_without_picture": bar(
            round(export["ours_without_picture"] / export["trimesh_without_picture"], 3), EXPORT_BAR
        ),
        "simplify_against_fastest": bar(round(ours["seconds"] / yardstick["seconds"], 3), SIMPLIFY_BAR),
        "simplify_error_against_fastest": bar(round(ours["rms"] / yardstick["rms"], 3), ERROR_BAR),
        "simplify_against_same_work": bar(round(ours["seconds"] / same["seconds"], 3), SIMPLIFY_BAR),
        "simplify_error_against_same_work": bar(round(ours["rms"] / same["rms"], 3), ERROR_BAR),
    }
    if len(sizes) > 2:
        bars["linear"] = bar(linearity(sizes), LINEAR_BAR)
    return {
        "bars": bars,
        "whole": whole,
        "sizes": {str(faces): found for faces, found in sizes.items()},
        "export_s": export,
        "simplifying": {"fastest": fastest, **simplifying},
    }


def linearity(sizes: dict[int, dict[str, Any]]) -> float:
    """Seconds for each further face among the larger meshes against the smaller ones.

    Differences, so that what every mesh costs once (starting OpenUSD's process, its pictures) hides nothing.
    """
    seconds = {found["faces"]: sum(found["seconds"][stage] for stage in STAGES) for found in sizes.values()}
    faces = sorted(seconds)
    further = [(seconds[b] - seconds[a]) / (b - a) for a, b in pairwise(faces)]
    return round(float(further[-1] / further[0]), 3)


def print_tables(report: dict[str, Any]) -> None:
    """Seconds of each stage by the number of faces, and the yardsticks."""
    rows = [report["whole"], *report["sizes"].values()]
    stages = list(report["whole"]["seconds"])
    print(f"{'faces':>9}" + "".join(f"{stage:>11}" for stage in [*stages, "together", "peak GB"]))
    for row in rows:
        cells = [*(row["seconds"][stage] for stage in stages), row["together_s"], row["peak_gb"]]
        print(f"{row['faces']:>9}" + "".join(f"{cell:>11}" for cell in cells))
    for name, seconds in report["export_s"].items():
        print(f"GLB, {name}: {seconds} s")
    for name, found in report["simplifying"].items():
        print(f"simplifying, {name}: {found}")


if __name__ == "__main__":
    main()
