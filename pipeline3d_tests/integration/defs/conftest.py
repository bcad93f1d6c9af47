"""A database with a user and the catalogue, a bucket, requests in them: real servers, no Dagster daemon."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

import dagster as dg
import pytest
import sqlalchemy as sa

from pipeline3d.definitions import build_definitions
from pipeline3d.requests import accounts, creation
from pipeline3d.requests.catalogue import Readiness, check_request
from pipeline3d.requests.fleet import Fleet
from pipeline3d.requests.ledger import JobLedger
from pipeline3d.settings import Settings
from pipeline3d.store.s3 import S3Store
from pipeline3d.values import Family, Kind, route_of, stages_of
from pipeline3d_tests.integration.requests.database_fixtures import USERNAME
from pipeline3d_tests.servers import ObjectStoreServer
from resources.catalogue import shipped_model
from resources.models import close_models

UPSTREAM = Path(__file__).parents[2] / "wrapper_scripts"
PARAMS = {"quality": "fast", "foreground_ratio": 0.85, "texture_resolution": 512, "size_m": 1.0, "seed": 0}
PROBE_PARAMS = {"work_s": 0, "in_subprocess": False, "transient_failures": 0, "fails": False}


@dataclass
class Workbench:
    """Everything that a run needs, and ways to look at what it left behind."""

    engine: sa.Engine
    store: S3Store
    instance: dg.DagsterInstance
    definitions: dg.Definitions
    scratch: Path
    user_id: UUID

    @property
    def ledger(self) -> JobLedger:
        return JobLedger(self.engine)

    @property
    def fleet(self) -> Fleet:
        return Fleet(self.engine)

    def request(self, picture: bytes, **params) -> UUID:
        """A queued request for the picture, with its partition."""
        job_id = creation.new_job_id()
        key = f"uploads/inputs/{self.user_id}/{job_id}-photo"
        self.store.put_bytes(key, picture, "image/png")
        job = creation.NewJob(
            id=job_id,
            user_id=self.user_id,
            model_id="inflate-v1",
            kind=Kind.IMAGE_TO_3D,
            family=Family.MODEL_REQUESTS,
            prompt=None,
            input_params={"input_path": key},
            params={"input_path": key, **PARAMS, **params},
            upload=creation.UploadedInput(key=key, size=len(picture), content_type="image/png"),
        )
        with self.engine.begin() as connection:
            connection.execute(creation.create_job(job))
        self.instance.add_dynamic_partitions(Family.MODEL_REQUESTS, [str(job_id)])
        return job_id

    def ask(
        self, model_id: str, sent: dict, *, prompt: str | None = None, picture: bytes | None = None
    ) -> UUID:
        """A queued request of any model, with its partition; parameters completed as the API does it.

        It goes as far as the model unless told otherwise.
        """
        job_id = creation.new_job_id()
        sent = sent if model_id == "probe-v1" else {"delivers": "model", **sent}
        upload = None
        if picture is not None:
            key = f"uploads/inputs/{self.user_id}/{job_id}-photo"
            self.store.put_bytes(key, picture, "image/png")
            upload = creation.UploadedInput(key=key, size=len(picture), content_type="image/png")
            sent = {"input_path": key, **sent}
        model = replace(shipped_model(model_id), readiness=Readiness(ready=True))
        checked = check_request(model, sent, prompt=prompt, bucket=self.store.bucket)
        job = creation.NewJob(
            id=job_id,
            user_id=self.user_id,
            model_id=model.id,
            kind=model.kind,
            family=model.family,
            prompt=checked.prompt,
            input_params=sent,
            params=checked.params,
            upload=upload,
        )
        with self.engine.begin() as connection:
            connection.execute(creation.create_job(job))
        self.instance.add_dynamic_partitions(model.family, [str(job_id)])
        return job_id

    def probe(self, **params) -> UUID:
        """A queued probe, with its partition."""
        job = creation.NewJob(
            id=creation.new_job_id(),
            user_id=self.user_id,
            model_id="probe-v1",
            kind=Kind.PROBE,
            family=Family.PROBE_REQUESTS,
            prompt=None,
            input_params={},
            params={**PROBE_PARAMS, **params},
        )
        with self.engine.begin() as connection:
            connection.execute(creation.create_job(job))
        self.instance.add_dynamic_partitions(Family.PROBE_REQUESTS, [str(job.id)])
        return job.id

    def run(self, job_id: UUID, *, attempt: int | None = 1, **options) -> dg.ExecuteInProcessResult:
        """One run of the request's job in this process; a failing step does not raise."""
        tags = {"pipeline3d/attempt": str(attempt)} if attempt else {}
        row = self.row(job_id)
        kind = Kind(row.kind)
        stages = [dg.AssetKey(stage) for stage in stages_of(kind, row.model_id, row.params)]
        return self.definitions.resolve_job_def(route_of(kind, row.model_id)).execute_in_process(
            instance=self.instance,
            partition_key=str(job_id),
            tags=tags,
            raise_on_error=False,
            **{"asset_selection": stages, **options},
        )

    def row(self, job_id: UUID):
        """The request's row."""
        with self.engine.connect() as connection:
            return connection.execute(sa.text("SELECT * FROM jobs WHERE id = :id"), {"id": job_id}).one()

    def artifacts(self, job_id: UUID) -> dict:
        """The request's artifacts by asset; of several the newest."""
        return {row.asset: row for row in self.all_artifacts(job_id)}

    def all_artifacts(self, job_id: UUID) -> list:
        """The request's artifacts, the oldest first."""
        query = sa.text("SELECT * FROM artifacts WHERE job_id = :id ORDER BY created_at")
        with self.engine.connect() as connection:
            return list(connection.execute(query, {"id": job_id}))

    def content(self, job_id: UUID, asset: str) -> bytes:
        """What an asset stored last."""
        return self.store.read_bytes(self.artifacts(job_id)[asset].storage_path)

    def events(self, job_id: UUID) -> list[dict]:
        """The payloads of the request's history."""
        query = sa.text("SELECT payload FROM job_events WHERE job_id = :id ORDER BY id")
        with self.engine.connect() as connection:
            return list(connection.execute(query, {"id": job_id}).scalars())


