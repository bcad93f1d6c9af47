"""Webhooks through the API: endpoints, secrets, what was delivered, and once more, please."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import select, text

from pipeline3d.database.access_tables import audit_log
from pipeline3d.database.webhook_tables import webhook_deliveries, webhook_endpoints
from pipeline3d.requests import accounts, changes
from pipeline3d.values import Scope
from pipeline3d_tests.integration.api.api_fixtures import serving
from pipeline3d_tests.integration.courier.receiving import LOOPBACK, delivering, quick_policy, receiving
from pipeline3d_tests.integration.requests.database_fixtures import API_KEY
from pipeline3d_tests.servers import wait_until

WEBHOOKS = "/api/v1/webhooks"
ADDRESS = "https://shop.example.com/hooks?token=s3cret"


@pytest.fixture
def receiver():
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def make(api, rows):
    """An endpoint of the first user. `url` goes past the check of addresses: receivers are on loopback."""

    def make(url=None, **body):
        made = api.http.post(WEBHOOKS, json={"url": ADDRESS, **body})
        assert made.status_code == 201, made.text
        if url is not None:
            rows.run(webhook_endpoints.update().values(url=url))
        return made.json()

    return make


@pytest.fixture
def deliver_all(database_url, rows):
    """Let a courier work until nothing waits."""

    def deliver_all(**policy):
        pending = select(webhook_deliveries.c.id).where(webhook_deliveries.c.state == "PENDING")
        with delivering(database_url, quick_policy(**policy)):
            wait_until(lambda: not rows.run(pending), what="nothing waits", interval_s=0.005)

    return deliver_all


def cancel(rows, **values):
    job_id = rows.make(**values)
    rows.run(changes.request_cancel(job_id))
    return job_id


def test_an_endpoint_is_made_read_changed_and_deleted(api, rows, make):
    made = make(events=["job.failed", "job.succeeded"], description="the shop")
    assert made["secret"].startswith("whsec_")
    path = f"{WEBHOOKS}/{made['id']}"
    shown = {name: value for name, value in made.items() if name != "secret"}
    assert api.http.get(path).json() == shown
    assert api.http.get(WEBHOOKS).json() == [shown]
    assert api.http.get(f"{path}/secret").json()["secret"] == made["secret"]
    changed = api.http.patch(path, json={"events": [], "description": ""}).json()
    assert (changed["events"], changed["description"], changed["url"]) == ([], "", ADDRESS)
    assert api.http.delete(path).status_code == 204
    assert api.http.get(path).json()["code"] == "unknown_webhook"
    assert api.http.delete(path).status_code == 404
    lines = rows.run(select(audit_log).order_by(audit_log.c.id))
    assert [line.action for line in lines] == ["webhook.created", "webhook.changed", "webhook.deleted"]
    assert "s3cret" not in str(lines)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "invalid_request"),
        ({"url": ""}, 422, "invalid_request"),
        ({"url": "https://a.example.com/" + "x" * 2048}, 422, "invalid_request"),
        ({"url": "ftp://shop.example.com/"}, 422, "address_invalid"),
        ({"url": "https://user:pass@shop.example.com/"}, 422, "address_invalid"),
        ({"url": "http://127.0.0.1:8000/"}, 422, "address_forbidden"),
        ({"url": "http://localhost/"}, 422, "address_forbidden"),
        ({"url": "http://169.254.169.254/latest"}, 422, "address_forbidden"),
        ({"url": "http://[::1]/"}, 422, "address_forbidden"),
        ({"url": "https://shop.example.com:5432/"}, 422, "address_forbidden"),
        ({"url": ADDRESS, "events": ["job.exploded"]}, 422, "invalid_request"),
        ({"url": ADDRESS, "events": ["webhook.test"]}, 422, "invalid_request"),
        ({"url": ADDRESS, "description": "x" * 501}, 422, "invalid_request"),
        ({"url": ADDRESS, "description": "\x00"}, 422, "invalid_request"),
    ],
)
def test_what_cannot_be_an_endpoint_is_refused(api, rows, make, body, status, code):
    refused = api.http.post(WEBHOOKS, json=body)
    assert (refused.status_code, refused.json()["code"]) == (status, code)
    assert rows.run(select(webhook_endpoints)) == []
    if "url" in body and "events" not in body and "description" not in body:
        made = make()
        patched = api.http.patch(f"{WEBHOOKS}/{made['id']}", json=body)
        assert (patched.status_code, patched.json()["code"]) == (status, code)


def test_an_operator_may_allow_a_private_host(api_settings, engine):
    with serving({**api_settings, "pipeline3d_webhook_hosts": list(LOOPBACK)}) as url:
        headers = {"x-api-key": API_KEY}
        made = httpx.post(f"{url}{WEBHOOKS}", json={"url": "http://127.0.0.1:8000/"}, headers=headers)
        assert made.status_code == 201
        other = httpx.post(f"{url}{WEBHOOKS}", json={"url": "http://10.0.0.1/"}, headers=headers)
        assert other.status_code == 422
        job = {"model_id": "sculpt-v1", "prompt": "a red mug", "webhook_url": "http://127.0.0.1:8000/"}
        created = httpx.post(f"{url}/api/v1/jobs/", json=job, headers=headers)
        assert created.status_code == 201, created.text
        other = httpx.post(
            f"{url}/api/v1/jobs/", json={**job, "webhook_url": "http://10.0.0.1/"}, headers=headers
        )
        assert other.json()["code"] == "address_forbidden"


def test_a_user_has_so_many_endpoints_and_no_more_even_when_they_come_at_once(api, rows):
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: api.http.post(WEBHOOKS, json={"url": ADDRESS}), range(26)))
    assert sorted(answer.status_code for answer in answers) == [201] * 20 + [409] * 6
    assert {answer.json()["code"] for answer in answers if answer.is_error} == {"too_many_webhooks"}
    assert len(rows.run(select(webhook_endpoints))) == 20


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("GET", "/secret"),
        ("POST", "/rotate-secret"),
        ("POST", "/test"),
        ("POST", "/enable"),
        ("POST", "/recover"),
        ("GET", "/deliveries"),
    ],
)
def test_what_belongs_to_somebody_else_does_not_exist(api, as_other, make, method, path):
    made = make()
    body = {"since": "2020-01-01T00:00:00Z"} if path == "/recover" else {}
    options = {} if method == "GET" else {"json": body}
    for webhook_id, headers in ((made["id"], as_other), (uuid4(), {})):
        target = f"{WEBHOOKS}/{webhook_id}{path}"
        answer = api.http.request(method, target, headers=headers, **options)
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_webhook")
    assert api.http.get(f"{WEBHOOKS}/{made['id']}/secret").json()["secret"] == made["secret"]


def test_a_key_without_the_scope_sees_no_webhook(api, rows):
    key = "p3d_scoped_0123456789abcdef0123456789abcdef"
    scopes = [Scope.JOBS_READ, Scope.JOBS_WRITE]
    rows.run(accounts.create_api_key(rows.user_id, key, name="narrow", scopes=scopes))
    job_id = rows.make()
    for path in (WEBHOOKS, f"{WEBHOOKS}/secret", f"/api/v1/jobs/{job_id}/webhooks"):
        refused = api.http.get(path, headers={"x-api-key": key})
        assert (refused.status_code, refused.json()["code"]) == (403, "missing_scope")


def test_a_test_message_arrives_and_is_in_the_log(api, make, receiver, deliver_all):
    made = make(receiver.url)
    queued = api.http.post(f"{WEBHOOKS}/{made['id']}/test")
    assert queued.status_code == 202
    assert queued.json()["status"] == "PENDING"
    deliver_all()
    [message] = receiver.received
    assert message.verify(made["secret"])["type"] == "webhook.test"
    [shown] = api.http.get(f"{WEBHOOKS}/{made['id']}/deliveries").json()
    assert (shown["status"], shown["message_id"], shown["attempt_count"]) == ("DELIVERED", message.id, 1)
    detail = api.http.get(f"{WEBHOOKS}/deliveries/{shown['id']}").json()
    assert detail["body"].encode() == message.body
    assert [(a["number"], a["status"], a["answer"]) for a in detail["attempts"]] == [(1, 204, "")]


def test_a_failed_delivery_is_sent_again_with_the_same_id(api, rows, make, receiver, deliver_all):
    made = make(receiver.url)
    receiver.answers = [500]
    cancel(rows)
    deliver_all(retry_delays_s=())
    receiver.answers = [200]
    [failed] = api.http.get(f"{WEBHOOKS}/{made['id']}/deliveries", params={"status": "FAILED"}).json()
    again = api.http.post(f"{WEBHOOKS}/deliveries/{failed['id']}/redeliver")
    assert (again.status_code, again.json()["status"]) == (202, "PENDING")
    deliver_all()
    first, second = receiver.received
    assert (first.id, first.body) == (second.id, second.body)
    detail = api.http.get(f"{WEBHOOKS}/deliveries/{failed['id']}").json()
    assert [attempt["status"] for attempt in detail["attempts"]] == [500, 200]
    assert detail["status"] == "DELIVERED"


def test_all_that_failed_since_a_moment_is_recovered(api, rows, make, receiver, deliver_all):
    made = make(receiver.url)
    receiver.answers = [500]
    old, *recent = (cancel(rows) for _ in range(4))
    deliver_all(retry_delays_s=())
    day = timedelta(days=1)
    rows.run(
        webhook_deliveries.update()
        .where(webhook_deliveries.c.job_id == old)
        .values(created_at=datetime.now(UTC) - 2 * day)
    )
    receiver.answers = [200]
    receiver.received.clear()
    since = (datetime.now(UTC) - day).isoformat()
    report = api.http.post(f"{WEBHOOKS}/{made['id']}/recover", json={"since": since})
    assert (report.status_code, report.json()) == (202, {"queued": 3})
    deliver_all()
    assert {message.data["id"] for message in receiver.received} == {str(job_id) for job_id in recent}
    assert api.http.post(f"{WEBHOOKS}/{made['id']}/recover", json={"since": since}).json() == {"queued": 0}


def test_an_endpoint_that_is_off_is_told_nothing_until_it_is_on_again(api, rows, make, receiver, deliver_all):
    made = make(receiver.url)
    path = f"{WEBHOOKS}/{made['id']}"
    cancel(rows)
    off = api.http.patch(path, json={"is_active": False}).json()
    assert (off["is_active"], off["disabled_reason"]) == (False, "Its owner switched it off.")
    [waited] = api.http.get(f"{path}/deliveries").json()
    assert waited["status"] == "FAILED"
    cancel(rows)
    for refused in (
        api.http.post(f"{path}/test"),
        api.http.post(f"{WEBHOOKS}/deliveries/{waited['id']}/redeliver"),
        api.http.post(f"{path}/recover", json={"since": "2020-01-01T00:00:00Z"}),
    ):
        assert (refused.status_code, refused.json()["code"]) == (409, "webhook_disabled")
    on = api.http.post(f"{path}/enable").json()
    assert (on["is_active"], on["disabled_at"], on["disabled_reason"]) == (True, None, None)
    api.http.post(f"{path}/recover", json={"since": "2020-01-01T00:00:00Z"})
    deliver_all()
    assert len(receiver.received) == 1


def test_secrets_are_changed_and_the_one_before_counts_for_a_day(api, make):
    made = make()
    first = api.http.get(f"{WEBHOOKS}/secret").json()
    assert first["previous_valid_until"] is None
    assert api.http.get(f"{WEBHOOKS}/secret").json() == first
    for path, before in (
        (f"{WEBHOOKS}/secret/rotate", first),
        (f"{WEBHOOKS}/{made['id']}/rotate-secret", made),
    ):
        answer = api.http.post(path)
        assert answer.headers["cache-control"] == "no-store"
        changed = answer.json()
        assert changed["secret"].startswith("whsec_")
        assert changed["secret"] != before["secret"]
        until = datetime.fromisoformat(changed["previous_valid_until"])
        assert timedelta(hours=23) < until - datetime.now(UTC) <= timedelta(hours=24)


def test_deliveries_come_in_pages_and_are_chosen_by_status_and_event(api, rows, make):
    made = make(events=["job.created", "job.canceled"])
    jobs = [cancel(rows) for _ in range(3)]
    path = f"{WEBHOOKS}/{made['id']}/deliveries"
    page = api.http.get(path, params={"limit": 4})
    assert len(page.json()) == 4
    rest = api.http.get(page.headers["link"].split(">")[0].strip("<"))
    assert len(rest.json()) == 2
    assert "x-next-cursor" not in rest.headers
    ids = [delivery["id"] for delivery in (*page.json(), *rest.json())]
    assert ids == sorted(ids, reverse=True)
    chosen = api.http.get(path, params={"event": "job.created", "status": ["PENDING", "FAILED"]}).json()
    assert [delivery["job_id"] for delivery in chosen] == [str(job_id) for job_id in reversed(jobs)]
    assert api.http.get(path, params={"status": "DELIVERED"}).json() == []
    assert api.http.get(path, params={"cursor": "x"}).status_code == 422
    # what a list shows is copied into tickets and logs: not the query, which is the receiver's secret
    assert {delivery["url"] for delivery in page.json()} == {ADDRESS.partition("?")[0]}
    of_job = api.http.get(f"/api/v1/jobs/{jobs[0]}/webhooks").json()
    assert [delivery["event"] for delivery in of_job] == ["job.canceled", "job.created"]


def test_what_was_told_to_somebody_else_is_not_shown(api, rows, as_other, make):
    make()
    job_id = cancel(rows)
    [delivery] = api.http.get(f"{WEBHOOKS}/deliveries").json()
    assert api.http.get(f"{WEBHOOKS}/deliveries", headers=as_other).json() == []
    for method, path in (("GET", ""), ("POST", "/redeliver")):
        answer = api.http.request(method, f"{WEBHOOKS}/deliveries/{delivery['id']}{path}", headers=as_other)
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_delivery")
    assert api.http.get(f"/api/v1/jobs/{job_id}/webhooks", headers=as_other).status_code == 404
    assert api.http.get(f"{WEBHOOKS}/deliveries/{2**63}").status_code == 422


def test_a_job_with_an_address_of_its_own_is_told_there(api, rows, receiver, deliver_all):
    created = api.create(webhook_url="https://shop.example.com/once")
    assert created.status_code in {200, 201}, created.text
    rows.run(text("UPDATE jobs SET callback_url = :url"), url=receiver.url + "/once")
    api.http.post(f"/api/v1/jobs/{created.json()['id']}/cancel")
    deliver_all()
    [message] = receiver.received
    secret = api.http.get(f"{WEBHOOKS}/secret").json()["secret"]
    assert message.verify(secret)["data"]["id"] == created.json()["id"]
    [delivery] = api.http.get(f"/api/v1/jobs/{created.json()['id']}/webhooks").json()
    assert (delivery["webhook_id"], delivery["event"]) == (None, "job.canceled")
