"""TripoSR's forward pass in 64-bit numpy, written from the description of the model and from nothing of ours.

Slow and plain on purpose: loops where they are clearer, one function a formula.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import erf

MEAN = np.array([0.485, 0.456, 0.406])
DEVIATION = np.array([0.229, 0.224, 0.225])


def forward(tensors: dict, picture: np.ndarray, *, heads: int, backbone_heads: int, groups: int):
    """Planes (3,c,2s,2s) of a picture (h,w,3), 0 to 1, already of the size that the model looks at."""
    weights = {name: np.asarray(value, np.float64) for name, value in tensors.items()}
    context = see(weights, (picture - MEAN) / DEVIATION, heads)
    embeddings = weights["tokenizer.embeddings"]
    planes, channels, side, _ = embeddings.shape
    tokens = np.concatenate([embeddings[i].reshape(channels, -1) for i in range(planes)], axis=1)
    hidden = group_norm(tokens, weights["backbone.norm.weight"], weights["backbone.norm.bias"], groups).T
    hidden = linear(weights, "backbone.proj_in", hidden)
    for number in range(count(weights, "backbone.transformer_blocks.")):
        block = f"backbone.transformer_blocks.{number}."
        normed = layer_norm(weights, block + "norm1", hidden, 1e-5)
        hidden = hidden + cross(weights, block + "attn1.", normed, normed, backbone_heads)
        normed = layer_norm(weights, block + "norm2", hidden, 1e-5)
        hidden = hidden + cross(weights, block + "attn2.", normed, context, backbone_heads)
        both = linear(weights, block + "ff.net.0.proj", layer_norm(weights, block + "norm3", hidden, 1e-5))
        half = both.shape[1] // 2
        hidden = hidden + linear(weights, block + "ff.net.2", both[:, :half] * gelu(both[:, half:]))
    tokens = tokens + linear(weights, "backbone.proj_out", hidden).T
    cells = tokens.reshape(channels, planes, side, side)
    kernel, bias = weights["post_processor.upsample.weight"], weights["post_processor.upsample.bias"]
    out = np.empty((planes, kernel.shape[1], 2 * side, 2 * side))
    for row in (0, 1):
        for column in (0, 1):
            mixed = np.einsum("cphw,co->pohw", cells, kernel[:, :, row, column])
            out[:, :, row::2, column::2] = mixed + bias[None, :, None, None]
    return out


def see(weights: dict, picture: np.ndarray, heads: int) -> np.ndarray:
    """The vision transformer's last hidden state, (1 + patches, width)."""
    prefix = "image_tokenizer.model."
    kernel = weights[prefix + "embeddings.patch_embeddings.projection.weight"]
    patch, grid = kernel.shape[2], picture.shape[0] // kernel.shape[2]
    rows = []
    for i in range(grid):
        for j in range(grid):
            part = picture[patch * i : patch * (i + 1), patch * j : patch * (j + 1)]
            rows.append(np.einsum("hwc,ochw->o", part, kernel))
    tokens = np.array(rows) + weights[prefix + "embeddings.patch_embeddings.projection.bias"]
    tokens = np.concatenate([weights[prefix + "embeddings.cls_token"][0], tokens])
    tokens = tokens + stretch(weights[prefix + "embeddings.position_embeddings"][0], grid)
    for number in range(count(weights, prefix + "encoder.layer.")):
        layer = f"{prefix}encoder.layer.{number}."
        normed = layer_norm(weights, layer + "layernorm_before", tokens, 1e-12)
        query, key, value = (
            linear(weights, f"{layer}attention.attention.{name}", normed)
            for name in ("query", "key", "value")
        )
        mixed = attend(query, key, value, heads)
        tokens = tokens + linear(weights, layer + "attention.output.dense", mixed)
        normed = layer_norm(weights, layer + "layernorm_after", tokens, 1e-12)
        inner = linear(weights, layer + "intermediate.dense", normed)
        tokens = tokens + linear(weights, layer + "output.dense", gelu(inner))
    return layer_norm(weights, prefix + "layernorm", tokens, 1e-12)


