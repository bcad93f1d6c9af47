"""The jobs table as a Dagster resource: one engine per process, shared by all runs and sensors."""

from __future__ import annotations

from functools import lru_cache

import dagster as dg

from pipeline3d.database.engines import create_sync_engine
from pipeline3d.requests.ledger import JobLedger


class JobsDatabase(dg.ConfigurableResource["JobsDatabase"]):
    """Postgres with the requests. `url` in any spelling that `DATABASE_URL` accepts."""

    url: str

    def connect(self) -> JobLedger:
        """The ledger of this process; connections are opened when they are needed."""
        return _ledger(self.url)


@lru_cache(maxsize=4)
def _ledger(url: str) -> JobLedger:
    return JobLedger(create_sync_engine(url))
