"""Spreads chunks of points over threads that each compute on one core.

Torch splits every single operation over its threads and waits for the slowest; on cores that other
processes use too, thousands of small operations wait thousands of times (three to five times as long, as
measured). Here a thread takes a whole chunk through all layers. The chunks do not depend on the number of
threads, so neither does the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

CHUNK = 4096
"""Points at a time: 4096 x 64 floats are 1 MB, which stays in a core's second cache."""


class ChunkWorkers:
    """As many threads as torch had for this one."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool

    def run(self, points: int, work: Callable[[slice], None]) -> None:
        """Call `work` for each chunk of `points`; raises what it raises."""

        def work_without_gradients(begin: int) -> None:
            with torch.inference_mode():
                work(slice(begin, min(begin + CHUNK, points)))

        for _ in self._pool.map(work_without_gradients, range(0, points, CHUNK)):
            pass


@contextmanager
def chunk_workers() -> Iterator[ChunkWorkers]:
    """Workers, and one thread for torch in the calling thread meanwhile.

    Torch's setting belongs to the calling thread, and to those that first use torch while it lasts: the
    workers do. A forward pass that already runs in another thread keeps its own.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads, thread_name_prefix="field") as pool:
            yield ChunkWorkers(pool)
    finally:
        torch.set_num_threads(threads)
