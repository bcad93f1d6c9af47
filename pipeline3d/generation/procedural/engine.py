"""`procedural`: text to 3D without weights: a modelled thing where a noun is known, lettering where none is.

It never pretends to have understood more than it did: every result says which words it used and which not.
Deterministic: the same prompt, quality and seed give the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline3d.errors import InvalidParameters
from pipeline3d.generation.procedural.grammar import Reading, Subject, read
from pipeline3d.generation.procedural.lettering import LETTER_COLOUR, fit_text, letter
from pipeline3d.generation.procedural.normals import vertex_normals
from pipeline3d.generation.procedural.parts import Colour, shade
from pipeline3d.generation.procedural.placing import Thing, arrange
from pipeline3d.generation.procedural.surface import Shell, mesh_parts, simplify
from pipeline3d.generation.procedural.words import (
    MOST_CHARACTERS,
    MOST_WORDS,
    clean,
    count_words,
    split_words,
)

ENGINE = "procedural"
ENGINE_VERSION = "1.0"

Quality = Literal["fast", "balanced", "quality"]

MOST_STRETCH = 0.08
"""A seed other than 0 changes width, height and depth by up to this share each."""
LEAST_SHADE, MOST_SHADE = 0.03, 0.12
"""... and moves the main and accent colours by up to this share towards black or white."""
SIZE_EXPONENT = 0.45
"""Things in one scene differ by this power of their real sizes' ratio."""
LEAST_FACES = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """What a quality sets: places at which the distances are sampled, and faces at most."""

    points: int
    faces: int


