"""Stable links to preview pictures, for Dagster's UI, where a presigned link would die in an hour."""

from __future__ import annotations

from uuid import UUID

import dagster as dg

from pipeline3d.store.signed_links import preview_path


class PreviewLinks(dg.ConfigurableResource["PreviewLinks"]):
    """Signs links that the API resolves to the picture."""

    api_url: str
    signing_key: str

    def preview_url(self, job_id: UUID, asset: str, name: str) -> str:
        """A link that shows this one picture to whoever holds it."""
        return f"{self.api_url}{preview_path(self.signing_key, job_id, asset, name)}"
