"""HTML that shows a model: the `<model-viewer>` element for any page, and a page of its own.

Titles and alternative texts come from prompts and file names of strangers, so all of it is escaped, and
addresses may be nothing but relative paths or http(s).
"""

from __future__ import annotations

import html
import re
import unicodedata
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, urlsplit

from pipeline3d.errors import InvalidParameters

VIEWER_VERSION = "4.4.0"
VIEWER_URL = f"https://cdn.jsdelivr.net/npm/@google/model-viewer@{VIEWER_VERSION}/dist/model-viewer.min.js"
VIEWER_INTEGRITY = "sha384-wjsPzEO+lXOf7d9csIDfAQpPt2OKuUU3m0K9qsdKIuzX4N8czSF6hdh23eAbZa3p"
"""Of that file in the npm package: a browser refuses any other bytes."""
DECODER_URL = "https://cdn.jsdelivr.net/npm/meshoptimizer@0.20.0/meshopt_decoder.js"
"""model-viewer reads meshopt only where it is told of a decoder."""

Compression = Literal["none", "meshopt", "draco"]
COMPRESSIONS: tuple[Compression, ...] = ("none", "meshopt", "draco")
DIRECTIONS = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Marks that make a text read differently from what it is (Unicode technical report 36)."""
LONGEST_TEXT = 500
"""Longer alternative texts are read to nobody's end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewerSources:
    """Where the files are: relative paths or absolute http(s) addresses, not escaped in any way."""

    model: str
    usdz: str | None = None
    poster: str | None = None
    compression: Compression = "none"

    def __post_init__(self) -> None:
        for name in ("model", "usdz", "poster"):
            value = getattr(self, name)
            if value is not None:
                _refuse_unsafe_address(name, value)
        if self.compression not in COMPRESSIONS:
            raise InvalidParameters(
                f"{self.compression!r} is no compression.",
                code="unknown_codec",
                hint="none, meshopt or draco",
            )


def build_viewer(sources: ViewerSources, *, alt: str) -> str:
    """The `<model-viewer>` element with the scripts that it needs, to be put into any page."""
    attributes = [("src", _address(sources.model))]
    if sources.usdz is not None:
        attributes.append(("ios-src", _address(sources.usdz)))
    if sources.poster is not None:
        attributes.append(("poster", _address(sources.poster)))
    attributes.append(("alt", plain_text(alt) or "3D model"))
    attributes.append(("ar-modes", _ar_modes(sources)))
    told = "".join(f'\n  {name}="{html.escape(value, quote=True)}"' for name, value in attributes)
    element = (
        f"<model-viewer{told}\n"
        '  ar camera-controls touch-action="pan-y" shadow-intensity="1" tone-mapping="neutral"\n'
        '  style="width:100%;height:70vh;background-color:#f4f4f4"></model-viewer>\n'
    )
    return _scripts(sources.compression) + element


def build_page(sources: ViewerSources, *, title: str, alt: str) -> str:
    """A whole HTML page with nothing but the model and its title."""
    heading = html.escape(plain_text(title) or "3D model", quote=True)
    return (
        "<!doctype html>\n"
        '<html lang="en">\n'
        "<head>\n"
        '<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{heading}</title>\n"
        "</head>\n"
        '<body style="font-family:sans-serif;margin:1rem auto;max-width:60rem">\n'
        f"<h1>{heading}</h1>\n"
        f"{build_viewer(sources, alt=alt)}"
        "</body>\n"
        "</html>\n"
    )


def plain_text(text: str) -> str:
    """One line of what can be seen: no control characters, no overrides of the direction, cut to length."""
    seen = (" " if letter.isspace() else letter for letter in text if not _is_hidden(letter))
    return " ".join("".join(seen).split())[:LONGEST_TEXT]


def _is_hidden(letter: str) -> bool:
    return letter in DIRECTIONS or (unicodedata.category(letter) in ("Cc", "Cs") and not letter.isspace())


def _ar_modes(sources: ViewerSources) -> str:
    # Scene Viewer fetches the file itself and is not known to read meshopt: no AR there beats a failure.
    android = ("webxr",) if sources.compression == "meshopt" else ("webxr", "scene-viewer")
    return " ".join((*android, "quick-look"))


def _scripts(compression: Compression) -> str:
    decoder = ""
    if compression == "meshopt":
        decoder = (
            "<script>\n"
            "self.ModelViewerElement = self.ModelViewerElement || {};\n"
            f'self.ModelViewerElement.meshoptDecoderLocation = "{DECODER_URL}";\n'
            "</script>\n"
        )
    return (
        f'{decoder}<script type="module" src="{VIEWER_URL}"\n'
        f'  integrity="{VIEWER_INTEGRITY}" crossorigin="anonymous"></script>\n'
    )


def _refuse_unsafe_address(name: str, value: str) -> None:
    parts = urlsplit(value)
    absolute = parts.scheme in ("http", "https") and bool(parts.netloc)
    first = value.split("/", 1)[0]
    relative = (
        bool(value) and not parts.scheme and not parts.netloc and ":" not in first and value[0] not in "/\\"
    )
    climbs = ".." in value.split("/")
    if not (absolute or (relative and not climbs)) or re.search(r"[\x00-\x20\x7f\\]", value):
        raise InvalidParameters(
            f"The address of the {name} cannot be used in a page: {value[:80]!r}.",
            code="unsafe_address",
            hint="Use a relative path, or an address that begins with http:// or https://.",
        )


def _address(value: str) -> str:
    """Percent-encoded where it is a path of ours; what is absolute is taken as it was signed."""
    return value if urlsplit(value).scheme else quote(value, safe="/-._~")
