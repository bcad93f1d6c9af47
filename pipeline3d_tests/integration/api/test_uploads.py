"""Bringing files: tickets that the store keeps to, verification, equal content, and what is refused."""

from __future__ import annotations

import hashlib
import io
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from PIL import Image

from pipeline3d.database.file_tables import uploads
from pipeline3d_tests.integration.api.api_fixtures import JOBS, MAX_UPLOAD_BYTES, draw_png, serving

UPLOADS = "/api/v1/uploads"
PNG = draw_png()
FORM_BEGINS = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
GLB = b"glTF\x02\x00\x00\x00" + bytes(64)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def ask_ticket(api, filename="photo.png", content_type="image/png", **more):
    body = {"filename": filename, "content_type": content_type, **more}
    return api.http.post(f"{UPLOADS}/ticket", json=body)


def put(ticket, data, **headers):
    return httpx.put(ticket["upload_url"], content=data, headers={**ticket["headers"], **headers})


def bring(api, data=PNG, filename="photo.png", content_type="image/png", **more):
    """Upload through a ticket and have it verified; the ticket and the answer."""
    ticket = ask_ticket(api, filename, content_type, **more).json()
    assert put(ticket, data).status_code == 200
    return ticket, api.http.post(f"{UPLOADS}/{ticket['id']}/complete")


def send(api, data=PNG, filename="photo.png", content_type="image/png", field="file", **more):
    """Upload in the request itself."""
    return api.http.post(f"{UPLOADS}/", files={field: (filename, data, content_type)}, **more)


class TestTickets:
    def test_both_paths_give_a_ticket_with_the_fields_that_earlier_clients_know(self, api):
        body = {"filename": "photo.png", "content_type": "image/png"}
        for path in (f"{JOBS}/upload-ticket", f"{UPLOADS}/ticket"):
            answer = api.http.post(path, json=body)
            assert answer.status_code == 200
            assert answer.json()["headers"] == {"Content-Type": "image/png"}
            assert answer.json().keys() >= {"upload_url", "object_name", "expires_in"}

    @pytest.mark.parametrize(
        ("claimed", "sent", "headers", "status"),
        [
            ({}, PNG, {}, 200),
            ({}, PNG, {"Content-Type": "text/html"}, 403),
            ({"size": len(PNG)}, PNG, {}, 200),
            ({"size": len(PNG)}, PNG[:-1], {}, 403),
            ({"size": len(PNG)}, PNG + b"x", {}, 403),
            ({"sha256": sha256(PNG)}, PNG, {}, 200),
            ({"sha256": sha256(PNG).upper()}, PNG, {}, 200),
            ({"sha256": sha256(PNG)}, PNG[:-1] + b"x", {}, 400),
            ({"sha256": sha256(PNG)}, b"x", {"x-amz-content-sha256": sha256(b"x")}, 403),
            ({"sha256": sha256(PNG)}, b"x", {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}, 403),
            ({"size": len(PNG), "sha256": sha256(PNG)}, PNG, {}, 200),
        ],
    )
    def test_the_store_takes_what_the_ticket_says_and_nothing_else(self, api, claimed, sent, headers, status):
        ticket = ask_ticket(api, **claimed).json()
        assert put(ticket, sent, **headers).status_code == status

    def test_a_body_of_unknown_length_does_not_pass_for_one_of_the_right_length(self, api):
        ticket = ask_ticket(api, size=len(PNG)).json()
        chunks = iter([PNG + b"more"])
        stored = httpx.put(ticket["upload_url"], content=chunks, headers=ticket["headers"])
        assert stored.status_code == 403

    @pytest.mark.parametrize(
        ("body", "status", "code"),
        [
            ({"size": MAX_UPLOAD_BYTES + 1}, 413, "file_too_large"),
            ({"size": 0}, 422, "invalid_request"),
            ({"size": 2**60}, 422, "invalid_request"),
            ({"sha256": "abc"}, 422, "invalid_request"),
            ({"sha256": "g" * 64}, 422, "invalid_request"),
            ({"content_type": "text/html"}, 422, "unsupported_content_type"),
            ({"content_type": "model/gltf-binary", "filename": "a.exe"}, 422, "unsupported_content_type"),
            ({"filename": ""}, 422, "invalid_request"),
            ({"filename": "a\x00.png"}, 422, "invalid_request"),
        ],
    )
    def test_a_ticket_for_what_will_not_be_taken_is_refused_at_once(self, api, body, status, code):
        answer = ask_ticket(api, **body)
        assert (answer.status_code, answer.json()["code"]) == (status, code)

    def test_open_tickets_are_bounded_and_used_ones_do_not_count(self, api, api_settings):
        with serving({**api_settings, "max_open_tickets": 2}) as url:
            api.http.base_url = url
            first, _ = ask_ticket(api).json(), ask_ticket(api).json()
            refused = ask_ticket(api)
            assert (refused.status_code, refused.json()["code"]) == (429, "too_many_tickets")
            assert int(refused.headers["retry-after"]) >= 1
            put(first, PNG)
            assert api.http.post(f"{UPLOADS}/{first['id']}/complete").status_code == 200
            assert ask_ticket(api).status_code == 200

    def test_many_at_once_get_no_more_tickets_than_may_be_open(self, api, api_settings):
        with serving({**api_settings, "max_open_tickets": 5}) as url:
            api.http.base_url = url
            with ThreadPoolExecutor(30) as pool:
                answers = list(pool.map(lambda _: ask_ticket(api), range(30)))
        assert sorted(answer.status_code for answer in answers) == [200] * 5 + [429] * 25


