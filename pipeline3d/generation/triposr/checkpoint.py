"""Reads `model.ckpt`: mapped into memory, no code in it run, every name and shape checked.

Invariant: nothing but tensors is unpickled, and a network is handed out only with exactly the tensors that
its config needs.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline3d.generation.triposr.config import CHECKPOINT_NAME, Config, invalid_weights
from pipeline3d.generation.triposr.memory import is_out_of_memory, out_of_memory
from pipeline3d.generation.triposr.shapes import plan_shapes
from pipeline3d.generation.triposr.triplane import Backbone, Decoder, TriplaneTokenizer, Upsampler
from pipeline3d.generation.triposr.vision import ImageTokenizer

NAMED_IN_MESSAGE = 3


class Network(nn.Module):
    """The five parts under the names that the checkpoint gives them."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.image_tokenizer = ImageTokenizer(config)
        self.tokenizer = TriplaneTokenizer(config)
        self.backbone = Backbone(config)
        self.post_processor = Upsampler(config)
        self.decoder = Decoder(config)


def load_network(path: Path, config: Config) -> Network:
    """The network with the checkpoint's tensors, still mapped from the file, in 32-bit floats on the CPU.

    Raises `ModelNotReady` (`weights_invalid`) for anything but a table of the right tensors.
    """
    tensors = read_tensors(path)
    check_tensors(tensors, config)
    with torch.device("meta"):  # no memory is reserved for weights that are replaced at once
        network = Network(config)
    network.load_state_dict(dict(tensors), strict=True, assign=True)
    return network.eval().requires_grad_(False)


def read_tensors(path: Path) -> Mapping[Any, Any]:
    """The table in a checkpoint, mapped: its pages are read when they are used."""
    try:
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as failure:
        raise invalid_weights(
            CHECKPOINT_NAME, "it holds more than tensors, and was not opened", "a table of tensors only"
        ) from failure
    except MemoryError as failure:
        raise out_of_memory(failure, torch.device("cpu"), "reading the checkpoint") from failure
    except Exception as failure:  # torch's reader raises whatever a damaged file makes it stumble over
        if is_out_of_memory(failure):
            raise out_of_memory(failure, torch.device("cpu"), "reading the checkpoint") from failure
        said = " ".join(str(failure).split())[:200]
        raise invalid_weights(
            CHECKPOINT_NAME, f"it cannot be read ({type(failure).__name__}: {said})", "a whole checkpoint"
        ) from failure
    if not isinstance(found, Mapping):
        raise invalid_weights(CHECKPOINT_NAME, f"it holds a {type(found).__name__}", "a table of tensors")
    return found


def check_tensors(tensors: Mapping[Any, Any], config: Config) -> None:
    """Raises `ModelNotReady` (`weights_invalid`) unless names, shapes and types are those of the config."""
    shapes = plan_shapes(config)
    missing = [name for name in shapes if name not in tensors]
    foreign = [str(name) for name in tensors if name not in shapes]
    if missing or foreign:
        came = " and ".join(
            f"{len(names)} {what} ({', '.join(names[:NAMED_IN_MESSAGE])}{', …' if len(names) > 3 else ''})"
            for names, what in ((missing, "missing"), (foreign, "unknown"))
            if names
        )
        raise invalid_weights(CHECKPOINT_NAME, f"of its tensors {came}", f"the {len(shapes)} of the config")
    for name, shape in shapes.items():
        tensor = tensors[name]
        if not isinstance(tensor, Tensor):
            raise invalid_weights(CHECKPOINT_NAME, f"{name} is a {type(tensor).__name__}", "a tensor")
        if tuple(tensor.shape) != shape:
            raise invalid_weights(CHECKPOINT_NAME, f"{name} has the shape {tuple(tensor.shape)}", str(shape))
        if tensor.dtype != torch.float32 or tensor.layout != torch.strided:
            raise invalid_weights(CHECKPOINT_NAME, f"{name} is {tensor.dtype}", "dense 32-bit floats")
