"""HTML for a model: right for each compression, and safe whatever the prompt was."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline3d.errors import InvalidParameters
from pipeline3d.geometry.snippets import (
    DECODER_URL,
    LONGEST_TEXT,
    VIEWER_INTEGRITY,
    VIEWER_URL,
    ViewerSources,
    build_page,
    build_viewer,
    plain_text,
)


class Reader(HTMLParser):
    """What a browser makes of a page: its elements, and the text between them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.texts: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        tag = self.elements[-1][0] if self.elements else ""
        self.texts[tag] = self.texts.get(tag, "") + data

    def one(self, tag: str) -> dict:
        (found,) = [attributes for name, attributes in self.elements if name == tag]
        return found


SOURCES = ViewerSources(model="chair.web.glb", usdz="chair.usdz", poster="poster.webp")
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onload='alert(1)",
    "</title><script>alert(1)</script>",
    "</model-viewer><iframe src=//evil></iframe>",
    "<!-- --><svg/onload=alert(1)>",
    "&lt;script&gt; & &quot;",
    "line\nbreak\r\n\0 and \x1b[31m colour",
    "\u202egnp.exe",
    "\ud800 lone",
    "{{7*7}} ${7*7} <%= 7*7 %>",
    "a" * 10_000,
]


def test_the_element_names_every_file_and_the_alternative_text():
    viewer = Reader(build_viewer(SOURCES, alt="A red chair")).one("model-viewer")
    assert (viewer["src"], viewer["ios-src"], viewer["poster"]) == (
        "chair.web.glb",
        "chair.usdz",
        "poster.webp",
    )
    assert viewer["alt"] == "A red chair"
    assert viewer["ar-modes"] == "webxr scene-viewer quick-look"
    assert {"ar", "camera-controls"} <= set(viewer)


def test_the_viewer_is_pinned_and_its_bytes_are_checked():
    script = Reader(build_viewer(SOURCES, alt="x")).one("script")
    assert script == {
        "type": "module", "src": VIEWER_URL, "integrity": VIEWER_INTEGRITY, "crossorigin": "anonymous",
    }  # fmt: skip
    assert "@4.4.0/" in VIEWER_URL


def test_what_is_not_there_is_not_named():
    viewer = Reader(build_viewer(ViewerSources(model="a.glb"), alt="")).one("model-viewer")
    assert "ios-src" not in viewer
    assert "poster" not in viewer
    assert viewer["alt"] == "3D model"


def test_meshopt_comes_with_its_decoder_and_without_the_viewer_that_cannot_read_it():
    page = build_viewer(ViewerSources(model="a.glb", compression="meshopt"), alt="x")
    assert page.index(DECODER_URL) < page.index(VIEWER_URL)
    assert Reader(page).one("model-viewer")["ar-modes"] == "webxr quick-look"


@pytest.mark.parametrize("compression", ["none", "draco"])
def test_other_files_need_no_decoder(compression):
    page = build_viewer(ViewerSources(model="a.glb", compression=compression), alt="x")
    assert DECODER_URL not in page


def assert_harmless(text: str) -> None:
    reader = Reader(build_page(SOURCES, title=text, alt=text))
    tags = [tag for tag, _ in reader.elements]
    assert tags == ["html", "head", "meta", "meta", "title", "body", "h1", "script", "model-viewer"]
    assert reader.one("model-viewer")["alt"] == (plain_text(text) or "3D model")
    assert reader.texts["h1"].strip() == (plain_text(text) or "3D model")
    assert not any(name.startswith("on") for _, attributes in reader.elements for name in attributes)


@pytest.mark.parametrize("text", HOSTILE)
def test_no_prompt_becomes_markup(text):
    assert_harmless(text)


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=60))
@settings(max_examples=80, deadline=None)
def test_no_text_at_all_becomes_markup(text):
    assert_harmless(text)
    build_page(SOURCES, title=text, alt=text).encode()


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)", "JavaScript:alert(1)", "data:text/html,<b>", "vbscript:x", "file:///etc/passwd",
        "//evil.example/a.glb", "/etc/passwd", "\\\\host\\a.glb", "../a.glb", "a/../../b.glb", "", " a.glb",
        "java\nscript:alert(1)", "a b.glb", "http://", "http:a.glb", "c:a.glb",
    ],
)  # fmt: skip
def test_addresses_that_are_no_plain_files_are_refused(address):
    with pytest.raises(InvalidParameters) as refusal:
        ViewerSources(model=address)
    assert refusal.value.code == "unsafe_address"


def test_signed_addresses_survive_as_they_are():
    signed = 'https://store.example/b/chair.glb?X-Amz-Signature=ab%2Fcd&x=<1>&y="2"'
    assert Reader(build_viewer(ViewerSources(model=signed), alt="x")).one("model-viewer")["src"] == signed


def test_an_unknown_compression_is_refused():
    with pytest.raises(InvalidParameters):
        ViewerSources(model="a.glb", compression="zip")


def test_texts_keep_what_people_write_and_lose_what_deceives():
    assert plain_text("  Stuhl,\n rot – 木の椅子 🪑 ") == "Stuhl, rot – 木の椅子 🪑"
    assert plain_text("photo\u202egnp.exe\0") == "photognp.exe"
    assert len(plain_text("x" * 9999)) == LONGEST_TEXT
