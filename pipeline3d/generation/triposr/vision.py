"""The picture's transformer: ViT-B/16 (Dosovitskiy et al. 2021) with DINO's weights (Caron et al. 2021).

Module names are those of the checkpoint. Position embeddings are stretched as transformers 4.35 does it,
with which the model was trained: by a factor of (grid + 0.1) / trained grid, not to a size; other versions
give other numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline3d.generation.triposr.config import Config, VisionSizes

NORM_EPS = 1e-12
STRETCH_EXTRA = 0.1
"""Added to the grid before it is divided, so that rounding never loses a row."""
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's red, green and blue, 0 to 1."""


class ImageTokenizer(nn.Module):
    """A picture (b,3,s,s), 0 to 1, becomes (b, patches + 1, width) tokens, the class token first."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.model = _Model(config.vision)

    def forward(self, pictures: Tensor) -> Tensor:
        """The last hidden state."""
        mean = pictures.new_tensor(MEAN).view(1, 3, 1, 1)
        deviation = pictures.new_tensor(DEVIATION).view(1, 3, 1, 1)
        tokens: Tensor = self.model((pictures - mean) / deviation)
        return tokens


class _Model(nn.Module):
    def __init__(self, sizes: VisionSizes) -> None:
        super().__init__()
        self.embeddings = _Embeddings(sizes)
        self.encoder = _Encoder(sizes)
        self.layernorm = nn.LayerNorm(sizes.hidden_size, eps=NORM_EPS)
        self.pooler = _Dense(sizes.hidden_size, sizes.hidden_size)
        """In the checkpoint, and never used."""

    def forward(self, pictures: Tensor) -> Tensor:
        tokens: Tensor = self.layernorm(self.encoder(self.embeddings(pictures)))
        return tokens


class _Embeddings(nn.Module):
    def __init__(self, sizes: VisionSizes) -> None:
        super().__init__()
        self.trained_grid = sizes.trained_grid
        self.cls_token = nn.Parameter(torch.empty(1, 1, sizes.hidden_size))
        self.position_embeddings = nn.Parameter(torch.empty(1, sizes.trained_grid**2 + 1, sizes.hidden_size))
        self.patch_embeddings = _Patches(sizes)

    def forward(self, pictures: Tensor) -> Tensor:
        patches: Tensor = self.patch_embeddings(pictures)
        tokens = patches.flatten(2).transpose(1, 2)
        first = self.cls_token.expand(len(tokens), -1, -1)
        return torch.cat([first, tokens], dim=1) + self.stretch_positions(patches.shape[-1])

    def stretch_positions(self, grid: int) -> Tensor:
        """(1, grid**2 + 1, width) position embeddings for grid x grid patches."""
        trained = self.trained_grid
        if grid == trained:
            return self.position_embeddings
        first, rest = self.position_embeddings[:, :1], self.position_embeddings[:, 1:]
        factor = (grid + STRETCH_EXTRA) / trained
        stretched = functional.interpolate(
            rest.reshape(1, trained, trained, -1).permute(0, 3, 1, 2),
            scale_factor=(factor, factor),
            mode="bicubic",
            align_corners=False,
        )
        return torch.cat([first, stretched.permute(0, 2, 3, 1).reshape(1, grid * grid, -1)], dim=1)


class _Patches(nn.Module):
    def __init__(self, sizes: VisionSizes) -> None:
        super().__init__()
        self.projection = nn.Conv2d(3, sizes.hidden_size, sizes.patch_size, stride=sizes.patch_size)

    def forward(self, pictures: Tensor) -> Tensor:
        patches: Tensor = self.projection(pictures)
        return patches


class _Encoder(nn.Module):
    def __init__(self, sizes: VisionSizes) -> None:
        super().__init__()
        self.layer = nn.ModuleList(_Layer(sizes) for _ in range(sizes.num_hidden_layers))

    def forward(self, tokens: Tensor) -> Tensor:
        for layer in self.layer:
            tokens = layer(tokens)
        return tokens


class _Layer(nn.Module):
    """Norm, attention, add; norm, two dense layers with an exact GELU, add."""

    def __init__(self, sizes: VisionSizes) -> None:
        super().__init__()
        width = sizes.hidden_size
        self.attention = _Attention(width, sizes.num_attention_heads)
        self.intermediate = _Dense(width, sizes.intermediate_size)
        self.output = _Dense(sizes.intermediate_size, width)
        self.layernorm_before = nn.LayerNorm(width, eps=NORM_EPS)
        self.layernorm_after = nn.LayerNorm(width, eps=NORM_EPS)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attention(self.layernorm_before(tokens))
        inner = functional.gelu(self.intermediate(self.layernorm_after(tokens)))
        changed: Tensor = tokens + self.output(inner)
        return changed


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = _SelfAttention(width, heads)
        self.output = _Dense(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        mixed: Tensor = self.output(self.attention(tokens))
        return mixed


class _SelfAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        return attend(self.query(tokens), self.key(tokens), self.value(tokens), self.heads)


class _Dense(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.dense = nn.Linear(before, after)

    def forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.dense(tokens)
        return out


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Scaled dot-product attention of (b,n,c) on (b,m,c), in `heads` equal parts of c."""
    q, k, v = (part.reshape(*part.shape[:2], heads, -1).transpose(1, 2) for part in (query, key, value))
    return functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
