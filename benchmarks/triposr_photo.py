"""One photo to a GLB with a TripoSR directory, stage by stage, in a process of its own.

Run by `benchmarks.triposr`: `python -m benchmarks.triposr_photo DIRECTORY RESOLUTION LOADS SCENE`. Prints
one JSON object with the seconds of each stage and the peak memory of the process, and writes the scene
code to SCENE. The peak counts the checkpoint's mapped pages too.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline3d.generation import triposr
from pipeline3d.geometry import glb
from pipeline3d.geometry.mesh import TexturedMesh
from pipeline3d.imaging import decoding, framing, matting
from pipeline3d.imaging.sample_photo import draw_sample_photo
from pipeline3d_tests.pictures import encode


def main() -> None:
    """Measure and print."""
    directory, resolution, loads, scene_path = Path(sys.argv[1]), *map(int, sys.argv[2:4]), Path(sys.argv[4])
    print(json.dumps(measure(directory, resolution, loads, scene_path)))


def measure(directory: Path, resolution: int, loads: int, scene_path: Path) -> dict[str, float | list[float]]:
    """Seconds of every stage; the checkpoint is loaded `loads` times after once for the page cache."""
    photo = encode(draw_sample_photo(size=1024), "JPEG", quality=92)
    seconds: dict[str, float | list[float]] = {}

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        seconds[name] = round(time.perf_counter() - begin, 4)

    with stage("import_torch"):
        import torch

        import pipeline3d.generation.triposr.extraction
        import pipeline3d.generation.triposr.model  # noqa: F401
    with stage("first_load"):
        model = triposr.load_model(directory, device="cpu")
    warm: list[float] = []
    for _ in range(loads):
        del model
        begin = time.perf_counter()
        model = triposr.load_model(directory, device="cpu")
        warm.append(round(time.perf_counter() - begin, 4))
    with stage("cut_out_and_frame"):
        picture = decoding.decode_picture(photo)
        framed = framing.frame_object(picture, matting.cut_out(picture))
    with stage("first_forward"):  # reads the checkpoint's pages
        model.encode([framed])
    with stage("forward"):
        (scene,) = model.encode([framed])
    seconds["peak_after_forward_gb"] = peak_gb()
    scene.save(scene_path)
    triposr.extract(scene, resolution=32)  # imports scikit-image
    begin, begin_cpu = time.perf_counter(), time.process_time()
    with stage("extract"):
        mesh = triposr.extract(scene, resolution=resolution)
    with stage("encode_glb"):
        content = glb.encode_glb(
            TexturedMesh(
                vertices=mesh.vertices, faces=mesh.faces, normals=mesh.normals, colours=mesh.colours
            ),
            name="model",
        )
    seconds["after_forward"] = round(time.perf_counter() - begin, 4)
    seconds["after_forward_cpu"] = round(time.process_time() - begin_cpu, 4)
    seconds["peak_gb"] = peak_gb()
    seconds |= {"loads": warm, "threads": float(torch.get_num_threads())}
    return seconds | {"faces": float(len(mesh.faces)), "glb_mb": round(len(content) / 1e6, 2)}


def peak_gb() -> float:
    """The most memory that this process ever had, in 1e9 bytes."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 3)


if __name__ == "__main__":
    main()
