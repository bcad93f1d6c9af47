"""URLs in every usual spelling lead to psycopg 3."""

from __future__ import annotations

import pytest

from pipeline3d.database.engines import parse_database_url
from pipeline3d.errors import SettingsError


@pytest.mark.parametrize(
    "scheme",
    ["postgres", "postgresql", "postgresql+asyncpg", "postgresql+psycopg2", "postgresql+psycopg"],
)
def test_every_usual_spelling_is_served_by_psycopg(scheme):
    url = parse_database_url(f"{scheme}://u:p%40ss@h:5433/d?sslmode=require")
    assert url.drivername == "postgresql+psycopg"
    assert (url.username, url.password, url.host, url.port, url.database) == ("u", "p@ss", "h", 5433, "d")
    assert url.query["sslmode"] == "require"


def test_the_word_of_asyncpg_for_tls_is_understood():
    assert parse_database_url("postgresql+asyncpg://h/d?ssl=require").query == {"sslmode": "require"}


@pytest.mark.parametrize("url", ["", "nonsense", "mysql://h/d", "sqlite://", "postgresql+pg8000://h/d"])
def test_what_is_not_postgres_is_refused_with_an_example(url):
    with pytest.raises(SettingsError) as caught:
        parse_database_url(url)
    assert "postgresql://" in (caught.value.hint or "")


def test_a_refused_url_does_not_show_its_password():
    with pytest.raises(SettingsError) as caught:
        parse_database_url("mysql://u:topsecret@h/d")
    assert "topsecret" not in str(caught.value)
