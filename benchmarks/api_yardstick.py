"""What the API is held against: the same framework, engine and driver, with nothing around one statement.

`uvicorn benchmarks.api_yardstick:create_app --factory` with DATABASE_URL; `prepare` makes its database ready.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

from fastapi import FastAPI
from pydantic import BaseModel
from sqlalchemy import Column, DateTime, Engine, MetaData, Table, Text, Uuid, bindparam, func, insert, select
from sqlalchemy.dialects.postgresql import JSONB

from pipeline3d.database.engines import create_asyncio_engine

yardstick = Table(
    "yardstick",
    # apart from the tables of the service, which migrations are compared with
    MetaData(),
    Column("id", Uuid, primary_key=True),
    Column("user_id", Uuid, nullable=False, index=True),
    Column("model_id", Text, nullable=False),
    Column("params", JSONB, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

INSERT = insert(yardstick).returning(yardstick.c.id, yardstick.c.created_at)
SELECT = select(yardstick).where(yardstick.c.id == bindparam("the_id", type_=Uuid))


class Order(BaseModel):
    """What is stored, in the form of a job's."""

    model_id: str
    prompt: str
    input_params: dict[str, Any] = {}


def prepare(engine: Engine) -> UUID:
    """Make the table, with one row; its id."""
    yardstick.create(engine, checkfirst=True)
    row_id = uuid4()
    with engine.begin() as connection:
        connection.execute(insert(yardstick), _values(row_id, Order(model_id="sculpt-v1", prompt="a chair")))
    return row_id


def create_app() -> FastAPI:
    """Two routes of one statement each."""
    engine = create_asyncio_engine(os.environ["DATABASE_URL"])

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await engine.dispose()

    app = FastAPI(lifespan=lifespan)

    @app.post("/rows/", status_code=201)
    async def store(order: Order) -> dict[str, Any]:
        async with engine.connect() as connection:
            row = (await connection.execute(INSERT, _values(uuid4(), order))).one()
        return dict(row._mapping)

    @app.get("/rows/{row_id}")
    async def read(row_id: UUID) -> dict[str, Any]:
        async with engine.connect() as connection:
            row = (await connection.execute(SELECT, {"the_id": row_id})).one()
        return dict(row._mapping)

    return app


def _values(row_id: UUID, order: Order) -> dict[str, Any]:
    params = {"prompt": order.prompt, **order.input_params}
    return {"id": row_id, "user_id": row_id, "model_id": order.model_id, "params": params}
