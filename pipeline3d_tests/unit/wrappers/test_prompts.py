"""Prompts on their way to threestudio: nothing in them is a command, and the words arrive as they were."""

from __future__ import annotations

import unicodedata

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline3d_tests.unit.wrappers.modules import wrapper_module

prompts = wrapper_module("prompts", "dreamfusion")
Failure = wrapper_module("protocol").Failure

SAME = [
    "a DSLR photo of a squirrel",
    "a cat: red",  # would be a mapping
    "[a, b]",  # a list
    "{a: b}",
    "123",  # a number
    "1e3",
    "true",
    "null",
    "~a",
    "2024-01-01",  # a date
    "a mug #1 with handle",  # cut off at the comment
    "'quoted' and \"doubly\"",
    'ends with a quote"',
    "back\\slash \\n \\u0041 \\${",  # the last two are treated below, the rest stays
    "--train --gpu 7",
    "-x",
    "system.prompt_processor.prompt=other",
    "tag=../../etc",
    "../../etc/passwd",
    "*anchor &ref !tag !!python/object:os.system",
    "%TAG ! x",
    "| block",
    "> folded",
    "@at `tick",
    "a = b",
    "$HOME $(id) `id` ; rm -rf /",
    "ein Hase mit Öhrchen",
    "一只戴帽子的猫",
    "قطة صغيرة",
    "बिल्ली",
    "🦊 in a 👩‍🚀 suit",
    "é composed and é apart",
    "x" * 1000,
]
CHANGED = [
    ("a\nb", "a b"),
    ("a\r\n\tb", "a b"),
    ("  a   b  ", "a b"),
    ("a\u2028b\x85c\u00a0d", "a b c d"),  # line ends and blanks that YAML folds
    ("a\x00b\x1b[31mc\x7f", "ab[31mc"),
    ("\ufeffa\u202eb\u200b", "ab"),  # marks that hide text
    ("a\ud800b", "ab"),  # half of a surrogate pair
    ("${oc.env:SECRET}", "$ {oc.env:SECRET}"),
    ("a ${${oc.env:A}} b", "a $ {$ {oc.env:A}} b"),
    ("$\x00{oc.env:SECRET}", "$ {oc.env:SECRET}"),  # joined by what is taken out
    ("$${x}", "$$ {x}"),
    ("\\${oc.env:SECRET}", "\\$ {oc.env:SECRET}"),
    ("lib:hamburger", "lib :hamburger"),
]
REJECTED = [
    None,
    "",
    "   \n\t",
    "???",
    "...",
    "\x00\x01",
    "\u202e\u200b",
    "x" * 1001,
    "x" * 10_000,
    "\n" * 10_000,
]


def read_back(text: str) -> object:
    """As OmegaConf reads a value of its dot list."""
    return yaml.safe_load(prompts.quote(text))


@pytest.mark.parametrize("prompt", [prompt for prompt in SAME if "${" not in prompt])
def test_a_prompt_arrives_as_it_was_written(prompt):
    text, _ = prompts.clean(prompt)
    assert text == prompt
    assert read_back(text) == prompt


@pytest.mark.parametrize(("prompt", "expected"), CHANGED)
def test_what_would_be_a_command_or_break_the_line_is_made_harmless(prompt, expected):
    text, _ = prompts.clean(prompt)
    assert text == expected
    assert read_back(text) == expected


@pytest.mark.parametrize("prompt", REJECTED)
def test_a_prompt_without_words_or_beyond_all_measure_is_rejected(prompt):
    with pytest.raises(Failure) as refused:
        prompts.clean(prompt)
    assert refused.value.code == "prompt_rejected"
    assert refused.value.hint


@pytest.mark.parametrize(
    ("prompt", "told"), [("a ${b}", "${"), ("lib:a", "lib"), ("word " * 100, "77 tokens")]
)
def test_every_change_of_meaning_is_told(prompt, told):
    assert any(told in note for note in prompts.clean(prompt)[1])


@given(st.text(max_size=400))
@settings(max_examples=400, deadline=None)
def test_any_text_is_rejected_or_read_back_as_what_was_promised(prompt):
    try:
        text, _ = prompts.clean(prompt)
    except Failure as failure:
        rejected = failure.code
    else:
        rejected = None
    if rejected:
        assert rejected == "prompt_rejected"
        return
    assert read_back(text) == text
    assert "${" not in text
    assert not text.startswith("lib:")
    assert "\n" not in prompts.quote(text)
    assert text == " ".join(text.split())
    kept = [c for c in prompt if unicodedata.category(c)[0] in "LNMPS"]
    assert [c for c in text if c in kept] == kept


@given(
    st.lists(st.sampled_from(["$", "{", "}", "oc.env:", "SECRET", "\\", "\x00", "\u200b", " ", "lib:", "a"]))
)
@settings(max_examples=400, deadline=None)
def test_no_arrangement_of_the_dangerous_parts_leaves_an_expansion(parts):
    try:
        text, _ = prompts.clean("".join(parts))
    except Failure:
        return
    assert "${" not in text
    assert read_back(text) == text


def test_a_path_that_would_be_expanded_is_refused():
    with pytest.raises(Failure):
        prompts.quote("/data/${oc.env:SECRET}/out")
