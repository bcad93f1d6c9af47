"""Every environment variable of the installation, in one typed class.

Read once, at an entry point (`cli`, `api.app`, `definitions`), and handed down as plain values. The
names of the five predecessor systems are kept. A wrong value stops the start with the variable's
name, what is wrong with it and an example. `.env.example` is generated from this file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from pipeline3d.errors import SettingsError

POSTGRES_SCHEMES = frozenset(
    {"postgres", "postgresql", "postgresql+psycopg", "postgresql+psycopg2", "postgresql+asyncpg"}
)
MEBIBYTE = 1024 * 1024


def _variable(default: Any, description: str, example: str, *, section: str, **constraints: Any) -> Any:
    """A field that also knows how it is explained to the person who sets it."""
    return Field(
        default,
        description=description,
        examples=[example],
        json_schema_extra={"section": section},
        **constraints,
    )


class Settings(BaseSettings):
    """The installation's configuration. A variable that is unset or empty takes its default."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", validate_default=False)

    # --- General
    project_name: str = _variable(
        "Pipeline3D", "Shown in the API's answers and on the page.", "Pipeline3D", section="General"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = _variable(
        "INFO", "How much the processes write to their logs.", "INFO", section="General"
    )
    pipeline3d_data_dir: Path = _variable(
        Path(".pipeline3d"),
        "Folder of the embedded servers' data, generated secrets, logs and scratch files.",
        ".pipeline3d",
        section="General",
    )

    # --- Database
    database_url: str | None = _variable(
        None,
        "Postgres of the jobs. Unset: an embedded PostgreSQL 18 is started on loopback. "
        "`postgresql+asyncpg://` and `+psycopg2://` are understood.",
        "postgresql://pipeline3d:secret@db.example.com:5432/pipeline3d",
        section="Database",
    )
    dagster_pg_url: str | None = _variable(
        None,
        "Postgres of Dagster's own storage: a database of its own. Must be set when DATABASE_URL is.",
        "postgresql+psycopg2://pipeline3d:secret@db.example.com:5432/dagster",
        section="Database",
    )

    # --- Object store
    minio_endpoint: str | None = _variable(
        None,
        "S3 endpoint, with or without scheme. Unset: an embedded S3 server is started on loopback.",
        "s3.example.com:9000",
        section="Object store",
    )
    minio_public_endpoint: str | None = _variable(
        None,
        "S3 endpoint as browsers and clients reach it, when that differs; presigned links use it.",
        "https://files.example.com",
        section="Object store",
    )
    minio_access_key: str | None = _variable(None, "S3 access key.", "pipeline3d", section="Object store")
    minio_secret_key: SecretStr | None = _variable(
        None, "S3 secret key.", "change-me-please", section="Object store"
    )
    minio_bucket: str = _variable(
        "pipeline3d", "Bucket of all objects; made at the start.", "pipeline3d", section="Object store"
    )
    minio_secure: bool = _variable(
        False,
        "Use HTTPS to the S3 endpoint; a scheme in MINIO_ENDPOINT wins.",
        "false",
        section="Object store",
    )

    # --- Broker
    redis_url: str | None = _variable(
        None,
        "Redis or Valkey as the broker that wakes workers. Unset: Postgres does it. "
        "Recommended from the second host on.",
        "redis://127.0.0.1:6379/0",
        section="Broker",
    )
    broker_url: str | None = _variable(
        None,
        "Any other broker that Celery knows, such as RabbitMQ. Wins over REDIS_URL.",
        "amqp://pipeline3d:secret@rabbitmq.example.com:5672//",
        section="Broker",
    )

    # --- HTTP API
    pipeline3d_host: str = _variable(
        "127.0.0.1", "Address that the API listens on.", "127.0.0.1", section="HTTP API"
    )
    pipeline3d_api_port: int | None = _variable(
        None, "Port of the API. Unset: a free one, remembered.", "8000", section="HTTP API", ge=1, le=65535
    )
    pipeline3d_dagster_port: int | None = _variable(
        None,
        "Port of the Dagster UI. Unset: a free one, remembered.",
        "3070",
        section="HTTP API",
        ge=1,
        le=65535,
    )
    pipeline3d_lineage_port: int | None = _variable(
        None,
        "Loopback port of the read-only Dagster UI. Unset: a free one, remembered.",
        "3071",
        section="HTTP API",
        ge=1,
        le=65535,
    )
    pipeline3d_lineage_ui: bool = _variable(
        True,
        "Start the read-only Dagster UI that analysts reach at /lineage; it needs about 300 MB.",
        "false",
        section="HTTP API",
    )
    pipeline3d_code_server_port: int | None = _variable(
        None,
        "Loopback port of Dagster's code server. Unset: a free one, remembered.",
        "4070",
        section="HTTP API",
        ge=1,
        le=65535,
    )
    api_url: str | None = _variable(
        None, "The API as others reach it; used in links.", "https://3d.example.com", section="HTTP API"
    )
    dagster_url: str | None = _variable(
        None,
        "The Dagster UI as people reach it; used in links. Unset: /dagster of API_URL, behind a sign-in.",
        "https://3d.example.com/dagster",
        section="HTTP API",
    )
    dagster_webserver_url: str | None = _variable(
        None,
        "Dagster's webserver as the API reaches it; its path prefix is /dagster. Unset: the one on this "
        "machine.",
        "http://10.0.0.5:3070",
        section="HTTP API",
    )
    lineage_webserver_url: str | None = _variable(
        None,
        "Dagster's read-only webserver as the API reaches it; its path prefix is /lineage. Unset: the one on "
        "this machine.",
        "http://10.0.0.5:3071",
        section="HTTP API",
    )
    backend_cors_origins: Annotated[list[str], NoDecode] = _variable(
        [],
        "Web origins that may call the API and the object store: comma list or JSON list.",
        "https://shop.example.com,http://localhost:3000",
        section="HTTP API",
    )
    upload_url_expires_s: int = _variable(
        300, "Seconds that an upload link works.", "300", section="HTTP API", ge=10, le=86400
    )
    download_url_expires_s: int = _variable(
        3600, "Seconds that a download link works.", "3600", section="HTTP API", ge=10, le=604800
    )
    max_upload_bytes: int = _variable(
        50 * MEBIBYTE, "Largest picture that is accepted, in bytes.", "52428800", section="HTTP API", ge=1024
    )
    max_model_bytes: int = _variable(
        200 * MEBIBYTE,
        "Largest uploaded 3D model that is accepted, in bytes.",
        "209715200",
        section="HTTP API",
        ge=1024,
        le=512 * MEBIBYTE,
    )
    max_batch_bytes: int = _variable(
        256 * MEBIBYTE,
        "Largest batch that is accepted in a request: a ZIP of photos or a form with them, in bytes.",
        "268435456",
        section="HTTP API",
        ge=MEBIBYTE,
        le=2048 * MEBIBYTE,
    )
    direct_upload_max_bytes: int = _variable(
        10 * MEBIBYTE,
        "Largest file that is accepted in a request itself, without a ticket, in bytes.",
        "10485760",
        section="HTTP API",
        ge=1024,
        le=100 * MEBIBYTE,
    )
    max_open_tickets: int = _variable(
        1000,
        "Upload tickets that a user may have that still work and were not used.",
        "1000",
        section="HTTP API",
        ge=1,
        le=100_000,
    )
    events_heartbeat_s: float = _variable(
        15,
        "Seconds of quiet after which an event stream shows that it is alive.",
        "15",
        section="HTTP API",
        ge=0.1,
        le=300,
    )
    events_streams_per_user: int = _variable(
        50,
        "Event streams that a user may have open at a time, in each process of the API.",
        "50",
        section="HTTP API",
        ge=1,
    )
    login_key_expires_s: int = _variable(
        12 * 3600, "Seconds that the API key of a login works.", "43200", section="HTTP API", ge=60
    )
    link_signing_key: SecretStr | None = _variable(
        None,
        "Signs the stable links to preview pictures. Unset: generated and remembered.",
        "a-long-random-text",
        section="HTTP API",
    )

    # --- Limits
    max_open_jobs_per_user: int = _variable(
        0,
        "Jobs of one user that have not ended, where the user has no limit of their own; 0 is no limit.",
        "500",
        section="Limits",
        ge=0,
        le=1_000_000_000,
    )
    monthly_cost_units_per_user: float = _variable(
        0,
        "Cost units of one user's jobs in a calendar month (UTC), where the user has no limit of their own; "
        "0 is no limit.",
        "1000",
        section="Limits",
        ge=0,
        le=1_000_000_000,
    )
    requests_per_minute: int = _variable(
        0,
        "Requests to the API in a minute by one user, where the user has no limit of their own; 0 is no "
        "limit. Without REDIS_URL each API process counts for itself.",
        "600",
        section="Limits",
        ge=0,
        le=1_000_000,
    )
    login_attempts_per_user: int = _variable(
        10,
        "Failed logins for one user name within LOGIN_WINDOW_S after which no more are looked at.",
        "10",
        section="Limits",
        ge=1,
    )
    login_attempts_per_address: int = _variable(
        50,
        "Failed logins from one address within LOGIN_WINDOW_S after which no more are looked at.",
        "50",
        section="Limits",
        ge=1,
    )
    login_window_s: int = _variable(
        900, "Seconds for which a failed login counts.", "900", section="Limits", ge=1, le=86400
    )
    session_idle_s: int = _variable(
        8 * 3600,
        "Seconds without a request after which a session of the studio page ends.",
        "28800",
        section="Limits",
        ge=60,
    )
    session_lifetime_s: int = _variable(
        7 * 86400,
        "Seconds after which a session of the studio page ends in any case.",
        "604800",
        section="Limits",
        ge=60,
    )
    account_cache_s: float = _variable(
        3.0,
        "Seconds for which a process of the API keeps who a key belongs to. It hears at once of a key that "
        "is revoked; this is for when it does not. 0 asks the database at every request.",
        "3",
        section="Limits",
        ge=0,
        le=5,
    )
    trusted_proxies: Annotated[list[str], NoDecode] = _variable(
        [],
        "Addresses or networks of reverse proxies whose X-Forwarded-For and X-Forwarded-Proto are believed.",
        "10.0.0.0/8,127.0.0.1",
        section="Limits",
    )
    api_hosts: Annotated[list[str], NoDecode] = _variable(
        [],
        "Names under which the API answers; others are refused. Unset: any.",
        "3d.example.com",
        section="Limits",
    )
    hsts_max_age_s: int = _variable(
        31_536_000,
        "Seconds for which browsers that came by HTTPS come by nothing else; 0 does not ask for it.",
        "31536000",
        section="Limits",
        ge=0,
    )

    # --- First user
    first_superuser_username: str = _variable(
        "admin", "Name of the first user.", "admin", section="First user", min_length=1
    )
    first_superuser_password: SecretStr | None = _variable(
        None,
        "Password of the first user. Unset: generated, kept in the data folder.",
        "change-me-please",
        section="First user",
    )
    first_superuser_api_key: SecretStr | None = _variable(
        None,
        "API key of the first user, at least 16 characters. Unset: none, sign in to get one.",
        "p3d_0123456789abcdef0123456789abcdef",
        section="First user",
    )

    # --- Orchestration
    lease_s: int = _variable(
        30,
        "A claimed request that no run has begun after this many seconds may be claimed again.",
        "30",
        section="Orchestration",
        ge=5,
    )
    silent_after_s: int = _variable(
        60,
        "A run that gives no sign of life for this many seconds has lost its worker.",
        "60",
        section="Orchestration",
        ge=5,
    )

    pipeline3d_max_concurrent_runs: int = _variable(
        50,
        "Runs that Dagster lets begin at a time over all hosts: a guard, well above the places that the "
        "workers have; 0 pauses, -1 is no limit.",
        "50",
        section="Orchestration",
        ge=-1,
    )
    pipeline3d_max_jobs_per_user: int = _variable(
        0,
        "Requests of one user in work at a time, where the user has no limit of their own; 0 is no limit. "
        "Users take turns in any case.",
        "4",
        section="Orchestration",
        ge=0,
    )
    pipeline3d_worker_queues: Annotated[list[str], NoDecode] = _variable(
        ["cpu"], "Queues that the worker of `pipeline3d up` serves.", "cpu,gpu", section="Orchestration"
    )
    pipeline3d_worker_concurrency: int = _variable(
        2, "Runs at a time in the worker of `pipeline3d up`.", "2", section="Orchestration", ge=1, le=256
    )
    pipeline3d_worker_id: str | None = _variable(
        None, "Set by a worker for its processes; not for people.", "gpu-1-0a1b2c3d", section="Orchestration"
    )

    # --- Webhooks
    pipeline3d_webhook_hosts: Annotated[list[str], NoDecode] = _variable(
        [],
        "Hosts in the private network to which webhooks may be sent all the same.",
        "shop.internal,10.0.0.7",
        section="Webhooks",
    )
    pipeline3d_webhook_retry_s: str = _variable(
        "5,30,120,600,1800,3600,10800,21600,43200",
        "Seconds before the second, third … attempt of a delivery; up to a fifth is added by chance.",
        "5,30,120,600,1800,3600,10800,21600,43200",
        section="Webhooks",
        pattern=r"^\d{1,7}(\.\d{1,3})?(,\d{1,7}(\.\d{1,3})?){0,19}$",
    )
    pipeline3d_webhook_timeout_s: float = _variable(
        10, "Seconds that a receiver has for its answer.", "10", section="Webhooks", gt=0, le=45
    )
    pipeline3d_webhook_disable_days: float = _variable(
        5,
        "Days of nothing but failures after which an endpoint is switched off.",
        "5",
        section="Webhooks",
        gt=0,
    )
    pipeline3d_webhooks_per_user: int = _variable(
        20, "Webhook endpoints that a user may have.", "20", section="Webhooks", ge=0
    )

    # --- Housekeeping
    pipeline3d_prune_schedule: str = _variable(
        "30 3 * * *",
        "When the nightly prune starts: five fields as in cron, in UTC.",
        "30 3 * * *",
        section="Housekeeping",
    )
    pipeline3d_keep_partitions_days: int = _variable(
        30,
        "Days that a finished request stays a partition in Dagster, with its runs. Its row and files stay.",
        "30",
        section="Housekeeping",
        ge=1,
    )
    pipeline3d_max_live_partitions: int = _variable(
        10_000,
        "Partitions that a family may have after a prune, the newest; Dagster's pages slow down with more.",
        "10000",
        section="Housekeeping",
        ge=1,
    )
    pipeline3d_keep_failed_runs_days: int = _variable(
        90, "Days that a failed run stays in Dagster.", "90", section="Housekeeping", ge=1
    )
    pipeline3d_keep_run_logs_days: int = _variable(
        14,
        "Days that Dagster keeps the log lines of a run; what it says of assets stays with the run.",
        "14",
        section="Housekeeping",
        ge=2,
    )
    pipeline3d_keep_history_days: int = _variable(
        90,
        "Days that a finished request keeps its history of events. Its row stays.",
        "90",
        section="Housekeeping",
        ge=1,
    )
    pipeline3d_keep_audit_days: int = _variable(
        400,
        "Days that a line of the audit log is kept, and what was counted against monthly limits.",
        "400",
        section="Housekeeping",
        ge=1,
    )
    pipeline3d_keep_unused_uploads_days: int = _variable(
        2, "Days that an upload waits for a request that uses it.", "2", section="Housekeeping", ge=1
    )

    pipeline3d_keep_webhooks_days: int = _variable(
        30, "Days that the log of a webhook delivery is kept.", "30", section="Housekeeping", ge=1
    )

    # --- Models
    pipeline3d_models_dir: Path | None = _variable(
        None,
        "Folder of the models' weights, one folder for each model. Unset: `models` in the data folder.",
        "/opt/pipeline3d/models",
        section="Models",
    )
    pipeline3d_photo_hosts: Annotated[list[str], NoDecode] = _variable(
        [],
        "Hosts in the private network from which product photos may be fetched all the same.",
        "images.shop.internal",
        section="Models",
    )
    pipeline3d_renderer: Literal["software", "auto"] = _variable(
        "software",
        "Draws pictures: software, the same everywhere, or auto: OpenGL where EGL and the extra egl are.",
        "auto",
        section="Models",
    )
    use_gpu: bool = _variable(False, "Let models use a GPU where there is one.", "false", section="Models")
    sf3d_python_path: Path | None = _variable(
        None, "Python of Stable Fast 3D's own environment.", "/opt/sf3d/venv/bin/python", section="Models"
    )
    sf3d_script_path: Path | None = _variable(
        None, "Stable Fast 3D's run.py.", "/opt/sf3d/run.py", section="Models"
    )
    sf3d_model_path: Path | None = _variable(
        None, "Folder of Stable Fast 3D's weights. Unset: its own cache.", "/opt/sf3d/model", section="Models"
    )
    triposr_python_path: Path | None = _variable(
        None,
        "Python of TripoSR's own package, for triposr-upstream.",
        "/opt/triposr/venv/bin/python",
        section="Models",
    )
    triposr_script_path: Path | None = _variable(
        None, "TripoSR's own run.py.", "/opt/triposr/run.py", section="Models"
    )
    triposr_model_path: Path | None = _variable(
        None, "Folder of TripoSR's weights for its own package.", "/opt/triposr/model", section="Models"
    )
    dreamfusion_sd_model_path: Path | None = _variable(
        None,
        "Folder of the Stable Diffusion 2.1 weights that guide DreamFusion.",
        "/opt/models/stable-diffusion-2-1-base",
        section="Models",
    )
    dreamfusion_python_path: Path | None = _variable(
        None, "Python of threestudio's own environment.", "/opt/threestudio/venv/bin/python", section="Models"
    )
    dreamfusion_script_path: Path | None = _variable(
        None, "threestudio's launch.py.", "/opt/threestudio/launch.py", section="Models"
    )
    dreamfusion_config: str = _variable(
        "configs/dreamfusion-sd.yaml",
        "threestudio's configuration file.",
        "configs/dreamfusion-sd.yaml",
        section="Models",
    )
    whisper_model: str = _variable(
        "small", "Whisper size or folder for transcription.", "small", section="Models", min_length=1
    )
    asr_token: SecretStr | None = _variable(
        None, "Bearer token of the transcription contract.", "change-me-please", section="Models"
    )

    # --- Earlier systems
    storefront_shops: Annotated[dict[str, str], NoDecode] = _variable(
        {},
        "Shops whose newest models anybody may look up, and whose webhooks are heard, each with the user "
        "whose models they are: shop=user; * is every other shop.",
        "mugs.myshopify.com=ada,*=shop3d",
        section="Earlier systems",
    )
    shopify_api_secret: SecretStr | None = _variable(
        None,
        "Secret of the Shopify app, with which Shopify signs its webhooks. Unset: none are taken.",
        "change-me-please",
        section="Earlier systems",
    )

    @field_validator("database_url", "dagster_pg_url")
    @classmethod
    def _is_a_postgres_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in POSTGRES_SCHEMES:
            raise ValueError(f"the scheme {parts.scheme or '(none)'!r} is not Postgres")
        if not parts.hostname and "host=" not in parts.query:
            raise ValueError("it names no host")
        if not parts.path.strip("/"):
            raise ValueError("it names no database")
        return value

    @field_validator("redis_url")
    @classmethod
    def _is_a_redis_url(cls, value: str | None) -> str | None:
        if value is not None and urlsplit(value).scheme not in {"redis", "rediss", "unix"}:
            raise ValueError("the scheme is not redis, rediss or unix")
        return value

    @field_validator("api_url", "dagster_url", "dagster_webserver_url", "lineage_webserver_url")
    @classmethod
    def _is_a_web_address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("it is not an http or https address")
        return value.rstrip("/")

    @field_validator("pipeline3d_prune_schedule")
    @classmethod
    def _has_five_fields(cls, value: str) -> str:
        if not re.fullmatch(r"[\d*/,-]+( +[\dA-Za-z*/,-]+){4}", value.strip()):
            raise ValueError("it is not five fields as in cron")
        return value.strip()

    @field_validator("minio_bucket")
    @classmethod
    def _is_a_bucket_name(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", value):
            raise ValueError("bucket names are 3 to 63 lower-case letters, digits, dots and dashes")
        return value

    @field_validator(
        *("pipeline3d_worker_queues", "pipeline3d_photo_hosts", "pipeline3d_webhook_hosts", "api_hosts"),
        mode="before",
    )
    @classmethod
    def _split_names(cls, value: Any) -> Any:
        names = value.split(",") if isinstance(value, str) else value
        return [str(name).strip() for name in names if str(name).strip()]

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _are_networks(cls, value: Any) -> Any:
        names = value.split(",") if isinstance(value, str) else value
        return [str(ip_network(str(name).strip(), strict=False)) for name in names if str(name).strip()]

    @field_validator("storefront_shops", mode="before")
    @classmethod
    def _name_their_users(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        pairs = [pair.partition("=") for pair in value.split(",") if pair.strip()]
        users = {shop.strip().lower(): user.strip() for shop, _, user in pairs}
        for shop, user in users.items():
            if not user or not re.fullmatch(r"\*|[a-z0-9][a-z0-9._-]*", shop):
                raise ValueError(f"{shop!r} is no shop with its user")
        if len(users) < len(pairs):
            raise ValueError("a shop is named twice")
        return users

    @field_validator("backend_cors_origins", mode="before")
    @classmethod
    def _split_origins(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value.lstrip().startswith("["):
            try:
                value = json.loads(value)
            except json.JSONDecodeError as error:
                raise ValueError(f"it starts like a JSON list but is none ({error.msg})") from error
        else:
            value = value.split(",")
        return [str(origin).strip().rstrip("/") for origin in value if str(origin).strip()]

    @field_validator("backend_cors_origins")
    @classmethod
    def _are_origins(cls, value: list[str]) -> list[str]:
        for origin in value:
            parts = urlsplit(origin)
            if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path:
                raise ValueError(f"{origin!r} is not an origin (scheme and host, no path, no *)")
        return value

    @field_validator("first_superuser_api_key")
    @classmethod
    def _is_long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        shortest = 16
        if value is not None and len(value.get_secret_value()) < shortest:
            raise ValueError(f"it has fewer than {shortest} characters")
        return value

    @model_validator(mode="after")
    def _split_the_endpoints_scheme(self) -> Settings:
        if self.minio_endpoint is not None:
            self.minio_endpoint, self.minio_secure = split_endpoint(self.minio_endpoint, self.minio_secure)
        return self

    @model_validator(mode="after")
    def _external_services_are_complete(self) -> Settings:
        if self.database_url and not self.dagster_pg_url:
            raise ValueError(
                "DAGSTER_PG_URL must be set when DATABASE_URL is: Dagster keeps a database of its own"
            )
        if self.minio_endpoint and not (self.minio_access_key and self.minio_secret_key):
            raise ValueError("MINIO_ACCESS_KEY and MINIO_SECRET_KEY must be set when MINIO_ENDPOINT is")
        return self

    @property
    def models_dir(self) -> Path:
        """The folder of the weights as an absolute path."""
        chosen = self.pipeline3d_models_dir
        return chosen.expanduser().absolute() if chosen else self.data_dir / "models"

    @property
    def data_dir(self) -> Path:
        """The data folder as an absolute path."""
        return self.pipeline3d_data_dir.expanduser().absolute()


def split_endpoint(endpoint: str, secure: bool) -> tuple[str, bool]:
    """`https://host:port/` or `host:port` → (`host:port`, whether HTTPS). A scheme wins over `secure`."""
    parts = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}")
    if (
        parts.scheme not in {"", "http", "https"}
        or not parts.hostname
        or parts.path.strip("/")
        or parts.query
    ):
        raise ValueError(
            f"MINIO_ENDPOINT {endpoint!r} is not host:port, http://host:port or https://host:port"
        )
    try:
        _ = parts.port
    except ValueError as error:
        raise ValueError(f"MINIO_ENDPOINT {endpoint!r} has a port that is no number up to 65535") from error
    return parts.netloc, parts.scheme == "https" if parts.scheme else secure


def load_settings(
    environment: Mapping[str, str] | None = None, *, env_file: Path | None = Path(".env")
) -> Settings:
    """Settings from the environment and `.env`; `environment` lies over both. Raises SettingsError."""
    overlay = {
        name.lower(): value
        for name, value in (environment or {}).items()
        if name.lower() in Settings.model_fields and value != ""
    }
    try:
        return Settings(_env_file=env_file, **overlay)  # type: ignore[call-arg, arg-type]
    except ValidationError as error:
        raise SettingsError(
            explain_settings_errors(error),
            hint="Correct it in the environment or in .env; .env.example explains every variable.",
        ) from error


def explain_settings_errors(error: ValidationError) -> str:
    """One line per wrong variable: its name, what is wrong, an example. Never shows a secret's value."""
    lines = []
    for problem in error.errors(include_url=False, include_context=False):
        message = problem["msg"].removeprefix("Value error, ")
        if not problem["loc"]:
            lines.append(message)
            continue
        name = str(problem["loc"][0])
        field = Settings.model_fields[name]
        example = (field.examples or [""])[0]
        shown = "" if _holds_a_secret(name) else f" (it is {problem['input']!r})"
        lines.append(f"{name.upper()}: {message}{shown}. Example: {name.upper()}={example}")
    return "\n".join(lines)


def _holds_a_secret(name: str) -> bool:
    return any(word in name for word in ("password", "secret", "token", "key", "_url"))


def render_env_example() -> str:
    """The text of `.env.example`: every variable with its meaning and an example, commented out."""
    lines = ["# Every variable of Pipeline3D. All are optional: copy to .env and set what you need.", ""]
    section = None
    for name, field in Settings.model_fields.items():
        extra = field.json_schema_extra
        current = extra["section"] if isinstance(extra, dict) else None
        if current != section:
            lines += [f"# --- {current}", ""]
            section = current
        lines += [f"# {field.description}", f"# {name.upper()}={(field.examples or [''])[0]}", ""]
    return "\n".join(lines)
