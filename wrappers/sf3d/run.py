"""Stable Fast 3D as a wrapper: one photo becomes a textured GLB.

One-shot it drives the upstream `run.py` that SF3D_SCRIPT_PATH names, with the Python of SF3D_PYTHON_PATH;
resident it imports the `sf3d` package into this interpreter, so it has to be started with that Python. The
predecessor's command line (`--input_path --output_path ...`) keeps working. Commit ff21fc4 of
Stability-AI/stable-fast-3d is the one described here.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import sys
import tempfile
from typing import Any, Callable

_WRAPPERS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, _WRAPPERS)
import devices  # noqa: E402
import glb  # noqa: E402
import predecessor  # noqa: E402
import upstream  # noqa: E402
from contract import Readiness, Report  # noqa: E402
from harness import main  # noqa: E402
from protocol import Canceled, Failure, Output, Parameters, Request, Result  # noqa: E402
from torch_model import TorchModel  # noqa: E402

sys.path.remove(_WRAPPERS)

SCRIPT, PYTHON, MODEL_DIR = "SF3D_SCRIPT_PATH", "SF3D_PYTHON_PATH", "SF3D_MODEL_PATH"
HUB_NAME = "stabilityai/stable-fast-3d"
REMESH_OPTIONS = ("none", "triangle", "quad")
DEVICES = ("cuda", "mps", "cpu")
LICENCE = (
    "Stability AI Community License: free for non-commercial use, and for commercial use below a yearly"
    " revenue of 1M USD after registration; products must show 'Powered by Stability AI'."
)


def build_command(
    python: str,
    script: str,
    images: tuple[str, ...],
    output_dir: str,
    *,
    device: str,
    model: str,
    foreground_ratio: float,
    texture_resolution: int,
    remesh_option: str,
    vertex_count: int,
) -> list[str]:
    """The command line of the upstream program, with its mixture of dashes and underscores.

    Pictures are passed one by one: for a folder it takes the order of the file system. The device never has a
    number (`cuda:0` is refused); CUDA_VISIBLE_DEVICES selects it.
    """
    if device not in DEVICES:
        raise Failure("invalid_request", f"device is {device!r}; it must be one of {', '.join(DEVICES)}.")
    return [
        *(python, script, *images),
        *("--device", device),
        *("--pretrained-model", model),
        *("--foreground-ratio", f"{foreground_ratio:g}"),
        *("--output-dir", output_dir),
        *("--texture-resolution", str(texture_resolution)),
        *("--remesh_option", remesh_option),
        *("--target_vertex_count", str(vertex_count)),
        *("--batch_size", "1"),
    ]


class StableFast3d(TorchModel):
    """One photo of one object to one GLB with material."""

    name = "sf3d"
    kind = "image_to_3d"
    environment = (SCRIPT, PYTHON, MODEL_DIR, upstream.STALL_VARIABLE, "SF3D_USE_CPU")
    description = "Stable Fast 3D: a textured mesh with material from one photo."
    licence = LICENCE

    @classmethod
    def readiness(cls) -> Readiness:
        """Looks for the script, or for the package in this interpreter."""
        needs = []
        try:
            upstream.find_program(SCRIPT, "the run.py of stable-fast-3d")
            upstream.find_python(PYTHON)
        except Failure as failure:
            if not _has_package():
                needs.append(failure.message)
        model = os.environ.get(MODEL_DIR, "").strip()
        for name in ("config.yaml", "model.safetensors") if model else ():
            if not os.path.isfile(os.path.join(model, name)):
                needs.append(f"{MODEL_DIR} has no {name}.")
        return Readiness(not needs, needs[0] if needs else None, tuple(needs))

    def load(self, params: dict[str, Any], report: Report) -> str:
        """Resident: the network and the background remover; one-shot the script loads them itself."""
        if not self.resident:
            upstream.find_program(SCRIPT, "the run.py of stable-fast-3d")
            return "cpu" if devices.cpu_is_forced() else "cuda:0"
        devices.go_offline()
        # The package finds its tetrahedra beside itself, so its checkout has to be on the path.
        script = os.environ.get(SCRIPT, "").strip()
        if script:
            sys.path.insert(0, os.path.dirname(os.path.abspath(script)))
        self._device = Parameters(params).choice("device", devices.pick(), DEVICES)
        import rembg
        from sf3d.system import SF3D

        self._background = rembg.new_session()
        model = SF3D.from_pretrained(_model(), config_name="config.yaml", weight_name="model.safetensors")
        self._model = model.to(self._device).eval()
        return "cuda:0" if self._device == "cuda" else self._device

    def run(self, request: Request, report: Report, is_canceled: Callable[[], bool]) -> Result:
        """Reconstruct each picture's object; the result is checked, whatever the exit code said."""
        options = read_options(request, report)
        if self.resident:
            return self._run_package(request, options, report, is_canceled)
        return self._run_script(request, options, report, is_canceled)

    def _run_script(
        self, request: Request, options: dict[str, Any], report: Report, is_canceled: Callable[[], bool]
    ) -> Result:
        script = upstream.find_program(SCRIPT, "the run.py of stable-fast-3d")
        python = upstream.find_python(PYTHON)
        scratch = tempfile.mkdtemp(prefix="sf3d-", dir=request.output_dir)
        peak: list[int] = []

        def listen(line: str) -> None:
            if line.startswith("Device used:"):
                report.progress(0.3, "loading the model")
            elif line.startswith("After Remesh"):
                report.progress(0.8, "baking the texture")
            elif line.startswith("Peak Memory:"):
                peak.extend(devices.parse_megabytes(line))

        try:
            command = build_command(
                python, script, request.images, scratch,
                model=_model(), **options,
            )  # fmt: skip
            report.progress(0.05, "starting")
            ended = upstream.run_script(
                command, cwd=os.path.dirname(script), variables=upstream.environment(python),
                is_canceled=is_canceled, on_line=listen,
            )  # fmt: skip
            upstream.require_success(ended, "Stable Fast 3D")
            outputs, facts = _collect(scratch, request)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        report.progress(1.0, "done")
        return Result(outputs, request.seed, max(peak) if peak else None, facts)

    def _run_package(
        self, request: Request, options: dict[str, Any], report: Report, is_canceled: Callable[[], bool]
    ) -> Result:
        import torch
        from PIL import Image
        from sf3d.utils import remove_background, resize_foreground

        scratch = tempfile.mkdtemp(prefix="sf3d-", dir=request.output_dir)
        devices.reset_peak()
        try:
            for index, path in enumerate(request.images):
                if is_canceled():
                    raise Canceled
                report.progress((index + 0.1) / len(request.images), "removing the background")
                image = remove_background(Image.open(path).convert("RGBA"), self._background)
                image = resize_foreground(image, options["foreground_ratio"])
                if is_canceled():
                    raise Canceled
                report.progress((index + 0.3) / len(request.images), "reconstructing")
                with torch.no_grad(), devices.half_precision(torch, self._device):
                    mesh, _ = self._model.run_image(
                        [image],
                        bake_resolution=options["texture_resolution"],
                        remesh=options["remesh_option"],
                        vertex_count=options["vertex_count"],
                    )
                folder = os.path.join(scratch, str(index))
                os.makedirs(folder)
                image.save(os.path.join(folder, "input.png"))
                if not len(getattr(mesh, "faces", ())):
                    raise Failure("empty_output", "The model found no surface in the picture.")
                mesh.export(os.path.join(folder, "mesh.glb"), include_normals=True)
            outputs, facts = _collect(scratch, request)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        report.progress(1.0, "done")
        return Result(outputs, request.seed, devices.peak_bytes(), facts)


