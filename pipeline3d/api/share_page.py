"""The page of a share link: pictures, files and buttons, as HTML that needs no script. Pure functions."""

from __future__ import annotations

from html import escape

from pipeline3d.api.file_bodies import SharedFile, SharedRead
from pipeline3d.values import ArtifactType, JobState

_WORDS = {
    JobState.QUEUED: "This is waiting to be made. Look again later.",
    JobState.RUNNING: "This is being made. Look again later.",
    JobState.CANCELING: "This was called off.",
    JobState.CANCELED: "This was called off.",
    JobState.EXPIRED: "This was not made in time.",
    JobState.FAILED: "This could not be made.",
}
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex, nofollow">
<title>{title}</title>
<link rel="icon" href="/static/icon.svg">
<link rel="stylesheet" href="/static/share.css">
</head>
<body>
<main>
<h1>{title}</h1>
<p>{words}</p>
{pictures}
{files}
<p class="small">{ends}</p>
</main>
</body>
</html>
"""


def build_policy(store_origin: str) -> str:
    """The page's policy: its style, pictures and videos from here and from the store, and nothing else."""
    return (
        f"default-src 'none'; style-src 'self'; img-src 'self' {store_origin}; "
        f"media-src 'self' {store_origin}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def render_page(shared: SharedRead, project_name: str) -> str:
    """The whole page. Whatever came from somebody is escaped."""
    made = shared.completed_at or shared.created_at
    words = _WORDS.get(JobState(shared.status), f"Made with {shared.model_id} on {made:%Y-%m-%d}.")
    ends = "This link works until its owner ends it."
    if shared.expires_at is not None:
        ends = f"This link works until {shared.expires_at:%Y-%m-%d %H:%M} UTC."
    return _PAGE.format(
        title=escape(f"A model made with {project_name}"),
        words=escape(words),
        pictures=_show_pictures(shared.files),
        files=_list_files(shared.files),
        ends=escape(ends),
    )


def render_missing(words: str) -> str:
    """The page of a link that leads nowhere."""
    return _PAGE.format(
        title="Nothing is shared here",
        words=escape(words),
        pictures="",
        files="",
        ends="Whoever sent the link can make a new one.",
    )


def describe_size(size: int) -> str:
    """Bytes as people say them."""
    amount = float(size)
    for unit in ("bytes", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


def _show_pictures(files: list[SharedFile]) -> str:
    shown = []
    for file in files:
        if file.type != ArtifactType.PREVIEW:
            continue
        source = escape(f"{file.url}?inline=true")
        if file.content_type.startswith("image/"):
            shown.append(f'<img src="{source}" alt="{escape(file.name)}" loading="lazy">')
        elif file.content_type.startswith("video/"):
            shown.append(f'<video src="{source}" controls loop muted playsinline></video>')
    return f'<div class="pictures">{"".join(shown)}</div>' if shown else ""


def _list_files(files: list[SharedFile]) -> str:
    if not files:
        return ""
    rows = "".join(
        f"<tr><td>{escape(file.asset)}/{escape(file.name)}</td><td>{escape(file.content_type)}</td>"
        f'<td class="size">{describe_size(file.size)}</td>'
        f'<td><a class="button" href="{escape(file.url)}" download rel="nofollow">Download</a></td></tr>'
        for file in files
    )
    head = "<tr><th>File</th><th>Type</th><th>Size</th><th></th></tr>"
    return f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"
