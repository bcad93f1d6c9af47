"""The requests of the fault benchmark: what is asked for, by whom, and how it gets in.

They go in through the HTTP API, each with an idempotency key and again until the API acknowledged it: what is
counted afterwards is exactly what somebody was promised.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine

from pipeline3d.client import Pipeline3dClient
from pipeline3d.errors import TransientFailure
from pipeline3d.requests import accounts

USERS = 5
LONGEST_WORK_S = 2.0
SHARE_WITHOUT_WORK = 0.3
SHARE_IN_SUBPROCESS = 0.3
TRY_AGAIN_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRequest:
    """One request: whose it is, and what the probe shall do."""

    key: str
    user: int
    params: dict[str, Any]


def plan_requests(count: int, seed: int) -> list[PlannedRequest]:
    """The same for the same seed: none to two seconds of work, some of it in a program of its own."""
    chance = random.Random(seed)
    planned = []
    for number in range(count):
        works = chance.random() >= SHARE_WITHOUT_WORK
        params = {
            "work_s": round(chance.uniform(0, LONGEST_WORK_S), 2) if works else 0,
            "in_subprocess": chance.random() < SHARE_IN_SUBPROCESS,
        }
        planned.append(PlannedRequest(key=f"{seed}-{number}", user=number % USERS, params=params))
    return planned


def create_users(engine: Engine, count: int = USERS) -> list[str]:
    """So many users; one API key of each."""
    keys = []
    for number in range(count):
        key = accounts.generate_api_key()
        with engine.begin() as connection:
            password_hash = accounts.hash_password(key)
            user_id = connection.execute(accounts.create_user(f"user-{number}", password_hash)).scalar_one()
            connection.execute(accounts.create_api_key(user_id, key, name="faults"))
        keys.append(key)
    return keys


class Submitter(threading.Thread):
    """Asks for the requests one after the other, at a steady pace, whatever happens to the API meanwhile."""

    def __init__(
        self, address: str, keys: Sequence[str], requests: Sequence[PlannedRequest], *, pace_s: float
    ) -> None:
        super().__init__(name="submitter", daemon=True)
        self._clients = [Pipeline3dClient(address, key) for key in keys]
        self.requests = requests
        self._pace_s = pace_s
        self.job_ids: list[str] = []
        """What was acknowledged so far."""
        self.refusal: Exception | None = None

    def run(self) -> None:
        """Ask for all."""
        try:
            for request in self.requests:
                self.job_ids.append(self._ask_until_acknowledged(request))
                time.sleep(self._pace_s)
        except Exception as error:  # shown by whoever waits for this thread
            self.refusal = error
        finally:
            for client in self._clients:
                client.close()

    def _ask_until_acknowledged(self, request: PlannedRequest) -> str:
        client = self._clients[request.user]
        while True:
            try:
                return str(client.create_job("probe-v1", request.params, idempotency_key=request.key)["id"])
            except TransientFailure:
                time.sleep(TRY_AGAIN_S)
