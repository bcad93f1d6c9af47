"""A threestudio trial on disk: where its checkpoints, metrics and exports are, and how to go on with it.

EXP_ROOT/NAME/TAG/ has configs/parsed.yaml, ckpts/last.ckpt and epoch=..-step=..ckpt, the metrics in
csv_logs/version_N/metrics.csv, perhaps `progress`, and save/it<step>-export/model.obj.
"""

from __future__ import annotations

import glob
import os
import re
import shutil
import zipfile

NAME, TAG = "threestudio", "trial"
"""Always given: by default the tag is the prompt, whose '/' makes folders and whose length fails."""
TAIL_BYTES = 8192


def trial_dir(root: str) -> str:
    """Where a trial lies below its root."""
    return os.path.join(root, NAME, TAG)


def parsed_config(trial: str) -> str:
    """The settings that the trial was started with."""
    return os.path.join(trial, "configs", "parsed.yaml")


def last_checkpoint(trial: str) -> str:
    """Written at each validation, every 200 steps."""
    return os.path.join(trial, "ckpts", "last.ckpt")


def is_whole(checkpoint: str) -> bool:
    """Whether a checkpoint was written to its end: it is a ZIP file, whose directory comes last."""
    try:
        return zipfile.is_zipfile(checkpoint)
    except OSError:
        return False


def checkpoint_steps(trial: str) -> dict[int, str]:
    """The numbered checkpoints that are whole, by step."""
    found = {}
    for path in glob.glob(os.path.join(glob.escape(trial), "ckpts", "*step=*.ckpt")):
        step = re.search(r"step=(\d+)", os.path.basename(path))
        if step and is_whole(path):
            found[int(step.group(1))] = path
    return found


def best_checkpoint(trial: str) -> str | None:
    """last.ckpt, or the newest numbered one where a kill cut that short; None where there is none."""
    if is_whole(last_checkpoint(trial)):
        return last_checkpoint(trial)
    numbered = checkpoint_steps(trial)
    return numbered[max(numbered)] if numbered else None


def find_trial(folder: str) -> str | None:
    """The trial that can be resumed in what an earlier attempt left: the folder itself, or below it."""
    for candidate in (folder, trial_dir(folder)):
        if os.path.isfile(parsed_config(candidate)) and best_checkpoint(candidate) is not None:
            return candidate
    return None


def adopt(earlier: str, trial: str) -> str:
    """Copy what is needed to go on into a new trial; returns its checkpoint."""
    checkpoint = best_checkpoint(earlier)
    if checkpoint is None:
        raise FileNotFoundError(f"{earlier} has no whole checkpoint")
    for target in (parsed_config(trial), last_checkpoint(trial)):
        os.makedirs(os.path.dirname(target), exist_ok=True)
    shutil.copyfile(parsed_config(earlier), parsed_config(trial))
    shutil.copyfile(checkpoint, last_checkpoint(trial))
    return last_checkpoint(trial)


def exported_obj(trial: str) -> str | None:
    """The OBJ of the highest step; the order of a listing says nothing."""
    found: dict[int, str] = {}
    for path in glob.glob(os.path.join(glob.escape(trial), "save", "it*-export", "*.obj")):
        step = re.match(r"it(\d+)-export$", os.path.basename(os.path.dirname(path)))
        # Several in one folder would be meshes of other names; `model.obj` is the exporter's default.
        if step and (int(step.group(1)) not in found or os.path.basename(path) == "model.obj"):
            found[int(step.group(1))] = path
    return found[max(found)] if found else None


def step_reached(trial: str) -> int | None:
    """The last step that the newest metrics.csv tells of, or None."""
    files = glob.glob(os.path.join(glob.escape(trial), "csv_logs", "version_*", "metrics.csv"))
    versions = {
        int(v.group(1)): f for f in files if (v := re.search(r"version_(\d+)", f.rpartition("csv_logs")[2]))
    }
    if not versions:
        return None
    try:
        with open(versions[max(versions)], "rb") as file:
            columns = file.readline().decode("utf-8", "replace").strip().split(",")
            place = columns.index("step")
            size = os.fstat(file.fileno()).st_size
            file.seek(max(file.tell(), size - TAIL_BYTES))
            rows = file.read().decode("utf-8", "replace").split("\n")
    except (OSError, ValueError):
        return None
    # The last line may be half written, so only lines that have ended count.
    for row in reversed(rows[:-1]):
        cells = row.split(",")
        if len(cells) == len(columns) and cells[place].strip().isdigit():
            return int(cells[place])
    return None


def percent_told(trial: str) -> float | None:
    """What the `progress` file says ('Generation progress: 37.5%'), as a fraction, or None."""
    try:
        with open(os.path.join(trial, "progress"), encoding="utf-8", errors="replace") as file:
            found = re.search(r"([\d.]+)\s*%", file.read(200))
        return min(1.0, float(found.group(1)) / 100) if found else None
    except (OSError, ValueError):
        return None
