"""`pipeline3d user` and `pipeline3d key`, on a real database."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from pipeline3d.cli import main
from pipeline3d.database.access_tables import audit_log, sessions
from pipeline3d.database.tables import api_keys
from pipeline3d.requests import accounts
from pipeline3d.requests import sessions as session_statements
from pipeline3d.values import Scope


@pytest.fixture
def command(database_url, tmp_path):
    """Run a command; its exit status and what it said."""
    environment = {
        "DATABASE_URL": database_url,
        "DAGSTER_PG_URL": database_url,
        "PIPELINE3D_DATA_DIR": str(tmp_path),
    }

    def run(*arguments, typed=None):
        result = CliRunner(env=environment).invoke(main, list(arguments), input=typed)
        assert "Traceback" not in result.output
        return result.exit_code, result.output

    return run


@pytest.fixture
def lovelace(rows):
    return rows.run(accounts.create_user("lovelace", "nobody's password"))[0].id


def opens(rows, key):
    found = rows.run(accounts.find_user_of_key(), the_hash=accounts.hash_api_key(key))
    return [accounts.account_of_row(row) for row in found]


def test_a_user_is_added_and_listed(command, rows):
    arguments = ("user", "add", "lovelace", "--role", "analyst", "--password-stdin", "--compatibility", "tcc")
    assert command(*arguments, typed="a long enough one\n") == (0, "user lovelace was added as analyst\n")
    [row] = rows.run(accounts.find_user("lovelace"))
    assert accounts.is_password("a long enough one", row.password_hash)
    status, listed = command("user", "list")
    assert status == 0
    [line] = [line for line in listed.splitlines() if "lovelace" in line]
    assert ("analyst" in line, "tcc" in line, "yes" in line) == (True, True, True)
    status, said = command(*arguments, typed="a long enough one\n")
    assert (status != 0, "already" in said) == (True, True)


def test_a_short_password_is_refused(command, rows):
    status, said = command("user", "add", "lovelace", "--password-stdin", typed="short\n")
    assert (status, "10 characters" in said) == (2, True)
    assert rows.run(accounts.find_user("lovelace")) == []


def test_a_password_that_is_typed_is_typed_twice_and_not_shown(command, rows):
    typed = "a long enough one\n" * 2
    status, said = command("user", "add", "lovelace", typed=typed)
    assert status == 0
    assert "long enough" not in said


def test_a_key_is_printed_once_works_and_is_revoked(command, rows, lovelace):
    status, printed = command(
        "key", "create", "lovelace", "--name", "ci", "--scope", "jobs:read", "--expires", "1d"
    )
    assert status == 0
    key = printed.strip()
    [account] = opens(rows, key)
    assert account.scopes == {Scope.JOBS_READ}
    status, listed = command("key", "list", "lovelace")
    assert (status, key in listed, key[:8] in listed, "jobs:read" in listed) == (0, False, True, True)
    assert command("key", "revoke", str(account.key_id))[1].endswith("is revoked\n")
    assert command("key", "revoke", str(account.key_id))[1].endswith("was revoked before\n")
    assert opens(rows, key) == []
    assert key[:8] not in command("key", "list", "lovelace")[1]
    assert key[:8] in command("key", "list", "lovelace", "--ended")[1]


def test_a_role_is_changed_and_a_user_deactivated_with_all_that_opens(command, rows, lovelace):
    key = command("key", "create", "lovelace", "--name", "ci")[1].strip()
    made = session_statements.generate_session()
    rows.run(session_statements.create_session(lovelace, made, user_agent="", lifetime_s=60))
    assert command("user", "role", "lovelace", "operator")[0] == 0
    assert opens(rows, key)[0].role == "operator"
    assert command("user", "deactivate", "lovelace")[0] == 0
    assert command("user", "activate", "lovelace")[0] == 0
    assert opens(rows, key) == []
    assert [row.revoked_at is None for row in rows.run(sessions.select())] == [False]


def test_another_password_ends_the_sessions_and_the_keys_of_logins(command, rows, lovelace):
    made = session_statements.generate_session()
    rows.run(session_statements.create_session(lovelace, made, user_agent="", lifetime_s=60))
    kept = command("key", "create", "lovelace", "--name", "ci")[1].strip()
    of_login = accounts.generate_api_key()
    rows.run(accounts.create_api_key(lovelace, of_login, name=accounts.LOGIN_KEY_NAME))
    assert command("user", "password", "lovelace", "--password-stdin", typed="quite another one\n")[0] == 0
    assert accounts.is_password(
        "quite another one", rows.run(accounts.find_user("lovelace"))[0].password_hash
    )
    assert [row.revoked_at is None for row in rows.run(sessions.select())] == [False]
    assert [len(opens(rows, key)) for key in (kept, of_login)] == [1, 0]


@pytest.mark.parametrize(
    "arguments",
    [
        ("user", "role", "nobody", "admin"),
        ("user", "deactivate", "nobody"),
        ("key", "create", "nobody", "--name", "x"),
        ("key", "list", "nobody"),
        ("key", "revoke", "00000000-0000-7000-8000-000000000000"),
        ("key", "revoke", "no-uuid"),
        ("key", "create", "grace", "--name", "x", "--scope", "admin"),  # more than a member has
        ("user", "role", "grace", "king"),
    ],
)
def test_what_cannot_be_done_is_refused_and_changes_nothing(command, rows, arguments):
    before = rows.run(api_keys.select())
    assert command(*arguments)[0] != 0
    assert rows.run(api_keys.select()) == before
    assert rows.run(audit_log.select()) == []


def test_the_log_says_who_sat_at_the_terminal(command, rows, lovelace):
    key = command("key", "create", "lovelace", "--name", "ci")[1].strip()
    command("user", "role", "lovelace", "admin")
    lines = rows.run(audit_log.select().order_by(audit_log.c.id))
    assert [line.action for line in lines] == ["key.created", "user.changed"]
    assert {line.credential for line in lines} == {"terminal"}
    assert all(line.actor for line in lines)
    assert key not in repr(lines)