class TestVerification:
    def test_a_verified_upload_says_what_it_is_and_is_listed_newest_first(self, api):
        first, completed = bring(api)
        answer = completed.json()
        assert completed.status_code == 200, completed.text
        assert (answer["size"], answer["sha256"]) == (len(PNG), sha256(PNG))
        assert (answer["verified"], answer["object_name"]) == (True, first["object_name"])
        assert api.http.post(f"{UPLOADS}/{first['id']}/complete").json() == answer, "safe to repeat"
        assert api.http.get(f"{UPLOADS}/{first['id']}").json() == answer
        second = ask_ticket(api).json()
        assert [one["id"] for one in api.http.get(f"{UPLOADS}/").json()] == [second["id"], first["id"]]
        page = api.http.get(UPLOADS, params={"before": second["id"]}).json()
        assert [one["id"] for one in page] == [first["id"]]

    @pytest.mark.parametrize(
        ("data", "filename", "content_type", "code"),
        [
            (b"", "photo.png", "image/png", "empty_file"),
            (b"%PDF-1.7", "photo.png", "image/png", "not_an_image"),
            (b"PK\x03\x04", "chair.glb", "model/gltf-binary", "not_a_model"),
        ],
    )
    def test_content_that_is_not_what_it_was_called_is_not_verified(
        self, api, data, filename, content_type, code
    ):
        ticket, answer = bring(api, data, filename, content_type)
        assert (answer.status_code, answer.json()["code"]) == (422, code)
        assert api.http.get(f"{UPLOADS}/{ticket['id']}").json()["verified"] is False

    def test_what_is_larger_than_allowed_is_not_even_read(self, api):
        _, answer = bring(api, PNG + bytes(MAX_UPLOAD_BYTES))
        assert (answer.status_code, answer.json()["code"]) == (413, "file_too_large")

    def test_a_store_that_did_not_keep_to_the_ticket_is_found_out(self, api, store):
        ticket = ask_ticket(api, size=len(PNG), sha256=sha256(PNG)).json()
        store.put_bytes(ticket["object_name"], PNG + b"x", "image/png")
        answer = api.http.post(f"{UPLOADS}/{ticket['id']}/complete")
        assert (answer.status_code, answer.json()["code"]) == (422, "content_mismatch")

    def test_an_upload_that_was_replaced_is_verified_anew(self, api):
        ticket, _ = bring(api)
        other = PNG + b"trailing"
        put(ticket, other)
        again = api.http.post(f"{UPLOADS}/{ticket['id']}/complete").json()
        assert (again["size"], again["sha256"]) == (len(other), sha256(other))

    def test_nothing_is_verified_before_it_is_there_and_nothing_of_others_at_all(self, api, as_other):
        ticket = ask_ticket(api).json()
        early = api.http.post(f"{UPLOADS}/{ticket['id']}/complete")
        assert (early.status_code, early.json()["code"]) == (409, "not_uploaded")
        path = f"{UPLOADS}/{ticket['id']}"
        asked = (("GET", path), ("POST", f"{path}/complete"), ("DELETE", path))
        for method, address in asked:
            answer = api.http.request(method, address, headers=as_other)
            assert (answer.status_code, answer.json()["code"]) == (404, "unknown_upload")
        assert api.http.get(UPLOADS, headers=as_other).json() == []


