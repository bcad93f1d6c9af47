"""Background removal by rembg's models, from files that the user already has.

Two invariants: nothing is ever downloaded, and no picture leaves this machine. rembg's sessions are given
the path of a file and never asked to find one, so neither its environment variables nor its checksums nor
its downloads play a part; sessions that send pictures to a service are not in the list.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import threading
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pipeline3d.errors import (
    InvalidParameters,
    ModelNotReady,
    Pipeline3dError,
    TransientFailure,
    UnusableInput,
)
from pipeline3d.imaging.colour import to_lab
from pipeline3d.imaging.confidence import assess
from pipeline3d.imaging.matting import (
    LEAST_COVERAGE,
    LEAST_SHARE,
    MOST_COVERAGE,
    REFINING_SIDE,
    SOLID_ALPHA,
    Matte,
    cut_out,
    denoise,
    shrink,
    take_own_alpha,
    tidy,
)
from pipeline3d.imaging.onnx_files import check_onnx_file
from pipeline3d.imaging.picture import Picture

Mask = npt.NDArray[np.bool_]
Pixels = npt.NDArray[np.uint8]

log = logging.getLogger(__name__)

LOCAL_MODELS = (
    "birefnet-general",
    "birefnet-general-lite",
    "birefnet-dis",
    "birefnet-hrsod",
    "birefnet-massive",
    "isnet-general-use",
    "u2net",
    "u2netp",
    "silueta",
)
"""rembg's names of the models for any object that are one file and run here. "atlascloud" and "withoutbg"
send pictures to a service; the others are for people, clothes or drawings, or need a prompt."""

AUTO_ORDER = ("birefnet-general", "isnet-general-use", "u2net", "u2netp")
"""Best first, as their authors' measurements on DIS5K and DUTS-TE rank them."""

INSTALL_COMMAND = "pip install pipeline3d[rembg]"

FAINT, SURE = 0.2, 0.8
"""Between these shares of coverage a model has not made up its mind."""

LEAST_DECIDED, WELL_DECIDED = 0.7, 0.9
"""Overlap of what a model is sure of with what it sees at all. rembg stretches every mask to 0 and 1, so one
of nothing looks like one of something but for this. Measured with IS-Net: the drawn objects and photographs
of one object reach 0.81 and more; walls, noise, text, textures and a distant rocket 0.66 at most."""

QUESTIONS = ("edged", "inside", "compact")
"""Those of `confidence.assess` that hold for a trained model too. It also finds objects in the colours of
their surroundings: a cup on a saucer of the table's brown was found whole, and is not "distinct" at all."""

LEAST_ANSWER = 0.02
"""What a clear no counts for, as in `confidence`."""

KNOWN_OBJECT, KNOWN_BACKGROUND = 0.9, 0.1
"""Outside these shares of coverage alpha matting takes the mask at its word."""

UNKNOWN_BAND_PX = 10
"""How far from its edge the mask is not believed in alpha matting: rembg's own width, at 1024 pixels."""


class _Session(Protocol):
    """The part of a rembg session that is used: a mask "L" of the picture's size, in a list."""

    inner_session: Any

    def predict(self, img: Any) -> list[Any]: ...


_Key = tuple[int, str, Path]
_Stamp = tuple[int, int]
_sessions: dict[_Key, tuple[_Stamp, _Session]] = {}
_loading = threading.Lock()


def list_local_models() -> tuple[str, ...]:
    """The names that `check_model` and `remove_background` know, whether or not they are ready here."""
    return LOCAL_MODELS


def find_model_file(name: str, directory: Path) -> Path | None:
    """The file of a model in either of rembg's layouts, or None."""
    places = (directory / f"{name}.onnx", directory / "models" / name / f"{name}.onnx")
    return next((place for place in places if place.is_file()), None)


