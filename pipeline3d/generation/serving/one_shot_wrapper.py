"""A wrapper that is started for each request: its model is loaded in the run and gone with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pipeline3d.errors import Pipeline3dError
from pipeline3d.generation.serving import events
from pipeline3d.generation.serving.events import WrapperRequest
from pipeline3d.generation.serving.outputs import Done
from pipeline3d.generation.serving.process import KeptProcess
from pipeline3d.generation.serving.watching import IsCanceled
from pipeline3d.generation.serving.wrapper import EXIT_WITHIN_S, RUN_ENDS, Report, Wrapper, never, no_report


class OneShotWrapper(Wrapper):
    """A wrapper that is started for each request and ends with it."""

    def load(self, params: Mapping[str, Any] | None = None, is_canceled: IsCanceled = never) -> events.Loaded:
        """Nothing yet: the program loads its model in the run."""
        return events.Loaded()

    def run(
        self, request: WrapperRequest, report: Report = no_report, is_canceled: IsCanceled = never
    ) -> Done:
        """Work on a request in a process of its own, which is gone when this returns."""
        self._log_mark = self.log.written
        order = self.log.path.with_suffix(".request.json")
        order.touch(mode=0o600)
        order.write_bytes(events.write_request(request))
        process = self._process = self._start("--request", str(order))
        watch = self._watch(self._time_limit(request), is_canceled, folder=request.output_dir)
        try:
            event = self._await(process, request.id, watch, report, ends_with=RUN_ENDS)
            process.wait(EXIT_WITHIN_S)
        except Pipeline3dError as error:
            self._call_off(process, error)
            raise
        finally:
            process.end()
            self._process = None
            order.unlink(missing_ok=True)
        done = self._conclude(event, request, watch)
        exit_code = process.exit_code
        if exit_code:
            note = f"The model's program ended with exit code {exit_code} after its result."
            done = replace(done, notes=(*done.notes, note))
        return done

    def health(self) -> events.Health | None:
        """Nothing runs between requests."""
        return None

    def free(self) -> None:
        """Nothing is cached between requests."""

    def unload(self) -> None:
        """Nothing is loaded between requests."""

    def _call_off(self, process: KeptProcess, error: Pipeline3dError) -> None:
        if error.code != "canceled":
            process.kill()  # asked to end, it has the chance to write for seconds more
        if tail := self._tail():
            error.details.setdefault("stderr_tail", tail)
