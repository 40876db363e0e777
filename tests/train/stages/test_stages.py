"""Both stages on a tiny random decoder: every kind of batch gives a finite loss that training lowers."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from chunkv2l.errors import InputError
from chunkv2l.hypernet import HypernetConfig, Hypernetwork
from chunkv2l.hypernet.keys import Keys
from chunkv2l.models.assets import weights
from chunkv2l.models.mini.connector import CHANNELS, VisionFeatures
from chunkv2l.models.mini.load import HYPERNET, SHIPPED
from chunkv2l.models.mini.prompts import Prompts
from chunkv2l.train.clips import base as clips
from chunkv2l.train.clips.bank import FeatureBank
from chunkv2l.train.clips.base import BankClips, Sight
from chunkv2l.train.core.decoder import Block, Decoder, forward, go_on, read, run_block
from chunkv2l.train.core.losses import divergence, group_nce, info_nce, multi_positive_nce, neighbourhoods
from chunkv2l.train.core.trainer import Schedule, Trainer
from chunkv2l.train.data.batches import Batch, Batches, Mix
from chunkv2l.train.data.nouns import NOUNS
from chunkv2l.train.data.questions import Described, NegativeNouns, through_when
from chunkv2l.train.runs.checkpoints import load_keys
from chunkv2l.train.speed import measure
from chunkv2l.train.stages.hypernet_stage import HypernetStage, Trained, Weights
from chunkv2l.train.stages.key_teachers import KeyTeachers
from chunkv2l.train.stages.measure import rank_in_blocks
from chunkv2l.train.stages.stage_subject import (
    StageSubject,
    caption_figures,
    composition_figures,
    context_figures,
    find_figures,
)
from chunkv2l.train.stages.vlm_stage import VisualReader, VlmStage, rehearsal
from tests.helpers.keyed import by_words

HIDDEN, INNER, LAYERS, VOCABULARY = 32, 48, 3, 128
CAPTIONS = (
    "A brown dog runs.",
    "Two men swim.",
    "A red car stops.",
    "A girl jumps in snow.",
    "A cat sleeps.",
    "A boat.",
)


class Letters:
    """A tokenizer of letters, with SmolLM2's control tokens as single ids."""

    control = ("<|im_start|>", "<|im_end|>")
    eos_token_id = 2

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        ids: list[int] = []
        while text:
            for number, token in enumerate(self.control, start=1):
                if text.startswith(token):
                    ids.append(number)
                    text = text[len(token) :]
                    break
            else:
                ids.append(min(ord(text[0]), VOCABULARY - 1))
                text = text[1:]
        return ids

    def decode(self, ids: list[int], skip_special_tokens: bool = True) -> str:
        return "".join(chr(i) for i in ids if i > 2)


def tiny_decoder() -> Decoder:
    torch.manual_seed(0)

    def matrix(rows: int, columns: int) -> Tensor:
        scaled: Tensor = torch.randn(rows, columns) * columns**-0.5
        return scaled

    blocks = [
        Block(
            torch.ones(HIDDEN),
            matrix(HIDDEN + 2 * 16, HIDDEN),
            matrix(HIDDEN, HIDDEN),
            torch.ones(HIDDEN),
            matrix(2 * INNER, HIDDEN),
            matrix(HIDDEN, INNER),
        )
        for _ in range(LAYERS)
    ]
    embedding = torch.randn(VOCABULARY, HIDDEN) * 0.3
    return Decoder(
        tuple(blocks), torch.ones(HIDDEN), embedding, embedding, heads=2, kv_heads=1, eps=1e-5, rope_theta=1e4
    )


def tiny_bank(images: int) -> FeatureBank:
    generator = torch.Generator().manual_seed(1)
    keyframes = torch.full((images,), 2)
    return FeatureBank(
        torch.randn(images * 2, 8, 8, CHANNELS, generator=generator),
        torch.randn(images * 2, CHANNELS, generator=generator),
        torch.arange(images) * 2,
        torch.ones(images, dtype=torch.long),
        keyframes,
    )


DESCRIBED = tuple(Described((caption,)) for caption in CAPTIONS)
NEGATIVES = NegativeNouns.count(DESCRIBED)
PROMPTS = Prompts(Letters())


def batches(kind: str) -> Batches:
    mix = Mix({kind: 1.0}, {kind: 6}, frames=(2,), parts=(2,), longest=24)
    return Batches(DESCRIBED, [(range(6), 1.0)], NEGATIVES, PROMPTS, mix, seed=3)


