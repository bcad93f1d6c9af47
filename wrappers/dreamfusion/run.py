"""DreamFusion through threestudio's `launch.py`: a text becomes a GLB in an hour or so of training.

Trains, goes on from the last checkpoint of an attempt that was interrupted, exports an OBJ and turns it into
a GLB. Commit 28d9d80 of threestudio-project/threestudio is the one described here. The predecessor's command
line (`--prompt TEXT --output_path P.obj [--max_steps 1000]`) keeps working.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
from dataclasses import dataclass, replace
from typing import Any, Callable

_WRAPPERS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, _WRAPPERS)
import objects  # noqa: E402
import prompts  # noqa: E402
import trials  # noqa: E402

import glb  # noqa: E402
import predecessor  # noqa: E402
import upstream  # noqa: E402
from contract import Model, Readiness, Report  # noqa: E402
from harness import main  # noqa: E402
from protocol import Failure, Output, Parameters, Request, Result  # noqa: E402

sys.path.remove(_WRAPPERS)

SCRIPT, PYTHON, CONFIG = "DREAMFUSION_SCRIPT_PATH", "DREAMFUSION_PYTHON_PATH", "DREAMFUSION_CONFIG"
WEIGHTS = "DREAMFUSION_SD_MODEL_PATH"
DEFAULT_CONFIG = "configs/dreamfusion-sd.yaml"
MIN_STEPS, MAX_STEPS = 500, 10_000
"""Below, there is hardly an object; above, the published configuration gains nothing."""
MIN_PREDECESSOR_STEPS = 1000
TEST_VIEWS = 8
"""Upstream renders 120 after the training; nobody looks at them here."""
TRAINED, EXPORTED = 0.9, 0.98
"""How far the whole is when the training and when the export ends."""


@dataclass(frozen=True)
class Options:
    """A request in threestudio's terms."""

    prompt: str
    seed: int
    steps: int
    guidance_scale: float
    batch_size: int
    random_background: bool
    texture: bool
    texture_size: int
    threshold: Any
    resolution: int | None


def gpu() -> str:
    """One device: the first that is visible, since upstream takes every visible one."""
    return os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip() or "0"


def build_train_command(
    python: str, script: str, config: str, root: str, options: Options, *, weights: str, resume: str | None
) -> list[str]:
    """Train from the start, or on from a checkpoint; texts are quoted, for every value is read as YAML."""
    command = [
        *(python, script, "--config", config, "--train", "--gpu", gpu()),
        f"system.prompt_processor.prompt={prompts.quote(options.prompt)}",
        f"trainer.max_steps={options.steps}",
        f"seed={options.seed}",
        f"system.guidance.guidance_scale={options.guidance_scale!r}",
        f"data.batch_size={options.batch_size}",
        f"system.background.random_aug={str(options.random_background).lower()}",
        f"data.n_test_views={TEST_VIEWS}",
        *_place(root),
        *_weights(weights),
    ]
    return command + ([f"resume={prompts.quote(resume)}"] if resume else [])


def build_export_command(
    python: str, script: str, trial: str, root: str, checkpoint: str, options: Options, *, weights: str
) -> list[str]:
    """Export the mesh of a checkpoint. The context is CUDA: OpenGL has none in a container."""
    command = [
        *(python, script, "--config", trials.parsed_config(trial), "--export", "--gpu", gpu()),
        f"resume={prompts.quote(checkpoint)}",
        "system.exporter_type=mesh-exporter",
        "system.exporter.context_type=cuda",
        f"system.exporter.fmt={'obj-mtl' if options.texture else 'obj'}",
    ]
    if options.texture:
        command.append(f"system.exporter.texture_size={options.texture_size}")
    if options.threshold is not None:
        command.append(f"system.geometry.isosurface_threshold={options.threshold}")
    if options.resolution is not None:
        command.append("system.geometry.isosurface_method=mc-cpu")
        command.append(f"system.geometry.isosurface_resolution={options.resolution}")
    return command + [*_place(root), *_weights(weights)]


