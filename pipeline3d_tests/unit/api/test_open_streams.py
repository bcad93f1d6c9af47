"""Streams are counted for each user, and looked at while they are open."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from uuid import UUID

import pytest

from pipeline3d.api.open_streams import OpenStreams
from pipeline3d.errors import LimitReached
from pipeline3d.requests.accounts import Account

ADA, GRACE = UUID(int=1), UUID(int=2)


def account(user_id: UUID = ADA, *, key: int | None = None, session: int | None = None) -> Account:
    key_id, session_id = (None if number is None else UUID(int=number) for number in (key, session))
    return Account(
        id=user_id, username="x", is_active=True, is_superuser=False, key_id=key_id, session_id=session_id
    )


def valid(number: int, role: str = "member", scopes: list[str] | None = None) -> SimpleNamespace:
    return SimpleNamespace(id=UUID(int=number), role=role, scopes=scopes)


def streams(*found: SimpleNamespace, per_user: int = 2) -> OpenStreams:
    async def find(keys, sessions):
        return [one for one in found if one.id in {*keys, *sessions}]

    return OpenStreams(find, per_user=per_user)


def test_a_user_may_open_so_many_and_again_after_closing_one():
    async def scenario():
        open_streams = streams()
        with open_streams.admit(account()):
            with open_streams.admit(account()):
                with pytest.raises(LimitReached) as refused, open_streams.admit(account()):
                    pass
                assert refused.value.code == "too_many_streams"
                with open_streams.admit(account(GRACE)):
                    pass
            with open_streams.admit(account()):
                pass
        await open_streams.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("opened_by", "found", "is_revoked"),
    [
        (account(key=5), [valid(5)], False),
        (account(key=5), [], True),
        (account(key=5), [valid(6)], True),
        (account(key=5), [valid(5, scopes=["jobs:read"])], False),
        (account(key=5), [valid(5, scopes=["jobs:write"])], True),
        (account(session=8), [valid(8)], False),
        (account(session=8), [], True),
        (account(), [], False),  # known in another way, which has no end
    ],
)
def test_a_stream_ends_with_what_opened_it(opened_by, found, is_revoked):
    async def scenario():
        open_streams = streams(*found)
        with open_streams.admit(opened_by) as stream:
            await open_streams.check()
            assert stream.is_revoked is is_revoked
        await open_streams.close()

    asyncio.run(scenario())
