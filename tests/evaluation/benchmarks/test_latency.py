"""Seconds to the first token: what is read in context is what the model answers from, and the command's tables."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from matplotlib.figure import Figure

import chunkv2l
from chunkv2l.models import ModelSpec, load_model
from chunkv2l.query.parse import parse_question
from chunkv2l.video.clip import Clip
from evaluation.benchmarks import latency
from evaluation.benchmarks.contexts import Look, Reader
from evaluation.benchmarks.latency import Asked, InContext
from tests.helpers import frames2lora, tiny_mini, tiny_smolvlm
from tests.helpers.media import joined, scene, write

CHECKPOINT = frames2lora.FOLDER / "checkpoint_tiny.pt"
OWN = ["--model", str(frames2lora.MODEL), "--hypernet", str(CHECKPOINT)]


def pictures(count: int, side: int) -> tuple[Any, ...]:
    random = np.random.default_rng(0)
    return tuple(random.integers(0, 256, (side, side, 3), np.uint8) for _ in range(count))


@pytest.mark.parametrize("family", ["mini", "smolvlm"])
def test_reading_in_parts_is_reading_at_once(family: str) -> None:
    vlm: Any = tiny_mini.tiny().vlm if family == "mini" else tiny_smolvlm.vlm()
    reader = Reader(vlm)
    frames = pictures(5, 224 if family == "mini" else 24)
    look = Look(frames, 5.0)
    prompt = reader.look(look, "What is it?")
    clip = Clip(frames, tuple(map(float, range(5))), 5.0, 1.0)
    whole = vlm.embed_with_frames([clip], "What is it?")[0]
    torch.testing.assert_close(torch.cat([prompt.frames, prompt.question]), whole, atol=1e-5, rtol=0.0)
    token = reader.read(prompt)
    cache = reader.keep(prompt)
    assert reader.go_on(prompt, cache) == reader.go_on(prompt, cache) == token
    layers, heads = vlm.decoder.model.config.num_hidden_layers, vlm.decoder.model.config.num_key_value_heads
    head = vlm.decoder.model.layers[0].self_attn.head_dim
    assert reader.bytes_of(cache) == 2 * layers * heads * head * len(prompt.frames) * 4
    texts: list[str] = vlm.generate_from_frames([clip], "What is it?", 1)
    assert texts == [vlm.decode([token])]


def test_more_frames_than_a_clip_holds_and_as_many_as_the_context() -> None:
    vlm: Any = tiny_mini.tiny().vlm
    reader = Reader(vlm)
    frames = pictures(3, 224)
    most = reader.most_frames(frames, "What is it?")
    limit = vlm.decoder.model.config.max_position_embeddings

    def tokens(count: int) -> int:
        prompt = reader.look(Look(tuple(frames[i % 3] for i in range(count)), float(count)), "What is it?")
        return len(prompt.frames) + len(prompt.question)

    each = vlm.connector.tokens_per_frame
    assert tokens(20) == tokens(2) + 18 * each
    assert tokens(2) + (most - 2) * each < limit <= tokens(2) + (most - 1) * each


def test_questions_are_new_ones_that_are_answered_with_text() -> None:
    asked = latency.questions()
    assert len(set(asked)) == len(asked) > 200
    parsed = [parse_question(question) for question in asked]
    assert all(one.statement and one.kind not in ("when", "statement") and one.relation is None for one in parsed)
    assert len({one.statement for one in parsed}) == len(asked), "the router has scored none of them before"


def test_medians_are_of_rounds_after_the_first() -> None:
    seconds: Iterator[float] = iter([100.0, 3.0, 1.0, 2.0])
    others = iter([5.0] * 4)
    found = latency.in_turns({"a": lambda: next(seconds), "b": lambda: next(others)}, 3, 60.0)
    assert found == {"a": 2.0, "b": 5.0} and not list(others)
    hasty = latency.in_turns({"a": lambda: 7.0}, 1000, 0.0)
    assert hasty == {"a": 7.0}


def test_what_is_done_once_is_shared_out() -> None:
    assert latency.amortised(100.0, 0.5)[:3] == [100.5, 50.5, 20.5]


def test_the_table_compares_with_the_largest_index() -> None:
    held = [InContext(8, 140, 0.5, 0.2, 0.1, 3_000_000), InContext(480, 8180, 40.0, 20.0, 0.3, 190_000_000)]
    asked = [Asked(10, 0.25, 0.05), Asked(600, 0.5, 0.05)]
    lines = {row[0]: row[1:] for row in latency.rows(held, asked)}
    assert lines["ask, 600 segments"] == ["0", "0.500 s", "1.00×", ""]
    assert lines["follow-up, 600 segments"][2] == "0.10×"
    assert lines["480 frames, in context"] == ["8180", "40.0 s", "80.00×", ""]
    assert lines["480 frames, cache kept"] == ["8180", "0.300 s", "0.60×", "190 MB"]
    figure = Figure()
    latency.draw(figure, held, asked, {"ask": latency.amortised(100.0, 0.5)})
    assert len(figure.axes) == 2


@pytest.mark.parametrize("shell", ["--no-cold", pytest.param("--cold", marks=pytest.mark.long)])
def test_the_command_measures_and_writes(tmp_path: Path, shell: str) -> None:
    movie = write(tmp_path / "a.mp4", joined(scene(n, 50, (96, 64)) for n in range(4)))
    model = load_model(ModelSpec(OWN[1], OWN[3], "cpu"))
    chunkv2l.build(movie, tmp_path / "a.idx", model=model, captions=False)
    arguments = ["--movie", str(movie), "--index", str(tmp_path / "a.idx"), *OWN, "--device", "cpu"]
    arguments += ["--frames", "2", "--frames", "5000", "--rounds", "2", "--no-limit", shell, "--out", str(tmp_path)]
    result = CliRunner().invoke(latency.command, arguments)
    assert result.exit_code == 0, result.output
    written = json.loads((tmp_path / "latency.json").read_text())["figures"]
    assert [one["frames"] for one in written["in_context"]] == [2], "5000 don't fit"
    (asked,) = written["asked"]
    assert asked["segments"] == 4 and asked["follow_up"] > 0 and asked["ask"] > 0
    (held,) = written["in_context"]
    assert held["tokens"] > 2 and held["kept_bytes"] > 1000
    assert all(held[name] > 0 for name in ("frames_s", "stored_s", "kept_s"))
    assert written["precision"] == "float32" and written["device"] == "cpu"
    assert written["internalise_movie_s"] == pytest.approx(4 * written["internalise_segment_s"])
    assert ("cold_s" in written) == (shell == "--cold")
    assert written.get("cold_s", 1e9) > asked["ask"]
    assert "first token" in (tmp_path / "latency.md").read_text() and (tmp_path / "latency.png").exists()
