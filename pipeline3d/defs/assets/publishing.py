"""What may go out, and the end of a request: the quality report, the bundle, the delivery."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg

from pipeline3d.defs.assets.exports import LEVELS, further_formats, glb_export, lods, usdz_export, web_glb
from pipeline3d.defs.assets.family import JSON_CONTENT_TYPE, model_asset, origin_of, scratch_file
from pipeline3d.defs.assets.previews import PLAN, model_preview, turntable
from pipeline3d.defs.assets.repairs import fetch_unrepaired
from pipeline3d.defs.delivering import delivery_of
from pipeline3d.errors import BrokenModelOutput
from pipeline3d.geometry import gate, glb, measuring, repairing, thickness
from pipeline3d.geometry.bundle_checks import check_bundle
from pipeline3d.geometry.bundling import BundleFile, BundleText, build_bundle
from pipeline3d.geometry.crossings import count_crossing_faces
from pipeline3d.geometry.gate_facts import DeliveryFacts
from pipeline3d.geometry.gate_measuring import describe_delivery, repair_sentences
from pipeline3d.geometry.gate_profiles import PROFILES
from pipeline3d.geometry.structure_check import check_glb
from pipeline3d.values import ArtifactType, FailureReport, JobInput
from resources.catalogue import shipped_model
from resources.request_run import RequestRun
from resources.run_guard import RunGuard
from resources.stage_files import LocalFile, StageFiles

WEB = "web"
"""The profile that a bundle's report is about, where the request demands none."""
BUNDLED = ("glb_export", "web_glb", "usdz_export", "lods", "model_preview", "turntable", "further_formats")

PROFILE_CHECKS = [
    dg.AssetCheckSpec(
        name=profile,
        asset="quality_report",
        blocking=True,  # of an error, which it is for the profile that the request demands
        description=f"The delivery is good for the target {profile!r}.",
    )
    for profile in PROFILES
]


@model_asset(
    deps=[web_glb, usdz_export, lods],
    kinds={"python"},
    check_specs=PROFILE_CHECKS,
    description="Is the delivery good for web, AR, print and games? Every rule, its value, what was mended.",
)
def quality_report(
    context: dg.AssetExecutionContext,
    request_run: RequestRun,
    stage_files: StageFiles,
    glb_export: Path,
) -> dg.MaterializeResult:
    """Measure the delivery and judge it for every profile; the demanded one must hold."""
    with request_run.stage(context) as run:
        demanded = delivery_of(run.job).profile
        facts, fixes = inspect_delivery(run, stage_files, glb_export.read_bytes())
        reports = {profile: gate.judge(profile, facts, fixes) for profile in PROFILES}
        path = scratch_file(run, "quality_report", "report.json")
        content = {"demanded": demanded, "profiles": {name: one.as_json() for name, one in reports.items()}}
        path.write_text(json.dumps(content, indent=1))
        if demanded is not None and reports[demanded].verdict == "FAIL":
            run.explain_rejection("quality_report", explain_verdict(reports[demanded]))
        verdicts = {name: one.verdict for name, one in reports.items()}
        return dg.MaterializeResult(
            value=LocalFile(
                path=path,
                content_type=JSON_CONTENT_TYPE,
                type=ArtifactType.REPORT,
                metadata={"demanded": demanded, "verdicts": verdicts},
            ),
            check_results=[as_check_result(one, demanded=demanded) for one in reports.values()],
            metadata={name: dg.MetadataValue.md(one.as_markdown()) for name, one in reports.items()},
        )


def inspect_delivery(
    run: RunGuard, stage_files: StageFiles, delivered: bytes
) -> tuple[DeliveryFacts, tuple[gate.AppliedFix, ...]]:
    """The facts of all files, and what was mended on the way from the model's own mesh."""
    repaired = glb.decode_model(stage_files.fetch(run, "repaired_mesh").read_bytes())
    model = glb.decode_model(delivered)
    measured = replace(measuring.measure(model), thinnest_m=thickness.measure_thinnest(model))
    usdz = stage_files.facts(run, "usdz_export") or {}
    facts = describe_delivery(
        model,
        measured,
        file_bytes={
            "glb": len(delivered),
            "web_glb": stage_files.fetch(run, "web_glb").stat().st_size,
            "usdz": stage_files.fetch(run, "usdz_export").stat().st_size,
        },
        glb_complaints=check_glb(delivered),
        usdz_complaints=usdz.get("complaints"),
        lods=count_levels(stage_files.facts(run, "lods", LEVELS) or {}),
        # a second and a half for 100,000 faces: only where it matters
        self_intersections=count_crossing_faces(model) if delivery_of(run.job).profile == "print" else None,
    )
    facts_of_repaired = describe_delivery(repaired, measuring.measure(repaired))
    repairs: tuple[gate.AppliedFix, ...] = ()
    if changes := (stage_files.facts(run, "repaired_mesh") or {}).get("changes"):
        draft = glb.decode_model(fetch_unrepaired(run, stage_files).read_bytes())
        repairs = gate.fixes_between(
            describe_delivery(draft, measuring.measure(draft)),
            facts_of_repaired,
            step="repaired_mesh",
            done=repair_sentences(repairing.Change(**change) for change in changes),
        )
    exports = gate.fixes_between(facts_of_repaired, facts, step="glb_export", done=DONE_BY_EXPORT)
    return facts, (*repairs, *exports)


def count_levels(facts: dict[str, Any]) -> int:
    """The levels of detail that are simpler than the model itself, as far as they were asked for."""
    return sum(level["reached"] and level["level"] > 0 for level in facts.get("levels", []))


DONE_BY_EXPORT = {
    "faces": "simplified to target_faces",
    "texture_px": "textures scaled down to texture_px",
    "texture_bytes": "textures scaled down to texture_px",
    "longest_m": "scaled to size_m",
    "ground_gap_m": "placed on the ground",
}


