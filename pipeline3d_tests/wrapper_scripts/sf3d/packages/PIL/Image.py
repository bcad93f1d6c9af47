"""A picture is what was done with it."""

import builtins
import json
import os


class Image:
    """Remembers its path and the calls."""

    def __init__(self, path: str) -> None:
        self.told = {"path": path}

    def convert(self, mode: str) -> "Image":
        """Remember the mode."""
        self.told["mode"] = mode
        return self

    def save(self, path: str) -> None:
        """Write what was done."""
        with builtins.open(path, "w") as file:
            json.dump(self.told, file)


def open(path: str) -> Image:
    """The picture at this path, which has to exist."""
    if not os.path.isfile(path):
        raise FileNotFoundError(path)
    return Image(path)
