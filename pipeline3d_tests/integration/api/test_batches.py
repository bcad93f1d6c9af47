"""Batches: many jobs at once, from JSON, CSV and photos; what is refused of them, and how it is reported."""

from __future__ import annotations

import io
import json
import stat
import struct
import time
import zipfile

import pytest

from pipeline3d_tests.integration.api.api_fixtures import JOBS, draw_png

BATCH = f"{JOBS}/batch"
PROBE = {"model_id": "probe-v1"}
CUP = {"model_id": "sculpt-v1", "prompt": "a red mug"}


def problem_of(answer, status=422):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.json()


def make_zip(entries, **options):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, **options) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return buffer.getvalue()


def send_zip(api, data, **query):
    return api.http.post(
        BATCH,
        content=data,
        headers={"content-type": "application/zip"},
        params={"model_id": "inflate-v1", **query},
    )


def send_csv(api, text, **query):
    data = text.encode() if isinstance(text, str) else text
    return api.http.post(BATCH, content=data, headers={"content-type": "text/csv"}, params=query)


def jobs_of(api):
    return api.http.get(f"{JOBS}/", params={"limit": 500}).json()


class TestJson:
    def test_defaults_that_would_fill_the_memory_are_refused(self, api):
        """They stand in a body once, and in each of a thousand jobs."""
        body = {"defaults": {**CUP, "metadata": {"a": "b" * 90_000}}, "jobs": [{}] * 1000}
        assert problem_of(api.http.post(BATCH, json=body), 413)["code"] == "body_too_large"
        assert jobs_of(api) == []

    def test_all_become_jobs_in_their_order_with_the_defaults_below_what_each_says(self, api, ledger):
        body = {
            "name": "mugs",
            "defaults": {**CUP, "tags": ["spring"], "input_params": {"seed": 1, "quality": "fast"}},
            "jobs": [{}, {"prompt": "a blue mug", "input_params": {"seed": 2}}, PROBE | {"input_params": {}}],
        }
        body["jobs"][2]["tags"] = []
        answer = api.http.post(BATCH, json=body)
        refused = answer.json()["refused"]
        assert (answer.status_code, [one["index"] for one in refused]) == (207, [2])  # a probe has no seed
        report = answer.json()
        assert (report["name"], [job["index"] for job in report["created"]]) == ("mugs", [0, 1])
        assert answer.headers["location"] == f"{JOBS}/batches/{report['batch_id']}"
        first, second = (api.http.get(f"{JOBS}/{job['id']}").json() for job in report["created"])
        assert (first["prompt"], second["prompt"]) == ("a red mug", "a blue mug")
        assert (first["params"]["seed"], second["params"]["seed"], second["params"]["quality"]) == (
            1,
            2,
            "fast",
        )
        assert first["tags"] == ["spring"]
        assert first["batch_id"] == report["batch_id"]
        assert {str(claim.job_id) for claim in ledger.claim_queued(10, 60)} == {first["id"], second["id"]}

    def test_it_is_201_where_nothing_is_refused(self, api):
        answer = api.http.post(BATCH, json={"jobs": [PROBE, PROBE]})
        assert answer.status_code == 201
        assert answer.json()["refused"] == []

    def test_what_is_refused_says_why_as_a_single_job_would(self, api):
        wrong = [
            {"model_id": "no-such"},
            {"model_id": "probe-v1", "input_params": {"work_s": "x", "no": 1}},
            {"prompt": 3},
            {"model_id": "inflate-v1", "input_params": {"input_path": "jobs/x"}},
            {"model_id": "triposr-v1"},
            {"model_id": "probe-v1", "dry_run": True},
        ]
        answer = api.http.post(BATCH, json={"jobs": [PROBE, *wrong]})
        assert answer.status_code == 207
        refused = answer.json()["refused"]
        assert [one["index"] for one in refused] == [1, 2, 3, 4, 5, 6]
        assert [one["code"] for one in refused] == [
            *("unknown_model", "invalid_parameters", "invalid_request", "not_your_object", "not_checked"),
            "invalid_request",
        ]
        assert {error["field"] for error in refused[1]["errors"]} == {"no", "work_s"}
        assert {error["field"] for error in refused[2]["errors"]} == {"model_id", "prompt"}
        assert len(jobs_of(api)) == 1

    def test_atomic_makes_none_where_one_is_wrong(self, api):
        answer = api.http.post(BATCH, json={"jobs": [PROBE, {"model_id": "no"}]}, params={"atomic": "true"})
        problem = problem_of(answer)
        assert problem["code"] == "batch_refused"
        assert problem["errors"][0]["field"] == "jobs.1"
        assert jobs_of(api) == []
        assert api.http.get(f"{JOBS}/batches/").json() == []

    def test_a_batch_of_which_all_is_wrong_is_refused(self, api):
        assert problem_of(api.http.post(BATCH, json={"jobs": [{}, {}]}))["code"] == "batch_refused"

    @pytest.mark.parametrize(
        ("content", "code"),
        [
            (b"{", "invalid_request"),
            (b"\xff", "invalid_request"),
            (b"[]", "invalid_request"),
            (b"{}", "invalid_request"),
            (b'{"jobs": []}', "invalid_request"),
            (b'{"jobs": [3]}', "invalid_request"),
            (b'{"jobs": [{"a": NaN}]}', "invalid_request"),
            (b'{"jobs": [{"model_id": "a\\u0000"}]}', "invalid_request"),
            (json.dumps({"jobs": [PROBE] * 1001}).encode(), "invalid_request"),
            (b"[" * 100_000, "invalid_request"),
        ],
    )
    def test_what_is_no_batch_is_refused(self, api, content, code):
        answer = api.http.post(BATCH, content=content, headers={"content-type": "application/json"})
        assert problem_of(answer)["code"] == code

    def test_another_type_of_content_is_refused(self, api):
        answer = api.http.post(BATCH, content=b"x", headers={"content-type": "text/plain"})
        assert problem_of(answer, 415)["code"] == "unsupported_media_type"

    def test_nobody_sends_one_without_a_key(self, api):
        assert api.http.post(BATCH, json={"jobs": [PROBE]}, headers={"x-api-key": ""}).status_code == 401

    def test_a_thousand_jobs_are_made_at_once(self, api):
        began = time.monotonic()
        answer = api.http.post(BATCH, json={"defaults": CUP, "jobs": [{}] * 1000})
        took_s = time.monotonic() - began
        assert (answer.status_code, len(answer.json()["created"])) == (201, 1000)
        assert took_s < 20, "a thousand jobs take about a second on a machine that is not busy"


