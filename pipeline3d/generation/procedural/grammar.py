"""What a prompt says, as far as it is understood: things, their looks, and how they stand to each other.

A small grammar of English noun phrases. It is read word by word from the left; every word ends up as
understood, not understood, or too small to matter, and only what is understood changes the model.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline3d.generation.procedural.colours import COLOURS, MATERIALS, NEUTRAL_SHADES, SHADES
from pipeline3d.generation.procedural.parts import Colour, Part, Template, shade
from pipeline3d.generation.procedural.placing import Relation
from pipeline3d.generation.procedural.templates import TEMPLATES, singular_forms
from pipeline3d.generation.procedural.vocabulary import (
    ATTRIBUTIVE,
    CARRIERS,
    CONTAINERS,
    LENGTHS,
    MOST_COPIES,
    NUMBERS,
    RELATIONS,
    RELATIVE_SIZES,
    SMALL_WORDS,
    SOME,
    STRETCHES,
    Meaning,
)
from pipeline3d.generation.procedural.words import Word

MOST_THINGS = 4
NOUNS: dict[tuple[str, ...], str] = {
    tuple(word.split()): template.name for template in TEMPLATES.values() for word in template.words
}
PLURALS: dict[str, str] = {
    template.plural: template.name
    for template in TEMPLATES.values()
    if template.plural and (template.plural,) not in NOUNS
}
LONGEST_NOUN = max(len(words) for words in NOUNS)
LONGEST_RELATION = max(len(words) for words in RELATIONS)


@dataclass(slots=True, kw_only=True)
class Subject:
    """One thing of the scene, while it is being read.

    `colours` and `materials` carry the place of their word, so that it can be said which had an effect.
    """

    template: Template
    parts: list[Part]
    count: int = 1
    size: float = 1.0
    stretch: tuple[float, float, float] = (1.0, 1.0, 1.0)
    colours: list[tuple[int, Colour]] = field(default_factory=list)
    materials: list[tuple[int, Colour]] = field(default_factory=list)
    relation: Relation | None = None
    anchor: int = -1
    order: float = 0.0

    def palette(self) -> dict[str, Colour]:
        """What the roles look like: the first colour word is the main one, the second the accent."""
        named = [colour for _, colour in (self.colours or self.materials)]
        main = named[0] if named else self.template.main
        return {
            "main": main,
            "accent": named[1] if len(named) > 1 else self.template.accent_beside(main),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """All that was understood; `colour` is the first colour word of a prompt without any known thing."""

    subjects: list[Subject]
    matched: list[str]
    unmatched: list[str]
    notes: list[str]
    colour: Colour | None


def read(words: list[Word]) -> Reading:
    """The things that the words name."""
    return Reader(words).read()


class Reader:
    """Reads words from the left; the state is what is said of the noun that has not come yet."""

    def __init__(self, words: list[Word]) -> None:
        self.words = words
        self.understood: dict[int, bool] = {}
        self.subjects: list[Subject] = []
        self.notes: list[str] = []
        self.pending: list[int] = []
        self.relation: tuple[Meaning, list[int]] | None = None
        self.phrase_has_unknown = False
        self.last_was_part = False
        self.sizes: list[int] = []
        self.group_start = 0

    def read(self) -> Reading:
        """Every word, once."""
        place = 0
        while place < len(self.words):
            word = self.words[place]
            if word.separated and not (self.pending and self.is_attribute(place)):
                self.end_phrase()
            elif word.determined and self.pending:
                self.end_phrase()  # "brown fox jumps over the dog": no dog is brown here
            place += self.read_at(place)
        self.end_phrase()
        colour = None if self.subjects else self.colour_for_lettering()
        for subject in self.subjects:
            self.settle_colours(subject)
        if len(self.subjects) == 1 and self.sizes:
            self.miss(self.sizes)
            self.notes.append(
                "Sizes count against other things only: a model alone is always one unit large."
            )
        matched = [self.words[i].text for i in sorted(self.understood) if self.understood[i]]
        unmatched = [self.words[i].text for i in sorted(self.understood) if not self.understood[i]]
        return Reading(
            subjects=self.subjects,
            matched=list(dict.fromkeys(matched)),
            unmatched=list(dict.fromkeys(unmatched)),
            notes=self.notes,
            colour=colour,
        )

    def read_at(self, place: int) -> int:
        """Take what starts at a place; how many words that were."""
        length = self.read_relation(place)
        if length:
            return length
        if self.read_part(place):
            return 1
        noun = self.find_noun(place)
        if noun and not self.is_used_as_attribute(place, noun[1]):
            return self.read_noun(place, *noun)
        text = self.words[place].text
        if self.is_attribute(place):
            self.pending.append(place)
        elif text not in SMALL_WORDS:
            self.understood[place] = False
            self.phrase_has_unknown = True
        return 1

    def read_relation(self, place: int) -> int:
        """Take a relation, or skip the "and" of "red and white" and the "in" of "a car in red"."""
        for length in range(min(LONGEST_RELATION, len(self.words) - place), 0, -1):
            meaning = RELATIONS.get(tuple(word.text for word in self.words[place : place + length]))
            if meaning is None:
                continue
            following = place + length
            attribute_follows = following < len(self.words) and self.is_attribute(following)
            text = self.words[place].text
            if text == "and" and self.pending and attribute_follows:
                return 1
            if text == "of" and self.pending and self.number_at(self.pending[-1]):
                return 1  # "a pair of cats"
            if (
                length == 1
                and text in ATTRIBUTIVE
                and self.subjects
                and attribute_follows
                and not self.words[following].determined
                and not self.noun_ahead(following)
            ):
                return 1
            keeps_part = self.last_was_part and text == "and"
            self.end_phrase()
            self.relation = ("with" if keeps_part else meaning, list(range(place, following)))
            return length
        return 0

    def read_part(self, place: int) -> bool:
        """Take "roof" after "a house with a red", or "handle" after "a mug without a"."""
        if self.relation is None or self.relation[0] not in ("with", "without") or not self.subjects:
            return False
        subject = self.subjects[-1]
        known = {part.name: part.name for part in subject.parts if part.name} | subject.template.part_words
        names = [known[form] for form in singular_forms(self.words[place].text) if form in known]
        if not names:
            return False
        others = [part for part in subject.parts if part.name != names[0]]
        if self.relation[0] == "without":
            if not any(not part.paint for part in others):
                return False
            subject.parts = others
            self.miss(self.pending)
        else:
            self.paint_part(subject, names[0])
        self.mark([place, *self.relation[1]])
        self.forget_phrase()
        self.last_was_part = True
        return True

    def paint_part(self, subject: Subject, name: str) -> None:
        """Give one part the colours that are pending; other attributes of parts are not understood."""
        colours = self.take_colours()
        if colours:
            subject.parts = [
                Part(part.solid, colours[0][1], part.name, part.paint) if part.name == name else part
                for part in subject.parts
            ]
        self.mark([place for place, _ in colours[:1]])
        self.miss([place for place in self.pending if place not in self.understood])

    def read_noun(self, place: int, name: str, length: int, is_plural: bool) -> int:
        """Take a noun: a new thing, unless it only says what kind of thing the next noun is."""
        following = place + length
        places = list(range(place, following))
        if not is_plural and self.is_noun_of_same_phrase(following):
            self.miss(places)
            return length
        meaning = self.relation[0] if self.relation else "beside"
        if meaning == "without" or len(self.subjects) == MOST_THINGS:
            if meaning != "without":
                self.notes.append(f"Only the first {MOST_THINGS} things were made.")
            self.miss([*places, *self.pending, *(self.relation[1] if self.relation else [])])
            self.forget_phrase()
            return length
        template = TEMPLATES[name]
        if template.round_form and any(self.words[i].text == "round" for i in self.pending):
            template = TEMPLATES[template.round_form]
        subject = Subject(template=template, parts=template.build(), order=float(len(self.subjects)))
        if is_plural and not any(self.number_at(i) for i in self.pending):
            subject.count = SOME
            self.notes.append(f"“{self.words[following - 1].text}” without a number: {SOME} were made.")
        self.relate(subject, meaning)
        self.subjects.append(subject)
        self.describe(subject)
        self.mark(places)
        self.forget_phrase()
        return length

    def relate(self, subject: Subject, meaning: Meaning) -> None:
        """Say how the thing that comes now stands to those before it."""
        if self.relation is None or not self.subjects:
            return
        number, last = len(self.subjects), self.subjects[-1]
        understood = True
        if meaning == "in":
            meaning = "on" if subject.template.name in CONTAINERS else "beside"
            understood = meaning == "on"
        if meaning in ("on", "under", "behind", "front"):
            for earlier in self.subjects[self.group_start :]:
                if earlier.relation is None:
                    earlier.relation, earlier.anchor = meaning, number
            self.group_start = number
        elif meaning == "right":
            subject.order = min(earlier.order for earlier in self.subjects[self.group_start :]) - 0.5
        elif meaning in ("with", "of") and last.template.name in CARRIERS:
            subject.relation, subject.anchor = "on", number - 1
        elif meaning == "of":
            understood = False
        (self.mark if understood else self.miss)(self.relation[1])

    def describe(self, subject: Subject) -> None:
        """Apply what is pending to a thing."""
        subject.colours += self.take_colours()
        for place in self.pending:
            text = self.words[place].text
            number = self.number_at(place)
            x, y, z = subject.stretch
            if number:
                subject.count = min(number, MOST_COPIES)
                if number > MOST_COPIES:
                    self.notes.append(f"{MOST_COPIES} of {number} were made: there are no more in one model.")
            elif text in MATERIALS and text not in COLOURS:
                subject.materials.append((place, MATERIALS[text]))
                continue
            elif text in RELATIVE_SIZES:
                subject.size *= RELATIVE_SIZES[text]
                self.sizes.append(place)
            elif text in STRETCHES:
                by = STRETCHES[text]
                subject.stretch = (x * by[0], y * by[1], z * by[2])
            elif text in LENGTHS:
                axis = "xyz".index(subject.template.long_axis)
                factors = [x, y, z]
                factors[axis] *= LENGTHS[text]
                subject.stretch = (factors[0], factors[1], factors[2])
            elif text == "round":
                self.understood[place] = subject.template.exact or subject.template.name == "round table"
                continue
            elif place in self.understood or text in COLOURS:
                continue
            self.understood[place] = text not in SHADES

    def take_colours(self) -> list[tuple[int, Colour]]:
        """The pending colour words with their shades ("dark blue"); shades without a colour stay."""
        colours: list[tuple[int, Colour]] = []
        amount, shading = 0.0, -1
        for place in self.pending:
            text = self.words[place].text
            if text in SHADES:
                amount, shading = SHADES[text], place
            elif text in COLOURS:
                colours.append((place, shade(COLOURS[text], amount)))
                if shading >= 0:
                    self.mark([shading])
                amount, shading = 0.0, -1
        return colours

    def settle_colours(self, subject: Subject) -> None:
        """Say of each colour and material word whether the model shows it; a colour beats a material."""
        roles = {part.colour for part in subject.parts if isinstance(part.colour, str)}
        shown = (["main"] if "main" in roles else []) + (["accent"] if "accent" in roles else [])
        named = subject.colours or subject.materials
        for rank, (place, _) in enumerate(named):
            self.understood[place] = rank < len(shown) and "main" in roles
        if subject.colours:
            self.miss([place for place, _ in subject.materials])
        elif subject.materials:
            text = self.words[subject.materials[0][0]].text
            self.notes.append(f"“{text}” sets the colour only: no shine, no transparency, no grain.")

    def end_phrase(self) -> None:
        """A boundary: attributes that found no noun belong to the thing before, or to nothing known."""
        if self.pending and self.subjects and not self.phrase_has_unknown and self.relation is None:
            self.miss([place for place in self.pending if self.number_at(place)])  # "table 5" is one table
            self.pending = [place for place in self.pending if not self.number_at(place)]
            self.describe(self.subjects[-1])
        else:
            self.miss(self.pending)
        if self.relation:
            self.miss(self.relation[1])
        self.forget_phrase()

    def forget_phrase(self) -> None:
        """Begin anew behind a noun or a boundary."""
        self.pending, self.relation = [], None
        self.phrase_has_unknown = self.last_was_part = False

    def colour_for_lettering(self) -> Colour | None:
        """The first colour word, which then counts as understood."""
        for place, word in enumerate(self.words):
            if word.text in COLOURS:
                self.mark([place])
                return COLOURS[word.text]
        return None

    def find_noun(self, place: int) -> tuple[str, int, bool] | None:
        """Template, number of words and whether it is a plural, for the longest noun at a place."""
        for length in range(min(LONGEST_NOUN, len(self.words) - place), 0, -1):
            words = self.words[place : place + length]
            if any(word.separated for word in words[1:]):
                continue
            start, last = [word.text for word in words[:-1]], words[-1].text
            if length == 1 and last in PLURALS:
                return PLURALS[last], 1, True
            for form in singular_forms(last):
                name = NOUNS.get((*start, form))
                if name:
                    return name, length, form != last
        return None

    def is_used_as_attribute(self, place: int, length: int) -> bool:
        """Whether "orange", "glass" or "marble" names a colour here: "a glass vase", "a mug in orange"."""
        word = self.words[place]
        if length > 1 or not (word.text in COLOURS or word.text in MATERIALS):
            return False
        if self.noun_ahead(place):
            return True
        before = self.words[place - 1].text if place else ""
        return bool(self.subjects) and before in ATTRIBUTIVE and not word.determined

    def noun_ahead(self, place: int) -> bool:
        """Whether a noun follows a place within the same phrase."""
        for following in range(place + 1, len(self.words)):
            word = self.words[following]
            if word.separated or word.determined or (word.text,) in RELATIONS and word.text != "and":
                return False
            if word.text == "and" and not (
                following + 1 < len(self.words) and self.is_attribute(following + 1)
            ):
                return False
            if self.find_noun(following):
                return True
        return False

    def is_noun_of_same_phrase(self, place: int) -> bool:
        """Whether a noun at a place follows without anything between."""
        if place >= len(self.words) or self.words[place].separated or self.words[place].determined:
            return False
        return self.find_noun(place) is not None

    def is_attribute(self, place: int) -> bool:
        """Whether the word says what something is like."""
        text = self.words[place].text
        known = (COLOURS, MATERIALS, SHADES, NEUTRAL_SHADES, RELATIVE_SIZES, STRETCHES, LENGTHS)
        return text == "round" or any(text in words for words in known) or self.number_at(place) > 0

    def number_at(self, place: int) -> int:
        """The number that a word says; 0 for none."""
        text = self.words[place].text
        if text in NUMBERS:
            return NUMBERS[text]
        return int(text) if text.isascii() and text.isdigit() and len(text) < 7 else 0

    def mark(self, places: list[int]) -> None:
        """These words were understood."""
        self.understood.update(dict.fromkeys(places, True))

    def miss(self, places: list[int]) -> None:
        """These words were not."""
        self.understood.update(dict.fromkeys(places, False))
