"""What a wrapper's failure is to us: its codes, exit codes and silences as errors of our own tree.

Decided by tables: a code decides the class, and so whether another attempt may help; never the text.
"""

from __future__ import annotations

from collections.abc import Mapping
from signal import Signals
from typing import Any

from pipeline3d.errors import (
    BrokenModelOutput,
    LeaseLost,
    ModelNotReady,
    PermanentFailure,
    Pipeline3dError,
    TransientFailure,
    UnusableInput,
)
from pipeline3d.generation.serving.events import Failed

CANNOT_START = 127
"""The keeper's exit code where the program could not be started at all."""
_SIGNALED = 128

ERRORS: Mapping[str, tuple[type[Pipeline3dError], str, str | None]] = {
    "invalid_request": (PermanentFailure, "The model's program refused the request.", None),
    "prompt_rejected": (
        UnusableInput,
        "The prompt cannot be used.",
        "Write it as plain words, without markup.",
    ),
    "model_missing": (
        ModelNotReady,
        "The model is not installed here.",
        "`pipeline3d models` says what is missing.",
    ),
    "weights_missing": (
        ModelNotReady,
        "The model's weights are not here.",
        "`pipeline3d models` says where they are looked for.",
    ),
    "weights_invalid": (
        ModelNotReady,
        "The model's weights are damaged or of another model.",
        "Fetch them again.",
    ),
    "licence_not_accepted": (
        ModelNotReady,
        "The licence of the model's weights was not accepted.",
        "`pipeline3d models` shows the licence.",
    ),
    "out_of_memory": (
        TransientFailure,
        "The device has too little memory for the model.",
        "Ask for a lower quality, or use a device with more memory.",
    ),
    "gpu_lost": (
        TransientFailure,
        "The device was lost while the model worked.",
        "`nvidia-smi` on the worker's host says whether it is back.",
    ),
    "empty_output": (BrokenModelOutput, "The model made nothing.", "Try another picture or another seed."),
    "broken_output": (BrokenModelOutput, "What the model made is not a valid result.", None),
    "script_failed": (
        PermanentFailure,
        "The model's program failed.",
        "The log of the run has its last lines.",
    ),
    "script_hung": (
        TransientFailure,
        "The model's program gave no sign of life and was ended.",
        "The log of the run has its last lines.",
    ),
    "timeout": (
        PermanentFailure,
        "The model took longer than it may.",
        "Ask for a lower quality, or raise the model's time limit.",
    ),
    "wrapper_died": (
        TransientFailure,
        "The model's program ended in the middle.",
        "The log of the run has its last lines.",
    ),
    "wrapper_fault": (
        PermanentFailure,
        "The program that drives the model is faulty.",
        "Report it with the log of the run.",
    ),
    "output_too_large": (
        PermanentFailure,
        "The model wrote more than it may.",
        "Ask for a lower quality.",
    ),
    "log_too_large": (
        PermanentFailure,
        "The model's program wrote an endless log and was ended.",
        "The log of the run has its beginning and its end.",
    ),
    "device_too_small": (
        ModelNotReady,
        "The model does not fit on the device.",
        "Use a worker whose device has more memory.",
    ),
    "device_missing": (
        ModelNotReady,
        "The device is not here.",
        "A GPU is seen through its driver and the Python package nvidia-ml-py.",
    ),
    "device_busy": (TransientFailure, "The device was busy for too long.", "Add a worker."),
    "canceled": (LeaseLost, "The run was canceled.", None),
}
"""Code to class, message and hint, where the wrapper gives none. `canceled` writes nothing to the request."""

CODE_BY_EXIT: Mapping[int, str] = {
    0: "wrapper_fault",  # it left without a result and thinks that this is fine
    1: "wrapper_fault",  # Python ends so after an exception that nobody caught
    2: "invalid_request",
    3: "model_missing",
    4: "out_of_memory",
    5: "script_failed",
    6: "canceled",
    7: "gpu_lost",
    8: "timeout",
    70: "wrapper_fault",
    CANNOT_START: "model_missing",
}

_CODE_BY_SIGNAL: Mapping[str, str] = {"SIGXCPU": "timeout", "SIGXFSZ": "output_too_large"}


def make_error(
    code: str,
    message: str | None = None,
    *,
    hint: str | None = None,
    stderr_tail: str = "",
    **details: Any,
) -> Pipeline3dError:
    """The error of a code; one that nobody knows is a fault of the wrapper, which is named.

    The last lines of the log are in `details`, and the last one in the message where there is no other.
    """
    if code not in ERRORS:
        message = f"It failed with the unknown code {code[:100]!r}" + (f": {message}" if message else ".")
        code = "wrapper_fault"
    kind, default_message, default_hint = ERRORS[code]
    if not message:
        last = stderr_tail.strip().rpartition("\n")[2].strip()[:300]
        message = f"{default_message} It last said: {last}" if last else default_message
    told = {name: value for name, value in details.items() if value is not None}
    if stderr_tail:
        told["stderr_tail"] = stderr_tail
    return kind(message, code=code, hint=hint or default_hint, details=told)


def error_of_failure(failure: Failed, *, stderr_tail: str = "") -> Pipeline3dError:
    """A wrapper's own account of its failure."""
    message = failure.message
    if (
        failure.code == "out_of_memory"
        and failure.needed_bytes is not None
        and failure.free_bytes is not None
    ):
        message = (message or ERRORS[failure.code][1]).rstrip()
        message += f" {failure.needed_bytes:,} bytes were needed and {failure.free_bytes:,} were free."
    return make_error(
        failure.code,
        message,
        hint=failure.hint,
        stderr_tail=stderr_tail,
        needed_bytes=failure.needed_bytes,
        free_bytes=failure.free_bytes,
    )


def error_of_exit(exit_code: int, *, stderr_tail: str = "") -> Pipeline3dError:
    """A wrapper that ended without an account: all there is is how it ended."""
    name = _signal_name(exit_code)
    code = CODE_BY_EXIT.get(exit_code) or _CODE_BY_SIGNAL.get(name or "", "wrapper_died")
    message = None
    if exit_code == 0:
        message = "The model's program ended without a result."
    elif code == "wrapper_died":
        how = f"killed by {name}" if name else f"exit code {exit_code}"
        message = f"The model's program ended in the middle ({how})."
    hint = "The system may have been out of memory." if name == "SIGKILL" else None
    return make_error(code, message, hint=hint, stderr_tail=stderr_tail, exit_code=exit_code)


def _signal_name(exit_code: int) -> str | None:
    try:
        return Signals(exit_code - _SIGNALED).name if exit_code > _SIGNALED else None
    except ValueError:
        return None


def copy_error(error: BaseException) -> BaseException:
    """The same error for another thread: one that is raised twice would show the frames of both."""
    if isinstance(error, Pipeline3dError):
        return type(error)(error.message, code=error.code, hint=error.hint, details=error.details)
    return error
