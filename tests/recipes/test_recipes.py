"""Each recipe does what it says, on indexes of tiny random models; and the README lists them as they are."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from chunkv2l.adapter.algebra import Adapter, compress
from chunkv2l.ask import Index
from chunkv2l.cli import main as cli
from chunkv2l.export import export_adapters, export_base
from recipes import (
    like_this_not_that,
    many_questions,
    mixed_batch,
    own_detector,
    rank_space,
    serve_with_vllm,
    two_movies,
)
from tests.helpers import media, real_mini, tiny_smolvlm
from tests.helpers.fake_vlm import LAYERS, fake_model
from tests.helpers.keyed import unit_keys
from tests.helpers.selecting import selective
from tests.helpers.written import random_codes, write_index
from tests.recipes.conftest import typed

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes").glob("*.py"))
README = (ROOT / "recipes" / "README.md").read_text(encoding="utf-8")
QUESTION = "What is on the table?"


def effect(adapter: Adapter) -> Tensor:
    """scaling · Bᵀ A of each block: [L, D, I]."""
    return adapter.scaling * adapter.B.mT @ adapter.A


# ---- like this, not that


def test_like_this_not_that(index: Index) -> None:
    vlm = index.model.vlm
    difference = index.compose({1: 1.0, 0: -0.5})
    torch.testing.assert_close(
        effect(difference),
        effect(index.compose({1: 1.0})) - 0.5 * (effect(index.compose({0: 1.0})) - effect(index.model.hypernet.bias)),
        atol=1e-4,
        rtol=1e-3,
    )
    assert like_this_not_that.describe(index, 1, 0, 0.5, QUESTION) == vlm.generate([QUESTION], difference)[0].strip()
    ranked = like_this_not_that.similar(index, 1, 0, 0.5)
    captioned = [segment.id for segment in index.segments if segment.caption]
    assert sorted(number for number, _ in ranked) == captioned != []
    gains = [gain for _, gain in ranked]
    assert gains == sorted(gains, reverse=True)
    number, gain = ranked[-1]
    caption = index.segments[number].caption
    alone, under = (float(vlm.score([caption], one)[0, 0]) for one in (index.model.hypernet.bias, difference))
    assert gain == pytest.approx((under - alone) / len(caption.split()), abs=1e-4)


def test_like_this_not_that_as_typed(path: Path) -> None:
    lines = typed(like_this_not_that, path, 1, 0, "--less", 0.3, "--question", QUESTION).splitlines()
    assert lines[0] == QUESTION and lines[1].startswith("  scene 1: ")
    assert lines[2].startswith("  without 0.3 × scene 0: ") and lines[3] == "Most alike:" and len(lines) == 4 + 5


# ---- a selector of one's own


def test_own_selector(tmp_path: Path) -> None:
    path = write_index(tmp_path / "movie.idx", random_codes(12), keys=unit_keys(12))
    with Index(path, selective()) as index:
        answer = index.ask(QUESTION, policy="recipes/own_selector.py:upper_half", top_k=5)
        assert answer.route is not None and len(answer.route.weights) == 5
        selected = {row.node: row.p for row in answer.route.looks[0].candidates}
        for node, weight in answer.route.weights:
            weights = np.asarray(weight)
            assert not weights[: LAYERS // 2].any() and (weights == 0).mean() >= 0.5 and node in list(selected)[:5]
        adapter = index.compose(dict(answer.route.weights))
        assert answer.answer == index.model.vlm.generate([QUESTION], adapter)[0].strip()


# ---- two movies


def test_two_movies_as_typed(path: Path, other: Path) -> None:
    lines = typed(two_movies, path.parent, QUESTION, "--top-k", 6).splitlines()
    assert lines[0] and {line.split(" of ")[1] for line in lines[1:]} == {path.name, other.name}


# ---- a detector of one's own


def test_own_detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("chunkv2l.models.load_model", lambda *_, **__: fake_model())
    shades = [(60, 25), (68, 30), (120, 50), (20, 25)]  # brightness, frames; the second is no jump
    frames = [image for shade, count in shades for image in media.plain((shade, shade, shade), count)]
    movie = media.write(tmp_path / "movie.mp4", frames, fps=25)
    lines = typed(own_detector, movie, tmp_path / "a.idx").splitlines()
    ends = [float(line.split()[2]) for line in lines]
    assert ends == pytest.approx([55 / 25, 105 / 25, 130 / 25], abs=0.041)
    spec = f"{ROOT / 'recipes' / 'own_detector.py'}:Brightness"
    assert cli.run(["build", str(movie), "-o", str(tmp_path / "b.idx"), "--detector", spec, "--model", "fake"]) == 0
    with Index(tmp_path / "b.idx", fake_model()) as built:
        assert [segment.end for segment in built.segments] == pytest.approx(ends, abs=0.005)
    assert len(typed(own_detector, movie, tmp_path / "c.idx", "--jump", 70).splitlines()) == 2


# ---- serving with vLLM


def served(told: str) -> tuple[list[str], dict[str, str], dict[str, Path]]:
    """The printed command: its words, its options, and the adapters' folders by name."""
    words = shlex.split(told.splitlines()[0])
    modules = dict(word.split("=", 1) for word in words[words.index("--lora-modules") + 1 :])
    options = {word: words[i + 1] for i, word in enumerate(words[:-1]) if word.startswith("--")}
    return words, options, {name: Path(folder) for name, folder in modules.items()}


