"""The default model as it is shipped: it means what it says, and it is small enough."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from chunkv2l.adapter.algebra import Adapter, concat
from chunkv2l.adapter.inject import inject
from chunkv2l.models import Calibration
from chunkv2l.models.mini import load as mini_model
from chunkv2l.models.mini.connector import VisionFeatures, see, to_tensor
from chunkv2l.models.mini.vlm import MiniVLM
from chunkv2l.train.clips.base import Sight, read_states
from chunkv2l.train.core.decoder import from_llama
from tests.helpers import real_mini

STATEMENTS = list(real_mini.TRUE_OF.values())


def vlm() -> MiniVLM:
    found = real_mini.model().vlm
    assert isinstance(found, MiniVLM)
    return found


@cache
def encoded() -> tuple[Tensor, Tensor]:
    return vlm().encode(real_mini.clips())


@cache
def codes() -> Tensor:
    with torch.no_grad():
        return real_mini.model().hypernet.encode(*encoded())


@cache
def adapters() -> Adapter:
    """Each photograph's, with the bias."""
    hypernet = real_mini.model().hypernet
    return concat([hypernet.expand(codes())], bias=hypernet.bias)


RIGHT = list(range(len(STATEMENTS)))


def test_what_is_shipped() -> None:
    files = list(mini_model.SHIPPED.iterdir())
    assert sum(file.stat().st_size for file in files) <= 45e6
    model = real_mini.model()
    assert model.name == "mini"
    assert model.keys is not None
    assert isinstance(model.calibration, Calibration)
    assert model.hypernet.config.rank == 8


def test_states_are_those_of_training() -> None:
    clip, parts = real_mini.clips()[0], vlm()
    frames = np.stack([parts.sampling.shrink(frame) for frame in clip.frames])
    decoder = from_llama(parts.language, torch.float32)
    with torch.no_grad():
        seen = see(parts.vision, to_tensor(frames, parts.device))
        sight = Sight(decoder, parts.connector, torch.tensor(parts.prompts.opening))
        prefix = sight.prefix(VisionFeatures(seen.grid[None], seen.cls[None]))
        tags = parts.tags(parts.look([clip]))[0]
        words = [*parts.prompts.tags(tags), *parts.prompts.behind_frames("")]
        expected, _ = read_states(decoder, prefix, torch.tensor(words))
    assert "cat" in tags
    states, mask = (part[:1] for part in encoded())
    states = states[:, :, : int(mask.sum())]
    if states.dtype == torch.float32:
        torch.testing.assert_close(states, expected, atol=1e-4, rtol=0.0)
    else:  # read in mixed precision
        assert float(torch.cosine_similarity(states.float(), expected, dim=-1).min()) > 0.99


def test_clips_in_context_find_their_statements() -> None:
    scores = vlm().score_from_frames(real_mini.clips()[:2], STATEMENTS) - vlm().score(STATEMENTS)
    assert scores.argmax(1).tolist() == RIGHT[:2]


def test_statements_find_their_clips_by_adapters_alone_and_by_keys_alone() -> None:
    model = real_mini.model()
    scores = vlm().score(STATEMENTS, adapters()) - vlm().score(STATEMENTS, model.hypernet.bias)
    assert scores.argmax(0).tolist() == RIGHT
    assert model.keys is not None and model.sentences is not None
    with torch.no_grad():
        seen = torch.stack(vlm().look(real_mini.clips()))
        similarity = model.keys.of_clips(seen) @ model.keys.of_sentences(model.sentences(STATEMENTS)).T
    assert similarity.argmax(0).tolist() == RIGHT


def test_an_adapter_alone_answers_questions() -> None:
    things = ("cat", "cup", "rocket", "woman")
    right = 0
    for number, thing in enumerate(things):
        answers = vlm().generate([f"Is there a {thing} in the video?"] * len(STATEMENTS), adapters(), 8)
        right += sum((answer == "Yes.") == (clip == number) for clip, answer in enumerate(answers))
    assert right >= 14  # of 16, four of which are "Yes."


def test_captions_name_what_a_classifier_knows() -> None:
    captions = vlm().generate([""] * 2, adapters()[:2], 24)
    assert ["cat" in captions[0], "cup" in captions[1]] == [True, True]


def test_its_language_is_kept() -> None:
    answer, other = vlm().generate(["What is the capital of France?", "How many days are in a week?"], None, 24)
    assert "Paris" in answer
    assert "7" in other or "seven" in other.lower()


def test_captions_are_sentences_that_end() -> None:
    captions = vlm().generate([""] * len(STATEMENTS), adapters(), 64)
    assert all(caption.endswith(".") and len(caption.split()) < 30 for caption in captions)
    assert len(set(captions)) == len(captions)


@pytest.mark.long  # writes 540 MB
def test_peft_on_the_exported_base_computes_what_injection_computes(tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    vlm().save_base(tmp_path / "base")
    one = adapters()[0].detach()
    one.save_pretrained(tmp_path / "adapter", vlm().adapter_base.module_path, vlm().base_model)
    loading: Any = AutoModelForCausalLM.from_pretrained
    theirs: Any = PeftModel.from_pretrained(loading(tmp_path / "base", dtype=torch.float32), str(tmp_path / "adapter"))
    ids = torch.tensor([vlm().prompt_ids("What is on the table?")])
    with torch.no_grad():
        with inject(vlm().targets, one):
            ours = vlm().language(input_ids=ids).logits
        torch.testing.assert_close(theirs(input_ids=ids).logits, ours, atol=1e-5, rtol=0.0)
        assert float((ours - vlm().language(input_ids=ids).logits).abs().max()) > 1
