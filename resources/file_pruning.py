"""Objects that may go from the bucket: expired files, and objects that no row names.

Rows go first and objects after them: a row must never name an object that is gone, while an object without a
row is found by the next prune. Only keys of the forms that we make are looked at; whatever else lies in the
bucket is not ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from uuid import UUID

from pipeline3d.requests.housekeeping import Housekeeper
from pipeline3d.store.keys import (
    COMPUTE_LOGS,
    JOBS,
    LOG_STORAGE,
    TEMPORARY,
    UPLOADS,
    is_temporary,
    job_of_artifact,
    owner_of_upload,
    run_of_compute_log,
)
from pipeline3d.store.s3 import ObjectFacts, S3Store

ORPHAN_AFTER = timedelta(days=1)
"""An object is recorded within seconds after it is whole; no run takes longer than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """What a step of a prune removed, or would remove; `size` in bytes where it is about objects."""

    what: str
    count: int
    size: int | None = None

    def __str__(self) -> str:
        megabytes = "" if self.size is None else f", {self.size / 1e6:,.1f} MB"
        return f"{self.count:>9,} {self.what}{megabytes}"


class FilePruner:
    """Removes objects of one bucket; with `dry_run` it only counts them."""

    def __init__(
        self, housekeeper: Housekeeper, connect: Callable[[], S3Store], *, now: datetime, dry_run: bool
    ) -> None:
        self._housekeeper = housekeeper
        self._connect = connect
        self._now = now
        self._dry_run = dry_run

    @cached_property
    def _store(self) -> S3Store:
        return self._connect()

    def prune_expired(self) -> Removed:
        """The files of requests whose `expires_at` has passed; an upload that others use stays."""
        self._store.check()  # or rows would go whose objects cannot
        sizes: dict[str, int] = {}
        for job_ids in self._housekeeper.pages_of_expired():
            read = self._housekeeper.list_files if self._dry_run else self._housekeeper.forget_files
            files = read(job_ids)
            uploads = [file.key for file in files if owner_of_upload(file.key)]
            if self._dry_run:
                shared = self._housekeeper.named_uploads(uploads, by_expired=False)
            else:
                # before their objects go: they are not offered to their owner again
                shared = set(uploads) - self._housekeeper.forget_uploads(uploads)
            gone = {file.key: file.size for file in files if file.key not in shared}
            self._remove(list(gone))
            sizes |= gone
        return Removed(what="files of expired requests", count=len(sizes), size=sum(sizes.values()))

    def prune_results(self) -> Removed:
        """What runs stored and no request names: left behind by runs that were killed in between."""

        def choose(old: Sequence[ObjectFacts]) -> list[ObjectFacts]:
            owners = {facts.key: owner for facts in old if (owner := job_of_artifact(facts.key))}
            job_ids: Sequence[UUID] = sorted(set(owners.values()))
            # A run may be about to record what it has just stored under the key of an older object.
            unfinished = self._housekeeper.unfinished(job_ids)
            named = self._housekeeper.named_results(job_ids)
            return [
                facts
                for facts in old
                if facts.key in owners and owners[facts.key] not in unfinished and facts.key not in named
            ]

        return self._prune_prefix(JOBS, "results that no request names", choose)

    def prune_uploads(self, keep: timedelta) -> Removed:
        """Uploads that no request used within their time, and were not named to their owner again in it.

        Their records must have been swept before: what has one may be named to its owner at any moment.
        """

        def choose(old: Sequence[ObjectFacts]) -> list[ObjectFacts]:
            ours = [facts for facts in old if owner_of_upload(facts.key)]
            keys = [facts.key for facts in ours]
            needed = self._housekeeper.named_uploads(keys)
            needed |= self._housekeeper.kept_uploads(keys, self._now - keep)
            return [facts for facts in ours if facts.key not in needed]

        return self._prune_prefix(UPLOADS, "uploads that no request used", choose, older_than=keep)

    def prune_temporary(self) -> Removed:
        """Objects that were never brought to their place."""
        return self._prune_prefix(
            TEMPORARY,
            "half-written objects",
            lambda old: [facts for facts in old if is_temporary(facts.key)],
        )

    def prune_compute_logs(
        self, stale_runs: AbstractSet[str], all_runs: AbstractSet[str], *, keep_others: timedelta
    ) -> Removed:
        """The output of runs that go and of runs that are gone; what ticks wrote goes by its age."""

        def is_past(facts: ObjectFacts) -> bool:
            run_id = run_of_compute_log(facts.key)
            if run_id is None:
                return self._is_older(facts, keep_others)
            return run_id in stale_runs or (run_id not in all_runs and self._is_older(facts, ORPHAN_AFTER))

        return self._prune_prefix(
            f"{COMPUTE_LOGS}/{LOG_STORAGE}",
            "outputs of runs",
            lambda page: [facts for facts in page if is_past(facts)],
            older_than=None,
        )

    def _prune_prefix(
        self,
        prefix: str,
        what: str,
        choose: Callable[[Sequence[ObjectFacts]], Iterable[ObjectFacts]],
        *,
        older_than: timedelta | None = ORPHAN_AFTER,
    ) -> Removed:
        """Remove what `choose` picks of the old objects of each page, right after it was asked.

        `older_than` None leaves the question of age to `choose`.
        """
        count = size = 0
        for page in self._store.list_pages(f"{prefix}/"):
            gone = list(choose([facts for facts in page if self._is_older(facts, older_than)]))
            self._remove([facts.key for facts in gone])
            count += len(gone)
            size += sum(facts.size for facts in gone)
        return Removed(what=what, count=count, size=size)

    def _is_older(self, facts: ObjectFacts, than: timedelta | None) -> bool:
        if than is None:
            return True
        return facts.modified_at is not None and facts.modified_at <= self._now - than

    def _remove(self, keys: Sequence[str]) -> None:
        if keys and not self._dry_run:
            self._store.remove_many(keys)
