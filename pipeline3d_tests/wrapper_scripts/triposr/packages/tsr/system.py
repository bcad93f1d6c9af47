"""The network's class, without a network."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", ".."))
import shapes

FAULT = os.environ.get("LC_STAND_IN")


class LocalEntryNotFoundError(OSError):
    """As huggingface_hub names it."""


class OutOfMemoryError(RuntimeError):
    """As torch names it."""


class Mesh:
    """A box, z-up, that is 1 by 2 by 4."""

    faces = [] if FAULT == "empty_mesh" else shapes.FACES

    def export(self, path: str) -> None:
        """As trimesh: colours, no material."""
        stretched = [(x * 1, y * 2, z * 4) for x, y, z in shapes.CORNERS]
        with open(path, "wb") as file:
            file.write(shapes.cube(stretched, colours=[(128, 64, 255, 255)] * 8, material=False))


class Renderer:
    """Takes the size of a chunk."""

    def set_chunk_size(self, size: int) -> None:
        """Any size above 0."""
        assert size > 0


class TSR:
    """Takes the arguments of the real one."""

    renderer = Renderer()

    @classmethod
    def from_pretrained(cls, name: str, config_name: str, weight_name: str) -> "TSR":
        """Fails when told."""
        if FAULT == "weights_missing":
            raise LocalEntryNotFoundError("facebook/dino-vitb16 is not in the cache")
        if FAULT == "weights_invalid":
            raise RuntimeError("Error(s) in loading state_dict for TSR: Missing key(s)")
        return cls()

    def to(self, device: str) -> "TSR":
        """Anywhere."""
        return self

    def __call__(self, images: list, device: str) -> list:
        """Scene codes."""
        if FAULT == "out_of_memory":
            raise OutOfMemoryError("CUDA out of memory.")
        assert images[0].mode == "RGB"
        return [0]

    if FAULT == "old_release":

        def extract_mesh(self, scene_codes: list, resolution: int = 256, threshold: float = 25.0) -> list:
            """Colours always."""
            return [Mesh()]

    else:

        def extract_mesh(
            self, scene_codes: list, has_vertex_color: bool, resolution: int = 256, threshold: float = 25.0
        ) -> list:
            """Colours when told."""
            assert has_vertex_color
            return [Mesh()]