class TestDirectUploads:
    def test_a_small_file_is_stored_in_one_request_and_can_be_used(self, api, store):
        answer = send(api)
        assert answer.status_code == 201, answer.text
        body = answer.json()
        assert (body["size"], body["sha256"], body["already_stored"]) == (len(PNG), sha256(PNG), False)
        assert store.read_bytes(body["object_name"]) == PNG
        assert store.stat(body["object_name"]).content_type == "image/png"
        assert api.create(input_params={"input_path": body["object_name"]}).status_code == 201

    @pytest.mark.parametrize(
        ("data", "filename", "declared", "stored"),
        [
            (PNG, "photo.jpg", "image/jpeg", "image/png"),  # a picture is called what it is
            (PNG, "photo", "application/octet-stream", "image/png"),
            (GLB, "chair.glb", "application/octet-stream", "application/octet-stream"),
            (GLB, "chair.GLB", "model/gltf-binary", "model/gltf-binary"),
            (PNG, "photo.png", "image/png; charset=binary", "image/png"),
        ],
    )
    def test_a_file_is_stored_as_what_it_is(self, api, data, filename, declared, stored):
        answer = send(api, data, filename, declared)
        assert answer.status_code == 201, answer.text
        assert answer.json()["content_type"] == stored

    @pytest.mark.parametrize(
        ("data", "filename", "declared", "status", "code"),
        [
            (b"", "photo.png", "image/png", 422, "empty_file"),
            (b"<svg onload=alert(1)>", "photo.svg", "image/svg+xml", 422, "unsupported_content_type"),
            (b"<html>", "photo.png", "text/html", 422, "unsupported_content_type"),
            (b"<html>", "photo.png", "image/png", 422, "not_an_image"),
            (b"MZ\x90", "photo", "application/octet-stream", 422, "unsupported_content_type"),
            (PNG, "chair.glb", "model/gltf-binary", 422, "not_a_model"),
            (GLB, "chair.png", "model/gltf-binary", 422, "unsupported_content_type"),
            (PNG + bytes(MAX_UPLOAD_BYTES), "photo.png", "image/png", 413, "file_too_large"),
        ],
    )
    def test_a_file_that_lies_or_is_too_large_is_not_stored(
        self, api, data, filename, declared, status, code
    ):
        answer = send(api, data, filename, declared)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert api.http.get(UPLOADS).json() == []

    @pytest.mark.parametrize(
        ("name", "kept"),
        [
            ("../../../etc/passwd.png", "passwd.png"),
            ("..\\..\\boot.png", "boot.png"),
            ("möbel ☃.png", "mobel.png"),
            ("a" * 300 + ".png", "a" * 96 + ".png"),
            (".png", "file.png"),
        ],
    )
    def test_names_become_harmless(self, api, name, kept):
        answer = send(api, filename=name).json()
        assert answer["filename"] == kept
        assert answer["object_name"].count("/") == 3

    @pytest.mark.parametrize(
        "form",
        [
            {"files": {"image": ("photo.png", PNG, "image/png")}},
            {"files": [("file", ("a.png", PNG, "image/png")), ("file", ("b.png", PNG, "image/png"))]},
            {"files": {"file": ("photo.png", PNG, "image/png")}, "data": {"more": "x"}},
            {"data": {"file": "not a file"}},
            {"json": {"file": "x"}},
            {"content": b"", "headers": {"content-type": "multipart/form-data; boundary=b"}},
            {"content": b"--b\r\n", "headers": {"content-type": "multipart/form-data; boundary=b"}},
            {"content": b"rubbish", "headers": {"content-type": "multipart/form-data; boundary=b"}},
            {"content": b"x", "headers": {"content-type": "multipart/form-data"}},
            {
                "content": b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
                + PNG,
                "headers": {"content-type": "multipart/form-data; boundary=b"},
            },
            {
                "content": b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
                + PNG
                + b"\r\n--b--\r\n",
                # a codec of Python's that refuses everything
                "headers": {"content-type": "multipart/form-data; boundary=b; charset=undefined"},
            },
        ],
        ids=[
            *("field", "two", "more", "text", "json", "empty", "begun", "rubbish", "boundary", "cut off"),
            "charset",
        ],
    )
    def test_a_form_that_is_not_one_file_is_refused(self, api, form):
        answer = api.http.post(f"{UPLOADS}/", **form)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_form"), answer.text

    def test_a_body_beyond_the_limit_is_refused_whether_it_says_its_length_or_not(self, api, api_settings):
        with serving({**api_settings, "direct_upload_max_bytes": 1024}) as url:
            api.http.base_url = url
            big = PNG + bytes(1 << 20)
            assert send(api, big).status_code == 413
            content = send_in_chunks(big)
            answer = api.http.post(
                f"{UPLOADS}/", content=content, headers={"content-type": "multipart/form-data; boundary=b"}
            )
            assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
            between = send(api, PNG + bytes(2000))
            assert (between.status_code, between.json()["code"]) == (413, "file_too_large")
            assert send(api).status_code == 201

    def test_a_file_of_many_megabytes_comes_whole(self, api, api_settings, store):
        settings = {**api_settings, "max_upload_bytes": 9 << 20}
        with serving(settings) as url:
            api.http.base_url = url
            data = PNG + bytes(range(256)) * (8 << 12)
            answer = send(api, data).json()
        assert (answer["size"], answer["sha256"]) == (len(data), sha256(data))
        assert sha256(store.read_bytes(answer["object_name"])) == sha256(data)

    def test_many_at_once_are_all_stored(self, api):
        def one(number):
            return send(api, PNG + bytes([number])).status_code

        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(one, range(12))) == {201}

    def test_without_a_key_nobody_is_listened_to(self, api_url):
        answer = httpx.post(f"{api_url}{UPLOADS}/", files={"file": ("a.png", PNG, "image/png")})
        assert answer.status_code == 401


