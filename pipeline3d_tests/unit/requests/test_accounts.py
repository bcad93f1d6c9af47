"""Keys and passwords, without a database."""

from __future__ import annotations

from pipeline3d.requests import accounts


def test_a_password_is_checked_against_its_hash_only():
    stored = accounts.hash_password("correct horse")
    assert accounts.is_password("correct horse", stored)
    assert not accounts.is_password("wrong horse", stored)
    assert not accounts.is_password("correct horse", "no hash at all")


def test_an_unknown_user_is_checked_too_and_never_passes():
    assert not accounts.is_password("anything", None)


def test_keys_are_long_random_and_stored_as_a_hash():
    key, other = accounts.generate_api_key(), accounts.generate_api_key()
    assert key != other
    assert len(key) > 40
    assert key not in accounts.hash_api_key(key)
