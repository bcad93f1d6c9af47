"""A database with a user and the catalogue, a bucket, requests in them: real servers, no Dagster daemon."""

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

import dagster as dg
import pytest
import sqlalchemy as sa

from pipeline3d.database.engines import create_sync_engine
from pipeline3d.database.migration import migrate
from pipeline3d.database.tables import users
from pipeline3d.definitions import build_definitions
from pipeline3d.requests import creation
from pipeline3d.requests.catalogue import Readiness, check_request, load_catalogue
from pipeline3d.requests.fleet import Fleet
from pipeline3d.requests.ledger import JobLedger
from pipeline3d.requests.seeding import seed
from pipeline3d.settings import Settings
from pipeline3d.store.s3 import S3Store
from pipeline3d.values import Family, Kind, route_of, stages_of
from resources.catalogue import shipped_model
from resources.models import close_models

UPSTREAM = Path(__file__).parents[2] / "wrapper_scripts"
CATALOGUE = Path(__file__).parents[3] / "resources" / "catalogue.json"
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


@pytest.fixture(scope="session")
def seeded_template(postgres_server) -> str:
    """The name of a database with tables, a user and the catalogue, to be copied."""
    url = postgres_server.fresh_database()
    migrate(url)
    engine = create_sync_engine(url)
    seed(engine, load_catalogue(CATALOGUE), username="ada", password="correct horse")
    engine.dispose()
    return url.rsplit("/", 1)[-1]


@pytest.fixture
def workbench(
    fresh_database: Callable[..., str],
    seeded_template: str,
    object_store_server,
    fresh_bucket: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Workbench]:
    url = fresh_database(seeded_template)
    for name, value in {
        "DATABASE_URL": url,
        "MINIO_ENDPOINT": object_store_server.endpoint,
        "MINIO_ACCESS_KEY": object_store_server.access_key,
        "MINIO_SECRET_KEY": object_store_server.secret_key,
        "LINK_SIGNING_KEY": "signing-key",
    }.items():
        monkeypatch.setenv(name, value)
    # A checkout of the model, as its wrapper finds one: the script with the package beside it.
    sf3d = shutil.copytree(UPSTREAM, tmp_path / "upstream") / "sf3d"
    script = shutil.copy(sf3d / "run.py", sf3d / "packages" / "run.py")
    settings = Settings(
        _env_file=None,
        dagster_pg_url="postgresql://unused@h/d",
        minio_bucket=fresh_bucket,
        pipeline3d_data_dir=tmp_path,
        pipeline3d_models_dir=tmp_path / "models",
        pipeline3d_photo_hosts=["127.0.0.1"],
        sf3d_python_path=sys.executable,
        sf3d_script_path=Path(script),
        api_url="http://api.example.com",
    )
    engine = create_sync_engine(url)
    with engine.connect() as connection:
        user_id = connection.execute(sa.select(users.c.id)).scalar_one()
    with dg.DagsterInstance.ephemeral() as instance:
        yield Workbench(
            engine=engine,
            store=S3Store(
                endpoint=object_store_server.endpoint,
                access_key=object_store_server.access_key,
                secret_key=object_store_server.secret_key,
                bucket=fresh_bucket,
                secure=False,
            ),
            instance=instance,
            definitions=build_definitions(settings),
            scratch=tmp_path / "scratch",
            user_id=user_id,
        )
    close_models()
    engine.dispose()
