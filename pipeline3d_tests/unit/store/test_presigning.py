"""Presigned links against the example that AWS publishes, and what is part of the signature."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest

from pipeline3d.store.links import content_disposition
from pipeline3d.store.presigning import MAX_EXPIRES_S, Signer

NOW = datetime(2013, 5, 24, tzinfo=UTC)
SIGNER = Signer(
    endpoint="s3.amazonaws.com",
    secure=True,
    region="us-east-1",
    access_key="AKIAIOSFODNN7EXAMPLE",
    secret_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
)


def presign(signer=SIGNER, method="GET", key="test.txt", **options):
    return signer.presign(method, "examplebucket", key, **{"expires_s": 86400, "now": NOW, **options})


def test_a_link_is_what_an_independent_reading_of_the_specification_gives():
    """AWS's own example puts the bucket into the host name; this is the same computation, path-style."""
    import hashlib
    import hmac

    link = presign()
    query = (
        "X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
    )
    canonical = f"GET\n/examplebucket/test.txt\n{query}\nhost:s3.amazonaws.com\n\nhost\nUNSIGNED-PAYLOAD"
    to_sign = (
        "AWS4-HMAC-SHA256\n20130524T000000Z\n20130524/us-east-1/s3/aws4_request\n"
        + hashlib.sha256(canonical.encode()).hexdigest()
    )
    key = b"AWS4" + SIGNER.secret_key.encode()
    for part in (b"20130524", b"us-east-1", b"s3", b"aws4_request"):
        key = hmac.digest(key, part, "sha256")
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    assert link == f"https://s3.amazonaws.com/examplebucket/test.txt?{query}&X-Amz-Signature={signature}"


@pytest.mark.parametrize(
    "change",
    [
        {"method": "PUT"},
        {"key": "other.txt"},
        {"expires_s": 60},
        {"headers": {"Content-Type": "image/png"}},
        {"query": {"response-content-disposition": "attachment"}},
    ],
)
def test_whatever_changes_changes_the_signature(change):
    def signature(link):
        return parse_qs(urlsplit(link).query)["X-Amz-Signature"]

    assert signature(presign()) != signature(presign(**change))


def test_the_secret_is_not_in_the_link():
    assert SIGNER.secret_key not in presign()


def test_a_key_with_blanks_and_foreign_letters_is_encoded():
    assert urlsplit(presign(key="ü a+b.png")).path == "/examplebucket/%C3%BC%20a%2Bb.png"


@pytest.mark.parametrize(
    ("endpoint", "secure", "origin"),
    [
        (
            "s3.example.com:443",
            True,
            "https://s3.example.com",
        ),  # the port that the scheme implies is left out
        ("s3.example.com:80", False, "http://s3.example.com"),
        ("s3.example.com:443", False, "http://s3.example.com:443"),
        ("127.0.0.1:9000", False, "http://127.0.0.1:9000"),
    ],
)
def test_the_host_is_signed_as_a_client_sends_it(endpoint, secure, origin):
    signer = Signer(endpoint=endpoint, secure=secure, region="r", access_key="a", secret_key="s")
    assert presign(signer).startswith(f"{origin}/examplebucket/")


@pytest.mark.parametrize("expires_s", [0, -1, MAX_EXPIRES_S + 1])
def test_a_link_lasts_no_longer_than_the_protocol_allows(expires_s):
    with pytest.raises(ValueError, match="seconds"):
        presign(expires_s=expires_s)


@pytest.mark.parametrize(
    ("filename", "header"),
    [
        ("a.glb", 'attachment; filename="a.glb"'),
        ('a"b.glb', "attachment; filename=\"a_b.glb\"; filename*=UTF-8''a%22b.glb"),
        ("ü.glb", "attachment; filename=\"_.glb\"; filename*=UTF-8''%C3%BC.glb"),
        ("a\r\nX: y", "attachment; filename=\"a__X: y\"; filename*=UTF-8''a%0D%0AX%3A%20y"),  # no new header
    ],
)
def test_a_file_name_cannot_break_out_of_its_header(filename, header):
    assert content_disposition(filename) == header