class TestCsv:
    def test_each_row_is_a_job_and_cells_have_the_types_of_the_model(self, api):
        text = (
            "\ufeffmodel_id,prompt,priority,tags,seed,size_m,target,formats,metadata.sku\r\n"
            'sculpt-v1,"a mug, red",5,a;b,7,0.5,web,stl;3mf,M-1\r\n'
            "\r\n"
            "sculpt-v1,a table,,,,,,,\r\n"
        )
        answer = send_csv(api, text)
        assert answer.status_code == 201, answer.text
        first, second = (api.http.get(f"{JOBS}/{job['id']}").json() for job in answer.json()["created"])
        assert (first["prompt"], first["priority"], first["tags"]) == ("a mug, red", 5, ["a", "b"])
        assert (first["params"]["seed"], first["params"]["size_m"]) == (7, 0.5)
        assert (first["params"]["formats"], first["metadata"]) == (["stl", "3mf"], {"sku": "M-1"})
        assert (second["prompt"], second["priority"], second["metadata"]) == ("a table", 0, {})

    def test_the_query_gives_what_the_rows_leave_out(self, api):
        answer = send_csv(
            api,
            "prompt;seed\na mug;3\n",
            model_id="sculpt-v1",
            tags="x;y",
            params='{"quality": "fast"}',
            name="n",
        )
        assert answer.status_code == 201, answer.text
        [job] = jobs_of(api)
        assert (job["tags"], job["params"]["quality"], job["params"]["seed"]) == (["x", "y"], "fast", 3)

    def test_wrong_rows_are_named_by_their_lines(self, api):
        text = (
            "model_id,work_s,priority\nprobe-v1,0,\nprobe-v1,soon,\nprobe-v1,0,high\nprobe-v1,0,1,9\nno,,\n"
        )
        answer = send_csv(api, text)
        assert answer.status_code == 207, answer.text
        refused = answer.json()["refused"]
        assert [(one["line"], one["code"]) for one in refused] == [
            (3, "invalid_parameters"),
            (4, "csv_invalid"),
            (5, "csv_invalid"),
            (6, "unknown_model"),
        ]

    @pytest.mark.parametrize(
        ("data", "told"),
        [
            (b"", "column needs a name"),
            (b"model_id\n", "no row"),
            (b"model_id,,x\nprobe-v1,1,2\n", "column needs a name"),
            (b"a,b,a\n1,2,3\n", "more than once"),
            (b"model_id\n\xff\n", "not UTF-8"),
            (b'model_id,prompt\nprobe-v1,"open', "line 2"),
            (",".join(f"c{n}" for n in range(50_000)).encode() + b"\n1\n", "more than 200 columns"),
        ],
    )
    def test_what_is_no_table_is_refused_with_the_line(self, api, data, told):
        problem = problem_of(send_csv(api, data))
        assert problem["code"] == "csv_invalid"
        assert told in problem["detail"]

    def test_too_many_rows_are_refused(self, api):
        problem = problem_of(send_csv(api, "model_id\n" + "probe-v1\n" * 1001))
        assert problem["code"] == "too_many_jobs"