def read_options(request: Request, report: Report) -> dict[str, Any]:
    """The request's params in upstream's terms; what is ignored is told. Raises Failure."""
    if not request.images:
        raise Failure("invalid_request", "Stable Fast 3D needs one picture, the request has none.")
    wanted = Parameters(request.params)
    options = {
        "device": wanted.choice(
            "device", "cpu" if os.environ.get("SF3D_USE_CPU") == "1" else "cuda", DEVICES
        ),
        "foreground_ratio": wanted.number("foreground_ratio", 0.85, 0.1, 1.0),
        "texture_resolution": wanted.integer("texture_resolution", 1024, 128, 4096),
        "remesh_option": wanted.choice("remesh_option", "triangle", REMESH_OPTIONS),
        "vertex_count": wanted.integer("target_vertex_count", -1, -1, 1_000_000),
    }
    wanted.integer("batch_size", 1, 1, 1)
    if options["remesh_option"] == "none" and options["vertex_count"] > 0:
        report.note("target_vertex_count has no effect with remesh_option 'none'.")
    if request.seed is not None:
        report.note("Stable Fast 3D draws nothing at random: the seed has no effect.")
    if wanted.unread():
        report.note(f"Parameters that Stable Fast 3D does not have: {', '.join(wanted.unread())}.")
    return options


