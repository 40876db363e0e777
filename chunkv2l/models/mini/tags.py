"""Tags: what a classifier of 1,000 things takes a clip for, as a few words in the prompt under which the clip is read.

A tag is a class name or the name of a group of classes ("dog", of 118 breeds), whose probability is the sum of its
members'. Tags stand behind the visual tokens of a reading prompt; a question's prompt never has any.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from chunkv2l.models.base import Tag

_NAMES = Path(__file__).with_name("class_names.txt")
MOST: Final = 5
"""Tags of a clip, at most."""
LEAST: Final = 0.05
"""Probability from which a class is a tag; the mean over a clip's frames counts."""
GROUP_LEAST: Final = 0.12
"""Probability from which a group is a tag: many unlikely members add up to more than `LEAST` in nearly every clip."""
_BEFORE_MEMBERS: Final = 1.0001
"""A group stands before its member where that one has all of its probability."""

GROUPS: Final[Mapping[str, tuple[int, ...]]] = {
    "fish": (*range(0, 2), *range(389, 398)),
    "shark": tuple(range(2, 5)),
    "bird": (*range(7, 25), *range(80, 101), *range(127, 147)),
    "frog": tuple(range(30, 33)),
    "turtle": tuple(range(33, 38)),
    "lizard": tuple(range(38, 49)),
    "crocodile": tuple(range(49, 51)),
    "snake": tuple(range(52, 69)),
    "spider": tuple(range(72, 78)),
    "crab": tuple(range(118, 122)),
    "dog": tuple(range(151, 269)),
    "wolf": tuple(range(269, 273)),
    "fox": tuple(range(277, 281)),
    "cat": tuple(range(281, 286)),
    "bear": tuple(range(294, 298)),
    "beetle": tuple(range(300, 308)),
    "insect": tuple(range(308, 321)),
    "butterfly": tuple(range(321, 327)),
    "rabbit": tuple(range(330, 333)),
    "sheep": tuple(range(348, 350)),
    "antelope": tuple(range(351, 354)),
    "ape": tuple(range(365, 370)),
    "monkey": tuple(range(370, 383)),
    "elephant": (*range(385, 387), 101),
    "car": (436, 468, 511, 609, 627, 656, 661, 751, 817),
    "truck": (555, 569, 675, 717, 864, 867),
    "boat": (472, 484, 554, 576, 625, 780, 814, 871, 914),
}
"""Groups of classes, by the numbers that the classifier gives them."""


@cache
def class_names() -> tuple[str, ...]:
    """Return the names of the 1,000 classes, by number, in words that people use."""
    return tuple(_NAMES.read_text(encoding="utf-8").splitlines())


def choose_tags(probabilities: Tensor, least: float = LEAST) -> list[tuple[str, ...]]:
    """Return the names of each clip's tags of at least the probability `least`; see `name_clips`."""
    return [tuple(tag.name for tag in tags if tag.p >= least) for tags in name_clips(probabilities)]


def name_clips(probabilities: Tensor) -> list[tuple[Tag, ...]]:
    """Return each clip's tags, the likeliest first.

    Args:
        probabilities: [clips, classes], means over the frames of each clip.
    """
    names, groups = class_names(), _group_matrix().to(probabilities)
    sums = probabilities @ groups.T * _BEFORE_MEMBERS
    everything = torch.cat([probabilities, sums], dim=1)
    words = (*names, *GROUPS)
    top = everything.topk(2 * MOST, dim=1)
    chosen: list[tuple[Tag, ...]] = []
    for values, numbers in zip(top.values.tolist(), top.indices.tolist(), strict=True):
        likely: dict[str, float] = {}
        for value, number in zip(values, numbers, strict=True):
            if value >= (LEAST if number < len(names) else GROUP_LEAST):
                likely.setdefault(words[number], min(value, 1.0))
        chosen.append(tuple(Tag(name, p) for name, p in list(likely.items())[:MOST]))
    return chosen


def write_tags(tags: Sequence[str]) -> str:
    """Return the line that stands behind a clip's visual tokens; "" without tags.

    >>> write_tags(("tabby cat", "couch"))
    'tags: tabby cat, couch\\n'
    """
    return f"tags: {', '.join(tags)}\n" if tags else ""


@cache
def _group_matrix() -> Tensor:
    """float32 [groups, classes], 1 where a class belongs to a group."""
    matrix = torch.zeros(len(GROUPS), len(class_names()))
    for row, members in enumerate(GROUPS.values()):
        matrix[row, list(members)] = 1.0
    return matrix
