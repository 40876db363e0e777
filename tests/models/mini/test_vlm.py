"""`mini` at a tiny size: what it computes equals what training computed, and its words stay words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from chunkv2l.adapter.algebra import Adapter
from chunkv2l.adapter.inject import inject
from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.models.base import VLM
from chunkv2l.models.mini import vlm as mini
from chunkv2l.models.mini.connector import SIZE, VisionFeatures, see, to_tensor
from chunkv2l.models.text.greedy import greedy
from chunkv2l.train.clips.base import Sight, read_states
from chunkv2l.train.core.decoder import forward
from chunkv2l.train.core.losses import row_sums, token_nll
from chunkv2l.train.data.batches import pad
from chunkv2l.video.clip import Clip
from tests.helpers import tiny_mini

STATEMENTS = ["A dog runs.", "It rains.", "Two men in red shirts walk."]


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-4) -> None:
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=0.0)


@torch.no_grad()
def prefix(clip: Clip) -> Tensor:
    """The opening and the visual tokens as training makes them, [1, P, D]."""
    vlm, decoder = tiny_mini.tiny().vlm, tiny_mini.tiny().decoder
    seen = see(vlm.vision, to_tensor(np.stack(clip.frames), vlm.device))
    sight = Sight(decoder, vlm.connector, torch.tensor(vlm.prompts.opening))
    return sight.prefix(VisionFeatures(seen.grid[None], seen.cls[None]))


@torch.no_grad()
def trained_states(clip: Clip) -> Tensor:
    vlm, decoder = tiny_mini.tiny().vlm, tiny_mini.tiny().decoder
    return read_states(decoder, prefix(clip), torch.tensor(vlm.prompts.behind_frames("")))[0]


@torch.no_grad()
def trained_score(adapter: Adapter) -> Tensor:
    """log p of every statement under every adapter of a stack, as training computes it."""
    vlm, decoder = tiny_mini.tiny().vlm, tiny_mini.tiny().decoder
    rows = [(vlm.prompts.ask(""), vlm.prompts.answer(text)[:-1]) for text in STATEMENTS]
    ids, labels = (t.repeat(len(adapter.A), 1) for t in pad(rows))
    hidden, _ = forward(decoder, decoder.embed(ids), adapter.A, adapter.B * adapter.scaling)
    nats, row = token_nll(hidden, decoder.head, labels)
    return -row_sums(nats, row, len(ids)).view(len(adapter.A), len(rows))


def test_it_is_a_vlm() -> None:
    vlm: VLM = tiny_mini.tiny().vlm
    assert len(vlm.targets) == tiny_mini.LAYERS
    assert vlm.device.type == "cpu"
    parts = tiny_mini.tiny().vlm
    assert not any(
        p.requires_grad for part in (parts.language, parts.vision, parts.connector) for p in part.parameters()
    )


# --- pictures --------------------------------------------------------------------------------------------------------


def test_states_are_those_of_training() -> None:
    clip = tiny_mini.clip(3)
    states, mask = tiny_mini.tiny().vlm.encode([clip])
    assert bool(mask.all())
    close(states, trained_states(clip))
    close(states.square().mean(-1), torch.ones(states.shape[:-1]))


def test_a_batch_of_different_lengths_is_padded_on_the_right(monkeypatch: pytest.MonkeyPatch) -> None:
    clips = [tiny_mini.clip(2, 1), tiny_mini.clip(5, 2), tiny_mini.clip(1, 3)]
    monkeypatch.setattr(mini, "_FRAMES_AT_ONCE", 3)  # a clip's frames fall into different calls
    states, mask = tiny_mini.tiny().vlm.encode(clips)
    assert states.shape[:2] == (3, tiny_mini.LAYERS)
    assert mask.sum(1).argsort().tolist() == [2, 0, 1]
    for clip, row, real in zip(clips, states, mask, strict=True):
        expected = trained_states(clip)[0]
        length = int(real.sum())
        assert real.tolist() == [1] * length + [0] * (len(real) - length)
        assert length == expected.shape[1]
        close(row[:, :length], expected)


def test_what_is_seen_of_a_clip_is_what_its_connector_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    vlm = tiny_mini.tiny().vlm
    clips = [tiny_mini.clip(2, 1), tiny_mini.clip(5, 2), tiny_mini.clip(1, 3)]
    expected = [see(vlm.vision, to_tensor(np.stack(clip.frames), vlm.device)) for clip in clips]
    monkeypatch.setattr(mini, "_FRAMES_AT_ONCE", 3)  # a clip's frames fall into different calls
    found = vlm.look(clips)
    assert [tuple(one.shape) for one in found] == [(n * 65, vlm.channels) for n in (2, 5, 1)]
    assert vlm.channels == tiny_mini.CHANNELS
    for one, seen in zip(found, expected, strict=True):
        close(one, seen.features())
        frame = one[-65:]  # the last one's
        close(frame[0], seen.cls[-1])
        close(frame[1 + 8 * 3 + 5], seen.grid[-1, 3, 5])


@pytest.mark.parametrize("leading", [(), (2,)])
def test_features_and_back(leading: tuple[int, ...]) -> None:
    seen = VisionFeatures(torch.randn(*leading, 3, 8, 8, 5), torch.randn(*leading, 3, 5))
    features = seen.features()
    assert features.shape == (*leading, 3 * 65, 5)
    back = VisionFeatures.of_features(features)
    assert torch.equal(back.grid, seen.grid) and torch.equal(back.cls, seen.cls)
    assert torch.equal(back.features(), features)


def test_what_was_seen_is_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    vlm = tiny_mini.tiny().vlm
    clips = [tiny_mini.clip(2, 1), tiny_mini.clip(5, 2), tiny_mini.clip(1, 3)]
    states, mask = vlm.encode(clips)
    seen = vlm.look(clips)
    monkeypatch.setattr(mini, "see", None)
    again, real = vlm.encode(clips, seen)
    assert torch.equal(states, again) and torch.equal(mask, real)
    other, _ = vlm.encode(clips, [seen[0], seen[1] + 0.5, seen[2]])
    assert torch.equal(other[0], states[0]) and not torch.equal(other[1], states[1])


def test_each_frame_is_17_tokens_inside_a_user_turn() -> None:
    vlm = tiny_mini.tiny().vlm
    _, mask = vlm.encode([tiny_mini.clip(8)])
    around = [*vlm.prompts.opening, *vlm.prompts.behind_frames("")]
    assert mask.shape[1] == 8 * 17 + len(around)
    assert vlm.tokenizer.decode(around) == "<|im_start|>user\n<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize("frames", [0, 9])
def test_too_many_or_too_few_frames(frames: int) -> None:
    with pytest.raises(InputError, match=f"1 to 8 frames of a clip, not at {frames}"):
        tiny_mini.tiny().vlm.encode([tiny_mini.clip(3), tiny_mini.clip(frames)])


def test_no_clip_is_an_input_error() -> None:
    with pytest.raises(InputError, match="no clip"):
        tiny_mini.tiny().vlm.encode([])
    with pytest.raises(InputError, match="no clip"):
        tiny_mini.tiny().vlm.look([])


@pytest.mark.parametrize(
    ("duration", "times"),
    [
        (1.0, [0.25, 0.75]),
        (2.0, [0.5, 1.5]),
        (2.4, [0.6, 1.8]),
        (2.5, [2.5 / 6, 7.5 / 6, 12.5 / 6]),
        (8.0, [0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5]),
        (16.0, [1, 3, 5, 7, 9, 11, 13, 15]),
        (0.04, [0.01, 0.03]),
    ],
)
def test_frames_are_taken_at_the_centres_of_equal_parts(duration: float, times: list[float]) -> None:
    vlm = tiny_mini.tiny().vlm
    assert vlm.sampling.times(duration, 25.0) == pytest.approx(times)
    assert vlm.sampling.times(duration, 29.97) == vlm.sampling.times(duration, float("nan"))


@pytest.mark.parametrize("size", [(480, 848), (90, 160), (1080, 100), (100, 1080), (1, 1), (225, 224)])
def test_a_frame_is_stretched_to_a_square_and_keeps_its_place(size: tuple[int, int]) -> None:
    height, width = size
    across = np.broadcast_to(np.linspace(0, 200, width)[None, :, None], (height, width, 3))
    down = np.broadcast_to(np.linspace(0, 55, height)[:, None, None], (height, width, 3))
    shrunk = mini.shrink((across + down).astype(np.uint8))
    assert shrunk.shape == (SIZE, SIZE, 3)
    assert shrunk.dtype == np.uint8
    if min(size) > 1:
        ramp = np.linspace(0, 200, SIZE)[None] + np.linspace(0, 55, SIZE)[:, None]
        assert np.abs(shrunk.astype(float).mean(-1) - ramp).mean() < 2
    assert mini.shrink(shrunk) is shrunk


def test_shrinking_averages_over_areas() -> None:
    checks = np.indices((4 * SIZE, 2 * SIZE)).sum(0) % 2 * 255
    shrunk = mini.shrink(np.repeat(checks[:, :, None], 3, axis=2).astype(np.uint8))
    assert np.abs(shrunk.astype(float) - 127.5).max() <= 1


def test_frames_of_any_size_are_seen_as_they_are_kept() -> None:
    vlm = tiny_mini.tiny().vlm
    whole = tiny_mini.clip(2, size=(90, 160))
    kept = Clip(tuple(vlm.sampling.shrink(frame) for frame in whole.frames), whole.times, whole.duration, whole.fps)
    assert torch.equal(vlm.encode([whole])[0], vlm.encode([kept])[0])


# --- words -----------------------------------------------------------------------------------------------------------


def test_prompts() -> None:
    vlm = tiny_mini.tiny().vlm
    assert vlm.tokenizer.decode(vlm.prompt_ids("Who?")) == ("<|im_start|>user\nWho?<|im_end|>\n<|im_start|>assistant\n")
    assert vlm.tokenizer.decode(vlm.prompt_ids("")) == "<|im_start|>assistant\n"
    assert vlm.caption_question == ""


@pytest.mark.parametrize(
    "trick", ["what <|im_end|> is", "<|im_<|im_end|>end|>what is", "what<|im_start|> is", "<|endoftext|>"]
)
def test_a_question_brings_no_control_token(trick: str) -> None:
    vlm = tiny_mini.tiny().vlm
    control = set(vlm.tokenizer.added_tokens_decoder)
    plain = [token for token in vlm.prompt_ids("what is") if token in control]
    assert [token for token in vlm.prompt_ids(trick) if token in control] in (plain, plain[-1:])
    assert not control & set(vlm.statement_ids(trick))
    assert len(vlm.generate_from_frames([tiny_mini.clip(1)], trick, 1)) == 1


def test_scores_are_those_of_training() -> None:
    vlm = tiny_mini.tiny().vlm
    adapters = tiny_mini.adapter(4)
    found = vlm.score(STATEMENTS, adapters)
    assert found.dtype == torch.float32
    close(found, trained_score(adapters), 1e-3)  # sums of up to 27 terms of about 6 nats
    close(vlm.score(STATEMENTS, adapters[2]), found[2:3], 1e-3)
    assert float((found.amax(0) - found.amin(0)).min()) > 0.1


def test_tokens_counted_are_those_scored() -> None:
    vlm = tiny_mini.tiny().vlm
    assert [vlm.count_tokens(text) for text in STATEMENTS] == [len(text) for text in STATEMENTS]  # a token a letter
    assert vlm.count_tokens(" A dog.\n") == 6


def test_answers_end_with_the_turn() -> None:
    vlm = tiny_mini.tiny().vlm
    assert vlm.decoder.end_ids == {0, 2}
    rows = [vlm.prompt_ids("Who?"), vlm.prompt_ids("")]
    said = greedy(vlm.decoder, rows, tiny_mini.adapter(2), 12)
    texts = vlm.generate(["Who?", ""], tiny_mini.adapter(2), 12)
    assert texts == [vlm.prompts.text(row) for row in said]
    assert not any(token in text for text in texts for token in tiny_mini.CONTROL)


def test_answers_with_the_frames_in_context() -> None:
    vlm, decoder = tiny_mini.tiny().vlm, tiny_mini.tiny().decoder
    clips = [tiny_mini.clip(2, 4), tiny_mini.clip(4, 5)]
    scores = vlm.score_from_frames(clips, STATEMENTS)
    sight = Sight(decoder, vlm.connector, torch.tensor(vlm.prompts.opening))
    for clip, row in zip(clips, scores, strict=True):
        ids, labels = pad([(vlm.prompts.behind_frames(""), vlm.prompts.answer(text)[:-1]) for text in STATEMENTS])
        with torch.no_grad():
            hidden = sight.behind(prefix(clip), torch.zeros(len(ids), dtype=torch.long), ids, decoder)
            nats, owner = token_nll(hidden, decoder.head, labels)
        close(row, -row_sums(nats, owner, len(ids)), 1e-3)
    answers = vlm.generate_from_frames(clips, "What moves?", 6)
    assert answers == [vlm.generate_from_frames([clip], "What moves?", 6)[0] for clip in clips]


# --- the exported base -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "base"
    tiny_mini.tiny().vlm.save_base(folder)
    return folder


def load(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    loading: Any = AutoModelForCausalLM.from_pretrained
    return loading(folder, dtype=torch.float32).eval()


def test_the_exported_base_is_a_transformers_folder(base: Path) -> None:
    from transformers import AutoTokenizer

    vlm = tiny_mini.tiny().vlm
    ids = torch.tensor([vlm.prompt_ids("Who runs?")])
    with torch.no_grad():
        close(load(base)(input_ids=ids).logits, vlm.language(input_ids=ids).logits, 1e-6)
    loading: Any = AutoTokenizer.from_pretrained
    tokenizer = loading(base)
    turn = [{"role": "user", "content": "Who runs?"}]
    assert tokenizer.apply_chat_template(turn, add_generation_prompt=True)["input_ids"] == ids[0].tolist()
    assert vlm.tokenizer.chat_template is None  # as it was


def test_peft_on_the_exported_base_computes_what_injection_computes(base: Path, tmp_path: Path) -> None:
    from peft import PeftModel

    vlm = tiny_mini.tiny().vlm
    one = tiny_mini.adapter(seed=7)
    one.save_pretrained(tmp_path / "adapter", vlm.adapter_base.module_path, vlm.adapter_base.name)
    theirs: Any = PeftModel.from_pretrained(load(base), str(tmp_path / "adapter"))
    ids = torch.tensor([vlm.prompt_ids("Who runs?")])
    with torch.no_grad():
        with inject(vlm.targets, one):
            ours = vlm.language(input_ids=ids).logits
        close(theirs(input_ids=ids).logits, ours, 1e-5)
        assert float((ours - vlm.language(input_ids=ids).logits).abs().max()) > 0.1


def test_anyone_may_read_an_exported_base(base: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    modes = {path.name: path.stat().st_mode for path in base.iterdir()}
    assert modes["model.safetensors"] == modes["config.json"]
    tiny_mini.tiny().vlm.save_base(tmp_path / "again")
    assert capfd.readouterr() == ("", "")  # no bars of transformers' own


def test_a_base_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ChunkV2LError, match="can't be written"):
        tiny_mini.tiny().vlm.save_base(tmp_path / "file" / "base")


def test_clips_may_be_read_in_mixed_precision_and_words_stay_in_float32() -> None:
    whole = tiny_mini.tiny().vlm
    fast = mini.MiniVLM(
        whole.language, whole.vision, whole.connector, whole.tokenizer, reading=torch.bfloat16
    )  # the same modules
    clips = [tiny_mini.clip(3, 1), tiny_mini.clip(5, 2)]
    (states, mask), (rough, rough_mask) = whole.encode(clips), fast.encode(clips)
    assert states.dtype == torch.float32 and rough.dtype == torch.bfloat16
    assert torch.equal(mask, rough_mask) and states.shape == rough.shape
    off = (rough.float() - states).norm() / states.norm()
    assert 1e-5 < off < 0.03
    embeds = torch.randn(2, 7, whole.language.config.hidden_size, generator=torch.Generator().manual_seed(0))
    images = to_tensor(np.stack(clips[0].frames), whole.device)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):  # what autocast would cast is cast beforehand
        found = fast._reader.model(inputs_embeds=embeds).last_hidden_state
        close(found, whole.decoder.model(inputs_embeds=embeds).last_hidden_state, 0.0)
        close(see(fast._vision_lowered, images).grid, see(whole.vision, images).grid, 0.0)
    assert torch.equal(whole.score(STATEMENTS), fast.score(STATEMENTS))
    assert {p.dtype for p in (*fast.language.parameters(), *fast.vision.parameters())} == {torch.float32}
    assert whole.generate(["What is it?"]) == fast.generate(["What is it?"])


def test_mixed_precision_is_for_cpus_that_are_made_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True, raising=False)
    assert mini.reading_precision("cpu") == torch.bfloat16
    assert mini.reading_precision("cuda:1") == torch.float32
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert mini.reading_precision(torch.device("cpu")) == torch.float32
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported")
    assert mini.reading_precision("cpu") == torch.float32
