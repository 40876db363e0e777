"""SmolVLM2's frames and words against plain restatements of the reference's rules, over more than its fixtures hold."""

from __future__ import annotations

import math
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch

import chunkv2l
from chunkv2l.hypernet import load_hypernetwork
from chunkv2l.models import UNFITTED, Model
from chunkv2l.models.smolvlm import inputs
from chunkv2l.video.clip import Clip
from tests.helpers import frames2lora, tiny_smolvlm

RATES = (0.5, 1.0, 7.0, 10.0, 12.5, 15.0, 23.976, 24000 / 1001, 25.0, 29.97, 30000 / 1001, 30.0, 50.0, 59.94, 120.0)


def indices(total: int, fps: float, most: int, wanted: float) -> list[int]:
    """transformers 4.51.3's rule, without numpy: an even spread over the frames, rounded down, each frame once."""
    duration = total / fps
    count = max(1, min(round(wanted * duration), most))
    first, last = 0, total - 1
    if duration - 2 > most * wanted:
        first, last = max(int(fps), 0), min(int(total - fps), total - 1)
        if first >= last:
            first, last = 0, total - 1
    if count == 1:
        return [first]
    step = (last - first) / (count - 1)
    return sorted({int(i * step + first) if i < count - 1 else last for i in range(count)})


def test_frames_over_a_grid() -> None:
    random = torch.Generator().manual_seed(0)
    tried = 0
    for fps in RATES:
        lengths = [1, 2, 3, math.ceil(12 * fps), math.ceil(13.99 * fps), math.ceil(14 * fps) + 1]
        lengths += torch.randint(1, int(40 * fps) + 2, (40,), generator=random).tolist()
        lengths += torch.randint(1, int(7200 * fps) + 2, (15,), generator=random).tolist()
        for total in lengths:
            for most, wanted in ((12, 1.0), (1, 1.0), (5, 0.5), (64, 2.0)):
                found = inputs.sample_indices(total, fps, most, wanted)
                assert found == indices(total, fps, most, wanted), (total, fps, most, wanted)
                assert found == sorted(set(found)) and found[0] >= 0 and found[-1] < total and 1 <= len(found) <= most
                tried += 1
    assert tried > 3000


def test_time_stamps_over_a_grid() -> None:
    """Whole seconds are told exactly from the number of the frame where the rate is a fraction of whole numbers."""
    for top, bottom in ((24000, 1001), (30000, 1001), (25, 1), (30, 1), (10, 1), (60000, 1001), (15, 2)):
        for index in range(0, 200_000, 997):
            whole = index * bottom // top
            assert inputs.time_stamp(index / (top / bottom)) == f"{whole // 60:02d}:{whole % 60:02d}"


NUMBERS = {1: "one", 2: "two", 3: "three", 11: "eleven", 12: "twelve", 13: "thirteen", 20: "twenty", 21: "twenty-one"}
DURATIONS = (0.04, 1.0, 5.999, 59.9, 60.0, 61.5, 3599.999, 3600.0, 5025.3, 36_000.0, 90_061.0)


@pytest.mark.parametrize("frames", NUMBERS)
@pytest.mark.parametrize("duration", DURATIONS)
def test_both_prompts(frames: int, duration: float) -> None:
    vlm = tiny_smolvlm.vlm()
    times = tuple(duration * i / frames for i in range(frames))
    clip = Clip((tiny_smolvlm.pictures(3)[0],) * frames, times, duration, 10.0)
    block = "<fake_token_around_image><global-img>" + "<image>" * vlm.frame_tokens + "<fake_token_around_image>"
    seconds = int(duration)
    clock = f"{seconds // 3600 % 24}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    clock = clock if seconds < 86_400 else f"{seconds // 86_400} day, {clock}"
    assert clock == str(timedelta(seconds=seconds))
    words = f"You are provided the following series of {NUMBERS[frames]} frames from a {clock} [H:MM:SS] video.\n"
    for time in times:
        words += f"\nFrame from {int(time) // 60:02d}:{int(time) % 60:02d}:{block}"
    expected = f"<|im_start|>User: {words}\n\nInternalize this video for later captioning.<end_of_utterance>\n"
    ids = vlm.clip_ids(clip, inputs.INSTRUCTION, False)
    assert ids == vlm.tokenizer(expected, add_special_tokens=False)["input_ids"]
    assert vlm.tokenizer.decode(ids) == expected


@pytest.mark.parametrize("question", ["", "Describe the video.", "What does the dog do?", "Wo liegt der Ball?"])
def test_the_prompt_of_a_question(question: str) -> None:
    vlm = tiny_smolvlm.vlm()
    expected = f"<|im_start|>User: {question or 'Describe the video.'}<end_of_utterance>\nAssistant:"
    assert vlm.prompt_ids(question) == vlm.tokenizer(expected, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("seconds", [3, 5])
def test_an_index_holds_the_references_adapter(seconds: int, tmp_path: Path) -> None:
    """From the movie's file to the stored code: what comes out is what the reference computed for that clip."""
    network = load_hypernetwork(frames2lora.hypernet_file(tmp_path)).requires_grad_(False)
    model = Model("tiny", tiny_smolvlm.vlm(), network, UNFITTED, {"family": "smolvlm", "weights": "tiny"})
    built: Any = chunkv2l.build(
        tiny_smolvlm.video(seconds),
        tmp_path / "movie.idx",
        model=model,
        detector="fixed:100",
        max_length=100.0,
        captions=False,
        codes="fp32",
    )
    assert built.segments == 1
    with chunkv2l.open(tmp_path / "movie.idx", model) as index:
        made = network.expand(index.file.codes([0]))
    case, row = (frames2lora.load("e2e"), 0) if seconds == 3 else (frames2lora.load("e2e_b2_pad"), 1)
    torch.testing.assert_close(made.A[0], case["A"][row], atol=1e-5, rtol=0.0)
    torch.testing.assert_close(made.B[0], case["B"][row], atol=1e-5, rtol=0.0)