def test_serve_with_vllm(smolvlm_path: Path, tmp_path: Path) -> None:
    out = tmp_path / "to serve"
    told = typed(serve_with_vllm, smolvlm_path, out, "--question", QUESTION, "--question", "Who runs?")
    words, options, folders = served(told)
    assert words[:4] == ["vllm", "serve", tiny_smolvlm.model().vlm.name, "--enable-lora"]
    assert list(folders) == [*(f"scene-{number}" for number in range(5)), "question-0", "question-1"]
    ranks = []
    for folder in folders.values():
        config = json.loads((folder / "adapter_config.json").read_text())
        ranks.append(config["r"])
        assert config["target_modules"] == ["down_proj"] and config["base_model_name_or_path"] == words[2]
        tensors = load_file(folder / "adapter_model.safetensors")
        assert all(name.endswith((".lora_A.weight", ".lora_B.weight")) for name in tensors)  # vLLM takes nothing else
        assert {t.shape[0 if "lora_A" in name else 1] for name, t in tensors.items()} == {config["r"]}
    assert ranks == [8] * 5 + [20] * 2  # four of each scene, four of the bias
    assert options["--max-lora-rank"] == "32" and options["--max-loras"] == options["--max-cpu-loras"] == "7"
    body = json.loads(shlex.split(told.splitlines()[1])[-1])
    assert body["model"] in folders


def test_serve_with_vllm_writes_minis_base(mini_path: Path, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    for _ in range(2):  # again: the base is there already
        words, options, folders = served(typed(serve_with_vllm, mini_path, tmp_path / "out"))
    assert words[2] == str(tmp_path / "out" / "base") and options["--max-lora-rank"] == "8"
    base: Any = AutoModelForCausalLM.from_pretrained(words[2])
    model: Any = PeftModel.from_pretrained(base, folders["scene-2"])
    assert model.peft_config["default"].base_model_name_or_path == words[2]


# ---- a batch of scenes


def test_mixed_batch(mini_path: Path, tmp_path: Path) -> None:
    with Index(mini_path) as index:
        base, adapters = export_base(index.model, tmp_path / "base"), export_adapters(index, tmp_path / "out", "2,0-1")
        answers = mixed_batch.ask_each(base, adapters, QUESTION, tokens=12)
        alone = [index.model.vlm.generate([QUESTION], index.compose({n: 1.0}), 12)[0].strip() for n in (2, 0, 1)]
        assert answers == alone and len(set(answers)) > 1
    told = typed(mixed_batch, mini_path, QUESTION, "--segments", "2,0-1")
    assert [told.count(f"segment-{number:04}: ") for number in range(4)] == [1, 1, 1, 0]


# ---- many questions


def test_many_questions(index: Index) -> None:
    lines = [
        json.dumps({"id": 7, "question": QUESTION}),
        "",
        json.dumps({"query": "A dog runs", "top_k": 1}),
        json.dumps({"question": QUESTION, "policy": "mean", "top_k": 2, "budget": 3}),
        json.dumps({"question": QUESTION, "policy": "none"}),
        json.dumps({"question": "When?"}),
        json.dumps({"question": QUESTION, "top_k": "2"}),
        json.dumps({"text": "What?"}),
        "[1, 2]",
        "{",
    ]
    rows = list(many_questions.answered(index, lines))
    assert [row["line"] if "line" in row else row.get("id", row.get("policy")) for row in rows][-2:] == [9, 10]
    answers, errors = rows[:3], rows[3:]
    assert all("error" not in row and row["visual_tokens"] == 0 for row in answers)
    assert answers[0]["id"] == 7 and answers[0]["answer"] == index.ask(QUESTION).answer
    assert answers[1]["question"] == "A dog runs" and answers[1]["spans"]
    assert answers[2]["policy"] == "mean" and sum(len(span["segments"]) for span in answers[2]["spans"]) == 2
    assert [bool(row.get("error")) for row in errors] == [True] * 6
    assert 'no policy "none"' in errors[0]["error"] and 'no "question"' in errors[3]["error"]


def test_many_questions_as_typed(path: Path, tmp_path: Path) -> None:
    stdin = '{"question": "Who talks?", "policy": "mean", "top_k": 2}\n{"question": "Who?"}\n'
    told = [json.loads(line) for line in typed(many_questions, path, "-", stdin=stdin).splitlines()]
    assert [row["question"] for row in told] == ["Who talks?", "Who?"]
    (tmp_path / "in.jsonl").write_text(stdin)
    assert typed(many_questions, path, tmp_path / "in.jsonl", "-o", tmp_path / "out.jsonl") == ""
    kept = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["answer"] for row in kept] == [row["answer"] for row in told]


# ---- rank space


