"""How a file that somebody uploaded is refused: a stable code, what is wrong, and what to do about it."""

from __future__ import annotations

from pipeline3d.errors import UnusableInput

HINTS = {
    "archive_refused": "Send a plain ZIP file that holds one model and its pictures.",
    "broken_model_file": "Export the model again, and check the file with a glTF validator or a viewer.",
    "broken_texture": "Export the model again with its textures as PNG, JPEG or WebP.",
    "coordinates_out_of_range": "Scale the model to metres and move it to the origin before you export it.",
    "empty_mesh": "Export the model with its meshes; points and lines alone make no surface.",
    "external_reference": "Pack everything into the file: export a GLB, or send a ZIP with all files.",
    "missing_file": "Put every file that the model names into the ZIP, or export a GLB.",
    "model_crashed_reader": "Export the model again from another program; a GLB is read most reliably.",
    "model_too_large": "Simplify the model or make its textures smaller before you send it.",
    "model_too_slow": "Simplify the model, or export it as GLB, which is read fastest.",
    "nan_mesh": "Export the model again; some of its vertices are no numbers.",
    "texture_too_large": "Make the texture smaller: at most 16,384 pixels a side, and 178 million together.",
    "unsupported_extension": "Export the model as plain glTF 2.0.",
    "unsupported_format": "Send GLB, glTF, OBJ, STL, PLY or 3MF; several files together go into a ZIP.",
    "unsupported_texture": "Export the model with its textures as PNG, JPEG or WebP.",
}
"""By code: what the sender of such a file can do."""


LONGEST_QUOTE = 400
"""Characters: what a file says of itself may be a hundred megabytes long."""


def refused(code: str, reason: str) -> UnusableInput:
    """The error for a file that cannot be used because of `reason`, a clause without a full stop."""
    return UnusableInput(
        f"The model's file cannot be used: {printable(reason)}.", code=code, hint=HINTS[code]
    )


def printable(text: str) -> str:
    """A sentence that may quote a stranger's file, as one that can be stored and shown anywhere.

    Short, on one line, without control characters and lone surrogates, which Postgres and terminals refuse.
    """
    cut = text if len(text) <= LONGEST_QUOTE else text[:LONGEST_QUOTE] + "…"
    return "".join(
        letter if letter.isprintable() else " " if letter.isspace() else "\N{REPLACEMENT CHARACTER}"
        for letter in cut
    )


def broken(reason: str) -> UnusableInput:
    """The error for a file that contradicts itself or its format."""
    return refused("broken_model_file", reason)