def hypernet_stage() -> HypernetStage:
    torch.manual_seed(2)
    decoder = tiny_decoder()
    config = HypernetConfig(
        LAYERS, HIDDEN, INNER, latent_size=16, rank=2, num_blocks=1, num_heads=2, num_kv_heads=1, head_dim=8
    )
    reader = VisualReader(decoder, rank=2).requires_grad_(False)
    sight = Sight(decoder, reader.connector, torch.tensor(PROMPTS.opening))
    tail = torch.tensor(PROMPTS.behind_frames(""))
    generator = torch.Generator().manual_seed(4)
    source = BankClips(decoder, tiny_bank(6), sight, tail)
    return HypernetStage(Trained(Hypernetwork(config), CHANNELS), decoder, source, generator, run_block, by_words)


@pytest.mark.parametrize("kind", ["internalise", "compose", "find", "keys"])
def test_each_objective_lowers_its_loss(kind: str, tmp_path: Path) -> None:
    stage = hypernet_stage()
    source = batches(kind)
    fixed = [source.make(number) for number in range(4)]

    def total() -> float:
        torch.manual_seed(0)
        stage.generator.manual_seed(4)
        with torch.no_grad():
            return sum(float(stage.loss(batch, 0.0)[0]) for batch in fixed)

    before = total()
    trainer: Trainer[Batch] = Trainer(
        stage.trained, stage.loss, Schedule(steps=12, rate=1e-2, warmup=2, average=0.0), tmp_path, kind
    )
    trainer.run(iter(fixed * 3))
    assert total() < before * 0.97


def test_the_first_stage_lowers_its_loss(tmp_path: Path) -> None:
    decoder, bank = tiny_decoder(), tiny_bank(6)
    torch.manual_seed(5)
    reader = VisualReader(decoder, rank=2)
    rehearsed = rehearsal(decoder, PROMPTS, torch.device("cpu"), run_block, ("Hi?", "What?"), tokens=3)
    sight = Sight(decoder, reader.connector, torch.tensor(PROMPTS.opening))
    stage = VlmStage(reader, decoder, bank, sight, rehearsed, torch.Generator().manual_seed(0), run_block)
    source = batches("vlm")
    fixed = [source.make(number) for number in range(4)]

    def total() -> float:
        with torch.no_grad():
            return sum(float(stage.loss(batch, 0.0)[0]) for batch in fixed)

    before = total()
    trainer: Trainer[Batch] = Trainer(
        reader, stage.loss, Schedule(steps=12, rate=1e-2, warmup=2, average=0.0), tmp_path, "vlm"
    )
    trainer.run(iter(fixed * 3))
    assert total() < before * 0.9


def test_a_run_that_was_cut_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    def weights(steps: tuple[int, ...], folder: Path) -> list[Tensor]:
        for end in steps:
            stage = hypernet_stage()
            schedule = Schedule(steps=8, rate=1e-3, warmup=2)
            trainer: Trainer[Batch] = Trainer(stage.trained, stage.loss, schedule, folder, "hypernet")
            source = batches("internalise")
            source.start = trainer.step
            stream = iter(source)
            while trainer.step < end:
                stage.generator.manual_seed(trainer.step)
                trainer.advance(next(stream))
            trainer.save()
        return [p.detach().clone() for p in trainer.parameters]

    whole = weights((8,), tmp_path / "whole")
    cut = weights((3, 8), tmp_path / "cut")
    assert all(torch.equal(a, b) for a, b in zip(whole, cut, strict=True))


def test_a_prefix_that_is_read_once_counts_as_if_every_row_had_read_it() -> None:
    decoder = tiny_decoder()
    prefix, rows = torch.randn(2, 5, HIDDEN), torch.randn(4, 3, HIDDEN)
    owner = torch.tensor([1, 0, 1, 1])
    whole, _ = forward(decoder, torch.cat([prefix[owner], rows], dim=1))
    past, states = read(decoder, prefix, states=True)
    torch.testing.assert_close(go_on(decoder, past, owner, rows), whole[:, 5:])
    shorter, _ = forward(decoder, torch.cat([prefix[owner, :3], rows], dim=1))
    torch.testing.assert_close(go_on(decoder, past, owner, rows, keep=3), shorter[:, 3:])
    expected = forward(decoder, prefix, states=True)[1]
    assert states is not None and expected is not None
    torch.testing.assert_close(states, expected)


