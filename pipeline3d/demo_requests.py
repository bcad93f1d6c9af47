"""What the demo asks of each kind of model, so that every ready one can be tried with one command.

A photo is uploaded; a text is sent; a product's photo is served from this machine while it is asked for;
another mesh, or an export, is made of an earlier job's result, which is made first where there is none.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from pipeline3d.client import Job, Model, Pipeline3dClient
from pipeline3d.errors import InvalidParameters, ModelNotReady, UnknownModel
from pipeline3d.values import JobState, Kind

SAMPLE_PROMPT = "a red mug"
PHOTO_HOST = "127.0.0.1"
"""Where a product's photo is served for the demo; the photo fetcher has to be told that it may go there."""
PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
MAKES_SCENES = "triposr-v1"
MAKES_MODELS = "inflate-v1"
EARLIER_JOBS = 100
Say = Callable[[str], None]
RunJob = Callable[[str, dict[str, Any]], Job]


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoRequest:
    """What is asked of a model, and what the files are called."""

    params: dict[str, Any]
    name: str
    prompt: str | None = None


def find_ready_model(client: Pipeline3dClient, model_id: str) -> Model:
    """The model as the API knows it. Raises UnknownModel, or ModelNotReady with the reason."""
    models = {model["id"]: model for model in client.models()}
    if model_id not in models:
        raise UnknownModel(f"There is no model {model_id!r}.", hint=f"There are {', '.join(sorted(models))}.")
    model = models[model_id]
    if not model["ready"]:
        raise ModelNotReady(
            model["not_ready_reason"] or f"{model_id} cannot run here.",
            code=model["not_ready_code"],
            hint=model["not_ready_hint"],
        )
    return model


@contextmanager
def prepare_request(
    client: Pipeline3dClient,
    model: Model,
    *,
    given: Path | None,
    prompt: str | None,
    sample: Callable[[], Path],
    run_first: RunJob,
    say: Say,
) -> Iterator[DemoRequest]:
    """What is asked, with what it needs in place until the block ends.

    `given` is the user's own file, `sample` draws a photo where there is none, `run_first` makes a job that
    is needed first.
    Raises InvalidParameters (`wrong_input`) for a file or text that the model does not take.
    """
    kind = Kind(model["kind"])
    if prompt is not None and kind is not Kind.TEXT_TO_3D:
        raise InvalidParameters(f"{model['id']} takes no text.", code="wrong_input", hint="Leave PROMPT out.")
    if kind is Kind.TEXT_TO_3D:
        if given is not None:
            raise InvalidParameters(
                f"{model['id']} takes a text (PROMPT).", code="wrong_input", hint="Leave INPUT out."
            )
        yield DemoRequest(params={}, name="text", prompt=prompt or SAMPLE_PROMPT)
    elif kind is Kind.IMAGE_TO_3D:
        photo = _require_picture(model, given or sample())
        yield DemoRequest(params={"input_path": _upload(client, photo, say)}, name=photo.stem)
    elif kind is Kind.PRODUCT_TO_3D:
        photo = _require_picture(model, given or sample())
        with serving(photo) as address:
            say(f"serving   {photo} at {address}")
            product = {"shop": "demo.example", "product_id": photo.stem, "image_urls": [address]}
            yield DemoRequest(params=product, name=photo.stem)
    elif kind is Kind.SCENE_TO_3D:
        earlier = find_earlier(client, "scene_code")
        if earlier is None:
            find_ready_model(client, MAKES_SCENES)
            earlier = _run_on_sample(client, MAKES_SCENES, sample, run_first, say)
        yield DemoRequest(params={"source_job_id": earlier}, name="scene")
    elif kind is Kind.EXPORT_MODEL:
        yield _export(client, given, sample, run_first, say)
    else:
        raise InvalidParameters(
            f"{model['id']} makes nothing.", code="wrong_input", hint="Use `pipeline3d probe` for it."
        )


def find_earlier(client: Pipeline3dClient, asset: str) -> str | None:
    """The newest of one's jobs that succeeded and has a file of that stage."""
    for job in client.list_jobs(limit=EARLIER_JOBS):
        if job["status"] == JobState.SUCCEEDED and any(file["asset"] == asset for file in job["artifacts"]):
            return str(job["id"])
    return None


@contextmanager
def serving(file: Path) -> Iterator[str]:
    """The address of a file, served over HTTP on this machine until the block ends."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the demo prints what matters."""

    folder = file.resolve().parent
    with ThreadingHTTPServer((PHOTO_HOST, 0), partial(Handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://{PHOTO_HOST}:{server.server_address[1]}/{file.name}"
        finally:
            server.shutdown()
            thread.join()


def _export(
    client: Pipeline3dClient, given: Path | None, sample: Callable[[], Path], run_first: RunJob, say: Say
) -> DemoRequest:
    formats = {"formats": ["obj", "stl", "ply", "3mf"]}
    if given is not None:
        return DemoRequest(params={"input_path": _upload(client, given, say), **formats}, name=given.stem)
    earlier = find_earlier(client, "glb_export")
    if earlier is None:
        earlier = _run_on_sample(client, MAKES_MODELS, sample, run_first, say)
    return DemoRequest(params={"source_job_id": earlier, **formats}, name="export")


def _run_on_sample(
    client: Pipeline3dClient, model_id: str, sample: Callable[[], Path], run_first: RunJob, say: Say
) -> str:
    say(f"first     {model_id} has to make something of the sample photo")
    params = {"input_path": _upload(client, sample(), say), "delivers": "model"}
    return str(run_first(model_id, params)["id"])


def _upload(client: Pipeline3dClient, path: Path, say: Say) -> str:
    key = client.upload(path)
    say(f"uploaded  {path} as {key}")
    return key


def _require_picture(model: Model, path: Path) -> Path:
    if path.suffix.lower() not in PICTURES:
        raise InvalidParameters(
            f"{model['id']} takes a photo, and {path.name} is none.",
            code="wrong_input",
            hint="Give INPUT=path/to/photo.jpg.",
        )
    return path
