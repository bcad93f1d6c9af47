"""Bevelled letters of a prompt on a plate: what is made of words that name no known thing.

The letters are Pillow's built-in font (Aileron, basic Latin only), drawn once; the Euclidean distance to
their outlines makes a field whose zero level has bevelled edges. The sign stands upright, front to +Z.
"""

from __future__ import annotations

import textwrap
import unicodedata
from functools import cache, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline3d.errors import BrokenModelOutput, UnusableInput
from pipeline3d.generation.inflation.body import find_level, is_closed
from pipeline3d.generation.procedural.colours import to_linear_rgba
from pipeline3d.generation.procedural.parts import Colour
from pipeline3d.generation.procedural.surface import LEAST_DISTANCE, Shell

Floats = npt.NDArray[np.float32]

LINE_LENGTH, MOST_LINES = 16, 5
MOST_LETTERS = 4 * LINE_LENGTH * MOST_LINES
"""More of a text is not looked at: it would not be on the sign anyway."""
DRAWN_PX = 128
"""Size of the font when it is drawn; the lattice then takes what it can afford."""
PADDING_EM, RISE_EM, PLATE_EM, BEVEL_EM = 0.34, 0.16, 0.2, 0.035
"""Plate's border, height of the letters over it, its thickness, and the bevel's width, in font sizes."""
PLATE_ROUNDING_EM = 0.09
SMALLEST_PX, LARGEST_PX = 14, 110
FREE_CELLS = 3
LEVEL_SHIFTS = (0.0, 0.031, -0.027, 0.053)
PLATE_COLOUR: Colour = (232, 226, 214)
LETTER_COLOUR: Colour = (45, 72, 120)
SPELLINGS = {
    "ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d",
    "Đ": "D", "ð": "d", "þ": "th", "ı": "i", "–": "-", "—": "-", "‐": "-", "‑": "-", "„": "“", "‚": "‘",
}  # fmt: skip
"""Stand-ins for letters and dashes that the font lacks and that have no decomposition."""


def fit_text(text: str) -> tuple[list[str], list[str]]:
    """Lines that the font can draw, and notes on what was changed or left out.

    Raises `UnusableInput` (`prompt_unreadable`) where letters are in a script that the font lacks, or
    nothing drawable is left.
    """
    drawable, notes = spell_with_font(text[:MOST_LETTERS])
    lines = textwrap.wrap(drawable, LINE_LENGTH, break_long_words=True)
    if len(lines) > MOST_LINES:
        lines = lines[:MOST_LINES]
        lines[-1] = lines[-1][: LINE_LENGTH - 1].rstrip(" .,;") + "…"
        notes.append(f"The text was shortened to {MOST_LINES} lines of {LINE_LENGTH} characters.")
    return lines, notes


def spell_with_font(text: str) -> tuple[str, list[str]]:
    """The text with glyphs that exist: accents dropped, symbols left out."""
    spelled, dropped, missing, plain = [], False, "", False
    for character in text:
        replacement = SPELLINGS.get(character) or _without_marks(character)
        if has_glyph(character):
            spelled.append(character)
        elif replacement and all(has_glyph(one) for one in replacement):
            spelled.append(replacement)
            plain = True
        elif unicodedata.category(character)[0] in "LN":
            missing += character
        else:
            dropped = dropped or unicodedata.category(character)[0] in "SP"
    drawable = " ".join("".join(spelled).split())
    if missing or not drawable:
        raise UnusableInput(
            "The prompt names nothing that is known here, and the built-in font cannot write it.",
            code="prompt_unreadable",
            hint="Name a thing in English, use Latin letters, or choose another text-to-3D model.",
            details={"characters": missing[:20]},
        )
    notes = ["Accents were left out: the built-in font has none."] if plain else []
    if dropped:
        notes.append("Symbols that the built-in font lacks were left out.")
    return drawable, notes


@lru_cache(maxsize=4096)
def has_glyph(character: str) -> bool:
    """Whether the built-in font draws the character, and not the box for a missing one."""
    return character == " " or _bitmap(character) != _bitmap("￿")


def _bitmap(text: str) -> tuple[tuple[int, int], bytes]:
    mask: Any = _font(40).getmask(text)
    return mask.size, bytes(mask)


@cache
def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size=size)


def _without_marks(character: str) -> str:
    decomposed = unicodedata.normalize("NFKD", character)
    return "".join(one for one in decomposed if not unicodedata.combining(one)) if len(decomposed) > 1 else ""


