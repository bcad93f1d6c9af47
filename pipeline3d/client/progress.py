"""A job's progress as a bar on a terminal, or as one line for each stage in a log."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from pipeline3d.client.answers import Job

if TYPE_CHECKING:
    from rich.console import Console


class ProgressBar:
    """Call it with a job at each change: `client.wait(job_id, on_progress=bar)`."""

    def __init__(self, console: Console | None = None) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._bar = Progress(
            TextColumn("{task.description:<20}"),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            console=console,
        )
        self._task = self._bar.add_task("queued", total=100)
        self._seen: set[str] = set()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, job: Job) -> None:
        """Show where the job is."""
        stage = job["progress"]["stage"] if job["status"] == "RUNNING" else None
        label = stage or job["status"].lower()
        if not self._bar.console.is_terminal and label not in self._seen:
            # A log has no bar to redraw: one line for each stage.
            self._bar.console.print(f"{job['progress_percent']:>4} %  {label}")
        self._seen.add(label)
        self._bar.update(self._task, completed=job["progress_percent"], description=label)
