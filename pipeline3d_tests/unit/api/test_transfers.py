"""Places: never more at a time than there are, nobody takes all, and none is lost."""

from __future__ import annotations

from uuid import uuid4

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline3d.api.transfers import Places
from pipeline3d.errors import LimitReached, TransientFailure

ADA, GRACE, EDSGER = uuid4(), uuid4(), uuid4()


def run(test, **limits):
    places = Places("uploads", **{"total": 2, "per_user": 1, "patience_s": 0.01, **limits})

    async def main():
        await test(places)

    anyio.run(main)


def test_a_user_has_no_more_than_a_share_and_all_together_no_more_than_there_are():
    async def test(places):
        await places.enter(ADA)
        with pytest.raises(LimitReached) as refused:
            await places.enter(ADA)
        assert refused.value.code == "too_many_transfers"
        await places.enter(GRACE)
        with pytest.raises(TransientFailure) as busy:
            await places.enter(EDSGER)
        assert busy.value.code == "too_busy"
        places.leave(ADA)
        await places.enter(EDSGER)

    run(test)


def test_whoever_waits_gets_the_place_that_becomes_free():
    async def test(places):
        await places.enter(ADA)
        entered = anyio.Event()

        async def wait():
            async with places.take(ADA):
                entered.set()

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            assert not entered.is_set()
            places.leave(ADA)
        assert entered.is_set()

    run(test, patience_s=30)


def test_a_failure_inside_gives_the_place_back():
    async def test(places):
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                async with places.take(ADA):
                    1 / 0  # noqa: B018

    run(test)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.sampled_from([ADA, GRACE, EDSGER]), max_size=30), st.integers(1, 4), st.integers(1, 3))
def test_whoever_comes_and_goes_the_limits_hold_and_everybody_is_served(users, total, per_user):
    async def test(places):
        inside, served = [], []

        async def work(user):
            async with places.take(user):
                inside.append(user)
                assert len(inside) <= total
                assert inside.count(user) <= per_user
                await anyio.sleep(0)
                inside.remove(user)
                served.append(user)

        async with anyio.create_task_group() as group:
            for user in users:
                group.start_soon(work, user)
        assert sorted(served) == sorted(users)

    run(test, total=total, per_user=per_user, patience_s=60)
