"""What SmolVLM2 sees: frames, words and pixels as the reference has them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chunkv2l.models.smolvlm import inputs
from chunkv2l.models.smolvlm.vlm import pixels_on
from tests.helpers import frames2lora, tiny_smolvlm

SIZES = [(720, 1280), (1280, 720), (101, 333), (480, 480), (384, 215), (215, 384), (216, 384), (7, 640), (20, 30)]


def noise(height: int, width: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(height * 10_000 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_frame_sampling_equals_the_references_table() -> None:
    cases: Any = frames2lora.info("frame_sampling")
    assert len(cases) > 10
    for case in cases:
        total, fps = case["total_num_frames"], case["fps"]
        found = inputs.sample_indices(total, fps, case["max_frames"], case["target_fps"])
        assert found == case["indices"]
        assert [inputs.time_stamp(index / fps) for index in found] == case["timestamps"]


@pytest.mark.parametrize(("duration", "fps"), [(3.0, 10.0), (14.0, 30.0), (421 / 30, 30.0), (30.03, 29.97)])
def test_sample_times_are_the_indices_in_seconds(duration: float, fps: float) -> None:
    indices = inputs.sample_indices(round(duration * fps), fps)
    assert inputs.sample_times(duration, fps) == [index / fps for index in indices]


def test_sample_times_skip_both_ends_of_long_segments_only() -> None:
    assert inputs.sample_times(14.0, 30.0)[0] == 0.0
    assert inputs.sample_times(16.0, 30.0)[0] == 1.0
    assert inputs.sample_times(16.0, 30.0)[-1] <= 15.0
    assert len(inputs.sample_times(3600.0, 25.0)) == 12


@pytest.mark.parametrize("fps", [0.0, -1.0, math.nan, math.inf])
def test_sample_times_without_a_frame_rate(fps: float) -> None:
    assert inputs.sample_times(2.0, fps) == inputs.sample_times(2.0, 30.0)


def test_sample_times_of_next_to_nothing() -> None:
    assert inputs.sample_times(0.01, 25.0) == [0.0]
    assert inputs.sample_times(0.0, 25.0) == [0.0]


def test_time_stamps_forgive_floating_point() -> None:
    assert inputs.time_stamp(12.3 + 0.7 - 12.0) == "00:01"
    assert inputs.time_stamp(0.9999) == "00:00"
    assert inputs.time_stamp(61.5) == "01:01"
    assert inputs.time_stamp(6000.0) == "100:00"


def test_pixels_equal_the_references() -> None:
    case = frames2lora.load("e2e")
    pixels = inputs.PixelRule(tile=32, longest_edge=24).pixels(list(case["frames_uint8"].numpy()))
    assert np.array_equal(pixels, case["pixel_values_before_bf16"][0].numpy())
    assert torch.equal(torch.from_numpy(pixels).bfloat16(), case["pixel_values"][0])


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("tile", [384, 512])
def test_pixels_equal_transformers_pil_processor(height: int, width: int, tile: int) -> None:
    module = pytest.importorskip("transformers.models.smolvlm.image_processing_pil_smolvlm")
    image = noise(height, width)
    ours = inputs.PixelRule(tile).pixels([image])
    for splitting in (True, False):
        processor = module.SmolVLMImageProcessorPil(
            size={"longest_edge": 384}, max_image_size={"longest_edge": tile}, do_image_splitting=splitting
        )
        theirs = processor([[image]], return_tensors="np")["pixel_values"][0]
        assert np.array_equal(ours, theirs)


def test_a_device_that_is_sent_bytes_makes_the_same_pixels() -> None:
    rule = inputs.PixelRule(512, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    frames = [noise(*size) for size in ((216, 384), (480, 300), (216, 384), (30, 50))]
    found = pixels_on(torch.device("cpu"), rule, frames)
    assert found.shape == (4, 3, 512, 512)
    assert torch.equal(found, torch.from_numpy(rule.pixels(frames)))


@pytest.mark.parametrize(("height", "width"), [*SIZES, (1, 384), (384, 1), (1, 5000)])
def test_shrinking_early_changes_nothing(height: int, width: int) -> None:
    image = noise(height, width)
    small = inputs.shrink(image)
    assert max(small.shape[:2]) == 384
    assert inputs.shrink(small) is small
    rule = inputs.PixelRule(tile=64)
    assert np.array_equal(rule.pixels([image]), rule.pixels([small]))


def test_frames_of_different_sizes_in_one_call() -> None:
    rule = inputs.PixelRule(tile=32)
    images = [noise(40, 60), noise(60, 40)]
    together = rule.pixels(images)
    assert together.shape == (2, 3, 32, 32)
    for image, row in zip(images, together, strict=True):
        assert np.array_equal(rule.pixels([image])[0], row)


def test_pixel_rule_of_a_folder(tmp_path: Path) -> None:
    assert inputs.pixel_rule(tmp_path, 384) == inputs.PixelRule(tile=384)
    values = {"max_image_size": {"longest_edge": 512}, "image_mean": [0.1, 0.2, 0.3], "rescale_factor": 0.5}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({**values, "size": {"longest_edge": 2048}}))
    expected = inputs.PixelRule(tile=512, mean=(0.1, 0.2, 0.3), scale=0.5)
    assert inputs.pixel_rule(tmp_path, 384) == expected
    (tmp_path / "preprocessor_config.json").unlink()
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": values, "image_seq_len": 64}))
    assert inputs.pixel_rule(tmp_path, 384) == expected


def test_prompts_equal_the_references() -> None:
    vlm = tiny_smolvlm.vlm()
    case, padded = frames2lora.load("e2e"), frames2lora.load("e2e_b2_pad")
    assert vlm.clip_ids(tiny_smolvlm.clip(3), inputs.INSTRUCTION, False) == case["input_ids"][0].tolist()
    # The reference told every clip of a batch the last one's length.
    clips = [tiny_smolvlm.clip(3, told=5), tiny_smolvlm.clip(5)]
    for clip, ids, mask in zip(clips, padded["input_ids"], padded["attention_mask"], strict=True):
        assert vlm.clip_ids(clip, inputs.INSTRUCTION, False) == ids[mask == 1].tolist()


def test_a_clip_is_told_its_own_length() -> None:
    vlm = tiny_smolvlm.vlm()
    for seconds in (3, 5):
        text = vlm.tokenizer.decode(vlm.clip_ids(tiny_smolvlm.clip(seconds), inputs.INSTRUCTION, False))
        assert f"from a 0:00:0{seconds} [H:MM:SS] video" in text


def test_words_of_a_long_clip() -> None:
    times = [0.0, 75.2]
    text = inputs.video_text(times, 3725.999999999, 2, image="I", fake="F", whole_image="W")
    assert text == (
        "You are provided the following series of two frames from a 1:02:06 [H:MM:SS] video.\n"
        "\nFrame from 00:00:FWIIF\nFrame from 01:15:FWIIF\n\n"
    )
