"""Pictures of the delivered model: thumbnail, transparent poster, contact sheet and turntable."""

from pathlib import Path
from typing import Any

import dagster as dg

from pipeline3d.defs.assets.family import model_asset, scratch_file
from pipeline3d.defs.delivering import DeliverySettings, delivery_of
from pipeline3d.geometry import clips, glb, posters, rendering, turntables
from pipeline3d.geometry.cameras import Camera
from pipeline3d.geometry.staging import Background
from pipeline3d.imaging import framing
from pipeline3d.values import ArtifactType
from resources.drawing import Drawing
from resources.preview_links import PreviewLinks
from resources.request_run import RequestRun
from resources.stage_files import LocalFile, StageFiles

SIDE_PX = 512
PLAN = turntables.PLANS["small"]


@model_asset(kinds={"image"}, description="A thumbnail of the delivered model, and a transparent poster.")
def model_preview(
    context: dg.AssetExecutionContext,
    request_run: RequestRun,
    preview_links: PreviewLinks,
    stage_files: StageFiles,
    drawing: Drawing,
    glb_export: Path,
) -> dg.MaterializeResult:
    """Render the model without a GPU."""
    with request_run.stage(context) as run:
        wanted = delivery_of(run.job)
        model = glb.decode_model(glb_export.read_bytes())
        poster = scratch_file(run, "model_preview", "poster.png")
        view = view_of(wanted)
        drawn = drawing.draw(lambda by: posters.render_poster(model, renderer=by, **view))
        poster.write_bytes(framing.encode_png(drawn))
        stage_files.publish(
            run,
            "model_preview",
            LocalFile(path=poster, content_type="image/png", type=ArtifactType.PREVIEW),
        )
        background = Background(upper=wanted.background_rgb)
        picture = drawing.draw(
            lambda by: rendering.render(model, size_px=SIDE_PX, background=background, renderer=by, **view)
        )[..., :3]
        path = scratch_file(run, "model_preview", "thumbnail.png")
        path.write_bytes(framing.encode_png(picture))
        link = preview_links.preview_url(run.job.job_id, "model_preview", "thumbnail.png")
        return dg.MaterializeResult(
            value=LocalFile(path=path, content_type="image/png", type=ArtifactType.PREVIEW),
            metadata={
                "preview": dg.MetadataValue.md(f"![preview]({link})"),
                "width_px": int(picture.shape[1]),
                "height_px": int(picture.shape[0]),
            },
        )


@model_asset(
    kinds={"image"}, description="The model turning round once, as WebP and MP4, and from all sides."
)
def turntable(
    context: dg.AssetExecutionContext,
    request_run: RequestRun,
    preview_links: PreviewLinks,
    stage_files: StageFiles,
    drawing: Drawing,
    glb_export: Path,
) -> dg.MaterializeResult:
    """Render the frames once; encode them twice."""
    with request_run.stage(context) as run:
        wanted = delivery_of(run.job)
        model = glb.decode_model(glb_export.read_bytes())
        view = {**view_of(wanted), "background": Background(upper=wanted.background_rgb)}
        frames = drawing.draw(
            lambda by: list(
                turntables.render_turntable(
                    model, frames=PLAN.frames, size_px=PLAN.size_px, renderer=by, **view
                )
            )
        )
        sheet = scratch_file(run, "turntable", "contact-sheet.png")
        views = drawing.draw(lambda by: posters.contact_sheet(model, renderer=by, **view))
        sheet.write_bytes(framing.encode_png(views))
        movie = scratch_file(run, "turntable", "turntable.mp4")
        clips.write_mp4(frames, movie, fps=PLAN.fps)
        for file, content_type in ((sheet, "image/png"), (movie, "video/mp4")):
            stage_files.publish(
                run,
                "turntable",
                LocalFile(path=file, content_type=content_type, type=ArtifactType.PREVIEW),
            )
        path = scratch_file(run, "turntable", "turntable.webp")
        clips.write_webp(frames, path, fps=PLAN.fps)
        link = preview_links.preview_url(run.job.job_id, "turntable", "turntable.webp")
        return dg.MaterializeResult(
            value=LocalFile(path=path, content_type="image/webp", type=ArtifactType.PREVIEW),
            metadata={
                "preview": dg.MetadataValue.md(f"![turntable]({link})"),
                "frames": PLAN.frames,
                "side_px": PLAN.size_px,
            },
        )


def view_of(wanted: DeliverySettings) -> dict[str, Any]:
    """Where the camera stands and which light there is."""
    return {
        "camera": Camera(azimuth_deg=wanted.camera_azimuth, elevation_deg=wanted.camera_elevation),
        "light": wanted.light,
    }
