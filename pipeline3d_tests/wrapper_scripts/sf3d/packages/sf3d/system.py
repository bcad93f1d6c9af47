"""The network's class, without a network."""

import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", ".."))
import shapes

FAULT = os.environ.get("LC_STAND_IN")
if FAULT == "not_installed":
    raise ImportError("texture_baker not found")


class GatedRepoError(OSError):
    """As huggingface_hub names it."""


class LocalEntryNotFoundError(OSError):
    """As huggingface_hub names it."""


class OutOfMemoryError(RuntimeError):
    """As torch names it."""


class Mesh:
    """What run_image returns."""

    faces = [] if FAULT == "empty_mesh" else shapes.FACES

    def export(self, path: str, include_normals: bool) -> None:
        """Writes the cube."""
        with open(path, "wb") as file:
            file.write(shapes.cube())
            if FAULT == "ten_gigabytes":
                file.truncate(10 * 1024**3)


class SF3D:
    """Takes the arguments of the real one."""

    @classmethod
    def from_pretrained(cls, name: str, config_name: str, weight_name: str) -> "SF3D":
        """Prints, as real ones do, and fails when told."""
        print("this line must not reach the protocol")
        if FAULT == "gated":
            raise GatedRepoError(f"Cannot access gated repo for url {name}")
        if FAULT == "weights_missing":
            raise LocalEntryNotFoundError("Cannot find the requested files in the disk cache")
        if FAULT == "exits":
            sys.exit(1)
        return cls()

    def to(self, device: str) -> "SF3D":
        """Anywhere."""
        return self

    def eval(self) -> "SF3D":
        """Always."""
        return self

    def run_image(self, images: list, bake_resolution: int, remesh: str, vertex_count: int = -1):
        """A cube for one picture."""
        if FAULT == "out_of_memory":
            raise OutOfMemoryError("CUDA out of memory. Tried to allocate 512.00 MiB.")
        if FAULT == "gpu_lost":
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        if FAULT == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        while FAULT == "endless_log":
            sys.stderr.write("step done\n" * 10_000)
        assert len(images) == 1
        return Mesh(), {}
