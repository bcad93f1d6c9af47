"""The faults that every stand-in can play, chosen by LC_STAND_IN; standard library only."""

import json
import os
import signal
import subprocess
import sys
import time

CHILD = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: time.sleep(60)"
LAST_WORDS = {
    "out_of_memory": (
        "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total"
        " capacity of 11.76 GiB of which 1.10 GiB is free."
    ),
    "gpu_lost": "RuntimeError: CUDA error: unspecified launch failure",
    "gated": "huggingface_hub.utils._errors.GatedRepoError: 401 Client Error. Cannot access gated repo",
    "weights_missing": "huggingface_hub.utils.LocalEntryNotFoundError: Cannot find the requested files",
    "weights_invalid": "safetensors_rust.SafetensorError: Error while deserializing header: HeaderTooLarge",
    "wrong_build": "NotImplementedError: Could not run 'texture_baker_cpp::rasterize' on 'CUDA'",
    "no_object": "AssertionError: Empty mask!",
    "crash": "ValueError: something unforeseen",
}


def chosen() -> str:
    """The fault to play, or nothing."""
    return os.environ.get("LC_STAND_IN", "")


def play() -> None:
    """What happens before any result is written."""
    fault = chosen()
    record = os.environ.get("LC_STAND_IN_RECORD")
    if record:
        told = {"argv": sys.argv[1:], "cwd": os.getcwd(), "environ": dict(os.environ), "pid": os.getpid()}
        if fault in ("hang", "hang_detached", "leave_child"):
            nowhere = subprocess.DEVNULL
            detached = fault == "hang_detached"
            child = subprocess.Popen(
                [sys.executable, "-c", CHILD], stdout=nowhere, stderr=nowhere, start_new_session=detached
            )
            told["child"] = child.pid
        with open(record + ".part", "w") as file:
            json.dump(told, file)
        os.replace(record + ".part", record)
    if fault in ("hang", "hang_detached"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(60)
    if fault == "endless_output":
        while True:
            os.write(2, b"y" * 65536)
    if fault == "endless_lines":
        while True:
            print("the same thing again and again")
    if fault == "much_output":
        for number in range(400_000):
            print(f"line {number} " + "z" * 40)
    if fault == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if fault == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault in LAST_WORDS:
        print("Traceback (most recent call last):", file=sys.stderr)
        print(LAST_WORDS[fault], file=sys.stderr)
        sys.exit(1)
