"""TripoSR through the upstream package, for people who keep it; the worker has an implementation of its own.

One-shot it drives upstream's `run.py` (TRIPOSR_SCRIPT_PATH, TRIPOSR_PYTHON_PATH); resident it imports the
`tsr` package into this interpreter. Either way the mesh is turned upright (upstream leaves it z-up), its
colours are made linear and it gets a matt material (trimesh writes none, which renders dark). Commit d26e331
of VAST-AI-Research/TripoSR is the one described here.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import shutil
import sys
import tempfile
from array import array
from typing import Any, Callable

_WRAPPERS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, _WRAPPERS)
import devices  # noqa: E402
import glb  # noqa: E402
import upstream  # noqa: E402
from contract import Readiness, Report  # noqa: E402
from harness import main  # noqa: E402
from protocol import Canceled, Failure, Output, Parameters, Request, Result  # noqa: E402
from torch_model import TorchModel  # noqa: E402

sys.path.remove(_WRAPPERS)

SCRIPT, PYTHON, MODEL_DIR = "TRIPOSR_SCRIPT_PATH", "TRIPOSR_PYTHON_PATH", "TRIPOSR_MODEL_PATH"
HUB_NAME = "stabilityai/TripoSR"
PROGRAM = "the run.py of TripoSR"
DEVICES = ("cuda:0", "cpu")
DEFAULT_CHUNK, MIN_CHUNK = 8192, 256
"""Points of the density grid that are computed at once; 0 is all of them."""
STAGES = {
    "Initializing model finished": (0.4, "preparing the picture"),
    "Processing images finished": (0.5, "reconstructing"),
    "Running model finished": (0.7, "extracting the surface"),
    "Exporting mesh finished": (0.95, "checking"),
}


def build_command(
    python: str,
    script: str,
    images: tuple[str, ...],
    output_dir: str,
    *,
    device: str,
    model: str,
    chunk_size: int,
    resolution: int,
    foreground_ratio: float,
    remove_background: bool,
) -> list[str]:
    """The command line of the upstream program; `--bake-texture` is left out, it fails on CUDA."""
    return [
        *(python, script, *images),
        *("--device", device),
        *("--pretrained-model-name-or-path", model),
        *("--chunk-size", str(chunk_size)),
        *("--mc-resolution", str(resolution)),
        *(() if remove_background else ("--no-remove-bg",)),
        *("--foreground-ratio", f"{foreground_ratio:g}"),
        *("--output-dir", output_dir),
        *("--model-save-format", "glb"),
    ]


def upright(values: array[float]) -> array[float]:
    """z-up with the photographed side at +x becomes y-up with it at +z: (x, y, z) to (y, z, x)."""
    turned = array(values.typecode, values)
    turned[0::3], turned[1::3], turned[2::3] = values[1::3], values[2::3], values[0::3]
    return turned


class TripoSr(TorchModel):
    """One photo of one object to one GLB with colours at its vertices."""

    name = "triposr"
    kind = "image_to_3d"
    environment = (SCRIPT, PYTHON, MODEL_DIR, upstream.STALL_VARIABLE)
    description = "TripoSR by its upstream package: a mesh with vertex colours from one photo."
    licence = "MIT"

    def __init__(self, resident: bool) -> None:
        super().__init__(resident)
        self._device = "cpu"

    @classmethod
    def readiness(cls) -> Readiness:
        """Looks for the script, or for the package in this interpreter."""
        needs = []
        try:
            upstream.find_program(SCRIPT, PROGRAM)
            upstream.find_python(PYTHON)
        except Failure as failure:
            if not _has_package():
                needs.append(failure.message)
        model = os.environ.get(MODEL_DIR, "").strip()
        for name in ("config.yaml", "model.ckpt") if model else ():
            if not os.path.isfile(os.path.join(model, name)):
                needs.append(f"{MODEL_DIR} has no {name}.")
        return Readiness(not needs, needs[0] if needs else None, tuple(needs))

    def load(self, params: dict[str, Any], report: Report) -> str:
        """Resident: the network and the background remover; one-shot the script loads them itself."""
        if not self.resident:
            upstream.find_program(SCRIPT, PROGRAM)
            return Parameters(params).choice("device", "cuda:0", DEVICES)
        devices.go_offline()
        script = os.environ.get(SCRIPT, "").strip()
        if script:
            sys.path.insert(0, os.path.dirname(os.path.abspath(script)))
        default = "cuda:0" if devices.pick() == "cuda" else "cpu"
        self._device = Parameters(params).choice("device", default, DEVICES)
        import rembg
        from tsr.system import TSR

        self._background = rembg.new_session()
        model = TSR.from_pretrained(_model(), config_name="config.yaml", weight_name="model.ckpt")
        model.to(self._device)
        self._model = model
        return self._device

    def run(self, request: Request, report: Report, is_canceled: Callable[[], bool]) -> Result:
        """Reconstruct each picture's object; the result is mended and checked."""
        options = read_options(request, report)
        scratch = tempfile.mkdtemp(prefix="triposr-", dir=request.output_dir)
        devices.reset_peak()
        try:
            for index in range(len(request.images)):
                # With --no-remove-bg upstream forgets to make it.
                os.mkdir(os.path.join(scratch, str(index)))
            if self.resident:
                self._run_package(request, options, scratch, report, is_canceled)
            else:
                _run_script(request, options, scratch, report, is_canceled)
            outputs, facts = _collect(scratch, request)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        report.progress(1.0, "done")
        return Result(outputs, request.seed, devices.peak_bytes(), facts)

    def _run_package(
        self,
        request: Request,
        options: dict[str, Any],
        scratch: str,
        report: Report,
        is_canceled: Callable[[], bool],
    ) -> None:
        import torch

        self._model.renderer.set_chunk_size(options["chunk_size"])
        more = {"resolution": options["resolution"]}
        if "has_vertex_color" in inspect.signature(self._model.extract_mesh).parameters:
            more["has_vertex_color"] = True  # newer versions want to be told
        for index, path in enumerate(request.images):

            def tell(fraction: float, message: str, done: int = index) -> None:
                if is_canceled():
                    raise Canceled
                report.progress((done + fraction) / len(request.images), message)

            tell(0.1, "preparing the picture")
            image = self._prepare(path, options)
            tell(0.3, "reconstructing")
            with torch.no_grad():
                scene_codes = self._model([image], device=self._device)
            tell(0.6, "extracting the surface")
            mesh = self._model.extract_mesh(scene_codes, **more)[0]
            if not len(mesh.faces):
                raise Failure("empty_output", "The model found no surface in the picture.")
            mesh.export(os.path.join(scratch, str(index), "mesh.glb"))

    def _prepare(self, path: str, options: dict[str, Any]) -> Any:
        """As upstream's run.py: cut out, framed, on grey 0.5."""
        import numpy as np
        from PIL import Image
        from tsr.utils import remove_background, resize_foreground

        if not options["remove_background"]:
            return np.array(Image.open(path).convert("RGB"))
        image = remove_background(Image.open(path), self._background)
        image = resize_foreground(image, options["foreground_ratio"])
        pixels = np.array(image).astype(np.float32) / 255.0
        pixels = pixels[:, :, :3] * pixels[:, :, 3:4] + (1 - pixels[:, :, 3:4]) * 0.5
        return Image.fromarray((pixels * 255.0).astype(np.uint8))


