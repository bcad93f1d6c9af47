"""`pipeline3d courier`: the settings become the policy of a courier, which delivers until told to stop."""

from __future__ import annotations

import logging

from pipeline3d.courier.command import serve
from pipeline3d.courier.policy import CourierPolicy
from pipeline3d.database.engines import create_sync_engine
from pipeline3d.installation import Installation, require
from pipeline3d.local.ready_files import tell_ready
from pipeline3d.requests.installation_values import read_installation_values
from pipeline3d.settings import Settings

DAY_S = 86_400.0
LEASE_BEYOND_ATTEMPT_S = 30.0
"""An attempt waits for the name server and the receiver, and then for Postgres."""


def deliver(installation: Installation) -> None:
    """Deliver the webhooks of this installation until SIGTERM or SIGINT."""
    settings = installation.settings
    database_url = require(settings.database_url, "DATABASE_URL")
    api_url = settings.api_url or _read_api_url(database_url)
    logging.getLogger("pipeline3d.courier").info("delivering webhooks")
    serve(database_url, policy_of(settings, api_url=api_url), on_listening=tell_ready)


def policy_of(settings: Settings, *, api_url: str | None) -> CourierPolicy:
    """The policy that these settings mean."""
    return CourierPolicy(
        retry_delays_s=tuple(float(delay) for delay in settings.pipeline3d_webhook_retry_s.split(",")),
        disable_after_s=settings.pipeline3d_webhook_disable_days * DAY_S,
        timeout_s=settings.pipeline3d_webhook_timeout_s,
        lease_s=settings.pipeline3d_webhook_timeout_s + LEASE_BEYOND_ATTEMPT_S,
        allowed_hosts=tuple(settings.pipeline3d_webhook_hosts),
        api_url=api_url,
    )


def _read_api_url(database_url: str) -> str | None:
    """On a host beside the installation, which knows it. Raises DatabaseUnavailable."""
    engine = create_sync_engine(database_url, pool_size=1)
    try:
        return read_installation_values(engine).get("API_URL")
    finally:
        engine.dispose()
