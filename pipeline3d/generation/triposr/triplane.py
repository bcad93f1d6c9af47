"""From the picture's tokens to three planes: learned tokens, a transformer, an upsampler.

As in LRM (Hong et al. 2024). Module names are those of the checkpoint; the blocks are those of diffusers
(norm, self-attention; norm, attention on the picture; norm, gated feed-forward).
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline3d.generation.triposr.config import PLANES, Config
from pipeline3d.generation.triposr.vision import attend

GROUP_NORM_EPS = 1e-6


class TriplaneTokenizer(nn.Module):
    """The learned tokens that every picture starts from."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        side = config.plane_size
        self.embeddings = nn.Parameter(torch.empty(PLANES, config.num_channels, side, side))

    def forward(self, pictures: int) -> Tensor:
        """(pictures, channels, 3 * side**2): planes, rows, columns one after the other."""
        tokens = self.embeddings.transpose(0, 1).flatten(1)
        return tokens.unsqueeze(0).expand(pictures, -1, -1)


class Backbone(nn.Module):
    """Tokens (b,c,n) change under the picture's tokens (b,m,d)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        inner = config.num_attention_heads * config.attention_head_dim
        self.norm = nn.GroupNorm(config.norm_num_groups, config.num_channels, eps=GROUP_NORM_EPS)
        self.proj_in = nn.Linear(config.num_channels, inner)
        self.transformer_blocks = nn.ModuleList(_Block(config, inner) for _ in range(config.num_layers))
        self.proj_out = nn.Linear(inner, config.num_channels)

    def forward(self, tokens: Tensor, picture: Tensor) -> Tensor:
        """The changed tokens, (b,c,n)."""
        hidden = self.proj_in(self.norm(tokens).transpose(1, 2))
        for block in self.transformer_blocks:
            hidden = block(hidden, picture)
        changed: Tensor = self.proj_out(hidden).transpose(1, 2) + tokens
        return changed


class _Block(nn.Module):
    def __init__(self, config: Config, inner: int) -> None:
        super().__init__()
        heads = config.num_attention_heads
        self.norm1 = nn.LayerNorm(inner)
        self.attn1 = _Attention(inner, inner, heads)
        self.norm2 = nn.LayerNorm(inner)
        self.attn2 = _Attention(inner, config.vision.hidden_size, heads)
        self.norm3 = nn.LayerNorm(inner)
        self.ff = _FeedForward(inner)

    def forward(self, hidden: Tensor, picture: Tensor) -> Tensor:
        normed = self.norm1(hidden)
        hidden = hidden + self.attn1(normed, normed)
        hidden = hidden + self.attn2(self.norm2(hidden), picture)
        changed: Tensor = hidden + self.ff(self.norm3(hidden))
        return changed


class _Attention(nn.Module):
    def __init__(self, inner: int, source: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(inner, inner, bias=False)
        self.to_k = nn.Linear(source, inner, bias=False)
        self.to_v = nn.Linear(source, inner, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(inner, inner)])

    def forward(self, hidden: Tensor, source: Tensor) -> Tensor:
        mixed: Tensor = self.to_out[0](
            attend(self.to_q(hidden), self.to_k(source), self.to_v(source), self.heads)
        )
        return mixed


class _FeedForward(nn.Module):
    def __init__(self, inner: int) -> None:
        super().__init__()
        # The checkpoint counts the dropout between the two.
        self.net = nn.ModuleList([_Gate(inner, 4 * inner), nn.Identity(), nn.Linear(4 * inner, inner)])

    def forward(self, hidden: Tensor) -> Tensor:
        for layer in self.net:
            hidden = layer(hidden)
        return hidden


class _Gate(nn.Module):
    """GEGLU (Shazeer 2020): the first half of the projection times the GELU of the second."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.proj = nn.Linear(before, 2 * after)

    def forward(self, hidden: Tensor) -> Tensor:
        value, gate = cast(Tensor, self.proj(hidden)).chunk(2, dim=-1)
        return value * functional.gelu(gate)


class Upsampler(nn.Module):
    """Tokens (b, c, 3 * side**2) become planes (b, 3, features, 2 side, 2 side)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.side = config.plane_size
        self.upsample = nn.ConvTranspose2d(config.num_channels, config.scene_channels, 2, stride=2)

    def forward(self, tokens: Tensor) -> Tensor:
        pictures, channels, _ = tokens.shape
        planes = tokens.reshape(pictures, channels, PLANES, self.side, self.side).transpose(1, 2)
        grown: Tensor = self.upsample(planes.flatten(0, 1))
        return grown.reshape(pictures, PLANES, *grown.shape[1:])


class Decoder(nn.Module):
    """Holds the decoder's weights; `field.Field` evaluates them, folded into the planes."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        sizes = [PLANES * config.scene_channels, *[config.n_neurons] * config.n_hidden_layers, 4]
        self.layers = nn.Sequential()
        for before, after in zip(sizes[:-2], sizes[1:-1], strict=True):
            self.layers.append(nn.Linear(before, after))
            self.layers.append(nn.SiLU())
        self.layers.append(nn.Linear(sizes[-2], sizes[-1]))

    def forward(self, features: Tensor) -> Tensor:
        """Raw density and colours (n,4) of features (n, 3 * channels)."""
        out: Tensor = self.layers(features)
        return out
