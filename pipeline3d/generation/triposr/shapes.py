"""Name and shape of every tensor in the checkpoint, from the config alone: no torch is needed to know them.

The names are those of the published file (made with transformers 4.35 and a copy of diffusers' blocks).
For the published config they are 549 tensors with 419,275,628 numbers.
"""

from __future__ import annotations

import math

from pipeline3d.generation.triposr.config import PLANES, Config

Shapes = dict[str, tuple[int, ...]]

BYTES_PER_NUMBER = 4
"""The checkpoint holds 32-bit floats."""


def plan_shapes(config: Config) -> Shapes:
    """Shape by name, in the file's order."""
    return {
        **_plan_vision(config),
        "tokenizer.embeddings": (PLANES, config.num_channels, config.plane_size, config.plane_size),
        **_plan_backbone(config),
        "post_processor.upsample.weight": (config.num_channels, config.scene_channels, 2, 2),
        "post_processor.upsample.bias": (config.scene_channels,),
        **_plan_decoder(config),
    }


def count_bytes(shapes: Shapes) -> int:
    """What the numbers take in memory and, nearly, on disk."""
    return BYTES_PER_NUMBER * sum(math.prod(shape) for shape in shapes.values())


def _plan_vision(config: Config) -> Shapes:
    vision, prefix = config.vision, "image_tokenizer.model."
    width, inner = vision.hidden_size, vision.intermediate_size
    shapes: Shapes = {
        f"{prefix}embeddings.cls_token": (1, 1, width),
        f"{prefix}embeddings.position_embeddings": (1, vision.trained_grid**2 + 1, width),
        f"{prefix}embeddings.patch_embeddings.projection.weight": (
            width,
            3,
            vision.patch_size,
            vision.patch_size,
        ),
        f"{prefix}embeddings.patch_embeddings.projection.bias": (width,),
    }
    for number in range(vision.num_hidden_layers):
        layer = f"{prefix}encoder.layer.{number}."
        for name in ("query", "key", "value"):
            shapes |= _linear(f"{layer}attention.attention.{name}", width, width)
        shapes |= _linear(f"{layer}attention.output.dense", width, width)
        shapes |= _linear(f"{layer}intermediate.dense", inner, width)
        shapes |= _linear(f"{layer}output.dense", width, inner)
        shapes |= _norm(f"{layer}layernorm_before", width) | _norm(f"{layer}layernorm_after", width)
    return shapes | _norm(f"{prefix}layernorm", width) | _linear(f"{prefix}pooler.dense", width, width)


def _plan_backbone(config: Config) -> Shapes:
    width, context = config.num_channels, config.vision.hidden_size
    inner = config.num_attention_heads * config.attention_head_dim
    shapes = _norm("backbone.norm", width) | _linear("backbone.proj_in", inner, width)
    for number in range(config.num_layers):
        block = f"backbone.transformer_blocks.{number}."
        for attention, source in (("attn1", inner), ("attn2", context)):
            shapes[f"{block}{attention}.to_q.weight"] = (inner, inner)
            shapes[f"{block}{attention}.to_k.weight"] = (inner, source)
            shapes[f"{block}{attention}.to_v.weight"] = (inner, source)
            shapes |= _linear(f"{block}{attention}.to_out.0", inner, inner)
        shapes |= _linear(f"{block}ff.net.0.proj", 8 * inner, inner)
        shapes |= _linear(f"{block}ff.net.2", inner, 4 * inner)
        for name in ("norm1", "norm2", "norm3"):
            shapes |= _norm(f"{block}{name}", inner)
    return shapes | _linear("backbone.proj_out", width, inner)


def _plan_decoder(config: Config) -> Shapes:
    wide = config.n_neurons
    sizes = [PLANES * config.scene_channels, *[wide] * config.n_hidden_layers, 4]
    shapes: Shapes = {}
    for number, (before, after) in enumerate(zip(sizes, sizes[1:], strict=False)):
        shapes |= _linear(f"decoder.layers.{2 * number}", after, before)
    return shapes


def _linear(name: str, after: int, before: int) -> Shapes:
    return {f"{name}.weight": (after, before), f"{name}.bias": (after,)}


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}
