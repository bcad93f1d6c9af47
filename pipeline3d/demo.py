"""One request of any model through the whole system: a caller of the HTTP API with a progress bar.

Speaks only HTTP to the installation; what it downloads it checks with the geometry library.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from rich.console import Console

from pipeline3d.client import Job, Pipeline3dClient, ProgressBar
from pipeline3d.demo_requests import find_ready_model, prepare_request
from pipeline3d.errors import BrokenModelOutput
from pipeline3d.values import JobState, Kind, stages_of

LONGEST_WAIT_S = 300.0
PUBLISHED = {
    "web.glb": ".web.glb",
    "model.usdz": ".usdz",
    "poster.png": ".poster.png",
    "turntable.webp": ".webp",
    "bundle.zip": ".zip",
}
"""Artifacts that the demo fetches besides, and how their files end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoResult:
    """What came out: the job as the API describes it, and the files that were fetched."""

    job: Job
    model: Path | None
    preview: Path | None
    others: tuple[Path, ...] = ()


def run_demo(
    client: Pipeline3dClient,
    given: Path | None,
    prompt: str | None,
    out: Path,
    *,
    model_id: str,
    sample: Callable[[], Path],
    console: Console,
) -> DemoResult:
    """Ask for what the model takes, watch, fetch, check.

    A job that fails is a result too: look at `job`.
    """

    def ask(model_id: str, params: dict[str, Any], prompt: str | None = None) -> Job:
        job = client.create_job(model_id, params, prompt=prompt)
        console.print(f"job       {job['id']} for {model_id}")
        return watch(client, job["id"], console)

    model = find_ready_model(client, model_id)
    with prepare_request(
        client, model, given=given, prompt=prompt, sample=sample, run_first=ask, say=console.print
    ) as request:
        name, job = request.name, ask(model_id, request.params, request.prompt)
    if job["status"] != JobState.SUCCEEDED:
        return DemoResult(job=job, model=None, preview=None)
    out.mkdir(parents=True, exist_ok=True)
    fetched = client.download(job["id"], out / f"{name}.glb")
    preview = client.download(job["id"], out / f"{name}.png", name="thumbnail.png")
    check_model(fetched)
    others = tuple(fetch_others(client, job, out, name))
    return DemoResult(job=job, model=fetched, preview=preview, others=others)


def fetch_others(client: Pipeline3dClient, job: Job, out: Path, name: str) -> Iterator[Path]:
    """What a shop publishes, where the request made it."""
    made = {artifact["name"] for artifact in job["artifacts"]}
    for artifact, ending in PUBLISHED.items():
        if artifact in made:
            yield client.download(job["id"], out / f"{name}{ending}", name=artifact)


def watch(client: Pipeline3dClient, job_id: UUID | str, console: Console) -> Job:
    """Show the stages until the job is finished."""
    with ProgressBar(console) as bar:
        return client.wait(job_id, on_progress=bar, timeout_s=LONGEST_WAIT_S)


def check_model(path: Path) -> None:
    """Read the file back as a stranger would. Raises BrokenModelOutput."""
    from pipeline3d.geometry import checks, glb

    surface = glb.decode_model(path.read_bytes()).surface()
    failed = [c for c in checks.check_mesh(surface) if not c.passed and c.severity == "error"]
    if failed:
        raise BrokenModelOutput("; ".join(f"{check.name}: {check.value}" for check in failed))


def print_summary(result: DemoResult, console: Console, *, dagster_url: str, seconds: float) -> None:
    """The numbers that a newcomer wants to see, or why there is no model."""
    job = result.job
    if result.model is None or result.preview is None:
        console.print(f"\n[bold red]{job['status']}[/]")
        if error := job["error"]:
            console.print(f"{error['code']} in {error['stage']}: {error['message']}\n{error['hint'] or ''}")
        return
    artifact = next(item for item in job["artifacts"] if item["type"] == "OUTPUT_MODEL")
    facts = artifact.get("metadata") or {}
    stages = {
        **dict.fromkeys(stages_of(Kind(job["kind"]), job["model_id"], job["params"]), 0.0),
        **job["stage_seconds"],
    }
    lines = {
        "model": result.model,
        "preview": result.preview,
        "published": ", ".join(str(path) for path in result.others) or "nothing more was asked for",
        "faces": f"{facts.get('faces', 0):,} ({facts.get('vertices', 0):,} vertices)",
        "watertight": "yes" if facts.get("watertight") else "no",
        "size": f"{artifact['size'] / 1024:,.0f} KiB, {' x '.join(map(str, facts.get('extents_m', [])))} m",
        "sha256": artifact["sha256"],
        "stages": ", ".join(f"{name} {took:.2f} s" for name, took in stages.items()),
        "whole request": f"{seconds:.1f} s",
        "lineage": f"{dagster_url}/assets/glb_export?view=partitions&partition={job['id']}",
        "made by": f"{job['model_id']} ({job.get('tier')}): {(facts.get('made_by') or {}).get('note', '')}",
    }
    console.print()
    for name, value in lines.items():
        console.print(f"{name:<14} {value}", markup=False)
    console.print(f"{'':<14} (the lineage is there while `make up` runs)")