def letter(lines: list[str], colour: Colour, *, points: int, depth: float = 1.0) -> Shell:
    """The sign for these lines with letters of a colour, sampled at about `points` places.

    `depth` multiplies the thickness. Raises `BrokenModelOutput` (`open_surface`) where no level is closed.
    """
    outline = draw_outline(lines)
    em = choose_size(outline.shape, points)
    flat = resample(outline, em)
    field, front = raise_letters(flat, em, depth)
    for shift in LEVEL_SHIFTS:
        shifted = field + np.float32(shift)
        near = np.abs(shifted) < LEAST_DISTANCE
        shifted[near] = np.copysign(np.float32(LEAST_DISTANCE), shifted[near])
        corners, faces = find_level(-shifted)
        if len(faces) and is_closed(faces):
            break
    else:
        raise BrokenModelOutput("The surface of the lettering is not closed.", code="open_surface")
    vertices = np.stack([corners[:, 1], field.shape[0] - 1 - corners[:, 0], corners[:, 2]], axis=1)
    palette = to_linear_rgba(np.array([PLATE_COLOUR, colour], np.uint8))
    raised = (corners[:, 2] > front + 0.5).astype(np.int64)
    # Letters are drawn with rows running down: the turned axis turns the faces as well, and find_level's
    # axes (row, column, depth) are left-handed in (x, y, z), which turns them back.
    return Shell(vertices=vertices.astype(np.float32), faces=faces, colours=palette[raised])


def draw_outline(lines: list[str]) -> Floats:
    """Signed distance to the letters' outline in pixels (h,w), negative inside, with the plate's border."""
    from PIL import Image, ImageDraw
    from scipy import ndimage

    text, font = "\n".join(lines), _font(DRAWN_PX)
    left, top, right, bottom = ImageDraw.Draw(Image.new("L", (4, 4))).multiline_textbbox(
        (0, 0), text, font=font, align="center"
    )
    border = round(PADDING_EM * DRAWN_PX)
    size = (int(np.ceil(right - left)) + 2 * border, int(np.ceil(bottom - top)) + 2 * border)
    picture = Image.new("L", size, 0)
    ImageDraw.Draw(picture).multiline_text(
        (border - left, border - top), text, font=font, fill=255, align="center"
    )
    # Half the size halves the work; grey pixels then place the outline between samples.
    small = picture.resize((max(8, size[0] // 2), max(8, size[1] // 2)), Image.Resampling.BOX)
    cover = np.asarray(small, np.float32) / 255
    inside = cover > 0.5
    distance = ndimage.distance_transform_edt(~inside) - ndimage.distance_transform_edt(inside)
    near = np.abs(distance) <= 1
    distance = np.where(near, 0.5 - cover, distance - 0.5 * np.sign(distance))
    return np.asarray(2 * ndimage.gaussian_filter(distance, 0.6), np.float32)


def choose_size(shape: tuple[int, ...], points: int) -> float:
    """Cells per font size, so that the lattice has about as many points as wanted."""
    rows, columns = (2 * side / DRAWN_PX for side in shape)
    layers = RISE_EM + PLATE_EM
    size = LARGEST_PX
    while size > SMALLEST_PX and (rows * size) * (columns * size) * (layers * size + 2 * FREE_CELLS) > points:
        size -= 1
    return float(size)


def resample(outline: Floats, em: float) -> Floats:
    """The outline's distances in cells of which `em` make a font size."""
    import cv2

    factor = 2 * em / DRAWN_PX
    rows, columns = (max(8, round(side * factor)) for side in outline.shape)
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    scaled = cv2.resize(outline, (columns, rows), interpolation=method)
    return np.asarray(scaled, np.float32) * np.float32(em / DRAWN_PX)


def raise_letters(flat: Floats, em: float, depth: float) -> tuple[Floats, float]:
    """The sign's field (rows, columns, layers) in cells, negative inside, and the layer of its front."""
    plate, rise, bevel = PLATE_EM * em * depth, RISE_EM * em * depth, BEVEL_EM * em
    front, top = FREE_CELLS + plate, FREE_CELLS + plate + rise
    layers = np.arange(int(np.ceil(top)) + FREE_CELLS + 1, dtype=np.float32)
    wide = np.pad(flat, FREE_CELLS, mode="edge")
    z = layers[None, None]
    across = wide[:, :, None]
    over = z - np.float32(top)
    letters = np.maximum(np.maximum(across, over), (across + over) * np.float32(0.7071) + np.float32(bevel))
    letters = np.maximum(letters, np.float32(FREE_CELLS + plate / 2) - z)
    rounding = PLATE_ROUNDING_EM * em
    rows, columns = wide.shape
    half = [(rows - 2 * FREE_CELLS) / 2, (columns - 2 * FREE_CELLS) / 2]
    y = np.abs(np.arange(rows, dtype=np.float32) - np.float32((rows - 1) / 2)) - np.float32(
        half[0] - rounding
    )
    x = np.abs(np.arange(columns, dtype=np.float32) - np.float32((columns - 1) / 2)) - np.float32(
        half[1] - rounding
    )
    corner = np.hypot(np.maximum(y[:, None], 0), np.maximum(x[None], 0))
    edge = corner + np.minimum(np.maximum(y[:, None], x[None]), 0) - np.float32(rounding)
    beyond = np.abs(z - np.float32(FREE_CELLS + plate / 2)) - np.float32(plate / 2)
    base = np.maximum(edge[:, :, None], beyond)
    base = np.maximum(base, (edge[:, :, None] + beyond) * np.float32(0.7071) + np.float32(bevel))
    return np.minimum(letters, base).astype(np.float32), front
