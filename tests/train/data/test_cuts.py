"""Clips cut from several images: what is said of them, and when they are drawn."""

from __future__ import annotations

import random

import pytest

from chunkv2l.errors import InputError
from chunkv2l.models.mini.prompts import Prompts
from chunkv2l.train.data.batches import Batches, Mix
from chunkv2l.train.data.cuts import describe_cut, draw_cuts, join_captions
from chunkv2l.train.data.questions import Described, NegativeNouns, caption_row, detail_row, exists_row, scene_row
from tests.train.stages.test_stages import Letters

DESCRIBED = tuple(
    Described((f"A {thing} runs.", f"There is a {thing}.")) for thing in ("dog", "cat", "man", "horse", "boat", "girl")
)
BARE = Described(labels=("bus",))


def test_captions_are_joined_into_one_sentence() -> None:
    assert (
        join_captions(["A dog runs.", "Two men swim.", "It rains."]) == "A dog runs, then two men swim, then it rains."
    )


def test_what_is_known_of_a_cut_is_known_of_its_parts() -> None:
    both = describe_cut([DESCRIBED[0], Described(("A red car.",))])
    assert both.captions == ("A dog runs.", "There is a dog.", "A red car.")
    assert both.joined == ("A dog runs, then a red car.", "There is a dog, then a red car.")
    assert both.nouns == {"dog", "car"}
    rng = random.Random(0)
    told = [caption_row(both, rng)[1] for _ in range(400)]
    assert 0.4 < sum(text in both.joined for text in told) / 400 < 0.6 and set(both.captions) <= set(told)
    negatives = NegativeNouns.count(DESCRIBED)
    for _ in range(60):
        question, answer = exists_row(both, negatives, rng)
        assert answer == ("Yes." if "dog" in question or "car" in question else "No.")
    assert detail_row(both, rng) is None and detail_row(Described(("A red car.",)), rng) is not None
    row = scene_row(both, rng, frozenset({"dog"}))
    assert row == ("What happens in the scene with the car?", "A red car.")


def test_each_image_with_captions_comes_first_once() -> None:
    cuts = draw_cuts((*DESCRIBED[:3], BARE, *DESCRIBED[3:]), seed=0)
    assert [cut.members[0] for cut in cuts] == [0, 1, 2, 4, 5, 6]
    assert {len(cut.members) for cut in cuts} <= {2, 3}
    assert all(len(set(cut.members)) == len(cut.members) and 3 not in cut.members for cut in cuts)
    assert cuts == draw_cuts((*DESCRIBED[:3], BARE, *DESCRIBED[3:]), seed=0)
    assert draw_cuts(DESCRIBED[:2], seed=0) == ()


def test_batches_draw_no_image_twice_and_no_cut_into_too_few_frames() -> None:
    cuts = draw_cuts(DESCRIBED * 3, seed=1)
    members = {18 + number: cut.members for number, cut in enumerate(cuts)}
    described = (*DESCRIBED * 3, *(cut.described for cut in cuts))
    mix = Mix(
        {"internalise": 0.5, "compose": 0.5}, {"internalise": 5, "compose": 4}, frames=(2, 4), parts=(2,), cut=0.5
    )
    pools = [(range(18), 1.0), (tuple(members), 1.0)]
    negatives = NegativeNouns.count(DESCRIBED)
    batches = Batches(described, pools, negatives, Prompts(Letters()), mix, members=members)
    seen = []
    for batch in (batches.make(number) for number in range(40)):
        parts = [members.get(image, (image,)) for image in batch.images.tolist()]
        assert max(map(len, parts)) <= batch.frames
        assert len({one for part in parts for one in part}) == sum(map(len, parts))
        seen += [len(part) for part in parts]
    assert {1, 2, 3} == set(seen)


def test_a_share_that_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match="cut must be a share"):
        Mix({"find": 1.0}, {"find": 2}, cut=1.0)
    with pytest.raises(InputError, match="kind 'find'"):
        Mix({"find": 1.0}, {})
