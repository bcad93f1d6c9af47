"""Frozen values that several rooms share: states, kinds, stages, claims, progress, artifacts.

Pure data, with no behaviour beyond construction, comparison and look-up. Nothing here knows how a value is
stored, sent or computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any
from uuid import UUID


class JobState(StrEnum):
    """Where a request stands. A finished request never changes its state; a retry is a new attempt."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    CANCELING = "CANCELING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"


FINISHED_STATES = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELED, JobState.EXPIRED})


class ArtifactType(StrEnum):
    """What a stored object is to its request."""

    INPUT = "INPUT"
    INTERMEDIATE = "INTERMEDIATE"
    OUTPUT_MODEL = "OUTPUT_MODEL"
    EXPORT = "EXPORT"
    """The model in another form: compressed, USDZ, simplified, another format, or all of it in a bundle."""
    REPORT = "REPORT"
    PREVIEW = "PREVIEW"
    LOG = "LOG"


class EventType(StrEnum):
    """Severity of a line in a request's history."""

    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


class Role(StrEnum):
    """What a user is to the installation; `requests.permissions` says what each may do."""

    MEMBER = "member"
    ANALYST = "analyst"
    OPERATOR = "operator"
    ADMIN = "admin"


class Scope(StrEnum):
    """What a key or a session may do."""

    JOBS_READ = "jobs:read"
    JOBS_WRITE = "jobs:write"
    """Create, change, cancel and delete jobs, and upload for them."""
    SHARES_WRITE = "shares:write"
    WEBHOOKS_WRITE = "webhooks:write"
    """See and change webhooks: whoever may can send what jobs say to an address."""
    KEYS_WRITE = "keys:write"
    """See, make and revoke one's own keys, and sessions."""
    LINEAGE_READ = "lineage:read"
    """The read-only Dagster UI, where the requests of all users are seen."""
    OPS = "ops"
    """The Dagster UI, where runs are started and ended."""
    ADMIN = "admin"
    """Users, their limits, everybody's keys, the audit log."""


class Kind(StrEnum):
    """What is asked for. Each kind of `BUILT_KINDS` is a Dagster asset job, or two: see `Route`.

    A kind that is not built has models in the catalogue, which say so; nothing of it is ever stored or run.
    """

    IMAGE_TO_3D = "image_to_3d"
    TEXT_TO_3D = "text_to_3d"
    PRODUCT_TO_3D = "product_to_3d"
    """A product of a shop: its photos are fetched from their addresses, judged, and the best one is used."""
    SCENE_TO_3D = "scene_to_3d"
    """Another mesh of a scene code that an earlier request made: other cells, colours or textures."""
    EXPORT_MODEL = "export_model"
    """The model of an earlier request, or an uploaded one, in any set of formats; nothing is generated."""
    GENERATE_IMAGE = "generate_image"
    UPSCALE_IMAGE = "upscale_image"
    BLEND_TEXTURE = "blend_texture"
    AR_PREVIEW = "ar_preview"
    DESIGN_RENDER = "design_render"
    TRANSCRIBE = "transcribe"
    STORYBOARD = "storyboard"
    RENDER_VIDEO = "render_video"
    PROBE = "probe"
    """A request that makes nothing: shows that the way through the system is open, and how long it is."""


class Family(StrEnum):
    """A disjoint asset graph with its own dynamic partition set, once it has assets."""

    MODEL_REQUESTS = "model_requests"
    IMAGE_REQUESTS = "image_requests"
    MEDIA_REQUESTS = "media_requests"
    PROBE_REQUESTS = "probe_requests"


class Route(StrEnum):
    """The way of a request through the assets; each is the Dagster job of the same name.

    A kind has one, and a second one for the models that read their mesh from a scene code.
    """

    IMAGE_TO_3D = "image_to_3d"
    IMAGE_TO_3D_BY_SCENE = "image_to_3d_by_scene"
    TEXT_TO_3D = "text_to_3d"
    PRODUCT_TO_3D = "product_to_3d"
    PRODUCT_TO_3D_BY_SCENE = "product_to_3d_by_scene"
    SCENE_TO_3D = "scene_to_3d"
    EXPORT_MODEL = "export_model"
    PROBE = "probe"


BUILT_KINDS = frozenset(kind for kind in Kind if kind.value in set(Route))
"""The kinds that have a route: those that this version can run. Only they are dispatched."""

_CUT_OUT = ("source_image", "preprocessed_image")
FORMATS = "further_formats"
"""The stage that writes what `formats` of a request names."""
_BUNDLE = frozenset({"lods", "turntable", "usdz_export", "web_glb", "quality_report", "bundle"})
_DELIVERED = (
    *("repaired_mesh", "glb_export"),
    # what is made of the GLB alone: Dagster takes it in the order of the names
    *(FORMATS, "lods", "model_preview", "turntable", "usdz_export", "web_glb"),
    *("quality_report", "bundle", "delivery"),
)