def _place(root: str) -> list[str]:
    return [
        f"exp_root_dir={prompts.quote(root)}",
        f"name={trials.NAME}",
        f"tag={trials.TAG}",
        "use_timestamp=false",
    ]


def _weights(path: str) -> list[str]:
    """Both users of the weights: those that the published configuration names were taken off the hub."""
    if not path:
        return []
    return [
        f"system.{part}.pretrained_model_name_or_path={prompts.quote(path)}"
        for part in ("prompt_processor", "guidance")
    ]


class DreamFusion(Model):
    """One text to one GLB."""

    name = "dreamfusion"
    kind = "text_to_3d"
    modes = ("one_shot",)
    environment = (
        SCRIPT,
        PYTHON,
        CONFIG,
        WEIGHTS,
        upstream.STALL_VARIABLE,
        "TCNN_CUDA_ARCHITECTURES",
        "CUDA_HOME",
    )
    description = "DreamFusion with Stable Diffusion, by threestudio: a mesh from a text."
    licence = (
        "threestudio: Apache-2.0; nvdiffrast: NVIDIA, non-commercial; weights: CreativeML Open RAIL++-M."
    )

    @classmethod
    def readiness(cls) -> Readiness:
        """Looks for the script, its configuration and the weights; a GPU is not looked for."""
        needs = []
        try:
            script = upstream.find_program(SCRIPT, "threestudio's launch.py")
            upstream.find_python(PYTHON)
            find_config(script)
        except Failure as failure:
            needs.append(failure.message)
        weights = os.environ.get(WEIGHTS, "").strip()
        if os.path.isabs(weights) and not os.path.isfile(os.path.join(weights, "model_index.json")):
            needs.append(f"{WEIGHTS} is {weights}, which has no model_index.json.")
        return Readiness(not needs, needs[0] if needs else None, tuple(needs))

    def load(self, params: dict[str, Any], report: Report) -> str:
        """Nothing stays loaded: a start of a minute is nothing beside the training."""
        upstream.find_program(SCRIPT, "threestudio's launch.py")
        return "cuda:0"

    def run(self, request: Request, report: Report, is_canceled: Callable[[], bool]) -> Result:
        """Train or go on, export, convert. Interrupted, `output_dir` can be the next `resume_dir`."""
        options = read_options(request, report)
        job = _Job(request, options, report, is_canceled)
        try:
            checkpoint = job.train() if request.task == "generate" else job.take_over()
            exported = job.export(checkpoint)
            result = job.convert(exported)
        except BaseException:
            if trials.best_checkpoint(job.trial) is None:
                shutil.rmtree(os.path.join(request.output_dir, trials.NAME), ignore_errors=True)
            raise
        shutil.rmtree(os.path.join(request.output_dir, trials.NAME), ignore_errors=True)
        return result


