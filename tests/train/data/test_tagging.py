"""Tags in training: behind the frames of every row, dropped or corrupted in a share of the clips, in no question."""

from __future__ import annotations

import itertools
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


def test_clips_that_borrow_names_have_them_for_tags_and_in_their_rows() -> None:
    lent = ("tuba", "gondola", "abacus")
    batch = make_batches("internalise", Tagging(TAKES, PROMPTS, 0.0, 0.0, borrowed=1.0, lent=lent)).make(0)
    assert batch.reading_ids is not None and batch.reading_mask is not None
    for row, labels in zip(batch.owner.tolist(), batch.labels, strict=True):
        name = PROMPTS.text(labels[labels != -100].tolist()).removeprefix("A ").removeprefix("An ").rstrip(".")
        read = batch.reading_ids[row][batch.reading_mask[row].bool()].tolist()
        tags = [PROMPTS.tags(order) for count in (1, 2, 3) for order in itertools.permutations(lent, count)]
        closed = [[*ids, *PROMPTS.behind_frames("")] for ids in tags]
        assert name in lent and read in closed
    assert not any(name in text for name in lent for text in batch.said)  # keys see the frames


def test_other_objectives_borrow_nothing() -> None:
    borrowing = Tagging(TAKES, PROMPTS, 0.0, 0.0, borrowed=1.0, lent=("tuba", "gondola", "abacus"), sure=1.0)
    for objective in ("compose", "find", "keys"):
        batch, plain = (make_batches(objective, t).make(0) for t in (borrowing, Tagging(TAKES, PROMPTS, 0.0, 0.0)))
        assert torch.equal(batch.ids, plain.ids) and torch.equal(batch.behind_ids, plain.behind_ids)


def test_rows_name_a_clip_by_its_sure_tag() -> None:
    surest: list[tuple[str, ...]] = [("beagle", "dog"), (), (), ()]
    batch = make_batches("internalise", Tagging(TAKES, PROMPTS, 0.0, 0.0, sure=1.0, surest=surest)).make(0)
    answers = [PROMPTS.text(labels[labels != -100].tolist()) for labels in batch.labels]
    images = [int(batch.images[owner]) for owner in batch.owner.tolist()]
    assert {answer for answer, image in zip(answers, images, strict=True) if image == 0} <= {"A beagle.", "A dog."}
    assert not {"A beagle.", "A dog."} & {answer for answer, image in zip(answers, images, strict=True) if image}


def test_names_that_nobody_told_are_not_counted_as_absent() -> None:
    batches = make_batches("keys", None)
    batches.described = (Described(("A dog runs.",)), Described(counts=(("cat", 1),)), Described(labels=("zebra",)))
    named, counted = batches._named([0, 1, 2])
    assert named.tolist() == [[True, False, False], [False, True, False], [False, False, True]]
    assert counted.tolist() == [[True, True, False], [False, True, False], [False, False, True]]
