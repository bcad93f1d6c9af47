"""What `config.yaml` of a TripoSR directory says: which classes, and how large they are.

The published program imports whatever class the file names. Here the six names are compared with a list
and nothing is ever imported by name. Sizes come from the file, so that tests can use a tiny model.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline3d.errors import ModelNotReady

ENGINE = "triposr"
ENGINE_VERSION = "1.0"

CONFIG_NAME, CHECKPOINT_NAME = "config.yaml", "model.ckpt"
MOST_CONFIG_BYTES = 64 * 1024
"""The published file has about one thousand."""
MOST_UNITS = 65_536
"""No size in the file may be larger: it would only reserve memory."""

CLASSES: dict[str, str] = {
    "image_tokenizer_cls": "tsr.models.tokenizers.image.DINOSingleImageTokenizer",
    "tokenizer_cls": "tsr.models.tokenizers.triplane.Triplane1DTokenizer",
    "backbone_cls": "tsr.models.transformer.transformer_1d.Transformer1D",
    "post_processor_cls": "tsr.models.network_utils.TriplaneUpsampleNetwork",
    "decoder_cls": "tsr.models.network_utils.NeRFMLP",
    "renderer_cls": "tsr.models.nerf_renderer.TriplaneNeRFRenderer",
}
"""The classes that this program is the equal of."""

PLANES = 3
PUBLISHED_AT = "https://huggingface.co/stabilityai/TripoSR"
WHERE_FROM = (
    f"The directory needs {CONFIG_NAME} and {CHECKPOINT_NAME} of {PUBLISHED_AT} (1.68 GB, MIT licence); "
    "`pipeline3d models fetch triposr-v1` downloads both."
)
REFERENCE = re.compile(r"\$\{([a-z_]+)\.([a-z_]+)\}")
"""`${tokenizer.num_channels}`: one section may refer to a number of another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VisionSizes:
    """The picture's transformer; the defaults are ViT-B/16, which the published file means by its name."""

    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    patch_size: int = 16
    image_size: int = 224
    """Side of the pictures that the position embeddings were trained on."""

    @property
    def trained_grid(self) -> int:
        """Patches along a side of those pictures."""
        return self.image_size // self.patch_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Sizes of all five parts and the constants of the density field."""

    cond_image_size: int
    vision: VisionSizes
    plane_size: int
    num_channels: int
    num_attention_heads: int
    attention_head_dim: int
    num_layers: int
    norm_num_groups: int
    scene_channels: int
    n_neurons: int
    n_hidden_layers: int
    radius: float
    density_bias: float


def invalid_weights(file: str, came: str, wanted: str) -> ModelNotReady:
    """The refusal of a file that is there and is not what it should be."""
    return ModelNotReady(
        f"{file}: {came}; wanted {wanted}.",
        code="weights_invalid",
        hint=WHERE_FROM,
        details={"file": file},
    )


def missing_weights(directory: Path, what: str) -> ModelNotReady:
    """The refusal of a directory in which something is missing."""
    return ModelNotReady(
        f"{directory}: {what} is missing.",
        code="weights_missing",
        hint=WHERE_FROM,
        details={"directory": str(directory)},
    )


def load_config(directory: Path) -> Config:
    """The config of a directory. Raises `ModelNotReady` (`weights_missing`, `weights_invalid`)."""
    path = directory / CONFIG_NAME
    if not directory.is_dir():
        raise missing_weights(directory, "the directory")
    if not path.is_file():
        raise missing_weights(directory, CONFIG_NAME)
    try:
        with path.open("rb") as file:
            text = file.read(MOST_CONFIG_BYTES + 1)
    except OSError as failure:
        raise invalid_weights(CONFIG_NAME, f"cannot be read ({failure})", "a readable file") from failure
    if len(text) > MOST_CONFIG_BYTES:
        raise invalid_weights(CONFIG_NAME, "the file is too long", f"at most {MOST_CONFIG_BYTES} bytes")
    return parse_config(text)


