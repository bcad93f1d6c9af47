"""Messages in the form of an earlier system: in their order, and each only where it says something new."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import select

from pipeline3d.api.predecessors.shop3d_jobs import CALLBACK_EVENTS
from pipeline3d.database.webhook_tables import webhook_deliveries
from pipeline3d.requests import changes, webhooks
from pipeline3d.requests.shop3d import CALLBACK_FORMAT
from pipeline3d.requests.webhook_deliveries import redeliver
from pipeline3d.values import FailureReport, Kind, Progress
from pipeline3d_tests.integration.courier.receiving import delivering, quick_policy, receiving
from pipeline3d_tests.servers import wait_until

# every stage says several times how far it is, which the earlier worker did not
STAGES = (
    "product_photos",
    "product_photos",
    "preprocessed_image",
    "scene_code",
    "mesh",
    "mesh",
    "glb_export",
)
STEPS = [5, 10, 50, 85, 100]
SAME = ("DROPPED", "The message before it said the same.")
OVERTAKEN = ("DROPPED", "A later message says more.")


@pytest.fixture
def receiver():
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def told(rows, receiver):
    """A job whose callback goes to the receiver."""
    return rows.make(
        kind=Kind.PRODUCT_TO_3D,
        model_id="product-inflate-v1",
        params={"shop": "mugs.myshopify.com", "product_id": "123"},
        callback_url=f"{receiver.url}/update",
        callback_events=CALLBACK_EVENTS,
        callback_format=CALLBACK_FORMAT,
    )


@pytest.fixture
def run_through(ledger):
    """Do what a run does, and say so on the way."""

    def run_through(job_id, *, attempt=1, fails=False):
        run_id = f"run-{attempt}"
        ledger.begin(job_id, attempt=attempt, run_id=run_id, delivers=True)
        for done, stage in enumerate(STAGES):
            progress = Progress(percent=10 + done, stage=stage, stage_number=1, stage_count=2)
            ledger.report_progress(job_id, run_id, progress)
        if fails:
            ledger.fail(job_id, run_id, FailureReport(code="bad", message="It broke.", retryable=False))
        else:
            ledger.succeed(job_id, run_id)

    return run_through


def percents(receiver):
    """What came, as percentages; None for a failure."""
    return [json.loads(message.body).get("progress") for message in receiver.received]


def fates(rows):
    found = rows.run(select(webhook_deliveries).order_by(webhook_deliveries.c.id))
    return [(row.state, row.last_error) for row in found]


def wait_until_settled(rows):
    wait_until(
        lambda: all(state != "PENDING" for state, _ in fates(rows)),
        what="every delivery is settled",
        interval_s=0.005,
    )


@pytest.mark.parametrize("couriers", [1, 3])
def test_only_what_changed_is_told_one_after_the_other(
    rows, told, receiver, run_through, database_url, couriers
):
    run_through(told)
    with delivering(database_url, quick_policy(), couriers=couriers):
        wait_until_settled(rows)
    assert percents(receiver) == STEPS
    assert receiver.most_waiting == 1
    assert fates(rows).count(SAME) == len(fates(rows)) - len(STEPS) == len(STAGES) - 3


def test_a_job_that_is_tried_again_is_told_anew(rows, told, receiver, run_through, database_url):
    with delivering(database_url, quick_policy()):
        run_through(told, fails=True)
        rows.run(changes.retry_by_hand(told))
        run_through(told, attempt=2)
        wait_until_settled(rows)
    assert percents(receiver) == [5, 10, 50, 85, None, 0, *STEPS]


def test_what_was_not_heard_in_time_is_left_out_once_more_is_known(
    rows, told, receiver, run_through, database_url
):
    run_through(told)
    receiver.answers = [500, 204]
    with delivering(database_url, quick_policy()):
        wait_until_settled(rows)
    assert percents(receiver) == STEPS
    assert fates(rows)[0] == OVERTAKEN


def test_the_last_word_is_told_until_it_is_heard(rows, told, receiver, run_through, database_url):
    run_through(told)
    messages = len(STAGES) + 2
    receiver.answers = [*[500] * (messages + 2), 204]
    with delivering(database_url, quick_policy()):
        wait_until_settled(rows)
    assert percents(receiver)[-3:] == [100] * 3
    assert fates(rows)[-1][0] == "DELIVERED"
    assert {state for state, _ in fates(rows)[:-1]} == {"DROPPED"}


def test_what_its_owner_wants_to_be_sent_again_is_sent_though_it_says_nothing_new(
    rows, told, receiver, run_through, database_url
):
    run_through(told)
    with delivering(database_url, quick_policy()):
        wait_until_settled(rows)
        found = rows.run(select(webhook_deliveries).order_by(webhook_deliveries.c.id))
        again = next(row for row in found if row.last_error == SAME[1])
        rows.run(redeliver(rows.user_id, again.id))
        receiver.wait_for(len(STEPS) + 1)
        wait_until_settled(rows)
    assert receiver.received[-1].body.decode() == again.body


def test_messages_of_our_own_form_wait_for_none_and_are_all_sent(
    rows, receiver, ledger, run_through, database_url
):
    rows.run(webhooks.create_endpoint(rows.user_id, receiver.url, events=("job.progress",), at_most=5))
    run_through(rows.make())
    receiver.free.clear()
    with delivering(database_url, quick_policy()):
        wait_until(lambda: receiver.waiting > 1, what="several are sent at a time")
        receiver.free.set()
        wait_until_settled(rows)
    assert len(receiver.received) == len(STAGES)