class _Job:
    """One request on its way through threestudio."""

    def __init__(
        self, request: Request, options: Options, report: Report, is_canceled: Callable[[], bool]
    ) -> None:
        self.request, self.options, self.report = request, options, report
        self._is_canceled = is_canceled
        self._script = upstream.find_program(SCRIPT, "threestudio's launch.py")
        self._python = upstream.find_python(PYTHON)
        self._weights = os.environ.get(WEIGHTS, "").strip()
        self.trial = trials.trial_dir(request.output_dir)
        self.resumed = False
        self._step: int | None = None
        self._peak_rss = 0

    def take_over(self) -> str:
        """The checkpoint of an earlier attempt. Raises Failure where there is none."""
        earlier = trials.find_trial(self.request.resume_dir) if self.request.resume_dir else None
        if earlier is None:
            raise Failure(
                "invalid_request",
                "There is nothing to go on from: resume_dir has no settings with a whole checkpoint.",
                "Give the output directory of the attempt that was interrupted.",
            )
        self.resumed = True
        return trials.adopt(earlier, self.trial)

    def train(self) -> str:
        """Returns the checkpoint of the end."""
        config, resume = find_config(self._script), None
        if self.request.resume_dir is not None:
            try:
                resume = self.take_over()
                config = trials.parsed_config(self.trial)
            except Failure:
                self.report.note("The earlier attempt left no whole checkpoint; training starts anew.")
        command = build_train_command(
            self._python, self._script, config, self.request.output_dir, self.options,
            weights=self._weights, resume=resume,
        )  # fmt: skip
        self.report.progress(0.01, "resuming" if self.resumed else "starting")
        ended = self._launch(command, self._watch_training)
        try:
            upstream.require_success(ended, "threestudio's training")
        except Failure as failure:
            # It renders test views after the training; an hour's work is not lost over those.
            if failure.code != "script_failed" or self.options.steps not in trials.checkpoint_steps(
                self.trial
            ):
                raise
            self.report.note(f"The training was done, its test views failed: {failure.message}")
        checkpoint = trials.best_checkpoint(self.trial)
        if checkpoint is None or not os.path.isfile(trials.parsed_config(self.trial)):
            raise Failure("empty_output", "threestudio ended without an error and left no checkpoint.")
        return checkpoint

    def export(self, checkpoint: str) -> str:
        """Returns the OBJ."""
        self.report.progress(TRAINED, "exporting")
        command = build_export_command(
            self._python, self._script, self.trial, self.request.output_dir, checkpoint, self.options,
            weights=self._weights,
        )  # fmt: skip
        ended = self._launch(command, lambda: False)
        upstream.require_success(ended, "threestudio's export")
        exported = trials.exported_obj(self.trial)
        if exported is None:
            raise Failure("empty_output", "threestudio's export ended without an error and left no mesh.")
        return exported

    def convert(self, exported: str) -> Result:
        """The OBJ as GLB, checked; the OBJ is kept beside it."""
        self.report.progress(EXPORTED, "converting")
        folder = self.request.output_dir
        mesh = objects.read_mesh(exported, self.report.note)
        content = glb.encode(mesh, "dreamfusion")
        counts = glb.check(content)
        target, source = os.path.join(folder, "mesh.glb"), os.path.join(folder, "model.obj")
        with open(target, "wb") as file:
            file.write(content)
        shutil.copyfile(exported, source)
        self.report.progress(1.0, "done")
        outputs = (Output("mesh.glb", target), Output("model.obj", source, "model/obj"))
        facts: dict[str, Any] = {"steps": self.options.steps, "resumed": self.resumed, **counts}
        facts.update(textured=mesh.texture is not None, peak_rss_bytes=self._peak_rss)
        return Result(outputs, self.options.seed, None, facts)

    def _launch(self, command: list[str], on_tick: Callable[[], bool]) -> upstream.Ended:
        more = {"CUDA_VISIBLE_DEVICES": gpu()} if os.environ.get("CUDA_VISIBLE_DEVICES") else {}
        ended = upstream.run_script(
            command, cwd=os.path.dirname(self._script), variables=upstream.environment(self._python, **more),
            is_canceled=self._is_canceled, on_tick=on_tick,
        )  # fmt: skip
        self._peak_rss = max(self._peak_rss, ended.peak_rss_bytes)
        return ended

    def _watch_training(self) -> bool:
        """Tell how far the training is; whether it moved since the last look."""
        told, step, steps = (
            trials.percent_told(self.trial),
            trials.step_reached(self.trial),
            self.options.steps,
        )
        fraction = max(told or 0.0, min(1.0, ((step or 0) + 1) / steps) if step is not None else 0.0)
        moved = step is not None and step != self._step
        if fraction > 0:
            self._step = step
            self.report.progress(fraction * TRAINED, "training", None if step is None else step + 1, steps)
        return moved