def send_in_chunks(data):
    yield FORM_BEGINS
    for start in range(0, len(data), 65536):
        yield data[start : start + 65536]
    yield b"\r\n--b--\r\n"


class TestEqualContent:
    def test_a_user_who_brings_the_same_again_is_told_where_it_is(self, api):
        first = send(api).json()
        again = send(api, filename="another-name.png")
        assert (again.status_code, again.json()["already_stored"]) == (200, True)
        assert again.json()["object_name"] == first["object_name"]
        ticket = ask_ticket(api, sha256=sha256(PNG)).json()
        assert (ticket["already_stored"], ticket["upload_url"]) == (True, None)
        assert (ticket["object_name"], ticket["id"]) == (first["object_name"], first["id"])

    def test_a_verified_ticket_counts_and_an_unverified_one_does_not(self, api):
        ticket = ask_ticket(api, sha256=sha256(PNG)).json()
        put(ticket, PNG)
        assert ask_ticket(api, sha256=sha256(PNG)).json()["already_stored"] is False
        api.http.post(f"{UPLOADS}/{ticket['id']}/complete")
        assert ask_ticket(api, sha256=sha256(PNG)).json()["object_name"] == ticket["object_name"]

    def test_nobody_learns_what_others_have(self, api, as_other):
        send(api)
        body = {"filename": "photo.png", "content_type": "image/png", "sha256": sha256(PNG)}
        answer = api.http.post(f"{UPLOADS}/ticket", json=body, headers=as_other).json()
        assert answer["already_stored"] is False
        direct = send(api, headers=as_other)
        assert (direct.status_code, direct.json()["already_stored"]) == (201, False)

    def test_what_is_gone_or_was_replaced_is_not_named(self, api, store):
        gone = send(api).json()
        store.remove(gone["object_name"])
        assert ask_ticket(api, sha256=sha256(PNG)).json()["already_stored"] is False
        ticket, _ = bring(api)
        put(ticket, PNG + b"x")
        assert ask_ticket(api, sha256=sha256(PNG)).json()["already_stored"] is False

    def test_a_model_of_another_ending_is_another_file(self, api):
        data = b"PK\x03\x04" + bytes(40)
        first = send(api, data, "chair.zip", "application/octet-stream").json()
        other = send(api, data, "chair.3mf", "application/octet-stream").json()
        assert other["already_stored"] is False
        assert other["object_name"] != first["object_name"]

    def test_an_upload_that_is_named_again_stays_longer(self, api):
        first = send(api).json()
        api.rows.run(uploads.update().values(last_given_at=uploads.c.created_at))
        before = api.rows.run(uploads.select())[0].last_given_at
        assert send(api).json()["id"] == first["id"]
        assert api.rows.run(uploads.select())[0].last_given_at > before


def test_a_browser_of_an_allowed_origin_may_use_a_ticket(api, object_store_server):
    ticket = ask_ticket(api, sha256=sha256(PNG)).json()
    origin = object_store_server.origins
    names = ", ".join(name.lower() for name in ticket["headers"])
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": names,
    }
    allowed = httpx.options(ticket["upload_url"], headers=asked)
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == origin
    assert "x-amz-content-sha256" in allowed.headers["access-control-allow-headers"]
    asked["Origin"] = "https://elsewhere.example.com"
    assert "access-control-allow-origin" not in httpx.options(ticket["upload_url"], headers=asked).headers


def test_a_picture_of_every_format_may_come_directly(api):
    for name in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WebP"):
        buffer = io.BytesIO()
        Image.new("RGB", (4, 4), "red").save(buffer, name)
        answer = send(api, buffer.getvalue(), f"a.{name}", f"image/{name.lower()}")
        assert answer.json()["content_type"] == f"image/{name.lower()}", answer.text
