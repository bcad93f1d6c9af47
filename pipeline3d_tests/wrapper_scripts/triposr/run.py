"""Takes the arguments of TripoSR's run.py, writes `OUT/<i>/mesh.*` as trimesh does: z-up, no material."""

import argparse
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import faults
import shapes

parser = argparse.ArgumentParser()
parser.add_argument("image", type=str, nargs="+")
parser.add_argument("--device", default="cuda:0", type=str)
parser.add_argument("--pretrained-model-name-or-path", default="stabilityai/TripoSR", type=str)
parser.add_argument("--chunk-size", default=8192, type=int)
parser.add_argument("--mc-resolution", default=256, type=int)
parser.add_argument("--no-remove-bg", action="store_true")
parser.add_argument("--foreground-ratio", default=0.85, type=float)
parser.add_argument("--output-dir", default="output/", type=str)
parser.add_argument("--model-save-format", default="obj", type=str, choices=["obj", "glb"])
parser.add_argument("--bake-texture", action="store_true")
parser.add_argument("--texture-resolution", default=2048, type=int)
parser.add_argument("--render", action="store_true")
args = parser.parse_args()
os.makedirs(args.output_dir, exist_ok=True)
faults.play()
for index, _ in enumerate(args.image):
    folder = os.path.join(args.output_dir, str(index))
    if not args.no_remove_bg:
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "input.png"), "wb"):
            pass
    for stage in ("Initializing model", "Processing images", "Running model", "Exporting mesh"):
        print(f"2024-03-05 - INFO - {stage} finished in 12.34ms.", file=sys.stderr)
    if faults.chosen() == "no_file":
        continue
    content = shapes.glb_for(faults.chosen())
    if faults.chosen() == "":
        stretched = [(x * 1, y * 2, z * 4) for x, y, z in shapes.CORNERS]
        content = shapes.cube(stretched, colours=[(128, 64, 255, 200)] * 8, material=False)
    with open(os.path.join(folder, f"mesh.{args.model_save_format}"), "wb") as file:
        file.write(content)
