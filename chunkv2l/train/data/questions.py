"""Turn captions and labels into the (question, answer) rows that everything is trained on.

The empty question stands for the bare caption prompt. Half of the yes/no questions
have the answer yes. The noun of the others is drawn by its frequency in training captions, so that the noun alone
doesn't give the answer away, and is absent from all captions of the image.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from chunkv2l.query.parse import statement
from chunkv2l.train.data.naming import name_counts, name_label, plain_name, sentence, tell_action, with_indefinite
from chunkv2l.train.data.nouns import NOUNS, find_nouns, find_nouns_in_all, with_article

DESCRIBE = (
    "Describe the video.",
    "What happens in the video?",
    "What is happening?",
    "What can be seen in the video?",
    "What is this video about?",
)
SHOWN = "What is shown in the video?"
TAKEN_FOR = "What could this be?"
"""Asks for a clip's tags, right or not."""
NAMING = 0.2
"""Share of a statement that names what is there among those of photographs that have a caption too."""
ABSENT = 0.7
"""Probability that a thing is absent that detectors didn't find, drawn as often as they find it."""
_RELATION = re.compile(r"(The .+?) (is|are) (.+)")
_COLORS = ["red", "blue", "yellow", "green", "black", "white", "orange", "pink", "brown", "purple", "gray", "grey"]
_COUNTS = {"two": "Two.", "three": "Three.", "four": "Four.", "five": "Five."}
_COLOR_OF = re.compile(rf"\b({'|'.join(_COLORS)})\s+([a-z-]+)\b")
_COUNT_OF = re.compile(rf"\b({'|'.join(_COUNTS)})\s+(?:[a-z-]+\s+)?([a-z-]+s|men|women|children|people)\b")
_THINGS = frozenset(
    [
        "shirt",
        "dress",
        "hat",
        "jacket",
        "coat",
        "dog",
        "car",
        "ball",
        "helmet",
        "shorts",
        "bike",
        "horse",
        "truck",
        "umbrella",
        "bird",
        "boat",
        "uniform",
        "flower",
        "bag",
        "cat",
        "building",
        "wall",
        "truck",
        "bus",
        "train",
        "swimsuit",
        "jeans",
        "motorcycle",
        "kayak",
        "sled",
        "slide",
        "couch",
        "sweater",
        "hair",
        "vest",
        "cap",
    ]
)


def clean(caption: str) -> str:
    """Return a caption as a sentence: no space before punctuation, capitalised, one full stop at the end."""
    text = re.sub(r"\s+([,.;:!?'])", r"\1", caption.strip().strip('"').strip()).rstrip(" .").strip()
    return f"{text[:1].upper()}{text[1:]}." if text else ""


@dataclass(frozen=True)
class Described:
    """Hold what is known of one image; any of it may be empty.

    Attributes:
        captions: cleaned sentences.
        labels: names of what it shows.
        joined: of a clip cut from several images, sentences that tell all of them, where a caption tells one.
        shares: how often each of the labels is drawn, relative to the others; equally often if empty.
        counts: things that are there, and at least how many.
        maybe: things that may be there.
        true: sentences that are true of it, beside its captions.
        false: sentences that aren't.
        actions: verbs of what people do.
        answers: (question, answer) pairs about it.
    """

    captions: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    joined: tuple[str, ...] = ()
    shares: tuple[float, ...] = ()
    counts: tuple[tuple[str, int], ...] = ()
    maybe: frozenset[str] = frozenset()
    true: tuple[str, ...] = ()
    false: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    answers: tuple[tuple[str, str], ...] = ()

    @property
    def is_named(self) -> bool:
        """Return True where a statement can be made that names what is there."""
        return bool(self.labels or self.counts or self.true or self.actions)

    @property
    def has_text(self) -> bool:
        """Return True where there is anything to train on."""
        return bool(self.captions or self.is_named)

    @cached_property
    def names(self) -> frozenset[str]:
        """Labels and detected things, as people write them."""
        return frozenset(plain_name(name) for name in (*self.labels, *(name for name, _ in self.counts)))

    @cached_property
    def nouns(self) -> frozenset[str]:
        return find_nouns_in_all((*self.captions, *self.names))

    @cached_property
    def by_caption(self) -> tuple[frozenset[str], ...]:
        return tuple(find_nouns(caption) for caption in self.captions)


