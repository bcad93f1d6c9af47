"""Whether a TripoSR directory can be loaded, found out in milliseconds and without torch.

Invariant: nothing in the files is run or unpickled; only the config and the archive's list are read.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

from pipeline3d.generation.triposr.config import (
    CHECKPOINT_NAME,
    Config,
    invalid_weights,
    load_config,
    missing_weights,
)
from pipeline3d.generation.triposr.shapes import count_bytes, plan_shapes

CHECKPOINT_SHA256 = "429e2c6b22a0923967459de24d67f05962b235f79cde6b032aa7ed2ffcd970ee"
"""Of the published model.ckpt, as two public projects pin it; we never had the file to hash it ourselves."""

SPARE_BYTES = 4 * 1024 * 1024
"""The archive's names and padding, and the pickled list of tensors, are less than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryFacts:
    """What a directory holds. `weights_bytes` is what the tensors take in memory as 32-bit floats."""

    config: Config
    checkpoint: Path
    checkpoint_bytes: int
    weights_bytes: int
    tensors: int


def check_directory(directory: Path) -> DirectoryFacts:
    """The facts of a directory that looks loadable.

    Raises `ModelNotReady`: `weights_missing` for a file that is not there, `weights_invalid` for one that
    is truncated, of another size than the config needs, of another format, or a config for other classes.
    """
    config = load_config(directory)
    path = directory / CHECKPOINT_NAME
    if not path.is_file():
        raise missing_weights(directory, CHECKPOINT_NAME)
    shapes = plan_shapes(config)
    needed = count_bytes(shapes)
    size = path.stat().st_size
    if not needed <= size <= needed + SPARE_BYTES:
        raise invalid_weights(
            CHECKPOINT_NAME,
            f"it has {size:,} bytes",
            f"{needed:,} to {needed + SPARE_BYTES:,} (a download that broke off is shorter)",
        )
    _check_archive(path, len(shapes))
    return DirectoryFacts(
        config=config,
        checkpoint=path,
        checkpoint_bytes=size,
        weights_bytes=needed,
        tensors=len(shapes),
    )


def _check_archive(path: Path, tensors: int) -> None:
    wanted = "the zip archive that torch.save writes"
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError) as failure:
        raise invalid_weights(
            CHECKPOINT_NAME, f"it cannot be read as an archive ({failure})", wanted
        ) from failure
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise invalid_weights(CHECKPOINT_NAME, "its entries are compressed", wanted)
    if sum(entry.filename.endswith("/data.pkl") for entry in entries) != 1:
        raise invalid_weights(CHECKPOINT_NAME, "it has no list of tensors (data.pkl)", wanted)
    storages = sum("/data/" in entry.filename for entry in entries)
    if storages > tensors:
        raise invalid_weights(CHECKPOINT_NAME, f"it has {storages} blocks of numbers", f"at most {tensors}")
