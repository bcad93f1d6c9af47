"""What a process keeps of accounts: for a time, up to a number, and nothing that a change has overtaken."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from pipeline3d.api.account_cache import AccountCache, Found
from pipeline3d.requests.accounts import Account

KEEP_S = 3.0


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


class Database:
    """Counts what it is asked."""

    def __init__(self, seconds_left=None):
        self.asked = 0
        self.known = True
        self.seconds_left = seconds_left
        self.meanwhile = lambda: None

    async def __call__(self):
        self.asked += 1
        self.meanwhile()
        account = Account(id=UUID(int=1), username="ada", is_active=True, is_superuser=False)
        return Found(account=account, seconds_left=self.seconds_left) if self.known else None


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def cache(clock):
    return AccountCache(None, KEEP_S, max_accounts=3, clock=clock)


def find(cache, database, the_hash="hash"):
    return asyncio.run(cache.find(the_hash, database))


def test_a_known_key_is_asked_for_once_in_a_while(cache, clock):
    database = Database()
    assert find(cache, database) == find(cache, database)
    assert database.asked == 1
    clock.now += KEEP_S
    find(cache, database)
    assert database.asked == 2


def test_an_unknown_key_is_asked_for_every_time(cache):
    database = Database()
    database.known = False
    assert find(cache, database) is find(cache, database) is None
    assert (database.asked, len(cache)) == (2, 0)


def test_a_key_is_kept_no_longer_than_it_works(cache, clock):
    database = Database(seconds_left=0.5)
    find(cache, database)
    clock.now += 0.6
    database.known = False
    assert find(cache, database) is None


def test_what_a_change_has_overtaken_is_not_kept(cache):
    database = Database()
    database.meanwhile = cache.forget  # a key is revoked after it was read, and before the answer is here
    find(cache, database)
    assert len(cache) == 0


def test_after_a_change_everybody_is_asked_for_anew(cache):
    database = Database()
    find(cache, database)
    cache.forget()
    database.known = False
    assert find(cache, database) is None


def test_only_so_many_are_kept_and_the_oldest_goes(cache):
    database = Database()
    for number in range(4):
        find(cache, database, f"hash {number}")
    assert len(cache) == 3
    find(cache, database, "hash 3")
    assert database.asked == 4
    find(cache, database, "hash 0")
    assert database.asked == 5


def test_where_nothing_is_to_be_kept_nothing_is(clock):
    cache, database = AccountCache(None, 0, clock=clock), Database()
    find(cache, database)
    find(cache, database)
    assert (database.asked, len(cache)) == (2, 0)
