"""Tags in training: behind the frames of every row, dropped or corrupted in a share of the clips, in no question."""

from __future__ import annotations

import random

import torch

from chunkv2l.train.data.batches import Batches, Mix, Tagging
from chunkv2l.train.data.questions import Described, NegativeNouns
from tests.train.stages.test_stages import PROMPTS

DESCRIBED = tuple(Described((f"A {name} on the grass.",), (name,)) for name in ("dog", "cat", "horse", "boat"))
TAKES: list[list[tuple[str, ...]]] = [[("beagle",)], [("tabby cat", "couch")], [("sorrel",)], [("canoe",)]]


def make_batches(objective: str, tagging: Tagging | None) -> Batches:
    mix = Mix({objective: 1.0}, {objective: 4}, frames=(4,), parts=(2,), longest=24)
    names = ("dog", "cat", "zebra")
    negatives = NegativeNouns.count(DESCRIBED)
    return Batches(DESCRIBED, [(range(4), 1.0)], negatives, PROMPTS, mix, seed=1, tagging=tagging, names=names)


def test_tags_are_dropped_or_anothers_in_their_shares() -> None:
    tagging = Tagging(TAKES, PROMPTS, dropped=0.2, corrupted=0.4)
    rng = random.Random(0)
    drawn = [tagging.draw(0, rng) for _ in range(4000)]
    assert 0.17 < drawn.count(()) / 4000 < 0.23
    assert 0.47 < drawn.count(("beagle",)) / 4000 < 0.53  # .4 · ¼ of the corrupted ones are its own


def test_rows_behind_frames_begin_with_the_clips_tags_and_questions_have_none() -> None:
    batch = make_batches("internalise", Tagging(TAKES, PROMPTS, 0.0, 0.0)).make(0)
    plain = make_batches("internalise", None).make(0)
    assert torch.equal(batch.ids, plain.ids) and torch.equal(batch.said_ids, plain.said_ids)
    assert plain.reading_ids is None and batch.reading_ids is not None and batch.reading_mask is not None
    for owner, behind, without in zip(batch.owner.tolist(), batch.behind_ids, plain.behind_ids, strict=True):
        tags = PROMPTS.tags(TAKES[int(batch.images[owner])][0])
        assert behind[: len(tags)].tolist() == tags
        assert behind[len(tags) : len(tags) + 8].tolist() == without[:8].tolist()
    for image, ids, mask in zip(batch.images.tolist(), batch.reading_ids, batch.reading_mask, strict=True):
        assert ids[mask.bool()].tolist() == [*PROMPTS.tags(TAKES[image][0]), *PROMPTS.behind_frames("")]


def test_names_that_nobody_told_are_not_counted_as_absent() -> None:
    batches = make_batches("keys", None)
    batches.described = (Described(("A dog runs.",)), Described(counts=(("cat", 1),)), Described(labels=("zebra",)))
    named, counted = batches._named([0, 1, 2])
    assert named.tolist() == [[True, False, False], [False, True, False], [False, False, True]]
    assert counted.tolist() == [[True, True, False], [False, True, False], [False, False, True]]
