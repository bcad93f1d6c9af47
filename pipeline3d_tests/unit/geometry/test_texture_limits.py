"""No picture of a model is longer than asked for, and smaller ones stay byte for byte."""

import io
from dataclasses import replace

import numpy as np
from PIL import Image

from pipeline3d.geometry.mesh import Material, Model, Texture
from pipeline3d.geometry.texture_limits import limit_textures
from pipeline3d_tests.awkward_meshes import textured_sphere


def picture(width: int, height: int, colour=(200, 120, 40)) -> Texture:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, "PNG")
    return Texture(data=buffer.getvalue(), mime_type="image/png")


def size_of(texture: Texture) -> tuple[int, int]:
    return Image.open(io.BytesIO(texture.data)).size


def test_long_pictures_shrink_in_proportion_and_short_ones_stay():
    base, normal, small = picture(512, 256), picture(300, 300, (128, 128, 255)), picture(64, 64)
    mesh = replace(
        textured_sphere(),
        texture=base.data,
        texture_mime_type=base.mime_type,
        material=Material(normal=normal, occlusion=small),
    )
    part = limit_textures(Model(parts=(mesh,)), 128).parts[0]
    assert size_of(Texture(data=part.texture, mime_type=part.texture_mime_type)) == (128, 64)
    assert size_of(part.material.normal) == (128, 128)
    assert part.material.occlusion is small
    assert part.material.metallic_roughness is None
    middle = np.asarray(Image.open(io.BytesIO(part.texture)).convert("RGB"))[32, 64]
    assert np.abs(middle.astype(int) - (200, 120, 40)).max() <= 2


def test_a_model_without_pictures_is_not_changed():
    mesh = replace(textured_sphere(), texture=None, uvs=None)
    part = limit_textures(Model(parts=(mesh,)), 128).parts[0]
    assert part.texture is None
