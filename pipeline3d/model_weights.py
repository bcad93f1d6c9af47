"""Fetches a model's weights for a user who asked for them: resumed, verified, and never half a file.

A file is written under another name and gets its own only when it is whole and its sha256 is the known one
(where one is known), so that a model never loads what was cut off. Nothing is fetched unasked.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx

from pipeline3d.errors import ModelNotReady, RequestError, TransientFailure
from pipeline3d.requests.catalogue import CatalogueModel, Weights, WeightsFile

TIMEOUT_S = 30.0
SPARE_BYTES = 1 << 30
"""Left free on the disk: a full one stops everything else on the host."""

Report = Callable[[str, int, int | None], None]
"""Called with a file's name, the bytes that are there and, where it is known, how many there will be."""


def fetch_weights(
    model: CatalogueModel,
    models_dir: Path,
    *,
    accept_licence: bool,
    environment: Mapping[str, str] = os.environ,
    report: Report = lambda name, done, whole: None,
) -> list[Path]:
    """Bring every file of a model's weights; those that are there already are left as they are.

    Raises RequestError (nothing to fetch, licence not accepted), ModelNotReady (refused, wrong content, no
    room) and TransientFailure (the network; what came so far is kept for the next time).
    """
    weights = require_weights(model)
    if model.licence.get("must_be_accepted") and not accept_licence:
        conditions = " ".join(model.licence.get("conditions", []))
        raise RequestError(
            f"{model.name} is under the {model.licence['name']}: {conditions}",
            code="licence_not_accepted",
            hint=f"Read {model.licence['link']}, then repeat with --accept-licence.",
        )
    folder = models_dir / weights.directory
    folder.mkdir(parents=True, exist_ok=True)
    token = environment.get(weights.token_variable or "")
    headers = {"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {token}"} if token else {})
    with httpx.Client(headers=headers, timeout=TIMEOUT_S, follow_redirects=True) as client:
        return [_fetch(client, file, folder, weights, report) for file in weights.files]


def require_weights(model: CatalogueModel) -> Weights:
    """The weights of a model that has some to fetch."""
    if model.weights is None:
        raise RequestError(f"{model.id} needs no weights.", code="nothing_to_fetch")
    if not model.weights.files:
        raise RequestError(
            f"The weights of {model.id} cannot be fetched by this command.",
            code="nothing_to_fetch",
            hint=model.weights.note,
        )
    return model.weights


def _fetch(client: httpx.Client, file: WeightsFile, folder: Path, weights: Weights, report: Report) -> Path:
    path = folder / file.name
    if path.exists():
        report(file.name, path.stat().st_size, path.stat().st_size)
        return path
    part = folder / f".{file.name}.part"
    _download(client, file, part, weights, report)
    _verify(part, file)
    part.replace(path)
    return path


def _download(client: httpx.Client, file: WeightsFile, part: Path, weights: Weights, report: Report) -> None:
    done = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={done}-"} if done else {}
    try:
        with client.stream("GET", file.url, headers=headers) as response:
            if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                return  # it was whole already; the hash decides
            _require_answer(response, file, weights)
            if response.status_code != httpx.codes.PARTIAL_CONTENT:
                done = 0  # the server begins again
            length = response.headers.get("content-length")
            whole = done + int(length) if length else None
            _require_room(part.parent, (whole or 0) - done, file)
            with part.open("ab" if done else "wb") as out:
                for chunk in response.iter_raw():
                    out.write(chunk)
                    done += len(chunk)
                    report(file.name, done, whole)
                out.flush()
                os.fsync(out.fileno())
    except httpx.HTTPError as error:
        raise TransientFailure(
            f"{file.name} stopped at {done:,} bytes ({type(error).__name__}).",
            code="download_interrupted",
            hint="Run the command again: it goes on where it stopped.",
        ) from error
    if whole is not None and done < whole:
        raise TransientFailure(
            f"{file.name} ended at {done:,} of {whole:,} bytes.",
            code="download_interrupted",
            hint="Run the command again: it goes on where it stopped.",
        )


def _require_answer(response: httpx.Response, file: WeightsFile, weights: Weights) -> None:
    if response.is_success:
        return
    if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        hint = weights.note or "Accept the model's terms where it is published."
        raise ModelNotReady(f"{file.url} is not given to you.", code="weights_gated", hint=hint)
    code = response.status_code
    if code >= httpx.codes.INTERNAL_SERVER_ERROR or code == httpx.codes.TOO_MANY_REQUESTS:
        raise TransientFailure(f"{file.url} answers {code}.", code="download_interrupted")
    raise ModelNotReady(f"{file.url} answers {code}.", code="weights_missing", hint=weights.note)


def _require_room(folder: Path, wanted: int, file: WeightsFile) -> None:
    free = shutil.disk_usage(folder).free
    if free < wanted + SPARE_BYTES:
        raise ModelNotReady(
            f"{file.name} needs {wanted:,} bytes and {folder} has {free:,} free.",
            code="disk_full",
            hint="Make room, or set PIPELINE3D_MODELS_DIR to another disk.",
        )


def _verify(part: Path, file: WeightsFile) -> None:
    if file.sha256 is None:
        return
    with part.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != file.sha256:
        part.unlink()
        raise ModelNotReady(
            f"{file.name} has sha256 {found}, not {file.sha256}: it was removed.",
            code="weights_invalid",
            hint="Run the command again; if it stays so, the published file was changed.",
        )
