"""A whole installation in a folder of its own, started as a person starts it: `pipeline3d up`."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import httpx
import psutil

from pipeline3d.client import Pipeline3dClient
from pipeline3d.installation import configured_variables
from pipeline3d.local.data_lock import read_holder
from pipeline3d.local.environment import build_environment
from pipeline3d.local.state import load_state
from pipeline3d.settings import Settings, load_settings
from pipeline3d_tests.servers import wait_until

START_DEADLINE_S = 150.0
CHECKOUT = Path(__file__).parents[1]


@dataclass
class Installation:
    """A running `pipeline3d up` on its own data folder; `variables` are its configuration."""

    data: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.data.with_suffix(".log")

    def environment(self) -> dict[str, str]:
        """This process's own, without what somebody configured, and what was chosen for it."""
        ours = {name.upper() for name in Settings.model_fields}
        clean = {name: value for name, value in os.environ.items() if name not in ours}
        # The read-only Dagster UI starts after all else, and would take its part of what is measured then.
        quiet = {"PIPELINE3D_LINEAGE_UI": "false"}
        return {**clean, "PIPELINE3D_DATA_DIR": str(self.data), **quiet, **self.variables}

    def start(self) -> None:
        self.data.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pipeline3d.cli", "up"],
                cwd=CHECKOUT,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(self._is_up, what=f"pipeline3d up; see {self.log}", deadline_s=START_DEADLINE_S)

    def _is_up(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        holder = read_holder(self.data)
        return holder.get("pid") == self.process.pid and bool(holder.get("addresses"))

    def stop(self) -> int:
        """As Ctrl-C does it."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=60)

    @property
    def address(self) -> str:
        return read_holder(self.data)["addresses"]["API"]

    @property
    def dagster_address(self) -> str:
        """Dagster's webserver itself, past the sign-in."""
        state = load_state(self.data)
        assert state is not None
        return f"http://127.0.0.1:{state.ports['dagster']}/dagster"

    def client(self) -> Pipeline3dClient:
        state = load_state(self.data)
        assert state is not None
        client = Pipeline3dClient(self.address)
        client.login("admin", state.superuser_password)
        return client

    def graphql(self, query: str, **variables):
        """Ask Dagster; an earlier test may have killed its webserver, which is then on its way back."""
        answers: list[httpx.Response] = []

        def it_answers() -> bool:
            with suppress(httpx.HTTPError):
                body = {"query": query, "variables": variables}
                answers.append(httpx.post(f"{self.dagster_address}/graphql", json=body, timeout=30))
            return bool(answers)

        wait_until(it_answers, what="an answer of Dagster", deadline_s=60)
        return answers[0].json()["data"]

    def processes(self) -> list[psutil.Process]:
        """Every process that carries the stack's mark, wherever it hangs in the process tree."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("PIPELINE3D_STACK") == str(self.data):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def pid_of(self, program: str) -> int:
        return json.loads((self.data / "run" / f"{program}.begun.json").read_text())["pid"]

    @property
    def database_url(self) -> str:
        """The jobs database."""
        state = load_state(self.data)
        assert state is not None
        configured = load_settings({"PIPELINE3D_DATA_DIR": str(self.data)}, env_file=None)
        environment = build_environment(
            state, data_directory=self.data, configured=configured_variables(configured)
        )
        return environment["DATABASE_URL"]

    @classmethod
    @contextmanager
    def running(cls, data: Path, **variables: str) -> Iterator[Self]:
        """Started, and stopped at the end."""
        installation = cls(data, variables)
        installation.start()
        try:
            yield installation
        finally:
            if installation.process is not None and installation.process.poll() is None:
                installation.stop()