class TestPhotos:
    def test_every_picture_of_a_zip_becomes_an_upload_and_a_job(self, api, store):
        data = make_zip(
            [
                ("front.png", draw_png()),
                ("deep/er/back.PNG", draw_png()),
                ("__MACOSX/x", b"x"),
                ("notes.txt", b"hm"),
            ]
        )
        answer = send_zip(api, data, tags="shop", params='{"quality": "fast"}')
        assert answer.status_code == 207, answer.text
        report = answer.json()
        assert [(one["name"], one["code"]) for one in report["refused"]] == [("notes.txt", "not_an_image")]
        assert [job["index"] for job in report["created"]] == [0, 1]
        job = api.http.get(f"{JOBS}/{report['created'][0]['id']}").json()
        assert (job["tags"], job["params"]["quality"]) == (["shop"], "fast")
        key = job["params"]["input_path"]
        assert (key.rpartition("-")[2], store.read_bytes(key)) == ("front.png", draw_png())
        [artifact] = job["artifacts"]
        assert (artifact["type"], artifact["size"]) == ("INPUT", len(draw_png()))

    def test_photos_may_come_as_a_form(self, api):
        files = [("photos", ("a.png", draw_png())), ("photos", ("b.png", b"no"))]
        answer = api.http.post(BATCH, files=files, params={"model_id": "inflate-v1"})
        assert answer.status_code == 207, answer.text
        assert [one["name"] for one in answer.json()["refused"]] == ["b.png"]

    def test_a_form_in_a_charset_that_takes_no_text_is_refused(self, api):
        answer = api.http.post(
            BATCH,
            content=b"--b\r\nContent-Disposition: form-data; name=p; filename=a.png\r\n\r\nx\r\n--b--\r\n",
            headers={"content-type": "multipart/form-data; boundary=b; charset=undefined"},
            params={"model_id": "inflate-v1"},
        )
        assert problem_of(answer, 422)["code"] == "invalid_form"

    @pytest.mark.parametrize("ending", ["zip", "csv"])
    def test_a_form_may_bring_one_file_of_many_jobs(self, api, ending):
        data = make_zip([("a.png", draw_png())]) if ending == "zip" else b"model_id\nprobe-v1\n"
        answer = api.http.post(
            BATCH, files={"file": (f"x.{ending}", data)}, params={"model_id": "inflate-v1"}
        )
        assert (answer.status_code, len(answer.json()["created"])) == (201, 1)

    @pytest.mark.parametrize(
        ("model_id", "code", "status"),
        [
            (None, "missing_model_id", 422),
            ("no-such", "unknown_model", 404),
            ("triposr-v1", "not_checked", 501),
            ("sculpt-v1", "invalid_parameters", 422),  # makes models of texts
        ],
    )
    def test_photos_need_a_model_that_takes_them(self, api, model_id, code, status):
        answer = api.http.post(
            BATCH,
            content=make_zip([("a.png", draw_png())]),
            headers={"content-type": "application/zip"},
            params={} if model_id is None else {"model_id": model_id},
        )
        assert problem_of(answer, status)["code"] == code

    def test_a_picture_that_is_too_large_or_empty_is_refused_by_itself(self, api):
        big = draw_png() + bytes(range(256)) * 20  # more than the tests' limit of an upload
        answer = send_zip(api, make_zip([("big.png", big), ("empty.png", b""), ("a.png", draw_png())]))
        assert answer.status_code == 207, answer.text
        assert [(one["name"], one["code"]) for one in answer.json()["refused"]] == [
            ("big.png", "file_too_large"),
            ("empty.png", "empty_file"),
        ]


def entry(name, mode=None, system=3):
    info = zipfile.ZipInfo(name)
    info.create_system = system
    if mode is not None:
        info.external_attr = mode << 16
    return info


def encrypted():
    data = bytearray(make_zip([("a.png", draw_png())]))
    for mark, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        at = data.find(mark) + offset
        data[at : at + 2] = struct.pack("<H", 1)
    return bytes(data)


