"""Keys and passwords, without a database."""

from __future__ import annotations

from pipeline3d.requests import accounts


def test_a_password_is_checked_against_its_hash_only():
    stored = accounts.hash_password("correct horse")
    assert accounts.is_password("correct horse", stored)
    assert not accounts.is_password("wrong horse", stored)
    assert not accounts.is_password("correct horse", "no hash at all")


def test_the_passwords_of_people_are_hashed_as_rfc_9106_recommends(monkeypatch, real_password_hasher):
    monkeypatch.setattr(accounts, "_hasher", real_password_hasher)
    stored = accounts.hash_password("correct horse")
    assert stored.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert accounts.is_password("correct horse", stored)


def test_an_unknown_user_is_checked_too_and_never_passes(monkeypatch):
    hasher, checked = accounts._hasher, []

    class Watched:
        def hash(self, password):
            return hasher.hash(password)

        def verify(self, stored, password):
            checked.append((stored, password))
            return hasher.verify(stored, password)

    monkeypatch.setattr(accounts, "_hasher", Watched())
    assert not accounts.is_password("anything", None)
    # against a real hash: how long the answer takes does not say that there is no such user
    [(stored, password)] = checked
    assert stored.startswith("$argon2id$")
    assert password == "anything"


def test_keys_are_long_random_and_stored_as_a_hash():
    key, other = accounts.generate_api_key(), accounts.generate_api_key()
    assert key != other
    assert len(key) > 40
    assert key not in accounts.hash_api_key(key)
