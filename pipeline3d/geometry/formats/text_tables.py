"""Large tables of numbers as text, a column of characters at a time instead of a number at a time.

Four to eight times as fast as formatting in Python. A row is a sequence of fields, each bytes that are the
same in every row or a column of text; a column is a grid of characters (n, width) in which 0 means nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Characters = npt.NDArray[np.uint8]

ZERO, MINUS, POINT = ord("0"), ord("-"), ord(".")
SIGNIFICANT = 9
"""Decimal digits of a 32-bit float, counted from the largest value of its table."""
LARGEST = 1e9
"""Above it fixed-point digits would not fit in 64 bits beside their fraction."""


def decimals_for(values: npt.NDArray[np.floating]) -> int:
    """Digits after the point that keep what 32-bit floats of this size hold."""
    largest = float(np.abs(values).max(initial=0.0))
    before = int(np.floor(np.log10(largest))) + 1 if largest > 0 else 0
    return int(np.clip(SIGNIFICANT - before, 0, 15))


def number_columns(values: npt.NDArray[np.floating], decimals: int) -> list[Characters]:
    """A grid for each column of (n,k) finite numbers, rounded to `decimals` places."""
    if float(np.abs(values).max(initial=0.0)) >= LARGEST:
        return [_python_column(column) for column in values.T]
    return [_fixed_column(column, decimals) for column in values.T.astype(np.float64)]


def integer_columns(values: npt.NDArray[np.integer]) -> list[Characters]:
    """A grid for each column of (n,k) integers, none negative."""
    return [_digits(column.astype(np.int64), _width(column)) for column in values.T]


def join_rows(fields: Sequence[bytes | Characters]) -> bytes:
    """All rows, one after the other."""
    count = next(len(field) for field in fields if isinstance(field, np.ndarray))
    widths = [field.shape[1] if isinstance(field, np.ndarray) else len(field) for field in fields]
    grid = np.empty((count, sum(widths)), np.uint8)
    at = 0
    for field, width in zip(fields, widths, strict=True):
        grid[:, at : at + width] = field if isinstance(field, np.ndarray) else np.frombuffer(field, np.uint8)
        at += width
    return bytes(grid[grid != 0].tobytes())


def _width(values: npt.NDArray[np.integer]) -> int:
    return len(str(int(values.max(initial=0))))


def _digits(values: npt.NDArray[np.int64], width: int, least: int = 1) -> Characters:
    """Right-aligned digits; zeros in front are left out, but `least` digits stay."""
    grid = np.empty((len(values), width), np.uint8)
    rest = values.astype(np.uint32) if values.max(initial=0) < 1 << 32 else values
    for place in range(width - 1, -1, -1):
        above = rest // 10
        digit = (rest - above * 10).astype(np.uint8) + ZERO
        # nothing is left of the number, and enough of it is written: a zero in front
        grid[:, place] = digit if width - place <= least else np.where(rest > 0, digit, 0)
        rest = above
    return grid


def _fixed_column(values: npt.NDArray[np.float64], decimals: int) -> Characters:
    scaled = np.rint(np.abs(values) * 10.0**decimals).astype(np.int64)
    digits = _digits(scaled, max(_width(scaled), decimals + 1), least=decimals + 1)
    sign = np.where((values < 0) & (scaled > 0), MINUS, 0).astype(np.uint8)[:, None]
    if decimals == 0:
        return np.concatenate([sign, digits], axis=1)
    before, after = digits[:, :-decimals], digits[:, -decimals:].copy()
    bare = np.ones(len(values), bool)
    for place in range(decimals - 1, -1, -1):
        bare &= after[:, place] == ZERO
        after[bare, place] = 0
    point = np.where(bare, 0, POINT).astype(np.uint8)[:, None]
    return np.concatenate([sign, before, point, after], axis=1)


def _python_column(values: npt.NDArray[np.floating]) -> Characters:
    texts = np.array([f"{value:.9g}".encode() for value in values.tolist()])
    return np.frombuffer(texts.tobytes(), np.uint8).reshape(len(texts), -1)
