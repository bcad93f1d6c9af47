"""What a new installation needs in its database: the first superuser and the catalogue of models.

Runs at every start: the second time it changes nothing, and never takes back what people changed since.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, Engine, func, select, update

from pipeline3d.database.tables import models, workers
from pipeline3d.requests import accounts
from pipeline3d.requests.catalogue import CatalogueModel, model_of_row, store_model

CONFIGURED_KEY = "configured"
"""Name of the key that the installation's configuration gives to the first superuser."""
LOCK_ID = 0x7033_6473


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedReport:
    """What seeding changed."""

    created_user: bool
    stored_key: bool
    changed_models: tuple[str, ...]
    retired_models: tuple[str, ...]

    @property
    def changed_anything(self) -> bool:
        """Whether there was something to do."""
        return bool(self.created_user or self.stored_key or self.changed_models or self.retired_models)


def seed(
    engine: Engine,
    catalogue: Sequence[CatalogueModel],
    *,
    username: str,
    password: str,
    api_key: str | None = None,
) -> SeedReport:
    """Store the first superuser, the configured API key (its hash) and the models, in one transaction.

    A user who exists keeps the password. A key that the configuration no longer has stops working. A model
    that the catalogue no longer has is kept for the jobs that used it, and cannot be asked for any more.
    """
    with engine.begin() as connection:
        connection.execute(select(func.pg_advisory_xact_lock(LOCK_ID)))
        user = connection.execute(accounts.find_user(username)).first()
        created = user is None
        if user is None:
            password_hash = accounts.hash_password(password)
            connection.execute(accounts.create_user(username, password_hash, is_superuser=True))
            user = connection.execute(accounts.find_user(username)).one()
        stored_key = False
        if api_key:
            connection.execute(accounts.revoke_other_keys(user.id, api_key, name=CONFIGURED_KEY))
            statement = accounts.create_api_key(user.id, api_key, name=CONFIGURED_KEY)
            stored_key = connection.execute(statement).first() is not None
        elsewhere = read_ready_elsewhere(connection)
        known = [keep_announcement(model, elsewhere.get(model.id)) for model in catalogue]
        changed = [model.id for model in known if connection.execute(store_model(model)).first()]
        retired = connection.execute(
            update(models)
            .where(models.c.id.not_in([model.id for model in catalogue]), models.c.is_active)
            .values(is_active=False, updated_at=func.now())
            .returning(models.c.id)
        ).scalars()
        return SeedReport(
            created_user=created,
            stored_key=stored_key,
            changed_models=tuple(changed),
            retired_models=tuple(retired),
        )


def announce(engine: Engine, catalogue: Sequence[CatalogueModel], queues: Sequence[str]) -> list[str]:
    """Make known what a worker's host can run, of the queues that it serves; the models that became ready.

    A model that is ready already stays as it is: by whichever host, one is enough.
    """
    with engine.begin() as connection:
        connection.execute(select(func.pg_advisory_xact_lock(LOCK_ID)))
        ready = {
            row.id
            for row in connection.execute(
                select(models.c.id).where(models.c.readiness["ready"].as_boolean(), models.c.is_active)
            )
        }
        new = [
            model
            for model in catalogue
            if model.readiness.ready and model.queue in queues and model.id not in ready
        ]
        for model in new:
            connection.execute(store_model(model))
        return [model.id for model in new]


def read_ready_elsewhere(connection: Connection) -> dict[str, CatalogueModel]:
    """The models that a worker of another host announced, as long as that worker is known."""
    announced = models.c.readiness["host"].as_string()
    rows = connection.execute(select(models).where(announced.in_(select(workers.c.host))))
    return {row.id: model_of_row(row) for row in rows}


def keep_announcement(model: CatalogueModel, announced: CatalogueModel | None) -> CatalogueModel:
    """The model as the catalogue has it; what cannot run here stays ready where it runs elsewhere."""
    if model.readiness.ready or announced is None or not announced.readiness.ready:
        return model
    if announced.readiness.host == model.readiness.host:
        return model  # it was this host that could, and cannot any more
    return replace(model, readiness=announced.readiness, queue=announced.queue)
