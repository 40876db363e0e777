"""Make batches of text rows about images, in worker processes, as plain integer tensors.

A row is a prompt and an answer. Text-only rows are what adapters are trained on (zero visual tokens); rows behind
frames share the answer's tokens, but their prompt goes on from the visual tokens.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from chunkv2l.errors import InputError
from chunkv2l.query.parse import statement
from chunkv2l.train.data.naming import name_label
from chunkv2l.train.data.nouns import NOUNS, NUMBERS
from chunkv2l.train.data.questions import (
    Described,
    NegativeNouns,
    borrowed_row,
    caption_row,
    exists,
    naming_statement,
    question_row,
    question_rows,
    scene_row_among,
    through_when,
)

Row = tuple[int, str, str]
"""(position of the clip in the batch, question, answer)"""


class Written(Protocol):
    """Write a VLM's prompts and answers as token ids: `mini`'s `Prompts`, or `FamilyPrompts` for any VLM."""

    def ask(self, question: str) -> list[int]:
        """Return the text-only prompt; "" is the caption prompt."""
        ...

    def behind_frames(self, question: str) -> list[int]:
        """Return the ids that follow a clip's frames when the question is asked with them in context."""
        ...

    def answer(self, text: str) -> list[int]:
        """Return the ids of the text and of the end of turn, one token."""
        ...

    def text(self, ids: list[int]) -> str:
        """Return the text of generated ids."""
        ...


class WrittenTags(Protocol):
    """Write tags as they stand behind a clip's visual tokens."""

    def tags(self, tags: Sequence[str]) -> list[int]: ...


@dataclass(frozen=True)
class Tagging:
    """The tags of a run's images, and how reliable they are made in training.

    Attributes:
        takes: each image's tags, by take.
        written: how they are written.
        dropped: share of clips that go without tags.
        corrupted: share of clips that have those of another image.
        borrowed: share of clips that have some of `lent` for tags, and rows that repeat them ("vlm" and "internalise").
        lent: names that clips borrow.
        sure: share of the rows that name a clip by one of its `surest` tags ("vlm" and "internalise").
        surest: each image's tags that are as good as labels; empty where it has none.
    """

    takes: Sequence[Sequence[tuple[str, ...]]]
    written: WrittenTags
    dropped: float = 0.15
    corrupted: float = 0.08
    borrowed: float = 0.0
    lent: Sequence[str] = ()
    sure: float = 0.0
    surest: Sequence[tuple[str, ...]] = ()

    def draw(self, image: int, rng: random.Random) -> tuple[str, ...]:
        """Return tags for a clip of this image."""
        draw = rng.random()
        if draw < self.dropped:
            return ()
        if draw < self.dropped + self.corrupted:
            image = rng.randrange(len(self.takes))
        return rng.choice(self.takes[image])

    def lend(self, rng: random.Random) -> tuple[str, ...]:
        """Return one to three names for a clip that borrows its tags; () for one that doesn't."""
        if rng.random() >= self.borrowed:
            return ()
        return tuple(rng.sample(self.lent, rng.choice((1, 2, 3))))

    def name_surely(self, image: int, rng: random.Random) -> str:
        """Return a sure tag of the image for a row that names it; "" for a row that doesn't, or without such a tag."""
        if rng.random() >= self.sure or not self.surest[image]:
            return ""
        return rng.choice(self.surest[image])


@dataclass(frozen=True)
class Batch:
    """B clips and Q text rows of T tokens, right-padded with 0; labels are -100 for tokens that aren't trained."""

    objective: str
    images: Tensor  # [B] image numbers
    owner: Tensor  # [Q] the clip that each row is about
    ids: Tensor  # [Q, T] text-only rows
    labels: Tensor  # [Q, T]
    behind_ids: Tensor  # [Q, T'] the same rows, as they follow the visual tokens
    behind_labels: Tensor  # [Q, T']
    said_ids: Tensor  # [B, T''] a statement about each clip, as the router scores it
    said_labels: Tensor  # [B, T'']
    said: tuple[str, ...]  # B, the statements themselves
    frames: int
    draw: int = 0  # a random number below 60, for the stage's choices about the batch
    parts: int = 1  # compose: clips of a composition; the rows of a group follow each other
    named: Tensor | None = None  # keys: bool [B, names], which of the run's names a clip's texts mention
    counted: Tensor | None = None  # keys: bool [B, names], where it is known whether they do
    asked: tuple[str, ...] = ()  # compose: Q, the statement that the router makes of each row's question
    reading_ids: Tensor | None = None  # [B, T'''] what follows the visual tokens when a clip is read
    reading_mask: Tensor | None = None  # [B, T'''], 1 where such a token is real

    def to(self, device: torch.device) -> Batch:
        """Return the batch with its tensors on a device."""
        moved: dict[str, Any] = {
            name: value.to(device, non_blocking=True) for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **moved)


