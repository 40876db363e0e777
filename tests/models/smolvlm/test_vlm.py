"""The tiny SmolVLM end to end against the reference's numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from chunkv2l.adapter.algebra import Adapter, concat
from chunkv2l.adapter.inject import inject
from chunkv2l.errors import InputError
from chunkv2l.hypernet import Hypernetwork, load_hypernetwork
from chunkv2l.models.base import VLM
from chunkv2l.models.smolvlm import vlm as module
from chunkv2l.models.smolvlm.inputs import PixelRule
from chunkv2l.models.text.greedy import greedy
from tests.helpers import frames2lora, tiny_smolvlm

AB, LOGITS = 1e-5, 1e-4


@pytest.fixture(scope="module")
def hypernet(tmp_path_factory: pytest.TempPathFactory) -> Hypernetwork:
    return load_hypernetwork(frames2lora.hypernet_file(tmp_path_factory.mktemp("hypernet"))).eval()


def close(found: Tensor, expected: Tensor, tolerance: float) -> None:
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=0.0)


def adapters(hypernet: Hypernetwork, states: Tensor, mask: Tensor) -> Adapter:
    with torch.no_grad():
        return hypernet.expand(hypernet.encode(states, mask)).detach()


def logits(prompt: list[int], adapter: Adapter | None, rows: int = 1) -> Tensor:
    vlm = tiny_smolvlm.vlm()
    with torch.no_grad(), inject(vlm.targets, adapter):
        out: Tensor = vlm.model(input_ids=torch.tensor([prompt] * rows)).logits
    return out


def test_it_is_a_vlm() -> None:
    vlm: VLM = tiny_smolvlm.vlm()
    assert len(vlm.targets) == 4
    assert vlm.device.type == "cpu"
    assert vlm.caption_question == ""
    assert not any(parameter.requires_grad for parameter in tiny_smolvlm.vlm().model.parameters())


def test_one_clip(hypernet: Hypernetwork) -> None:
    case = frames2lora.load("e2e")
    vlm = tiny_smolvlm.vlm()
    states, mask = vlm.encode([tiny_smolvlm.clip(3)])
    close(states, case["ctx_features"], AB)
    made = adapters(hypernet, states, mask)
    close(made.A, case["A"], AB)
    close(made.B, case["B"], AB)
    prompt = vlm.prompt_ids("")
    assert prompt == case["prompt_input_ids"][0].tolist()
    composed = concat([made[0]], bias=hypernet.bias.detach())
    close(logits(prompt, composed), case["adapted_logits"], LOGITS)
    close(logits(prompt, None), case["base_logits"], LOGITS)
    assert prompt + greedy(vlm.decoder, [prompt], composed, 8)[0] == case["greedy_ids"][0].tolist()
    assert vlm.generate([""], composed, 8) == [frames2lora.info()["e2e"]["prediction"]]


@pytest.mark.parametrize("padding", ["left", "right"])
def test_two_clips_of_different_lengths(hypernet: Hypernetwork, padding: str) -> None:
    case = frames2lora.load("e2e_b2_pad")
    vlm = tiny_smolvlm.vlm()
    states, mask = vlm.encode([tiny_smolvlm.clip(3, told=5), tiny_smolvlm.clip(5)], padding=padding)
    assert states.shape == (2, 4, 265, 64)
    expected = case["attention_mask"] if padding == "left" else case["attention_mask"].flip(1)
    assert torch.equal(mask, expected)
    made = adapters(hypernet, states, mask)
    close(made.A, case["A"], AB)
    close(made.B, case["B"], AB)
    prompt = vlm.prompt_ids("")
    each = concat([made], bias=hypernet.bias.detach())
    close(logits(prompt, each, rows=2), case["adapted_logits"], LOGITS)
    both = concat(made.unbind(), bias=hypernet.bias.detach())
    close(logits(prompt, both), case["chunked_logits"], LOGITS)


def test_a_batch_equals_its_clips_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    vlm = tiny_smolvlm.vlm()
    clips = [tiny_smolvlm.clip(5), tiny_smolvlm.clip(3), tiny_smolvlm.clip(5)]
    monkeypatch.setattr(module, "_FRAMES_AT_ONCE", 4)  # a clip's frames fall into different calls
    states, mask = vlm.encode(clips)
    monkeypatch.undo()
    for clip, row, real in zip(clips, states, mask, strict=True):
        alone, ones = vlm.encode([clip])
        assert bool(ones.all())
        assert int(real.sum()) == alone.shape[2]
        close(row[:, real == 1], alone[0], AB)


def test_what_was_seen_is_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    vlm = tiny_smolvlm.vlm()
    clips = [tiny_smolvlm.clip(5), tiny_smolvlm.clip(3)]
    states, mask = vlm.encode(clips)
    seen = vlm.look(clips)
    shapes = [(len(clip.frames) * vlm.frame_tokens, vlm.channels) for clip in clips]
    assert [tuple(one.shape) for one in seen] == shapes and shapes[0] != shapes[1] and vlm.channels == 64
    close(seen[1], vlm.look(clips[1:])[0], AB)
    monkeypatch.setattr(vlm.model.model, "get_image_features", None)
    again, real = vlm.encode(clips, seen)
    assert torch.equal(states, again) and torch.equal(mask, real)
    places = torch.tensor(vlm.clip_ids(clips[0], "Internalize this video for later captioning.", False))
    close(states[0, 0][mask[0] == 1][places == vlm._image_id], seen[0], 0.0)


def test_pictures_without_a_place_are_an_input_error() -> None:
    vlm = tiny_smolvlm.vlm()
    with pytest.raises(InputError, match="picture tokens of a clip where its prompt has place for"):
        vlm.encode([tiny_smolvlm.clip(3)], vlm.look([tiny_smolvlm.clip(5)]))


def test_no_clip_is_an_input_error() -> None:
    with pytest.raises(InputError, match="no clip"):
        tiny_smolvlm.vlm().encode([])
    with pytest.raises(InputError, match="no clip"):
        tiny_smolvlm.vlm().look([])


@pytest.mark.parametrize(
    "trick", ["what <image> is", "<ima<image>ge>what is", "what<end_of_utterance> is", "<|im_end|>"]
)
def test_a_question_brings_no_special_token(trick: str) -> None:
    vlm = tiny_smolvlm.vlm()
    special = set(vlm.tokenizer.added_tokens_decoder)
    plain = [token for token in vlm.prompt_ids("what is") if token in special]
    assert [token for token in vlm.prompt_ids(trick) if token in special] == plain
    assert not special & set(vlm.statement_ids(trick))


def test_a_statement_is_tokenised_as_the_references_targets() -> None:
    case = frames2lora.load("train_step")
    labels = case["labels"][0]
    text = frames2lora.info()["train_step"]["label_text"]
    assert text == " A red square moves.<end_of_utterance>\n"
    vlm = tiny_smolvlm.vlm()
    assert vlm.statement_ids("A red square moves.") == labels[labels != -100].tolist()[:-2]  # end of turn, newline
    assert vlm.count_tokens("A red square moves.") == int(case["n_label_tokens"][0]) - 2


def test_score_is_the_sum_of_log_probabilities(hypernet: Hypernetwork) -> None:
    vlm = tiny_smolvlm.vlm()
    states, mask = vlm.encode([tiny_smolvlm.clip(3), tiny_smolvlm.clip(5)])
    made = adapters(hypernet, states, mask)
    statements = ["A red square moves.", "It is dark."]
    found = vlm.score(statements, made)
    assert found.shape == (2, 2)
    assert found.dtype == torch.float32
    for n, adapter in enumerate(made.unbind()):
        for t, statement in enumerate(statements):
            prompt, target = vlm.prompt_ids(""), vlm.statement_ids(statement)
            table = logits(prompt + target, adapter)[0].log_softmax(-1)
            expected = sum(table[len(prompt) - 1 + i, token] for i, token in enumerate(target))
            assert abs(float(found[n, t] - expected)) < 1e-3  # sums of some twenty terms of about 5 nats
    assert vlm.score(statements).shape == (1, 2)
    assert not torch.allclose(vlm.score(statements), found[:1])


def test_answers_with_the_frames_in_context() -> None:
    vlm = tiny_smolvlm.vlm()
    clips = [tiny_smolvlm.clip(3), tiny_smolvlm.clip(5)]
    scores = vlm.score_from_frames(clips, ["A red square moves."])
    answers = vlm.generate_from_frames(clips, "What moves?", 6)
    for clip, score, answer in zip(clips, scores, answers, strict=True):
        pixels = torch.from_numpy(vlm.pixels.pixels(clip.frames)).bfloat16().float()[None]
        prompt, target = vlm.clip_ids(clip, "Describe the video.", True), vlm.statement_ids("A red square moves.")
        with torch.no_grad():
            out = vlm.model(input_ids=torch.tensor([prompt + target]), pixel_values=pixels).logits[0].log_softmax(-1)
        expected = sum(out[len(prompt) - 1 + i, token] for i, token in enumerate(target))
        assert abs(float(score[0] - expected)) < 1e-3
        ids = torch.tensor([vlm.clip_ids(clip, "What moves?", True)])
        theirs = vlm.model.generate(input_ids=ids, pixel_values=pixels, max_new_tokens=6, do_sample=False)
        assert answer == vlm.tokenizer.decode(theirs[0, ids.shape[1] :], skip_special_tokens=True).strip()


def test_bfloat16_states_go_through_the_hypernetwork(hypernet: Hypernetwork) -> None:
    case = frames2lora.load("e2e")
    states, mask = tiny_smolvlm.vlm().encode([tiny_smolvlm.clip(3)])
    made = adapters(hypernet, states.bfloat16(), mask)
    assert made.A.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(made.A.flatten(), case["A"].flatten(), dim=0) > 0.999


def test_the_question_is_all_that_changes_between_prompts() -> None:
    vlm = tiny_smolvlm.vlm()
    adapter = Adapter(torch.zeros(4, 1, 160), torch.zeros(4, 1, 64), 1.0)
    assert vlm.generate(["Who?"], adapter, 4) == vlm.generate(["Who?"], None, 4)
    rendered = vlm.tokenizer.decode(vlm.prompt_ids("Who?"))
    assert rendered == "<|im_start|>User: Who?<end_of_utterance>\nAssistant:"


@pytest.mark.parametrize(
    ("tile", "patch", "scale", "tokens"), [(512, 16, 4, 64), (384, 14, 3, 81)], ids=["as 500M", "as 2.2B"]
)
def test_a_frame_has_as_many_tokens_as_the_published_models(tile: int, patch: int, scale: int, tokens: int) -> None:
    from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration

    tiny = tiny_smolvlm.vlm()
    config: Any = SmolVLMConfig(**{**tiny.model.config.to_dict(), "scale_factor": scale, "tie_word_embeddings": False})
    config.vision_config.image_size, config.vision_config.patch_size = tile, patch
    model = SmolVLMForConditionalGeneration(config)
    vlm = module.SmolVLM(model, tiny.tokenizer, PixelRule(tile))
    assert vlm.frame_tokens == tokens
    clip = tiny_smolvlm.clip(3)
    states, _ = vlm.encode([clip])
    ids = vlm.clip_ids(clip, "Internalize this video for later captioning.", False)
    assert ids.count(config.image_token_id) == 3 * tokens
    assert states.shape == (1, 4, len(ids), 64)
    pixels = torch.from_numpy(vlm.pixels.pixels(clip.frames)).bfloat16().float()[None]
    with torch.no_grad():
        whole = model.model(input_ids=torch.tensor([ids]), pixel_values=pixels, output_hidden_states=True)
    close(states, torch.stack(whole.hidden_states[:-1], dim=1), AB)
