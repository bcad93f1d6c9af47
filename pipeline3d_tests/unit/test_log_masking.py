"""No line of a log holds a secret, and nothing else is taken away."""

from __future__ import annotations

import io
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline3d.errors import UnusableInput
from pipeline3d.log_masking import mask, mask_logs
from resources.request_run import explain_failure

SECRET = "s3cr3t-of-this-test"


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://pipeline3d:{SECRET}@db.example.com:5432/jobs",
        f"postgresql+psycopg2://a:{SECRET}/with@signs@db/x",
        f"could not connect to redis://:{SECRET}@cache:6379/0 (refused)",
        f"amqp://rabbit:{SECRET}@host//",
        f"https://somebody:{SECRET}@example.com/a.png",
        f"https://s3/bucket/k?X-Amz-Credential={SECRET}%2Fx&X-Amz-Date=1&X-Amz-Signature={SECRET}",
        f"/previews/1/a/b.png?signature={SECRET}",
        f"p3d_{SECRET}",
        f"the key p3d_{SECRET} is not known",
        f'127.0.0.1:5 - "GET /s/p3ds_{SECRET}/model.glb HTTP/1.1" 302',
        f"the session p3s_{SECRET}",
        f"whsec_{SECRET}",
        f"Authorization: Bearer {SECRET}",
        f"Authorization: Basic {SECRET}",
        f"x-api-key: {SECRET}",
        f"{{'x-api-key': '{SECRET}', 'accept': '*/*'}}",
        f"[(b'x-api-key', b'y')] x-api-key=b'{SECRET}'",
        f"Cookie: p3d_session={SECRET}; other=1",
        f"Set-Cookie: p3d_session={SECRET}; Path=/",
        f"x-csrf-token: {SECRET}",
        f'{{"username": "a", "password": "{SECRET}"}}',
        f"MINIO_SECRET_KEY={SECRET}",
        f"FIRST_SUPERUSER_PASSWORD={SECRET} pipeline3d up",
        f"password='{SECRET}' host=db",
    ],
)
def test_a_secret_is_masked_wherever_it_stands(text):
    masked = mask(text)
    assert SECRET not in masked
    assert "***" in masked
    assert mask(masked) == masked


@pytest.mark.parametrize(
    "text",
    [
        "request 0123abc: GET /api/v1/jobs failed",
        "postgresql://db.example.com:5432/jobs",
        "https://example.com:8443/a?b=c",
        "The user name or the password is wrong.",
        "12:30:05 a=b",
        "the token has ended",
        "jobs/01a20693-7619-722f-b7fa-4b20bfb88f27/glb_export/model.glb",
        "sha256=e3b0c44298fc1c149afbf4c8996fb924",
    ],
)
def test_what_is_no_secret_stays(text):
    assert mask(text) == text


@given(st.text(max_size=200))
def test_any_text_can_be_masked(text):
    assert mask(mask(text)) == mask(text)


@pytest.fixture
def log():
    """A logger that writes into text, with the masking switched on as in every process."""
    before = logging.getLogRecordFactory()
    mask_logs()
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    logger = logging.getLogger("a.library.that.is.not.ours")
    logger.addHandler(handler)
    yield logger, stream
    logger.removeHandler(handler)
    logging.setLogRecordFactory(before)


def test_no_logger_writes_a_secret_neither_in_a_message_nor_in_a_traceback(log):
    logger, stream = log
    logger.error("cannot reach %s", f"postgresql://a:{SECRET}@db/x")
    try:
        raise RuntimeError(f"connection to redis://:{SECRET}@cache failed")
    except RuntimeError:
        logger.exception("the broker is away")
    written = stream.getvalue()
    assert SECRET not in written
    assert "postgresql://a:***@db/x" in written
    assert "RuntimeError: connection to redis://:***@cache failed" in written


def test_the_error_of_a_job_holds_no_secret():
    known = explain_failure(UnusableInput(f"https://a:{SECRET}@b/c is away"), "stage")
    unknown = explain_failure(RuntimeError(f"password={SECRET}"), "stage")
    assert SECRET not in f"{known}{unknown}"
