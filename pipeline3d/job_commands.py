"""The commands of somebody who wants jobs done: submit, watch, get, cancel, jobs; all through the client.

They talk to the service that PIPELINE3D_API_URL and PIPELINE3D_API_KEY name, or to the installation of this
folder, signed in as its first user.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline3d.explained_errors import explains_errors
from pipeline3d.values import JobState

if TYPE_CHECKING:
    from pipeline3d.client import Event, Job, Pipeline3dClient

URL_VARIABLE = "PIPELINE3D_API_URL"
KEY_VARIABLE = "PIPELINE3D_API_KEY"
LONGEST_WAIT_S = 24 * 3600.0

_photo = click.argument("photo", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False))
_as_json = click.option("--json", "as_json", is_flag=True, help="For programs: the answer of the API.")


def signed_in_client() -> Pipeline3dClient:
    """A client of the service that the environment names, or of the installation here."""
    url, key = os.environ.get(URL_VARIABLE), os.environ.get(KEY_VARIABLE)
    if url and key:
        from pipeline3d.client import Pipeline3dClient

        return Pipeline3dClient(url, key)
    if url or key:
        raise click.UsageError(f"{URL_VARIABLE} and {KEY_VARIABLE} belong together; one of them is not set.")
    from pipeline3d.installation import read_installation
    from pipeline3d.signing_in import sign_in

    return sign_in(read_installation())


@click.command()
@_photo
@click.option("--prompt", help="A text, for models that take one.")
@click.option("--model", "model_id", default="inflate-v1", show_default=True)
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="A parameter; may be repeated.")
@click.option("--tag", "tags", multiple=True, help="May be repeated.")
@click.option("--priority", type=click.IntRange(-100, 100), default=0)
@click.option("--input-job", "input_job_id", help="Take the model of this job.")
@click.option("--hold", is_flag=True, help="Do not begin before it is released.")
@click.option("--key", "idempotency_key", help="Idempotency key: asking again with it gives the same job.")
@click.option("--wait", is_flag=True, help="Show the stages until it is finished.")
@click.option("--out", type=click.Path(path_type=Path), help="Wait, and download the model to this file.")
@explains_errors
def submit(
    photo: Path | None,
    prompt: str | None,
    model_id: str,
    params: tuple[str, ...],
    tags: tuple[str, ...],
    priority: int,
    input_job_id: str | None,
    hold: bool,
    idempotency_key: str | None,
    wait: bool,
    out: Path | None,
) -> None:
    """Upload a photo, or send a text, and ask for a model of it. Prints the job's id."""
    options: dict[str, Any] = {"prompt": prompt, "priority": priority or None, "tags": list(tags) or None}
    options |= {"input_job_id": input_job_id, "hold": hold or None}
    with signed_in_client() as client:
        uploaded = {"input_path": client.upload(photo)} if photo else {}
        job = client.create_job(
            model_id, {**uploaded, **parse_params(params)}, idempotency_key=idempotency_key, **options
        )
        click.echo(job["id"])
        if wait or out is not None:
            _wait_for(client, job["id"])
        if out is not None:
            click.echo(client.download(job["id"], out))


@click.command()
@click.argument("job_id", type=click.UUID, required=False)
@click.option("--events", is_flag=True, help="A line for each event instead of a bar.")
@explains_errors
def watch(job_id: Any, events: bool) -> None:
    """Show a job's stages until it is finished; without a job, the events of all of yours."""
    with signed_in_client() as client:
        if job_id is None or events:
            for event in client.watch(job_id):
                click.echo(describe_event(event))
        if job_id is not None:
            _wait_for(client, str(job_id))


@click.command()
@click.argument("job_ids", type=click.UUID, nargs=-1, required=True)
@explains_errors
def cancel(job_ids: tuple[Any, ...]) -> None:
    """End jobs. Prints the state of each: CANCELING while its run is being stopped."""
    with signed_in_client() as client:
        for job_id in job_ids:
            status = client.cancel(job_id)["status"]
            click.echo(f"{job_id} {status}" if len(job_ids) > 1 else status)