def check_model(name: str, directory: Path) -> None:
    """Find out in milliseconds whether a model can be loaded: rembg is not imported, the file not read.

    Raises `ModelNotReady`: `unknown_background_model`, `rembg_missing`, `weights_missing`, or
    `weights_invalid` for a file that is cut short or no ONNX model.
    """
    if name not in LOCAL_MODELS:
        raise _unknown_model(name)
    for package in ("rembg", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise _rembg_missing(f"the package {package} is not installed")
    path = find_model_file(name, directory)
    if path is None:
        raise ModelNotReady(
            f"{name} needs its weights, and {directory / f'{name}.onnx'} does not exist.",
            code="weights_missing",
            hint=f"Download {name}.onnx from the releases of rembg and put it there. It is never downloaded "
            f"for you. The program itself comes with `{INSTALL_COMMAND}`.",
            details={"model": name, "path": str(directory / f"{name}.onnx")},
        )
    check_onnx_file(path)


def remove_background(picture: Picture, *, model: str, directory: Path, alpha_matting: bool = False) -> Matte:
    """The object of a picture as a model sees it, with alpha (h,w) at the picture's size.

    A picture with transparency of its own is taken at its word. `alpha_matting` refines the edge by
    closed-form matting (Levin, Lischinski, Weiss 2008): better hair, about a second. The `confidence` is
    how decided the model is and whether the picture agrees with its outline; it is reported, and only a
    model that cannot decide is refused.

    Raises `ModelNotReady` (see `check_model`), `UnusableInput` (`no_clear_object`) where the model sees
    nothing, everything, or cannot tell, and `TransientFailure` where it ran out of memory.
    """
    check_model(model, directory)
    own = take_own_alpha(picture)
    if own is not None:
        return own
    path = find_model_file(model, directory)
    assert path is not None, "check_model has seen it"
    alpha = _predict(_open_session(model, path), picture.rgb, path)
    kept, confidence = _judge(alpha, picture.rgb)
    alpha = _keep_only(kept, alpha)
    if alpha_matting:
        alpha = _keep_only(kept, _refine_by_matting(alpha, picture.rgb))
    return Matte(
        alpha=alpha,
        method=f"rembg:{model}",
        coverage=round(float((alpha >= SOLID_ALPHA).mean()), 4),
        confidence=round(confidence, 3),
    )


def cut_out_with(picture: Picture, *, method: str, directory: Path | None, seed: int) -> Matte:
    """The object of a picture by a method of the caller's choice; the matte's own `method` says which it was.

    "classical" needs no weights, "rembg:<name>" is that model or an error, and "auto" is the first model
    of `AUTO_ORDER` that is ready in `directory`, else classical. `seed` is for the classical method.
    Raises `InvalidParameters` for another word, and what `remove_background` and `cut_out` raise.
    """
    if method == "classical":
        return cut_out(picture, seed=seed)
    if method == "auto":
        return _cut_out_by_the_best(picture, directory, seed)
    kind, _, name = method.partition(":")
    if kind != "rembg":
        raise InvalidParameters(
            f'The background cannot be removed by "{method}".',
            hint='Use "auto", "classical" or "rembg:" and a model: ' + ", ".join(LOCAL_MODELS) + ".",
            details={"method": method},
        )
    if directory is None:
        raise ModelNotReady(
            f"{name} needs a directory with its weights, and none is configured.",
            code="weights_missing",
            hint=f"Configure the directory that holds {name}.onnx.",
            details={"model": name},
        )
    return remove_background(picture, model=name, directory=directory)


def _cut_out_by_the_best(picture: Picture, directory: Path | None, seed: int) -> Matte:
    own = take_own_alpha(picture)
    if own is not None:
        return own
    for name in AUTO_ORDER if directory is not None else ():
        assert directory is not None
        try:
            return remove_background(picture, model=name, directory=directory)
        except ModelNotReady as unready:
            if unready.code != "weights_missing":
                log.warning("background removal passes over %s: %s", name, unready)
    return cut_out(picture, seed=seed)


def _open_session(name: str, path: Path) -> _Session:
    """The session of a model: loaded once in a process, and again only when its file has changed."""
    facts = path.stat()
    stamp = (facts.st_mtime_ns, facts.st_size)
    key = (os.getpid(), name, path.resolve())  # a forked child cannot use its parent's threads
    known = _sessions.get(key)
    if known is not None and known[0] == stamp:
        return known[1]
    with _loading:
        known = _sessions.get(key)
        if known is None or known[0] != stamp:
            _sessions.pop(key, None)  # the old one's memory is needed for the new one
            known = _sessions[key] = (stamp, _load_session(name, path))
        return known[1]


def _load_session(name: str, path: Path) -> _Session:
    sessions, onnxruntime = _import_rembg()
    found = [kind for kind in sessions.sessions_class if kind.name() == name]
    if not found:
        raise _rembg_missing(f"the installed version does not know {name}; a newer one does")
    if hasattr(found[0], "is_local") and not found[0].is_local():
        raise _unknown_model(name)

    def use_the_file(_kind: type, *_arguments: Any, **_options: Any) -> str:
        return str(path)

    kind: Any = type(found[0].__name__, (found[0],), {"download_models": classmethod(use_the_file)})
    try:
        session: _Session = kind(name, onnxruntime.SessionOptions(), providers=["CPUExecutionProvider"])
    except MemoryError as failure:
        raise _out_of_memory(name) from failure
    except Exception as failure:  # onnxruntime's errors share no class of their own
        raise _weights_invalid(path, f"onnxruntime cannot load it ({_first_line(failure)})") from failure
    inputs = session.inner_session.get_inputs()
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].shape[1] != 3:
        shapes = ", ".join(str(declared.shape) for declared in inputs)
        raise _weights_invalid(path, f"it does not take one picture of three channels but {shapes}")
    return session