def parse_config(text: bytes) -> Config:
    """The config in the bytes of a YAML file. Raises `ModelNotReady` (`weights_invalid`)."""
    yaml: Any = importlib.import_module("yaml")  # has no types
    if b"&" in text and b"*" in text:
        raise invalid_weights(CONFIG_NAME, "YAML anchors", "plain values")  # they multiply without end
    try:
        document = yaml.safe_load(text.decode("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as failure:
        said = " ".join(str(failure).split())[:200]
        raise invalid_weights(CONFIG_NAME, f"not YAML ({said})", "the published config") from failure
    if not isinstance(document, dict):
        raise invalid_weights(CONFIG_NAME, f"a {type(document).__name__}", "a table of settings")
    for key, wanted in CLASSES.items():
        if document.get(key) != wanted:
            raise invalid_weights(CONFIG_NAME, f"{key} is {_short(document.get(key))}", wanted)
    return _build_config(_Reader(document))


class _Reader:
    """Numbers and words by section and key, each checked."""

    def __init__(self, document: Mapping[Any, Any]) -> None:
        self._document = document

    def integer(self, section: str, key: str, default: int | None = None) -> int:
        """A whole number from 1 to `MOST_UNITS`."""
        value = self._find(section, key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_UNITS:
            raise invalid_weights(
                CONFIG_NAME, f"{_name(section, key)} is {_short(value)}", f"a whole number up to {MOST_UNITS}"
            )
        return value

    def number(self, section: str, key: str, low: float, high: float) -> float:
        """A number from `low` to `high`."""
        value = self._find(section, key, None)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise invalid_weights(
                CONFIG_NAME, f"{_name(section, key)} is {_short(value)}", f"a number from {low:g} to {high:g}"
            )
        return float(value)

    def expect(self, section: str, key: str, wanted: object) -> None:
        """One value and no other; one that is left out is the published default."""
        value = self._find(section, key, wanted)
        if value != wanted:
            raise invalid_weights(CONFIG_NAME, f"{_name(section, key)} is {_short(value)}", str(wanted))

    def _find(self, section: str, key: str, default: object) -> Any:
        table = self._document.get(section, {}) if section else self._document
        if not isinstance(table, Mapping):
            raise invalid_weights(CONFIG_NAME, f"{section} is {_short(table)}", "a table of settings")
        value = table.get(key, default)
        if isinstance(value, str) and (reference := REFERENCE.fullmatch(value)):
            other = self._document.get(reference[1])
            return other.get(reference[2]) if isinstance(other, Mapping) else None
        return value


def _build_config(read: _Reader) -> Config:
    defaults = VisionSizes()
    vision = VisionSizes(
        **{
            name: read.integer("image_tokenizer", name, getattr(defaults, name))
            for name in VisionSizes.__dataclass_fields__
        }
    )
    config = Config(
        cond_image_size=read.integer("", "cond_image_size"),
        vision=vision,
        plane_size=read.integer("tokenizer", "plane_size"),
        num_channels=read.integer("tokenizer", "num_channels"),
        num_attention_heads=read.integer("backbone", "num_attention_heads"),
        attention_head_dim=read.integer("backbone", "attention_head_dim"),
        num_layers=read.integer("backbone", "num_layers"),
        norm_num_groups=read.integer("backbone", "norm_num_groups", 32),
        scene_channels=read.integer("post_processor", "out_channels"),
        n_neurons=read.integer("decoder", "n_neurons"),
        n_hidden_layers=read.integer("decoder", "n_hidden_layers"),
        radius=read.number("renderer", "radius", 1e-3, 1e3),
        density_bias=read.number("renderer", "density_bias", -100.0, 100.0),
    )
    read.expect("backbone", "in_channels", config.num_channels)
    read.expect("backbone", "cross_attention_dim", vision.hidden_size)
    read.expect("post_processor", "in_channels", config.num_channels)
    read.expect("decoder", "in_channels", PLANES * config.scene_channels)
    read.expect("decoder", "activation", "silu")
    read.expect("renderer", "feature_reduction", "concat")
    read.expect("renderer", "density_activation", "exp")
    for what, whole, part in (
        ("cond_image_size", config.cond_image_size, vision.patch_size),
        ("image_tokenizer.image_size", vision.image_size, vision.patch_size),
        ("image_tokenizer.hidden_size", vision.hidden_size, vision.num_attention_heads),
        ("tokenizer.num_channels", config.num_channels, config.norm_num_groups),
    ):
        if whole % part:
            raise invalid_weights(CONFIG_NAME, f"{what} is {whole}", f"a multiple of {part}")
    return config


def _name(section: str, key: str) -> str:
    return f"{section}.{key}" if section else key


def _short(value: object) -> str:
    said = repr(value)
    return said if len(said) <= 80 else said[:77] + "..."