def _collect(scratch: str, request: Request) -> tuple[tuple[Output, ...], dict[str, Any]]:
    """Check and move what `OUT/<index of the picture>/mesh.glb` holds. Raises Failure."""
    outputs: list[Output] = []
    facts: dict[str, Any] = {}
    for index in range(len(request.images)):
        made = os.path.join(scratch, str(index), "mesh.glb")
        if not os.path.isfile(made):
            raise Failure("empty_output", "Stable Fast 3D ended without an error and left no mesh.glb.")
        counts = glb.check_file(made)
        suffix = "" if index == 0 else f"_{index}"
        facts.update({f"{name}{suffix}": value for name, value in counts.items()})
        _flatten(made)
        for source, kind in (("mesh.glb", "model/gltf-binary"), ("input.png", "image/png")):
            path = os.path.join(scratch, str(index), source)
            if os.path.isfile(path):
                stem, extension = os.path.splitext(source)
                outputs.append(_moved(path, request.output_dir, f"{stem}{suffix}{extension}", kind))
    return tuple(outputs), facts


def _flatten(path: str) -> None:
    """The mesh as the file's one node; upstream's orientation, material and textures are right."""
    with open(path, "rb") as file:
        content = glb.mend(file.read(), None, srgb_colours=False)
    with open(path, "wb") as file:
        file.write(content)


def _moved(path: str, folder: str, name: str, content_type: str) -> Output:
    target = os.path.join(folder, name)
    os.replace(path, target)
    return Output(name, target, content_type)


def _model() -> str:
    return os.environ.get(MODEL_DIR, "").strip() or HUB_NAME


def _has_package() -> bool:
    try:
        return importlib.util.find_spec("sf3d") is not None
    except (ImportError, ValueError):
        return False


def run_as_predecessor(arguments: list[str]) -> int:
    """`--input_path P --output_path P.glb [--texture_resolution 1024] [--remesh_option triangle]`: 0 or 1."""
    parser = argparse.ArgumentParser(description=StableFast3d.description)
    parser.add_argument("--input_path", required=True)
    parser.add_argument("--output_path", required=True)
    parser.add_argument("--texture_resolution", type=int, default=1024)
    parser.add_argument("--remesh_option", choices=REMESH_OPTIONS, default="triangle")
    parser.add_argument("--foreground_ratio", type=float, default=0.85)
    options = parser.parse_args(arguments)
    return predecessor.carry_out(
        StableFast3d(resident=False),
        options.output_path,
        images=(os.path.abspath(options.input_path),),
        params={
            "texture_resolution": options.texture_resolution,
            "remesh_option": options.remesh_option,
            "foreground_ratio": options.foreground_ratio,
        },
    )


if __name__ == "__main__":
    if any(argument.split("=")[0] == "--input_path" for argument in sys.argv[1:]):
        sys.exit(run_as_predecessor(sys.argv[1:]))
    sys.exit(main(StableFast3d, sys.argv[1:]))
