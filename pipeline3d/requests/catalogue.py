"""The catalogue of models: what can be asked for, with which parameters, and whether it can run here.

Read from a JSON file at start and kept in the `models` table, which is what requests are checked against.
A model that cannot run is listed with the reason; nothing ever stands in for it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from sqlalchemy import Insert, Row, Select, func, or_, select
from sqlalchemy.dialects.postgresql import insert

from pipeline3d.database.tables import models
from pipeline3d.errors import InvalidParameters, ModelNotReady, SettingsError
from pipeline3d.requests.costs import check_costs
from pipeline3d.requests.parameters import (
    check_presets,
    complete_parameters,
    default_parameters,
    take_image_key,
)
from pipeline3d.requests.products import with_product_key
from pipeline3d.values import BUILT_KINDS, Family, Kind

MODEL_COLUMNS = (
    *("id", "name", "description", "kind", "family", "version", "tier", "queue", "pool"),
    *("parameters_schema", "default_params", "licence", "costs", "readiness", "is_active"),
)
KINDS_OF_PICTURE = frozenset({Kind.IMAGE_TO_3D})
KINDS_OF_FILE = KINDS_OF_PICTURE | {Kind.EXPORT_MODEL}
"""The kinds that take an uploaded file."""
KINDS_OF_MODEL = frozenset({Kind.EXPORT_MODEL})
"""The kinds that take the model of an earlier request."""
KINDS_OF_PROMPT = frozenset({Kind.TEXT_TO_3D})


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Whether this installation can run a model and, if not, why and what to do."""

    ready: bool
    code: str | None = None
    reason: str | None = None
    hint: str | None = None
    host: str | None = None
    """Which host has looked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """What makes a model's results: an engine of this project, or the program of a wrapper's folder."""

    engine: str = "none"
    wrapper: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsFile:
    """A file of a model's weights and where it comes from."""

    name: str
    url: str
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """The files that a model needs, in a folder of their own below the folder of the models."""

    directory: str
    files: tuple[WeightsFile, ...] = ()
    token_variable: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueModel:
    """A model that a request can name. What `MODEL_COLUMNS` names is kept in the table, the rest is not."""

    id: str
    name: str
    description: str
    kind: Kind
    family: Family
    version: str
    tier: str
    queue: str
    pool: str | None = None
    parameters_schema: dict[str, Any] = field(default_factory=dict)
    licence: dict[str, Any] = field(default_factory=dict)
    costs: dict[str, Any] = field(default_factory=dict)
    """What a request costs, as `requests.costs` reads it."""
    readiness: Readiness = field(default_factory=lambda: Readiness(ready=True))
    is_active: bool = True
    runner: Runner = field(default_factory=Runner)
    vram_bytes: int = 0
    weights: Weights | None = None

    @property
    def default_params(self) -> dict[str, Any]:
        """What a parameter is where nothing is sent."""
        return default_parameters(self.parameters_schema)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownModel:
    """A model as it was read at a moment of a monotonic clock, in seconds."""

    model: CatalogueModel
    read_at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedParameters:
    """Parameters that a model accepts: complete, with the uploaded file's key and the prompt apart."""

    params: dict[str, Any]
    input_key: str | None
    prompt: str | None


