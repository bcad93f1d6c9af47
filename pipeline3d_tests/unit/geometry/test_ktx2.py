"""KTX2 by a program that is installed; stand-ins speak the command lines of the real ones."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline3d.errors import BrokenModelOutput, ModelNotReady
from pipeline3d.geometry.comparing import COMPRESSED, verify_file
from pipeline3d.geometry.ktx2 import IDENTIFIER, KTX2, PROGRAMS, encode_ktx2, find_encoder
from pipeline3d.geometry.mesh import Model
from pipeline3d.geometry.structure_check import check_glb
from pipeline3d.geometry.web import compress, decompress
from pipeline3d_tests.awkward_meshes import textured_sphere

PICTURE = np.full((9, 14, 3), 120, np.uint8)
STAND_IN = '''#!{python}
"""Speaks one program's command line; writes a KTX2 identifier and what it was asked for."""
import json, struct, sys
sys.path[:0] = {path!r}
from PIL import Image
kind, words = {kind!r}, sys.argv[1:]
flags = {flags!r}[kind]
if kind == "ktx":
    assert words.pop(0) == "create"
places, asked = [], {{}}
while words:
    word = words.pop(0)
    if word in flags:
        asked[word] = [words.pop(0) for _ in range(flags[word])]
    elif word.startswith("-"):
        sys.exit(f"unknown option {{word}}")
    else:
        places.append(word)
if kind == "ktx":
    source, target = places
elif kind == "toktx":
    target, source = places
else:
    source, target = asked["-file"][0], asked["-output_file"][0]
size = Image.open(source).size
with open(target, "wb") as file:
    file.write({identifier!r} + json.dumps([size, asked]).encode())
'''
FLAGS = {
    "ktx": {"--format": 1, "--assign-oetf": 1, "--encode": 1, "--zstd": 1, "--generate-mipmap": 0},
    "toktx": {"--t2": 0, "--genmipmap": 0, "--assign_oetf": 1, "--encode": 1, "--zcmp": 1},
    "basisu": {"-ktx2": 0, "-mipmap": 0, "-uastc": 0, "-linear": 0, "-file": 1, "-output_file": 1},
}


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Puts a program of this name on a PATH that has nothing else."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def write(kind: str, text: str | None = None) -> Path:
        program = tmp_path / kind
        stand_in = STAND_IN.format(
            python=sys.executable, path=sys.path, kind=kind, flags=FLAGS, identifier=IDENTIFIER
        )
        program.write_text(stand_in if text is None else text)
        program.chmod(0o755)
        return program

    return write


@pytest.mark.parametrize("kind", PROGRAMS)
@pytest.mark.parametrize("role", ["colour", "data"])
def test_every_program_is_called_in_its_own_words(install, kind, role):
    install(kind)
    made = encode_ktx2(PICTURE, role)
    size, asked = json.loads(made.data[len(IDENTIFIER) :])
    assert made.mime_type == KTX2
    assert size == [12, 8], "the sides are no multiples of four"
    linear = asked.get(
        "--assign-oetf", asked.get("--assign_oetf", ["linear" if "-linear" in asked else "srgb"])
    )
    assert linear == ["srgb" if role == "colour" else "linear"]
    if kind == "ktx":
        assert asked["--format"] == ["R8G8B8_SRGB" if role == "colour" else "R8G8B8_UNORM"]


def test_the_newest_program_is_preferred(install):
    for kind in PROGRAMS:
        install(kind)
    found = find_encoder()
    assert found is not None
    assert found.kind == "ktx"


def test_without_a_program_ktx2_is_refused_with_what_to_do(install):
    assert find_encoder() is None
    with pytest.raises(ModelNotReady) as refusal:
        encode_ktx2(PICTURE, "colour")
    assert refusal.value.code == "no_ktx2_encoder"
    assert "toktx" in (refusal.value.hint or "")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("#!/bin/sh\necho out of memory >&2\nexit 3\n", "3: out of memory", id="fails"),
        pytest.param("#!/bin/sh\nexit 0\n", "no KTX2 file", id="writes nothing"),
        pytest.param("#!/no/such/interpreter\n", "cannot be started", id="does not start"),
        pytest.param("#!/bin/sh\nwhile :; do :; done\n", "was stopped", id="never ends"),
    ],
)
def test_a_program_that_makes_no_texture_is_named_with_its_reason(install, text, reason):
    install("toktx", text)
    with pytest.raises(BrokenModelOutput, match=reason) as failure:
        encode_ktx2(PICTURE, "colour", seconds=0.5)
    assert failure.value.code == "ktx2_failed"


def test_a_web_model_names_its_ktx2_pictures_by_the_extension(install):
    install("basisu")
    model = Model(parts=(textured_sphere(),))
    found = decompress(compress(model, name="ball", texture_format="ktx2")).parts[0]
    assert found.texture_mime_type == KTX2
    assert found.texture is not None
    assert found.texture.startswith(IDENTIFIER)


def test_a_web_glb_with_such_pictures_is_compared_by_its_shape(install, tmp_path):
    """Nothing here reads KTX2: a comparison of colours would refuse every file."""
    install("ktx")
    model = Model(parts=(textured_sphere(),))
    path = tmp_path / "web.glb"
    path.write_bytes(compress(model, name="m", texture_format="ktx2"))
    shape = replace(COMPRESSED, faces=None, colour=None)
    assert verify_file(path, model, tolerance=shape) == []
    assert {found.severity for found in check_glb(path.read_bytes())} <= {"info", "warning"}
