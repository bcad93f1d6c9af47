"""The wire forms of the image job system: the payload of each of its queues, and the result of an export."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from pipeline3d.api.bodies import MAX_PROMPT_LENGTH, Text

Address = Annotated[Text, Field(min_length=8, max_length=2048, examples=["https://cdn.example.com/a.png"])]
Id = Annotated[Text, Field(min_length=1, max_length=200)]
Prompt = Annotated[Text, Field(min_length=1, max_length=MAX_PROMPT_LENGTH)]
PictureFormat = Literal["png", "jpg", "jpeg", "webp"]
Pixels = Annotated[int, Field(ge=64, le=4096)]
BlendMode = Literal[
    "over",
    "add",
    "color-burn",
    "color-dodge",
    "darken",
    "difference",
    "exclusion",
    "hard-light",
    "lighten",
    "multiply",
    "overlay",
    "screen",
    "soft-light",
]
Style = Literal[
    "moderne",
    "vintage",
    "minimaliste",
    "colore",
    "professionnel",
    "futuriste",
    "organique",
    "geometrique",
]


class _Form(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class ImageGeneration(_Form):
    """Queue `image-generation`."""

    prompt: Prompt
    style: Style = "professionnel"
    dimensions: Annotated[str, Field(pattern=r"^[1-9][0-9]{1,3}x[1-9][0-9]{1,3}$")] = "1024x1024"
    quality: Literal["standard", "hd"] = "standard"
    user_id: Id
    design_id: Id


class ImageUpscale(_Form):
    """Queue `image-upscale`, which its handbook calls `upscale`."""

    image_url: Address
    design_id: Id
    user_id: Id
    scale: Annotated[float, Field(ge=1, le=4, allow_inf_nan=False)] = 2
    format: PictureFormat = "png"


class TextureBlend(_Form):
    """Queue `texture-blend`."""

    base_image_url: Address
    overlay_image_url: Address
    user_id: Id
    design_id: Id
    opacity: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.65
    blend_mode: BlendMode = "over"
    format: PictureFormat = "png"


class ArPreview(_Form):
    """Queue `ar-preview`."""

    base_image_url: Address
    overlay_image_url: Address | None = None
    user_id: Id
    design_id: Id
    width: Pixels = 1280
    height: Pixels = 720


class RenderOptions(_Form):
    """What a design render makes besides the texture."""

    generate_normal_map: bool = False
    generate_roughness_map: bool = False
    quality: Literal["standard", "hd"] = "standard"
    size: Literal[512, 1024, 2048] = 1024


class DesignRender(_Form):
    """Queue `design-render`."""

    design_id: Id
    prompt: Prompt
    mask_url: Address | None = None
    base_texture_url: Address
    render_options: RenderOptions = Field(default_factory=RenderOptions)
    tenant_id: Id
    user_id: Id | None = None


class Optimization(_Form):
    """How a GLB is made small; an object for `draco` counts as true."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid")

    draco: bool | dict[str, Any] = False
    texture_size: Literal[256, 512, 1024, 2048, 4096] | None = None


class ExportGltf(_Form):
    """Queue `export-gltf`. `modelUrl` is the id of a job of one's own, its address here, or an upload."""

    design_id: Id
    model_url: Annotated[Text, Field(min_length=1, max_length=2048)]
    format: Literal["gltf", "glb"]
    optimization: Optimization | None = None


class ImageJobCreated(_Form):
    """The job, to be asked for under `Location`."""

    job_id: UUID
    queue: str
    status: Literal["queued", "active", "completed", "failed"]


class ExportMetadata(_Form):
    """What an export was asked for, and what came of it."""

    design_id: str | None
    format: str
    optimization: dict[str, Any] | None
    exported_at: datetime | None
    source_format: str | None


class ExportResult(_Form):
    """An export as it stands. `success` is null until it has ended; `size` in bytes."""

    job_id: UUID
    queue: Literal["export-gltf"] = "export-gltf"
    status: Literal["queued", "active", "completed", "failed"]
    success: bool | None
    model_url: str | None
    format: str
    size: int | None
    metadata: ExportMetadata
    error: str | None
