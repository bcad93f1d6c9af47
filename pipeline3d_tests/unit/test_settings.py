"""Settings: the predecessors' names work, and a wrong value is named with an example."""

from pathlib import Path

import pytest

from pipeline3d.errors import SettingsError
from pipeline3d.installation import configured_variables
from pipeline3d.settings import Settings, load_settings, render_env_example

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _no_variables_of_this_machine(monkeypatch):
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def load(**variables):
    return load_settings(variables, env_file=None)


def with_database(**variables):
    return load(DAGSTER_PG_URL="postgresql://u:p@h/dagster", **variables)


def with_store(**variables):
    return load(MINIO_ACCESS_KEY="key", MINIO_SECRET_KEY="secret", **variables)


def test_without_any_variable_everything_is_embedded():
    settings = load()
    assert settings.database_url is None
    assert settings.minio_endpoint is None
    assert settings.first_superuser_username == "admin"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p@h:5432/jobs",  # the plain spelling
        "postgresql+asyncpg://u:p@h/jobs",  # predecessor 1's API
        "postgresql+psycopg2://u:p@h/jobs",  # predecessor 1's worker
        "postgres://u:p@h/jobs",  # hosting providers
    ],
)
def test_every_spelling_of_a_postgres_url_is_accepted(url):
    assert with_database(DATABASE_URL=url).database_url == url


@pytest.mark.parametrize(
    ("endpoint", "secure", "expected"),
    [
        ("s3.example.com:9000", "false", ("s3.example.com:9000", False)),  # as the minio client wants it
        ("http://s3.example.com:9000", "true", ("s3.example.com:9000", False)),  # the scheme wins
        ("https://s3.example.com/", "false", ("s3.example.com", True)),  # a trailing slash is harmless
        ("s3.example.com", "true", ("s3.example.com", True)),  # no scheme: the switch decides
    ],
)
def test_an_endpoint_works_with_and_without_scheme(endpoint, secure, expected):
    settings = with_store(MINIO_ENDPOINT=endpoint, MINIO_SECURE=secure)
    assert (settings.minio_endpoint, settings.minio_secure) == expected


@pytest.mark.parametrize(
    "origins",
    ["http://a.example:3000, https://b.example", '["http://a.example:3000", "https://b.example/"]'],
)
def test_origins_are_a_comma_list_or_a_json_list(origins):
    assert load(BACKEND_CORS_ORIGINS=origins).backend_cors_origins == [
        "http://a.example:3000",
        "https://b.example",
    ]


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"DATABASE_URL": "mysql://u@h/d"}, ["DATABASE_URL", "mysql", "postgresql://"]),
        ({"DATABASE_URL": "postgresql://u@h"}, ["DATABASE_URL", "no database"]),
        ({"DATABASE_URL": "postgresql://u:p@h/d"}, ["DAGSTER_PG_URL", "of its own"]),
        ({"LOG_LEVEL": "loud"}, ["LOG_LEVEL", "'loud'", "LOG_LEVEL=INFO"]),
        ({"PIPELINE3D_API_PORT": "eighty"}, ["PIPELINE3D_API_PORT", "integer", "8000"]),
        ({"PIPELINE3D_API_PORT": "70000"}, ["PIPELINE3D_API_PORT", "65535"]),
        ({"MINIO_ENDPOINT": "s3:9000"}, ["MINIO_ACCESS_KEY", "MINIO_SECRET_KEY"]),
        ({"MINIO_ENDPOINT": "ftp://s3:9000"}, ["MINIO_ENDPOINT", "host:port"]),
        ({"MINIO_ENDPOINT": "s3:99999"}, ["MINIO_ENDPOINT", "port"]),
        ({"MINIO_BUCKET": "No Bucket"}, ["MINIO_BUCKET", "lower-case", "MINIO_BUCKET=pipeline3d"]),
        ({"BACKEND_CORS_ORIGINS": "*"}, ["BACKEND_CORS_ORIGINS", "origin"]),
        ({"BACKEND_CORS_ORIGINS": '["http://a'}, ["BACKEND_CORS_ORIGINS", "JSON"]),
        ({"REDIS_URL": "http://h"}, ["REDIS_URL", "redis"]),
        ({"USE_GPU": "perhaps"}, ["USE_GPU", "boolean"]),
        ({"UPLOAD_URL_EXPIRES_S": "0"}, ["UPLOAD_URL_EXPIRES_S", "10"]),
        ({"FIRST_SUPERUSER_API_KEY": "short"}, ["FIRST_SUPERUSER_API_KEY", "16 characters"]),
        ({"API_URL": "3d.example.com"}, ["API_URL", "http"]),
        ({"PIPELINE3D_PRUNE_SCHEDULE": "nightly"}, ["PIPELINE3D_PRUNE_SCHEDULE", "five fields"]),
        ({"PIPELINE3D_KEEP_RUN_LOGS_DAYS": "0"}, ["PIPELINE3D_KEEP_RUN_LOGS_DAYS", "2"]),
    ],
)
def test_a_wrong_value_is_named_with_what_is_wrong_and_an_example(variables, words):
    with pytest.raises(SettingsError) as caught:
        load(**variables)
    for word in words:
        assert word in caught.value.message


def test_the_message_never_shows_a_secret():
    with pytest.raises(SettingsError) as caught:
        load(DATABASE_URL="mysql://user:hunter2@h/d", FIRST_SUPERUSER_API_KEY="hunter2")
    assert "hunter2" not in str(caught.value)


def test_an_empty_variable_counts_as_unset(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "")
    assert load().database_url is None


def test_every_variable_has_a_meaning_and_an_example_that_is_valid_by_itself():
    external = {
        "DATABASE_URL": "postgresql://u:p@h/d",
        "DAGSTER_PG_URL": "postgresql://u:p@h/e",
        "MINIO_ENDPOINT": "h:9000",
        "MINIO_ACCESS_KEY": "k",
        "MINIO_SECRET_KEY": "s",
    }
    for name, field in Settings.model_fields.items():
        assert field.description, name
        load(**{**external, name.upper(): field.examples[0]})


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_the_programs_of_an_installation_read_what_its_owner_set(name):
    external = {
        "DAGSTER_PG_URL": "postgresql://u@h/d",
        "MINIO_ACCESS_KEY": "key",
        "MINIO_SECRET_KEY": "secret",
    }
    example = (Settings.model_fields[name].examples or [""])[0]
    owner = load(**{**external, name.upper(): example})
    assert load(**configured_variables(owner)).model_dump() == owner.model_dump()


def test_the_env_example_is_generated_from_the_settings():
    assert (ROOT / ".env.example").read_text() == render_env_example()


def test_shops_are_opened_with_the_user_whose_models_they_show():
    settings = load(STOREFRONT_SHOPS=" Mugs.myshopify.com = ada, *=grace,")
    assert settings.storefront_shops == {"mugs.myshopify.com": "ada", "*": "grace"}


@pytest.mark.parametrize("wrong", ["mugs", "mugs=", "=ada", "../mugs=ada", "mugs=ada,MUGS=grace"])
def test_a_shop_without_its_user_stops_the_start(wrong):
    with pytest.raises(SettingsError, match="STOREFRONT_SHOPS"):
        load(STOREFRONT_SHOPS=wrong)