def stretch(positions: np.ndarray, grid: int) -> np.ndarray:
    """Bicubic (a = -0.75), the grid stretched by (grid + 0.1) / trained, pixel centres at halves."""
    trained = math.isqrt(len(positions) - 1)
    if trained == grid:
        return positions
    table = positions[1:].reshape(trained, trained, -1)
    factor = (grid + 0.1) / trained
    matrix = np.zeros((grid, trained))
    for target in range(grid):
        source = (target + 0.5) / factor - 0.5
        base = math.floor(source)
        for tap in range(-1, 3):
            distance = abs(source - (base + tap))
            matrix[target, min(max(base + tap, 0), trained - 1)] += cubic(distance)
    stretched = np.einsum("ia,jb,abc->ijc", matrix, matrix, table)
    return np.concatenate([positions[:1], stretched.reshape(grid * grid, -1)])


def cubic(distance: float, a: float = -0.75) -> float:
    if distance <= 1:
        return (a + 2) * distance**3 - (a + 3) * distance**2 + 1
    if distance < 2:
        return a * (distance**3 - 5 * distance**2 + 8 * distance - 4)
    return 0.0


def cross(weights: dict, name: str, hidden: np.ndarray, source: np.ndarray, heads: int) -> np.ndarray:
    query = hidden @ weights[name + "to_q.weight"].T
    key, value = source @ weights[name + "to_k.weight"].T, source @ weights[name + "to_v.weight"].T
    return linear(weights, name + "to_out.0", attend(query, key, value, heads))


def attend(query: np.ndarray, key: np.ndarray, value: np.ndarray, heads: int) -> np.ndarray:
    width = query.shape[1] // heads
    parts = []
    for head in range(heads):
        here = slice(head * width, (head + 1) * width)
        scores = query[:, here] @ key[:, here].T / math.sqrt(width)
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        parts.append(scores / scores.sum(axis=1, keepdims=True) @ value[:, here])
    return np.concatenate(parts, axis=1)


def linear(weights: dict, name: str, values: np.ndarray) -> np.ndarray:
    return values @ weights[name + ".weight"].T + weights[name + ".bias"]


def layer_norm(weights: dict, name: str, values: np.ndarray, eps: float) -> np.ndarray:
    centred = values - values.mean(axis=1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + eps)
    return scaled * weights[name + ".weight"] + weights[name + ".bias"]


def group_norm(tokens: np.ndarray, weight: np.ndarray, bias: np.ndarray, groups: int) -> np.ndarray:
    """Over the channels of a group and all tokens, (c,n)."""
    grouped = tokens.reshape(groups, -1)
    centred = grouped - grouped.mean(axis=1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-6)
    return scaled.reshape(tokens.shape) * weight[:, None] + bias[:, None]


def gelu(values: np.ndarray) -> np.ndarray:
    return values * 0.5 * (1 + erf(values / math.sqrt(2)))


def count(weights: dict, prefix: str) -> int:
    return len({name[len(prefix) :].split(".")[0] for name in weights if name.startswith(prefix)})


def query_field(scene: object, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Raw density (n) and colours (n,3), 0 to 1, at points (n,3) in the model's axes."""
    features = []
    unit = points / scene.radius
    for plane, (first, second) in zip(scene.planes.astype(np.float64), ((0, 1), (0, 2), (1, 2)), strict=True):
        features.append(bilinear(plane, unit[:, first], unit[:, second]))
    values = np.concatenate(features, axis=1)
    for number, (weight, bias) in enumerate(scene.decoder):
        values = values @ weight.astype(np.float64).T + bias
        if number < len(scene.decoder) - 1:
            values = values / (1 + np.exp(-np.clip(values, -500, 500)))
    return values[:, 0], 1 / (1 + np.exp(-values[:, 1:4]))


def bilinear(plane: np.ndarray, along: np.ndarray, across: np.ndarray) -> np.ndarray:
    """(n,c) samples; -1 and 1 are the outer edges of the outer pixels, and all beyond them is zero."""
    side = plane.shape[1]
    padded = np.pad(plane, ((0, 0), (1, 1), (1, 1)))
    column, row = ((axis + 1) * side / 2 - 0.5 + 1 for axis in (along, across))
    c, r = (np.clip(np.floor(axis).astype(int), 0, side) for axis in (column, row))
    u, v = (column - c)[None], (row - r)[None]
    top = padded[:, r, c] * (1 - u) + padded[:, r, c + 1] * u
    bottom = padded[:, r + 1, c] * (1 - u) + padded[:, r + 1, c + 1] * u
    return (top * (1 - v) + bottom * v).T
