"""Messages on their way: from the end of a job to a receiver, through whatever goes wrong between the two."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import select, text
from standardwebhooks.webhooks import WebhookVerificationError

from pipeline3d.database.webhook_tables import webhook_attempts, webhook_deliveries, webhook_endpoints
from pipeline3d.requests import changes, webhook_secrets, webhooks
from pipeline3d.requests import webhook_deliveries as deliveries
from pipeline3d.values import ArtifactType, FailureReport, Progress, StoredObject
from pipeline3d_tests.integration.courier.receiving import delivering, quick_policy, receiving
from pipeline3d_tests.servers import wait_until

MODEL = StoredObject(key="results/x/model.glb", size=1234, sha256="ab" * 32, content_type="model/gltf-binary")


@pytest.fixture
def receiver():
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def subscribe(rows, receiver):
    """Add an endpoint of the receiver; its row."""

    def subscribe(events=(), path="/hook", user_id=None, url=None):
        statement = webhooks.create_endpoint(
            user_id or rows.user_id, url or receiver.url + path, events=events, at_most=50
        )
        return rows.run(statement)[0]

    return subscribe


@pytest.fixture
def succeed(rows, ledger):
    """A job that succeeds; its id."""

    def succeed(**values) -> UUID:
        job_id = rows.make(**values)
        ledger.begin(job_id, attempt=1, run_id="run-1", delivers=True)
        ledger.record_artifact(job_id, 1, "glb_export", "model.glb", ArtifactType.OUTPUT_MODEL, MODEL, {})
        ledger.succeed(job_id, "run-1")
        return job_id

    return succeed


def read_deliveries(rows):
    return rows.run(select(webhook_deliveries).order_by(webhook_deliveries.c.id))


def wait_for_states(rows, *states):
    def read():
        return sorted(row.state for row in read_deliveries(rows))

    wait_until(lambda: read() == sorted(states), what=f"deliveries are {states}", interval_s=0.005)


def test_the_end_of_a_job_arrives_signed_within_a_second(database_url, rows, receiver, subscribe, ledger):
    endpoint = subscribe()
    many = [*(rows.make() for _ in range(4)), job_id := rows.make(tags=("mug",), metadata={"order": 7})]
    for each in many:
        ledger.begin(each, attempt=1, run_id="run-1", delivers=True)
    ledger.record_artifact(job_id, 1, "glb_export", "model.glb", ArtifactType.OUTPUT_MODEL, MODEL, {})
    took_s = []
    with delivering(database_url, quick_policy(api_url="https://3d.example.com")):
        wait_until(lambda: rows.run(text(LISTENING))[0][0], what="the courier listens", interval_s=0.005)
        for number, each in enumerate(many, start=1):
            ledger.succeed(each, "run-1")
            ended = time.monotonic()
            message = receiver.wait_for(number)[-1]
            took_s.append(time.monotonic() - ended)
        wait_for_states(rows, *["DELIVERED"] * len(many))
    assert min(took_s) < 1, "a busy machine may delay some of them"
    body = message.verify(endpoint.secret)
    assert (message.path, message.headers["content-type"]) == ("/hook", "application/json")
    assert body["type"] == "job.succeeded"
    assert datetime.fromisoformat(body["timestamp"]).tzinfo is not None
    data = body["data"]
    assert (data["id"], data["status"], data["attempt"]) == (str(job_id), "SUCCEEDED", 1)
    assert (data["tags"], data["metadata"], data["error"]) == (["mug"], {"order": 7}, None)
    assert [(a["name"], a["size"], a["sha256"]) for a in data["artifacts"]] == [
        ("model.glb", 1234, MODEL.sha256)
    ]
    assert data["links"]["self"] == f"https://3d.example.com/api/v1/jobs/{job_id}"
    assert "http://" not in json.dumps(data["artifacts"])
    assert data["completed_at"] is not None


LISTENING = "SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'pipeline3d courier'"


def test_what_happened_while_no_courier_was_there_is_delivered_later(
    database_url, rows, receiver, subscribe, succeed
):
    subscribe()
    jobs = [str(succeed()) for _ in range(3)]
    with delivering(database_url, quick_policy()):
        wait_for_states(rows, *["DELIVERED"] * 3)
    assert sorted(message.data["id"] for message in receiver.received) == sorted(jobs)


def test_a_receiver_that_is_down_loses_nothing_and_gets_the_same_bytes_under_the_same_id(
    database_url, rows, receiver, subscribe, succeed
):
    receiver.answers = [500, 503, (302, {"location": "http://127.0.0.1:1/"}), 404, 200]
    endpoint = subscribe()
    succeed()
    with delivering(database_url, quick_policy()):
        wait_for_states(rows, "DELIVERED")
    assert len(receiver.received) == 5
    assert len({message.id for message in receiver.received}) == 1
    assert len({message.body for message in receiver.received}) == 1
    for message in receiver.received:
        message.verify(endpoint.secret)
    attempts = rows.run(select(webhook_attempts).order_by(webhook_attempts.c.id))
    assert [(row.number, row.status) for row in attempts] == [
        *((1, 500), (2, 503), (3, 302), (4, 404), (5, 200))
    ]
    assert attempts[0].answer == "ok"
    [endpoint] = rows.run(select(webhook_endpoints))
    assert endpoint.failing_since is None


def test_nothing_listens_at_the_address_and_then_something_does(database_url, rows, subscribe, succeed):
    with receiving() as gone:
        address = gone.url
    endpoint = subscribe(url=address + "/hook")
    succeed()
    with delivering(database_url, quick_policy(retry_delays_s=(0.02, *[3600.0] * 3))):
        wait_until(
            lambda: read_deliveries(rows)[0].failures == 2, what="two attempts failed", interval_s=0.005
        )
        with receiving() as back:
            rows.run(webhooks.change_endpoint(rows.user_id, endpoint.id, url=back.url + "/again"))
            rows.run(deliveries.redeliver(rows.user_id, read_deliveries(rows)[0].id))
            [message] = back.wait_for(1)
            wait_for_states(rows, "DELIVERED")
    assert message.path == "/again"
    first = rows.run(select(webhook_attempts).order_by(webhook_attempts.c.id))[0]
    assert first.status is None
    assert "does not answer" in first.error


def test_when_the_plan_is_used_up_it_has_failed_until_the_owner_asks_again(
    database_url, rows, receiver, subscribe, succeed
):
    receiver.answers = [500]
    subscribe()
    succeed()
    with delivering(database_url, quick_policy(retry_delays_s=(0.01, 0.01))):
        wait_for_states(rows, "FAILED")
        assert len(receiver.received) == 3
        receiver.answers = [200]
        rows.run(deliveries.redeliver(rows.user_id, read_deliveries(rows)[0].id))
        wait_for_states(rows, "DELIVERED")
    assert len({message.id for message in receiver.received}) == 1
    assert [row.attempts for row in read_deliveries(rows)] == [4]


def test_two_couriers_deliver_each_message_once(database_url, rows, receiver, subscribe):
    endpoint = subscribe()
    count = 30
    with delivering(database_url, quick_policy(), couriers=2):
        for _ in range(count):
            rows.run(deliveries.send_test(rows.user_id, endpoint.id))
        wait_for_states(rows, *["DELIVERED"] * count)
    assert len(receiver.received) == count
    assert len({message.id for message in receiver.received}) == count


def test_what_a_dead_courier_held_is_taken_when_its_lease_ends(
    database_url, rows, receiver, subscribe, succeed
):
    """As after a kill -9 between the answer and the record: `test_killed` does that to a real process."""
    subscribe()
    succeed()
    receiver.free.clear()
    dead = quick_policy(lease_s=0.2, stop_grace_s=0.01)
    with delivering(database_url, dead, couriers=2):
        wait_until(lambda: len(receiver.received) == 2, what="it is sent twice", interval_s=0.005)
        receiver.free.set()
        wait_for_states(rows, "DELIVERED")
    assert len({message.id for message in receiver.received}) == 1


def test_a_host_is_not_flooded_and_does_not_hold_up_others(database_url, rows, receiver, subscribe):
    slow = subscribe()
    for _ in range(20):
        rows.run(deliveries.send_test(rows.user_id, slow.id))
    receiver.free.clear()
    with receiving() as quick, delivering(database_url, quick_policy(per_host=3, at_once=4)):
        wait_until(lambda: receiver.waiting == 3, what="the slow one is asked", interval_s=0.005)
        other = subscribe(url=quick.url)
        rows.run(deliveries.send_test(rows.user_id, other.id))
        quick.wait_for(1)
        receiver.free.set()
        wait_for_states(rows, *["DELIVERED"] * 21)
    assert receiver.most_waiting == 3


def test_with_a_changed_secret_both_signatures_count_for_a_day(
    database_url, rows, receiver, subscribe, succeed
):
    endpoint = subscribe()
    [changed] = rows.run(webhook_secrets.rotate_endpoint_secret(rows.user_id, endpoint.id))
    succeed()
    with delivering(database_url, quick_policy()):
        wait_for_states(rows, "DELIVERED")
        rows.run(webhook_endpoints.update().values(previous_secret_until=text("now()")))
        succeed()
        wait_for_states(rows, "DELIVERED", "DELIVERED")
    during, after = receiver.received
    assert during.headers["webhook-signature"].count("v1,") == 2
    for secret in (endpoint.secret, changed.secret):
        during.verify(secret)
    after.verify(changed.secret)
    with pytest.raises(WebhookVerificationError):
        after.verify(endpoint.secret)


def test_a_job_that_names_an_address_is_told_there_with_the_secret_of_the_account(
    database_url, rows, receiver, succeed
):
    job_id = rows.make()
    rows.run(
        text("UPDATE jobs SET callback_url = :url, callback_events = '{job.created,job.canceled}'"),
        url=receiver.url + "/once",
    )
    succeed()
    rows.run(text("UPDATE jobs SET callback_url = :url WHERE id = :id"), url=receiver.url, id=job_id)
    rows.run(changes.request_cancel(job_id))
    with delivering(database_url, quick_policy()):
        wait_for_states(rows, "DELIVERED")
    [secret] = rows.run(webhook_secrets.ensure_account_secret(rows.user_id))
    [message] = receiver.received
    assert message.verify(secret.secret)["type"] == "job.canceled"
    assert message.data["id"] == str(job_id)


@pytest.mark.parametrize(
    ("events", "heard"),
    [
        ((), ["job.succeeded"]),  # the end alone
        (("job.created", "job.started"), ["job.created", "job.started"]),
        (("job.progress",), ["job.progress"]),  # only where it is asked for
        (("job.artifact", "job.succeeded"), ["job.artifact", "job.succeeded"]),
        (("job.failed",), []),
    ],
)
def test_a_subscription_hears_what_it_names(rows, ledger, subscribe, events, heard):
    subscribe(events=events)
    job_id = rows.make()
    ledger.begin(job_id, attempt=1, run_id="run-1", delivers=True)
    ledger.report_progress(job_id, "run-1", Progress(percent=40, stage="mesh", stage_number=1, stage_count=2))
    ledger.record_artifact(job_id, 1, "glb_export", "model.glb", ArtifactType.OUTPUT_MODEL, MODEL, {})
    ledger.succeed(job_id, "run-1")
    assert [row.event for row in read_deliveries(rows)] == heard


def test_a_message_tells_what_the_job_was_then_and_survives_it(
    database_url, rows, ledger, receiver, subscribe
):
    subscribe()
    job_id = rows.make()
    ledger.begin(job_id, attempt=1, run_id="run-1", delivers=True)
    report = FailureReport(code="unusable_input", stage="mesh", message="No.", hint="Another photo.")
    ledger.fail(job_id, "run-1", report)
    ledger.retry_by_hand(job_id)
    rows.run(text("DELETE FROM jobs"))
    with delivering(database_url, quick_policy()):
        wait_for_states(rows, "DELIVERED")
    [message] = receiver.received
    assert (message.type, message.data["status"]) == ("job.failed", "FAILED")
    assert message.data["error"] == {
        **{"code": "unusable_input", "stage": "mesh", "message": "No."},
        **{"hint": "Another photo.", "retryable": False},
    }
    assert message.data["artifacts"] == []


def test_nobody_hears_of_the_jobs_of_somebody_else(rows, subscribe, succeed):
    subscribe(user_id=rows.user("grace"))
    succeed()
    assert read_deliveries(rows) == []


def test_410_switches_the_endpoint_off_and_gives_up_what_waits(
    database_url, rows, receiver, subscribe, succeed
):
    receiver.answers = [410]
    subscribe()
    succeed()
    succeed()
    with delivering(database_url, quick_policy(at_once=1)):
        wait_for_states(rows, "FAILED", "FAILED")
    [endpoint] = rows.run(select(webhook_endpoints))
    assert not endpoint.is_active
    assert "410" in endpoint.disabled_reason
    assert len(receiver.received) == 1
    succeed()
    assert len(read_deliveries(rows)) == 2


def test_an_endpoint_that_only_fails_for_days_is_switched_off_and_one_that_works_is_not(
    database_url, rows, receiver, subscribe, succeed
):
    receiver.answers = [500, 200, 500]
    endpoint = subscribe()
    long_ago = {"failing_since": datetime.now(UTC) - timedelta(days=4)}
    rows.run(webhook_endpoints.update().values(**long_ago))
    with delivering(database_url, quick_policy(retry_delays_s=(0.01,))):
        succeed()
        wait_for_states(rows, "DELIVERED")
        assert rows.run(select(webhook_endpoints))[0].failing_since is None
        long_ago = {"failing_since": datetime.now(UTC) - timedelta(days=6)}
        rows.run(webhook_endpoints.update().values(**long_ago))
        succeed()
        wait_for_states(rows, "DELIVERED", "FAILED")
    [endpoint] = rows.run(select(webhook_endpoints))
    assert not endpoint.is_active
    assert "Every attempt failed since" in endpoint.disabled_reason
    [enabled] = rows.run(webhooks.enable_endpoint(rows.user_id, endpoint.id))
    assert (enabled.is_active, enabled.failing_since, enabled.disabled_reason) == (True, None, None)


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:{port}/",  # loopback, where this installation does not allow it
        "http://localhost:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
    ],
)
def test_a_private_address_is_not_visited(database_url, rows, receiver, subscribe, succeed, address):
    subscribe(url=address.format(port=receiver.url.rsplit(":", 1)[-1]))
    succeed()
    with delivering(database_url, quick_policy(allowed_hosts=())):
        wait_for_states(rows, "FAILED")
    assert receiver.received == []
    [attempt] = rows.run(select(webhook_attempts))
    assert attempt.status is None
    assert attempt.error


def test_a_message_of_progress_is_dropped_after_a_few_attempts(
    database_url, rows, ledger, receiver, subscribe
):
    receiver.answers = [500]
    subscribe(events=["job.progress"])
    job_id = rows.make()
    ledger.begin(job_id, attempt=1, run_id="run-1", delivers=True)
    ledger.report_progress(job_id, "run-1", Progress(percent=40, stage="mesh", stage_number=1, stage_count=2))
    with delivering(database_url, quick_policy()):
        wait_for_states(rows, "DROPPED")
    assert len(receiver.received) == 3


@pytest.mark.parametrize("status", [429, 503])
def test_a_receiver_that_asks_for_patience_gets_it(database_url, rows, receiver, subscribe, status):
    receiver.answers = [(status, {"retry-after": "3600"})]
    endpoint = subscribe()
    rows.run(deliveries.send_test(rows.user_id, endpoint.id))
    with delivering(database_url, quick_policy()):
        wait_until(lambda: read_deliveries(rows)[0].failures, what="it failed", interval_s=0.005)
    [waits] = read_deliveries(rows)
    assert timedelta(minutes=59) < waits.next_attempt_at - datetime.now(UTC) <= timedelta(minutes=60)
    assert (waits.state, waits.last_status) == ("PENDING", status)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (b"x" * 100_000, "x" * 2048),  # the beginning
        (b"a\x00b\xff", "a\ufffdb\ufffd"),  # no text that Postgres could store
        (b"", ""),
    ],
)
def test_of_whatever_a_receiver_says_the_beginning_is_kept(
    database_url, rows, receiver, subscribe, said, kept
):
    receiver.says, receiver.answers = said, [200]
    endpoint = subscribe()
    rows.run(deliveries.send_test(rows.user_id, endpoint.id))
    with delivering(database_url, quick_policy()):
        wait_for_states(rows, "DELIVERED")
    assert rows.run(select(webhook_attempts.c.answer))[0].answer == kept


def test_a_message_that_cannot_be_made_is_given_up_and_does_not_hold_up_others(
    database_url, rows, receiver, subscribe, succeed
):
    subscribe()
    succeed()
    rows.run(webhook_deliveries.update().values(payload={"at": "no moment"}))
    succeed()
    with delivering(database_url, quick_policy()):
        wait_for_states(rows, "DELIVERED", "FAILED")
    assert len(receiver.received) == 1


def test_the_messages_of_a_user_who_is_locked_out_stay_here(database_url, rows, receiver, subscribe, succeed):
    user = rows.user("mallory")
    subscribe(user_id=user)
    succeed(user_id=user)
    rows.run(text("UPDATE users SET is_active = false WHERE username = 'mallory'"))
    with delivering(database_url, quick_policy()):
        wait_for_states(rows, "FAILED")
    assert receiver.received == []
