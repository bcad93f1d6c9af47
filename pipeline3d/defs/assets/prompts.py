"""The text of a request, as a file of its own, so that its lineage begins somewhere."""

import json

import dagster as dg

from pipeline3d.defs.assets.family import model_asset, scratch_file
from pipeline3d.errors import UnusableInput
from resources.request_run import RequestRun
from resources.stage_files import LocalFile


@model_asset(kinds={"text"}, description="The text that was asked for.")
def prompt(context: dg.AssetExecutionContext, request_run: RequestRun) -> dg.MaterializeResult:
    """Keep the text and the parameters."""
    with request_run.stage(context) as run:
        text = (run.job.prompt or "").strip()
        if not text:
            raise UnusableInput(
                "The request has no text.", code="missing_prompt", hint="Send prompt with a description."
            )
        path = scratch_file(run, "prompt", "prompt.json")
        kept = json.dumps({"prompt": text, "parameters": run.job.params}, ensure_ascii=False)
        path.write_text(kept, encoding="utf-8")
        return dg.MaterializeResult(
            value=LocalFile(path=path, content_type="application/json"),
            metadata={
                "prompt": text[:500],
                "characters": len(text),
                "model": run.job.model_id,
                "parameters": dg.MetadataValue.json(run.job.shown_params),
            },
        )
