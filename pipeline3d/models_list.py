"""What `pipeline3d models` and `pipeline3d models fetch` print."""

from __future__ import annotations

from collections.abc import Sequence

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from pipeline3d.database.engines import create_sync_engine
from pipeline3d.errors import ModelNotReady
from pipeline3d.installation import require
from pipeline3d.model_weights import fetch_weights
from pipeline3d.models_view import describe_bytes, print_tables, render_json
from pipeline3d.readiness import assess
from pipeline3d.requests.catalogue import CatalogueModel
from pipeline3d.requests.gpu_leases import DeviceBoard
from pipeline3d.settings import Settings


def print_models(models: Sequence[CatalogueModel], console: Console | None = None) -> None:
    """One line a model; below it, where it cannot run here, why and what to do."""
    console = console or Console(soft_wrap=True)
    wide = max(len(model.id) for model in models)
    for model in models:
        ready = "ready" if model.readiness.ready else "not ready"
        memory = describe_bytes(model.vram_bytes or None)
        facts = (
            f"{model.kind.value:<14} {model.tier:<10} {model.queue:<5} {memory:<6} {model.licence['name']}"
        )
        console.print(f"{model.id:<{wide}}  {ready:<10} {facts}", markup=False, highlight=False)
        if not model.readiness.ready:
            console.print(f"{'':<{wide}}    {_why_not(model)}", markup=False, highlight=False, style="dim")


def _why_not(model: CatalogueModel) -> str:
    return " ".join(filter(None, (model.readiness.reason, model.readiness.hint)))


def show_live(settings: Settings, *, as_json: bool) -> None:
    """The devices of all hosts, who works on them, and the models that are in memory there."""
    engine = create_sync_engine(require(settings.database_url, "DATABASE_URL"), pool_size=1)
    leases = DeviceBoard(engine).list()
    engine.dispose()
    if as_json:
        click.echo(render_json(leases))
    else:
        print_tables(leases, Console(soft_wrap=True))


def print_fetched(
    model: CatalogueModel, settings: Settings, *, accept_licence: bool, console: Console | None = None
) -> None:
    """Fetch a model's weights with a bar for each file, then say whether it can run now."""
    console = console or Console()
    console.print(f"{model.name}: {model.licence['name']}, {model.licence['link']}", markup=False)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console) as bar:
        tasks = {
            file.name: bar.add_task(file.name) for file in (model.weights.files if model.weights else ())
        }

        def show(name: str, done: int, whole: int | None) -> None:
            bar.update(tasks[name], completed=done, total=whole)

        fetch_weights(model, settings.models_dir, accept_licence=accept_licence, report=show)
    [now] = assess([model], settings)
    if not now.readiness.ready:
        raise ModelNotReady(
            now.readiness.reason or f"{model.name} is not ready.",
            code=now.readiness.code,
            hint=now.readiness.hint,
        )
    console.print(f"{model.id} is ready. `pipeline3d seed`, or the next start, tells the API.")
