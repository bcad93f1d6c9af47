"""A product's photos: fetched from their addresses, judged, and the best one chosen."""

import json
from typing import Any

import dagster as dg

from pipeline3d.defs.assets.family import cut_out_object, model_asset, scratch_file
from pipeline3d.errors import UnusableInput
from pipeline3d.imaging import decoding, photo_checks
from pipeline3d.outbound.addresses import show_address
from pipeline3d.values import JobInput
from resources.model_tools import ModelTools
from resources.photo_fetching import PhotoFetching
from resources.request_run import RequestRun
from resources.run_guard import RunGuard
from resources.stage_files import LocalFile, StageFiles

STAGE = "product_photos"


@model_asset(
    kinds={"image"}, description="The product's photos as the shop shows them; the best one goes on."
)
def product_photos(
    context: dg.AssetExecutionContext,
    request_run: RequestRun,
    stage_files: StageFiles,
    photo_fetching: PhotoFetching,
    model_tools: ModelTools,
) -> dg.MaterializeResult:
    """Fetch and judge every photo, keep all of them, and hand on the best one with the reasons."""
    with request_run.stage(context) as run:
        addresses = list(run.job.params["image_urls"])
        photos = [_fetch(run, photo_fetching, number, addresses) for number in range(len(addresses))]
        verdicts = [_judge(photo, run.job, model_tools) for photo in photos]
        described = [_describe(verdict) for verdict in verdicts]
        report = [{"url": url, **said} for url, said in zip(addresses, described, strict=True)]
        _publish_report(run, stage_files, report)
        best = photo_checks.choose_photo(verdicts)
        why = photo_checks.explain_choice(verdicts, best)
        chosen = photos[best]
        assert isinstance(chosen, bytes)
        for number, photo in enumerate(photos):
            if isinstance(photo, bytes) and number != best:
                stage_files.publish(run, STAGE, _photo_file(run, number, photo))
        return dg.MaterializeResult(
            value=_photo_file(run, best, chosen),
            metadata={
                "chosen": best + 1,
                "photos": len(photos),
                "why": why,
                # everybody who may look at Dagster reads it: an address may hold a signature
                "judged": dg.MetadataValue.json(
                    [
                        {"url": show_address(url), **said}
                        for url, said in zip(addresses, described, strict=True)
                    ]
                ),
            },
        )


def _fetch(
    run: RunGuard, photo_fetching: PhotoFetching, number: int, addresses: list[str]
) -> bytes | UnusableInput:
    """The bytes of one photo, or why it cannot be used: the others may be enough."""
    run.report(STAGE, number / len(addresses), f"photo {number + 1} of {len(addresses)}")
    try:
        return photo_fetching.fetch(addresses[number]).data
    except UnusableInput as refusal:
        return refusal


def _judge(photo: bytes | UnusableInput, job: JobInput, tools: ModelTools) -> photo_checks.PhotoVerdict:
    if isinstance(photo, UnusableInput):
        return photo_checks.judge_photo(None, None, refusal=photo)
    try:
        picture = decoding.decode_picture(photo)
    except UnusableInput as refusal:
        return photo_checks.judge_photo(None, None, refusal=refusal)
    try:
        return photo_checks.judge_photo(picture, cut_out_object(picture, job, tools), refusal=None)
    except UnusableInput as refusal:
        return photo_checks.judge_photo(picture, None, refusal=refusal)


def _describe(verdict: photo_checks.PhotoVerdict) -> dict[str, Any]:
    findings = [
        {"code": finding.code, "severity": finding.severity, "message": finding.message}
        for finding in verdict.findings
    ]
    return {"usable": verdict.usable, "score": round(verdict.score, 3), "findings": findings}


def _publish_report(run: RunGuard, stage_files: StageFiles, report: list[dict[str, Any]]) -> None:
    path = scratch_file(run, STAGE, "photos.json")
    path.write_text(json.dumps(report, ensure_ascii=False, indent=1), encoding="utf-8")
    stage_files.publish(run, STAGE, LocalFile(path=path, content_type="application/json"))


def _photo_file(run: RunGuard, number: int, data: bytes) -> LocalFile:
    path = scratch_file(run, STAGE, f"photo-{number + 1}.bin")
    path.write_bytes(data)
    return LocalFile(path=path, content_type="application/octet-stream")
