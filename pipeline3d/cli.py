"""The command line: every command is a few calls into the rooms, and nothing is decided here.

Settings are read once per command. An error of ours is printed as a sentence, never as a traceback.
"""

from __future__ import annotations

import atexit
import gc
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline3d import account_commands, job_commands, operating, tracing
from pipeline3d.explained_errors import explains_errors
from pipeline3d.log_masking import mask_logs

if TYPE_CHECKING:
    from pipeline3d.installation import Installation


def _installation() -> Installation:
    from pipeline3d.installation import read_installation

    installation = read_installation()
    mask_logs()
    logging.basicConfig(level=installation.settings.log_level)
    for chatty in ("httpx", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    return installation


@click.group()
def main() -> None:
    """Pipeline3D: ask for a 3D model and get it."""
    # At its end Python looks for cycles in all that was loaded, which takes up to a third of a second, while
    # the next program waits for this one or a supervisor loses patience.
    atexit.register(gc.freeze)


for command in (
    *job_commands.COMMANDS,
    *operating.COMMANDS,
    *account_commands.COMMANDS,
    *tracing.COMMANDS,
):
    main.add_command(command)


@main.command()
@explains_errors
def up() -> None:
    """Start everything, print where it is, and stay until Ctrl-C."""
    from pipeline3d.running import stay_up

    stay_up()


@main.command()
@click.option("--input", "photo", type=click.Path(path_type=Path, dir_okay=False), help="Your own file.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default=Path("out"), show_default=True
)
@click.option("--prompt", help="A text instead of a photo.")
@click.option("--model", "model_id", help="If not given: inflate-v1 for a photo, sculpt-v1 for a text.")
@explains_errors
def demo(photo: Path | None, out: Path, prompt: str | None, model_id: str | None) -> None:
    """Start all but the pages of Dagster, make a model of a photo or a text, print a summary, stop."""
    from pipeline3d.running import demonstrate

    model_id = model_id or ("sculpt-v1" if prompt else "inflate-v1")
    sys.exit(0 if demonstrate(photo, prompt, out, model_id) else 1)


@main.command()
@click.option("--queues", help="Comma list of queues; PIPELINE3D_WORKER_QUEUES if not given.")
@click.option("--concurrency", type=click.IntRange(1, 256), help="Runs at a time, one process each.")
@click.option("--gpu", help="The one GPU that the runs may see, as CUDA numbers it; 'all' is every one.")
@click.option(
    "--grace", type=float, default=30.0, show_default=True, help="Seconds that runs have left at a stop."
)
@explains_errors
def worker(queues: str | None, concurrency: int | None, gpu: str | None, grace: float) -> None:
    """Execute runs on this host until told to stop: needs the addresses of the installation, no more."""
    from pipeline3d.installation import prepare_worker
    from pipeline3d.launch.worker_command import serve
    from pipeline3d.readiness import announce_here
    from pipeline3d.settings import load_settings

    settings = load_settings()
    environment = prepare_worker(settings)
    served = queues.split(",") if queues else settings.pipeline3d_worker_queues
    for model_id in announce_here(environment["DATABASE_URL"], load_settings(environment), served):
        click.echo(f"{model_id} can run here: the API takes requests for it now", err=True)
    serve(
        environment,
        queues=served,
        concurrency=concurrency or settings.pipeline3d_worker_concurrency,
        gpu=None if gpu == "all" else gpu,
        data_directory=settings.data_dir,
        shutdown_grace_s=grace,
    )


@main.command()
@explains_errors
def courier() -> None:
    """Deliver webhooks until told to stop. Any number may run, on any host that has DATABASE_URL."""
    from pipeline3d.courier_command import deliver

    deliver(_installation())


@main.command()
@click.option("--only", type=click.Choice(["jobs", "dagster"]), help="One of the two databases.")
@explains_errors
def migrate(only: str | None) -> None:
    """Bring the tables of the jobs database and of Dagster's to this version."""
    installation = _installation()
    if only != "dagster":
        _migrate_jobs(installation)
    if only != "jobs":
        _migrate_dagster(installation)


def _migrate_jobs(installation: Installation) -> None:
    from pipeline3d.database.migration import migrate as migrate_jobs
    from pipeline3d.installation import require

    revision = migrate_jobs(require(installation.settings.database_url, "DATABASE_URL"))
    click.echo(f"jobs database: at revision {revision}")


def _migrate_dagster(installation: Installation) -> None:
    from pipeline3d.installation import require
    from pipeline3d.launch.dagster_storage import migrate_dagster

    url = require(installation.settings.dagster_pg_url, "DAGSTER_PG_URL")
    changed = migrate_dagster(url, installation.environment)
    click.echo("dagster database: " + ("migrated" if changed else "up to date"))


@main.command()
@explains_errors
def seed() -> None:
    """Write the first superuser and the catalogue. Running it twice changes nothing."""
    from pipeline3d.database.engines import create_sync_engine
    from pipeline3d.installation import SHARED_VALUES, require
    from pipeline3d.readiness import assess_shipped
    from pipeline3d.requests.installation_values import store_installation_values
    from pipeline3d.requests.seeding import seed as seed_database

    installation = _installation()
    settings = installation.settings
    password = settings.first_superuser_password
    api_key = settings.first_superuser_api_key
    engine = create_sync_engine(require(settings.database_url, "DATABASE_URL"))
    shared = {
        name: installation.environment[name] for name in SHARED_VALUES if name in installation.environment
    }
    store_installation_values(engine, shared)
    report = seed_database(
        engine,
        assess_shipped(settings),
        username=settings.first_superuser_username,
        password=require(password.get_secret_value() if password else None, "FIRST_SUPERUSER_PASSWORD"),
        api_key=api_key.get_secret_value() if api_key else None,
    )
    click.echo(f"seed: {report}" if report.changed_anything else "seed: nothing to do")


@main.command()
@click.pass_context
def prepare(context: click.Context) -> None:
    """What `up` runs before the services: migrate, then seed."""
    context.invoke(migrate)
    context.invoke(seed)


@main.command()
@explains_errors
def doctor() -> None:
    """Check every part of the installation, one line each."""
    from pipeline3d.doctor import examine
    from pipeline3d.findings import Level

    installation = _installation()
    colours = {Level.OK: "green", Level.NOTE: "cyan", Level.PROBLEM: "red"}
    findings = examine(installation)
    for finding in findings:
        mark = click.style(f"{finding.level.value:<8}", fg=colours[finding.level])
        click.echo(f"{mark} {finding.part:<18} {finding.message}")
        if finding.advice:
            click.echo(f"{'':<27} {finding.advice}")
    sys.exit(1 if any(finding.level is Level.PROBLEM for finding in findings) else 0)


@main.command()
@click.option("--dry-run", is_flag=True, help="Say what would be removed; remove nothing.")
@explains_errors
def prune(dry_run: bool) -> None:
    """Remove old partitions, runs, events, histories and files, as the nightly job does."""
    from pipeline3d.installation import prepare_worker
    from pipeline3d.pruning_command import prune as prune_installation
    from pipeline3d.settings import load_settings

    click.echo("would be removed:" if dry_run else "removed:")
    for line in prune_installation(prepare_worker(load_settings()), dry_run=dry_run):
        click.echo(line)


@main.command("env-example")
@click.option("--check", is_flag=True, help="Only say whether .env.example is up to date.")
def env_example(check: bool) -> None:
    """Print .env.example, which is generated from the settings."""
    from pipeline3d.settings import render_env_example

    text = render_env_example()
    if not check:
        click.echo(text, nl=False)
    elif Path(".env.example").read_text(encoding="utf-8") != text:
        click.secho(".env.example is stale: pipeline3d env-example > .env.example", fg="red", err=True)
        sys.exit(1)


@main.group(invoke_without_command=True)
@click.option("--live", is_flag=True, help="What the workers of all hosts keep in memory now.")
@click.option("--json", "as_json", is_flag=True, help="With --live: for programs.")
@click.pass_context
@explains_errors
def models(context: click.Context, live: bool, as_json: bool) -> None:
    """List the models, and why some are not ready on this host."""
    if context.invoked_subcommand is not None:
        return
    if live:
        from pipeline3d.models_list import show_live

        show_live(_installation().settings, as_json=as_json)
        return
    from pipeline3d.models_list import print_models
    from pipeline3d.readiness import assess_shipped

    print_models(assess_shipped(_installation().settings))


@models.command("fetch")
@click.argument("model_id")
@click.option("--accept-licence", is_flag=True, help="You have read the model's licence and accept it.")
@explains_errors
def fetch_model(model_id: str, accept_licence: bool) -> None:
    """Download the weights of a model into the folder of the models; goes on where it stopped."""
    from pipeline3d.models_list import print_fetched
    from resources.catalogue import shipped_model

    print_fetched(shipped_model(model_id), _installation().settings, accept_licence=accept_licence)


if __name__ == "__main__":
    main()
