"""How a file came to be, told from what the API knows of a request; and the same request once more.

Each stored file carries the hashes of the files that its stage read. Where one of them was made anew since
and has another hash now, that is said.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from pipeline3d.explained_errors import explains_errors
from pipeline3d.job_commands import describe_end, signed_in_client

if TYPE_CHECKING:
    from pipeline3d.client.answers import Artifact, Job

SHOWN_DIGITS = 12
MADE_FROM = "made_from"
ASSET_OF_SHAPE = ("repaired_mesh", "mesh")
"""What tells whether two requests made the same; later files name their request."""
LEFT_OUT = ("product_key",)
"""Parameters that are made by the service and cannot be sent."""


def explain(job: Job) -> Iterator[str]:
    """The request and each of its files in the order of their making, a line each."""
    yield f"request  {job['id']}: {job['kind']} by {job['model_id']} ({job['tier']})"
    yield f"state    {job['status']} at attempt {job['attempt']}, asked for at {job['created_at']}"
    if job.get("prompt"):
        yield f"prompt   {job['prompt']!r}"
    for name, value in sorted(job["params"].items()):
        yield f"         {name} = {value!r}"
    origin = _origin(job)
    if origin:
        maker = " ".join(str(origin.get(name, "")) for name in ("engine", "engine_version"))
        yield f"made by  {maker}, seed {origin.get('seed', 'none')}: {origin.get('note', '')}"
    yield ""
    hashes = {_name(item): item["sha256"] for item in job["artifacts"]}
    for item in job["artifacts"]:
        seconds = job["stage_seconds"].get(item["asset"])
        took = "" if seconds is None else f"  {seconds:.2f} s"
        yield f"{_name(item)}  {item['size']:,} bytes  {_short(item['sha256'])}{took}"
        for source, sha256 in (item["metadata"].get(MADE_FROM) or {}).items():
            now = hashes.get(source) or sha256  # of an upload only its reader knows the hash
            changed = "" if now == sha256 else f"  (made anew since: {_short(now)})"
            yield f"    of {source}  {_short(sha256)}{changed}"
    error = job.get("error")
    if error:
        yield f"\nended with {error['code']} in {error['stage']}: {error['message']}"


def compare(first: Job, second: Job) -> dict[str, bool]:
    """Of each file that both requests have, whether it is the same byte for byte."""
    hashes = {_name(item): item["sha256"] for item in first["artifacts"] if item["sha256"]}
    return {
        _name(item): item["sha256"] == hashes[_name(item)]
        for item in second["artifacts"]
        if _name(item) in hashes
    }


def same_shape(first: Job, second: Job) -> bool | None:
    """Whether both requests made the same mesh; None where one of them made none."""
    found = compare(first, second)
    for asset in ASSET_OF_SHAPE:
        judged = [same for name, same in found.items() if name.startswith(f"{asset}/")]
        if judged:
            return all(judged)
    return None


def _name(item: Artifact) -> str:
    return f"{item['asset']}/{item['name']}"


def _short(sha256: str | None) -> str:
    return "sha256 unknown" if sha256 is None else f"sha256 {sha256[:SHOWN_DIGITS]}…"


def _origin(job: Job) -> dict[str, Any]:
    for item in job["artifacts"]:
        if item["type"] == "OUTPUT_MODEL":
            found: dict[str, Any] = item["metadata"].get("made_by") or {}
            return found
    return {}


@click.command("explain")
@click.argument("job_id", type=click.UUID)
@explains_errors
def explain_command(job_id: Any) -> None:
    """Say how a job's files came to be: parameters, seed, and the hash of every step."""
    with signed_in_client() as client:
        for line in explain(client.get_job(job_id)):
            click.echo(line)


@click.command()
@click.argument("job_id", type=click.UUID)
@explains_errors
def rerun(job_id: Any) -> None:
    """Ask for the same once more, with all parameters and the seed, and compare what comes out."""
    with signed_in_client() as client:
        first = client.get_job(job_id)
        params = {name: value for name, value in first["params"].items() if name not in LEFT_OUT}
        second = client.wait(client.create_job(first["model_id"], params, prompt=first["prompt"])["id"])
    click.echo(f"job {second['id']}: {describe_end(second)}")
    if second["status"] != "SUCCEEDED":
        sys.exit(1)
    for name, same in compare(first, second).items():
        click.echo(f"{'same ' if same else 'other'}  {name}")
    verdict = same_shape(first, second)
    click.echo("the same mesh" if verdict else "another mesh" if verdict is False else "no mesh to compare")
    sys.exit(0 if verdict else 1)


COMMANDS = (explain_command, rerun)
