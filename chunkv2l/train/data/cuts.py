"""Several photographs (or videos) cut into one clip: its text is about one of them, or tells one after the other."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from chunkv2l.train.data.questions import Described

PARTS = (2, 2, 3)
"""Parts of a cut: one of these is drawn."""


@dataclass(frozen=True)
class Cut:
    """A clip of several images.

    Attributes:
        members: their numbers, in the order in which they are seen.
        described: what is known of all of them together.
    """

    members: tuple[int, ...]
    described: Described


def draw_cuts(described: Sequence[Described], seed: int) -> tuple[Cut, ...]:
    """As many cuts as there are images with captions, each of which comes first in one of them."""
    usable = [number for number, one in enumerate(described) if one.captions]
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
        cuts.append(Cut(members, together([described[number] for number in members])))
    return tuple(cuts)


def together(parts: Sequence[Described]) -> Described:
    """What is known of a clip that shows one after the other: the captions of each, and sentences that join them."""
    count = max(len(part.captions) for part in parts)
    joined = [join([part.captions[i % len(part.captions)] for part in parts]) for i in range(count)]
    labels = tuple(label for part in parts for label in part.labels)
    return Described(tuple(caption for part in parts for caption in part.captions), labels, tuple(joined))


def join(captions: Sequence[str]) -> str:
    """One sentence from several.

    >>> join(["A dog runs.", "Two men swim."])
    'A dog runs, then two men swim.'
    """
    first, *others = (caption.rstrip(". ") for caption in captions)
    return f"{', then '.join([first, *(f'{text[:1].lower()}{text[1:]}' for text in others)])}."