def _import_rembg() -> tuple[Any, Any]:
    """The modules rembg.sessions and onnxruntime. rembg ends the process where onnxruntime is missing."""
    try:
        onnxruntime = importlib.import_module("onnxruntime")
        sessions = importlib.import_module("rembg.sessions")
    except (SystemExit, ImportError, OSError) as failure:
        raise _rembg_missing(f"rembg cannot be imported ({_first_line(failure)})") from failure
    return sessions, onnxruntime


def _predict(session: _Session, rgb: Pixels, path: Path) -> Pixels:
    """The model's mask (h,w), 0 to 255. A mask that is the same all over comes back as 0."""
    from PIL import Image

    try:
        with np.errstate(all="ignore"):  # rembg divides by the mask's range, which may be nothing
            masks = session.predict(Image.fromarray(rgb))
        mask = np.asarray(masks[0])
    except MemoryError as failure:
        raise _out_of_memory(path.stem) from failure
    except (IndexError, TypeError, ValueError) as failure:
        raise _weights_invalid(path, f"its output is no mask ({_first_line(failure)})") from failure
    except Exception as failure:
        raise _explain_run_failure(failure, path) from failure
    if mask.shape != rgb.shape[:2] or mask.dtype != np.uint8:
        raise _weights_invalid(path, f"its output is no mask but an array {mask.shape}")
    return mask


def _explain_run_failure(failure: Exception, path: Path) -> Pipeline3dError:
    """What onnxruntime's refusal to run means: a model for other pictures, or too little memory."""
    states = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    if isinstance(failure, states.InvalidArgument):
        return _weights_invalid(path, f"it is not the model of its name ({_first_line(failure)})")
    return TransientFailure(
        f"{path.stem} failed while it ran: {_first_line(failure)}.",
        code="background_removal_failed",
        hint="Too little free memory is the usual reason: try again, or use a smaller model such as u2netp.",
        details={"model": path.stem},
    )


def _judge(alpha: Pixels, rgb: Pixels) -> tuple[Mask, float]:
    """The parts of the mask that are the object, at the working size, and the confidence in them."""
    import cv2
    from scipy import ndimage

    small = shrink(rgb)
    coverage = cv2.resize(alpha, small.shape[1::-1], interpolation=cv2.INTER_AREA) / np.float32(255)
    mask = tidy(coverage >= 0.5)
    labels, _ = ndimage.label(coverage >= FAINT)
    kept = np.isin(labels, np.unique(labels[mask]))
    if not LEAST_COVERAGE < mask.mean() < MOST_COVERAGE:
        raise _no_object(f"the model sees {'nothing in it' if mask.mean() < 0.5 else 'no background'}", 0.0)
    decided = float((kept & (coverage >= SURE)).sum() / kept.sum())
    if decided < LEAST_DECIDED:
        raise _no_object("the model cannot tell an object from its background", decided)
    found = assess(denoise(to_lab(small)), mask, kept, least_share=LEAST_SHARE["backdrop"]).answers
    certainty = (decided - LEAST_DECIDED) / (WELL_DECIDED - LEAST_DECIDED)
    answers = np.clip([certainty, *(found[question] for question in QUESTIONS)], LEAST_ANSWER, 1)
    return kept, float(np.sqrt(np.exp(np.log(answers).mean()) * answers.min()))