def with_directory_of(size):
    data = bytearray(make_zip([("a.png", draw_png())]))
    data[-10:-6] = struct.pack("<L", size)
    return bytes(data)


def broken_content():
    data = bytearray(make_zip([("a.png", draw_png())]))
    data[40:60] = b"\xff" * 20
    return bytes(data)


HOSTILE = {
    "climbs out": (make_zip([("../a.png", draw_png())]), "archive_unsafe"),
    "climbs out inside": (make_zip([("a/../../b.png", draw_png())]), "archive_unsafe"),
    "absolute": (make_zip([("/etc/a.png", draw_png())]), "archive_unsafe"),
    "of a drive": (make_zip([("C:a.png", draw_png())]), "archive_unsafe"),
    "backslash": (make_zip([(entry("a\\..\\b.png"), draw_png())]), "archive_unsafe"),
    "control character": (make_zip([("a\n.png", draw_png())]), "archive_unsafe"),
    "link": (make_zip([(entry("a.png", stat.S_IFLNK | 0o777), b"/etc/passwd")]), "archive_unsafe"),
    "device": (make_zip([(entry("a.png", stat.S_IFCHR | 0o777), b"")]), "archive_unsafe"),
    "bomb": (make_zip([("a.bmp", b"BM" + b"\0" * 4_000_000)]), "archive_unsafe"),
    "encrypted": (encrypted(), "archive_unsafe"),
    "endless list": (with_directory_of(3 << 20), "archive_invalid"),
    "wrong list": (with_directory_of(9), "archive_invalid"),
    "no archive": (b"PK\x03\x04 not really", "archive_invalid"),
    "nothing": (b"", "archive_invalid"),
    "no file in it": (make_zip([]), "archive_invalid"),
    "only rubbish": (make_zip([("__MACOSX/._a.png", b"x")]), "archive_invalid"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_archive_is_refused_as_a_whole(api, case):
    data, code = HOSTILE[case]
    assert problem_of(send_zip(api, data))["code"] == code
    assert jobs_of(api) == []


def test_an_archive_whose_content_is_broken_is_refused_entry_by_entry(api):
    problem = problem_of(send_zip(api, broken_content()))
    assert problem["code"] == "batch_refused"
    assert "broken" in problem["detail"]


def test_an_archive_of_too_many_files_is_refused(api):
    data = make_zip([(f"{number}.png", b"x") for number in range(1001)])
    assert problem_of(send_zip(api, data))["code"] == "too_many_jobs"


class TestReport:
    def test_a_batch_is_found_again_with_its_counts(self, api, as_other):
        answer = api.http.post(BATCH, json={"name": "two", "jobs": [PROBE, {"model_id": "no"}, PROBE]})
        report = answer.json()
        api.http.post(f"{JOBS}/{report['created'][0]['id']}/cancel")
        path = f"{JOBS}/batches/{report['batch_id']}"
        shown = api.http.get(path).json()
        assert shown["counts"] == {"QUEUED": 1, "CANCELED": 1}
        assert (shown["size"], shown["source"], shown["refused"]) == (3, "json", report["refused"])
        assert [job["id"] for job in shown["jobs"]] == [job["id"] for job in report["created"]]
        [listed] = api.http.get(f"{JOBS}/batches/").json()
        assert (listed["batch_id"], listed["refused_count"]) == (report["batch_id"], 1)
        assert problem_of(api.http.get(path, headers=as_other), 404)["code"] == "unknown_batch"
        assert api.http.get(f"{JOBS}/batches/", headers=as_other).json() == []

    @pytest.mark.parametrize("kind", ["json", "csv", "zip"])
    def test_with_a_key_the_same_batch_is_made_once(self, api, kind):
        headers = {"Idempotency-Key": "batch-7"}
        sent = {
            "json": {"json": {"jobs": [PROBE, {}]}},
            "csv": {"content": b"model_id\nprobe-v1\nno\n", "headers": {"content-type": "text/csv"}},
            "zip": {
                "content": make_zip([("a.png", draw_png()), ("b.png", b"")]),
                "headers": {"content-type": "application/zip"},
                "params": {"model_id": "inflate-v1"},
            },
        }[kind]
        sent["headers"] = {**sent.get("headers", {}), **headers}
        first, second = (api.http.post(BATCH, **sent) for _ in range(2))
        assert first.status_code == second.status_code == 207
        assert first.text == second.text
        assert second.headers["idempotency-replayed"] == "true"
        assert len(jobs_of(api)) == 1
        other = api.http.post(BATCH, json={"jobs": [PROBE]}, headers=headers)
        assert problem_of(other, 409)["code"] == "idempotency_conflict"
