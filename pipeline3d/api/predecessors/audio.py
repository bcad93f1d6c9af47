"""The music video system's worker: `/transcribe` and `/render`, for whoever has the `ASR_TOKEN`.

What it takes is checked in full. What it did is a pipeline of its own, so that the answer is the model's
reason why it cannot run.
"""

from __future__ import annotations

import hmac
from typing import Annotated, Literal

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from pipeline3d.api.bodies import Text
from pipeline3d.api.predecessors.errors import answering_errors_with
from pipeline3d.api.predecessors.submitting import UNBUILT, refuse_unbuilt
from pipeline3d.api.routing import Router
from pipeline3d.api.services import AppServices
from pipeline3d.errors import ModelNotReady, NotAuthenticated
from pipeline3d.outbound.addresses import check_address

_bearer = HTTPBearer(auto_error=False, description="The installation's ASR_TOKEN.")

Address = Annotated[Text, Field(min_length=8, max_length=2048, examples=["https://cdn.example.com/song.mp3"])]


class _Form(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class TranscribeBody(_Form):
    """A recording to write down."""

    audio_url: Address
    language: Annotated[str, Field(pattern=r"^([a-z]{2}|auto)$")] = "pt"
    model: Annotated[str, Field(pattern=r"^[a-z0-9.-]{1,40}$", description="Size of Whisper.")] = "small"


class SceneAsset(_Form):
    """A picture or clip of a video. `duration` in seconds."""

    id: Annotated[Text, Field(min_length=1, max_length=200)]
    url: Address
    type: Literal["image", "video"]
    duration: Annotated[float, Field(ge=0.1, le=600, allow_inf_nan=False)]


class RenderBody(_Form):
    """Pictures and clips to make a video of, to a recording."""

    render_id: Annotated[Text, Field(min_length=1, max_length=200)]
    audio_url: Address
    assets: Annotated[list[SceneAsset], Field(min_length=1, max_length=200)]
    format: Literal["vertical", "horizontal", "square"]
    callback_url: Address | None = None


# A coroutine although it awaits nothing: FastAPI sends any other dependency through a thread.
async def require_asr_token(
    services: AppServices, sent: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> None:
    """Refuse whoever has not the token: 401. Without one in the settings nobody has: 501."""
    token = services.settings.asr_token
    if token is None:
        raise ModelNotReady(
            "This installation takes no calls of the audio worker's contract: ASR_TOKEN is not set.",
            code="asr_token_missing",
            hint="Set ASR_TOKEN, and send it as Authorization: Bearer.",
        )
    if sent is None or not hmac.compare_digest(sent.credentials.encode(), token.get_secret_value().encode()):
        raise NotAuthenticated(
            "Authorization: Bearer with the ASR_TOKEN is missing or wrong.",
            code="asr_token_wrong",
            hint="Send the token that the installation has as ASR_TOKEN.",
        )


router = Router(
    tags=["earlier: audio and video"],
    dependencies=[Depends(require_asr_token)],
    route_class=answering_errors_with(lambda problem: {}, challenge="Bearer"),
)


@router.post("/transcribe", **UNBUILT)
async def transcribe(body: TranscribeBody, services: AppServices) -> None:
    """Write down a recording. Not built yet."""
    check_address(body.audio_url)
    params = {"audio_url": body.audio_url, "language": body.language}
    raise await refuse_unbuilt(services, f"whisper-{body.model}", params)


@router.post("/render", **UNBUILT)
async def render(body: RenderBody, services: AppServices) -> None:
    """Make a video. Not built yet."""
    for address in (body.audio_url, body.callback_url, *(asset.url for asset in body.assets)):
        if address is not None:
            check_address(address)
    params = {
        "audio_url": body.audio_url,
        "assets": [asset.model_dump() for asset in body.assets],
        "format": body.format,
    }
    raise await refuse_unbuilt(services, "video-v1", params)
