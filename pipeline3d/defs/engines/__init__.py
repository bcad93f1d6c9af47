"""How each engine of the catalogue is asked for a mesh: the glue between assets and libraries."""

from pipeline3d.defs.engines.choosing import make_meshes
from pipeline3d.defs.engines.scenes import EncodedScenes, encode_scenes
from pipeline3d.defs.engines.stage import MadeMesh, Stage

__all__ = ["EncodedScenes", "MadeMesh", "Stage", "encode_scenes", "make_meshes"]