def test_groups_are_of_clips_that_are_mixed_up() -> None:
    place = torch.tensor([0.0, 5.0, 0.1, 5.2, 0.3, 9.0, 5.1])
    liking = -(place[:, None] - place[None]).abs()
    assert neighbourhoods(liking, 3, 2).sort().values.tolist() == [[0, 2, 4], [1, 3, 6]]


def test_one_group_of_all_gives_the_plain_loss() -> None:
    table = torch.randn(4, 4)
    loss, found = group_nce(table[None], torch.eye(4, dtype=torch.bool)[None])
    torch.testing.assert_close(loss, info_nce(table, 1.0))
    assert float(found) == pytest.approx(float((table.argmax(0) == torch.arange(4)).float().mean()))


def test_a_text_that_says_the_same_does_not_count_against_a_clip() -> None:
    table = torch.tensor([[3.0, 9.0, -1.0], [9.0, 2.0, 0.0], [4.0, 0.2, 1.0]])
    same = torch.tensor([[True, True, False], [True, True, False], [False, False, True]])
    loss, found = group_nce(table[None], same[None])
    others = [(3.0, -1.0), (2.0, 0.0), (1.0, 4.0, 0.2), (3.0, 4.0), (2.0, 0.2), (1.0, -1.0, 0.0)]  # the right one first
    nll = [math.log(sum(math.exp(x) for x in row)) - row[0] for row in others]
    assert float(loss) == pytest.approx(sum(nll) / 6, abs=1e-6)
    assert float(found) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("A dog runs through the grass.", "A dog run through the grass."),
        ("The man carries a child.", "The man carry a child."),
        ("A girl watches the waves.", "A girl watch the waves."),
        ("A man is riding a bike.", "A man riding a bike."),
        ("Two men play in the snow.", "Two men play in the snow."),
        ("A man in shorts and boots.", "A man in shorts and boots."),
    ],
)
def test_captions_through_a_when_question(caption: str, expected: str) -> None:
    assert through_when(caption) == expected


def test_processes_draw_alike_but_see_other_images() -> None:
    mix = Mix({"internalise": 0.5, "compose": 0.5}, {"internalise": 3, "compose": 4}, frames=(2, 4), parts=(2, 4))
    described = DESCRIBED * 4
    first, second = (
        Batches(described, [(range(24), 1.0)], NEGATIVES, PROMPTS, mix, seed=3, rank=rank) for rank in (0, 1)
    )
    for number in range(12):
        a, b = first.make(number), second.make(number)
        assert (a.objective, a.frames, a.parts, a.draw, len(a.images)) == (
            b.objective,
            b.frames,
            b.parts,
            b.draw,
            len(b.images),
        )
    assert any(not torch.equal(first.make(n).images, second.make(n).images) for n in range(12))


def test_speed_counts_the_products_of_a_step() -> None:
    stage = hypernet_stage()
    source = batches("internalise")
    speeds = measure(
        stage.loss, stage.loss, stage.trained, {"internalise": [source.make(n) for n in range(3)]}, warmup=1
    )
    assert [speed.kind for speed in speeds] == ["internalise"]
    assert speeds[0].clips_s == pytest.approx(6 * speeds[0].steps_s, rel=0.05) and speeds[0].share is None
    assert all(p.grad is None for p in stage.trained.parameters())


def test_keys_alone_leave_the_hypernetwork_as_it_is() -> None:
    stage = hypernet_stage()
    loss, figures = stage.loss(batches("keys").make(0), 0.0)
    loss.backward()  # type: ignore[no-untyped-call]
    assert set(figures) == {"key", "key_found"}
    assert all(p.grad is None for p in stage.trained.hypernet.parameters())
    assert any(p.grad is not None for p in stage.trained.keys.parameters())


def test_keys_alone_are_of_what_is_seen_and_no_text_block_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = hypernet_stage()
    batch = batches("keys").make(0)
    seen = stage.source.clips(batch.images, batch.frames).features
    assert seen.shape == (6, 2 * 65, CHANNELS)
    monkeypatch.setattr(clips, "read_states", None)  # `clips` would need it
    features, mask = stage.source.features(batch.images, batch.frames)
    assert mask is None and torch.equal(features, seen)
    first = VisionFeatures.of_features(features)
    assert isinstance(stage.source, BankClips)
    assert torch.equal(first.grid, stage.source.bank.clips(batch.images, batch.frames).grid)
    found = stage.loss(batch, 0.0)[1]["key_found"]
    keys = stage.trained.keys
    generator = torch.Generator().manual_seed(4)
    drawn = keys.of_clips(stage.source.features(batch.images, batch.frames, generator)[0])
    right = torch.arange(len(batch.said))
    table = drawn @ keys.of_sentences(by_words(batch.said)).T
    assert float(found) == float((table.argmax(0) == right).float().mean())


