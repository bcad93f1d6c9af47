"""Makes the README's picture: the sample photo beside renderings of its model. `make gallery`."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline3d.generation import inflation
from pipeline3d.geometry import pose, rendering
from pipeline3d.geometry.mesh import TexturedMesh
from pipeline3d.imaging import decoding, framing, matting
from pipeline3d.imaging.sample_photo import draw_sample_photo

SIDE = 480
VIEWS_DEG = (0, 32, -32)


def main() -> None:
    """Draw, generate, render, put side by side."""
    buffer = io.BytesIO()
    Image.fromarray(draw_sample_photo()).save(buffer, "JPEG", quality=92)
    picture = decoding.decode_picture(buffer.getvalue())
    framed = framing.frame_object(picture, matting.cut_out(picture))
    model = inflation.inflate(framed, quality="quality")
    mesh = pose.fit_to_size(
        TexturedMesh(
            vertices=model.vertices,
            faces=model.faces,
            normals=model.normals,
            uvs=model.uvs,
            texture=model.texture_jpeg,
        )
    )
    photo = np.asarray(Image.open(buffer).resize((SIDE, SIDE), Image.Resampling.LANCZOS))
    views = [rendering.render_thumbnail(mesh, size_px=SIDE, azimuth_deg=angle) for angle in VIEWS_DEG]
    path = Path(__file__).parent / "images" / "photo-and-model.png"
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.concatenate([photo, *views], axis=1)).save(path, optimize=True)
    print(path)


if __name__ == "__main__":
    main()