def _run_script(
    request: Request,
    options: dict[str, Any],
    scratch: str,
    report: Report,
    is_canceled: Callable[[], bool],
) -> None:
    script, python = upstream.find_program(SCRIPT, PROGRAM), upstream.find_python(PYTHON)

    def listen(line: str) -> None:
        for words, (fraction, message) in STAGES.items():
            if words in line:
                report.progress(fraction, message)

    report.progress(0.05, "starting")
    ended = upstream.run_script(
        build_command(python, script, request.images, scratch, model=_model(), **options),
        cwd=os.path.dirname(script),
        variables=upstream.environment(python),
        is_canceled=is_canceled,
        on_line=listen,
    )
    upstream.require_success(ended, "TripoSR")


def read_options(request: Request, report: Report) -> dict[str, Any]:
    """The request's params in upstream's terms; what is ignored is told. Raises Failure."""
    if not request.images:
        raise Failure("invalid_request", "TripoSR needs one picture, the request has none.")
    wanted = Parameters(request.params)
    options = {
        "device": wanted.choice("device", "cuda:0", DEVICES),
        "chunk_size": wanted.integer("chunk_size", DEFAULT_CHUNK, 0, 1 << 24),
        "resolution": wanted.integer("mc_resolution", 256, 32, 512),
        "foreground_ratio": wanted.number("foreground_ratio", 0.85, 0.1, 1.0),
        "remove_background": wanted.boolean("remove_background", True),
    }
    divisor = wanted.integer("memory_divisor", 1, 1, 64)
    if divisor > 1:
        options["chunk_size"] = max(MIN_CHUNK, (options["chunk_size"] or DEFAULT_CHUNK) // divisor)
        report.note(f"The surface was computed in pieces of {options['chunk_size']} points to save memory.")
    if request.seed is not None:
        report.note("TripoSR draws nothing at random: the seed has no effect.")
    if wanted.unread():
        report.note(f"Parameters that TripoSR does not have: {', '.join(wanted.unread())}.")
    return options


def _collect(scratch: str, request: Request) -> tuple[tuple[Output, ...], dict[str, Any]]:
    """Mend, check and keep `OUT/<index of the picture>/mesh.glb`. Raises Failure."""
    outputs: list[Output] = []
    facts: dict[str, Any] = {}
    for index in range(len(request.images)):
        made = os.path.join(scratch, str(index), "mesh.glb")
        if not os.path.isfile(made):
            raise Failure("empty_output", "TripoSR ended without an error and left no mesh.glb.")
        suffix = "" if index == 0 else f"_{index}"
        counts = glb.check_file(made)
        facts.update({f"{name}{suffix}": value for name, value in counts.items()})
        with open(made, "rb") as file:
            content = glb.mend(file.read(), upright, srgb_colours=True)
        target = os.path.join(request.output_dir, f"mesh{suffix}.glb")
        with open(target, "wb") as file:
            file.write(content)
        outputs.append(Output(f"mesh{suffix}.glb", target))
    return tuple(outputs), facts


def _model() -> str:
    return os.environ.get(MODEL_DIR, "").strip() or HUB_NAME


def _has_package() -> bool:
    try:
        return importlib.util.find_spec("tsr") is not None
    except (ImportError, ValueError):
        return False


if __name__ == "__main__":
    sys.exit(main(TripoSr, sys.argv[1:]))