def test_what_is_true_of_several_clips_is_to_find_them_all() -> None:
    scores = torch.tensor([[2.0, -1.0, 0.5], [1.0, 0.0, 3.0]])
    right = torch.tensor([[True, False, True], [True, False, False]])
    of_clips = (math.log(math.exp(2) + math.exp(-1) + math.exp(0.5)) - (2 + 0.5) / 2) + (
        math.log(math.exp(1) + 1 + math.exp(3)) - 1
    )
    of_texts = (math.log(math.exp(2) + math.exp(1)) - 1.5) + (math.log(math.exp(0.5) + math.exp(3)) - 0.5)
    assert float(multi_positive_nce(scores, right)) == pytest.approx((of_clips / 2 + of_texts / 2) / 2, abs=1e-6)


def test_bare_names_find_clips_whose_texts_mention_them(tmp_path: Path) -> None:
    stage = replace(hypernet_stage(), weights=Weights(named=20.0))
    batch = batches("keys").make(0)
    assert batch.named is not None
    texts = [DESCRIBED[int(image)] for image in batch.images]
    assert [{NOUNS[i] for i in row.nonzero()[:, 0]} for row in batch.named] == [set(one.nouns) for one in texts]
    assert batches("find").make(0).named is None
    first = float(stage.loss(batch, 0.0)[1]["named"])
    schedule = Schedule(steps=15, rate=1e-2, warmup=2, average=0.0)
    Trainer(stage.trained, stage.loss, schedule, tmp_path, "keys").run(iter([batch] * 15))
    assert float(stage.loss(batch, 0.0)[1]["named"]) < 0.6 * first


def taught_stage() -> HypernetStage:
    """Teachers that know what the first four images are, asked about the last two."""
    stage = hypernet_stage()
    members = tuple(Keys(CHANNELS, value=24, heads=2, inner=20).requires_grad_(False).eval() for _ in range(2))
    return replace(stage, teachers=KeyTeachers(members, torch.tensor([4, 5]), sharp=2.0))


def test_teachers_are_asked_about_their_images_and_the_keys_draw_nearer(tmp_path: Path) -> None:
    stage = taught_stage()
    asked: list[list[int]] = []
    look = stage.source.features

    @dataclass(frozen=True)
    class Watching:
        device: torch.device
        clips: Any

        def features(
            self, images: Tensor, frames: int, generator: torch.Generator | None = None
        ) -> tuple[Tensor, Tensor | None]:
            asked.append(images.tolist())
            return look(images, frames, generator)

        def ids_before_question(self, image: int) -> list[int]:
            return []

    stage = replace(stage, source=Watching(stage.source.device, stage.source.clips), weights=Weights(taught=50.0))
    batch = batches("keys").make(0)
    first = float(stage.loss(batch, 0.0)[1]["taught"])
    assert asked[0] == batch.images.tolist() and sorted(asked[1]) == [4, 5]
    schedule = Schedule(steps=15, rate=1e-2, warmup=2, average=0.0)
    Trainer(stage.trained, stage.loss, schedule, tmp_path, "keys").run(iter([batch] * 15))
    assert float(stage.loss(batch, 0.0)[1]["taught"]) < 0.5 * first


def test_teachers_say_their_mean() -> None:
    stage = taught_stage()
    teachers = stage.teachers
    assert teachers is not None
    features, mask = stage.source.features(torch.tensor([0, 3]), 2)
    sentences = by_words(["A dog.", "A cat.", "A boat."])
    tables = [
        (one.of_clips(features, mask) @ one.of_sentences(sentences).T).numpy() * float(one.log_scale.exp())
        for one in teachers.keys
    ]
    expected = torch.from_numpy(tables[0] + tables[1])  # 2 · their mean
    torch.testing.assert_close(teachers.scores(features, mask, sentences), expected)
    drawn = teachers.draw(9, torch.Generator().manual_seed(0))
    assert sorted(drawn.tolist()) == [4, 5] and len(teachers.draw(1, torch.Generator().manual_seed(0))) == 1