STAGES_BY_ROUTE: dict[Route, tuple[str, ...]] = {
    Route.IMAGE_TO_3D: (*_CUT_OUT, "mesh", *_DELIVERED),
    Route.IMAGE_TO_3D_BY_SCENE: (*_CUT_OUT, "scene_code", "mesh", *_DELIVERED),
    Route.TEXT_TO_3D: ("prompt", "mesh", *_DELIVERED),
    Route.PRODUCT_TO_3D: ("product_photos", *_CUT_OUT, "mesh", *_DELIVERED),
    Route.PRODUCT_TO_3D_BY_SCENE: ("product_photos", *_CUT_OUT, "scene_code", "mesh", *_DELIVERED),
    Route.SCENE_TO_3D: ("source_scene", "mesh", *_DELIVERED),
    Route.EXPORT_MODEL: ("source_model", *_DELIVERED),
    Route.PROBE: ("probe_source", "probe_work", "probe_delivery"),
}
"""All stages of a route in the order in which they run; each is the asset of the same name."""

MODELS_WITH_SCENE_CODE = frozenset({"triposr-v1", "product-triposr-v1"})


class Delivers(StrEnum):
    """How far a request for a model goes: its parameter `delivers`."""

    MODEL = "model"
    """The GLB with its thumbnail and poster."""
    BUNDLE = "bundle"
    """What a shop publishes: besides, the web GLB, USDZ, levels of detail, a turntable, the quality report,
    and all of it in a ZIP."""


def route_of(kind: Kind, model_id: str) -> Route:
    """The way of a request of this kind to this model. `ValueError` for a kind that is not built."""
    by_scene = model_id in MODELS_WITH_SCENE_CODE
    return Route(f"{kind.value}_by_scene" if by_scene else kind.value)


def stages_of(kind: Kind, model_id: str, params: Mapping[str, Any]) -> tuple[str, ...]:
    """The stages of a request of this kind to this model, in order: of its route those that it asks for.

    A request of before there was a choice goes as far as the model. A kind that is not built has none.
    """
    if kind not in BUILT_KINDS:
        return ()
    # a profile judges all files, so that they must be there
    bundled = params.get("delivers") == Delivers.BUNDLE or params.get("profile") is not None
    return _choose_stages(route_of(kind, model_id), bundled, bool(params.get("formats")))


@lru_cache(maxsize=64)
def _choose_stages(route: Route, bundled: bool, converted: bool) -> tuple[str, ...]:
    left_out = (frozenset() if bundled else _BUNDLE) | (frozenset() if converted else {FORMATS})
    return tuple(stage for stage in STAGES_BY_ROUTE[route] if stage not in left_out)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A queued request that a dispatcher leased, and what it needs to start a run."""

    job_id: UUID
    attempt: int
    kind: Kind
    family: Family
    model_id: str
    user_id: UUID
    priority: int
    queue: str
    params: dict[str, Any] = field(default_factory=dict)
    turn: int = 0
    """How many requests of the same user are ahead of it: users take turns."""

    @property
    def run_key(self) -> str:
        """Names the one run that an attempt may have."""
        return f"{self.job_id}:{self.attempt}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A whole snapshot of how far a run is, so that a reader never has to add anything up."""

    percent: int
    stage: str
    stage_number: int
    stage_count: int
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureReport:
    """Why a request did not succeed, for programs (`code`) and for people (`message`, `hint`)."""

    code: str
    message: str
    stage: str | None = None
    hint: str | None = None
    retryable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """An object in the store, as it was verified when it was written. `size` in bytes.

    `metadata` is what was recorded with it.
    """

    key: str
    size: int
    sha256: str
    content_type: str
    metadata: dict[str, Any] = field(default_factory=dict)


NAMES_OF_FILES = frozenset({"input_path", "image_path", "image_urls"})
"""Parameters that are for nobody but the owner of a request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobInput:
    """What a run needs to know of its request."""

    job_id: UUID
    user_id: UUID
    model_id: str
    kind: Kind
    state: JobState
    attempt: int
    prompt: str | None
    params: dict[str, Any] = field(default_factory=dict)
    created_at: datetime | None = None
    run_id: str | None = None
    """The run that owns the request, or owned it last."""

    @property
    def shown_params(self) -> dict[str, Any]:
        """The parameters without those that name somebody's files: such an address may hold a secret."""
        return {name: value for name, value in self.params.items() if name not in NAMES_OF_FILES}