def _keep_only(kept: Mask, alpha: Pixels) -> Pixels:
    """Alpha (h,w) without what lies outside the parts that are kept, a mask of a smaller size."""
    import cv2

    grown = cv2.dilate(kept.astype(np.uint8), np.ones((3, 3), np.uint8))
    window = cv2.resize(grown, alpha.shape[::-1], interpolation=cv2.INTER_NEAREST)
    return np.asarray(np.where(window > 0, alpha, 0), np.uint8)


def _refine_by_matting(alpha: Pixels, rgb: Pixels) -> Pixels:
    """Alpha with its edge solved for from the colours on both sides; as it was where that has no solution."""
    import cv2

    estimate_alpha = importlib.import_module("pymatting").estimate_alpha_cf
    scale = min(1.0, REFINING_SIDE / max(alpha.shape))
    size = (max(1, round(alpha.shape[1] * scale)), max(1, round(alpha.shape[0] * scale)))
    coarse = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA) / np.float32(255)
    picture = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA) / 255.0
    band = np.ones((UNKNOWN_BAND_PX, UNKNOWN_BAND_PX), np.uint8)
    trimap = np.full(coarse.shape, 0.5)
    trimap[cv2.erode((coarse > KNOWN_OBJECT).astype(np.uint8), band) > 0] = 1.0
    trimap[cv2.erode((coarse < KNOWN_BACKGROUND).astype(np.uint8), band) > 0] = 0.0
    if not ((trimap == 1).any() and (trimap == 0).any()):
        return alpha
    try:
        solved = estimate_alpha(picture, trimap)
    except ValueError:  # its factorisation failed: colours without any difference
        return alpha
    enlarged = cv2.resize(solved.astype(np.float32), alpha.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.round(np.clip(enlarged, 0, 1) * 255), np.uint8)


def _no_object(reason: str, decided: float) -> UnusableInput:
    return UnusableInput(
        f"No clear object was found: {reason}.",
        code="no_clear_object",
        hint="Photograph the object alone before a plain background, or send a picture with transparency.",
        details={"confidence": 0.0, "decided": round(decided, 3), "needed": LEAST_DECIDED, "reason": reason},
    )


def _unknown_model(name: str) -> ModelNotReady:
    return ModelNotReady(
        f'"{name}" is not a background model that runs on this machine.',
        code="unknown_background_model",
        hint="These are: "
        + ", ".join(LOCAL_MODELS)
        + ". Models that send pictures to a service are not used.",
        details={"model": name},
    )


def _rembg_missing(reason: str) -> ModelNotReady:
    return ModelNotReady(
        f"Background models need rembg: {reason}.",
        code="rembg_missing",
        hint=f"Install it with `{INSTALL_COMMAND}`, or use the classical method, which needs nothing.",
    )


def _weights_invalid(path: Path, reason: str) -> ModelNotReady:
    return ModelNotReady(
        f"{path} is not a background model: {reason}.",
        code="weights_invalid",
        hint=f"Download {path.name} again from the releases of rembg.",
        details={"path": str(path)},
    )


def _out_of_memory(name: str) -> TransientFailure:
    return TransientFailure(
        f"There is not enough memory for {name}.",
        code="out_of_memory",
        hint="Try again when less is running, or use a smaller model such as u2netp.",
        details={"model": name},
    )


def _first_line(failure: BaseException) -> str:
    return next(iter(str(failure).splitlines()), "")[:200] or type(failure).__name__