@contextmanager
def open_workbench(
    data: Path, *, engine: sa.Engine, object_store: ObjectStoreServer, bucket: str
) -> Iterator[Workbench]:
    """A workbench on these servers, with its files in the folder `data`."""
    url = engine.url.render_as_string(hide_password=False)
    store = {
        "endpoint": object_store.endpoint,
        "access_key": object_store.access_key,
        "secret_key": object_store.secret_key,
    }
    # A checkout of the model, as its wrapper finds one: the script with the package beside it.
    sf3d = shutil.copytree(UPSTREAM, data / "upstream") / "sf3d"
    script = shutil.copy(sf3d / "run.py", sf3d / "packages" / "run.py")
    settings = Settings(
        _env_file=None,
        dagster_pg_url="postgresql://unused@h/d",
        minio_bucket=bucket,
        pipeline3d_data_dir=data,
        pipeline3d_models_dir=data / "models",
        pipeline3d_photo_hosts=["127.0.0.1"],
        sf3d_python_path=sys.executable,
        sf3d_script_path=Path(script),
        api_url="http://api.example.com",
    )
    with engine.connect() as connection:
        user_id = connection.execute(accounts.find_user(USERNAME)).one().id
    with pytest.MonkeyPatch.context() as patch, dg.DagsterInstance.ephemeral() as instance:
        patch.setenv("DATABASE_URL", url)
        patch.setenv("LINK_SIGNING_KEY", "signing-key")
        for name, value in store.items():
            patch.setenv(f"MINIO_{name.upper()}", value)
        yield Workbench(
            engine=engine,
            store=S3Store(**store, bucket=bucket, secure=False),
            instance=instance,
            definitions=build_definitions(settings),
            scratch=data / "scratch",
            user_id=user_id,
        )


@pytest.fixture(scope="module")
def workbench(
    shared_engine: sa.Engine,
    object_store_server: ObjectStoreServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Workbench]:
    """One for all tests of a file: requests know nothing of each other."""
    with open_workbench(
        tmp_path_factory.mktemp("workbench"),
        engine=shared_engine,
        object_store=object_store_server,
        bucket=object_store_server.fresh_bucket(),
    ) as opened:
        yield opened


@pytest.fixture(autouse=True)
def no_model_stays() -> Iterator[None]:
    """Every test finds this process without models in memory."""
    yield
    close_models()