def test_rank_space(index: Index) -> None:
    whole = index.compose({0: 0.6, 3: 0.3, 4: -0.2})
    exact = torch.linalg.svdvals(effect(whole))[:, : whole.rank]
    torch.testing.assert_close(rank_space.singular_values(whole), exact, atol=1e-4, rtol=1e-3)
    for rank in (1, 5, whole.rank):
        small, error = compress(whole, rank)
        direct = (effect(small) - effect(whole)).norm() / effect(whole).norm()
        assert rank_space.lost(small, whole) == pytest.approx(float(direct), abs=1e-4)
        assert rank_space.lost(small, whole) == pytest.approx(float(error), abs=1e-3)


def test_rank_space_as_typed(path: Path, index: Index) -> None:
    told = typed(rank_space, path, QUESTION)
    first, table = (part.splitlines()[1:] for part in told.split("\n\n"))
    values = [float(line.split()[1]) for line in first[:-1]]
    assert values == sorted(values, reverse=True) and first[0].endswith("█" * 50)
    assert first[-1].startswith(f"The other {10 - len(values)} are less")
    rows = [line.split(maxsplit=3) for line in table]
    assert [int(row[0]) for row in rows] == [1, 2, 4, 8, 10]
    best, dropped = ([float(row[column].rstrip("%")) for row in rows] for column in (1, 2))
    assert best == sorted(best, reverse=True) and best[-1] == dropped[-1] == 0.0
    assert all(one <= other + 0.1 for one, other in zip(best, dropped, strict=True)) and best[0] < 100
    assert rows[-1][3] == index.ask(QUESTION).answer


# ---- all of them


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_short_explained_and_listed(recipe: Path) -> None:
    source = recipe.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 60
    said = ast.get_docstring(ast.parse(source)) or ""
    commands = [line.strip() for line in README.splitlines() if f"recipes/{recipe.name}" in line and "|" not in line]
    assert f"]({recipe.name})" in README and commands
    assert recipe.name in said and all(len(line) <= 120 for line in source.splitlines())


def test_commands_in_readme_and_docstrings_are_the_recipes() -> None:
    texts = [README, *(ast.get_docstring(ast.parse(path.read_text())) or "" for path in RECIPES)]
    seen = set()
    for line in (line.strip() for text in texts for line in text.splitlines()):
        if found := re.search(r"python (recipes/(\w+)\.py .*)", line):
            words = shlex.split(found[1], comments=True)[1:]
            command: click.Command = import_module(f"recipes.{found[2]}").main
            taken, rest, _ = command.make_parser(click.Context(command)).parse_args(words)
            required = [p for p in command.params if isinstance(p, click.Argument)]
            assert len([taken[str(p.name)] for p in required if taken[str(p.name)] is not None]) == len(required), line
            assert not rest, line
            seen.add(found[2])
        elif re.match(rf"chunkv2l ({'|'.join(cli.cli.commands)}) ", line):
            words = shlex.split(line, comments=True)
            options = {name for parameter in cli.cli.commands[words[1]].params for name in parameter.opts}
            assert {word for word in words if word.startswith("-")} <= options, line
    assert seen == {path.stem for path in RECIPES} - {"best_and_next", "own_selector"}


def test_recipes_explain_themselves() -> None:
    for path in RECIPES:
        main = getattr(import_module(f"recipes.{path.stem}"), "main", None)
        if main is not None:
            assert main.help and main.help.endswith(".")


@pytest.mark.long
def test_with_the_default_model_as_a_newcomer_types_them(tmp_path: Path) -> None:
    """Photographs as a movie, indexed by `mini`; a process for each recipe."""
    frames = []
    for name in real_mini.TRUE_OF:
        picture = Image.open(real_mini.PHOTOGRAPHS / f"{name}.jpg").convert("RGB").resize((320, 240))
        frames += [np.asarray(picture)] * 75
    movie = media.write(tmp_path / "movie.mp4", frames, fps=25)
    (tmp_path / "in.jsonl").write_text("".join(f'{{"question": "{true}"}}\n' for true in real_mini.TRUE_OF.values()))

    def run(*words: object) -> str:
        done = subprocess.run(
            [sys.executable, *map(str, words)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    index = tmp_path / "movie.idx"
    assert "4 segments" in run("-m", "chunkv2l", "build", movie, "--detector", "recipes/own_detector.py:Brightness")
    assert "Most alike:\n    2" in run("recipes/like_this_not_that.py", index, 2, 0)
    answers = [json.loads(line) for line in run("recipes/many_questions.py", index, tmp_path / "in.jsonl").splitlines()]
    assert sum(answer["spans"][0]["segments"] == [i] for i, answer in enumerate(answers)) >= 3
    assert " of movie.mp4" in run("recipes/two_movies.py", tmp_path, QUESTION)
    assert run("recipes/mixed_batch.py", index, "What do you see?").count("segment-") == 4
    assert "--max-lora-rank 16" in run("recipes/serve_with_vllm.py", index, tmp_path / "served")
    assert "0.0%" in run("recipes/rank_space.py", index, QUESTION)
    policy = "recipes/best_and_next.py:best_and_next"
    assert "(0.0" not in run("-m", "chunkv2l", "ask", index, QUESTION, "--policy", policy)
