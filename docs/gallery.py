"""Makes the README's pictures anew, from models that the embedded generators really make. `make gallery`."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline3d.generation import inflation, procedural
from pipeline3d.geometry import clips, pose, posters, rendering, turntables
from pipeline3d.geometry.mesh import TexturedMesh
from pipeline3d.geometry.staging import BACKDROP
from pipeline3d.imaging import decoding, framing, matting
from pipeline3d.imaging.sample_photo import draw_sample_photo

Pixels = npt.NDArray[np.uint8]

IMAGES = Path(__file__).parent / "images"
SIDE = 480
VIEWS_DEG = (0, 32, -32)
TILE = 256
PROMPTS = (
    "a red mug",
    "a wooden table",
    "a blue car",
    "a robot",
    "a glass bottle",
    "a green chair",
    "a yellow lamp",
    "a small house",
)
MOST_BYTES = 300_000
"""Of a turntable: a README is read on phones."""


def main() -> None:
    """Generate, render, write, print."""
    IMAGES.mkdir(exist_ok=True)
    photo = encode_photo()
    duck = inflate(photo)
    things = {prompt: sculpt(prompt) for prompt in PROMPTS}
    write_picture("photo-and-model.png", show_photo_and_model(photo, duck))
    write_picture("prompts.png", show_prompts(things))
    write_picture("contact-sheet.png", posters.contact_sheet(things["a blue car"], light="soft"))
    write_picture("poster.png", posters.render_poster(things["a wooden table"]))
    write_turntable("turntable-photo", duck)
    write_turntable("turntable-prompt", things["a robot"])


def encode_photo() -> bytes:
    """The sample photo as people send it."""
    buffer = io.BytesIO()
    Image.fromarray(draw_sample_photo()).save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def inflate(photo: bytes) -> TexturedMesh:
    """The model of a photo."""
    picture = decoding.decode_picture(photo)
    model = inflation.inflate(framing.frame_object(picture, matting.cut_out(picture)), quality="quality")
    return pose.fit_to_size(
        TexturedMesh(
            vertices=model.vertices,
            faces=model.faces,
            normals=model.normals,
            uvs=model.uvs,
            texture=model.texture_jpeg,
        )
    )


def sculpt(prompt: str) -> TexturedMesh:
    """The model of a prompt."""
    model = procedural.sculpt(prompt, quality="quality")
    return TexturedMesh(
        vertices=model.vertices, faces=model.faces, normals=model.normals, colours=model.colours
    )


def show_photo_and_model(photo: bytes, mesh: TexturedMesh) -> Pixels:
    """The photo beside renderings of its model."""
    original = np.asarray(Image.open(io.BytesIO(photo)).resize((SIDE, SIDE), Image.Resampling.LANCZOS))
    views = [rendering.render_thumbnail(mesh, size_px=SIDE, azimuth_deg=angle) for angle in VIEWS_DEG]
    return np.concatenate([original, *views], axis=1)


def show_prompts(things: dict[str, TexturedMesh]) -> Pixels:
    """Two rows of models from one line of text each."""
    tiles = [rendering.render(mesh, size_px=TILE, background=BACKDROP)[..., :3] for mesh in things.values()]
    half = math.ceil(len(tiles) / 2)
    return np.concatenate([np.concatenate(row, axis=1) for row in (tiles[:half], tiles[half:])])


def write_turntable(name: str, mesh: TexturedMesh) -> None:
    """An animated WebP and an MP4, both small."""
    plan = turntables.PLANS["small"]
    frames = list(turntables.render_turntable(mesh, frames=plan.frames, size_px=plan.size_px))
    clips.write_webp(frames, IMAGES / f"{name}.webp", plan.fps)
    clips.write_mp4(frames, IMAGES / f"{name}.mp4", plan.fps)
    for ending in ("webp", "mp4"):
        say(IMAGES / f"{name}.{ending}")


def write_picture(name: str, picture: Pixels) -> None:
    """As PNG, smaller where all pixels are opaque."""
    if picture.shape[2] == 4 and (picture[..., 3] == 255).all():
        picture = picture[..., :3]
    Image.fromarray(picture).save(IMAGES / name, optimize=True)
    say(IMAGES / name)


def say(path: Path) -> None:
    """Where it is and how large; a picture too large for a page ends the program."""
    size = path.stat().st_size
    print(f"{path}  {size // 1024} KB")
    if path.suffix in (".webp", ".mp4") and size > MOST_BYTES:
        raise SystemExit(f"{path} has {size} bytes, more than {MOST_BYTES}.")


if __name__ == "__main__":
    main()