@click.command()
@click.argument("job_id", type=click.UUID)
@click.option("--out", type=click.Path(path_type=Path), default=None, help="File; JOB_ID.glb if not given.")
@click.option("--artifact", "name", help="Another file of the job, by its name: web.glb, model.usdz …")
@click.option("--list", "only_list", is_flag=True, help="Only say which files there are.")
@explains_errors
def get(job_id: Any, out: Path | None, name: str | None, only_list: bool) -> None:
    """Download the model of a finished job, or another of its files."""
    with signed_in_client() as client:
        if only_list:
            for file in client.get_job(job_id)["artifacts"]:
                click.echo(f"{file['size']:>12,}  {file['type']:<12}  {file['asset']}/{file['name']}")
            return
        default = Path(f"{job_id}.glb") if name is None else Path(name)
        click.echo(client.download(job_id, out or default, name=name))


@click.command()
@click.option("--status", multiple=True, help="May be repeated.")
@click.option("--model", "model_id")
@click.option("--tag", multiple=True, help="May be repeated: jobs that have all of them.")
@click.option("--text", "q", help="In the prompt, the file's name, the tags …")
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True)
@_as_json
@explains_errors
def jobs(
    status: tuple[str, ...],
    model_id: str | None,
    tag: tuple[str, ...],
    q: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List your jobs, the newest first."""
    with signed_in_client() as client:
        found = client.list_jobs(
            limit=limit, status=list(status) or None, model_id=model_id, tag=list(tag) or None, q=q
        )
    if as_json:
        click.echo(json.dumps(found))
        return
    for job in found:
        click.echo(
            f"{job['id']}  {job['status']:<9} {job['progress_percent']:>3} %  {job['model_id']:<16} "
            f"{(job['prompt'] or '')[:50]}"
        )


@click.command()
@click.option(
    "--count", type=click.IntRange(1), default=3, show_default=True, help="Requests, one at a time."
)
@explains_errors
def probe(count: int) -> None:
    """Send requests that make nothing the whole way, and say how long each took."""
    with signed_in_client() as client:
        for _ in range(count):
            job = client.wait(client.create_job("probe-v1")["id"])
            moments = (job["created_at"], job["started_at"], job["completed_at"])
            created, started, completed = (
                datetime.fromisoformat(moment) if moment else None for moment in moments
            )
            if job["status"] != JobState.SUCCEEDED or not (created and started and completed):
                click.secho(describe_end(job), fg="red", err=True)
                sys.exit(1)
            waited, whole = (started - created).total_seconds(), (completed - created).total_seconds()
            click.echo(f"done after {whole:.2f} s, of which {waited:.2f} s until a worker began")


COMMANDS = (submit, watch, cancel, get, jobs, probe)


def describe_event(event: Event) -> str:
    """An event as one line."""
    progress = event.data.get("progress") or {}
    told = [f"{progress['percent']} %", str(progress.get("stage") or "")] if progress else []
    artifact = event.data.get("artifact") or {}
    told += [f"{artifact.get('asset')}/{artifact['name']}"] if artifact.get("name") else []
    error = event.data.get("error") or {}
    told += [f"{error.get('code')}: {error.get('message')}"] if error else []
    return " ".join(part for part in [str(event.data.get("job_id", "")), event.type, *told] if part)


def describe_end(job: Job) -> str:
    """How a job ended, as one line."""
    return job["status"] + (f": {job['error']['message']}" if job["error"] else "")


def parse_params(params: tuple[str, ...]) -> dict[str, Any]:
    """`size_m=0.3` → {"size_m": 0.3}: a value is JSON where it can be, else text."""
    parsed: dict[str, Any] = {}
    for param in params:
        name, separator, text = param.partition("=")
        if not separator:
            raise click.BadParameter(f"{param!r} is not NAME=VALUE", param_hint="--param")
        try:
            parsed[name] = json.loads(text)
        except json.JSONDecodeError:
            parsed[name] = text
    return parsed


def _wait_for(client: Pipeline3dClient, job_id: str) -> None:
    """Show a job's stages until it ends; exit with 1 where it did not succeed."""
    job = client.wait(job_id, timeout_s=LONGEST_WAIT_S, show_progress=True)
    click.echo(describe_end(job))
    if job["status"] != JobState.SUCCEEDED:
        sys.exit(1)
