"""Makes a user's prompt safe for threestudio, which reads it as YAML and expands `${...}` in it.

OmegaConf parses `system.prompt_processor.prompt=VALUE` as YAML: `a cat: red` becomes a mapping, `123` a
number, ` #` starts a comment. A JSON string avoids that, but `${oc.env:SECRET}` is expanded even inside one;
so the two characters never stay together. `???` is OmegaConf's word for a missing value, and `lib:` is
threestudio's for its library of prompts.
"""

from __future__ import annotations

import json
import unicodedata

from protocol import Failure

LONGEST = 1000
"""Stable Diffusion reads 77 tokens, about 300 characters; far more is a mistake or an attack."""
READ_CHARS = 300
JOINERS = "\u200c\u200d"
"""Zero width, and meaningful in several scripts and in emoji; other format characters only hide text."""


def clean(prompt: str | None) -> tuple[str, list[str]]:
    """One line of visible text, and what was changed. Raises Failure(prompt_rejected)."""
    if prompt is None or not prompt.strip():
        raise Failure("prompt_rejected", "The prompt is empty.", "Describe one object in a few words.")
    if len(prompt) > LONGEST:
        raise Failure(
            "prompt_rejected",
            f"The prompt has {len(prompt)} characters; at most {LONGEST} are allowed.",
            "The model reads about the first 300 characters: describe one object in a sentence or two.",
        )
    text = " ".join("".join(map(_visible, prompt)).split())
    if not any(unicodedata.category(character)[0] in "LNS" for character in text):
        raise Failure("prompt_rejected", "The prompt has no words.", "Describe one object in a few words.")
    notes = []
    if "${" in text:
        # Looked for last: what was taken out may have stood between the two.
        text = text.replace("${", "$ {")
        notes.append("'${' in the prompt was written '$ {': the program would take it for a command.")
    if text.startswith("lib:"):
        text = "lib :" + text[4:]
        notes.append("'lib:' at the start of the prompt was written 'lib :': it would name a stored prompt.")
    if len(text) > READ_CHARS:
        notes.append("The prompt is long: the model reads its first 77 tokens, about 300 characters.")
    return text, notes


def _visible(character: str) -> str:
    """The character, a blank for any kind of space or line end, or nothing."""
    category = unicodedata.category(character)
    if character.isspace() or category[0] == "Z":
        return " "
    return "" if category[0] == "C" and character not in JOINERS else character


def quote(text: str) -> str:
    """A value for OmegaConf's command line that it reads back as exactly this text."""
    if "${" in text:
        raise Failure("invalid_request", f"{text[:200]!r} holds '${{', which the program would expand.")
    # Not ASCII only: YAML reads the two halves of a JSON surrogate pair as two broken characters.
    return json.dumps(text, ensure_ascii=False)