def test_tables_agree_with_themselves_alone() -> None:
    scores = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    assert float(divergence(scores, scores)) == pytest.approx(0, abs=1e-6)
    other = scores.clone()
    other[1, 2] += 2
    rows = (other[1].log_softmax(0).exp() * (other[1].log_softmax(0) - scores[1].log_softmax(0))).sum() / 4
    column = other[:, 2].log_softmax(0)
    columns = (column.exp() * (column - scores[:, 2].log_softmax(0))).sum() / 3
    assert float(divergence(scores, other)) == pytest.approx(float((rows + columns) / 2), rel=1e-5)


def test_shipped_keys_can_teach(tmp_path: Path) -> None:
    keys = load_keys(SHIPPED / HYPERNET)
    assert keys.channels == CHANNELS and not any(p.requires_grad for p in keys.parameters())
    state, metadata = weights.read(SHIPPED / HYPERNET)
    weights.write(tmp_path / "h.safetensors", {n: t for n, t in state.items() if "keys." not in n}, metadata)
    with pytest.raises(InputError, match="has no keys that could teach"):
        load_keys(tmp_path / "h.safetensors")


def test_states_and_features_are_thinned_each_by_its_own_choice() -> None:
    stage = replace(hypernet_stage(), weights=Weights(kept=(1.0, 0.5)))
    tokens = torch.arange(20.0).expand(2, 20)[..., None]  # [B, S, 1]: each its number
    assert stage._thinned(tokens, None, 0) == (tokens, None)
    first, second = (stage._thinned(tokens, None, 1)[0][..., 0].tolist() for _ in range(2))
    assert first != second and first[0] == first[1] == sorted(set(first[0])) and len(first[0]) == 10
    states = tokens[:, None].expand(2, 3, 20, 1)
    mask = torch.tensor([[1] * 20, [1] + [0] * 19])
    some, real = stage._thinned(states, mask, 1)
    assert real is not None and some.shape == (2, 3, 10, 1) and real.sum(1).tolist() == [10, 1]
    assert bool((some[:, :, 0] == 0).all())  # the token that every clip has


def test_clips_beyond_those_that_are_scored_still_have_keys() -> None:
    stage = replace(hypernet_stage(), weights=Weights(scored=2, hard=3, kept=(0.5,)))
    loss, figures = stage.loss(batches("find").make(0), 0.0)
    assert math.isfinite(float(loss.detach())) and 0 <= float(figures["key_found"]) <= 1
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(stage.trained.keys.key.weight.grad.abs().sum()) > 0  # type: ignore[union-attr]


def test_measures_agree_where_they_must() -> None:
    subject = StageSubject(hypernet_stage(), DESCRIBED, PROMPTS, frames=2)
    captions, recalls = caption_figures(subject, NEGATIVES), find_figures(subject, (6,))
    composed = composition_figures(subject, (2,), groups=2)
    # A fresh hypernetwork's adapters are zero: right, wrong and no clip are the same model.
    assert captions["nll_adapter"] == captions["nll_wrong"] == captions["nll_bias"]
    assert set(recalls) >= {"R@1/6", "R@5/6", "key R@1/6"}
    assert composed["2 right"] == composed["2 sum"] == composed["2 bias"]
    context = context_figures(subject, NEGATIVES)
    assert context == {name: captions[name] for name in ("nll_context", "yesno_context")}


def test_ranks_count_the_clips_of_a_block_that_score_higher() -> None:
    scores = torch.tensor([[3.0, 1.0, 0.0, 9.0], [4.0, 2.0, 9.0, 0.0], [9.0, 9.0, 1.0, 5.0], [9.0, 9.0, 0.0, 5.0]])
    assert rank_in_blocks(scores, 2).tolist() == [1, 0, 0, 0]
    assert rank_in_blocks(scores, 4).tolist() == [3, 2, 1, 1]


def test_batches_depend_on_their_number_alone() -> None:
    first, again = batches("compose").make(7), batches("compose").make(7)
    assert torch.equal(first.ids, again.ids) and torch.equal(first.images, again.images)
    other = batches("compose").make(8)
    assert first.ids.shape != other.ids.shape or not torch.equal(first.ids, other.ids)


def test_negatives_are_absent_from_every_caption() -> None:
    rng = random.Random(0)
    absent = frozenset({"dog", "man"})
    assert all(NEGATIVES.draw(absent, rng) not in absent for _ in range(50))