def find_config(script: str) -> str:
    """The configuration; a relative name is below threestudio's folder. Raises Failure(model_missing)."""
    name = os.environ.get(CONFIG, "").strip() or DEFAULT_CONFIG
    path = os.path.join(os.path.dirname(script), name)
    if not os.path.isfile(path):
        raise Failure("model_missing", f"{CONFIG} is {name}, and {path} does not exist.")
    return path


def read_options(request: Request, report: Report) -> Options:
    """The request's prompt and params, checked; what was changed is told. Raises Failure."""
    prompt, notes = prompts.clean(request.prompt)
    for note in notes:
        report.note(note)
    wanted = Parameters(request.params)
    threshold = request.params.get("isosurface_threshold")
    if threshold == "auto":
        wanted.text("isosurface_threshold", None, 4)
    else:
        threshold = wanted.number("isosurface_threshold", None, 0.0, 1000.0)
    options = Options(
        prompt=prompt,
        seed=request.seed if request.seed is not None else wanted.integer("seed", 0, 0, 2**32 - 1),
        steps=_clamped(wanted.integer("max_steps", MAX_STEPS, 1, 10**9), report),
        guidance_scale=wanted.number("guidance_scale", 100.0, 1.0, 1000.0),
        batch_size=wanted.integer("batch_size", 1, 1, 16),
        random_background=wanted.boolean("random_bg", True),
        texture=wanted.boolean("texture", True),
        texture_size=wanted.integer("texture_resolution", 1024, 128, 4096),
        threshold=threshold,
        resolution=wanted.integer("isosurface_resolution", None, 32, 512),
    )
    if request.seed is not None:
        wanted.integer("seed", 0, 0, 2**32 - 1)
    divisor = wanted.integer("memory_divisor", 1, 1, 64)
    if divisor > 1 and options.batch_size > 1:
        options = replace(options, batch_size=max(1, options.batch_size // divisor))
        report.note(f"batch_size was lowered to {options.batch_size} to save memory.")
    if request.images:
        report.note("DreamFusion takes a text; the pictures have no effect.")
    if wanted.unread():
        report.note(f"Parameters that DreamFusion does not have: {', '.join(wanted.unread())}.")
    return options


def _clamped(steps: int, report: Report) -> int:
    allowed = min(MAX_STEPS, max(MIN_STEPS, steps))
    if allowed != steps:
        report.note(
            f"max_steps was changed from {steps} to {allowed}; {MIN_STEPS} to {MAX_STEPS} are possible."
        )
    return allowed


def run_as_predecessor(arguments: list[str]) -> int:
    """`--prompt TEXT --output_path P.obj [--max_steps 1000]`; fewer than 1000 steps become 1000. 0 or 1."""
    parser = argparse.ArgumentParser(description=DreamFusion.description)
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--output_path", required=True)
    parser.add_argument("--max_steps", type=int, default=MIN_PREDECESSOR_STEPS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(_joined(arguments))
    as_glb = options.output_path.lower().endswith(".glb")
    return predecessor.carry_out(
        DreamFusion(resident=False),
        options.output_path,
        prompt=options.prompt,
        # Vertex colours are in the OBJ itself; a texture would lie beside it.
        params={
            "max_steps": max(MIN_PREDECESSOR_STEPS, options.max_steps),
            "seed": options.seed,
            "texture": as_glb,
        },
        wanted="mesh.glb" if as_glb else "model.obj",
    )


def _joined(arguments: list[str]) -> list[str]:
    """`--prompt X` as `--prompt=X`: argparse would take a text that starts with dashes for an option."""
    joined, rest = [], list(arguments)
    while rest:
        word = rest.pop(0)
        joined.append(f"--prompt={rest.pop(0)}" if word == "--prompt" and rest else word)
    return joined


if __name__ == "__main__":
    if any(re.match(r"--(prompt|output_path)(=|$)", argument) for argument in sys.argv[1:]):
        sys.exit(run_as_predecessor(sys.argv[1:]))
    sys.exit(main(DreamFusion, sys.argv[1:]))
