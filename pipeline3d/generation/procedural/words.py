"""From a prompt to words: cleaned, lower case, with articles and punctuation turned into marks."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from pipeline3d.errors import UnusableInput
from pipeline3d.generation.procedural.vocabulary import ARTICLES

MOST_CHARACTERS = 10_000
MOST_WORDS = 64
LONGEST_WORD = 40


@dataclass(frozen=True, slots=True)
class Word:
    """One word, whether an article stands before it, and whether punctuation separates it."""

    text: str
    determined: bool
    separated: bool


def clean(prompt: str) -> str:
    """The prompt in normal form (NFKC), control and format characters gone, white space single.

    Raises `UnusableInput` (`missing_prompt`) where nothing is left.
    """
    kept = "".join(
        " " if character.isspace() else "" if unicodedata.category(character)[0] == "C" else character
        for character in prompt[:MOST_CHARACTERS]
    )
    text = " ".join(unicodedata.normalize("NFKC", kept).split())
    if not text:
        raise UnusableInput(
            "The prompt is empty.",
            code="missing_prompt",
            hint="Name a thing, for example: a red mug on a wooden table.",
        )
    return text


def split_words(text: str) -> list[Word]:
    """The first `MOST_WORDS` words; articles only leave a mark on the word that follows."""
    words: list[Word] = []
    determined = separated = False
    for token in re.findall(r"[^\W_]+(?:['’][^\W_]+)*|[,;.:!?()\n/|+]", text.lower()):
        token = re.sub(r"['’]s?$|['’].*$", "", token)
        if token in ARTICLES:
            determined = True
        elif not token or not token[0].isalnum():
            separated = bool(words)
        else:
            words.append(Word(token[:LONGEST_WORD], determined, separated))
            determined = separated = False
        if len(words) == MOST_WORDS:
            break
    return words


def count_words(text: str) -> int:
    """How many words a text has, articles and all."""
    return len(re.findall(r"[^\W_]+", text))
