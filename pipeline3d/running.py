"""Starting the installation for a person: `up` stays, `demo` does one job and stops.

Prints what becomes ready and where everything is. The work is done by `local.stack`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from rich.console import Console

from pipeline3d.demo import print_summary, run_demo
from pipeline3d.demo_requests import MAKES_MODELS, PHOTO_HOST
from pipeline3d.errors import ServerFailure, UnusableInput
from pipeline3d.installation import CHECKOUT, Installation, prepare_installation, read_installation
from pipeline3d.local.data_lock import DataLock
from pipeline3d.local.environment import plan_studio_origins
from pipeline3d.local.programs import plan_servers, plan_services
from pipeline3d.local.stack import Stack
from pipeline3d.settings import load_settings
from pipeline3d.signing_in import sign_in
from pipeline3d.values import Kind

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

DEFAULT_MODELS = ("inflate-v1", "sculpt-v1")
"""Of a photo, and of a text."""


@contextmanager
def running_stack(console: Console, *, stays: bool) -> Iterator[tuple[Installation, Stack]]:
    """Everything started and ready; stopped at the end, however it comes. Raises ServerFailure.

    One that `stays` shows its logs and has the pages for those who look around.
    """
    configured = load_settings()
    with DataLock(configured.data_dir) as lock:
        installation = prepare_installation(configured)
        assert installation.state is not None
        origins = plan_studio_origins(installation.state, tuple(installation.settings.backend_cors_origins))
        servers = plan_servers(
            installation.state,
            data_directory=configured.data_dir,
            embedded=installation.embedded,
            origins=origins,
            checkout=CHECKOUT,
        )
        services = plan_services(
            installation.environment,
            checkout=CHECKOUT,
            after=tuple(server.name for server in servers),
            host=installation.settings.pipeline3d_host,
            visited=stays,
            lineage=installation.settings.pipeline3d_lineage_ui,
        )
        show = (lambda line: console.print(line, markup=False, highlight=False)) if stays else None
        with Stack(lock, show=show) as stack:
            stack.start(
                [*servers, *services],
                on_ready=lambda name, seconds: console.print(f"{name:<12} ready in {seconds:.1f} s"),
            )
            lock.announce(
                {"API": installation.api_address, "Dagster": installation.settings.dagster_url or ""}
            )
            yield installation, stack


def stay_up() -> None:
    """Start everything, say where it is, and stay until Ctrl-C."""
    console = Console(highlight=False, soft_wrap=True)
    started = perf_counter()
    with running_stack(console, stays=True) as (installation, stack):
        print_addresses(installation, console, perf_counter() - started)
        try:
            stack.wait()
        except KeyboardInterrupt:
            console.print("\nstopping ...")
    console.print("stopped; `make up` finds all data again")


def print_addresses(installation: Installation, console: Console, seconds: float) -> None:
    """Where a person goes next, and how to sign in."""
    settings = installation.settings
    console.print(f"\n[bold green]{settings.project_name} is up[/] after {seconds:.1f} s. Ctrl-C stops it.")
    console.print(f"  studio    {settings.api_url}/studio")
    console.print(f"  API docs  {settings.api_url}/docs")
    console.print(f"  Dagster   {settings.dagster_url}   (sign in first)")
    console.print(
        f"  sign in   {settings.first_superuser_username} / {_where_the_password_is(installation)}\n"
    )


def _where_the_password_is(installation: Installation) -> str:
    if "first_superuser_password" in load_settings().model_fields_set:
        return "the FIRST_SUPERUSER_PASSWORD that you set"
    return f"{installation.password}  (kept in {installation.settings.data_dir}/local.json)"


def demonstrate(photo: Path | None, prompt: str | None, out: Path, model_id: str) -> bool:
    """A request of any model through everything; whether a model came out. Uses what is already running."""
    console = Console(highlight=False, soft_wrap=True)
    if photo is not None and not photo.is_file():
        raise UnusableInput(
            f"{photo} is not a file.", code="no_such_file", hint="Give INPUT=path/to/photo.jpg."
        )
    if model_id not in DEFAULT_MODELS and _takes_products(model_id):
        # the demo serves the product's photo itself, from where the fetcher would not take one
        os.environ.setdefault("PIPELINE3D_PHOTO_HOSTS", PHOTO_HOST)
    # While the first servers make their files one core has nothing to do.
    wanted = photo is None and prompt is None and model_id == MAKES_MODELS
    draw = begin_drawing().result if wanted else draw_sample

    def sample() -> Path:
        return save_sample(draw(), out)

    try:
        with running_stack(console, stays=False) as (installation, _stack):
            succeeded = _demonstrate_on(installation, photo, prompt, out, model_id, sample, console)
    except ServerFailure as failure:
        if failure.code != "already_running":
            raise
        console.print("using the installation that is already running here")
        return _demonstrate_on(read_installation(), photo, prompt, out, model_id, sample, console)
    console.print("everything is stopped")
    return succeeded


def _takes_products(model_id: str) -> bool:
    from resources.catalogue import shipped_model

    return shipped_model(model_id).kind is Kind.PRODUCT_TO_3D


def _demonstrate_on(
    installation: Installation,
    photo: Path | None,
    prompt: str | None,
    out: Path,
    model_id: str,
    sample: Callable[[], Path],
    console: Console,
) -> bool:
    with sign_in(installation) as client:
        console.print(f"signed in as {installation.settings.first_superuser_username}")
        started = perf_counter()
        result = run_demo(
            client,
            photo,
            prompt,
            out,
            model_id=model_id,
            sample=sample,
            console=console,
        )
    print_summary(
        result,
        console,
        dagster_url=installation.settings.dagster_url or "",
        seconds=perf_counter() - started,
    )
    return result.model is not None


def begin_drawing() -> Future[npt.NDArray[np.uint8]]:
    """The sample photo, drawn in the background."""
    executor = ThreadPoolExecutor(1, thread_name_prefix="sample")
    drawing = executor.submit(draw_sample)
    executor.shutdown(wait=False)
    return drawing


def draw_sample() -> npt.NDArray[np.uint8]:
    """The sample photo, which the project draws itself."""
    from pipeline3d.imaging.sample_photo import draw_sample_photo

    return draw_sample_photo()


def save_sample(photo: npt.NDArray[np.uint8], out: Path) -> Path:
    """The file of the sample photo."""
    from PIL import Image

    out.mkdir(parents=True, exist_ok=True)
    path = out / "sample.jpg"
    Image.fromarray(photo).save(path, quality=92)
    return path