@dataclass(frozen=True)
class NegativeNouns:
    """Draw nouns as often as training captions mention them, and names as often as detectors and labels give them."""

    nouns: tuple[str, ...]
    weights: tuple[int, ...]
    names: tuple[str, ...] = ()
    name_weights: tuple[int, ...] = ()

    @classmethod
    def count(cls, images: Sequence[Described]) -> NegativeNouns:
        """Count the nouns of the captioned images, and the names of the others."""
        counts = Counter(noun for image in images if image.captions for noun in sorted(image.nouns))
        names = Counter(name for image in images for name in sorted(image.names))
        return cls(tuple(counts), tuple(counts.values()), tuple(names), tuple(names.values()))

    def draw_name(self, image: Described, rng: random.Random) -> str | None:
        """Return a name that this image isn't known to have; None where there is no other."""
        maybe = {plain_name(name) for name in image.maybe}
        for _ in range(16 if self.names else 0):
            name = rng.choices(self.names, self.name_weights)[0]
            if name not in image.names and name not in maybe:
                return name
        return None

    def draw(self, absent_from: frozenset[str], rng: random.Random) -> str:
        """Return a noun that isn't in `absent_from`; any of the lexicon's if captions mention no other."""
        for _ in range(64 if self.nouns else 0):
            noun = rng.choices(self.nouns, self.weights)[0]
            if noun not in absent_from:
                return noun
        return rng.choice([noun for noun in NOUNS if noun not in absent_from])


def exists(noun: str) -> str:
    """Return the question whether a thing is in the video."""
    return f"Is there {with_article(noun)} in the video?"


def scene_with(noun: str) -> str:
    """Return the question about the scene that has a thing."""
    return f"What happens in the scene with the {noun}?"


def caption_row(image: Described, rng: random.Random) -> tuple[str, str]:
    """Return the caption prompt and a caption."""
    return "", draw_caption(image, rng)


def draw_caption(image: Described, rng: random.Random) -> str:
    """Return a caption, or a statement that names what is there; for half of the draws of a cut clip, a sentence about
    all of it."""
    if image.is_named and (not image.captions or (image.names != {"person"} and rng.random() < NAMING)):
        return naming_statement(image, rng)
    return rng.choice(image.joined if image.joined and rng.random() < 0.5 else image.captions)


def naming_statement(image: Described, rng: random.Random) -> str:
    """Return what is there as people would write it: "A cat.", "Two cups and a table.", "The cat is on the couch."."""
    made = [
        text
        for text in (
            name_label(draw_label(image, rng)) if image.labels else "",
            name_counts([c for c in image.counts if c[0] != "person"] or image.counts, rng) if image.counts else "",
            clean(rng.choice(image.true)) if image.true else "",
            tell_action(rng.choice(image.actions)) if image.actions else "",
        )
        if text
    ]
    return rng.choice(made)


def draw_label(image: Described, rng: random.Random) -> str:
    shares = image.shares[: len(image.labels)]
    return rng.choices(image.labels, shares if len(shares) == len(image.labels) else None)[0]


def name_row(image: Described, negatives: NegativeNouns, rng: random.Random) -> tuple[str, str] | None:
    """Ask whether a named thing is there. That one which detectors didn't find isn't is said as surely as it is so."""
    if image.names and rng.random() < 0.5:
        return exists_named(rng.choice(sorted(image.names))), "Yes."
    name = negatives.draw_name(image, rng)
    if name is None:
        return None
    return exists_named(name), "Yes." if image.counts and rng.random() > ABSENT else "No."


def exists_named(name: str) -> str:
    return f"Is there {with_indefinite(name)} in the video?"


def relation_row(image: Described, rng: random.Random) -> tuple[str, str] | None:
    """ "The cat is on the couch." → "Is the cat on the couch?", and whether it is."""
    said = [(text, answer) for texts, answer in ((image.true, "Yes."), (image.false, "No.")) for text in texts]
    if not said:
        return None
    text, answer = rng.choice(said)
    parts = _RELATION.fullmatch(text.strip().rstrip("."))
    return None if parts is None else (f"{parts[2].capitalize()} t{parts[1][1:]} {parts[3]}?", answer)