def explain_verdict(report: gate.QualityReport) -> FailureReport:
    """Why a demanded profile does not hold, for the caller."""
    broken = [
        check for check in report.checks if check.severity == "error" and check.outcome in ("fail", "unknown")
    ]
    told = "; ".join(f"{check.name} is {check.shown}, allowed is {check.limit}" for check in broken[:3])
    return FailureReport(
        code="quality_gate_failed",
        message=f"The model does not hold the profile {report.profile!r}: {told}.",
        hint=f"{broken[0].hint} The artifact quality_report/report.json has all checks.",
        stage="quality_report",
    )


def as_check_result(report: gate.QualityReport, *, demanded: str | None) -> dg.AssetCheckResult:
    """A verdict as Dagster shows it: an error where the request demands the profile, else a warning."""
    severity = dg.AssetCheckSeverity.ERROR if report.profile == demanded else dg.AssetCheckSeverity.WARN
    return dg.AssetCheckResult(
        check_name=report.profile,
        passed=report.verdict != "FAIL",
        severity=severity,
        metadata={"verdict": report.verdict, "checks": dg.MetadataValue.md(report.as_markdown())},
        description=report.summary,
    )


@model_asset(
    deps=[web_glb, usdz_export, lods, model_preview, turntable, further_formats, quality_report],
    kinds={"python"},
    description="All that a shop needs in one ZIP: models, pictures, a page, a manifest with every hash.",
)
def bundle(
    context: dg.AssetExecutionContext,
    request_run: RequestRun,
    stage_files: StageFiles,
    glb_export: Path,
) -> dg.MaterializeResult:
    """Pack what was published; then open the ZIP again and compare every hash."""
    with request_run.stage(context) as run:
        wanted = delivery_of(run.job)
        facts = stage_files.facts(run, "glb_export") or {}
        path = scratch_file(run, "bundle", "bundle.zip")
        made = build_bundle(
            list(collect_files(run, stage_files)),
            path,
            text=describe_bundle(run.job, origin_of(glb_export.read_bytes()), facts),
            report=read_report(run, stage_files, wanted.profile or WEB),
            compression=wanted.web_codec,
        )
        wrong = check_bundle(path)
        if wrong:
            raise BrokenModelOutput(f"The bundle is not whole: {wrong[0]}", code="broken_bundle")
        numbers = {"files": len(made.manifest["files"]), "size": made.bytes}
        return dg.MaterializeResult(
            value=LocalFile(
                path=path, content_type="application/zip", type=ArtifactType.EXPORT, metadata=numbers
            ),
            metadata={**numbers, "manifest": dg.MetadataValue.json(made.manifest)},
        )


ROLE_OF_FILE = {
    "glb_export/model.glb": "glb",
    "web_glb/web.glb": "web_glb",
    "usdz_export/model.usdz": "usdz",
    "model_preview/poster.png": "poster",
    "model_preview/thumbnail.png": "thumbnail",
    "turntable/turntable.mp4": "turntable_mp4",
    "turntable/turntable.webp": "turntable_webp",
    "turntable/contact-sheet.png": "contact_sheet",
    "further_formats/model.stl": "stl",
    "further_formats/model.ply": "ply",
    "further_formats/model.3mf": "3mf",
    "further_formats/model-obj.zip": "obj",
    "further_formats/model-gltf.zip": "gltf",
}


def collect_files(run: RunGuard, stage_files: StageFiles) -> Iterator[BundleFile]:
    """The published files of this request, with what each is for."""
    table = (stage_files.facts(run, "lods", LEVELS) or {}).get("levels", [])
    levels = {f"lod-{level['level']}.glb" for level in table}  # an earlier attempt may have left others
    for asset, name in stage_files.list_files(run, BUNDLED):
        role = "lod" if name in levels else ROLE_OF_FILE.get(f"{asset}/{name}")
        if role is None:
            continue  # tables, which the manifest and the report tell too
        size_px = (PLAN.size_px, PLAN.size_px) if name.endswith(".mp4") else None
        yield BundleFile(
            name=name, role=role, content=stage_files.fetch(run, asset, name=name), size_px=size_px
        )


def describe_bundle(job: JobInput, origin: dict[str, Any], facts: dict[str, Any]) -> BundleText:
    """What the bundle says of itself; a prompt is a stranger's text, which is escaped where it is shown."""
    title = job.prompt or f"3D model {job.job_id}"
    return BundleText(
        title=title,
        alt=f"3D model: {job.prompt}" if job.prompt else "3D model",
        licence=str(origin.get("licence") or shipped_model(job.model_id).licence.get("name", "")),
        model={name: facts.get(name) for name in ("vertices", "faces", "watertight", "extents_m")},
        provenance=origin,
    )


def read_report(run: RunGuard, stage_files: StageFiles, profile: str) -> gate.QualityReport:
    """The verdict of one profile, as the report that was published has it."""
    content = json.loads(stage_files.fetch(run, "quality_report").read_bytes())
    return gate.report_of(content["profiles"][profile])


@model_asset(
    deps=[glb_export, model_preview, bundle],
    kinds={"postgres"},
    dagster_type=dg.Nothing,
    description="The end of the request: all its files are published and its caller can fetch them.",
)
def delivery(context: dg.AssetExecutionContext, request_run: RequestRun) -> dg.MaterializeResult:
    """Close the request as succeeded."""
    with request_run.stage(context) as run:
        facts: dict[str, Any] = {
            "attempt": run.job.attempt,
            "delivers": run.owns_request,
            "request": str(run.job.job_id),
        }
    run.succeed()  # after the stage: a finished request takes no more reports
    return dg.MaterializeResult(metadata=facts)
