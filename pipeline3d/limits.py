"""The installation's limits, as those who keep to them want them."""

from __future__ import annotations

from pipeline3d.requests.admission import Admission
from pipeline3d.settings import Settings


def admission_of(settings: Settings) -> Admission:
    """How much is on its way to the workers at a time, and how much of one user is in work."""
    return Admission(
        silent_after_s=settings.silent_after_s, jobs_per_user=settings.pipeline3d_max_jobs_per_user or None
    )