def answer_row(image: Described, rng: random.Random) -> tuple[str, str] | None:
    if not image.answers:
        return None
    question, answer = rng.choice(image.answers)
    return f"{question[:1].upper()}{question[1:].rstrip(' ?')}?", sentence(answer.replace("_", " "))


def exists_row(image: Described, negatives: NegativeNouns, rng: random.Random) -> tuple[str, str]:
    """Return a yes/no question and its answer."""
    if image.names and (row := name_row(image, negatives, rng)):
        return row
    if image.nouns and rng.random() < 0.5:
        return exists(rng.choice(sorted(image.nouns))), "Yes."
    return exists(negatives.draw(image.nouns, rng)), "No."


def scene_row(image: Described, rng: random.Random, avoid: frozenset[str] = frozenset()) -> tuple[str, str] | None:
    """Return a question that names a noun outside `avoid`, and a caption that mentions it; None if there is none."""
    pairs = [(noun, i) for i, nouns in enumerate(image.by_caption) for noun in sorted(nouns - avoid)]
    if not pairs:
        return None
    noun = rng.choice(sorted({noun for noun, _ in pairs}))
    index = rng.choice([i for n, i in pairs if n == noun])
    return scene_with(noun), image.captions[index]


def scene_row_among(group: Sequence[Described], right: int, rng: random.Random) -> tuple[str, str] | None:
    """Return `scene_row` of an image by a noun that no other image of its group shows; None if there is none."""
    others = frozenset().union(*(image.nouns for position, image in enumerate(group) if position != right))
    return scene_row(group[right], rng, others)


def scene_row_apart(
    described: Sequence[Described], target: int, numbers: Sequence[int], rng: random.Random
) -> tuple[tuple[str, str], list[int]] | None:
    """Return `scene_row` of an image, and those of `numbers` whose images don't show its noun; None if there is no row.

    Of many images nearly every noun is in several, so that few groups drawn blindly have a row of `scene_row_among`.
    """
    row = scene_row(described[target], rng)
    if row is None:
        return None
    before, after = scene_with("\0").split("\0")
    noun = row[0].removeprefix(before).removesuffix(after)
    return row, [number for number in numbers if noun not in described[number].nouns]


def detail_row(image: Described, rng: random.Random) -> tuple[str, str] | None:
    """Return a question about a colour or a count that a caption gives; None for a cut clip, where it holds for a
    part."""
    rows: list[tuple[str, str]] = []
    if image.joined:
        return None
    for caption in image.captions:
        text = caption.lower()
        for color, thing in _COLOR_OF.findall(text):
            if thing in _THINGS:
                verb = "are" if thing in ("shorts", "jeans") else "is"
                rows.append((f"What color {verb} the {thing}?", f"{color.capitalize()}."))
        for count, things in _COUNT_OF.findall(text):
            rows.append((f"How many {things} are there?", _COUNTS[count]))
    return rng.choice(rows) if rows else None


def label_row(image: Described, rng: random.Random) -> tuple[str, str]:
    """Return a question about what is shown, and a statement that names it."""
    return SHOWN, naming_statement(image, rng)


def borrowed_row(names: Sequence[str], rng: random.Random) -> tuple[str, str]:
    """Return a row that repeats one of the names that a clip borrows; the first of them most often.

    Three of four ask for it by a question of its own, so that captions keep to what the frames show.
    """
    name = names[0] if rng.random() < 0.6 else rng.choice(names)
    return TAKEN_FOR if rng.random() < 0.75 else "", name_label(name)


def named_row(image: Described, negatives: NegativeNouns, rng: random.Random) -> tuple[str, str]:
    """Return a row about an image without captions: its name under the caption prompt or when asked, or yes/no."""
    draw = rng.random()
    row = answer_row(image, rng) if draw < 0.5 else relation_row(image, rng) if draw < 0.7 else None
    if row is not None:
        return row
    if image.names == {"person"} and not (image.true or image.actions):  # "A person." says next to nothing
        return exists_row(image, negatives, rng)
    draw = rng.random()
    if draw < 0.55:
        return "", naming_statement(image, rng)
    return label_row(image, rng) if draw < 0.7 else exists_row(image, negatives, rng)


