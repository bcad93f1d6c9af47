"""The delivered model in its forms, each made of the same GLB, read back and compared before it goes out."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import dagster as dg

from pipeline3d.defs.assets.family import (
    GLB_CONTENT_TYPE,
    JSON_CONTENT_TYPE,
    model_asset,
    origin_of,
    scratch_file,
)
from pipeline3d.defs.delivering import DeliverySettings, delivery_of
from pipeline3d.errors import BrokenModelOutput
from pipeline3d.geometry import baking, comparing, glb, measuring, pose, simplifying, web
from pipeline3d.geometry.formats import obj, ply, stl, threemf, usdz
from pipeline3d.geometry.gltf_files import write_gltf
from pipeline3d.geometry.lods import Lod, build_lods
from pipeline3d.geometry.mesh import Model
from pipeline3d.geometry.structure_check import check_glb
from pipeline3d.geometry.texture_limits import limit_textures
from pipeline3d.geometry.zip_entries import pack_folder
from pipeline3d.values import ArtifactType, JobInput, Kind
from resources.catalogue import shipped_model
from resources.request_run import RequestRun
from resources.stage_files import LocalFile, StageFiles

BAKED_PX = 1024
"""Side of a baked texture where the request names none."""
JOINED_FACES_ERROR = 1e-4
"""Of the largest extent: faces that lie so flat are joined for the web, which nobody can see."""
USDZ_CONTENT_TYPE = "model/vnd.usdz+zip"


@model_asset(kinds={"gltf"}, description="The delivered model: sized, on the ground plane, with its origin.")
def glb_export(
    context: dg.AssetExecutionContext,
    request_run: RequestRun,
    stage_files: StageFiles,
    repaired_mesh: Path,
) -> dg.MaterializeResult:
    """Simplify where asked, scale to metres, pack as GLB; read it back before it is published."""
    with request_run.stage(context) as run:
        wanted = delivery_of(run.job)
        draft = repaired_mesh.read_bytes()
        origin = origin_of(draft)
        model, numbers = simplify_and_bake(glb.decode_model(draft), wanted)
        sized = pose.place(model, size_m=wanted.size_m, size_axis=wanted.size_axis, pivot=wanted.pivot)
        extras = provenance(
            run.job,
            origin,
            source={
                f"{asset}/{name}": stored.sha256
                for (asset, name), stored in stage_files.list_files(run, SOURCES).items()
            },
            made_from=run.made_from["glb_export"],
        )
        path = scratch_file(run, "glb_export", "model.glb")
        write_glb(path, glb.encode_model(sized, name="model", extras=extras), sized)
        facts = measuring.measure(sized)
        numbers |= {
            "parts": len(sized.parts),
            "vertices": facts.vertices,
            "faces": facts.faces,
            "watertight": facts.watertight,
            "extents_m": [round(extent, 4) for extent in facts.extents],
        }
        return dg.MaterializeResult(
            value=LocalFile(
                path=path,
                content_type=GLB_CONTENT_TYPE,
                type=ArtifactType.OUTPUT_MODEL,
                metadata={**numbers, "made_by": origin},
            ),
            metadata={**numbers, "extents_m": dg.MetadataValue.json(numbers["extents_m"])},
        )


def simplify_and_bake(model: Model, wanted: DeliverySettings) -> tuple[Model, dict[str, Any]]:
    """Fewer faces, baked textures and smaller ones, each where the request asks for it; and what was done."""
    numbers: dict[str, Any] = {}
    finer = model
    if wanted.target_faces is not None and model.face_count > wanted.target_faces:
        simplified = simplifying.simplify(model, target_faces=wanted.target_faces)
        model = simplified.model
        numbers = {"simplified_by": simplified.library, "target_reached": simplified.reached}
    side = wanted.texture_px or BAKED_PX
    if wanted.bake == "detail":
        simpler = model is not finer
        model = baking.bake_detail(finer, model, size_px=side) if simpler else model
        numbers |= {"baked": "detail" if simpler else "nothing", "baked_px": side}
    elif wanted.bake == "colours":
        painted = baking.bake_colours(model, size_px=side)
        numbers |= {"baked": "nothing" if painted is model else "colours", "baked_px": side}
        model = painted
    if wanted.texture_px is not None:
        model = limit_textures(model, wanted.texture_px)
    return model, numbers


@model_asset(kinds={"gltf"}, description="The model compressed for the web, with textures of a phone's size.")
def web_glb(
    context: dg.AssetExecutionContext, request_run: RequestRun, glb_export: Path
) -> dg.MaterializeResult:
    """Quantise, compress, shrink the textures; decode again and compare."""
    with request_run.stage(context) as run:
        wanted = delivery_of(run.job)
        plain = glb_export.read_bytes()
        model = glb.decode_model(plain)
        data = web.compress(
            model,
            codec=wanted.web_codec,
            name="model",
            extras=origin_of(plain),
            texture_px=wanted.web_texture_px,
            texture_format=wanted.web_texture_format,
            simplify_error=JOINED_FACES_ERROR,
        )
        path = scratch_file(run, "web_glb", "web.glb")
        # joined faces are fewer; what KTX2 holds can be read by graphics cards only
        colour = None if wanted.web_texture_format == "ktx2" else comparing.COMPRESSED.colour
        tolerance = replace(comparing.COMPRESSED, faces=None, colour=colour)
        write_glb(path, data, model, tolerance=tolerance)
        numbers: dict[str, Any] = {
            "codec": wanted.web_codec,
            "share_of_plain": round(len(data) / len(plain), 4),
            "joined_faces_error": JOINED_FACES_ERROR,
        }
        return dg.MaterializeResult(
            value=LocalFile(
                path=path, content_type=GLB_CONTENT_TYPE, type=ArtifactType.EXPORT, metadata=numbers
            ),
            metadata=numbers,
        )


@model_asset(kinds={"usd"}, description="The model as USDZ for AR on iOS, checked by OpenUSD's own rules.")
def usdz_export(
    context: dg.AssetExecutionContext, request_run: RequestRun, glb_export: Path
) -> dg.MaterializeResult:
    """Write, check and compare; a file that ARKit would refuse is never published."""
    with request_run.stage(context) as run:
        plain = glb_export.read_bytes()
        model = glb.decode_model(plain)
        path = scratch_file(run, "usdz_export", "model.usdz")
        report = usdz.write_usdz(model, path, name="model", extras=origin_of(plain))
        wrong = [*report.problems, *map(str, report.differences)]
        if wrong:
            raise BrokenModelOutput(f"The USDZ is not valid: {wrong[0]}", code="broken_usdz")
        numbers: dict[str, Any] = {
            "complaints": [],
            "faces": model.face_count,
            "limitations": list(report.limitations),
        }
        return dg.MaterializeResult(
            value=LocalFile(
                path=path, content_type=USDZ_CONTENT_TYPE, type=ArtifactType.EXPORT, metadata=numbers
            ),
            metadata={
                "complaints": 0,
                "faces": model.face_count,
                "limitations": dg.MetadataValue.json(numbers["limitations"]),
            },
        )


@model_asset(
    kinds={"gltf"}, description="The model with fewer faces, in steps, each with its measured error."
)
def lods(
    context: dg.AssetExecutionContext,
    request_run: RequestRun,
    stage_files: StageFiles,
    glb_export: Path,
) -> dg.MaterializeResult:
    """Write a GLB for each level below the whole model, and their table."""
    with request_run.stage(context) as run:
        plain = glb_export.read_bytes()
        table = []
        for number, level in enumerate(build_lods(glb.decode_model(plain))):
            row = describe_level(number, level)
            table.append(row)
            if number == 0:
                continue  # the model itself
            path = scratch_file(run, "lods", f"lod-{number}.glb")
            extras = {**origin_of(plain), "level_of_detail": row}
            write_glb(path, glb.encode_model(level.model, name=f"lod-{number}", extras=extras), level.model)
            file = LocalFile(path=path, content_type=GLB_CONTENT_TYPE, type=ArtifactType.EXPORT, metadata=row)
            stage_files.publish(run, "lods", file)
        path = scratch_file(run, "lods", LEVELS)
        path.write_text(json.dumps(table, indent=1))
        return dg.MaterializeResult(
            value=LocalFile(path=path, content_type=JSON_CONTENT_TYPE, metadata={"levels": table}),
            metadata={"levels": dg.MetadataValue.json(table)},
        )


@model_asset(kinds={"python"}, description="The model in the further formats that the request names.")
def further_formats(
    context: dg.AssetExecutionContext,
    request_run: RequestRun,
    stage_files: StageFiles,
    glb_export: Path,
) -> dg.MaterializeResult:
    """Write each format in the pose of its target; read it back and compare."""
    with request_run.stage(context) as run:
        wanted = delivery_of(run.job)
        plain = glb_export.read_bytes()
        model = glb.decode_model(plain)
        written = {}
        for name in wanted.formats:
            folder = run.scratch / "further_formats" / name
            (folder / PARTS).mkdir(parents=True, exist_ok=True)
            path = write_format(model, name, folder, wanted, origin_of(plain))
            content_type = CONTENT_TYPES[path.suffix]
            numbers = {"format": name, "target": target_of(name, wanted), "size": path.stat().st_size}
            stage_files.publish(
                run,
                "further_formats",
                LocalFile(path=path, content_type=content_type, type=ArtifactType.EXPORT, metadata=numbers),
            )
            written[name] = {"file": path.name, **numbers}
        path = scratch_file(run, "further_formats", "formats.json")
        path.write_text(json.dumps(written, indent=1))
        return dg.MaterializeResult(
            value=LocalFile(path=path, content_type=JSON_CONTENT_TYPE, metadata={"formats": written}),
            metadata={"formats": dg.MetadataValue.json(written)},
        )


def describe_level(number: int, level: Lod) -> dict[str, Any]:
    """A level of detail in numbers; `error` is its measured distance from the whole model."""
    return {
        "level": number,
        "share": level.share,
        "faces": level.faces,
        "reached": level.reached,
        "made_by": level.library,
        "error": {name: round(value, 6) for name, value in asdict(level.deviation).items()},
    }


FOR_PRINTERS = ("stl", "3mf")
LEVELS = "lods.json"
"""The table of the levels of detail."""
PARTS = "parts"
"""Where the files of a format lie that has several."""
CONTENT_TYPES = {
    ".zip": "application/zip",
    ".stl": "model/stl",
    ".ply": "application/octet-stream",
    ".3mf": "model/3mf",
}


def write_format(
    model: Model, name: str, folder: Path, wanted: DeliverySettings, extras: dict[str, Any]
) -> Path:
    """The one file, a ZIP where the format has several, compared with the model."""
    if name == "gltf":
        parts = write_gltf(model, folder / PARTS, name="model", extras=extras)
        require_same(parts[0], model)
        return pack_folder(folder / PARTS, folder / "model-gltf.zip")
    target = pose.TARGETS[target_of(name, wanted)]
    posed = pose.place_for(model, target.name, size_m=None, pivot=wanted.pivot)
    if name == "obj":
        parts = obj.write_obj(posed, folder / PARTS, name="model")
        require_same(parts[0], posed)
        return pack_folder(folder / PARTS, folder / "model-obj.zip")
    path = folder / f"model.{name}"
    if name == "3mf":
        threemf.write_3mf(posed, path, unit=target.unit, up_axis=target.up_axis)
        require_same(path, posed, unit=target.unit, up_axis=target.up_axis)
    else:
        {"stl": stl.write_stl, "ply": ply.write_ply}[name](posed, path)
        require_same(path, posed)
    return path


def target_of(name: str, wanted: DeliverySettings) -> str:
    """Where a format goes if the request does not say: what only printers read goes to a slicer."""
    return wanted.target or ("slicer" if name in FOR_PRINTERS else "web")


def write_glb(path: Path, data: bytes, source: Model, **known: Any) -> None:
    """Write a GLB that is valid and holds the model. Raises BrokenModelOutput."""
    wrong = [complaint for complaint in check_glb(data) if complaint.severity == "error"]
    if wrong:
        raise BrokenModelOutput(f"{path.name} is not valid glTF: {wrong[0]}", code="broken_glb")
    path.write_bytes(data)
    require_same(path, source, **known)


def require_same(path: Path, source: Model, **known: Any) -> None:
    """A written file holds the model that it was made of, read by another library. BrokenModelOutput."""
    differences = comparing.verify_file(path, source, **known)
    if differences:
        told = "; ".join(str(difference) for difference in differences[:3])
        raise BrokenModelOutput(
            f"{path.name} is not the model that it was made of: {told}", code="export_differs"
        )


SOURCES = ("source_image", "prompt", "source_scene", "source_model")
"""The stages that bring what a request starts from: a file has the hash of what the caller gave."""
MADE_BY = ("engine", "engine_version", "tier", "seed", "note", "source_request", "source_sha256")
"""Of an origin, what the engine says of its work; all else is said by the request that delivers."""
LICENCE_OF_UPLOAD = "that of the uploaded model"


def provenance(
    job: JobInput, origin: dict[str, Any], *, source: dict[str, str], made_from: dict[str, str]
) -> dict[str, Any]:
    """What a delivered file says of its origin. Equal requests differ in the id only."""
    model = shipped_model(job.model_id)
    licence = str(model.licence.get("name", ""))
    if job.kind is Kind.EXPORT_MODEL:
        licence = str(origin.get("licence", LICENCE_OF_UPLOAD))
    return {
        **{name: origin[name] for name in MADE_BY if name in origin},
        "generator": "Pipeline3D",
        "request": str(job.job_id),
        "model": job.model_id,
        "model_version": model.version,
        "parameters": job.shown_params,
        "licence": licence,
        "source": source,
        "made_from": made_from,
    }