def pad(rows: Sequence[tuple[list[int], list[int]]], multiple: int = 8) -> tuple[Tensor, Tensor]:
    """Return ids [Q, T] and labels [Q, T] of (prompt, answer) rows; T is a multiple of `multiple`, so that few shapes
    occur."""
    longest = max(len(prompt) + len(answer) for prompt, answer in rows)
    length = -(-longest // multiple) * multiple
    ids = torch.zeros(len(rows), length, dtype=torch.long)
    labels = torch.full((len(rows), length), -100)
    for index, (prompt, answer) in enumerate(rows):
        end = len(prompt) + len(answer)
        ids[index, :end] = torch.tensor(prompt + answer)
        labels[index, len(prompt) : end] = torch.tensor(answer)
    return ids, labels


@dataclass(frozen=True)
class Mix:
    """The batches that a stage draws: relative shares of kinds, clips and rows of each kind, numbers of frames."""

    kinds: dict[str, float]  # "vlm"; "internalise", "compose", "find", "keys"
    clips: dict[str, int]
    rows_per_clip: int = 2
    frames: tuple[int, ...] = (2, 4, 4, 8)
    parts: tuple[int, ...] = (2, 3, 4, 6, 8)
    """numbers of clips in a composition; one is drawn for each batch"""
    longest: int = 26
    """tokens of an answer that are trained, at most (of a statement at most 20): one long caption would pad all rows"""
    through_when: float = 0.3
    """share of statements that are turned into a when-question and back"""
    cut: float = 0.0
    """share of clips that are cut from two or three images"""

    def __post_init__(self) -> None:
        if not 0 <= self.cut < 1:
            raise InputError(f"The mix's cut must be a share from 0 to below 1, not {self.cut!r}.")
        if lacking := sorted(set(self.kinds) - set(self.clips)):
            raise InputError(f"The mix doesn't say how many clips a batch of the kind {lacking[0]!r} has.")


class Batches(IterableDataset[Batch]):
    """An endless stream of batches; each depends on (seed, its number) alone, so that a resumed run sees the same
    ones."""

    def __init__(
        self,
        described: Sequence[Described],
        pools: Sequence[tuple[Sequence[int], float]],
        negatives: NegativeNouns,
        prompts: Written,
        mix: Mix,
        *,
        seed: int = 0,
        start: int = 0,
        rank: int = 0,
        members: Mapping[int, tuple[int, ...]] | None = None,
        tagging: Tagging | None = None,
        names: Sequence[str] = NOUNS,
    ) -> None:
        """
        Args:
            described: the texts of each image.
            pools: (image numbers, weight): a pool is drawn with its weight, then an image of it uniformly.
            start: number of the first batch (of a resumed run).
            members: the images that each cut is made of; they aren't drawn in one batch with it, and a cut isn't drawn
                for clips of fewer frames than parts.
            tagging: the images' tags, where clips are read with such.
            names: of things that keys are to find by their bare names.
            rank: of this process; all processes draw the same kinds and sizes, so that none waits, but other images.
        """
        self.described, self.pools, self.negatives, self.prompts, self.mix = described, pools, negatives, prompts, mix
        self.seed, self.start, self.rank = seed, start, rank
        self.tagging, self.names = tagging, tuple(names)
        self._members = members or {}
        singles = {image for pool, _ in pools for image in pool if image not in self._members}
        # so many can always be drawn without sharing an image
        self._images = len(singles) // max((len(parts) for parts in self._members.values()), default=1)

    def __iter__(self) -> Iterator[Batch]:
        worker = torch.utils.data.get_worker_info()
        number, step = (self.start, 1) if worker is None else (self.start + worker.id, worker.num_workers)
        while True:
            yield self.make(number)
            number += step

    def make(self, number: int) -> Batch:
        """Return batch `number`."""
        rng = random.Random(f"{self.seed}/{number}")
        objective = rng.choices(list(self.mix.kinds), list(self.mix.kinds.values()))[0]
        frames = rng.choice(self.mix.frames)
        count = self.mix.clips[objective]
        if objective != "compose":
            count = count * 4 // max(frames, 3)  # about as many tokens for any number of frames
        count = min(count, self._images)
        parts = 1
        if objective == "compose":
            parts = min(rng.choice(self.mix.parts), count)
            count = max(1, count // parts) * parts
        draw = rng.randrange(60)
        captions = rng.random() < 0.5
        rng = random.Random(f"{self.seed}/{number}/{self.rank}")
        images = self._draw(count, frames, rng)
        statements = [self._statement(self.described[image], rng) for image in images]
        if objective == "vlm":
            rows = self._vlm(images, rng)
        elif objective == "internalise":
            rows = self._internalise(images, captions, rng)
        elif objective == "compose":
            rows = self._compose(images, parts, rng)
        else:
            rows = [(i, "", text) for i, text in enumerate(statements)]
        tags = [self._tags(image, rng) for image in images]
        if self.tagging is not None and objective in ("vlm", "internalise"):
            rows = _with_tag_rows(rows, images, tags, self.tagging, rng)
        batch = replace(self._batch(objective, images, rows, statements, frames, parts, tags), draw=draw)
        if objective == "compose":
            return replace(batch, asked=tuple(statement(question) or answer for _, question, answer in rows))
        if objective != "keys":
            return batch
        named, counted = self._named(images)
        return replace(batch, named=named, counted=counted)

    def _tags(self, image: int, rng: random.Random) -> list[int]:
        """Return the ids of a clip's tags; of a clip cut from several images those of one of them."""
        if self.tagging is None:
            return []
        image = rng.choice(self._members.get(image, (image,)))
        return self.tagging.written.tags(self.tagging.draw(image, rng))

    def _named(self, images: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return which names the images' texts mention, and of which it is known: bool [images, names] both.

        Captions are taken to mention all nouns of the lexicon, labels all labels; what detectors may have missed
        isn't counted.
        """
        places = {name: place for place, name in enumerate(self.names)}
        named = torch.zeros(len(images), len(places), dtype=torch.bool)
        counted = torch.zeros_like(named)
        nouns = [places[noun] for noun in NUMBERS if noun in places]
        others = [place for name, place in places.items() if name not in NUMBERS]
        for row, image in enumerate(images):
            known = self.described[image]
            mentions = {*known.nouns, *known.names}
            named[row, [places[name] for name in mentions if name in places]] = True
            if known.captions and not known.counts:
                counted[row, nouns] = True
            if known.labels and not known.captions:
                counted[row, others] = True
        return named, counted | named

    def _draw(self, count: int, frames: int, rng: random.Random) -> list[int]:
        weights = [weight for _, weight in self.pools]
        chosen: dict[int, None] = {}
        taken: set[int] = set()
        while len(chosen) < count:
            pool = rng.choices(self.pools, weights)[0][0]
            image = rng.choice(pool)
            parts = self._members.get(image, (image,))
            if len(parts) <= frames and taken.isdisjoint(parts):
                chosen[image] = None
                taken.update(parts)
        images = list(chosen)
        rng.shuffle(images)
        return images

    def _vlm(self, images: list[int], rng: random.Random) -> list[Row]:
        each = self.mix.rows_per_clip
        return [
            (i, *row)
            for i, image in enumerate(images)
            for row in question_rows(self.described[image], self.negatives, rng, each)
        ]

    def _internalise(self, images: list[int], captions: bool, rng: random.Random) -> list[Row]:
        """Return rows that are all captions, or all questions: the lengths in a batch then differ less."""
        return [
            (i, *self._row(self.described[image], captions, rng))
            for i, image in enumerate(images)
            for _ in range(self.mix.rows_per_clip)
        ]

    def _row(self, image: Described, caption: bool, rng: random.Random) -> tuple[str, str]:
        if caption:
            return ("", self._caption(image, rng))
        row = ("", "")
        for _ in range(8):
            row = question_row(image, self.negatives, rng)
            if row[0]:
                break
        return row

    def _caption(self, image: Described, rng: random.Random) -> str:
        return caption_row(image, rng)[1] if image.captions else naming_statement(image, rng)

    def _statement(self, image: Described, rng: random.Random) -> str:
        caption = self._caption(image, rng)
        return through_when(caption) if rng.random() < self.mix.through_when else caption

    def _compose(self, images: list[int], parts: int, rng: random.Random) -> list[Row]:
        """Return 2 · parts rows for each group of `parts` clips; a row names a noun that one clip of its group
        shows."""
        rows: list[Row] = []
        for begin in range(0, len(images), parts):
            group = [self.described[image] for image in images[begin : begin + parts]]
            everything = frozenset().union(*(image.nouns for image in group))
            for _ in range(2 * parts):
                right = rng.randrange(parts)
                row = scene_row_among(group, right, rng) if rng.random() < 0.75 else None
                if row is None and group[right].nouns and rng.random() < 0.5:
                    row = exists(rng.choice(sorted(group[right].nouns))), "Yes."
                rows.append((begin + right, *(row or (exists(self.negatives.draw(everything, rng)), "No."))))
        return rows

    def _batch(
        self,
        objective: str,
        images: list[int],
        rows: list[Row],
        statements: list[str],
        frames: int,
        parts: int,
        tags: Sequence[list[int]],
    ) -> Batch:
        text = [(self.prompts.ask(q), self.prompts.answer(a)[: self.mix.longest]) for _, q, a in rows]
        behind = [
            (tags[i] + self.prompts.behind_frames(q), answer) for (i, q, _), (_, answer) in zip(rows, text, strict=True)
        ]
        # without the end of turn, like the router's score
        said = [(self.prompts.ask(""), self.prompts.answer(a)[:-1][: min(self.mix.longest, 20)]) for a in statements]
        owner = torch.tensor([row[0] for row in rows])
        padded = (*pad(text), *pad(behind), *pad(said))
        batch = Batch(objective, torch.tensor(images), owner, *padded, tuple(statements), frames, parts=parts)
        if self.tagging is None:
            return batch
        ids, mask = pad_rows([[*own, *self.prompts.behind_frames("")] for own in tags])
        return replace(batch, reading_ids=ids, reading_mask=mask)


def _with_tag_rows(
    rows: Sequence[Row], images: Sequence[int], tags: list[list[int]], tagging: Tagging, rng: random.Random
) -> list[Row]:
    """Return the rows with those about clips that borrow names, or are named by a sure tag, put in their place.

    Args:
        tags: each clip's, as ids; those of clips that borrow are replaced.
    """
    lent = [tagging.lend(rng) for _ in images]
    for clip, names in enumerate(lent):
        if names:
            tags[clip] = tagging.written.tags(names)
    made: list[Row] = []
    for clip, question, answer in rows:
        image, name = images[clip], ""
        if lent[clip]:
            question, answer = borrowed_row(lent[clip], rng)
        elif image < len(tagging.surest) and (name := tagging.name_surely(image, rng)):
            question, answer = "", name_label(name)
        made.append((clip, question, answer))
    return made


def pad_rows(rows: Sequence[Sequence[int]], multiple: int = 4) -> tuple[Tensor, Tensor]:
    """Return ids of rows, right-padded with 0 to a multiple of tokens, and 1 where one is real: int64 [rows, T]."""
    longest = -(-max(len(row) for row in rows) // multiple) * multiple
    ids, mask = torch.zeros(2, len(rows), longest, dtype=torch.long)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.tensor(row)
        mask[number, : len(row)] = 1
    return ids, mask


def loader(batches: Batches, workers: int) -> Iterator[Batch]:
    """Yield the batches in order, made ahead by worker processes; 0 workers make them in this process."""
    made: Any = DataLoader(
        batches,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=8 if workers else None,
        persistent_workers=bool(workers),
    )
    return iter(made)
