"""Takes the arguments of stable-fast-3d's run.py, writes `OUT/<i>/{input.png,mesh.glb}`: a cube, no model."""

import argparse
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import faults
import shapes

parser = argparse.ArgumentParser()
parser.add_argument("image", type=str, nargs="+")
parser.add_argument("--device", default="cuda", type=str)
parser.add_argument("--pretrained-model", default="stabilityai/stable-fast-3d", type=str)
parser.add_argument("--foreground-ratio", default=0.85, type=float)
parser.add_argument("--output-dir", default="output/", type=str)
parser.add_argument("--texture-resolution", default=1024, type=int)
parser.add_argument("--remesh_option", choices=["none", "triangle", "quad"], default="none")
parser.add_argument("--target_vertex_count", type=int, default=-1)
parser.add_argument("--batch_size", default=1, type=int)
args = parser.parse_args()
if not any(args.device in known for known in ("cuda", "mps", "cpu")):
    raise ValueError("Invalid device")
os.makedirs(args.output_dir, exist_ok=True)
print("Device used: ", args.device)
faults.play()
for index, image in enumerate(args.image):
    folder = os.path.join(args.output_dir, str(index))
    os.makedirs(folder, exist_ok=True)
    with open(image, "rb") as source, open(os.path.join(folder, "input.png"), "wb") as target:
        target.write(source.read())
    if faults.chosen() == "no_file":
        continue
    print("After Remesh 8 12")
    with open(os.path.join(folder, "mesh.glb"), "wb") as target:
        target.write(shapes.glb_for(faults.chosen()))
    print("Peak Memory:", 6081.5, "MB")
