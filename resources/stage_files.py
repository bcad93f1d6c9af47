"""The files of a request's stages: published to the object store with their row, and brought back.

Objects are `jobs/{request}/{asset}/{name}.{ext}`, verified and published atomically, then recorded
with their sha256 in the artifacts table. No pickles, nothing in memory, nothing outlives the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import dagster as dg

from pipeline3d.errors import BrokenArtifact
from pipeline3d.store.keys import artifact_key
from pipeline3d.values import ArtifactType, StoredObject
from resources.jobs_database import JobsDatabase
from resources.object_store import ObjectStore
from resources.patience import wait_out_outage
from resources.run_guard import RunGuard

MADE_FROM = "made_from"
"""In an artifact's metadata: the files that its stage read, with their sha256."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFile:
    """What an asset hands over: a file in the run's scratch folder and what it is."""

    path: Path
    content_type: str
    type: ArtifactType = ArtifactType.INTERMEDIATE
    metadata: dict[str, Any] = field(default_factory=dict)


class StageFiles(dg.ConfigurableResource["StageFiles"]):
    """Moves `LocalFile`s into the object store and back to local paths."""

    object_store: ObjectStore
    jobs_database: JobsDatabase

    def publish(self, run: RunGuard, asset: str, file: LocalFile) -> StoredObject:
        """Publish and record a file of a stage, with the hashes of what the stage has read so far.

        Raises StoreUnavailable, DatabaseUnavailable, LeaseLost.
        """
        run.require_ownership()
        metadata = {**file.metadata, MADE_FROM: dict(run.made_from[asset])}
        key = artifact_key(run.job.job_id, asset, file.path.name)
        stored = wait_out_outage(
            lambda: self.object_store.connect().put_file(
                key,
                file.path,
                file.content_type,
                writer=UUID(run.run_id),
                before_publishing=run.confirm_ownership,
            )
        )
        wait_out_outage(
            lambda: self.jobs_database.connect().record_artifact(
                run.job.job_id, run.job.attempt, asset, file.path.name, file.type, stored, metadata
            )
        )
        return stored

    def fetch(
        self,
        run: RunGuard,
        asset: str,
        *,
        name: str | None = None,
        of_job: UUID | None = None,
        reader: str | None = None,
    ) -> Path:
        """A file of a stage (the newest, or by its name), of this request or another one, on this machine.

        `reader` is the stage that reads it: the one that is under way, if none is named.
        Raises BrokenArtifact where it was never stored or the store lost it.
        """
        job_id = of_job or run.job.job_id
        recorded = wait_out_outage(lambda: self.jobs_database.connect().read_artifact(job_id, asset, name))
        if recorded is None:
            raise BrokenArtifact(
                f"{asset} of request {job_id} was never stored.", hint="Run the whole request again."
            )
        file = f"{asset}/{Path(recorded.key).name}"
        run.note_source(file if of_job is None else f"{of_job}/{file}", recorded.sha256, stage=reader)
        local = run.scratch / (asset if of_job is None else f"{asset}-of-{of_job}") / Path(recorded.key).name
        if not local.exists():
            local.parent.mkdir(exist_ok=True)
            wait_out_outage(
                lambda: self.object_store.connect().fetch_to_file(
                    recorded.key, local, expected_sha256=recorded.sha256
                )
            )
        return local

    def list_files(self, run: RunGuard, assets: Sequence[str]) -> dict[tuple[str, str], StoredObject]:
        """What these stages stored for the request, by asset and name, in the order of the stages."""
        found = wait_out_outage(lambda: self.jobs_database.connect().list_artifacts(run.job.job_id))
        ordered = sorted(
            (file for file in found if file[0] in assets), key=lambda file: (assets.index(file[0]), file[1])
        )
        return {file: found[file] for file in ordered}

    def facts(self, run: RunGuard, asset: str, name: str | None = None) -> dict[str, Any] | None:
        """What was recorded with a stage's file (the newest, or by its name); None where there is none."""
        recorded = wait_out_outage(
            lambda: self.jobs_database.connect().read_artifact(run.job.job_id, asset, name)
        )
        return None if recorded is None else dict(recorded.metadata)
