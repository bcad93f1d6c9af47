"""Which failure of the protocol an exception or a script's last words stand for.

Upstream programs have no codes of their own: they raise, print a traceback and exit with 1. The names and
sentences below are theirs (torch, huggingface_hub, SF3D, TripoSR, threestudio); the first symptom found wins.
This is the one place in the project that reads meaning out of text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from protocol import Failure

_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


@dataclass(frozen=True)
class Symptom:
    """What people are told when one of the signs (regular expressions, any case) is found."""

    code: str
    message: str
    hint: str
    signs: tuple[str, ...]


SYMPTOMS = (
    Symptom(
        "licence_not_accepted",
        "The weights are behind a licence that this installation's account has not accepted.",
        "Accept the licence on the model's page, log in as the same user, download the weights, start again.",
        (r"GatedRepoError", r"Cannot access gated repo", r"Access to model .{1,200} is restricted"),
    ),
    Symptom(
        "out_of_memory",
        "The memory was not enough for this request.",
        "Ask for a lower resolution, or end other programs that use the device.",
        (
            r"OutOfMemoryError",
            r"CUDA out of memory",
            r"CUDA error: out of memory",
            r"CUBLAS_STATUS_ALLOC_FAILED",
            r"MPS backend out of memory",
            r"\bMemoryError\b",
            r"Cannot allocate memory",
        ),
    ),
    Symptom(
        "gpu_lost",
        "The GPU stopped answering; everything on it is gone.",
        "Start the model anew; if it happens again, look for Xid errors in the kernel's log.",
        (
            r"GPU is lost",
            r"has fallen off the bus",
            r"CUDA error: (an illegal memory access|unspecified launch failure|device-side assert)",
            r"CUDA error: (uncorrectable ECC|misaligned address|unknown error)",
            r"(CUDNN|CUBLAS)_STATUS_EXECUTION_FAILED",
        ),
    ),
    Symptom(
        "weights_missing",
        "Weights that the model needs are not on this machine.",
        "Download them once; HF_HOME, U2NET_HOME and the wrapper's own variables say where they belong.",
        (
            r"LocalEntryNotFoundError",
            r"OfflineModeIsEnabled",
            r"(Repository|Entry)NotFoundError",
            r"HFValidationError",
            r"couldn't connect to 'https?://huggingface\.co",
            r"does not appear to have a file named",
            r"Error no file named",
            r"is not a local folder and is not a valid model",
            r"(Name or service not known|Temporary failure in name resolution)",
            r"No such file or directory: '[^']*(model\.ckpt|\.safetensors|config\.yaml|_tets\.npz|\.onnx)'",
        ),
    ),
    Symptom(
        "weights_invalid",
        "The weights on this machine are not what the model expects.",
        "The file may be cut short or belong to another version: delete it and download it again.",
        (
            r"Error\(s\) in loading state_dict",
            r"PytorchStreamReader failed",
            r"SafetensorError",
            r"HeaderTooLarge",
            r"invalid load key",
            r"UnpicklingError",
            r"Weights only load failed",
        ),
    ),
    Symptom(
        "model_missing",
        "The model's environment is not installed for this machine.",
        "Install it again as wrappers/README.md says, with extensions built for this machine's device.",
        (
            r"could not run 'texture_baker_cpp::",
            r"texture_baker not found",
            r"No module named",
            r"cannot import name",
            r"undefined symbol",
            r"no kernel image is available",
            r"Torch not compiled with CUDA",
            r"Found no NVIDIA driver",
            r"no CUDA-capable device",
            r"No supported gpu backend found",
            r"CUDA device is required",
        ),
    ),
    Symptom(
        "invalid_request",
        "No object was found in the picture.",
        "Send a photo of one object that stands out, or one with a transparent background.",
        (r"Empty mask!", r"zero-size array to reduction operation"),
    ),
    Symptom(
        "invalid_request",
        "The picture cannot be decoded.",
        "Send a PNG, JPEG or WebP file.",
        (
            r"UnidentifiedImageError",
            r"cannot identify image file",
            r"image file is truncated",
            r"DecompressionBomb",
        ),
    ),
    Symptom(
        "script_failed",
        "The disk is full.",
        "Free some space in the file system of the output directory.",
        (r"No space left on device", r"Disk quota exceeded"),
    ),
)
_COMPILED = tuple((re.compile("|".join(row.signs), re.IGNORECASE), row) for row in SYMPTOMS)


def recognise(text: str) -> Failure | None:
    """The failure that this text is a known sign of, with the bytes it tells of, or None."""
    for pattern, symptom in _COMPILED:
        if pattern.search(text):
            needed, free = _memory_told(text) if symptom.code == "out_of_memory" else (None, None)
            return Failure(symptom.code, symptom.message, symptom.hint, needed_bytes=needed, free_bytes=free)
    return None


def failure_of(error: BaseException) -> Failure:
    """What an exception that left a model stands for; `script_failed` where it is no known sign."""
    if isinstance(error, Failure):
        return error
    # The cause too: loaders wrap the hub's precise error in a plain OSError.
    chain: list[str] = []
    link: BaseException | None = error
    while link is not None and len(chain) < 5:
        chain.append(f"{type(link).__name__}: {link}")
        link = link.__cause__ or link.__context__
    found, told = recognise("\n".join(chain)), chain[0][:500]
    if found is None:
        return Failure("script_failed", f"The model failed: {told}", "The log has the whole traceback.")
    found.message = f"{found.message} ({told})"
    return found


def _memory_told(text: str) -> tuple[int | None, int | None]:
    """Needed and free bytes of torch's 'Tried to allocate 2.00 GiB ... of which 1.10 GiB is free'."""
    needed = re.search(r"Tried to allocate ([\d.]+) ([KMGT]iB|B)", text)
    free = re.search(r"of which ([\d.]+) ([KMGT]iB|B) is free", text)
    free = free or re.search(r"total capacity; [^)]*?([\d.]+) ([KMGT]iB|B) free", text)
    return _bytes(needed), _bytes(free)


def _bytes(found: re.Match[str] | None) -> int | None:
    if found is None:
        return None
    try:
        return int(float(found.group(1)) * _UNITS[found.group(2)])
    except (ValueError, KeyError):
        return None
