"""A cube as threestudio's mesh exporter writes it: OBJ with MTL and texture, or with vertex colours."""

import base64
import os

from shapes import CORNERS, FACES

TEXTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAEklEQVR4nGP8z8DAwMDAxAADAA4EAQFB9bcFAAAAAElFTkSuQmCC"
)
"""Two by two pixels; a PNG, though threestudio's own is a JPEG by default."""


def write(folder: str, form: str, fault: str) -> None:
    """`model.obj`, and with 'obj-mtl' `model.mtl` and `texture_kd.png`; damaged as the fault says."""
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "model.obj"), "w") as file:
        file.write(obj(form == "obj-mtl", fault))
    if form != "obj-mtl" or fault == "no_mtl":
        return
    with open(os.path.join(folder, "model.mtl"), "w") as file:
        file.write("newmtl default\nKa 0.0 0.0 0.0\nmap_Kd texture_kd.png\nKs 0.0 0.0 0.0\n")
    if fault != "no_texture":
        with open(os.path.join(folder, "texture_kd.png"), "wb") as file:
            file.write(TEXTURE)


def obj(textured: bool, fault: str) -> str:
    """The text: `f v/vt/` with a slash at the end, as the exporter writes it."""
    lines = ["mtllib model.mtl", "g object", "usemtl default"] if textured else []
    for index, (x, y, z) in enumerate(CORNERS):
        place = f"v {x} {y} {z}" if fault != "nan_mesh" else "v nan 0 0"
        colour = "" if textured else f" {(index % 2) * 0.5} 0.25 1.0"
        lines.append(place + colour)
    lines += ["vt 0.0 1.0", "vt 1.0 1.0", "vt 1.0 0.0"]
    if fault != "no_faces":
        offset = 500 if fault == "wild_index" else 1
        lines += [f"f {a + offset}/1/ {b + offset}/2/ {c + offset}/3/" for a, b, c in FACES]
    return "\n".join(lines) + "\n"
