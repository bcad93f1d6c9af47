"""Brings what runs write to the object store, in the background: no run waits for it and none fails for it.

One thread per process. While a run goes on, what it has written so far is stored every few seconds as an
object of its own, so that people on other hosts can follow; when it has ended, the whole. A file stays on
disk until it is stored: while the store is away it waits there, and what a killed process left is stored by
the next one on the same host. Knows files and keys, nothing of Dagster.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pipeline3d.errors import StoreUnavailable
from pipeline3d.launch.log_store import LogStore

STDOUT, STDERR = "out", "err"
PENDING = "pending"
"""An empty file beside an output that is not stored yet, locked by the process that will store it."""
PARTIAL = "partial"
MOST_BYTES = 50 * 1024 * 1024
"""Of a longer output the beginning is stored, as Dagster does it."""
MOST_WAITING = 200
"""So many ended runs wait in memory for a store that is away; the others are found on disk later."""
FIRST_RETRY_S = 2.0
LONGEST_RETRY_S = 60.0
SWEEP_EVERY_S = 300.0
ABANDONED_AFTER_S = 30.0
"""A pending file so old that nobody has locked belongs to nobody."""
PARTIAL_BYTES_PER_S = 2 * 1024 * 1024
"""A growing output is stored anew as a whole each time: the longer it is, the longer the pause after it."""
EXIT_PATIENCE_S = 5.0

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Output:
    """What one run writes: two files, out and err, below `local_dir`, which become two objects."""

    local_dir: Path
    name: tuple[str, ...]
    prefix: str
    bytes_stored: dict[str, int] = field(default_factory=dict)
    """How much of each file is in the store as a partial object."""
    lock: int | None = None

    def path(self, extension: str) -> Path:
        """One of its files."""
        *folders, last = self.name
        return self.local_dir.joinpath(*folders, f"{last}.{extension}")

    def key(self, extension: str) -> str:
        """The key of one of its objects."""
        return "/".join((self.prefix, *self.name)) + f".{extension}"

    def size(self, extension: str) -> int:
        """Bytes of one of its files; 0 where there is none."""
        try:
            return self.path(extension).stat().st_size
        except FileNotFoundError:
            return 0

    @property
    def is_silent(self) -> bool:
        """Whether nothing was written."""
        return not (self.size(STDOUT) or self.size(STDERR))

    def begin(self) -> None:
        """Make its folder and make it ours until `release`, or until this process ends."""
        for attempts_left in (2, 1, 0):
            self.path(PENDING).parent.mkdir(parents=True, exist_ok=True)
            try:
                self._lock(os.O_CREAT)
                return
            except FileNotFoundError:
                # Another output's end removed the empty folder in between.
                if not attempts_left:
                    raise

    def take_over(self) -> bool:
        """Make ours what a dead process left; False where it is another's, or stored already.

        Raises FileNotFoundError where it went in between.
        """
        if not self._lock(0):
            return False
        # Nobody knows what was stored of it.
        self.bytes_stored = {STDOUT: 0, STDERR: 0}
        return True

    def _lock(self, flags: int) -> bool:
        descriptor = os.open(self.path(PENDING), os.O_RDWR | os.O_CLOEXEC | flags, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ours = os.fstat(descriptor).st_nlink > 0
        except BlockingIOError:
            ours = False
        if ours:
            self.lock = descriptor
        else:
            os.close(descriptor)
        return ours

    def release(self) -> None:
        """Leave it to whoever finds it."""
        if self.lock is not None:
            os.close(self.lock)
            self.lock = None

    def remove(self) -> None:
        """Remove its files, and its folders where they are empty then."""
        for extension in (STDOUT, STDERR, PENDING):
            self.path(extension).unlink(missing_ok=True)
        self.release()
        with contextlib.suppress(OSError):
            for folder in list(self.path(STDOUT).parents)[: len(self.name) - 1]:
                folder.rmdir()


class LogUploads:
    """Stores what this process's runs write below `local_dir`, and what dead processes left there."""

    def __init__(self, store: LogStore, *, local_dir: Path, prefix: str, interval_s: float) -> None:
        self._store = store
        self._local_dir = local_dir
        self._prefix = prefix
        self._interval_s = interval_s
        self._begin_process()
        os.register_at_fork(after_in_child=self._begin_process)
        atexit.register(self.drain, EXIT_PATIENCE_S)

    def _begin_process(self) -> None:
        """A forked child has none of its parent's runs and threads."""
        self._changed = threading.Condition()
        self._running: list[Output] = []
        self._ended: deque[Output] = deque()
        self._busy = False
        self._thread: threading.Thread | None = None
        self._retry_at = self._partials_at = self._sweep_at = 0.0
        self._retry_s = FIRST_RETRY_S

    @contextlib.contextmanager
    def following(self, *name: str) -> Iterator[Output]:
        """An output for the block to write. It is stored meanwhile, and as a whole afterwards."""
        output = self._output(name)
        output.begin()
        with self._changed:
            if not self._running:
                self._partials_at = time.monotonic() + self._interval_s
            self._running.append(output)
            self._wake()
        try:
            yield output
        finally:
            with self._changed:
                self._running.remove(output)
            self.store_later(output)

    def store_later(self, output: Output) -> None:
        """Store what is written by now when there is time; remove it where that is nothing."""
        if output.is_silent and not output.bytes_stored:
            output.remove()
            return
        with self._changed:
            if len(self._ended) < MOST_WAITING:
                self._ended.append(output)
                self._wake()
            else:
                output.release()

    def drain(self, timeout_s: float) -> bool:
        """Wait until what has ended is stored. False after `timeout_s`, or at once while the store is away.

        What is left then waits on disk for another process.
        """
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while self._ended or self._busy:
                left_s = deadline - time.monotonic()
                if left_s <= 0 or self._retry_at > time.monotonic():
                    return False
                self._changed.wait(min(left_s, 0.5))
        return True

    def _output(self, name: tuple[str, ...]) -> Output:
        return Output(local_dir=self._local_dir, name=name, prefix=self._prefix)

    # -- the thread

    def _wake(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="log-uploads", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _work(self) -> None:
        while True:
            task = self._wait_for_task()
            try:
                task()
                self._retry_s = FIRST_RETRY_S
            except (StoreUnavailable, OSError) as error:
                self._pause(f"{error}")
            except Exception:
                # This thread must outlive whatever it meets: nobody would start it again.
                logger.exception("what a run wrote could not be stored")
                self._pause("see above")
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def _wait_for_task(self) -> Callable[[], None]:
        with self._changed:
            while True:
                now = time.monotonic()
                due = self._plan()
                task, at = min(due, key=lambda pair: pair[1])
                if at <= now:
                    self._busy = True
                    return task
                self._changed.wait(at - now)

    def _plan(self) -> list[tuple[Callable[[], None], float]]:
        """What is to be done and from when on; what comes first among equals is done first."""
        due: list[tuple[Callable[[], None], float]] = []
        if self._ended:
            due.append((self._store_ended, self._retry_at))
        if self._running:
            due.append((self._store_partials, max(self._partials_at, self._retry_at)))
        due.append((self._sweep, max(self._sweep_at, self._retry_at)))
        return due

    def _pause(self, reason: str) -> None:
        if self._retry_s == FIRST_RETRY_S:
            logger.warning(
                "Outputs of runs wait on disk, since the object store does not take them: %s", reason
            )
        self._retry_at = time.monotonic() + self._retry_s
        self._retry_s = min(2 * self._retry_s, LONGEST_RETRY_S)

    def _store_ended(self) -> None:
        with self._changed:
            output = self._ended.popleft()
        try:
            self._store_whole(output)
        except BaseException:
            with self._changed:
                self._ended.append(output)
            raise

    def _store_whole(self, output: Output) -> None:
        if not output.is_silent:
            # The errors come last and always: their object says that the output is whole.
            for extension in (STDOUT, STDERR):
                if output.size(extension) or extension == STDERR:
                    output.path(extension).touch()
                    self._put(output, extension, output.key(extension))
        self._store.delete([output.key(f"{extension}.{PARTIAL}") for extension in output.bytes_stored])
        output.remove()

    def _store_partials(self) -> None:
        with self._changed:
            running = list(self._running)
        sent = 0
        for output in running:
            for extension in (STDOUT, STDERR):
                size = min(output.size(extension), MOST_BYTES)
                if size > output.bytes_stored.get(extension, 0):
                    self._put(output, extension, output.key(f"{extension}.{PARTIAL}"))
                    output.bytes_stored[extension] = size
                    sent += size
        self._partials_at = time.monotonic() + max(self._interval_s, sent / PARTIAL_BYTES_PER_S)

    def _put(self, output: Output, extension: str, key: str) -> None:
        # It may be gone: a prune removed the run.
        with contextlib.suppress(FileNotFoundError):
            self._store.put(key, output.path(extension), at_most_bytes=MOST_BYTES)

    def _sweep(self) -> None:
        """Take over what processes left behind that were killed or gave up waiting for the store."""
        self._sweep_at = time.monotonic() + SWEEP_EVERY_S
        now = time.time()
        for folder, _, names in os.walk(self._local_dir):
            for name in names:
                if not name.endswith(f".{PENDING}"):
                    continue
                pending = Path(folder, name)
                with contextlib.suppress(FileNotFoundError):
                    if now - pending.stat().st_mtime >= ABANDONED_AFTER_S:
                        self._take_over(pending)

    def _take_over(self, pending: Path) -> None:
        output = self._output(pending.with_suffix("").relative_to(self._local_dir).parts)
        if output.take_over():
            self.store_later(output)
