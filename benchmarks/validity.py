"""Everything that is delivered, held against validators: Khronos' for glTF, OpenUSD's for USDZ.

Run `python -m benchmarks.validity`. The models: the sample photo from several seeds at every quality, models
of texts, and the tests' awkward meshes, repaired. Each is written as a plain GLB, as levels of detail and as
USDZ. The Khronos validator is installed by npm into a temporary folder; it cannot look into compressed
meshes, so web GLBs are decoded and compared instead. Writes `benchmarks/results/validity.json`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import npm_packages
from benchmarks.geometry_web import make_model
from benchmarks.reporting import bar, print_bars, write_report
from pipeline3d.errors import BrokenModelOutput
from pipeline3d.generation import inflation, procedural
from pipeline3d.geometry import glb, repairing, web
from pipeline3d.geometry.comparing import COMPRESSED, compare
from pipeline3d.geometry.formats import usdz
from pipeline3d.geometry.lods import build_lods
from pipeline3d.geometry.mesh import Model, TexturedMesh
from pipeline3d.geometry.pose import place
from pipeline3d.geometry.structure_check import check_glb
from pipeline3d_tests.awkward_meshes import USABLE, build

PACKAGE = "gltf-validator@2.0.0-dev.3.10"
PROMPTS = ("a red mug", "a wooden table", "a snowman", "a blue car", "a brown dog", "hello")
SEEDS = (0, 1, 2)
VALIDATE = """
const fs = require("fs"), validator = require("gltf-validator");
Promise.all(process.argv.slice(2).map(async file => {
  const found = await validator.validateBytes(new Uint8Array(fs.readFileSync(file)), {maxIssues: 1000});
  return {file, errors: found.issues.numErrors, warnings: found.issues.numWarnings,
          messages: found.issues.messages.filter(one => one.severity < 2).slice(0, 5)};
})).then(found => console.log(JSON.stringify(found)));
"""


def main() -> None:
    """Write, validate, print; exits with 1 where anything is wrong."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument(
        "--without-khronos", action="store_true", help="no npm; our own structural check only"
    )
    options.add_argument("--out", type=Path)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="validity-") as temporary:
        folder = Path(temporary)
        rows = [check(name, model, folder) for name, model in make_models()]
        files = sorted(folder.glob("*.glb"))
        khronos = None if chosen.without_khronos else ask_khronos(files, folder)
    report = build_report(rows, khronos)
    print(f"{len(rows)} models, {len(files)} GLBs, {sum('usdz' in row for row in rows)} USDZs")
    for row in rows:
        if row["complaints"]:
            print(row)
    for found in khronos or []:
        if found["errors"] or found["warnings"]:
            print(Path(found["file"]).name, found["messages"])
    print_bars(report)
    write_report("validity", report, chosen.out)
    raise SystemExit(0 if all(found["holds"] for found in report["bars"].values()) else 1)


def make_models() -> Iterator[tuple[str, Model]]:
    """Generated models and repaired awkward ones, a metre large."""
    for seed in SEEDS:
        for quality in inflation.PRESETS:
            yield f"photo-{seed}-{quality}", place(make_model(512, quality, seed=seed), size_m=1.0)
    for prompt in PROMPTS:
        made = procedural.sculpt(prompt, quality="fast")
        yield (
            f"text-{prompt.replace(' ', '-')}",
            Model(
                parts=(
                    TexturedMesh(
                        vertices=made.vertices, faces=made.faces, normals=made.normals, colours=made.colours
                    ),
                )
            ),
        )
    for name in USABLE:
        try:
            yield f"awkward-{name}", place(repairing.repair(build(name)).model, size_m=1.0)
        except BrokenModelOutput:
            continue  # refused: it is never delivered


def check(name: str, model: Model, folder: Path) -> dict[str, Any]:
    """Write all forms of a model; what our own checks and OpenUSD's say of them."""
    complaints: list[str] = []
    for number, level in enumerate(build_lods(model)):
        data = glb.encode_model(level.model, name=name)
        (folder / f"{name}-{number}.glb").write_bytes(data)
        complaints += [str(found) for found in check_glb(data) if found.severity == "error"]
    small = web.decompress(web.compress(model, name=name))
    complaints += [
        f"web GLB: {found}" for found in compare(model, small, tolerance=replace(COMPRESSED, faces=None))
    ]
    written = usdz.write_usdz(model, folder / f"{name}.usdz", name=name)
    complaints += [f"USDZ: {found}" for found in (*written.problems, *written.differences)]
    return {"name": name, "faces": model.face_count, "usdz": len(written.problems), "complaints": complaints}


def ask_khronos(files: list[Path], folder: Path) -> list[dict[str, Any]]:
    """The validator's counts for each file. Raises SystemExit where there is no npm."""
    otherwise = "--without-khronos uses our own check only."
    npm_packages.install(PACKAGE, folder, otherwise=otherwise)
    node = shutil.which("node")
    if node is None:
        raise SystemExit(f"node is not on PATH; {otherwise}")
    script = folder / "validate.js"
    script.write_text(VALIDATE)
    ran = subprocess.run(
        [node, str(script), *map(str, files)],
        check=True,
        capture_output=True,
        text=True,
        timeout=600,
        cwd=folder,
    )
    found: list[dict[str, Any]] = json.loads(ran.stdout)
    return found


def build_report(rows: list[dict[str, Any]], khronos: list[dict[str, Any]] | None) -> dict[str, Any]:
    """The figures and whether the bars hold."""
    bars = {
        "own_and_usd_complaints": bar(sum(len(row["complaints"]) for row in rows), 0),
        "models_without_a_usdz": bar(sum("usdz" not in row for row in rows), 0),
    }
    if khronos is not None:
        bars["khronos_errors"] = bar(sum(found["errors"] for found in khronos), 0)
    codes = Counter(message["code"] for found in khronos or [] for message in found["messages"])
    return {
        "bars": bars,
        "rows": rows,
        "khronos": PACKAGE if khronos is not None else None,
        "codes": dict(codes),
    }


if __name__ == "__main__":
    main()
