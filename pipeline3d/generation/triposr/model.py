"""The loaded model: cut-out pictures in, scene codes out.

On a CUDA device the transformers compute in bfloat16, which the tensor cores do two to four times faster;
what the surface is made from stays in 32-bit floats. On the CPU and on Apple's GPUs all is 32-bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline3d.errors import BrokenModelOutput, ModelNotReady, UnusableInput
from pipeline3d.generation.triposr.checkpoint import Network, load_network
from pipeline3d.generation.triposr.config import ENGINE_VERSION, Config
from pipeline3d.generation.triposr.directory import check_directory
from pipeline3d.generation.triposr.memory import free_bytes, is_out_of_memory, out_of_memory
from pipeline3d.generation.triposr.scene import SceneCode

GREY = 0.5
"""What the model was trained to see behind the object."""
LARGEST_BATCH = 8
"""Beyond it a device is busy anyway: one picture is 3,072 tokens."""
SHARE_OF_FREE_MEMORY = 0.6
"""What a batch may plan with: the estimate knows nothing of fragmentation."""


def load_model(directory: Path, *, device: str = "auto") -> TripoSR:
    """The model of a directory with `config.yaml` and `model.ckpt`.

    device: `auto` (CUDA, else Apple's GPU, else CPU), or what torch calls one: `cpu`, `cuda:1`, `mps`.
    Raises `ModelNotReady`: `weights_missing`, `weights_invalid`, `device_missing`; and `TransientFailure`
    (`out_of_memory`) where the weights do not fit.
    """
    facts = check_directory(directory)
    where = choose_device(device)
    network = load_network(facts.checkpoint, facts.config)
    halved = where.type == "cuda" and torch.cuda.is_bf16_supported()
    return TripoSR(facts.config, network, where, halved=halved)


def choose_device(name: str) -> torch.device:
    """The torch device of a name. Raises `ModelNotReady` (`device_missing`) if this machine has none."""
    has_mps = torch.backends.mps.is_available()
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as failure:
        raise _no_device(name, "torch knows no device of this name") from failure
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        number = device.index if ":" in name else torch.cuda.current_device() if count else 0
        if number >= count:
            raise _no_device(name, f"torch sees {count} CUDA devices here")
        return torch.device("cuda", number)
    if device.type == "mps" and not has_mps:
        raise _no_device(name, "torch sees no Apple GPU here")
    if device.type not in ("cpu", "mps"):
        raise _no_device(name, "only cpu, cuda and mps are supported")
    return device


def _no_device(name: str, reason: str) -> ModelNotReady:
    return ModelNotReady(
        f"The device {name!r} cannot be used: {reason}.",
        code="device_missing",
        hint="Choose `auto` or `cpu`, or install the torch build for this device.",
    )


class TripoSR:
    """The network on its device. Not for several threads at once."""

    def __init__(self, config: Config, network: Network, device: torch.device, *, halved: bool) -> None:
        self.config = config
        self.device = device
        self.halved = halved
        """Whether the transformers' weights are bfloat16."""
        if halved:
            _halve(network.image_tokenizer)
            _halve(network.backbone)
        self._decoder = tuple(
            (layer.weight.numpy().copy(), layer.bias.numpy().copy())
            for layer in network.decoder.layers
            if isinstance(layer, nn.Linear)
        )
        try:
            self._network = network.to(device)
        except Exception as failure:
            if is_out_of_memory(failure):
                raise out_of_memory(failure, device, "loading the weights") from failure
            raise

    @property
    def memory_bytes(self) -> int:
        """What the weights take on the device."""
        return sum(weight.numel() * weight.element_size() for weight in self._network.parameters())

    def encode(
        self, pictures: Sequence[npt.NDArray[np.uint8]], *, batch_size: int | None = None
    ) -> list[SceneCode]:
        """A scene code for each cut-out, RGBA uint8 (h,w,4), straight alpha, framed to a square.

        `batch_size` is how many go through the network together; by default one on the CPU, where more
        gain nothing, else what should fit. A batch that does not fit is halved. Raises `UnusableInput`
        (`no_clear_object`) for an empty cut-out, `TransientFailure` (`out_of_memory`) if not even one
        picture fits, `BrokenModelOutput` (`nan_mesh`) if the result has numbers that are not finite, and
        `ValueError` for an array of another shape.
        """
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size {batch_size} is below 1")
        for picture in pictures:
            check_picture(picture)
        size = batch_size or self._plan_batch()
        scenes: list[SceneCode] = []
        while len(scenes) < len(pictures):
            batch = pictures[len(scenes) : len(scenes) + size]
            planes = self._forward_if_it_fits(batch)
            if isinstance(planes, MemoryError):
                size = len(batch) // 2
                if self.device.type == "cuda":
                    torch.cuda.empty_cache()
                if size < 1:
                    raise out_of_memory(planes, self.device, "looking at one picture")
            else:
                scenes += [self._build_scene(plane) for plane in planes]
        return scenes

    def _forward_if_it_fits(
        self, pictures: Sequence[npt.NDArray[np.uint8]]
    ) -> npt.NDArray[np.float32] | MemoryError:
        """The planes, or what was said: the caught error itself would hold on to the batch's tensors."""
        try:
            return self._forward(pictures)
        except Exception as failure:
            if not is_out_of_memory(failure):
                raise
            return MemoryError(str(failure))

    def _plan_batch(self) -> int:
        if self.device.type == "cpu":
            return 1
        fit = int(SHARE_OF_FREE_MEMORY * free_bytes(self.device)) // self._activation_bytes()
        return max(1, min(LARGEST_BATCH, fit))

    def _activation_bytes(self) -> int:
        """About the peak for one picture: the feed-forward's halves, and a few copies of all tokens."""
        config = self.config
        tokens = 3 * config.plane_size**2
        inner = config.num_attention_heads * config.attention_head_dim
        return 4 * tokens * (2 * 8 * inner + 8 * inner)

    def _forward(self, pictures: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
        """Planes (b,3,c,s,s) float32."""
        network = self._network
        with torch.inference_mode():
            seen = torch.stack([prepare_picture(one, self.config.cond_image_size) for one in pictures])
            with self._precision():
                context = network.image_tokenizer(seen.to(self.device))
                tokens = network.backbone(network.tokenizer(len(pictures)), context)
            planes: Tensor = network.post_processor(tokens.float())
            result: npt.NDArray[np.float32] = planes.cpu().numpy()
        if not np.isfinite(result).all():
            raise BrokenModelOutput(
                "The model's planes have numbers that are not finite.",
                code="nan_mesh",
                hint="The weights may be damaged: fetch them again.",
            )
        return result

    def _precision(self) -> AbstractContextManager[object]:
        return torch.autocast(self.device.type, torch.bfloat16) if self.halved else nullcontext()

    def _build_scene(self, planes: npt.NDArray[np.float32]) -> SceneCode:
        return SceneCode(
            planes=planes.copy(),
            decoder=self._decoder,
            radius=self.config.radius,
            density_bias=self.config.density_bias,
            engine_version=ENGINE_VERSION,
        )


def check_picture(rgba: npt.NDArray[np.uint8]) -> None:
    """Raises `ValueError` unless it is RGBA and square, `UnusableInput` (`no_clear_object`) if empty."""
    if rgba.dtype != np.uint8 or rgba.ndim != 3 or rgba.shape[2] != 4 or rgba.shape[0] != rgba.shape[1]:
        raise ValueError(f"a square RGBA uint8 (s, s, 4) is wanted, not {rgba.dtype} {rgba.shape}")
    if not rgba[..., 3].any():
        raise UnusableInput(
            "The cut-out shows nothing: every pixel is transparent.",
            code="no_clear_object",
            hint="Send a picture in which the object is opaque.",
        )


def prepare_picture(rgba: npt.NDArray[np.uint8], side: int) -> Tensor:
    """(3, side, side) float32, 0 to 1: on grey, in steps of 1/255 as the published program saves it."""
    colour = rgba[..., :3].astype(np.float32) / 255
    alpha = rgba[..., 3:].astype(np.float32) / 255
    on_grey = ((colour * alpha + (1 - alpha) * GREY) * 255).astype(np.uint8)
    picture = torch.from_numpy(on_grey).permute(2, 0, 1)[None].float() / 255
    return functional.interpolate(
        picture, (side, side), mode="bilinear", align_corners=False, antialias=True
    )[0]


def _halve(part: nn.Module) -> None:
    """Dense layers and convolutions to bfloat16; norms and embeddings stay as they are."""
    for module in part.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            module.to(torch.bfloat16)
