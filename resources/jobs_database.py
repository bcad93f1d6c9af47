"""The jobs table as a Dagster resource: one engine per process, shared by all runs and sensors."""

from __future__ import annotations

from functools import lru_cache

import dagster as dg
from sqlalchemy import Engine

from pipeline3d.database.engines import create_sync_engine
from pipeline3d.requests.fleet import Fleet
from pipeline3d.requests.housekeeping import Housekeeper
from pipeline3d.requests.ledger import JobLedger
from pipeline3d.requests.removal import Removals


class JobsDatabase(dg.ConfigurableResource["JobsDatabase"]):
    """Postgres with the requests. `url` in any spelling that `DATABASE_URL` accepts."""

    url: str

    def connect(self) -> JobLedger:
        """The ledger of this process; connections are opened when they are needed."""
        return JobLedger(_engine(self.url))

    def connect_fleet(self) -> Fleet:
        """The workers and launched runs, by the same connections."""
        return Fleet(_engine(self.url))

    def connect_housekeeper(self) -> Housekeeper:
        """What is old in the same database, for the nightly prune."""
        return Housekeeper(_engine(self.url))

    def connect_removals(self) -> Removals:
        """What is left of deleted requests in the same database."""
        return Removals(_engine(self.url))


@lru_cache(maxsize=4)
def _engine(url: str) -> Engine:
    return create_sync_engine(url)
