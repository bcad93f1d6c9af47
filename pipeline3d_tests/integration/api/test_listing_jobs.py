"""Lists of own jobs: what may be chosen, how a list is read to its end, and what that costs Postgres."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from pipeline3d.api import listing as api_listing
from pipeline3d.database.tables import batches, jobs
from pipeline3d.requests import creation, listing
from pipeline3d.requests.listing import JobFilter, Order, Place
from pipeline3d.values import JobState, Kind
from pipeline3d_tests.integration.api.api_fixtures import JOBS, ORIGIN

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def lists(api):
    """Reads lists; brings back the names that the test gave its jobs."""
    return Lists(api)


class Lists:
    def __init__(self, api):
        self.api = api
        self.names: dict[str, str] = {}

    def job(self, name: str, *, columns: dict | None = None, **values) -> UUID:
        """A job of the first user; `columns` are set past every check."""
        job_id = self.api.rows.make(**values)
        if columns:
            self.api.rows.run(jobs.update().where(jobs.c.id == job_id).values(**columns))
        self.names[str(job_id)] = name
        return job_id

    def ended(self, name: str, state: str, *, at: datetime = LONG_AGO, **values) -> UUID:
        """A job that has ended."""
        columns = {"state": state, "started_at": at, "completed_at": at, "progress_percent": 100}
        if state == "FAILED":
            columns |= {"error_code": "x", "error_message": "x", "error_retryable": False}
        return self.job(name, columns=columns, **values)

    def get(self, query="", **params):
        answer = self.api.http.get(f"{JOBS}/{query}", params=params or None)
        assert answer.status_code == 200, answer.text
        return answer

    def read(self, query="", **params) -> list[str]:
        return [self.names[job["id"]] for job in self.get(query, **params).json()]


def test_a_list_shows_only_what_was_chosen(lists, api):
    batch = uuid4()
    api.rows.run(batches.insert().values(id=batch, user_id=api.rows.user_id, source="json", size=1))
    first = lists.job("queued", tags=("a", "b"), prompt="A 100% wooden_chair")
    lists.job(
        "running",
        columns={"state": "RUNNING", "run_id": "r"} | dict.fromkeys(("started_at", "heartbeat_at"), LONG_AGO),
        tags=("a",),
    )
    lists.ended("succeeded", "SUCCEEDED", metadata={"order": {"note": 'say "hi" \\ there'}, "n": 5})
    lists.ended("failed", "FAILED", at=LONG_AGO + timedelta(days=2), model_id="probe-v1", kind=Kind.PROBE)
    lists.job("held", columns={"held": True, "input_job_id": first, "batch_id": batch})
    upload = f"uploads/inputs/{api.rows.user_id}/{uuid4()}-Old_Lamp.png"
    lists.job("of a file", params={"input_path": upload}, columns={"created_at": LONG_AGO})
    lists.job("being deleted", columns={"deleted_at": LONG_AGO}, tags=("a",))
    everything = ["held", "failed", "succeeded", "running", "queued", "of a file"]
    for query, expected in {
        "": everything,
        "?order=oldest": everything[::-1],
        "?status=QUEUED": ["held", "queued", "of a file"],
        "?status=pending": ["held", "queued", "of a file"],
        "?status=PROCESSING": ["running"],
        "?status=Completed&status=active&order=oldest": ["running", "succeeded"],
        "?status=CANCELLED": [],
        "?model_id=probe-v1": ["failed"],
        "?kind=probe": ["failed"],
        "?tag=a": ["running", "queued"],
        "?tag=a&tag=b": ["queued"],
        f"?batch_id={batch}": ["held"],
        f"?input_job_id={first}": ["held"],
        "?held=true": ["held"],
        "?created_before=2020-01-02": ["of a file"],
        "?created_after=2020-01-01T00:00:01Z&held=false": ["failed", "succeeded", "running", "queued"],
        "?completed_after=2020-01-01&completed_before=2020-01-02T00:00:00+02:00": ["succeeded"],
        "?completed_after=2020-01-02T00:00:00": ["failed"],
        f"?q={first}": ["queued"],
        f"?q={str(first)[:-1].upper()}": ["queued"],
        "?q=WOODEN_chair": ["queued"],
        "?q=wooden chair": [],  # an underscore is no wildcard, here or there
        "?q=100%25 w": ["queued"],
        "?q=100% wooden_chair%": [],
        "?q=probe": ["failed"],
        "?q=old_lamp": ["of a file"],
        "?q=uploads": [],  # the folder is not the file's name
        '?q=say "hi" \\ t': ["succeeded"],
        "?q=order": [],  # a name in the metadata, not a value
        "?q=b&tag=a": ["queued"],
        f"?before={first}": ["of a file"],
        "?skip=1&limit=2": ["failed", "succeeded"],
    }.items():
        assert lists.read(query) == expected, query


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("status=DONE", "unknown_status"),
        ("status=QUEUED&status=", "invalid_request"),
        ("kind=none", "invalid_request"),
        ("created_after=yesterday", "invalid_request"),
        ("created_before=99999-01-01", "invalid_request"),
        ("held=perhaps", "invalid_request"),
        ("q=", "invalid_request"),
        ("q=a%00b", "invalid_request"),
        ("q=" + "x" * 201, "invalid_request"),
        ("tag=" + "x" * 51, "invalid_request"),
        ("&".join(["tag=x"] * 21), "invalid_request"),
        ("batch_id=1", "invalid_request"),
        ("order=random", "invalid_request"),
        ("limit=501", "invalid_request"),
        ("cursor=x", "invalid_cursor"),
        ("cursor=" + "A" * 44, "invalid_cursor"),
        ("cursor=%F0%9F%8D%8E", "invalid_cursor"),
        ("cursor=", "invalid_cursor"),
    ],
)
def test_a_choice_that_cannot_be_is_refused(api, query, code):
    answer = api.http.get(f"{JOBS}/?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize("chosen", ["", "&status=QUEUED&status=SUCCEEDED", "&tag=a"])
def test_a_list_is_read_to_its_end_without_gaps_while_it_changes(lists, api, order, chosen):
    for number in range(3):
        lists.job(f"queued {number}", tags=("a",))
        lists.ended(f"ended {number}", "SUCCEEDED", tags=("a",))
    # equal moments: the id decides
    api.rows.run(jobs.update().values(created_at=LONG_AGO))
    whole = lists.read(f"?order={order}{chosen}")
    assert len(whole) == 6
    found, address = [], f"?order={order}&limit=2{chosen}"
    while address:
        answer = lists.get(address)
        found += [lists.names[job["id"]] for job in answer.json()]
        assert len(answer.json()) == 2
        if len(found) == 2:  # a job comes, and the last one of the page goes
            lists.job("new", columns={"created_at": LONG_AGO - timedelta(days=1) * (order == "oldest")})
            gone = answer.json()[-1]["id"]
            api.rows.run(jobs.delete().where(jobs.c.id == gone))
        link = answer.links.get("next")
        assert (link is None) == ("X-Next-Cursor" not in answer.headers)
        address = link["url"].removeprefix(f"{JOBS}/") if link else None
    assert found == whole


def test_a_cursor_belongs_to_its_list(lists, api):
    for number in range(3):
        lists.job(str(number))
    cursor = lists.get("?limit=1&status=QUEUED").headers["X-Next-Cursor"]
    assert lists.read(f"?limit=2&status=QUEUED&cursor={cursor}") == ["1", "0"]  # another limit is no matter
    for query in ("", "&status=RUNNING", "&status=QUEUED&order=oldest"):
        answer = api.http.get(f"{JOBS}/?limit=1{query}&cursor={cursor}")
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_cursor")


def test_totals_and_links_are_told_in_headers_that_a_page_may_read(lists, api, monkeypatch):
    for number in range(3):
        lists.job(str(number))
    assert "X-Total-Count" not in lists.get("?limit=1").headers
    headers = lists.get("?limit=1&include_total=true&status=QUEUED").headers
    assert (headers["X-Total-Count"], headers.get("X-Total-Capped")) == ("3", None)
    monkeypatch.setattr(listing, "MOST_COUNTED", 2)
    monkeypatch.setattr(api_listing, "MOST_COUNTED", 2)
    headers = lists.get("?include_total=true").headers
    assert (headers["X-Total-Count"], headers["X-Total-Capped"]) == ("2", "true")
    exposed = api.http.get(f"{JOBS}/", headers={"Origin": ORIGIN}).headers["access-control-expose-headers"]
    assert {"Link", "X-Next-Cursor", "X-Total-Count", "X-Total-Capped"} <= set(exposed.split(", "))


def test_counts_say_how_many_of_each_sort_there_are(lists, api, monkeypatch):
    lists.job("a", tags=("t",))
    lists.job("b", model_id="probe-v1", kind=Kind.PROBE)
    lists.ended("c", "FAILED")
    lists.job("gone", columns={"deleted_at": LONG_AGO})
    assert api.http.get(f"{JOBS}/counts").json() == {
        "total": 3,
        "capped": False,
        "by_status": {"QUEUED": 2, "FAILED": 1},
        "by_model": {"inflate-v1": 2, "probe-v1": 1},
        "by_kind": {"image_to_3d": 2, "probe": 1},
    }
    assert api.http.get(f"{JOBS}/counts/?tag=t").json()["by_status"] == {"QUEUED": 1}
    assert api.http.get(f"{JOBS}/counts?status=DONE").status_code == 422
    monkeypatch.setattr(listing, "MOST_COUNTED", 1)
    monkeypatch.setattr(api_listing, "MOST_COUNTED", 1)
    counts = api.http.get(f"{JOBS}/counts").json()
    assert (counts["total"], counts["capped"]) == (1, True)


def fill(rows, number: int) -> None:
    """Many jobs, most of them of the first user and ended, made in a second each."""
    rows.run(
        text(
            "INSERT INTO jobs (id, user_id, model_id, kind, family, state, progress_percent, started_at,"
            " completed_at, created_at, tags, prompt, metadata)"
            " SELECT gen_random_uuid(), (SELECT id FROM users WHERE username = 'ada'), 'inflate-v1',"
            " 'image_to_3d', 'model_requests', CASE WHEN n % 500 = 0 THEN 'CANCELED' ELSE 'SUCCEEDED' END,"
            " 100, now(), now(), now() - make_interval(secs => n), ARRAY['tag' || n], 'a prompt ' || n,"
            " jsonb_build_object('order', n::text) FROM generate_series(1, :number) AS n"
        ),
        number=number,
    )
    rows.run(text("ANALYZE jobs"))


def nodes(plan: dict) -> list[dict]:
    return [plan, *(node for child in plan.get("Plans", ()) for node in nodes(child))]


def test_common_pages_read_their_index_and_hardly_more_rows_than_they_show(rows):
    fill(rows, 6000)
    mine = {"user_id": rows.user_id}
    deep = Place(created_at=datetime.now(UTC) - timedelta(seconds=3000), id=creation.new_job_id())
    for index, statement in (
        ("ix_jobs_own_newest_first", listing.list_page(JobFilter(**mine), limit=51)),
        ("ix_jobs_own_newest_first", listing.list_page(JobFilter(**mine), limit=51, after=deep)),
        ("ix_jobs_own_newest_first", listing.list_page(JobFilter(**mine), limit=51, order=Order.OLDEST)),
        (
            "ix_jobs_own_newest_first",
            listing.list_page(JobFilter(**mine, created_before=deep.created_at), limit=51),
        ),
        ("ix_jobs_own_by_state", listing.list_page(JobFilter(**mine, states=(JobState.CANCELED,)), limit=9)),
        (
            "ix_jobs_own_by_state",
            listing.list_page(JobFilter(**mine, states=tuple(JobState)), limit=51, after=deep),
        ),
        ("ix_jobs_tags", listing.list_page(JobFilter(**mine, tags=("tag5999",)), limit=51)),
    ):
        found = nodes(rows.explain(statement, {})["Plan"])
        assert index in [node.get("Index Name") for node in found], found
        # of each state at most a page, and never a sort of the history
        read = max(node["Actual Rows"] for node in found if "Index Name" in node)
        assert read <= 51, found
        assert all(node.get("Rows Removed by Filter", 0) <= 51 for node in found), found


def test_a_search_that_takes_too_long_is_given_up(rows, api, monkeypatch):
    fill(rows, 3000)
    monkeypatch.setattr(api_listing, "LONGEST_SEARCH_MS", 1)
    for path in ("/?q=nowhere", "/counts?q=nowhere", "/?include_total=true&q=nowhere"):
        answer = api.http.get(f"{JOBS}{path}")
        assert (answer.status_code, answer.json()["code"]) == (422, "search_too_slow"), answer.text
        assert "created_after" in answer.json()["hint"]
    # the connection that was stopped works on, without a limit
    assert len(api.http.get(f"{JOBS}/?limit=500").json()) == 500
