"""One request through a warm wrapper, with the ladder for a device that is out of memory."""

from __future__ import annotations

from pipeline3d.generation.serving.events import WrapperRequest
from pipeline3d.generation.serving.outputs import Done, clear_folder
from pipeline3d.generation.serving.use import Use
from pipeline3d.generation.serving.watching import IsCanceled
from pipeline3d.generation.serving.wrapper import Report, Wrapper, never, no_report


def run_request(
    use: Use[Wrapper],
    request: WrapperRequest,
    report: Report = no_report,
    is_canceled: IsCanceled = never,
) -> Done:
    """Run a request; where memory runs out, in smaller pieces (`memory_divisor` among its parameters).

    What an earlier try left in the output folder is removed. The peak is remembered for the next admission.
    """

    def work(wrapper: Wrapper, divisor: int) -> Done:
        if divisor > 1:
            clear_folder(request.output_dir)
        return wrapper.run(request.reduced(divisor), report, is_canceled)

    done = use.run(work)
    use.note_peak(done.peak_memory_bytes)
    return done
