"""Cut several photographs or videos into one clip, whose text is about one of them or about all in order."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from chunkv2l.train.data.questions import Described

PARTS = (2, 2, 3)
"""Numbers of parts that a cut may have; one is drawn."""


@dataclass(frozen=True)
class Cut:
    """A clip of several images.

    Attributes:
        members: the images' numbers, in the order in which they are shown.
        described: the texts of the whole clip.
    """

    members: tuple[int, ...]
    described: Described


def draw_cuts(described: Sequence[Described], seed: int) -> tuple[Cut, ...]:
    """Return as many cuts as there are images with captions; each of these images comes first in one cut."""
    usable = [number for number, image in enumerate(described) if image.captions]
    rng = random.Random(f"{seed}/cuts")
    cuts = []
    for first in usable if len(usable) >= max(PARTS) else []:
        others: list[int] = []
        count = rng.choice(PARTS)
        while len(others) < count - 1:
            other = rng.choice(usable)
            if other != first and other not in others:
                others.append(other)
        members = (first, *others)
        cuts.append(Cut(members, describe_cut([described[number] for number in members])))
    return tuple(cuts)


def describe_cut(parts: Sequence[Described]) -> Described:
    """Return the texts of a clip that shows the parts in order: the captions of each, and sentences that join them."""
    count = max(len(part.captions) for part in parts)
    joined = [join_captions([part.captions[i % len(part.captions)] for part in parts]) for i in range(count)]
    labels = tuple(label for part in parts for label in part.labels)
    return Described(tuple(caption for part in parts for caption in part.captions), labels, tuple(joined))


def join_captions(captions: Sequence[str]) -> str:
    """Join several sentences into one.

    >>> join_captions(["A dog runs.", "Two men swim."])
    'A dog runs, then two men swim.'
    """
    first, *others = (caption.rstrip(". ") for caption in captions)
    return f"{', then '.join([first, *(f'{text[:1].lower()}{text[1:]}' for text in others)])}."
