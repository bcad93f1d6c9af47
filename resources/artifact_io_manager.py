"""Files between assets: an asset returns a file, the next one gets its path; `stage_files` moves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg

from pipeline3d.values import StoredObject
from resources.run_guard import guard_of
from resources.stage_files import MADE_FROM, LocalFile, StageFiles


class ArtifactIOManager(dg.ConfigurableIOManager):
    """What Dagster asks to keep an asset's file and to bring it to the next one."""

    stage_files: StageFiles

    def handle_output(self, context: dg.OutputContext, obj: LocalFile) -> None:
        """Publish the file and record it. Raises StoreUnavailable, DatabaseUnavailable, LeaseLost."""
        run = guard_of(context.run_id)
        asset = context.asset_key.path[-1]
        stored = self.stage_files.publish(run, asset, obj)
        bucket = self.stage_files.object_store.bucket
        context.add_output_metadata(
            {
                **_describe(stored, bucket),
                "seconds": run.seconds.get(asset, 0.0),
                MADE_FROM: dg.MetadataValue.json(dict(run.made_from[asset])),
            }
        )

    def load_input(self, context: dg.InputContext) -> Path:
        """The upstream asset's file on this machine. Raises BrokenArtifact when the store lost it."""
        run = guard_of(context.step_context.run_id)
        reader = context.step_context.step.key
        return self.stage_files.fetch(run, context.asset_key.path[-1], reader=reader)


def _describe(stored: StoredObject, bucket: str) -> dict[str, dg.MetadataValue[Any]]:
    return {
        "dagster/uri": dg.MetadataValue.text(f"s3://{bucket}/{stored.key}"),
        "size_bytes": dg.MetadataValue.int(stored.size),
        "sha256": dg.MetadataValue.text(stored.sha256),
        "content_type": dg.MetadataValue.text(stored.content_type),
    }
