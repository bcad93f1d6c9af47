"""Files between assets: an asset returns a file, the next one gets its path; the object store holds it.

Objects are `jobs/{request}/{asset}/{name}.{ext}`, verified and published atomically, then recorded
with their sha256 in the artifacts table. No pickles, nothing in memory, nothing outlives the run.
"""

from __future__ import annotations

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
from resources.run_guard import guard_of


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFile:
    """What an asset hands over: a file in the run's scratch folder and what it is."""

    path: Path
    content_type: str
    type: ArtifactType = ArtifactType.INTERMEDIATE
    metadata: dict[str, Any] = field(default_factory=dict)


class ArtifactIOManager(dg.ConfigurableIOManager):
    """Moves `LocalFile`s into the object store and back to local paths."""

    object_store: ObjectStore
    jobs_database: JobsDatabase

    def handle_output(self, context: dg.OutputContext, obj: LocalFile) -> None:
        """Publish the file and record it. Raises StoreUnavailable, DatabaseUnavailable, LeaseLost."""
        guard = guard_of(context.run_id)
        guard.require_ownership()
        asset = context.asset_key.path[-1]
        key = artifact_key(guard.job.job_id, asset, obj.path.name)
        stored = wait_out_outage(
            lambda: self.object_store.connect().put_file(
                key,
                obj.path,
                obj.content_type,
                writer=UUID(context.run_id),
                before_publishing=guard.confirm_ownership,
            )
        )
        wait_out_outage(
            lambda: self.jobs_database.connect().record_artifact(
                guard.job.job_id,
                guard.job.attempt,
                asset,
                obj.path.name,
                obj.type,
                stored,
                obj.metadata,
            )
        )
        context.add_output_metadata(
            {**_describe(stored, self.object_store.bucket), "seconds": guard.seconds.get(asset, 0.0)}
        )

    def load_input(self, context: dg.InputContext) -> Path:
        """The upstream asset's file on this machine. Raises BrokenArtifact when the store lost it."""
        run_id = context.step_context.run_id
        guard = guard_of(run_id)
        asset = context.asset_key.path[-1]
        recorded = wait_out_outage(
            lambda: self.jobs_database.connect().read_artifact(guard.job.job_id, asset)
        )
        if recorded is None:
            raise BrokenArtifact(
                f"{asset} of request {guard.job.job_id} was never stored.",
                hint="Run the whole request again.",
            )
        local = guard.scratch / asset / Path(recorded.key).name
        if not local.exists():
            local.parent.mkdir(exist_ok=True)
            wait_out_outage(
                lambda: self.object_store.connect().fetch_to_file(
                    recorded.key, local, expected_sha256=recorded.sha256
                )
            )
        return local


def _describe(stored: StoredObject, bucket: str) -> dict[str, dg.MetadataValue[Any]]:
    return {
        "dagster/uri": dg.MetadataValue.text(f"s3://{bucket}/{stored.key}"),
        "size_bytes": dg.MetadataValue.int(stored.size),
        "sha256": dg.MetadataValue.text(stored.sha256),
        "content_type": dg.MetadataValue.text(stored.content_type),
    }