def load_catalogue(path: Path) -> tuple[CatalogueModel, ...]:
    """Read the catalogue; `SettingsError` names the model and what is wrong with it."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        entries, sets = document["models"], document.get("parameter_sets", {})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError(f"The catalogue {path} cannot be read: {error}.") from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise SettingsError(f"The catalogue {path} has no list of models.")
    parsed = tuple(parse_model(with_parameter_sets(entry, sets)) for entry in entries)
    ids = [model.id for model in parsed]
    doubled = sorted({name for name in ids if ids.count(name) > 1})
    if doubled:
        raise SettingsError(f"The catalogue {path} has {', '.join(doubled)} more than once.")
    return parsed


def with_parameter_sets(entry: dict[str, Any], sets: dict[str, Any]) -> dict[str, Any]:
    """An entry with the parameters of the sets that it names; its own win. Raises SettingsError."""
    entry = dict(entry)
    names = entry.pop("parameter_sets", [])
    try:
        shared = {name: rule for chosen in names for name, rule in sets[chosen].items()}
        schema = entry["parameters_schema"]
        own = schema["properties"]
    except (KeyError, TypeError, AttributeError) as error:
        raise SettingsError(
            f"Model {entry.get('id', '?')} of the catalogue: its parameters_schema or a parameter set lacks "
            f"{error}."
        ) from error
    properties = {**own, **{name: rule for name, rule in shared.items() if name not in own}}
    return {**entry, "parameters_schema": {**schema, "properties": properties}}


def parse_model(entry: dict[str, Any]) -> CatalogueModel:
    """One entry of the catalogue as a value."""
    name = entry.get("id", "?")
    try:
        schema = entry["parameters_schema"]
        Draft202012Validator.check_schema(schema)
        model = CatalogueModel(
            **{
                **entry,
                "kind": Kind(entry["kind"]),
                "family": Family(entry["family"]),
                "readiness": _parse_readiness(entry),
                "runner": Runner(**entry.get("runner", {})),
                "weights": _parse_weights(entry.get("weights")),
            }
        )
        check_presets(schema)
        check_costs(model.costs, schema)
    except SchemaError as error:
        raise SettingsError(f"Model {name}: its parameters_schema is wrong: {error.message}.") from error
    except (KeyError, TypeError, ValueError, InvalidParameters) as error:
        raise SettingsError(f"Model {name} of the catalogue is wrong: {error}.") from error
    if model.readiness.ready and model.kind not in BUILT_KINDS:
        raise SettingsError(f"Model {name} is of kind {model.kind}, which is not built, and is not said so.")
    return model


def _parse_readiness(entry: dict[str, Any]) -> Readiness:
    """What needs nothing but this project is ready; what needs more is not until somebody has looked."""
    if "readiness" in entry:
        return Readiness(**entry["readiness"])
    if entry.get("weights") is None and entry.get("runner", {}).get("wrapper") is None:
        return Readiness(ready=True)
    return Readiness(
        ready=False,
        code="not_checked",
        reason=f"Nobody has looked yet whether {entry.get('name')} can run on this installation.",
        hint="`pipeline3d seed` looks, and so does a worker when it starts.",
    )


def _parse_weights(entry: dict[str, Any] | None) -> Weights | None:
    if entry is None:
        return None
    files = tuple(WeightsFile(**file) for file in entry["files"])
    return Weights(**{**entry, "files": files})


def model_of_row(row: Row[Any]) -> CatalogueModel:
    """A row of `models` as a value."""
    values = {name: getattr(row, name) for name in MODEL_COLUMNS if name != "default_params"}
    return CatalogueModel(
        **{
            **values,
            "kind": Kind(row.kind),
            "family": Family(row.family),
            "readiness": Readiness(**row.readiness),
        }
    )


def check_request(
    model: CatalogueModel, sent: dict[str, Any], *, prompt: str | None, bucket: str
) -> CheckedParameters:
    """Check a request against its model, before anything is looked up.

    `ModelNotReady` with the reason, or `InvalidParameters` with every field that is wrong.
    """
    if not model.readiness.ready:
        raise ModelNotReady(
            model.readiness.reason or f"{model.name} cannot run on this installation.",
            code=model.readiness.code,
            hint=model.readiness.hint,
        )
    fields, prompt = take_prompt(_without_own_bucket(sent, bucket), prompt)
    params = complete_parameters(model.parameters_schema, fields)
    input_key, params = take_image_key(params)
    if model.kind in KINDS_OF_PICTURE and input_key is None:
        raise InvalidParameters(
            f"{model.name} makes a model of a picture, and input_params.input_path names none.",
            code="missing_image",
            hint="Get an upload ticket, PUT the picture, then send its object_name as input_path.",
        )
    if model.kind in KINDS_OF_PROMPT and not prompt:
        raise InvalidParameters(
            f"{model.name} makes a model of a text, and prompt is empty.",
            code="missing_prompt",
            hint="Send prompt with a description of the object.",
        )
    if model.kind is Kind.EXPORT_MODEL:
        require_one_source(params)
    if model.kind is Kind.PRODUCT_TO_3D:
        params = with_product_key(params)
    return CheckedParameters(params=params, input_key=input_key, prompt=prompt)


def require_one_source(params: dict[str, Any]) -> None:
    """An export is of a file or of an earlier job. Raises InvalidParameters."""
    given = [name for name in ("input_path", "source_job_id") if params.get(name) is not None]
    if len(given) != 1:
        raise InvalidParameters(
            f"An export needs one model, {'two are' if given else 'none is'} named.",
            code="ambiguous_model" if given else "missing_model",
            hint="Send source_job_id of an earlier job, or input_path of an uploaded file.",
        )


def take_prompt(sent: dict[str, Any], prompt: str | None) -> tuple[dict[str, Any], str | None]:
    """The prompt may come inside the parameters: it is moved out of them. The outer one wins."""
    rest = {name: value for name, value in sent.items() if name != "prompt"}
    inner = sent.get("prompt")
    if inner is not None and not isinstance(inner, str):
        raise InvalidParameters(
            "prompt is not text.", details={"errors": [{"field": "prompt", "message": "prompt is not text."}]}
        )
    return rest, (prompt if prompt is not None else inner) or None


def _without_own_bucket(sent: dict[str, Any], bucket: str) -> dict[str, Any]:
    named = sent.get("bucket")
    if named is not None and named != bucket:
        raise InvalidParameters(
            "input_params.bucket is not the bucket of this service.", hint="Leave bucket out."
        )
    return {name: value for name, value in sent.items() if name != "bucket"}


def find_model(model_id: str) -> Select[Any]:
    """A model that may be asked for."""
    return select(models).where(models.c.id == model_id, models.c.is_active)


def list_models() -> Select[Any]:
    """All models that may be asked for, the ready ones first."""
    ready = models.c.readiness["ready"].as_boolean()
    return select(models).where(models.c.is_active).order_by(ready.desc(), models.c.id)


def store_model(model: CatalogueModel) -> Insert:
    """Store a model as the catalogue has it; a row that already says the same is not touched."""
    readiness = model.readiness
    values = {
        **{name: getattr(model, name) for name in MODEL_COLUMNS},
        "kind": model.kind.value,
        "family": model.family.value,
        "readiness": {
            "ready": readiness.ready,
            "code": readiness.code,
            "reason": readiness.reason,
            "hint": readiness.hint,
            "host": readiness.host,
        },
    }
    row = insert(models).values(values)
    changing = [name for name in MODEL_COLUMNS if name != "id"]
    return row.on_conflict_do_update(
        index_elements=[models.c.id],
        set_={**{name: row.excluded[name] for name in changing}, "updated_at": func.now()},
        where=or_(*(models.c[name].is_distinct_from(row.excluded[name]) for name in changing)),
    ).returning(models.c.id)