PRESETS: dict[Quality, Preset] = {
    "fast": Preset(points=250_000, faces=12_000),
    "balanced": Preset(points=800_000, faces=30_000),
    "quality": Preset(points=4_000_000, faces=80_000),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sculpture:
    """A closed mesh, Y up, front towards +Z, standing on y = 0 around x = z = 0, longest side 1.

    vertices, normals (n,3) float32; faces (m,3) int32, counter-clockwise; colours (n,4) uint8, linear RGBA.
    `method` says what was made; `template` names the first thing of a scene and is None for lettering.
    `matched` and `unmatched` are the words that did and did not change the model, in the prompt's order;
    articles and the like are in neither. Several things are closed shells of their own that touch.
    """

    vertices: npt.NDArray[np.float32]
    faces: npt.NDArray[np.int32]
    normals: npt.NDArray[np.float32]
    colours: npt.NDArray[np.uint8]
    method: Literal["template", "lettering"]
    template: str | None
    matched: list[str]
    unmatched: list[str]
    seed: int
    notes: list[str]


def sculpt(prompt: str, *, quality: Quality = "balanced", seed: int = 0) -> Sculpture:
    """The model of a prompt.

    Seed 0 is the plain design; any other one varies proportions by up to 8 % and shades by up to 12 %, so
    that candidates differ. Raises `UnusableInput` (`missing_prompt`, `prompt_unreadable`) for a prompt that
    cannot be worked with, `InvalidParameters` for arguments of another type or an unknown quality.
    """
    if not isinstance(prompt, str):
        raise InvalidParameters(f"prompt is {type(prompt).__name__}, text is wanted.", hint="Send text.")
    if quality not in PRESETS:
        raise InvalidParameters(f"quality is {quality!r}.", hint=f"It may be one of: {', '.join(PRESETS)}.")
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise InvalidParameters(f"seed is {seed!r}, a whole number is wanted.", hint="Send a whole number.")
    text = clean(prompt)
    reading = read(split_words(text))
    notes = list(dict.fromkeys(reading.notes))
    if len(prompt) > MOST_CHARACTERS:
        notes.append(f"Only the first {MOST_CHARACTERS} of {len(prompt)} characters were looked at.")
    if count_words(text) > MOST_WORDS:
        notes.append(f"Only about the first {MOST_WORDS} words were looked at.")
    variation = Variation(seed)
    if reading.subjects:
        shells = model_scene(reading.subjects, PRESETS[quality], variation)
        if reading.unmatched:
            notes.append(
                "Words that were not understood have no effect: " + ", ".join(reading.unmatched) + "."
            )
        return finish(shells, reading, seed, notes, reading.subjects[0].template.name)
    lines, remarks = fit_text(text)
    notes.append("No known thing is named: the words themselves were made.")
    return finish(
        [model_sign(lines, reading, PRESETS[quality], variation)], reading, seed, notes + remarks, None
    )


class Variation:
    """What a seed changes; drawn in a fixed order."""

    def __init__(self, seed: int) -> None:
        self.is_plain = seed == 0
        self.random = np.random.default_rng(seed & (2**64 - 1))

    def proportions(self) -> npt.NDArray[np.float32]:
        """Factors of width, height and depth."""
        drawn = 1 + MOST_STRETCH * self.random.uniform(-1, 1, 3)
        return np.ones(3, np.float32) if self.is_plain else drawn.astype(np.float32)

    def tint(self, colour: Colour) -> Colour:
        """The colour, a little lighter or darker."""
        amount = float(self.random.uniform(LEAST_SHADE, MOST_SHADE) * self.random.choice([-1, 1]))
        return colour if self.is_plain else shade(colour, amount)


def model_scene(subjects: list[Subject], preset: Preset, variation: Variation) -> list[Shell]:
    """A shell for every copy of every thing, in place."""
    numbers = sorted(range(len(subjects)), key=lambda i: subjects[i].order)
    ordered = [subjects[i] for i in numbers]
    shells = [
        model_subject(subject, int(preset.points / len(ordered) / subject.count**0.5), variation)
        for subject in ordered
    ]
    things = [
        Thing(
            shell.vertices,
            subject.count,
            subject.relation,
            numbers.index(subject.anchor) if subject.relation else -1,
        )
        for shell, subject in zip(shells, ordered, strict=True)
    ]
    copies = arrange(things)
    light = [
        simplify(shell, max(LEAST_FACES, preset.faces // (len(ordered) * subject.count)))
        for shell, subject in zip(shells, ordered, strict=True)
    ]
    return [
        Shell(
            vertices=light[copy.thing].vertices * np.float32(copy.scale) + copy.offset,
            faces=light[copy.thing].faces,
            colours=light[copy.thing].colours,
        )
        for copy in copies
    ]


def model_subject(subject: Subject, points: int, variation: Variation) -> Shell:
    """One thing, standing on y = 0 around x = z = 0, of its size within a scene."""
    palette = {role: variation.tint(colour) for role, colour in subject.palette().items()}
    shell = mesh_parts(subject.parts, palette, points)
    proportions = variation.proportions()
    longest = float(np.ptp(shell.vertices, axis=0).max())
    stretch = np.array(subject.stretch, np.float32)
    if not subject.template.exact:
        stretch = stretch * proportions
    size = np.float32(subject.size * subject.template.size_m**SIZE_EXPONENT / longest)
    stretched = (shell.vertices * stretch * size).astype(np.float32)
    return Shell(vertices=stand(stretched), faces=shell.faces, colours=shell.colours)


def model_sign(lines: list[str], reading: Reading, preset: Preset, variation: Variation) -> Shell:
    """The lettering of a prompt."""
    colour = variation.tint(reading.colour or LETTER_COLOUR)
    depth = float(variation.proportions()[2])
    return simplify(letter(lines, colour, points=preset.points, depth=depth), preset.faces)


def stand(vertices: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """On y = 0, around x = z = 0."""
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    foot = np.array([(low[0] + high[0]) / 2, low[1], (low[2] + high[2]) / 2], np.float32)
    return (vertices - foot).astype(np.float32)


def finish(
    shells: list[Shell], reading: Reading, seed: int, notes: list[str], template: str | None
) -> Sculpture:
    """All shells as one mesh, in the final pose."""
    starts = np.cumsum([0] + [len(shell.vertices) for shell in shells[:-1]])
    vertices = np.concatenate([shell.vertices for shell in shells])
    faces = np.concatenate([shell.faces + start for shell, start in zip(shells, starts, strict=True)])
    faces = np.ascontiguousarray(faces, np.int32)
    longest = np.float32(np.ptp(vertices, axis=0).max())
    vertices = stand((vertices / longest).astype(np.float32))
    return Sculpture(
        vertices=vertices,
        faces=faces,
        normals=vertex_normals(vertices, faces),
        colours=np.concatenate([shell.colours for shell in shells]),
        method="template" if template else "lettering",
        template=template,
        matched=reading.matched,
        unmatched=reading.unmatched,
        seed=seed,
        notes=notes,
    )