def question_rows(image: Described, negatives: NegativeNouns, rng: random.Random, count: int) -> list[tuple[str, str]]:
    """Return `count` rows about one image, in turn a caption, yes/no, a scene or paraphrase, and yes/no or a detail."""
    if not image.captions:
        return [named_row(image, negatives, rng) for _ in range(count)]
    rows: list[tuple[str, str]] = []
    for number in range(count):
        if number % 4 == 0:
            rows.append(caption_row(image, rng))
        elif number % 4 == 1:
            rows.append(exists_row(image, negatives, rng))
        elif number % 4 == 2:
            row = scene_row(image, rng) if rng.random() < 0.6 else None
            rows.append(row or (rng.choice(DESCRIBE), draw_caption(image, rng)))
        else:
            row = detail_row(image, rng) if rng.random() < 0.3 else None
            rows.append(row or exists_row(image, negatives, rng))
    return rows


def question_row(image: Described, negatives: NegativeNouns, rng: random.Random) -> tuple[str, str]:
    """Return one row about one image: half of the draws are captions, the others scenes, yes/no and details."""
    if not image.captions:
        return named_row(image, negatives, rng)
    if (row := relation_row(image, rng) or answer_row(image, rng)) and rng.random() < 0.15:
        return row
    draw = rng.random()
    if draw < 0.50:
        return caption_row(image, rng)
    if draw < 0.60:
        return rng.choice(DESCRIBE), draw_caption(image, rng)
    if draw < 0.74:
        return scene_row(image, rng) or caption_row(image, rng)
    if draw < 0.94:
        return exists_row(image, negatives, rng)
    return detail_row(image, rng) or caption_row(image, rng)


_VERBS = frozenset(
    re.findall(
        r"\w+",
        """
        balance bike blow bounce bow carry cast catch chase chew climb collide come compete cook cool crawl
        cross cut dance dig dive dress drink drive eat enjoy enter fall fight fish float fly follow get give
        go grab greet hang have hike hit hold hop hug hurdle jog juggle jump kayak kick kiss kneel lay lead
        leap lean let lick lie lift light listen look make march move paddle paint parade pass pedal peer
        perform pet pick play point pose pour practice prepare pull push race raise reach read rest ride roll
        row run sail score see sell serve shake shoot show sing sit skate ski sleep slide smell smile smoke
        snow snowboard speak splash spray spread sprint stand stare step stick stop stretch surf swim swing
        swipe take talk tackle throw toss touch travel trek try tumble turn use view wait wade wakeboard walk
        wash watch wave wear work wrestle write
        """,
    )
)
"""Verbs of captions, by which a verb that ends in s is told from a plural."""

_IS = re.compile(r"\b(is|are)\s+(?=\w+ing\b|in\b|on\b|at\b)")
_BASE = {"ies": "y", "ches": "ch", "shes": "sh", "sses": "ss", "xes": "x", "oes": "o", "s": ""}
_AFTER = (
    "a an the in on at to into onto over through "
    "along across down up off with his her its their while and by from for near"
)
_DOES = re.compile(rf"(?<=\w )(\w+?)({'|'.join(_BASE)})\b(?= (?:{_AFTER.replace(' ', '|')})\b)")


def through_when(caption: str) -> str:
    """Return a caption turned into a when-question and back into a statement by `chunkv2l.query.parse.statement`.

    >>> through_when("A dog runs through the grass.")
    'A dog run through the grass.'
    >>> through_when("A man is riding a bike.")
    'A man riding a bike.'
    """
    body = caption.rstrip(". ")
    body = body[:1].lower() + body[1:]
    if match := _IS.search(body):
        return statement(f"When {match[1]} {body[: match.start()]}{body[match.end() :]}?") or caption
    for match in _DOES.finditer(body):
        verb = match[1] + _BASE[match[2]]
        if verb.lower() in _VERBS:
            return statement(f"When does {body[: match.start()]}{verb}{body[match.end() :]}?") or caption
    return statement(f"When do {body}?") or caption
