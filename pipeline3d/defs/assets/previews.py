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
from resources.preview_links import PreviewLinks
from resources.request_run import RequestRun
from resources.stage_files import LocalFile, StageFiles

SIDE_PX = 512
TURNTABLE_PX, TURNTABLE_FRAMES, FRAMES_PER_S = 384, 24, 12


@model_asset(kinds={"image"}, description="A thumbnail of the delivered model, and a transparent poster.")
def model_preview(
    context: dg.AssetExecutionContext,
    request_run: RequestRun,
    preview_links: PreviewLinks,
    stage_files: StageFiles,
    glb_export: Path,
) -> dg.MaterializeResult:
    """Render the model without a GPU."""
    with request_run.stage(context) as run:
        wanted = delivery_of(run.job)
        model = glb.decode_model(glb_export.read_bytes())
        poster = scratch_file(run, "model_preview", "poster.png")
        poster.write_bytes(framing.encode_png(posters.render_poster(model, **view_of(wanted))))
        stage_files.publish(
            run,
            "model_preview",
            LocalFile(path=poster, content_type="image/png", type=ArtifactType.PREVIEW),
        )
        picture = rendering.render(
            model,
            size_px=SIDE_PX,
            background=Background(upper=wanted.background_rgb),
            **view_of(wanted),
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
    glb_export: Path,
) -> dg.MaterializeResult:
    """Render the frames once; encode them twice."""
    with request_run.stage(context) as run:
        wanted = delivery_of(run.job)
        model = glb.decode_model(glb_export.read_bytes())
        background = Background(upper=wanted.background_rgb)
        frames = list(
            turntables.render_turntable(
                model,
                frames=TURNTABLE_FRAMES,
                size_px=TURNTABLE_PX,
                background=background,
                **view_of(wanted),
            )
        )
        sheet = scratch_file(run, "turntable", "contact-sheet.png")
        sheet.write_bytes(
            framing.encode_png(posters.contact_sheet(model, background=background, **view_of(wanted)))
        )
        movie = scratch_file(run, "turntable", "turntable.mp4")
        clips.write_mp4(frames, movie, fps=FRAMES_PER_S)
        for file, content_type in ((sheet, "image/png"), (movie, "video/mp4")):
            stage_files.publish(
                run,
                "turntable",
                LocalFile(path=file, content_type=content_type, type=ArtifactType.PREVIEW),
            )
        path = scratch_file(run, "turntable", "turntable.webp")
        clips.write_webp(frames, path, fps=FRAMES_PER_S)
        link = preview_links.preview_url(run.job.job_id, "turntable", "turntable.webp")
        return dg.MaterializeResult(
            value=LocalFile(path=path, content_type="image/webp", type=ArtifactType.PREVIEW),
            metadata={
                "preview": dg.MetadataValue.md(f"![turntable]({link})"),
                "frames": TURNTABLE_FRAMES,
                "side_px": TURNTABLE_PX,
            },
        )


def view_of(wanted: DeliverySettings) -> dict[str, Any]:
    """Where the camera stands, which light there is, and what draws."""
    return {
        "camera": Camera(azimuth_deg=wanted.camera_azimuth, elevation_deg=wanted.camera_elevation),
        "light": wanted.light,
        "renderer": "auto",  # OpenGL where it is installed and works
    }
