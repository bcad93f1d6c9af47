"""Weights are fetched whole or not at all: from a real HTTP server that stops, refuses and lies on demand."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler

import pytest

from pipeline3d import model_weights
from pipeline3d.errors import ModelNotReady, Pipeline3dError, RequestError, TransientFailure
from pipeline3d.model_weights import fetch_weights
from pipeline3d.requests.catalogue import Weights, WeightsFile
from pipeline3d_tests.servers import http_server
from resources.catalogue import shipped_model

CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Site:
    """What the server does, and what it was asked."""

    url: str = ""
    stops_after: int | None = None
    status: int | None = None
    knows_ranges: bool = True
    asked: list[dict[str, str]] = field(default_factory=list)


@pytest.fixture
def site() -> Iterator[Site]:
    state = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(dict(self.headers))
            if state.status is not None:
                self.send_error(state.status)
                return
            wanted = self.headers.get("range") if state.knows_ranges else None
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
            if start >= len(CONTENT):
                self.send_error(416)
                return
            body = CONTENT[start:]
            self.send_response(206 if wanted else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: state.stops_after])

    with http_server(Handler) as address:
        state.url = f"{address}/model.ckpt"
        yield state


def model_at(site: Site, *, sha256: str | None = SHA256, must_be_accepted: bool = False):
    """A model whose one file the site has."""
    shipped = shipped_model("triposr-v1")
    weights = Weights(
        directory="m",
        files=(WeightsFile(name="model.ckpt", url=site.url, sha256=sha256),),
        token_variable="A_TOKEN",
        note="Ask for it.",
    )
    licence = {**shipped.licence, "must_be_accepted": must_be_accepted}
    return replace(shipped, weights=weights, licence=licence)


def test_a_file_arrives_whole_and_is_not_fetched_twice(site, tmp_path):
    seen = []
    [path] = fetch_weights(
        model_at(site), tmp_path, accept_licence=False, report=lambda *numbers: seen.append(numbers)
    )
    assert path == tmp_path / "m" / "model.ckpt"
    assert path.read_bytes() == CONTENT
    assert seen[-1] == ("model.ckpt", len(CONTENT), len(CONTENT))
    fetch_weights(model_at(site), tmp_path, accept_licence=False)
    assert len(site.asked) == 1


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_download_that_was_cut_off_goes_on_or_begins_again(site, tmp_path, knows_ranges):
    site.stops_after, site.knows_ranges = 300_000, knows_ranges
    with pytest.raises(TransientFailure, match="stopped at|ended at"):
        fetch_weights(model_at(site), tmp_path, accept_licence=False)
    assert not (tmp_path / "m" / "model.ckpt").exists()
    site.stops_after = None
    [path] = fetch_weights(model_at(site), tmp_path, accept_licence=False)
    assert path.read_bytes() == CONTENT
    assert site.asked[1]["Range"] == "bytes=300000-"


def test_a_download_that_died_between_the_last_byte_and_its_name_is_finished(site, tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / ".model.ckpt.part").write_bytes(CONTENT)
    [path] = fetch_weights(model_at(site), tmp_path, accept_licence=False)
    assert path.read_bytes() == CONTENT


def test_other_content_than_the_published_one_is_removed(site, tmp_path):
    with pytest.raises(ModelNotReady) as caught:
        fetch_weights(model_at(site, sha256="0" * 64), tmp_path, accept_licence=False)
    assert caught.value.code == "weights_invalid"
    assert list((tmp_path / "m").iterdir()) == []


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (401, ModelNotReady, "weights_gated"),
        (403, ModelNotReady, "weights_gated"),
        (404, ModelNotReady, "weights_missing"),
        (429, TransientFailure, "download_interrupted"),
        (503, TransientFailure, "download_interrupted"),
    ],
)
def test_a_refusal_of_the_server_is_told(site, tmp_path, status, error, code):
    site.status = status
    with pytest.raises(error) as caught:
        fetch_weights(model_at(site), tmp_path, accept_licence=False)
    assert caught.value.code == code


def test_a_licence_that_must_be_accepted_stops_before_anything_is_asked(site, tmp_path):
    model = model_at(site, must_be_accepted=True)
    with pytest.raises(RequestError) as caught:
        fetch_weights(model, tmp_path, accept_licence=False)
    assert caught.value.code == "licence_not_accepted"
    assert "--accept-licence" in (caught.value.hint or "")
    assert site.asked == []
    assert fetch_weights(model, tmp_path, accept_licence=True)


def test_the_token_of_the_environment_is_shown_to_the_server(site, tmp_path):
    fetch_weights(model_at(site), tmp_path, accept_licence=True, environment={"A_TOKEN": "secret"})
    assert site.asked[0]["Authorization"] == "Bearer secret"


def test_a_disk_without_room_is_said_before_it_is_full(site, tmp_path, monkeypatch):
    monkeypatch.setattr(model_weights, "SPARE_BYTES", 1 << 60)
    with pytest.raises(ModelNotReady) as caught:
        fetch_weights(model_at(site), tmp_path, accept_licence=False)
    assert caught.value.code == "disk_full"


@pytest.mark.parametrize("model_id", ["inflate-v1", "dreamfusion-sd"])
def test_a_model_without_files_to_fetch_says_so(tmp_path, model_id):
    with pytest.raises(Pipeline3dError) as caught:
        fetch_weights(shipped_model(model_id), tmp_path, accept_licence=True)
    assert caught.value.code == "nothing_to_fetch"
