"""Takes the arguments of threestudio's launch.py and lays out a trial as it does; trains nothing.

Values of the dot list are YAML and `${...}` in them is expanded, environment included, as OmegaConf does it.
"""

import argparse
import glob
import os
import re
import signal
import sys
import zipfile

import yaml

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import faults
import objs

CHECK_INTERVAL = 200


def merge(settings: dict, key: str, value: object) -> None:
    """Set `a.b.c`."""
    *way, last = key.split(".")
    for step in way:
        settings = settings.setdefault(step, {})
    settings[last] = value


def resolve(value: object, root: dict) -> object:
    """Expand interpolations; a value of `???` is missing."""
    if isinstance(value, dict):
        return {key: resolve(entry, root) for key, entry in value.items()}
    if value == "???":
        raise ValueError("Missing mandatory value")
    if isinstance(value, str):
        return re.sub(r"\$\{([^}]*)\}", lambda found: expand(found.group(1), root), value)
    return value


def expand(word: str, root: dict) -> str:
    """An environment variable or another setting."""
    if word.startswith("oc.env:"):
        return os.environ[word[len("oc.env:") :]]
    for step in word.split("."):
        root = root[step]
    return str(root)


parser = argparse.ArgumentParser()
parser.add_argument("--config", required=True)
parser.add_argument("--gpu", default="0")
group = parser.add_mutually_exclusive_group(required=True)
for mode in ("train", "validate", "test", "export"):
    group.add_argument(f"--{mode}", action="store_true")
parser.add_argument("--verbose", action="store_true")
parser.add_argument("--typecheck", action="store_true")
args, extras = parser.parse_known_args()

with open(args.config) as file:
    settings = yaml.safe_load(file)
for extra in extras:
    name, _, text = extra.partition("=")
    merge(settings, name, yaml.safe_load(text))
settings = resolve(settings, settings)
if not settings["tag"] or settings.get("use_timestamp", True):
    raise ValueError("the trial's name would have a time in it")
with open("load/prompt_library.json"):
    pass  # opened relative to the working directory, as the real program does
if settings["system"]["prompt_processor"]["prompt"].startswith("lib:"):
    raise ValueError("Cannot find prompt with keywords in library")
trial = os.path.join(settings["exp_root_dir"], settings["name"], settings["tag"])
os.makedirs(trial, exist_ok=True)
fault = faults.chosen()


def write_checkpoint(step: int, name: str) -> None:
    """A ZIP file, as torch writes one."""
    os.makedirs(os.path.join(trial, "ckpts"), exist_ok=True)
    with zipfile.ZipFile(os.path.join(trial, "ckpts", name), "w") as archive:
        archive.writestr("global_step", str(step))


def read_checkpoint(path: str) -> int:
    """The step; fails for a torn file as torch does."""
    if not zipfile.is_zipfile(path):
        raise RuntimeError("PytorchStreamReader failed reading zip archive: failed finding central directory")
    with zipfile.ZipFile(path) as archive:
        return int(archive.read("global_step"))


def train() -> None:
    """Steps, metrics, checkpoints."""
    faults.play()
    os.makedirs(os.path.join(trial, "configs"), exist_ok=True)
    with open(os.path.join(trial, "configs", "parsed.yaml"), "w") as file:
        yaml.safe_dump(settings, file, allow_unicode=True)
    version = len(glob.glob(os.path.join(glob.escape(trial), "csv_logs", "version_*")))
    metrics = os.path.join(trial, "csv_logs", f"version_{version}", "metrics.csv")
    os.makedirs(os.path.dirname(metrics))
    start = read_checkpoint(settings["resume"]) if settings.get("resume") else 0
    print(f"training from step {start}")
    last = settings["trainer"]["max_steps"]
    with open(metrics, "w") as file:
        file.write("train/loss_sds,epoch,step\n")
        for step in range(start, last):
            file.write(f"0.5,0,{step}\n")
            if (step + 1) % CHECK_INTERVAL == 0 and fault != "no_checkpoint":
                file.flush()
                write_checkpoint(step + 1, "last.ckpt")
            if fault in ("preempted", "torn") and step + 1 == 700:
                if fault == "torn":
                    write_checkpoint(600, "epoch=0-step=600.ckpt")
                    os.truncate(os.path.join(trial, "ckpts", "last.ckpt"), 40)
                os.kill(os.getpid(), signal.SIGKILL)
    if fault == "wait_after_training":
        print("waiting", flush=True)
        record = os.environ["LC_STAND_IN_RECORD"]
        open(record + ".waiting", "w").close()
        while not os.path.exists(record + ".go"):
            signal.sigtimedwait([], 0.02)
    if fault != "no_checkpoint":
        write_checkpoint(last, "last.ckpt")
        write_checkpoint(last, f"epoch=0-step={last}.ckpt")
    if fault == "test_fails":
        raise RuntimeError("imageio found no ffmpeg")


def export() -> None:
    """The files of the mesh exporter; earlier exports of other steps are there as well."""
    step = read_checkpoint(settings["resume"])
    exporter = settings["system"]["exporter"]
    if exporter.get("context_type") != "cuda" or settings["system"].get("exporter_type") != "mesh-exporter":
        raise ValueError("no OpenGL here")
    record = os.environ.get("LC_STAND_IN_RECORD")
    if record:
        with open(record + ".export", "w") as file:
            yaml.safe_dump(sys.argv[1:], file)
    if fault == "no_export":
        return
    objs.write(os.path.join(trial, "save", f"it{step}-export"), exporter["fmt"], fault)
    objs.write(os.path.join(trial, "save", "it90-export"), "obj", "no_faces")


train() if args.train else export()
